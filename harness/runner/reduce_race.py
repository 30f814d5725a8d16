# SPDX-License-Identifier: GPL-2.0
"""Cutting a race down by delta debugging, where a race shows a violation with a probability and not for certain.

A smaller race is run with fresh seeds until it shows the violation once, and is kept then; or it is given up after
as many races as would nearly surely (19 of 20) have shown it, if it were as good as what there is is thought to be.
So a cut costs few races where it is good, and chance can throw a good one away, or keep a bad one.

What was counted on the way is therefore no rate: a race was kept because it showed something in just these tries.
Rates are counted apart, with seeds that decided nothing (measure()).

Delta debugging: Zeller, Hildebrandt, Simplifying and Isolating Failure-Inducing Input, IEEE TSE 28(2), 2002.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .race import Race
from .racelog import VIEWS

MISSED = 0.05              # how often a cut as good as what there is may be given up
TRIES_MIN, TRIES_MAX = 2, 12
SECONDS_MIN = 0.5
_WRITERS = ("write", "store", "pwrite")
_SIZES = (32 << 10, 64 << 10, 128 << 10)
_TWO_FILES = ("clone", "dedupe")


@dataclass(frozen=True)
class Ran:
    """One race that was run."""

    shows: bool
    operations: int = 0
    violations: int = 0
    seconds: float = 0.0
    case: str = ""
    seed: int = 0


@dataclass
class Rate:
    """How often races of one kind showed it."""

    shown: int = 0
    races: int = 0
    seconds: float = 0.0  # of each
    operations: int = 0
    violations: int = 0
    cases: list[str] = field(default_factory=list)  # that showed it
    seeds: list[int] = field(default_factory=list)

    def add(self, ran: Ran) -> None:
        self.races += 1
        self.shown += ran.shows
        self.operations += ran.operations
        self.violations += ran.violations
        if ran.shows:
            self.cases.append(ran.case)
            self.seeds.append(ran.seed)

    @property
    def likely(self) -> float:
        """Of one race, carefully: of none out of none a half (Laplace's rule)."""
        return (self.shown + 1) / (self.races + 2)

    def text(self) -> str:
        each = f"{self.seconds:g} s"
        out = f"{self.shown} of {self.races} races of {each}"
        if self.operations:
            out += f"; {1e6 * self.violations / self.operations:,.1f} violations in a million operations"
        return out

    def dump(self) -> dict[str, Any]:
        per = round(1e6 * self.violations / self.operations, 2) if self.operations else None
        return {**asdict(self), "violations_per_million": per}


class OutOfTime(Exception):
    """The part of the budget that this may take is used up."""


def tries_for(likely: float) -> int:
    """Races after which a cut is given up."""
    if likely >= 1:
        return TRIES_MIN
    return max(TRIES_MIN, min(TRIES_MAX, math.ceil(math.log(MISSED) / math.log(1 - likely))))


def ddmin(items: tuple[str, ...], shows: Callable[[tuple[str, ...]], bool]) -> tuple[str, ...]:
    """A small part of `items` of which `shows` was true, which may lie now and then. `items` is known to show it."""
    parts = 2
    while len(items) > 1:
        size = math.ceil(len(items) / parts)
        chunks = [items[at:at + size] for at in range(0, len(items), size)]
        rests = [tuple(i for i in items if i not in c) for c in chunks] if len(chunks) > 2 else []
        for smaller, then in [*((c, 2) for c in chunks), *((r, max(parts - 1, 2)) for r in rests)]:
            if shows(smaller):
                items, parts = smaller, then
                break
        else:
            if size == 1:
                break
            parts = min(2 * parts, len(items))
    return items


@dataclass(frozen=True)
class Cut:
    """A smaller race that was kept."""

    what: str
    race: Race
    shown: int
    of: int


class Reducer:
    """`run` runs one race; `left_s` is what is left of the time for cutting; `seeds` are never used twice."""

    def __init__(self, run: Callable[[Race], Ran], seeds: Iterator[int], left_s: Callable[[], float],
                 say: Callable[[str], None] = lambda _text: None) -> None:
        self.run, self.seeds, self.left_s, self.say = run, seeds, left_s, say
        self.likely = 0.5
        self.overhead_s = 1.0  # of a race, beside what it lasts
        self.cuts: list[Cut] = []
        self.tried = 0
        self.races = 0
        self.step = 0  # of cut_down()

    # --- running ----------------------------------------------------------------------------

    def _one(self, race: Race) -> Ran:
        before = self.left_s()
        ran = self.run(replace(race, seed=next(self.seeds), ops=0))
        self.races += 1
        self.overhead_s = max(0.1, (2 * self.overhead_s + (before - self.left_s()) - race.seconds) / 3)
        return ran

    def measure(self, race: Race, times: int) -> Rate:
        """A rate: a number of races settled before, and seeds that nothing was chosen by."""
        rate = Rate(seconds=race.seconds)
        for _ in range(times):
            rate.add(self._one(race))
        return rate

    def shows(self, race: Race, what: str) -> bool:
        """Does it still? Kept in `cuts` if so. OutOfTime when it cannot be told in the time that is left."""
        most = tries_for(self.likely)
        rate = Rate(seconds=race.seconds)
        while rate.races < most and not rate.shown:
            if self.left_s() < race.seconds + self.overhead_s:
                raise OutOfTime
            rate.add(self._one(race))
        self.tried += 1
        self.say(f"{what}: {rate.shown} of {rate.races} races of {race.seconds:g} s")
        if rate.shown:
            self.cuts.append(Cut(what, race, rate.shown, rate.races))
            # What shows at once may well be better than what was there, or it was luck.
            self.likely = max(self.likely, (self.likely + rate.likely) / 2)
        return bool(rate.shown)

    # --- what to cut ------------------------------------------------------------------------

    def cut_down(self, race: Race, faults: tuple[str, ...], likely_faults: Iterable[str], likely_verbs: Iterable[str],
                 view: str) -> bool:
        """As small as the time allows; called again it goes on where the time was up. What came of it is in `cuts`.
        `faults`: all that the race has; `likely_*`, `view`: what the slice names. True when nothing is left to try."""
        likely = tuple(f for f in likely_faults if f in faults)
        # Less room first: operations meet more often in it, and what follows is cheaper.
        steps: list[Callable[[Race], Race]] = [
            lambda r: self._shorter(r, 0.7), lambda r: self._number(r, "size", list(_SIZES)), self._shorter,
            lambda r: self._faults(r, r.faults or faults, likely), self._shorter,
            lambda r: self._number(r, "files", [2 if set(r.faults) & set(_TWO_FILES) else 1]),
            lambda r: self._verbs(r, tuple(likely_verbs)), lambda r: self._views(r, view),
            lambda r: self._number(r, "threads", [2, 3, 4, 8]), self._shorter]
        try:
            while self.step < len(steps):
                steps[self.step](self.cuts[-1].race if self.cuts else race)
                self.step += 1
        except OutOfTime:
            return False
        return True

    def _faults(self, race: Race, faults: tuple[str, ...], likely: tuple[str, ...]) -> Race:
        def with_faults(some: tuple[str, ...]) -> Race:
            return replace(race, faults=some)

        def test(some: tuple[str, ...]) -> bool:
            return self.shows(with_faults(some), f"faults {' '.join(some)}")
        at = faults
        if likely and set(likely) != set(faults) and test(likely):
            at = likely
        if not at:
            return race
        at = ddmin(at, test)
        small = with_faults(at) if at != faults or race.faults else race
        if len(at) > 1:
            return small
        verbs = race.verbs or (*_WRITERS, "look", "fault")
        plain = replace(race, faults=(), verbs=tuple(v for v in verbs if v != "fault"))
        return plain if self.shows(plain, "no faults") else small

    def _shorter(self, race: Race, likely: float = 0.5) -> Race:
        """Half as long, while as few races as that show it: what follows is cheaper."""
        while race.seconds >= 2 * SECONDS_MIN and self.likely > likely:
            likely = 0.5
            half = replace(race, seconds=round(race.seconds / 2, 2))
            kept = self.likely
            if not self.shows(half, f"{half.seconds:g} s"):
                break
            if self.cuts[-1].of > 2:  # now it is chance again
                self.cuts.pop()
                self.likely = kept
                break
            self.likely = Rate(self.cuts[-1].shown, self.cuts[-1].of).likely  # surely no better than before
            race = half
        return race

    def _verbs(self, race: Race, likely: tuple[str, ...]) -> Race:
        def without(verbs: Iterable[str]) -> Race:
            return replace(race, verbs=tuple(v for v in race.verbs or (*_WRITERS, "look", "fault") if v not in verbs))
        unlikely = [v for v in _WRITERS if v not in likely]
        if 2 <= len(unlikely) < len(_WRITERS) and self.shows(without(unlikely), f"without {' '.join(unlikely)}"):
            race = without(unlikely)
            unlikely = []
        for verb in [*unlikely, *(v for v in _WRITERS if v in likely)]:
            writers = [v for v in race.verbs or _WRITERS if v in _WRITERS]
            if len(writers) > 1 and verb in writers and self.shows(without([verb]), f"without {verb}"):
                race = without([verb])
        return race

    def _views(self, race: Race, view: str) -> Race:
        if len(race.views) == 1:
            return race
        ordered = [view] * bool(view) + [v for v in VIEWS if v != view]
        for one in ordered:
            smaller = replace(race, views=(one,))
            if one in (race.views or VIEWS) and self.shows(smaller, f"looks {one}"):
                return smaller
        return race

    def _number(self, race: Race, name: str, values: list[int]) -> Race:
        """The first of `values`, which rise, that is less and shows it."""
        for value in values:
            if value >= getattr(race, name):
                break
            smaller: Race = replace(race, **{name: value})
            if self.shows(smaller, f"{name} {value}"):
                return smaller
        return race
