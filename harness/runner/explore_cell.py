# SPDX-License-Identifier: GPL-2.0
"""One kernel, filesystem and channel of an exploration: batches of sequences, what came of them, findings.

A batch is a fresh filesystem: chunks of sequences, then unmount, fsck, mount, and one more look at every file.
A batch that fails a check of the whole is redone without the sequences that failed by themselves, and those by
halves, down to the one at fault. What has been found so and is no news of any sequence in a batch is not looked for
again, so those of which it would be are run on a filesystem of their own. A sequence that ends the machine or hangs is
set aside, with what contains it. What fails is run again as an ordinary case, several times, with its history kept.

A finding that is as expected takes in only what is expected by its own steps: rules look at what findings do not
(sizes, views), and what no rule knows is news.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from .agent import Reply
from .batch import BatchFailed, FsRun, Mode
from .errors import AgentDied, AgentTimeout, EnvironmentFailed
from .explore_state import STATE_SCHEMA, Cell, ExploreCase, Item, Progress, load_progress, state_path
from .explore_rules import Rules, complaints_of, fsck_shape
from .findings import Candidate, Finding, embeds, family, more_of, name_of, verbs
from .judge import JudgeEach, Judgement
from .klog import classify_console, kind_of
from .plan import Case, Sequence

if TYPE_CHECKING:
    from .explore import ExploreKernel, Explore

CHUNK_ITEMS, CHUNK_BYTES = 1000, 64 << 20
BATCH_ITEMS, BATCH_BYTES = 4000, 192 << 20
FIRST_RATE = 100  # sequences a second, before it is known
CONFIRM_PER_SIGNATURE = 3  # sequences of the same steps that are tried before they are called not reproducible
CONFIRM_PER_RULE = 10      # the same of those that one rule expects
EVIDENCE_MAX = 3           # as explore.h
PROCESSES = 4              # also wait for pins and disks
SLEEPERS = 16              # as explore.h: where a step waits for a held write(2), all that it takes is its grace
SILENCE_S = {"native": 60.0, "guest": 120.0}  # it says every second where it is, and sees itself what stands still
JUDGE_FAILED = "the judge failed"  # what executor/explore_child.c says then
UNJUDGED_MAX = 3           # in a row: it is not the sequences
_PATH = re.compile(r"/[^ :]*:? ?")  # where it was is the sequence's own


class Machine(Exception):
    """The machine went down, or a sequence hung: at `nr`, 0 when that is not known."""

    def __init__(self, verdict: str, why: str, nr: int = 0, mark: list[int] | None = None) -> None:
        super().__init__(why)
        self.verdict, self.why, self.nr, self.mark = verdict, why, nr, mark or []


class Unjudged(Machine):
    """The judge failed on one of them: found by halves, set aside, and never a pass."""

    def __init__(self, why: str) -> None:
        super().__init__("broken", why)


class OutOfTime(Exception):
    """The budget is used up; what there is stands."""


@dataclass
class Attempt:
    """What came of a batch that passed the checks of the whole."""

    said: list[dict[str, Any]] = field(default_factory=list)  # of sequences that are not plainly coherent
    replies: list[Reply] = field(default_factory=list)
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


def _lines(reply: Reply) -> list[dict[str, Any]]:
    return [read_line(line) for line in reply.lines if line[0] == "x" and len(line) > 6]


class CellRun:
    """Runs a cell. `said` is called after each batch."""

    def __init__(self, kernel: "ExploreKernel", fs_run: FsRun, cell: Cell, explore: "Explore",
                 said: Callable[["CellRun"], None]) -> None:
        self.k, self.fs_run, self.cell, self.explore, self.said = kernel, fs_run, cell, explore, said
        self.enumeration = explore.enumeration(kernel.hello.channels[cell.channel])
        self.path = state_path(kernel.store.folder, cell)
        self.progress = self._load()
        self.unjudged = 0  # sequences on which the judge failed, since it last did not
        self.blamed = 0  # sequences that were found to fail a check of the whole
        self.withheld: list[Item] = []  # not run, for they contain a hang or crash that is to be confirmed
        self.rules = Rules(kernel, cell, self.enumeration, self.progress)

    # --- state ------------------------------------------------------------------------------

    def _load(self) -> Progress:
        if not self.path.exists():
            return Progress()
        return load_progress(self.path)

    def _save(self) -> None:
        self.k.store.write(self.path, json.dumps({"schema": STATE_SCHEMA, **self.progress.dump()}) + "\n", True)
        self.said(self)

    # --- all of it --------------------------------------------------------------------------

    def run(self, until: float | None) -> None:
        """Go on from where it stood. OutOfTime is not an error: what there is stands."""
        p = self.progress
        began = time.monotonic()
        try:
            while p.depth <= self.explore.depth and not p.finished:
                self._depth(until)
                self._confirm_pending()
                p.depth_done = p.depth
                p.depth, p.index = p.depth + 1, 0
                if p.ran and p.refused == p.ran:
                    p.not_covered = f"the pin is refused, as in all of {p.ran} sequences up to {p.depth_done} steps"
                    break
            p.finished = True
        except OutOfTime:
            self._confirm_pending()
        p.took_s += time.monotonic() - began
        self._save()

    def _depth(self, until: float | None) -> None:
        p = self.progress
        items = self._items(p.depth, p.index)
        while True:
            if until is not None and time.monotonic() >= until:
                raise OutOfTime
            batch, taken = self._take(items, self._limit(until))
            while batch:
                self.rules.forget()
                for part in self.rules.by_complaint(batch):
                    self._run_items(part)
                self._confirm_pending()
                batch, self.withheld = self.withheld, []  # of what was not seen again
            p.index += taken
            if not taken:
                return
            self._save()

    def _items(self, depth: int, skip: int) -> Iterator[Item]:
        all_items = self.enumeration.items(depth, self.explore.likeliest, self.explore.seed)
        first = self.progress.nr - self.progress.index
        for index, (world, word) in enumerate(islice(all_items, skip, None), skip):
            yield Item(first + index + 1, world, word)

    def _limit(self, until: float | None) -> int:
        """Sequences of the next batch: no more than what is left of the budget is good for."""
        p = self.progress
        most = BATCH_ITEMS if self.fs_run.config.persistent else CHUNK_ITEMS
        if until is None:
            return most
        rate = p.ran / p.wall_s if p.wall_s else FIRST_RATE
        return min(most, max(FIRST_RATE, int(rate * (until - time.monotonic()))))

    def _take(self, items: Iterator[Item], limit: int) -> tuple[list[Item], int]:
        """The next batch, and how many items of the order it takes up (other shards' and dropped ones too)."""
        p, out, taken, room = self.progress, [], 0, BATCH_BYTES
        for item in items:
            taken += 1
            p.nr += 1
            if (item.nr - 1) % self.explore.shards != self.explore.shard:
                continue
            lacks = [s.verb for s in (self.enumeration.symbols[i] for i in item.word) if s.verb in p.dropped]
            if lacks:
                p.skipped[f"{lacks[0]}: {p.dropped[lacks[0]]}"] += 1
                continue
            if self._under_deadly(item):
                continue
            out.append(item)
            room -= self._bytes(item)
            if len(out) == limit or room <= 0:
                break
        return out, taken

    def _bytes(self, item: Item) -> int:
        used = {f for i in item.word for f in self.enumeration.symbols[i].files}
        return 2 * sum(self.enumeration.alphabet.files[f].size for f in used)

    def _under_deadly(self, item: Item) -> bool:
        for finding in self.progress.findings:
            if finding.ends_things and embeds(finding.steps, self.enumeration.steps(item.word)):
                finding.under += 1
                finding.unseen += 1
                if not finding.tries:
                    self.withheld.append(item)
                return True
        return False

    # --- a batch ----------------------------------------------------------------------------

    def _run_items(self, items: list[Item]) -> None:
        """Run them and take what came of it, whatever some of them do to the machine."""
        todo = items
        while todo:
            try:
                attempt = self.attempt(todo)
            except Machine as end:
                self.fs_run.dirty = True
                culprit = self._culprit(todo, end)
                if culprit is None:
                    before = len(self.progress.set_aside)
                    half = len(todo) // 2
                    self._run_items(todo[:half])
                    self._run_items(todo[half:])
                    if len(self.progress.set_aside) == before:
                        self._not_again(todo, end)
                    return
                if isinstance(end, Unjudged):
                    self._unjudged(culprit, end)
                    todo = [i for i in todo if i is not culprit]
                    continue
                self._deadly(culprit, end)
                todo = [i for i in todo if i is not culprit and not self._under_deadly(i)]
                continue
            except BatchFailed as failed:
                self.fs_run.dirty = True
                self._blame(todo, failed)
                return
            self.unjudged = 0
            for reply in attempt.replies:
                self._count(reply)
            self.progress.looked_after_remount += attempt.looked
            self._take_results(todo, attempt.said)
            return

    def _not_again(self, items: list[Item], end: Machine) -> None:
        """The machine went down in a batch and not in its halves. A deadline that was missed on a machine that has other
        things to do says nothing of the kernel; a panic does. What the judge failed on, it has judged by now."""
        if isinstance(end, Unjudged):
            return
        said = f"{end.why} (not seen again when the batch was redone by halves)"
        self.progress.set_aside.append(f"{end.verdict}: {said}")
        if end.verdict == "crashed":
            self.k.store.add_note("crash", said, [f"{self.cell.id}/explore-{items[0].nr}..{items[-1].nr}"])

    def _blame(self, items: list[Item], failed: BatchFailed) -> None:
        corrupt = {said["nr"] for said in failed.said if said["verdict"] == "corrupt"}
        bad, rest = ([i for i in items if (i.nr in corrupt) == is_bad] for is_bad in (True, False))
        if len(items) == 1 or not rest and self._all_known(items, failed):
            self._take_failed(items, failed)
            return
        before = self.blamed
        if bad and rest:
            self.k.say(f"{self.cell.id}: {failed.kind}: {failed.text[:160]}; redoing {len(rest)} sequences without the "
                       f"{len(bad)} that failed by themselves")
            parts = [rest, bad]
        else:
            self.k.say(f"{self.cell.id}: {failed.kind}: {failed.text[:160]}; redoing {len(items)} sequences by halves")
            half = len(items) // 2
            parts = [items[:half], items[half:]]
        for part in parts:
            self._run_items(part)
        if self.blamed != before:
            return
        if all(self.rules.excuses(i, kind) for i in items for kind in set(complaints_of(failed).values())):
            self.progress.complaints.update(complaints_of(failed))
            return
        self.k.store.add_note(failed.kind, f"{failed.text} (not seen again when the batch was redone by halves)",
                              [f"{self.cell.id}/explore-{items[0].nr}..{items[-1].nr}"])

    def _all_known(self, items: list[Item], failed: BatchFailed) -> bool:
        """Is each under a finding of this check? (A message of the kernel that is new is always looked for.)"""
        of_family = family([failed.kind])
        return not failed.shapes and all(any(f.covers(self.enumeration.steps(i.word), of_family, [failed.kind])
                                             for f in self.progress.findings) for i in items)

    def _take_failed(self, items: list[Item], failed: BatchFailed) -> None:
        """They failed the check, and came out as the judge said before it."""
        numbers = {i.nr for i in items}
        said = [s for s in failed.said if s["nr"] in numbers]
        for item in items:
            self._candidate(item, {"verdict": failed.kind, "kinds": [failed.kind], "why": failed.text})
        self.progress.resolutions.update(s["resolution"] for s in said if s["resolution"])
        self.progress.complaints.update(complaints_of(failed))
        self.blamed += len(items)
        self._take_results(items, said)

    def _culprit(self, items: list[Item], end: Machine) -> Item | None:
        """Which of them it was. None when it cannot be told from here."""
        by_nr = {i.nr: i for i in items}
        if end.nr in by_nr:
            return by_nr[end.nr]
        if len(items) == 1:
            return items[0]
        near = self._near(items, end.mark)
        if not near:
            return None
        try:
            self.attempt(near, marks=True)
            return None
        except BatchFailed:
            return None
        except Machine as again:
            self.fs_run.dirty = True
            guess = by_nr.get(again.nr or (again.mark or [0])[-1])
        if guess is None or len(near) == 1:
            return guess or near[0]
        try:
            self.attempt([guess])
            return None
        except (Machine, BatchFailed):
            self.fs_run.dirty = True
            return guess

    @property
    def _processes(self) -> int:
        return SLEEPERS if self.enumeration.first.holds_max == 1 else PROCESSES

    def _near(self, items: list[Item], mark: list[int], reach: int = 64) -> list[Item]:
        """Those that may have been under way when it last said where it was."""
        at = {i.nr: n for n, i in enumerate(items)}
        out: dict[int, Item] = {}
        for nr in mark:
            if nr in at:
                for item in items[at[nr]:at[nr] + reach * self._processes]:
                    out[item.nr] = item
        return [out[nr] for nr in sorted(out)]

    def _unjudged(self, item: Item, end: Machine) -> None:
        """Alone it is judged as a case is; a judge that fails on whatever it gets is no judge."""
        self.unjudged += 1
        if self.unjudged == UNJUDGED_MAX:
            raise EnvironmentFailed(f"{self.cell.id}: {end.why}")
        self.progress.set_aside.append(f"sequence {item.nr}: {end.why}")
        self.progress.ran += 1
        self._candidate(item, {"verdict": "broken", "kinds": ["died"], "why": end.why})

    def _deadly(self, item: Item, end: Machine) -> None:
        text, steps = self._text(item), self.enumeration.steps(item.word)
        kind = {"hung": "hang", "broken": "died"}.get(end.verdict, "kernel-fault")
        self.k.say(f"{self.cell.id}: {end.verdict}: {end.why[:120]}; set aside: {' '.join(verbs(steps))}")
        self.progress.set_aside.append(f"{end.verdict} in sequence {item.nr}: {end.why[:600]}")
        self.progress.ran += 1
        # Known at once, so that what contains it is not run; confirmed with the others.
        self.progress.findings.append(Finding(
            name_of(text, steps), self.cell.kernel, self.cell.fs, self.cell.channel, text, steps, family([kind]),
            [kind], end.verdict, end.verdict, end.why))

    def attempt(self, items: list[Item], marks: bool = False) -> Attempt:
        """One fresh filesystem. Machine, BatchFailed."""
        out = Attempt()
        self.fs_run.dirty = True
        fs = self.fs_run.prepare()
        self.k.boots_idle = 0  # the machine is good; what follows comes to an end however often it dies
        try:
            self.k.kmsg()
            pins = self.k.agent.pins() if self.k.machine.guest else None
            for at, chunk in enumerate(self._chunks(items)):
                out.replies.append(self._chunk(chunk, at, marks))
                out.said += _lines(out.replies[-1])
            if fs.config.persistent:
                self.fs_run._umount(fs)  # noqa: SLF001  # the same steps as after a batch of cases
                try:
                    self.fs_run._check_fs(fs, [])  # noqa: SLF001
                except BatchFailed as failed:
                    if self.rules.is_news(fsck_shape(failed.kind), failed.kind, items):
                        raise
                self.fs_run._mount_again(fs)  # noqa: SLF001
                seen = self.k.agent.explore_views(60 + len(items) / 10, run=self.k.nonce, mnt=fs.mnt)
                out.looked = int(seen.env().get("looked", "0"))
                out.said += _lines(seen)
            self.fs_run._umount(fs)  # noqa: SLF001
            self._check_log(items)
            self._check_pins(pins)
        except BatchFailed as failed:
            failed.said = out.said
            raise
        except AgentDied as err:
            self.k.down(str(err))
            raise Machine("crashed", classify_console(err.console) or err.reason, mark=self.k.agent.mark) from None
        except AgentTimeout as err:
            self.k.down(str(err))
            raise Machine("hung", str(err), mark=self.k.agent.mark) from None
        return out

    def _chunks(self, items: list[Item]) -> Iterator[list[Item]]:
        chunk: list[Item] = []
        room = CHUNK_BYTES
        for item in items:
            chunk.append(item)
            room -= self._bytes(item)
            if len(chunk) == CHUNK_ITEMS or room <= 0:
                yield chunk
                chunk, room = [], CHUNK_BYTES
        if chunk:
            yield chunk

    def _chunk(self, items: list[Item], at: int, marks: bool) -> Reply:
        """A guest's histories are judged here: what it is slow at, others do beside it."""
        if not self.k.machine.guest:
            return self._explore(items, at, marks, str(self.k.machine.judge_path), None)
        with JudgeEach(self.k.judge.program) as judge:
            reply = self._explore(items, at, marks, "-", judge.take)
            try:
                answers = judge.finish()
            except EnvironmentFailed as err:
                raise Unjudged(str(err)) from None
            silent = {i.nr for i in items} - {nr for nr, _ in answers} - {said["nr"] for said in _lines(reply)}
            if silent:
                raise Unjudged(f"{JUDGE_FAILED}: nothing was said of sequence {min(silent)}")
            return _judged(reply, answers)

    def _explore(self, items: list[Item], at: int, marks: bool, judge: str,
                 take: Callable[[list[str]], None] | None) -> Reply:
        guest = self.k.machine.guest
        reply = self.k.agent.explore(
            SILENCE_S["guest" if guest else "native"], [(i.nr, self._text(i)) for i in items], take,
            run=self.k.nonce, dir=f"{self.k.mnt}/x{at}", mnt=self.k.mnt,
            scratch=self.k.scratch, channel=self.cell.channel, judge=judge,
            jobs=1 if marks else min(self._processes, len(items)), first=int(not at), mark=int(marks),
            turns=int(self.k.machine.emulated),
            deadline_ms=self.k.deadline_ms, grace_ms=self.k.grace_ms)
        how = reply.last[:2]
        if how == ["ok", "ran"]:
            return reply
        if how in (["ok", "hung"], ["ok", "died"]):
            nr = int(reply.last[2]) if reply.last[2:3] and reply.last[2].isdigit() else 0
            rest = " ".join(reply.last[3:])
            if how[1] == "hung":
                raise Machine("hung", f"in {rest}" if rest[1:2] == " " else rest, nr)
            said = self.k.klog.grade([text for _, _, text in self.k.kmsg()])
            if said and kind_of(said) == "kernel-fault":
                raise Machine("crashed", f"its process died of signal {rest}: {said[0].text}", nr)
            raise Machine("broken", f"its process died of signal {rest}", nr)  # no oops: it is ours
        if how == ["ok", "stuck"]:
            self.k.down(f"{self.cell.id}: a process cannot be killed")
            nr = next((int(w) for w in reply.last[2:] if w.isdigit()), 0)
            raise Machine("hung", "a process cannot be killed: " + " ".join(reply.last[3:]), nr)
        why = " ".join(reply.last[2:])
        if JUDGE_FAILED in why:
            raise Unjudged(why)
        raise EnvironmentFailed(f"{self.cell.id}: executor: {why}")

    def _check_log(self, items: list[Item]) -> None:
        graded = self.k.klog.grade([text for _, _, text in self.k.kmsg()])
        # An oops says where it was in its trace only, and a filesystem that has given up is good for nothing: such are
        # never known.
        news = {s for s, kind in {f.shape: f.kind for f in graded}.items() if self.rules.is_news(s, kind, items)}
        new = [f for f in graded if f.kind.startswith(("kernel-fault", "aborted")) or f.shape in news]
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

    def _count(self, reply: Reply) -> None:
        p, env = self.progress, reply.env()
        p.coherent += int(env.get("coherent", "0"))
        for key, value in env.items():
            if key.startswith("resolution:"):
                p.resolutions[key.partition(":")[2]] += int(value)
        p.refused = p.resolutions["refused"]
        wall_s = int(env.get("wall_us", "0")) / 1e6
        nr = int(env.get("coherent", "0")) + int(env.get("not_coherent", "0"))
        p.wall_s += wall_s
        p.cpu_s += int(env.get("cpu_us", "0")) / 1e6
        for key, value in env.items():
            if key.startswith("phase_us:"):
                phase = key.partition(":")[2]
                p.phases_s[phase] = round(p.phases_s.get(phase, 0.0) + int(value) / 1e6, 3)
        if nr >= 200 and wall_s:
            p.best_rate = max(p.best_rate, nr / wall_s)

    # --- what came of them ------------------------------------------------------------------

    def _text(self, item: Item) -> str:
        return self.enumeration.text(item.world, item.word)

    def _take_results(self, items: list[Item], said: list[dict[str, Any]]) -> None:
        p = self.progress
        p.ran += len(items)
        by_nr = {i.nr: i for i in items}
        for one in sorted(said, key=lambda s: s["nr"]):
            item = by_nr.get(one["nr"])
            if item is None:
                continue
            if one["verdict"] == "skipped":
                verb, _, why = one["why"].partition(":")
                p.skipped[one["why"]] += 1
                p.ran -= 1
                if verb in self.enumeration.alphabet.verbs and why:
                    p.dropped[verb] = why.strip()
            elif one["verdict"] == "inconclusive" and ("had no effect" in one["why"]
                                                       or "have had an effect" in one["why"]):
                p.idle += 1
            elif one["verdict"] == "inconclusive":
                p.inconclusive[one["why"] or one["verdict"]] += 1
            elif one["verdict"] == "broken":
                p.broken[_PATH.sub("", one["why"]) or one["verdict"]] += 1
                p.ran -= 1
            else:
                self._candidate(item, one)
        self._confirm_pending()

    def _candidate(self, item: Item, said: dict[str, Any]) -> None:
        kinds = said.get("kinds") or [said["verdict"]]
        candidate = Candidate(item.nr, self._text(item), self.enumeration.steps(item.word), said["verdict"],
                              said.get("resolution", ""), kinds, said.get("errno", ""), said.get("why", ""),
                              said.get("evidence", []), item.world, item.word)
        known = self.falls_under(candidate)
        if known:
            known.take(kinds)
        else:
            self.progress.pending.append(candidate)

    def falls_under(self, candidate: Candidate) -> Finding | None:
        """The finding that it falls under."""
        return next((f for f in self.progress.findings
                     if f.covers(candidate.steps, candidate.family, candidate.kinds)
                     and (f.outcome != "expected" or self.rules.as_expected(candidate))), None)

    def _not_reproducible(self, candidate: Candidate) -> Finding | None:
        """The one of those that were not seen again that it falls under, once enough like it have been tried."""
        unconfirmed = self.progress.unconfirmed
        if self.rules.as_expected(candidate):
            known = [f for f in unconfirmed if f.outcome == "expected"]
            rule = self.rules.expected(candidate.text, candidate.steps).rule
            alike = [f for f in known if f.family == candidate.family and f.expected.get("rule") == rule
                     and not more_of(candidate.kinds) - set(f.kinds)]
            under = [f for f in known if f.covers(candidate.steps, candidate.family, candidate.kinds)]
            return under[0] if under else alike[0] if len(alike) >= CONFIRM_PER_RULE else None
        return self.tried(candidate)

    def tried(self, candidate: Candidate) -> Finding | None:
        """One of the same steps that was not seen again, once there are enough of them."""
        from .explore_confirm import unrepeated
        by_chance = unrepeated(self, candidate)[0]
        same = [f for f in self.progress.unconfirmed if f.signature == candidate.signature and f.outcome == by_chance]
        return same[0] if len(same) >= CONFIRM_PER_SIGNATURE else None

    def _confirm_pending(self) -> None:
        """Each that is not under a finding, nor under one that this here makes."""
        p = self.progress
        for deadly in [f for f in p.findings if f.ends_things and not f.tries]:
            finding = self._confirm(Candidate(
                0, deadly.text, deadly.steps, deadly.verdict, deadly.resolution, deadly.kinds, "", deadly.why))
            p.findings.remove(deadly)
            # What is not seen again is not told as a finding, and what contains it is run after all.
            if finding.shown:
                finding.under, finding.unseen = deadly.under, deadly.unseen
                self.withheld = [i for i in self.withheld if not embeds(finding.steps, self.enumeration.steps(i.word))]
            (p.findings if finding.shown else p.unconfirmed).append(finding)
        while p.pending:
            p.pending.sort(key=lambda c: (len(c.steps), c.nr))
            first = p.pending.pop(0)
            known = self.falls_under(first) or self._not_reproducible(first)
            if known:
                known.take(first.kinds)
                continue
            finding = self._confirm(first)
            (p.findings if finding.shown else p.unconfirmed).append(finding)

    def _confirm(self, candidate: Candidate) -> Finding:
        from .explore_confirm import confirm
        finding = confirm(self, candidate)
        self.k.say(f"{self.cell.id}: {finding.family}: {', '.join(finding.kinds)}: "
                   f"{' '.join(verbs(finding.steps))} ({finding.shown} of {finding.tries})")
        return finding

    def run_cases(self, name: str, text: str, times: int, first: int = 1) -> list[str]:
        """The same sequence so many times as ordinary cases, numbered from `first` on. Returns their ids."""
        ids = []
        cases: list[Case] = []
        for again in range(first, first + times):
            sequence = Sequence(f"{name}.{again}", text, "", "explored", files=tuple(
                dict.fromkeys(w for line in text.splitlines() for w in _names(line))))
            self.k.sequences[sequence.name] = sequence
            case = ExploreCase(self.cell.kernel, self.cell.fs, self.cell.channel, sequence.name, self.k.next_case(),
                               exclusive=True, again=again, folder=self.k.folder)
            cases.append(case)
            ids.append(case.id)
        self.fs_run.dirty = True
        self.fs_run.run_batch(cases, Mode.QUIET)
        self.fs_run.dirty = True
        return ids


def _names(line: str) -> list[str]:
    """Files that a line of a sequence names."""
    words = line.split()
    if words[:1] == ["file"]:
        return words[1:2]
    return [words[2]] if words[:1] in (["clone"], ["rename"], ["dedupe"]) else []
