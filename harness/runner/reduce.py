# SPDX-License-Identifier: GPL-2.0
"""`reduce RESULT`: from a race that showed a violation to a smaller race, and to a sequence that shows it each time.

Four steps, each of which stands without the next: what can matter of the recorded stream (race_slice.py); how often
the race shows it at all, and a smaller one that does (reduce_race.py); a sequence with holds (reduce_sequence.py);
how often the smaller race shows it, counted with seeds that nothing was chosen by. reduce.json has all of it.
"""

import itertools
import json
import random
import shlex
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import alphabet as alphabets, controls, main as runs, native, reduce_report, store
from .batch import CaseLost, FsRun, Mode
from .errors import EXIT_BROKEN, EXIT_DIFFERS, EXIT_EXPECTED, AgentDied, AgentTimeout, EnvironmentFailed, UsageError, \
    nearest
from .execute import RunContext, run_kernels
from .explore import Explore, ExploreKernel
from .explore_cell import CellRun
from .explore_state import Cell
from .findings import Finding
from .fsops import NotCovered
from .machines import Machine
from .progress import Progress as Lines
from .race import SECONDS, SEQUENCE, Race, RaceCase, choose_faults, sequence as race_sequence
from .race_slice import Slice, contradictions, cut_out
from .racelog import Defect, Window
from .reduce_race import Cut, Ran, Rate, Reducer
from .reduce_sequence import SequenceRun, alphabet_text, channels_for
from .repro import Found, fails
from .store import CaseResult, write_atomic

SECTION = "reduce"  # of run.json
SCHEMA = 1
BUDGET_S, TIMES, DEPTH = 600.0, 5, 5
# Parts of the budget: up to when races are cut down, and sequences enumerated. Measuring ends it.
_BASELINE_PART, _RACES_PART = 0.2, 0.45
FAULTS_MAX = 4         # in the steps of sequences, unless the race needs them
_BEFORE_IT_SHOWS = 4   # times as many races before it is given up
# Kinds that only the checks around a case see: it must be unmounted for them.
_AROUND = {"metadata", "mount", "umount", "unnoticed", "unflushed"}
EPILOG = """exit: 0 nothing shows any more; 1 a race or a sequence was found that fails; 2 the harness or its
      environment failed; 64 usage: also a case that is no race, did not fail, or has no stream"""


@dataclass
class Reduce:
    """What the options say, and the recorded race."""

    found: Found
    race: Race              # as it was asked for, with all its faults by name
    asked: Race             # as it was asked for
    kinds: tuple[str, ...]  # one of these is to be shown
    budget_s: float = BUDGET_S
    times: int = TIMES
    depth: int = DEPTH
    slice: Slice | None = None


def numbers(answer: str) -> dict[str, str]:
    """The judge's and the executor's counters of a race's `answer` file."""
    out = {}
    for line in answer.splitlines():
        key, _, value = line.removeprefix("env ").partition(" ")
        out[key] = value.replace("%20", " ")
    return out


def kinds_of(result: CaseResult) -> list[str]:
    return list(dict.fromkeys([*result.kinds, *(f["kind"] for f in result.findings)]))


def check(found: Found, wanted: list[str]) -> tuple[str, ...]:
    """UsageError for what cannot be reduced. Returns the kinds that are looked for."""
    result = found.result
    if not found.race:
        raise UsageError(f"{result.id}: is no race; a sequence is cut down by explore, and this one runs as it is: "
                         f"./run.sh repro {shlex.quote(str(found.folder))}")
    if not fails(result):
        raise UsageError(f"{result.id}: shows no violation ({result.verdict}): there is nothing to reduce")
    if not (found.folder / "stream").exists() or not (found.folder / "answer").exists():
        raise UsageError(f"{result.id}: its stream was not kept (no {found.folder}/stream); run it again with "
                         f"--record: {result.repeat} --record")
    kinds = kinds_of(result) or [result.verdict]
    for kind in wanted:
        if kind not in kinds:
            raise UsageError(nearest(kind, kinds, "kind of this race"))
    return tuple(wanted or kinds)


def race_of(found: Found, asked: Race) -> Race:
    """With a time of its own, and the faults by name that its filesystem had: so that some can be left out."""
    said = numbers((found.folder / "answer").read_text())
    # (`fault:ERRNO N` counts what faults failed with.)
    had = [key.partition(":")[2] for key, value in said.items() if key.startswith("fault:") and " failed " in value]
    dropped = {key.partition(":")[2] for key in said if key.startswith("dropped:")}
    seconds = asked.seconds or float(said.get("seconds", "0")) or SECONDS
    return replace(asked, ops=0, seconds=max(0.5, round(seconds, 1)), record=False,
                   faults=asked.faults or tuple(f for f in had if f not in dropped))


def slice_of(found: Found, kinds: tuple[str, ...], names: list[str]) -> Slice | None:
    """Of the first contradiction of such a kind. None where the judge named none (a hang, a crash, fsck)."""
    told = contradictions(found.result.evidence)
    try:
        return cut_out(Window(found.folder / "stream"), [t for t in told if t.kind in kinds] or told, names)
    except (Defect, OSError, ValueError) as err:
        raise UsageError(f"{found.folder}/stream: {err}") from None


@dataclass
class Outcome:
    """What came of it, filled step by step."""

    before: Rate = field(default_factory=Rate)
    after: Rate | None = None
    race: Race | None = None            # the smaller one
    cuts: list[dict[str, Any]] = field(default_factory=list)
    tried: int = 0
    explored: list[dict[str, Any]] = field(default_factory=list)
    sequence: dict[str, Any] | None = None


class ReduceKernel(ExploreKernel):
    """All of it, on one kernel, filesystem and channel."""

    what: Reduce
    out: Outcome
    began = 0.0

    def tell_cell(self, cell: Cell, run: CellRun | None, not_covered: str = "") -> None:
        """What is enumerated here is told in reduce.json."""

    def run(self, cells: list[Any]) -> None:
        cell = cells[0]
        try:
            self.ensure_up()
            channel = self.hello.channels.get(cell.channel)
            if channel is None or not channel.available:
                raise EnvironmentFailed(f"{cell.channel}: {channel.why if channel else 'unknown here'}")
            fs_run = FsRun(self, self.context.configs[cell.fs])
            try:
                controls.run(fs_run)
                self._reduce(cell, fs_run)
            except NotCovered as why:
                raise EnvironmentFailed(str(why)) from None
            if fs_run.fs and self.up:
                fs_run.fs.umount()
        finally:
            self.judge.close()
            self.machine.close()

    # --- one race ---------------------------------------------------------------------------

    def race(self, cell: Cell, fs_run: FsRun, race: Race, keep: bool) -> Ran:
        """As an ordinary case, but for the remount after it, where nothing is looked for that only shows then."""
        case = RaceCase(cell.kernel, cell.fs, cell.channel, SEQUENCE, self.next_case(), exclusive=True, race=race,
                        keep=keep)
        for _ in range(3):
            if set(self.what.kinds) <= _AROUND:
                fs_run.dirty = True
                fs_run.run_batch([case], Mode.QUIET)
            else:
                self._race_alone(fs_run, case)
            if self.is_done(case):
                break
        else:
            raise EnvironmentFailed(f"{case.id}: could not be run in three tries")
        result = self.store.results[case.id]
        if result.verdict in ("broken", "skipped"):
            raise EnvironmentFailed(f"{case.id}: {result.verdict}: {result.why}")
        answer = self.store.case_dir(case.id) / "answer"
        said = numbers(answer.read_text()) if answer.exists() else {}
        return Ran(bool(set(kinds_of(result)) & set(self.what.kinds)), int(said.get("operations", "0")),
                   int(said.get("violations", "0")), race.seconds, case.id, race.seed)

    def _race_alone(self, fs_run: FsRun, case: RaceCase) -> None:
        fs_run.prepare()
        try:
            self.kmsg()
            fs_run.pins = self.agent.pins()
            running = fs_run._run_case(case)  # noqa: SLF001  # the same steps as in a batch of cases
            self.conclude(running)
            fs_run.dirty = running.status[:2] != ["ok", "ran"]
            self.agent.sh("rm", "-rf", f"{self.mnt}/c{case.nr}", timeout_s=60)
        except (AgentDied, AgentTimeout) as err:
            self.down(str(err))
        except CaseLost:
            fs_run.dirty = True

    # --- all of it --------------------------------------------------------------------------

    def _reduce(self, cell: Cell, fs_run: FsRun) -> None:
        what, out = self.what, self.out
        until = [self.began + what.budget_s * _RACES_PART]
        draw = random.Random(f"{self.store.meta['seed']}:reduce")
        seeds = (draw.getrandbits(32) for _ in itertools.count())
        keep = [True]
        reducer = Reducer(lambda race: self.race(cell, fs_run, race, keep[0]), seeds,
                          lambda: until[0] - time.monotonic(), self.say)
        longest = round(max(1.0, what.budget_s * _BASELINE_PART / what.times), 1)
        base = replace(what.race, seconds=min(what.race.seconds, longest))
        out.before = self._baseline(reducer, base)
        self.say(f"the race as it was: {out.before.text()}")
        keep[0] = False  # only streams of what is measured are kept
        done = self._cut(reducer, base)
        reserved = what.times * (out.race.seconds + reducer.overhead_s) if out.race else 0.0
        self._sequences(cell, fs_run, self._left(out.race or what.race), self.began + what.budget_s - reserved)
        if not done and reducer.cuts:  # what the sequences left of the time
            until[0] = self.began + what.budget_s - reserved
            self._cut(reducer, base)
        keep[0], until[0] = True, float("inf")
        if out.race:
            self._measure(reducer, out.race)

    def _baseline(self, reducer: Reducer, base: Race) -> Rate:
        """A fixed number of races. Only when none shows it some more, up to the first that does: the rate is then of
        all of them, and overstates a little."""
        what = self.what
        rate = reducer.measure(base, what.times)
        until = self.began + what.budget_s * _BASELINE_PART
        while not rate.shown and rate.races < _BEFORE_IT_SHOWS * what.times and time.monotonic() < until:
            more = reducer.measure(base, 1)
            for name in ("shown", "races", "operations", "violations", "cases", "seeds"):
                setattr(rate, name, getattr(rate, name) + getattr(more, name))
        reducer.likely = rate.likely
        return rate

    def _cut(self, reducer: Reducer, base: Race) -> bool:
        """True when there is nothing more to try."""
        cut = self.what.slice
        done = reducer.cut_down(base, base.faults, cut.faults if cut else (), cut.verbs if cut else (),
                                cut.view if cut else "")
        self.out.tried = reducer.tried
        self._keep(reducer.cuts)
        return done

    def _keep(self, cuts: list[Cut]) -> None:
        """The smaller race is what these came to, one after the other."""
        self.out.cuts = [{"what": c.what, "shown": c.shown, "races": c.of, "race": c.race.options()} for c in cuts]
        self.out.race = cuts[-1].race if cuts else None

    def _measure(self, reducer: Reducer, race: Race) -> None:
        """What was cut down may have been kept by chance: then back to the smallest that does show it."""
        times, cuts = self.what.times, list(reducer.cuts)
        rate = reducer.measure(race, times)
        while not rate.shown and cuts[1:] and time.monotonic() <= self.began + 1.2 * self.what.budget_s:
            self.say(f"{race.options()}: {rate.text()}; back to the cut before")
            cuts.pop()
            race = cuts[-1].race
            rate = reducer.measure(race, times)
        if len(cuts) < len(reducer.cuts) and rate.shown:  # these races chose it
            rate = reducer.measure(race, times)
        self.out.after = rate
        self._keep(cuts if rate.shown else [])
        self.say(f"the smaller race: {rate.text()}")

    # --- the sequence -----------------------------------------------------------------------

    def _left(self, race: Race) -> Race:
        """What sequences are made of. With too many faults to enumerate, those of the slice: the race itself did not
        say which of them it takes."""
        sliced = self.what.slice.faults if self.what.slice else []
        likely = tuple(f for f in race.faults if f in sliced)
        return replace(race, faults=likely) if len(race.faults) > FAULTS_MAX and likely else race

    def _sequences(self, cell: Cell, fs_run: FsRun, race: Race, until: float) -> None:
        """Through one channel after the other, until one shows it each time."""
        what = self.what
        recorded = self.hello.channels[cell.channel]
        names = channels_for(recorded, race, self.hello.channels)
        chance: list[tuple[Finding, str, SequenceRun]] = []
        for at, name in enumerate(names):
            channel = self.hello.channels[name]
            text, left_out = alphabet_text(channel, recorded, race, self.hello.faults, self._unaligned)
            self.store.write(self.store.folder / f"reduced-{name.replace('/', '-')}.alphabet", text)
            explore = Explore(what.depth, "reduced", times=what.times, seed=self.store.meta["seed"],
                              alphabet=alphabets.parse(text, "reduced", "reduced.alphabet", self.hello.faults))
            run = SequenceRun(self, fs_run, Cell(cell.kernel, cell.fs, name), explore, set(what.kinds))
            fs_run.dirty = True
            now = time.monotonic()
            run.search(now + max(5.0, (until - now) / (len(names) - at)))
            self.out.explored.append(run.told(left_out))
            chance += [(f, name, run) for f in run.chance]
            if run.found:
                self.out.sequence = self._told(run.found, name, run)
                return
        if chance:
            self.out.sequence = self._told(*max(chance, key=lambda c: c[0].shown / max(1, c[0].tries)))

    def _unaligned(self, verb: str) -> bool:
        return bool(self.what.slice and self.what.slice.unaligned(verb))

    def _told(self, f: Finding, channel: str, run: SequenceRun) -> dict[str, Any]:
        # What the repeats showed; on the way here, or in a longer sequence, it may have been more.
        cases = [self.store.results[c] for c in f.cases if c in self.store.results]
        kinds = list(dict.fromkeys(kind for c in cases for kind in kinds_of(c))) or f.kinds
        grade = run.grade(kinds)
        return {"text": f.text, "channel": channel, "name": f.name, "steps": len(f.text.split("\n")) - 1 - sum(
            line.startswith(("file", "pin")) for line in f.text.splitlines()),
                "kinds": kinds, "resolution": f.resolution, "same": ("kind", "family", "")[grade], "shown": f.shown,
                "tries": f.tries, "why": f.why, "evidence": f.evidence[:6], "outcome": f.outcome,
                "expected": f.expected, "cases": f.cases}


# --- the command ----------------------------------------------------------------------------

def run(options: Any, what: Reduce, argv: list[str]) -> int:
    """Plan, run, report. Returns the exit code. options are those of the recorded race, aimed at it."""
    state = native.private_dir(native.state_dir())
    native.cleanup_guests(state)
    lines = Lines(0)
    everything = runs.ready(options)
    names = runs.choose_kernels(options.kernels, everything.kernels, options.modules)
    if native.os.getuid() == 0:
        native.cleanup_stale(lines.say, state)
    # A name stands for what it stood for then; the registry is the same as long as no fault was added since.
    what.asked = replace(what.asked, faults=choose_faults(list(what.asked.faults), everything.hello.faults,
                                                           what.asked.files))
    what.race = race_of(what.found, what.asked)
    what.slice = slice_of(what.found, what.kinds, list(everything.hello.faults))
    everything.sequences[SEQUENCE] = race_sequence(what.race)
    recorded = what.found.result
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(32)
    folder = options.out or runs.ROOT / "results" / store.new_run_name()
    results = store.Store.create(folder, {**runs.facts(everything, names, [recorded.fs], argv, seed), "planned": 0,
                                          "sequences": {}, "selftests": {}, SECTION: {}}, "")
    lines.say(f"{what.found.folder}: {' '.join(what.kinds)}; seed {seed}; results in {runs.relative(results.folder)}")
    out, failed = Outcome(), {"run": "stopped"}
    try:
        failed = _run(options, what, out, everything, names, results, lines)
    finally:  # stopped, it says as far as it got
        if out.sequence:
            out.sequence["not_exported"] = not_exported(results, out.sequence["cases"][0], options)
        told = reduce_report.told(what, out, results.folder, list(names)[0], runs.asked_of(options, names))
        results.meta[SECTION] = told
        _write(results.folder, told)
        results.write_run(complete=not failed)
    return _finish(options, results, told, failed, lines)


def _run(options: Any, what: Reduce, out: Outcome, everything: runs.World, names: dict[str, Any], results: store.Store,
         lines: Lines) -> dict[str, str]:
    failed: dict[str, str] = {}
    try:
        how_far = f"{runs.relative(results.folder)}/reduce.json says how far it got"
        with store.when_stopped(how_far), ExitStack() as stack:
            makers = runs.stage(options, names, store.new_run_name(), lines.say, stack)
            context = runs.context_of(options, names, results, everything, lines.say, lambda _result: None)
            cells = [Cell(k, what.found.result.fs, what.found.result.channel) for k in names]

            def kernel(machine: Machine, shared: RunContext) -> ReduceKernel:
                made = ReduceKernel(machine, shared)
                made.what, made.out, made.began = what, out, time.monotonic()
                return made
            failed = run_kernels(makers, cells, context, 1, kernel)
    except EnvironmentFailed as err:
        failed["run"] = str(err)
    finally:
        lines.end()
    return failed


def not_exported(results: store.Store, case_id: str, options: Any) -> str:
    """Why `repro --export` would refuse this case, or "": a line that does not work is not printed."""
    from ..export import CannotExport, find_checks, read_case
    fs = options.fs_recorded
    try:
        find_checks(runs.JUDGE, read_case(results.case_dir(case_id), results.results[case_id], {
            "fstype": fs.fstype, "mkfs_options": " ".join(fs.mkfs_options), "mount_options": " ".join(fs.mount_options),
            "requires": fs.requires}))
    except (CannotExport, OSError, KeyError) as err:
        return str(err)
    return ""


def _write(folder: Path, told: dict[str, Any]) -> None:
    write_atomic(folder / "reduce.json", json.dumps(told, indent=1) + "\n", "", True)
    if told["sequence"]:
        write_atomic(folder / "reduced.seq", reduce_report.sequence_text(told), "")


def _finish(options: Any, results: store.Store, told: dict[str, Any], failed: dict[str, str], lines: Lines) -> int:
    if options.json:
        json.dump(told, sys.stdout, indent=1)
        print()
    else:
        sys.stdout.write(reduce_report.render(told))
    for name, why in failed.items():
        lines.say(f"pinfault: {why}" if name in why or name == "run" else f"pinfault: {name}: {why}")
    wrong = controls.failures(results.meta.get("controls", []))
    for text in wrong:
        lines.say(f"pinfault: broken: a control failed, so nothing this run says holds: {text}")
    if wrong:
        return EXIT_BROKEN
    if told["sequence"] or told["race"]["before"]["shown"] or (told["race"]["after"] or {}).get("shown"):
        return EXIT_DIFFERS
    return EXIT_BROKEN if failed else EXIT_EXPECTED
