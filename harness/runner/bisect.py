# SPDX-License-Identifier: GPL-2.0
"""`bisect RESULT --good K --bad K`: the first of the kernels that can be had on which a recorded case turns out
the other way.

The kernels are packages, in the order of their versions. That order is not git's: a fix that went to several stable
branches appears in each of them. What is said in the end holds all the same, for both kernels were tried: the case
fails on the one and not on the other, and nothing that can be had lies between them.
"""

import json
import secrets
import shlex
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import controls, main as runs, native, repro, store
from .errors import EXIT_BROKEN, EXIT_EXPECTED, EnvironmentFailed, UsageError, nearest
from .execute import RunContext, run_kernels
from .store import CaseResult, when_stopped, write_atomic

GOOD, BAD, SKIP = "good", "bad", "skip"
TIMES = 3
SCHEMA = 1
WIDTH = 110
EPILOG = """exit: 0 a kernel was named, or a few of which it is one; 2 the harness or its environment failed, or
      nothing was concluded; 64 usage: also when the good kernel is bad, or the bad one good"""


@dataclass(frozen=True)
class Package:
    """A kernel that may be tried."""

    version: str  # of the package
    upstream: str
    suites: tuple[str, ...] = ()
    kept: bool = False  # in the cache


@dataclass
class Trial:
    """What a kernel turned out to be."""

    version: str
    upstream: str
    verdict: str
    failed: int = 0
    of: int = 0  # runs that came to a conclusion
    ways: list[str] = field(default_factory=list)
    why: str = ""  # of `skip`, and what else must be known
    otherwise: bool = False  # it failed in no way in which it was recorded
    case: str = ""  # id of the case that shows it


@dataclass
class Answer:
    """Between the two kernels the case turns: `before` is the last like the older end. When kernels between
    them gave no answer, `after` is the first known of several that may be the first."""

    before: Package
    after: Package
    unknown: list[Package]


def narrow(count: int, older: str, trial: Callable[[int], str]) -> tuple[int, int]:
    """Halve what lies between 0, which is `older` (GOOD or BAD), and count - 1, which is the other. Returns the
    last known to be as the older end and the first known to be as the newer; between them all were SKIP."""
    low, high = 0, count - 1
    skipped: set[int] = set()
    while True:
        untried = [i for i in range(low + 1, high) if i not in skipped]
        if not untried:
            return low, high
        at = min(untried, key=lambda i: abs(2 * i - low - high))
        verdict = trial(at)
        if verdict == SKIP:
            skipped.add(at)
        elif verdict == older:
            low = at
        else:
            high = at


def steps_at_most(between: int) -> int:
    """Trials to find one of `between` kernels, or the end behind them, when each gives an answer."""
    return between.bit_length()


def one_of_each_source(among: list[Any], ends: tuple[str, str]) -> list[Any]:
    """Of packages made of one source the original, else the first; an end stands for its source."""
    chosen: dict[str, Any] = {}
    for one in among:
        known = chosen.get(one.source)
        if known is None or one.package_version in ends or (
                known.package_version not in ends and one.package_version == one.source):
            chosen[one.source] = one
    return [one for one in among if chosen[one.source] is one or one.package_version in ends]


def verdict_of(version: str, upstream: str, results: list[CaseResult], recorded: CaseResult, trouble: str) -> Trial:
    """Bad when it failed once; good when it came to a conclusion and never failed, and nothing broke."""
    failing = [r for r in results if repro.fails(r)]
    concluded = [r for r in results if repro.fails(r) or r.verdict in repro.CONCLUDED]
    ways = [way for way, _ in Counter(repro.way(r) for r in failing or concluded).most_common()]
    out = Trial(version, upstream, SKIP, len(failing), len(concluded), ways)
    others = Counter(f"{r.verdict}: {r.why}" if r.why else r.verdict for r in results if r not in concluded)
    out.why = trouble or "; ".join(f"{count} {text}" for text, count in others.most_common())
    if failing:
        out.verdict = BAD
        out.otherwise = repro.fails(recorded) and not any(repro.same_way(r, recorded) for r in failing)
    elif concluded and not trouble:
        out.verdict = GOOD
    elif not out.why:
        out.why = "nothing was run"
    if out.verdict != SKIP:
        out.case = (failing or concluded)[0].id
    return out


def line_of(trial: Trial, width: int) -> str:
    """"6.12.107-1  good  0 of 3  landed"."""
    counted = f"{trial.failed} of {trial.of}" if trial.of else "-"
    text = "another way: " * trial.otherwise + ", ".join(trial.ways)
    if trial.why:
        text = f"{text} ({trial.why})" if text else trial.why
    return f"{trial.version:<{width}}  {trial.verdict}{' ' * (4 - len(trial.verdict))}  {counted:<7} {text}".rstrip()


class Bisection:
    """One bisection, stored as a run of its own. `ends` are the packages of --good and --bad."""

    def __init__(self, options: runs.Options, found: repro.Found, everything: runs.World, packages: list[Package],
                 good: Package, bad: Package, argv: list[str]) -> None:
        self.options, self.found, self.everything = options, found, everything
        self.packages, self.good, self.bad = packages, good, bad
        self.width = max(len(p.version) for p in packages)
        self.out = sys.stderr if options.json else sys.stdout
        self.trials: list[Trial] = []
        self.answer: Answer | None = None
        self.error = ""
        self.results = self._open(argv)

    @property
    def older(self) -> str:
        """What the first of the packages must be."""
        return GOOD if self.packages[0] is self.good else BAD

    @property
    def newer(self) -> str:
        return BAD if self.older == GOOD else GOOD

    def _open(self, argv: list[str]) -> store.Store:
        if self.options.resume:
            return store.Store.resume(self.options.resume)
        options = self.options
        seed = options.seed if options.seed is not None else secrets.randbits(32)
        meta = runs.facts(self.everything, {}, [self.found.result.fs], argv, seed)
        return store.Store.create(
            options.out or runs.ROOT / "results" / store.new_run_name(),
            {**meta, "planned": 0, "left_out": [], "selftests": {},
             "sequences": {s.name: s.title for s in self.everything.sequences.values()
                           if s.name == self.found.result.sequence}})

    def print(self, text: str) -> None:
        print(text, file=self.out, flush=True)

    def say_plan(self, rebuilds: int) -> None:
        between = len(self.packages) - 2
        self.print(f"{len(self.packages)} kernels from {self.packages[0].version} ({self.older}) to "
                   f"{self.packages[-1].version} ({self.newer})"
                   + (f", without {rebuilds} rebuilds of the same sources" if rebuilds else "")
                   + f"; {self.options.times} runs on each that is tried, which are these two"
                   + (f" and at most {steps_at_most(between)} between them:" if between else ":"))
        for text in textwrap.wrap(" ".join(p.version for p in self.packages), WIDTH - 2, break_on_hyphens=False):
            self.print(f"  {text}")
        missing = sum(not p.kept for p in self.packages)
        if missing:
            self.print(f"  in the cache: {len(self.packages) - missing}; each of the others is a download of some "
                       "100 MB")

    def run(self) -> Answer:
        """Try both ends, then halve. UsageError when an end is not what it was said to be, EnvironmentFailed
        when it gives no answer; both after the line that says why."""
        native.cleanup_guests(native.private_dir(native.state_dir()))
        try:
            with when_stopped(runs.goes_on(self.results, "bisect")), ExitStack() as stack:
                answer = self.answer = self._halve(stack)
        except (UsageError, EnvironmentFailed) as err:
            self.error = str(err)
            raise
        finally:
            self.results.write_run(complete=self.answer is not None)
            self.write()
        return answer

    def _halve(self, stack: ExitStack) -> Answer:
        executor = runs.stage_programs(stack)
        context = runs.context_of(self.options, {}, self.results, self.everything, runs.tell, lambda _result: None)

        def trial(package: Package) -> Trial:
            made = self.try_one(package, context, executor)
            self.trials.append(made)
            self.print(line_of(made, self.width))
            self.write()
            return made
        self._check_ends(trial)
        low, high = narrow(len(self.packages), self.older, lambda at: trial(self.packages[at]).verdict)
        return Answer(self.packages[low], self.packages[high], self.packages[low + 1:high])

    def _check_ends(self, trial: Callable[[Package], Trial]) -> None:
        for option, package, must in (("--good", self.good, GOOD), ("--bad", self.bad, BAD)):
            got = trial(package)
            if got.verdict == SKIP:
                raise EnvironmentFailed(f"{option} {package.version}: nothing was concluded on it: {got.why}")
            if got.verdict != must:
                hint = "" if must == GOOD else " (one that fails now and then wants more --times)"
                raise UsageError(f"{option} {package.version}: the case failed {got.failed} of {got.of} times on it, "
                                 f"so it is {got.verdict}{hint}")

    def try_one(self, package: Package, context: RunContext, executor: Path) -> Trial:
        """Fetch, boot, run the case `times` times."""
        from ..guest import of_version
        name = package.version
        cases = runs.plan_cases(self.options, self.everything, [name])
        wanted = self.results.meta["kernels_wanted"]
        if name not in wanted:
            wanted.append(name)
            self.results.meta["planned"] += len(cases)
        trouble = ""
        try:
            maker = runs.guest_maker(of_version(name), executor, runs.tell)
            trouble = run_kernels({name: maker}, cases, context, 1).get(name, "")
        except EnvironmentFailed as err:
            trouble = str(err)
        wrong = controls.failures(c for c in self.results.meta.get("controls", []) if c["kernel"] == name)
        mine = [r for r in self.results.results.values() if r.kernel == name]
        if wrong:  # then what its cases say is worth nothing
            return Trial(name, package.upstream, SKIP, why=f"a control failed: {wrong[0]}")
        return verdict_of(name, package.upstream, mine, self.found.result, trouble)

    # What it says in the end.

    def repeat(self, version: str) -> str:
        """The line that tries this kernel again."""
        case = next((t.case for t in self.trials if t.version == version), "")
        return (f"./run.sh repro {shlex.quote(runs.relative(self.results.case_dir(case)))} --times {self.options.times}"
                if case else "")

    def say_answer(self, answer: Answer) -> None:
        before, after = answer.before, answer.after
        first = f"{after.version} ({after.upstream})"
        if answer.unknown:
            several = " ".join(p.version for p in [*answer.unknown, after])
            self.print(f"first {self.newer}: one of {several}: those before the last of them gave no answer; "
                       f"last {self.older}: {before.version} ({before.upstream})")
        else:
            self.print(f"first {self.newer}: {first}; last {self.older}: {before.version} ({before.upstream})")
        for word, package in ((self.older, before), (self.newer, after)):
            self.print(f"  {word + ':':5} {self.repeat(package.version)}")
        if any(t.otherwise for t in self.trials):
            self.print(f"note: the case was recorded as {repro.way(self.found.result)}; where it failed another way, "
                       "that may be another defect")
        self.print(f"results in {runs.relative(self.results.folder)}")

    def facts(self) -> dict[str, Any]:
        answer = self.answer
        return {
            "schema": SCHEMA, "recorded": asdict(self.found.result), "good": self.good.version, "bad": self.bad.version,
            "times": self.options.times, "looks_for": f"first {self.newer}",
            "kernels": [asdict(p) for p in self.packages],
            "tried": [{**asdict(t), "repeat": self.repeat(t.version)} for t in self.trials],
            "first": asdict(answer.after) if answer and not answer.unknown else None,
            "last": asdict(answer.before) if answer else None,
            "first_is_one_of": [p.version for p in [*answer.unknown, answer.after]] if answer else [],
            "error": self.error, "complete": answer is not None}

    def write(self) -> None:
        write_atomic(self.results.folder / "bisect.json", json.dumps(self.facts(), indent=1) + "\n", sync=True)


def _end(option: str, name: str, known: dict[str, Any]) -> str:
    """The package version of a kernel that is named in kernels/, or the version as it was given."""
    from ..guest import GuestError, is_version, obtain
    if name in known:
        try:
            return obtain(known[name], runs.tell).package_version
        except GuestError as err:
            raise EnvironmentFailed(f"{option} {name}: {err}") from None
    if not is_version(name):
        raise UsageError(f"{option}: " + nearest(name, list(known), "kernel")
                         + "; or give a package's version, of `./run.sh list --kernels-available`")
    return name


def choose_packages(good: str, bad: str, known: dict[str, Any]) -> tuple[list[Package], Package, Package, int]:
    """All from the older end to the newer, the two ends, and how many rebuilds were left out."""
    from ..guest import GuestError, available
    versions = [_end("--good", good, known), _end("--bad", bad, known)]
    try:
        among = available.everything(list(known.values()), runs.tell)
        ends = [available.choose(v, among) for v in versions]
    except available.Unknown as err:
        raise UsageError(str(err)) from None
    except GuestError as err:
        raise EnvironmentFailed(str(err)) from None
    if ends[0] is ends[1]:
        raise UsageError(f"--good and --bad are both {ends[0].package_version}")
    low, high = sorted(among.index(end) for end in ends)
    span = among[low:high + 1]
    chosen = one_of_each_source(span, (ends[0].package_version, ends[1].package_version))
    packages = {a.package_version: Package(a.package_version, a.version, a.suites, a.folder is not None)
                for a in chosen}
    return (list(packages.values()), packages[ends[0].package_version], packages[ends[1].package_version],
            len(span) - len(chosen))


def run(options: runs.Options, found: repro.Found, good: str, bad: str, argv: list[str]) -> int:
    """The whole command; returns the exit code."""
    repro.aim(options, found, [good, bad])
    everything = runs.ready(options)
    packages, good_end, bad_end, rebuilds = choose_packages(good, bad, everything.kernels)
    bisection = Bisection(options, found, everything, packages, good_end, bad_end, argv)
    bisection.say_plan(rebuilds)
    try:
        answer = bisection.run()
        bisection.say_answer(answer)
    finally:
        if options.json:
            sys.stdout.write((bisection.results.folder / "bisect.json").read_text())
    # Between the ends there was something to learn, and nothing was learnt.
    nothing = len(answer.unknown) == len(packages) - 2 > 0
    return EXIT_BROKEN if nothing else EXIT_EXPECTED
