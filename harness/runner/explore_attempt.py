# SPDX-License-Identifier: GPL-2.0
"""One fresh filesystem of an exploration: chunks of sequences, then unmount, fsck, mount, and another look at all."""

import errno
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .agent import Reply
from .batch import BatchFailed, FsRun, Heard
from .enumeration import Enumeration
from .errors import AgentDied, AgentTimeout, EnvironmentFailed
from .explore_clock import CHUNK_S, Clock
from .explore_rules import Rules, fsck_shape
from .explore_state import Cell, Item
from .judge import JudgeEach, Judgement
from .klog import classify_console, kind_of

if TYPE_CHECKING:
    from .explore import ExploreKernel

CHUNK_ITEMS, CHUNK_BYTES = 1000, 64 << 20
EVIDENCE_MAX = 3           # as explore.h
PROCESSES = 4              # also wait for pins and disks
SLEEPERS = 16              # as explore.h: where steps wait for a held write, all that most of them take is their grace
SILENCE_S = {"native": 60.0, "guest": 120.0}  # it says every second where it is, and sees itself what stands still
JUDGE_FAILED = "the judge failed"  # what executor/explore_child.c says then


class Machine(Exception):
    """The machine went down, or a sequence hung: at `nr`, 0 when that is not known."""

    def __init__(self, verdict: str, why: str, nr: int = 0, mark: list[int] | None = None) -> None:
        super().__init__(why)
        self.verdict, self.why, self.nr, self.mark = verdict, why, nr, mark or []
        self.said: list[dict[str, Any]] = []  # of the sequences of the chunks before


class Unjudged(Machine):
    """The judge failed on one of them: found by halves, set aside, and never a pass."""

    def __init__(self, why: str) -> None:
        super().__init__("broken", why)


@dataclass
class Attempt:
    """What came of a batch that passed the checks of the whole."""

    items: list[Item] = field(default_factory=list)  # that were run
    said: list[dict[str, Any]] = field(default_factory=list)  # of sequences that are not plainly coherent
    replies: list[Reply] = field(default_factory=list)
    heard: Heard = field(default_factory=dict)
    looked: int = 0


def read_line(line: list[str]) -> dict[str, Any]:
    """`x NR VERDICT RESOLUTION KINDS ERRNO WHY [EVIDENCE...]`, decoded already."""
    def word(at: int) -> str:
        return "" if len(line) <= at or line[at] == "-" else line[at]
    return {"nr": int(line[1]), "verdict": word(2), "resolution": word(3),
            "kinds": word(4).split(",") if word(4) else [], "errno": word(5), "why": word(6), "evidence": line[7:]}


def _judged(reply: Reply, answers: list[tuple[int, Judgement]]) -> Reply:
    """The same as if the machine had judged: EVIDENCE_MAX of the evidence, and its counters."""
    def word(text: str) -> str:
        return text or "-"
    counted = Counter(answer.resolution for _, answer in answers)
    bad = [(nr, a) for nr, a in answers if a.verdict != "coherent"]
    own = int(reply.env().get("not_coherent", "0"))
    lines = [["x", str(nr), word(a.verdict), word(a.resolution), word(",".join(a.kinds)), word(a.errno), a.why,
              *a.evidence[:EVIDENCE_MAX]] for nr, a in bad]
    lines += [["env", "coherent", str(len(answers) - len(bad))], ["env", "not_coherent", str(own + len(bad))]]
    lines += [["env", f"resolution:{name}", str(nr)] for name, nr in sorted(counted.items())]
    return Reply(reply.lines + lines, reply.last)


def wall_of(reply: Reply) -> float:
    """Seconds inside the executor."""
    return int(reply.env().get("wall_us", "0")) / 1e6


def _lines(reply: Reply) -> list[dict[str, Any]]:
    return [read_line(line) for line in reply.lines if line[0] == "x" and len(line) > 6]


def _overheard(reply: Reply) -> list[tuple[int, str]]:
    return [(int(line[1]), " ".join(line[2:])) for line in reply.lines if line[0] == "w" and len(line) > 2]


class Attempts:
    """Of one cell; `rules` say which complaints are news."""

    def __init__(self, kernel: "ExploreKernel", fs_run: FsRun, cell: Cell, enumeration: Enumeration, rules: Rules,
                 clock: Clock) -> None:
        self.k, self.fs_run, self.cell, self.enumeration, self.rules = kernel, fs_run, cell, enumeration, rules
        self.clock = clock
        self.begun: list[Item] = []  # of the last one, also when it failed

    @property
    def processes(self) -> int:
        """A held write(2) has the inode's lock, any other on DAX the layout; on the page cache nothing waits for it."""
        held = self.enumeration.first.holds_max
        return SLEEPERS if held == 1 or held and self.fs_run.config.requires == "pmem" else PROCESSES

    def run(self, items: list[Item], marks: bool = False, to_the_end: bool = True, alone: bool = False) -> Attempt:
        """One fresh filesystem. Not `to_the_end`: when the batch's time is over no further chunk begins. `alone`: one
        sequence at a time. Machine, BatchFailed."""
        out = Attempt()
        self.begun = out.items
        began, boots = time.monotonic(), self.k.boots_next
        try:
            self._run(out, items, marks, to_the_end, alone)
        except Machine as failed:
            failed.said = out.said
            raise
        except BatchFailed as failed:
            failed.said, failed.heard, failed.alone = out.said, out.heard, alone
            raise
        if not boots:
            self.clock.around(max(0.0, time.monotonic() - began - sum(map(wall_of, out.replies))))
        return out

    def _run(self, out: Attempt, items: list[Item], marks: bool, to_the_end: bool, alone: bool) -> None:
        self.fs_run.dirty = True
        fs = self.fs_run.prepare()
        self.k.boots_idle = 0  # the machine is good; what follows comes to an end however often it dies
        try:
            self.k.kmsg()
            pins = self.k.agent.pins() if self.k.machine.guest else None
            for at, chunk in enumerate(self._chunks(items, to_the_end)):
                if at and not to_the_end and self.clock.batch_over():
                    break
                out.items += chunk
                for item in chunk:
                    self.k.may_warn(self.rules.of(item))
                out.replies.append(self._chunk(chunk, at, marks, marks or alone))
                out.said += _lines(out.replies[-1])
                for nr, text in _overheard(out.replies[-1]):
                    out.heard.setdefault(nr, []).extend(self.k.grade([text]))
                self.clock.ran(len(chunk), wall_of(out.replies[-1]))
            if fs.config.persistent:
                self.fs_run._umount(fs)  # noqa: SLF001  # the same steps as after a batch of cases
                try:
                    self.fs_run._check_fs(fs, [])  # noqa: SLF001
                except BatchFailed as failed:
                    if self.rules.is_news(fsck_shape(failed.kind), failed.kind, out.items):
                        raise
                self.fs_run._mount_again(fs)  # noqa: SLF001
                seen = self.k.agent.explore_views(60 + len(out.items) / 10, run=self.k.nonce, mnt=fs.mnt)
                out.looked = int(seen.env().get("looked", "0"))
                out.said += _lines(seen)
            self.fs_run._umount(fs)  # noqa: SLF001
            self._check_log(out.items)
            self._check_pins(pins)
        except AgentDied as err:
            self.k.down(str(err))
            raise Machine("crashed", classify_console(err.console) or err.reason, mark=self.k.agent.mark) from None
        except AgentTimeout as err:
            self.k.down(str(err))
            raise Machine("hung", str(err), mark=self.k.agent.mark) from None

    def bytes_of(self, item: Item) -> int:
        return 2 * self.enumeration.bytes_of(item.word)

    def _chunks(self, items: list[Item], to_the_end: bool) -> Iterator[list[Item]]:
        """Each as large as there is time for when the one before has been run."""
        def most() -> int:
            return CHUNK_ITEMS if to_the_end else self.clock.room(CHUNK_ITEMS, CHUNK_S)
        chunk: list[Item] = []
        room, left = CHUNK_BYTES, most()
        for item in items:
            chunk.append(item)
            room -= self.bytes_of(item)
            if len(chunk) == left or room <= 0:
                yield chunk
                chunk, room, left = [], CHUNK_BYTES, most()
        if chunk:
            yield chunk

    def _chunk(self, items: list[Item], at: int, marks: bool, alone: bool) -> Reply:
        """A guest's histories are judged here: what it is slow at, others do beside it."""
        if not self.k.machine.guest:
            return self._explore(items, at, marks, alone, str(self.k.machine.judge_path), None)
        with JudgeEach(self.k.judge.program) as judge:
            reply = self._explore(items, at, marks, alone, "-", judge.take)
            try:
                answers = judge.finish()
            except EnvironmentFailed as err:
                raise Unjudged(str(err)) from None
            silent = {i.nr for i in items} - {nr for nr, _ in answers} - {said["nr"] for said in _lines(reply)}
            if silent:
                raise Unjudged(f"{JUDGE_FAILED}: nothing was said of sequence {min(silent)}")
            return _judged(reply, answers)

    def _explore(self, items: list[Item], at: int, marks: bool, alone: bool, judge: str,
                 take: Callable[[list[str]], None] | None) -> Reply:
        guest = self.k.machine.guest
        reply = self.k.agent.explore(
            SILENCE_S["guest" if guest else "native"],
            [(i.nr, self.enumeration.text(i.world, i.word)) for i in items], take,
            run=self.k.nonce, dir=f"{self.k.mnt}/x{at}", mnt=self.k.mnt,
            scratch=self.k.scratch, channel=self.cell.channel, judge=judge,
            jobs=1 if alone else min(self.processes, len(items)), first=int(not at), mark=int(marks),
            turns=int(self.k.machine.emulated), overhear=int(bool(guest)),
            deadline_ms=self.k.deadline_ms, grace_ms=self.k.grace_ms)
        how = reply.last[:2]
        if how == ["ok", "ran"]:
            return reply
        if how in (["ok", "hung"], ["ok", "died"]):
            nr = int(reply.last[2]) if reply.last[2:3] and reply.last[2].isdigit() else 0
            rest = " ".join(reply.last[3:])
            if how[1] == "hung":
                raise Machine("hung", f"in {rest}" if rest[1:2] == " " else rest, nr)
            said = self.k.grade([text for _, _, text in self.k.kmsg()])
            if said and kind_of(said) in ("zero-page", "kernel-fault"):
                raise Machine("crashed", f"its process died of signal {rest}: {said[0].text}", nr)
            raise Machine("broken", f"its process died of signal {rest}", nr)  # no oops: it is ours
        if how == ["ok", "stuck"]:
            self.k.down(f"{self.cell.id}: a process cannot be killed")
            nr = next((int(w) for w in reply.last[2:] if w.isdigit()), 0)
            raise Machine("hung", "a process cannot be killed: " + " ".join(reply.last[3:]), nr)
        why = " ".join(reply.last[2:])
        if JUDGE_FAILED in why:
            raise Unjudged(why)
        self._check_log(self.begun)  # a filesystem that has given up is no failure of ours
        number = int(reply.last[1]) if reply.last[1:2] and reply.last[1].isdigit() else 0
        raise EnvironmentFailed(f"{self.cell.id}: executor: {why}: {errno.errorcode.get(number, number)}")

    def _check_log(self, items: list[Item]) -> None:
        graded = self.k.grade([text for _, _, text in self.k.kmsg()])
        # An oops says where it was in its trace only, and a filesystem that has given up is good for nothing, as is a
        # machine without its page of zeros: such are never known.
        news = {s for s, kind in {f.shape: f.kind for f in graded}.items() if self.rules.is_news(s, kind, items)}
        new = [f for f in graded if f.kind.startswith(("zero-page", "kernel-fault", "aborted")) or f.shape in news]
        if new:
            raise BatchFailed(kind_of(new), " | ".join(f.text for f in new[:4]), {f.shape: f.kind for f in new})

    def _check_pins(self, before: int | None) -> None:
        until = time.monotonic() + 2.0
        while before is not None:
            held = self.k.agent.pins()
            if held is None or held <= before:
                return
            if time.monotonic() > until:
                raise BatchFailed("leaked-pin", f"{held - before} pages still pinned after everything was released")

