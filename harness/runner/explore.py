# SPDX-License-Identifier: GPL-2.0
"""`./run.sh explore`: what is asked for, how long it will take, and all its cells over kernels and filesystems."""

import itertools
import secrets
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from . import alphabet as alphabets, controls, explore_report, main as runs, native, store
from .agent import ChannelInfo
from .alphabet import Alphabet
from .batch import FsRun
from .enumeration import DEPTH_MAX, Enumeration
from .errors import EXIT_BROKEN, EXIT_DIFFERS, EXIT_EXPECTED, EnvironmentFailed, UsageError
from .execute import KernelRun, RunContext, run_kernels
from .explore_cell import CellRun
from .explore_confirm import not_confirmed
from .explore_estimate import DAY_S, estimate, holds_of, time_text
from .explore_state import Cell, load_progress, state_path
from .fsops import NotCovered
from .machines import Machine
from .plan import _matching
from .progress import Progress as Lines

TIMES = 5
_CLASS_ORDER = ("pte", "syscall", "short-pin", "long-pin", "faulting")
SECTION = "explore"  # of run.json
SHARED_DEPTH = 3  # steps of the longest sequences that all shards run: a few seconds' work, and what hangs shows in them


@dataclass
class Explore:
    """What the options say, and what follows from them for every cell."""

    depth: int
    alphabet_name: str = "core"
    budget_s: float = 0.0
    shard: int = 0  # of `shards`, from 0
    shards: int = 1
    times: int = TIMES
    seed: int = 0
    alphabet: Alphabet | None = None
    likeliest: bool = False  # first: where time is short the order matters, and who goes on keeps to it
    _made: dict[int, Enumeration] = field(default_factory=dict)

    def check(self) -> None:
        if not 1 <= self.depth <= DEPTH_MAX:
            raise UsageError(f"--depth wants 1 to {DEPTH_MAX} steps, not {self.depth}")
        if not 0 <= self.shard < self.shards:
            raise UsageError("--shard I/N wants I from 1 to N")
        if not 1 <= self.times <= 100:
            raise UsageError("--repeats wants 1 to 100")

    def is_mine(self, nr: int, steps: int) -> bool:
        """Does this shard run sequence `nr`, from 1, of so many steps? All run the shortest: each must know what hangs
        before what contains it."""
        return (nr - 1) % self.shards_of(steps) == self.shard % self.shards_of(steps)

    def shards_of(self, depth: int) -> int:
        """How many share the sequences of so many steps."""
        return 1 if depth <= SHARED_DEPTH else self.shards

    def enumeration(self, channel: ChannelInfo) -> Enumeration:
        """Of the sequences that make sense for the channel."""
        assert self.alphabet
        holds = holds_of(channel)
        if holds not in self._made:
            made = self.alphabet if holds else self.alphabet.without_holds()
            made.check()
            self._made[holds] = Enumeration(made, holds)
        return self._made[holds]


def duration(text: str) -> float:
    """90, 90s, 10m, 2h, 1d in seconds. ValueError."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number = float(text[:-1] if text[-1:] in units else text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number * units.get(text[-1:], 1)


def part_of(left_s: float, waiting: int, jobs: int) -> float:
    """Of what is left of the budget, for a kernel that begins now: some of those `waiting` follow it one by one."""
    return left_s / (1 + waiting // jobs)


class ExploreKernel(KernelRun):
    """All cells of one kernel, in one thread."""

    explore: Explore
    until: float | None = None  # of this kernel; time.monotonic()
    numbers = itertools.count(1)  # of cases, over all kernels
    cells_said: dict[str, dict[str, Any]]

    @property
    def folder(self) -> str:
        return runs.relative(self.store.folder)

    def next_case(self) -> int:
        return next(self.numbers)

    def tell(self, run: CellRun) -> None:
        """After each batch: into run.json, and a line for who watches."""
        self.tell_cell(run.cell, run)
        self.boots_idle = 0
        p = run.progress
        rate = f", {p.ran / p.wall_s:.0f}/s" if p.wall_s else ""
        depth = f"all to depth {p.depth_done}" if p.finished else f"depth {p.depth}"
        waits = len(p.pending) + len(p.deadly)
        self.context.say(f"{run.cell.id}: {p.ran} sequences, {depth}{rate}, {len(p.findings) - len(p.deadly)} findings"
                         + f", {waits} sequences still to be confirmed" * bool(waits))

    def tell_cell(self, cell: Cell, run: CellRun | None, not_covered: str = "") -> None:
        told: dict[str, Any] = {"kernel": cell.kernel, "fs": cell.fs, "channel": cell.channel,
                                "not_covered": not_covered}
        if run:
            p = run.progress
            told.update({**p.dump(), "not_covered": p.not_covered or not_covered, "left": len(p.left),
                         "findings": [f.dump() for f in p.findings if f not in p.deadly],
                         "seen": [f.dump() for f in not_confirmed(run)], "unlaid": [u.dump() for u in p.unlaid]})
            del told["pending"]
        self.store.set_section(SECTION, cell.id, told)

    def run(self, cells: list[Any]) -> None:
        try:
            names = list(dict.fromkeys(c.fs for c in cells))
            for at, fs in enumerate(names):
                mine = [c for c in cells if c.fs == fs]
                if self._over():
                    self._not_begun(mine)
                    continue
                if not self.boots:
                    self.ensure_up()
                self._filesystem(fs, mine, len([c for c in cells if c.fs in names[at:]]))
        finally:
            self.judge.close()
            self.machine.close()

    def _over(self) -> bool:
        return self.until is not None and time.monotonic() >= self.until

    def _not_begun(self, cells: list[Cell]) -> None:
        """What is known of them from before stands."""
        for cell in cells:
            if cell.id not in self.store.meta[SECTION]["cells"]:
                self.tell_cell(cell, None)

    def _filesystem(self, fs: str, cells: list[Cell], nr_left: int) -> None:
        fs_run = FsRun(self, self.context.configs[fs])
        try:
            controls.run(fs_run)
            for at, cell in enumerate(cells):
                channel = self.hello.channels.get(cell.channel)
                if channel is None or not channel.available:
                    self.tell_cell(cell, None, f"{cell.channel}: {channel.why if channel else 'unknown here'}")
                    continue
                run = CellRun(self, fs_run, cell, self.explore, self.tell)
                if run.progress.finished:
                    self.tell_cell(cell, run)
                    continue
                run.run(self._until(nr_left - at))
            if fs_run.fs and self.up:
                fs_run.fs.umount()
        except NotCovered as why:
            for cell in cells:
                self.tell_cell(cell, None, str(why))

    def _until(self, cells_left: int) -> float | None:
        """Each cell gets an equal part of what is left of the budget."""
        if self.until is None:
            return None
        now = time.monotonic()
        return now + max(0.0, self.until - now) / max(1, cells_left)


def plan(kernels: list[str], everything: runs.World, filters: Any, explore: Explore) -> list[Cell]:
    """The page-table controls first. Without a filter every channel in its plain form that is no close kin."""
    channels = everything.hello.channels
    ordered = sorted(channels, key=lambda n: (_CLASS_ORDER.index(channels[n].cls), n))
    fs_names = _matching(filters.fs, list(everything.configs), "filesystem")
    chosen = set(_matching(filters.channels, ordered, "channel"))
    if not filters.channels:
        chosen = {n for n in chosen if channels[n].plain and not channels[n].brief}
    return [Cell(k, fs, c) for k in kernels for fs in fs_names for c in ordered if c in chosen]


def run(options: Any, explore: Explore, argv: list[str]) -> int:
    """Plan, say how long, run, report. Returns the exit code."""
    explore.check()
    state = native.private_dir(native.state_dir())
    native.cleanup_guests(state)
    lines = Lines(0)
    everything = runs.ready(options)
    names = runs.choose_kernels(options.kernels, everything.kernels, options.modules)
    explore.alphabet = alphabets.load(explore.alphabet_name, runs.ROOT / "workloads" / "alphabets",
                                      everything.hello.faults, runs.caller_dir())
    cells = plan(list(names), everything, options.filters, explore)
    said, seconds, counts = estimate(cells, everything, explore, options.jobs)
    for line in said:
        lines.say(line)
    if seconds > DAY_S and not explore.budget_s:
        raise UsageError(f"that is {time_text(seconds)}: more than a day wants a --budget (likeliest first), a smaller "
                         "--depth, or fewer --kernel, --fs, --channel")
    if native.os.getuid() == 0:
        native.cleanup_stale(lines.say, state)
    results = _open_store(options, explore, argv, everything, names, cells, counts)
    explore.seed = results.meta["seed"]
    ExploreKernel.numbers = itertools.count(1 + max([r.nr for r in results.results.values()], default=0))
    lines.say(f"seed {explore.seed}; results in {runs.relative(results.folder)}")
    failed = _run(options, explore, everything, names, cells, results, lines)
    return _finish(options, results, failed, lines)


def _open_store(options: Any, explore: Explore, argv: list[str], everything: runs.World, names: dict[str, Any],
                cells: list[Cell], counts: Any) -> store.Store:
    assert explore.alphabet
    if options.resume:
        results = store.Store.resume(options.resume)
        was = results.meta.get(SECTION)
        if not was:
            raise UsageError(f"{options.resume}: is not an exploration")
        if was["alphabet"]["text"] != explore.alphabet.text:
            raise UsageError(f"{options.resume}: its alphabet {was['alphabet']['name']} has changed since; it cannot "
                             "go on with another one")
        explore.likeliest = was["likeliest_first"]
        was["budget_s"] = explore.budget_s
        begun = [load_progress(path) for path in (state_path(results.folder, cell) for cell in cells) if path.exists()]
        if explore.depth > was["depth"]:
            if all(p.finished for p in begun):  # nothing has begun in the one order or the other
                explore.likeliest = explore.budget_s > 0
            was.update(depth=explore.depth, counts=counts, likeliest_first=explore.likeliest)
            results.meta["argv"] += ["--depth", str(explore.depth)]  # what is said last counts
            results.write_run()  # before any cell is deeper than that says
        return results
    explore.likeliest = explore.budget_s > 0
    about = {"alphabet": {"name": explore.alphabet.name, "title": explore.alphabet.title,
                          "text": explore.alphabet.text},
             "depth": explore.depth, "budget_s": explore.budget_s, "shard": explore.shard + 1,
             "shards": explore.shards, "repeats": explore.times, "likeliest_first": explore.likeliest,
             "counts": counts, "cells": {}}
    seed = options.seed if options.seed is not None else secrets.randbits(32)
    meta = runs.facts(everything, names, list(dict.fromkeys(c.fs for c in cells)), argv, seed)
    return store.Store.create(options.out or runs.ROOT / "results" / store.new_run_name(),
                              {**meta, "planned": 0, "sequences": {}, "selftests": {}, SECTION: about})


def _run(options: Any, explore: Explore, everything: runs.World, names: dict[str, Any], cells: list[Cell],
         results: store.Store, lines: Lines) -> dict[str, str]:
    failed: dict[str, str] = {}
    to_the_end = False
    try:
        with store.when_stopped(runs.goes_on(results, "explore")), ExitStack() as stack:
            makers = runs.stage(options, names, store.new_run_name(), lines.say, stack)
            context = runs.context_of(options, names, results, everything, lines.say, lambda _result: None)
            until = time.monotonic() + explore.budget_s
            begun = itertools.count(1)

            def kernel(machine: Machine, shared: RunContext) -> ExploreKernel:
                made = ExploreKernel(machine, shared)
                made.explore = explore
                if explore.budget_s:
                    now = time.monotonic()
                    made.until = now + part_of(max(0.0, until - now), len(makers) - next(begun), options.jobs)
                return made
            failed = run_kernels(makers, cells, context, options.jobs, kernel)
            to_the_end = True
    except EnvironmentFailed as err:
        failed["run"] = str(err)
    finally:
        lines.end()
        results.write_run(complete=to_the_end and not failed)
    return failed


def _finish(options: Any, results: store.Store, failed: dict[str, str], lines: Lines) -> int:
    meta, cases = store.load_run(results.folder)
    if options.json:
        sys.stdout.write((results.folder / "run.json").read_text())
    else:
        sys.stdout.write(explore_report.render(meta, cases, runs.relative(results.folder)))
    for name, why in failed.items():
        lines.say(f"pinfault: {why}" if name in why or name == "run" else f"pinfault: {name}: {why}")
    wrong = controls.failures(meta.get("controls", []))
    for text in wrong:
        lines.say(f"pinfault: broken: a control failed, so nothing this run says holds: {text}")
    if wrong:
        return EXIT_BROKEN
    cells = meta[SECTION]["cells"].values()
    findings = [f for c in cells for key in ("findings", "unconfirmed", "seen", "unlaid") for f in c.get(key, [])]
    if any(f["outcome"] in ("differs", "fixed") for f in findings) or any(
            not n.get("expected") for n in meta["notes"]):
        return EXIT_DIFFERS
    if failed or any(f["outcome"] == "broken" for f in findings) or any(c.get("broken") for c in cells) \
            or not any(c.get("ran") for c in cells):
        return EXIT_BROKEN
    return EXIT_EXPECTED


