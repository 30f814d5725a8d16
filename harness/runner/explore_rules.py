# SPDX-License-Identifier: GPL-2.0
"""What an exploration expects of a sequence by its own steps, and which complaints of kernel and fsck are news of a batch.

A complaint is a message of the kernel, or a failed fsck. That one is known does not say which sequences of another batch
led to it. So a batch is parted by what is no news of its sequences: where it is none of any, a complaint need not be looked
for; where it is of all, it is.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .batch import BatchFailed
from .enumeration import Enumeration
from .expect import Expectation
from .explore_state import Cell, Item, Progress
from .findings import Candidate, Steps, embeds, name_of, outcome_of
from .plan import Sequence

if TYPE_CHECKING:
    from .explore import ExploreKernel

BLAMED_PER_COMPLAINT = 30  # patterns of steps of which it is news: what so many lead to is told, and looked for no more


def fsck_shape(kind: str) -> str:
    """Among the shapes of messages, what the filesystem's checker says."""
    return f"fsck: {kind}"


def complaints_of(failed: BatchFailed) -> Mapping[str, str]:
    """Kinds by shape."""
    return failed.shapes or {fsck_shape(failed.kind): failed.kind}


class Rules:
    """Of a cell. `progress` is the cell's: its findings and complaints are looked at as they are now."""

    def __init__(self, kernel: "ExploreKernel", cell: Cell, enumeration: Enumeration, progress: Progress) -> None:
        self.k, self.cell, self.enumeration, self.progress = kernel, cell, enumeration, progress
        self.known: dict[str, Expectation] = {}  # by text

    def forget(self) -> None:
        """Another batch: its texts are others."""
        self.known.clear()

    def expected(self, text: str, steps: Steps, also: frozenset[str] = frozenset()) -> Expectation:
        """Of a sequence, as of the case that it would be; `also`: what else it is called."""
        if text in self.known and not also:
            return self.known[text]
        config = self.k.context.configs[self.cell.fs]
        rule = self.k.context.expectations.of(self.k.version, {config.name, config.kind}, self.cell.channel,
                                              name_of(text, steps), also, Sequence("", text, "", "").steps)
        if not also:
            self.known[text] = rule
        return rule

    def as_expected(self, candidate: Candidate) -> bool:
        """Is what it showed no news, by its own steps?"""
        return outcome_of(candidate, self.expected(candidate.text, candidate.steps)) == "expected"

    def of(self, item: Item) -> Expectation:
        """Of a sequence of the enumeration."""
        return self.expected(self.enumeration.text(item.world, item.word), self.enumeration.steps(item.word))

    def excuses(self, item: Item, kind: str) -> bool:
        """Is it no news that this sequence leads to such a complaint: by its rule, or as one that is told of has it?"""
        steps = self.enumeration.steps(item.word)
        found = [*self.progress.findings, *self.progress.unconfirmed]
        return self.of(item).allows(kind) or any(
            kind in f.kinds and f.outcome != "expected" and embeds(f.steps, steps) for f in found)

    def by_complaint(self, items: list[Item]) -> list[list[Item]]:
        """Parted, so that within each part every known complaint is either no news of any, or news of all; and a filesystem
        that is not in order, which nobody may be seen to have done."""
        kinds = sorted({*self.progress.complaints.values(), "metadata"})
        parts: dict[tuple[bool, ...], list[Item]] = {}
        for item in items:
            parts.setdefault(tuple(self.excuses(item, kind) for kind in kinds), []).append(item)
        return list(parts.values())

    def is_news(self, shape: str, kind: str, items: list[Item]) -> bool:
        """A complaint that one of them may have led to. Other words for what is known are not, but `kernel-log` is
        anything that has no kind of its own."""
        p = self.progress
        if shape not in p.complaints and (kind == "kernel-log" or kind not in p.complaints.values()):
            return True
        if sum(kind in f.kinds and f.outcome != "expected" for f in [*p.findings, *p.unconfirmed]) < BLAMED_PER_COMPLAINT:
            return not all(self.excuses(i, kind) for i in items)
        enough = f"{shape}: more than {BLAMED_PER_COMPLAINT} kinds of steps lead to it; not looked for beyond them"
        p.set_aside += [enough] * (enough not in p.set_aside)
        return False
