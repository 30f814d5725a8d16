# SPDX-License-Identifier: GPL-2.0
"""One filesystem configuration on one machine: its cases, the checks around them, and what to do when
one of them takes the machine or the filesystem down.

Cases run one after another in one mounted filesystem, each in a folder of its own, and the filesystem is
checked and mounted again after a whole batch of them: first those that disturb nobody, with fio as a
neighbour; then those that touch the whole filesystem (freeze, remount), without; then those after which
it must be mounted again before anything can be looked at (crash); last those that end in a power cut: they
are all brought to that point, then the machine is killed once, and the next one looks at what is left. When a check of a whole batch fails, the
batch is redone by halves, on a fresh filesystem each, down to the case at fault.
"""

import enum
import errno
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from . import controls, damage
from .agent import Reply, decode, encode
from .errors import AgentDied, AgentTimeout, EnvironmentFailed
from .expect import may_spin
from .fsconfig import FsConfig
from .fsops import Filesystem, NotCovered
from .judge import Judgement
from .klog import Finding, by_kind, classify_console
from .neighbour import Neighbour
from .plan import Case
from .race import GUEST_STREAM_MAX, NATIVE_STREAM_MAX, RaceCase, ended_early, fetch, judgement, lines as race_lines
from .store import unwritten, utc_now

if TYPE_CHECKING:
    from .execute import KernelRun

_STREAM_FULL = re.compile(r"stream: (ENOSPC|EDQUOT)$")
_SPINNING = re.compile(r", in R ")
BATCH_CASES = 512
POWER_CASES = 64  # each is a process that waits, with its pins and its held writes
BUSY_S = (0.05, 2.0)  # when, after the last case has begun, the power is cut of those still at work
CASE_TIMEOUT_S = 90.0
PIN_PATIENCE_S = 2.0


class Mode(enum.Enum):
    SHARED = "with fio beside them"
    QUIET = "alone on the filesystem"
    CRASH = "each mounted again before it is looked at"
    POWER = "all cut off at once"

    @classmethod
    def of(cls, case: Case) -> "Mode":
        if case.power:
            return cls.POWER
        return cls.CRASH if case.crashes else cls.QUIET if case.exclusive else cls.SHARED


class CaseLost(Exception):
    """The machine went down in a case; the case is recorded already."""


Heard = dict[int, list[Finding]]


class BatchFailed(Exception):
    """A check over the whole batch failed: kind and text of the finding; of kernel messages their kinds by shape."""

    def __init__(self, kind: str, text: str, shapes: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.shapes = shapes
        # Of an exploration: what was judged before it; what the kernel said while which sequence was under way, by its
        # number; and whether one was under way at a time.
        self.said: list[dict[str, Any]] = []
        self.heard: Heard = {}
        self.alone = False


@dataclass
class Running:
    """A case that ran and is not judged yet."""

    case: Case
    began: float
    started: str
    history: list[str] = field(default_factory=list)
    answer: list[str] = field(default_factory=list)  # of a race: its judge's, and the executor's counters
    status: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    findings: list[dict[str, str]] = field(default_factory=list)
    forced: Judgement | None = None  # what is known without the judge
    waits: bool = False  # for the power to be cut
    ended: float = 0.0

    @property
    def viewable(self) -> bool:
        return self.forced is None


_MTIME_NO = re.compile(r"^(?:note mtime%20(\d+)%20no|mtime (\d+) no)(?:%20| )(\S+)$")
_SPACE_NO = re.compile(r"^note space%20(\d+)%20no%20(\S+)$")
_FLUSHED_NO = re.compile(r"^note flushed%20(\d+)%20no%20(\S+)$")


def unnoticed(history: list[str]) -> list[dict[str, str]]:
    """Writes of which the filesystem knows nothing: a sync has followed and the modification time has not
    moved; or it is full, and nobody was told ENOSPC although there is no block for them."""
    said = [f"op {m[1] or m[2]}: mtime did not move: {decode(m[3])}" for m in map(_MTIME_NO.match, history) if m]
    said += [f"op {m[1]}: no ENOSPC: {decode(m[2])}" for m in map(_SPACE_NO.match, history) if m]
    return [{"kind": "unnoticed", "text": text} for text in said]


def unflushed(history: list[str]) -> list[dict[str, str]]:
    """Writes through a mapping on DAX that a sync has followed, and the kernel did not flush them."""
    return [{"kind": "unflushed", "text": f"op {m[1]}: not flushed by the sync after it: {decode(m[2])}"}
            for m in map(_FLUSHED_NO.match, history) if m]


class FsRun:
    """All cases of one filesystem configuration on one kernel."""

    def __init__(self, kernel: "KernelRun", config: FsConfig) -> None:
        self.k = kernel
        self.config = config
        self.fs: Filesystem | None = None
        self.dirty = True  # make the filesystem anew before the next use
        self.had = False  # it could be made and mounted here before
        self.cuts = 0
        self.pins: int | None = None  # pages pinned by nobody's case, None where that is not counted
        self.enough: Callable[[], bool] = lambda: False  # after a loss: is there no time to begin again?
        self.cut_log: list[str] = []  # of the kernel, while cases were at work until the last cut
        self.later: list[tuple[Case, set[str]]] = []  # of this batch, to be run alone, and why
        self.spun: set[str] = set()  # cases that were still running at their deadline, and get another try

    def run(self, cases: list[Case]) -> None:
        try:
            controls.run(self)
            for mode in Mode:
                mine = [c for c in cases if Mode.of(c) is mode]
                for part in self._parts(mine, mode):
                    self.run_batch(part, mode)
            if self.fs and self.k.up:
                self.fs.umount()
        except NotCovered as why:
            for case in cases:
                if not self.k.is_done(case):
                    self.k.record_skip(case, str(why))

    def _parts(self, cases: list[Case], mode: Mode) -> list[list[Case]]:
        """What runs together. Under one power cut a later case's sync may write what an earlier one was
        promised: those that write the whole filesystem come first, the others in an order drawn from the
        seed. Those at work until the end share a cut with their own channel only: a control's syncfs says what
        became of a pin's page. One that spoils the disks is alone."""
        if mode is not Mode.POWER:
            # A race is long, and what is found after it must be its own.
            size = 1 if cases and isinstance(cases[0], RaceCase) else BATCH_CASES
            return [cases[at:at + size] for at in range(0, len(cases), size)]
        if cases and (why := self.config.lost_with_power):
            for case in cases:
                self.k.record_skip(case, why)
            return []
        verbs = {c: self.k.sequences[c.sequence].verbs for c in cases}
        spoilers = [c for c in cases if any(v.startswith("sabotage") for v in verbs[c])]
        rest = [c for c in cases if c not in spoilers]
        self._random("power-order").shuffle(rest)
        rest.sort(key=lambda c: "syncfs" not in verbs[c])
        parts = [[c] for c in spoilers]
        busy = [c for c in rest if c.busy]
        for group in ([c for c in rest if not c.busy],
                      *([c for c in busy if c.channel == name] for name in dict.fromkeys(c.channel for c in busy))):
            parts += [group[at:at + POWER_CASES] for at in range(0, len(group), POWER_CASES)]
        return parts

    def _random(self, purpose: str) -> random.Random:
        return random.Random(f"{self.k.store.meta['seed']}:{purpose}:{self.k.name}/{self.config.name}")

    # --- the filesystem ---------------------------------------------------------------------

    def prepare(self) -> Filesystem:
        """A mounted, proven filesystem, made anew if need be. NotCovered when it cannot be had at all."""
        if self.dirty or self.fs is None:
            self.k.fresh()
        for _ in range(3):
            try:
                self.k.ensure_up()
                if self.fs is None or self.fs.agent is not self.k.agent:
                    self.fs = Filesystem(self.k.agent, self.config, self.k.device_for(self.config), self.k.mnt,
                                         native=not self.k.machine.guest)
                    self.dirty = True
                if self.dirty:
                    self.k.unmount_leftovers()
                    self.fs.mounted = False
                    self.k.device_for(self.config)  # is it still ours to format?
                    self.fs.mkfs()
                    self.k.made += 1
                if not self.fs.mounted:
                    self.fs.mount()
                self.fs.prove()
                self.dirty, self.had = False, True
                return self.fs
            except NotCovered as why:
                self.k.kmsg()  # not for want of space, which is not the filesystem's
                if self.had:  # what was found on it stands, and the rest was not tested
                    raise EnvironmentFailed(f"{self.config.name}: could be had before and cannot now: {why}") from None
                raise
            except (AgentDied, AgentTimeout) as err:
                self.k.down(f"{self.config.name}: while preparing the filesystem: {err}")
        raise EnvironmentFailed(f"{self.k.name}/{self.config.name}: the machine died three times while "
                                "the filesystem was prepared")

    # --- a batch ----------------------------------------------------------------------------

    def run_batch(self, cases: list[Case], mode: Mode) -> None:
        todo = [c for c in cases if not self.k.is_done(c)]
        losses = 0
        while todo:
            ran: list[Running] = []
            try:
                self._batch_once(todo, ran, mode)
            except CaseLost:
                self.dirty = True
                losses += 1
                todo = [c for c in todo if not self.k.is_done(c)]
                if self.enough():
                    return
                if losses >= 3 and len(todo) > 1:
                    break
                continue
            except BatchFailed as failure:
                if self.k.up:
                    self.k.kmsg()  # the check may have failed on a disk that is full
                self.dirty = True
                if ran:
                    self.k.boots_idle = 0  # the machine was good: smaller batches come to an end however often it goes down
                self._blame(todo, ran, failure, mode)
                return
            for running in ran:
                self.k.conclude(running)
            later, self.later = self.later, []
            for case, kept in later:
                self.dirty = True
                self.run_batch([case], mode)  # in a fresh machine: see prepare()
                for kind in kept:
                    if not self.k.count_findings(kind, [case]):
                        self.k.store.add_note(kind, "met after cases that are known for it, and not alone in a fresh machine",
                                              [case.id], expected=True)
            return
        # Many cases of this batch kill the machine: smaller ones lose less each time.
        if todo:
            half = len(todo) // 2
            self.run_batch(todo[:half], mode)
            self.run_batch(todo[half:], mode)

    def _blame(self, todo: list[Case], ran: list[Running], failure: BatchFailed, mode: Mode) -> None:
        """Find the case of `todo` that makes the batch check fail."""
        if len(todo) == 1:
            for running in ran:
                running.findings.append({"kind": failure.kind, "text": failure.text})
                self.k.conclude(running)
            return
        before = self.k.count_findings(failure.kind, todo)
        self.k.say(f"{self.config.name}: {failure.kind}: {failure.text[:160]}; "
                   f"redoing {len(todo)} cases by halves")
        half = len(todo) // 2
        why = "not seen again when the batch was redone by halves"
        for part in (todo[:half], todo[half:]):
            if self.enough():
                why = "there was no time to redo the batch by halves"
                break
            self.dirty = True  # nothing of the other half may be found again
            self.run_batch(part, mode)
        if self.k.count_findings(failure.kind, todo) == before:
            self.k.store.add_note(failure.kind, f"{failure.text} ({why})", [c.id for c in todo])

    def _batch_once(self, todo: list[Case], ran: list[Running], mode: Mode) -> None:
        fs = self.prepare()
        self.later = []
        neighbour = Neighbour(self.k.agent, self.k.fio_job, fs.mnt, self.k.machine.work_dir)
        try:
            self.k.kmsg()
            if mode is Mode.SHARED:
                neighbour.start()
            if neighbour.why:
                self.k.note_once("neighbour", neighbour.why)
            # While the power is cut they stay pinned.
            self.pins = self.k.agent.pins() if mode is not Mode.POWER else None
        except (AgentDied, AgentTimeout) as err:
            self.k.down(str(err))
            raise CaseLost from None
        for case in todo:
            running = self._run_case(case)
            kept = self._kept(running)
            if kept and not running.waits:
                self.later.append((case, kept))
            else:
                ran.append(running)
            self._after_case(fs, running, mode)
        try:
            self._raise_if(neighbour.stop(), "neighbour")
            if mode is not Mode.POWER:  # it syncs
                self._check_quota(fs)
            if mode is Mode.POWER:
                self._cut_power(fs, ran)
            elif self.config.persistent and mode is not Mode.CRASH:
                self._remount_and_view(fs, ran, "remount")
            self._raise_if(neighbour.verify(), "neighbour")
            self._check_quota(fs)
            self._umount(fs)
            if mode in (Mode.CRASH, Mode.POWER):
                self._check_fs(fs, todo)
            self._grade_batch_log(todo)
        except AgentDied as err:
            self.k.down(str(err))
            raise BatchFailed("crash", classify_console(err.console) or err.reason) from None
        except AgentTimeout as err:
            self.k.down(str(err))
            raise BatchFailed("hang", str(err)) from None

    def _after_case(self, fs: Filesystem, running: Running, mode: Mode) -> None:
        """What cannot wait for the end of the batch. Raises CaseLost, BatchFailed."""
        try:
            if running.status[:2] == ["ok", "hung"]:
                self.k.agent.sh("fsfreeze", "-u", fs.mnt)  # it may have hung because it froze it
            if any(" fault fill " in line for line in running.history):
                self.k.agent.sh("rm", "-f", f"{fs.mnt}/c{running.case.nr}/.fill")  # it may have ended before its drain
            if mode is Mode.CRASH and any(" fault crash" in line for line in running.history):
                self._umount(fs)
                self._mount_again(fs)
                self._view(fs, running, "crash")
                log = self.k.kmsg()
                running.log += [f"[{s:12.6f}] <{p}> {text}" for s, p, text in log]
                self._check_log(running, [text for _, _, text in log])
        except (AgentDied, AgentTimeout) as err:
            self.k.down(str(err))
            self.k.conclude(self.k.lost(running.case, err, running))
            raise CaseLost from None

    def _cut_power(self, fs: Filesystem, ran: list[Running]) -> None:
        """Kill the machine, mount in the next one what is left, and look at the files of all that waited."""
        waiting = [r for r in ran if r.waits]
        if not waiting:
            return
        self.cuts += 1
        busy = any(r.case.busy for r in waiting)
        after_s = self._random(f"power-cut-{self.cuts}").uniform(*BUSY_S) if busy else 0.0
        late, self.cut_log = self.k.power_cut(after_s)
        fs.agent, fs.mounted = self.k.agent, False
        self.dirty = True
        self._mount_again(fs)
        for running in waiting:
            running.history += late.get(running.case.nr, [])
            last_ns = _end_of(running.history, f"killed after {after_s:.3f} s, booted again on the same disks")
            self._view(fs, running, "crash", add_ns=last_ns)
            running.ended = time.monotonic()

    @staticmethod
    def _raise_if(complaints: list[str], kind: str) -> None:
        if complaints:
            raise BatchFailed(kind, " | ".join(complaints[:4]))

    def _note_or_raise(self, kind: str, found: list[str], todo: list[Case]) -> None:
        """What a case of the batch is expected to cause is noted and not searched for."""
        blamed = [c.id for c in todo if self.k.expected(c).allows(kind)]
        if found and blamed:
            self.k.store.add_note(kind, " | ".join(found[:4]), blamed, expected=True)
        else:
            self._raise_if(found, kind)

    def _grade_batch_log(self, todo: list[Case]) -> None:
        """The kernel log of what came after the cases: unmount, fsck, mount. What is expected is no excuse for what is not."""
        lines = self.cut_log + [text for _, _, text in self.k.kmsg()]
        self.cut_log = []
        for kind, found in by_kind(self.k.grade(lines)):
            self._note_or_raise(kind, found, todo)

    def _umount(self, fs: Filesystem) -> None:
        why = fs.umount()
        if why:
            self.k.down(f"umount of {fs.mnt} failed: {why}")
            raise BatchFailed("umount", why)

    @staticmethod
    def _check_quota(fs: Filesystem) -> None:
        complaint = fs.quota()
        if complaint:
            raise BatchFailed("unnoticed", complaint)

    def _check_fs(self, fs: Filesystem, todo: list[Case]) -> None:
        kind, complaint = fs.fsck()
        self.dirty |= bool(complaint)  # it stays, and is none of what the next ones do
        self._note_or_raise(kind, [complaint] if complaint else [], todo)

    @staticmethod
    def _damage(fs: Filesystem, ran: list[Running]) -> None:
        """What a case of the selftest has asked to be broken while nothing is mounted."""
        for running in ran:
            inode = damage.wanted(running.history)
            if inode is not None:
                damage.break_inode(fs, inode)

    @staticmethod
    def _mount_again(fs: Filesystem) -> None:
        try:
            fs.mount()
        except NotCovered as why:
            raise BatchFailed("mount", str(why)) from None

    def _view(self, fs: Filesystem, running: Running, label: str, **more: int) -> None:
        if running.viewable:
            files = ",".join(self.k.sequences[running.case.sequence].files)
            running.history += self.k.agent.views(60, nr=running.case.nr, run=self.k.nonce, label=label, files=files,
                                                  dir=f"{fs.mnt}/c{running.case.nr}", **more).history()

    def _remount_and_view(self, fs: Filesystem, ran: list[Running], label: str) -> None:
        """Unmount, check, mount again, and look at every file of every case."""
        self._umount(fs)
        self._damage(fs, ran)
        self._check_fs(fs, [r.case for r in ran])
        if any(damage.wanted_quota(r.history) for r in ran):
            damage.break_quota(fs)  # after the check: it would find that as well
        self._mount_again(fs)
        for running in ran:
            self._view(fs, running, label)

    # --- one case ---------------------------------------------------------------------------

    def _run_case(self, case: Case) -> Running:
        """Run it and fetch its kernel log and pins. Raises CaseLost when the machine went down."""
        running = Running(case, time.monotonic(), utc_now())
        try:
            reply = self._request(case)
            running.history = reply.history()
            running.status = reply.last
            log = self.k.kmsg()
            running.log = [f"[{s:12.6f}] <{p}> {text}" for s, p, text in log]
            self._check_log(running, [text for _, _, text in log])
            running.findings += unnoticed(running.history) + unflushed(running.history)
            self._read_status(running)
            if isinstance(case, RaceCase):
                self._read_race(case, running, reply)
            if self.k.machine.guest and reply.last[:2] != ["ok", "stuck"]:
                self._check_pins(running)
        except (AgentDied, AgentTimeout) as err:
            self.k.down(str(err))
            self.k.conclude(self.k.lost(case, err, running))
            raise CaseLost from None
        running.ended = time.monotonic()
        if reply.last[:2] == ["ok", "hung"] and _SPINNING.search(" ".join(reply.last[2:])) \
                and case.id not in self.spun and not may_spin(self.k.expected(case).resolutions):
            # It was running, not asleep: an emulated CPU does that once in ten thousand cases. Only a
            # second time, in a fresh guest, is it news.
            self.spun.add(case.id)
            self.k.boots_idle = 0  # the machine was good, and of each case it is so once
            self.k.down(f"{case.id} was still running at its deadline; once more in a fresh machine")
            raise CaseLost
        if reply.last[:2] == ["ok", "stuck"]:
            self.k.down("a case's process cannot be killed")
            self.k.conclude(running)
            raise CaseLost
        if self.k.no_zeros:  # nothing that comes after it on this machine says anything
            self.k.conclude(running)
            raise CaseLost
        return running

    def _kept(self, running: Running) -> set[str]:
        """Warnings that are news of this case, and that cases before it on this machine are known for."""
        expected = self.k.expected(running.case)
        news = {f["kind"] for f in running.findings if f["kind"].startswith("kernel-warning") and not expected.allows(f["kind"])}
        kept = news if self.k.may_be_kept(news) else set()
        self.k.may_warn(expected)
        return kept

    def _request(self, case: Case) -> Reply:
        where: dict[str, str | int] = {
            "nr": case.nr, "run": self.k.nonce, "dir": f"{self.k.mnt}/c{case.nr}", "mnt": self.k.mnt,
            "scratch": self.k.scratch, "channel": case.channel}
        if not isinstance(case, RaceCase):
            sequence = self.k.sequences[case.sequence]
            return self.k.agent.case(CASE_TIMEOUT_S, **where, seq=sequence.text, deadline_ms=self.k.deadline_ms,
                                     grace_ms=self.k.grace_ms, flushes=int("flush-trace" in sequence.needs))
        # Whole memory is walked and disks are waited for, by several threads at once.
        deadline_ms = 5 * self.k.deadline_ms
        if case.keep:
            where.update(record=self._stream_path(case),
                         record_max=GUEST_STREAM_MAX if self.k.machine.guest else NATIVE_STREAM_MAX)
        return self.k.agent.race(
            case.race.timeout_s(deadline_ms), **where, **case.keys(), deadline_ms=deadline_ms,
            judge=str(self.k.machine.judge_path))

    def _stream_path(self, case: Case) -> str:
        """Where the executor writes a race's stream: natively to where it may stay."""
        if self.k.machine.guest:
            return f"{self.k.scratch}/stream-{case.nr}"
        return str(self.k.store.room_for_stream(case.id).resolve())

    def _read_race(self, case: RaceCase, running: Running, reply: Reply) -> None:
        """The judge's answer; the stream is kept when it was asked for, or shows something."""
        running.answer = race_lines(reply)
        if dead := ended_early(reply):
            self.k.say(f"{case.id}: {dead}")
        if running.forced is None:
            running.forced = judgement(reply)
        if not case.keep:
            return
        keep = "ops" in reply.env() and (case.race.record or
                                         running.forced.verdict in ("corrupt", "hung", "broken"))
        source, path = self._stream_path(case), self.k.store.stream_path(case.id)
        full = _STREAM_FULL.search(running.forced.why)
        if full and not self.k.machine.guest:  # what there is of it takes the space of everything else
            path.unlink(missing_ok=True)
            raise unwritten(path, OSError(getattr(errno, full[1]), ""), self.k.store.advice)
        if self.k.machine.guest:
            why = fetch(self.k.agent, source, path, self.k.store.advice) if keep else ""
            if why:
                running.answer.append(f"note the stream could not be fetched: {why}")
            self.k.agent.sh("rm", "-f", source, source + ".gz")
        elif not keep:
            path.unlink(missing_ok=True)

    def _check_log(self, running: Running, lines: list[str]) -> None:
        for finding in self.k.grade(lines):
            running.findings.append({"kind": finding.kind, "text": finding.text, "severity": finding.severity})

    def _read_status(self, running: Running) -> None:
        status = running.status
        how, rest = (status[1:2] or [""])[0], " ".join(status[2:])
        if status[0] == "err":
            running.forced = Judgement(verdict="broken", why="executor: " + " ".join(status[2:]))
        elif how == "skip":
            running.forced = Judgement(verdict="skipped", why=rest)
        elif how == "refused":
            running.forced = Judgement(verdict="coherent", resolution="refused", why=rest,
                                       errno=rest.partition(" ")[0])
        elif how in ("hung", "stuck"):
            running.forced = Judgement(verdict="hung", resolution="hung", why=rest)
        elif how == "died":
            oopsed = any(f.get("severity") in ("oops", "panic", "bug") for f in running.findings)
            running.forced = (Judgement(verdict="crashed", resolution="crashed", why=f"killed by signal {rest}")
                              if oopsed else
                              Judgement(verdict="broken", why=f"the case's process died of signal {rest}"))
        elif how == "power":
            running.waits = True
        elif how != "ran":
            running.forced = Judgement(verdict="broken", why="executor: " + " ".join(status))

    def _check_pins(self, running: Running) -> None:
        """Pins must be back where they were; those of an exiting process may take a moment. What one
        case leaked is not said again of the next."""
        until = time.monotonic() + PIN_PATIENCE_S
        while self.pins is not None:
            held = self.k.agent.pins()
            if held is None or held <= self.pins:
                self.pins = held
                return
            if time.monotonic() > until:
                running.findings.append({"kind": "leaked-pin", "text": f"{held - self.pins} pages still pinned "
                                         "after everything was released"})
                self.pins = held
                return


def _end_of(history: list[str], evidence: str) -> int:
    """Add what only the runner knows of a case whose machine was killed: that it came to that, which ends
    the case in order. Returns the last time in the history."""
    words = [line.split(" ") for line in history]
    last_ns = max([int(w[2]) for w in words if w[0] in ("inv", "ret", "blocked") and len(w) > 2], default=0)
    cut = [w[1] for w in words if w[0] == "inv" and w[3:4] == ["fault"] and w[5:6] == ["crash"]]
    history += [f"effect {op} shown strict {encode(evidence)}" for op in cut[-1:]]
    history.append(f"end {last_ns}")
    return last_ns
