# SPDX-License-Identifier: GPL-2.0
"""What is left of a cell's part of the budget, and what may still be begun in it.

What is begun is not broken off: a chunk of sequences, a few repeats of a finding, fsck. So nothing is begun that would
not be over in time, as far as is known from what was measured before. What is not known is a hang, which takes its
deadline, and a machine that dies, which takes a boot.
"""

import time
from typing import TYPE_CHECKING

from .explore_state import Progress

if TYPE_CHECKING:
    from .execute import KernelRun

KEPT = 0.25       # of what is left when a batch begins: to confirm what it finds
CHUNK_S = 10.0    # where there is a budget no chunk is to take longer
FIRST_RATE = 100  # sequences a second, before it is known


class OutOfTime(Exception):
    """The budget is used up; what there is stands."""


class Clock:
    """Of one cell. Without a budget nothing is ever over."""

    def __init__(self, kernel: "KernelRun", progress: Progress) -> None:
        self.k, self.progress = kernel, progress
        self.until: float | None = None        # of everything; time.monotonic()
        self.batch_until: float | None = None  # of the batch that is under way
        self.around_s = 0.0  # what a filesystem takes, made, mounted, checked, beside its sequences
        self.last_rate = 0.0

    def start(self, until: float | None) -> None:
        self.until = until
        self.begin_batch()

    def begin_batch(self) -> None:
        if self.until is not None:
            now = time.monotonic()
            self.batch_until = now + (1 - KEPT) * max(0.0, self.until - now)

    def over(self, takes_s: float = 0.0) -> bool:
        """Is there no time for anything more that takes so long on its filesystem?"""
        return self._left_s(self.until) <= takes_s

    def batch_over(self) -> bool:
        """Is there no time for more sequences of this batch?"""
        return self._left_s(self.batch_until) <= 0

    def room(self, most: int, longest_s: float = float("inf")) -> int:
        """So many sequences, of `most`, may be over before the batch has to be, and within `longest_s`; at least one."""
        if self.batch_until is None:
            return most
        return max(1, min(most, int(self._rate() * min(longest_s, self._left_s(self.batch_until)))))

    def ran(self, count: int, wall_s: float) -> None:
        """A chunk of so many sequences took that long."""
        if wall_s:
            self.last_rate = count / wall_s

    def took_s(self, count: int) -> float:
        """The part of so many of the last chunk."""
        return count / self.last_rate if self.last_rate else 0.0

    def around(self, took_s: float) -> None:
        """A filesystem took that long beside its sequences. The more there were the longer: so it is not less at once."""
        self.around_s = max(took_s, (took_s + self.around_s) / 2)

    def _left_s(self, until: float | None) -> float:
        if until is None:
            return float("inf")
        boot_s = self.k.machine.boot_s if self.k.boots_next else 0.0
        return until - time.monotonic() - self.around_s - boot_s

    def _rate(self) -> float:
        """The lower one of the last chunk and of all: some depths, and some kinds of steps, are slower than others."""
        p = self.progress
        mean = p.ran / p.wall_s if p.wall_s else FIRST_RATE
        return min(mean, self.last_rate or mean)
