# SPDX-License-Identifier: GPL-2.0
"""From what is left of a race to a sequence with holds: an alphabet of its steps, enumerated by the machinery of
explore, shortest first, until a sequence fails in the same way every time.

Kinds are names: the judge of cases knows kinds that the one of races does not, and the other way round. So a sequence
of the same kind ends the search at once; one of the same family (data that is not what it must be) after one more
depth, and is called what it is.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .agent import ChannelInfo, FaultInfo
from .alphabet import refused
from .batch import FsRun
from .explore_cell import CellRun
from .explore_clock import OutOfTime
from .explore_state import Cell, Item
from .findings import Candidate, Finding, family
from .race import Race

if TYPE_CHECKING:
    from .explore import Explore, ExploreKernel

SYSCALL = "pwrite"  # the channel that holds write(2)
FILE_SIZE = "16K"
FIRST_BATCH, BATCH_S = 24, 20.0
OTHERS_MAX = 3      # of another kind that are run again, when there is none of the same


def channels_for(channel: ChannelInfo, race: Race, known: dict[str, ChannelInfo]) -> list[str]:
    """Which to look through, the recorded one first. A plain store is a step of every sequence, so that channel says
    nothing that write(2), held in the middle, with stores beside it does not."""
    verbs = race.verbs or ("write", "store", "pwrite")
    out = [channel.name] if "write" in verbs and channel.name != "store" else []
    syscall = known.get(SYSCALL)
    if syscall and syscall.available and ("pwrite" in verbs or not out):
        out.append(SYSCALL)
    return out or [channel.name]


def _fault_steps(name: str, fault: FaultInfo) -> list[str]:
    return {"file": [f"step {name} A"], "file-size": [f"step {name} A 4K,{FILE_SIZE}"],
            "file-range": [f"step {name} A 0,8K 4K"],  # half of what is held; just behind it
            "file-file": [f"step {name} B A", f"step {name} A B"]}[fault.args]


def alphabet_text(channel: ChannelInfo, recorded: ChannelInfo, race: Race, faults: dict[str, FaultInfo],
                  unaligned: Callable[[str], bool]) -> tuple[str, list[str]]:
    """The alphabet, and what is left out of it with the reason. `race.faults` are all that it has; `unaligned`: did
    such an operation of the slice end inside a page?"""
    verbs = race.verbs or ("write", "store", "pwrite", "look", "fault")
    views = race.views or ("mmap", "buffered", "direct")
    chosen = {f: faults[f] for f in race.faults if f in faults} if "fault" in verbs else {}
    left_out = [f"{name}: {refused(fault)}" for name, fault in chosen.items() if refused(fault)]
    chosen = {n: f for n, f in chosen.items() if not refused(f)}
    two = any(f.args == "file-file" for f in chosen.values())
    syscall = channel.cls == "syscall"
    # What the race wrote through a mapping without a pin is a store here.
    stores = "store" in verbs or syscall and "write" in verbs and recorded.cls == "pte"
    written = [v for v in ("write", "pwrite") if v in verbs and (syscall if v == "pwrite" else True)] or ["write"]
    lines = [f"# Left of a race: {' '.join([*chosen, *verbs])}", f"file A {FILE_SIZE} written pinned"]
    lines += [f"file B {FILE_SIZE} written"] * two
    if channel.hold == "inflight":
        lines += ["step hold A 0 8K", "step land"]
        if any(unaligned(v) for v in written):
            lines.append("step hold A 2K 4K")
    for name, fault in chosen.items():
        lines += _fault_steps(name, fault)
    if stores:
        lines.append("step store A 64 64")
        if not unaligned("store") or not unaligned("write"):
            lines.append("step store A 0 4K")
    lines.append("step write A 0 8K")
    if "pwrite" in verbs and not syscall:  # of one that is held it would wait for the lock
        lines.append("step pwrite A 4K 4K")
    lines += [f"step read A 0 whole {view}" for view in views]
    return "\n".join(lines) + "\n", left_out


class SequenceRun(CellRun):
    """A cell of an exploration that ends with the first sequence that fails as wanted."""

    def __init__(self, kernel: "ExploreKernel", fs_run: FsRun, cell: Cell, explore: "Explore",
                 wanted: set[str]) -> None:
        super().__init__(kernel, fs_run, cell, explore, lambda _run: self._after_batch())
        self.wanted = wanted
        self.family = family(wanted)
        self.found: Finding | None = None       # shown each time
        self.chance: list[Finding] = []         # shown, and not each time
        self.others: list[Candidate] = []       # of another kind, shortest first
        self.depth_of_kin = 0
        self.stopped = False

    def _limit(self) -> int:
        """Small batches: it ends after the one that has a sequence that fails, and steps that wait for a held write
        make some alphabets slow."""
        p = self.progress
        return min(super()._limit(), max(FIRST_BATCH, int(BATCH_S * p.ran / p.wall_s) if p.wall_s else 0))

    # --- what came of it --------------------------------------------------------------------

    def grade(self, kinds: list[str]) -> int:
        """0: the same kind. 1: of the same family. 2: another."""
        return 0 if self.wanted & set(kinds) else 1 if family(kinds) == self.family else 2

    def _candidate(self, item: Item, said: dict[str, Any]) -> None:
        kinds = said.get("kinds") or [said["verdict"]]
        if self.grade(kinds) == 0:
            super()._candidate(item, said)
            return
        other = Candidate(item.nr, self._text(item), self.enumeration.steps(item.word), said["verdict"],
                          said.get("resolution", ""), kinds, said.get("errno", ""), said.get("why", ""),
                          said.get("evidence", []), item.world, item.word)
        if other.signature not in [o.signature for o in self.others]:
            self.others.append(other)
        if self.grade(kinds) == 1 and not self.depth_of_kin:
            self.depth_of_kin = len(item.word)

    def _not_reproducible(self, candidate: Candidate) -> Finding | None:
        """What is expected is wanted here as much as what is not."""
        return self.tried(candidate)

    def _confirm(self, candidate: Candidate) -> Finding | None:
        finding = super()._confirm(candidate)
        if finding:
            self._judge(finding)
        if self.found:
            self.progress.pending.clear()
        return finding

    def _judge(self, finding: Finding) -> None:
        if not finding.shown:
            return
        if finding.shown == finding.tries:
            self.found = finding
        else:
            self.chance.append(finding)

    def _after_batch(self) -> None:
        """Enough? (CellRun calls this after each batch, and once more at its end.)"""
        self.k.tell(self)
        if self.stopped:
            return
        far = self.depth_of_kin and self.progress.depth > self.depth_of_kin + 1
        if self.found or far:
            self.stopped = True
            raise OutOfTime

    # --- all of it --------------------------------------------------------------------------

    def search(self, until: float) -> None:
        try:
            self.run(until)
        except OutOfTime:  # enough, said after the very last batch
            pass
        self.stopped = True
        self.clock.start(None)  # what was seen is told
        self._confirm_pending()
        ends = [f for f in self.progress.findings if f.ends_things and f.shown]
        if not self.found:
            self.found = next((f for f in ends if self.grade(f.kinds) == 0), None)
        self.others.sort(key=lambda c: (self.grade(c.kinds), len(c.steps), c.nr))
        for at, other in enumerate(self.others[:OTHERS_MAX]):
            if self.found or at and time.monotonic() > until:
                break
            self._confirm(other)

    def told(self, left_out: list[str]) -> dict[str, Any]:
        """For reduce.json."""
        p = self.progress
        steps = [line[5:] for line in self.enumeration.alphabet.text.splitlines() if line.startswith("step ")]
        return {"channel": self.cell.channel, "steps": steps, "left_out": left_out, "depth_done": p.depth_done,
                "ran": p.ran, "coherent": p.coherent, "not_covered": p.not_covered, "dropped": dict(p.dropped),
                "set_aside": list(p.set_aside), "took_s": round(p.took_s, 1),
                "seen_once": [{"kinds": f.kinds, "text": f.text} for f in p.unconfirmed][:OTHERS_MAX]}
