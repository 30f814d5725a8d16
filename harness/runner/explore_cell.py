# SPDX-License-Identifier: GPL-2.0
"""One kernel, filesystem and channel of an exploration: batches of sequences, what came of them, findings.

A batch is a fresh filesystem: chunks of sequences, then unmount, fsck, mount, and one more look at every file.
A batch that fails a check of the whole is redone without the sequences that failed by themselves, and those by
halves, down to the one at fault. In a guest it is heard beside which sequences the kernel says something: those are run
one at a time, which tells at once. What has been found so and is no news of any sequence in a batch is not looked for
again, so those of which it would be are run on a filesystem of their own. A sequence that ends the machine or hangs is
set aside, with what contains it. What fails is run again as an ordinary case, several times, with its history kept.

A finding that is as expected takes in only what is expected by its own steps: rules look at what findings do not
(sizes, views), and what no rule knows is news.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence as Sequence_
from itertools import islice
from typing import TYPE_CHECKING, Any

from .agent import Reply
from .batch import BatchFailed, FsRun, Mode
from .errors import EnvironmentFailed
from .explore_attempt import CHUNK_ITEMS, Attempt, Attempts, Machine, Unjudged, wall_of
from .explore_clock import Clock, OutOfTime
from .explore_state import STATE_SCHEMA, Cell, ExploreCase, Item, Progress, Unlaid, load_progress, state_path
from .explore_rules import Rules, complaints_of
from .findings import JUDGED, Candidate, Finding, embeds, family, more_of, name_of, verbs
from .plan import Case, Sequence

if TYPE_CHECKING:
    from .explore import ExploreKernel, Explore

BATCH_ITEMS, BATCH_BYTES = 4000, 192 << 20
CONFIRM_PER_SIGNATURE = 3  # sequences of the same steps that are tried before they are called not reproducible
CONFIRM_PER_RULE = 10      # the same of those that one rule expects
ALONE_MAX = 256            # sequences that are run one at a time, to be told from each other
UNJUDGED_MAX = 3           # in a row: it is not the sequences
Said = Sequence_[dict[str, Any]]
_PATH = re.compile(r"/[^ :]*:? ?")  # where it was is the sequence's own


def _without(items: list[Item], some: list[Item]) -> list[Item]:
    numbers = {i.nr for i in some}
    return [i for i in items if i.nr not in numbers]


class CellRun:
    """Runs a cell. `said` is called after each batch."""

    def __init__(self, kernel: "ExploreKernel", fs_run: FsRun, cell: Cell, explore: "Explore",
                 said: Callable[["CellRun"], None]) -> None:
        self.k, self.fs_run, self.cell, self.explore, self.said = kernel, fs_run, cell, explore, said
        self.enumeration = explore.enumeration(kernel.hello.channels[cell.channel])
        self.path = state_path(kernel.store.folder, cell)
        self.progress = self._load()
        self.unjudged = 0  # sequences on which the judge failed, since it last did not
        self.unrun = 0  # sequences for which there was no time
        self.laid: Counter[str] = Counter()  # sequences that were found to lead to it, by Unlaid.what
        self.lost: dict[int, dict[str, Any]] = {}  # of sequences that lost data before the machine went down in another
        self.late: set[str] = set()  # complaints that come when what led to them is through: looked for by halves
        self.in_time = 0  # how often one came that did not
        self.withheld: list[Item] = []  # not run, for they contain a hang or crash that is to be confirmed
        self.rules = Rules(kernel, cell, self.enumeration, self.progress)
        self.clock = Clock(kernel, self.progress)
        self.attempts = Attempts(kernel, fs_run, cell, self.enumeration, self.rules, self.clock)

    # --- state ------------------------------------------------------------------------------

    def _load(self) -> Progress:
        if not self.path.exists():
            return Progress()
        progress = load_progress(self.path)
        if progress.depth <= self.explore.depth and not progress.not_covered:
            progress.finished = False  # of less depth
        return progress

    def _save(self) -> None:
        self.k.store.write(self.path, json.dumps({"schema": STATE_SCHEMA, **self.progress.dump()}) + "\n", True)
        self.said(self)

    # --- all of it --------------------------------------------------------------------------

    def run(self, until: float | None) -> None:
        """Go on from where it stood. When the budget is over what there is stands: what was seen and not confirmed, and
        what of a batch was not run, is kept for who goes on."""
        p = self.progress
        began = time.monotonic()
        self.clock.start(until)
        try:
            self._confirm_pending()
            while p.depth <= self.explore.depth and not p.finished:
                self._depth()
                if p.waits:
                    raise OutOfTime
                p.depth_done = p.depth
                p.depth, p.index = p.depth + 1, 0
                if p.ran and p.refused == p.ran:
                    p.not_covered = f"the pin is refused, as in all of {p.ran} sequences up to {p.depth_done} steps"
                    break
            p.finished = True
        except OutOfTime:
            pass
        p.took_s += time.monotonic() - began
        self._save()

    def _depth(self) -> None:
        p = self.progress
        items = self._items(p.depth, p.index)
        while True:
            self.clock.begin_batch()
            if self.clock.batch_over():
                raise OutOfTime
            if p.left:
                self._what_was_left()
                self._save()
                continue
            batch, taken = self._take(items, self._limit())
            p.index += taken
            self._batch(batch)
            if not taken:
                return
            self._save()

    def _batch(self, batch: list[Item]) -> None:
        """Run, and confirmed what came of it; as far as there is time."""
        p = self.progress
        while True:
            if batch:
                self.rules.forget()
                for part in self.rules.by_complaint(batch):
                    self._run_items(part)
            self._confirm_pending()
            if p.deadly:  # not known whether what contains them is to be run
                for finding in p.deadly:
                    finding.under, finding.unseen = finding.under - finding.unseen, 0
                p.left += self.withheld
                self.withheld = []
            if not self.withheld:
                return
            batch, self.withheld = self.withheld, []  # of what was not seen again

    def _what_was_left(self) -> None:
        """Sequences for which there was no time. OutOfTime when all wait for a hang that there is no time for."""
        p = self.progress
        items, p.left = p.left, []
        unlaid, p.unlaid = p.unlaid, []
        before = self.laid.copy()
        batch = [i for i in items if not self._under_deadly(i)]
        self._batch(batch)
        unlaid = [u for u in unlaid if self.laid[u.what] == before[u.what]]
        if p.left:
            p.unlaid = unlaid + [u for u in p.unlaid if u not in unlaid]
            if not batch:
                raise OutOfTime
            return
        for seen in unlaid:
            self._not_again(seen, "not seen again when the batch was redone")

    def _items(self, depth: int, skip: int) -> Iterator[Item]:
        all_items = self.enumeration.items(depth, self.explore.likeliest, self.explore.seed)
        first = self.progress.nr - self.progress.index
        for index, (world, word) in enumerate(islice(all_items, skip, None), skip):
            yield Item(first + index + 1, world, word)

    def _limit(self) -> int:
        """Sequences of the next batch: no more than there is time for."""
        return self.clock.room(BATCH_ITEMS if self.fs_run.config.persistent else CHUNK_ITEMS)

    def _take(self, items: Iterator[Item], limit: int) -> tuple[list[Item], int]:
        """The next batch, and how many items of the order it takes up (other shards' and dropped ones too)."""
        p, out, taken, room = self.progress, [], 0, BATCH_BYTES
        for item in items:
            taken += 1
            p.nr += 1
            if not self.explore.is_mine(item.nr, len(item.word)):
                continue
            lacks = [s.verb for s in (self.enumeration.symbols[i] for i in item.word) if s.verb in p.dropped]
            if lacks:
                p.skipped[f"{lacks[0]}: {p.dropped[lacks[0]]}"] += 1
                continue
            if self._under_deadly(item):
                continue
            out.append(item)
            room -= self.attempts.bytes_of(item)
            if len(out) == limit or room <= 0:
                break
        return out, taken

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

    def _run_items(self, items: list[Item], said: Said = (), alone: bool = False) -> None:
        """Run them and take what came of it, whatever some of them do to the machine. What there is no time for is
        left. `said` was of them when they ran before, in vain. `alone`: one at a time."""
        todo = items
        while todo:
            if self.clock.batch_over():
                self._leave(todo, said)
                return
            try:
                attempt = self._attempt(todo, alone)
            except Machine as end:
                self.fs_run.dirty = True
                said = [*said, *end.said]
                self.lost.update({s["nr"]: s for s in end.said if s["verdict"] in JUDGED})
                culprit = self._culprit(todo, end)
                if culprit is None:
                    self._by_halves(todo, end, said)
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
                begun = list(self.attempts.begun)
                self._blame(begun, failed)
                todo = todo[len(begun):]
                continue
            self.unjudged = 0
            for reply in attempt.replies:
                self._count(reply)
            self.progress.looked_after_remount += attempt.looked
            self._take_results(attempt.items, attempt.said)
            todo = todo[len(attempt.items):]

    def _attempt(self, items: list[Item], alone: bool) -> Attempt:
        """One fresh filesystem. Where the kernel warns in a guest that had others before, once more in a fresh guest: it
        may have kept something of those (KernelRun.fresh()), also without having warned then."""
        try:
            return self.attempts.run(items, to_the_end=False, alone=alone)
        except BatchFailed as failed:
            if not failed.kind.startswith("kernel-warning") or not self.k.machine.guest or self.k.made < 2 \
                    or self.clock.batch_over():
                raise
            warned = Unlaid(failed.kind, failed.text, "", items[0].nr, items[-1].nr)
            kept = self.k.may_be_kept({failed.kind})
        self.fs_run.dirty = True
        out = self.attempts.run(items, to_the_end=False, alone=alone)
        why = "not seen again in a fresh machine, without the filesystems before it"
        if kept:
            self.progress.set_aside.append(f"{warned.kind}: {warned.text} ({why}; something that ran is known for it)")
        else:
            self._not_again(warned, why)
        return out

    def _leave(self, items: list[Item], said: Said) -> None:
        """There is no time for them. What is known of some already, of a batch that came to nothing, is kept."""
        known = {s["nr"]: s for s in said if s["verdict"] in (*JUDGED, "unnoticed")}
        self.progress.left += [i for i in items if i.nr not in known]
        self.unrun += len(items)
        seen = [i for i in items if i.nr in known]
        self.progress.resolutions.update(known[i.nr]["resolution"] for i in seen if known[i.nr]["resolution"])
        self.progress.wall_s += self.clock.took_s(len(seen))
        self._take_results(seen, [known[i.nr] for i in seen])

    def _by_halves(self, items: list[Item], end: Machine, said: Said) -> None:
        """The machine went down in them, and it is not known in which."""
        kind = {"crashed": "crash", "hung": "hang"}.get(end.verdict, "died")
        before, unrun = self.laid[end.verdict], self.unrun
        half = len(items) // 2
        self._run_items(items[:half], said)
        self._run_items(items[half:], said)
        if self.laid[end.verdict] == before:
            self._not_laid(Unlaid(kind, end.why, end.verdict, items[0].nr, items[-1].nr), self.unrun != unrun)

    def _not_laid(self, seen: Unlaid, no_time: bool) -> None:
        """To any of those that were in the batch. They are run again when there is time."""
        if not no_time:
            self._not_again(seen, "not seen again when the batch was redone by halves")
        elif self.progress.left:
            self.progress.unlaid.append(seen)
        else:  # each failed by itself
            self._not_again(seen, "there was no time to redo the batch by halves")

    def _not_again(self, seen: Unlaid, why: str) -> None:
        """A deadline that was missed on a machine that has other things to do says nothing of the kernel; a panic does.
        What the judge failed on, it has judged by now."""
        if seen.verdict == "broken":
            return
        said = f"{seen.text} ({why})"
        if seen.excused:
            self.progress.set_aside.append(f"{seen.kind}, of some of a batch no news: {said}")
            return
        if seen.verdict:
            self.progress.set_aside.append(f"{seen.verdict}: {said}")
        if seen.verdict != "hung":
            self.k.store.add_note(seen.kind, said, [f"{self.cell.id}/explore-{seen.first}..{seen.last}"])

    def _blame(self, items: list[Item], failed: BatchFailed) -> None:
        corrupt = {said["nr"] for said in failed.said if said["verdict"] == "corrupt"}
        bad, rest = ([i for i in items if (i.nr in corrupt) == is_bad] for is_bad in (True, False))
        if len(items) == 1 or not rest and self._all_known(items, failed):
            self._take_failed(items, failed)
            return
        near = self._under_way(items, failed)
        if near and failed.alone:
            self._take_heard(items, near, failed)
            return
        what = family([failed.kind])
        before, unrun, known_before, in_time = self.laid[what], self.unrun, set(self.progress.complaints), self.in_time
        kinds = set(complaints_of(failed).values())
        known, news = ([i for i in items if all(self.rules.excuses(i, k) for k in kinds) == is_known]
                       for is_known in (True, False))
        half = len(items) // 2
        parts, how = ((near, _without(items, near)),
                      f"one at a time the {len(near)} sequences that were under way") if near else \
            ((known, news), f"{len(news)} sequences without the {len(known)} of which that is no news") \
            if known and news else \
            ((rest, bad), f"{len(rest)} sequences without the {len(bad)} that failed by themselves") if bad and 4 * len(rest) >= len(items) else \
            ((items[:half], items[half:]), f"{len(items)} sequences by halves")
        if not self.clock.batch_over():
            self.k.say(f"{self.cell.id}: {failed.kind}: {failed.text[:160]}; redoing {how}")
        for part in parts:
            self._run_items(part, failed.said, alone=part is near)
            if part is near and self.in_time == in_time:  # none of them leads to it
                self.late |= set(failed.shapes)
        if self.laid[what] != before:
            return
        if not news:
            self.progress.complaints.update(complaints_of(failed))
        if set(complaints_of(failed)) <= set(self.progress.complaints) - known_before or not news:
            return  # those came to it again of which it is no news
        self._not_laid(Unlaid(failed.kind, failed.text, "", items[0].nr, items[-1].nr, excused=bool(known)),
                       self.unrun != unrun)

    def _under_way(self, items: list[Item], failed: BatchFailed) -> list[Item]:
        """Those that were when the kernel said it. None where it says some of it late, or beside none, or beside too many."""
        heard = {nr: {f.shape for f in said} & set(failed.shapes) for nr, said in failed.heard.items()}
        if not failed.shapes or self.late & set(failed.shapes) or set().union(*heard.values()) != set(failed.shapes):
            return []
        near = [i for i in items if heard.get(i.nr)]
        return near if failed.alone or len(near) <= ALONE_MAX else []

    def _take_heard(self, items: list[Item], near: list[Item], failed: BatchFailed) -> None:
        """One ran at a time, and these did when it was said. Each by itself, as long as that is news; then the others."""
        what = family([failed.kind])
        before, known = self.laid[what], []
        for item in near:
            kinds = {f.shape: f.kind for f in failed.heard[item.nr] if f.shape in failed.shapes}
            if any(self.rules.is_news(shape, kind, [item]) for shape, kind in kinds.items()):
                self._run_items([item], failed.said)
            else:
                known.append(item)
        if known or self.laid[what] != before:
            self.in_time += 1
        for part in (known, _without(items, near)):
            self._run_items(part, failed.said)

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
        self.laid[family([failed.kind])] += len(items)
        self._take_results(items, said)

    def _culprit(self, items: list[Item], end: Machine) -> Item | None:
        """Which of them it was. None when it cannot be told from here."""
        by_nr = {i.nr: i for i in items}
        if end.nr in by_nr:
            return by_nr[end.nr]
        if len(items) == 1:
            return items[0]
        near = self._near(items, end.mark)
        if not near or self.clock.batch_over():
            return None
        try:
            self.attempts.run(near, marks=True)
            return None
        except BatchFailed:
            return None
        except Machine as again:
            self.fs_run.dirty = True
            guess = by_nr.get(again.nr or (again.mark or [0])[-1])
        if guess is None or len(near) == 1:
            return guess or near[0]
        if self.clock.batch_over():
            return None
        try:
            self.attempts.run([guess])
            return None
        except (Machine, BatchFailed):
            self.fs_run.dirty = True
            return guess

    def _near(self, items: list[Item], mark: list[int], reach: int = 64) -> list[Item]:
        """Those that may have been under way when it last said where it was."""
        at = {i.nr: n for n, i in enumerate(items)}
        out: dict[int, Item] = {}
        for nr in mark:
            if nr in at:
                for item in items[at[nr]:at[nr] + reach * self.attempts.processes]:
                    out[item.nr] = item
        return [out[nr] for nr in sorted(out)]

    def _unjudged(self, item: Item, end: Machine) -> None:
        """Alone it is judged as a case is; a judge that fails on whatever it gets is no judge."""
        self.unjudged += 1
        if self.unjudged == UNJUDGED_MAX:
            raise EnvironmentFailed(f"{self.cell.id}: {end.why}")
        self.laid[end.verdict] += 1
        self.progress.set_aside.append(f"sequence {item.nr}: {end.why}")
        self.progress.ran += 1
        self._candidate(item, {"verdict": "broken", "kinds": ["died"], "why": end.why})

    def _deadly(self, item: Item, end: Machine) -> None:
        text, steps = self._text(item), self.enumeration.steps(item.word)
        kind = {"hung": "hang", "broken": "died"}.get(end.verdict, "kernel-fault")
        self.k.say(f"{self.cell.id}: {end.verdict}: {end.why[:120]}; set aside: {' '.join(verbs(steps))}")
        self.laid[end.verdict] += 1
        self.progress.set_aside.append(f"{end.verdict} in sequence {item.nr}: {end.why[:600]}")
        self.progress.ran += 1
        # Known at once, so that what contains it is not run; confirmed with the others.
        self.progress.findings.append(Finding(
            name_of(text, steps), self.cell.kernel, self.cell.fs, self.cell.channel, text, steps, family([kind]),
            [kind], end.verdict, end.verdict, end.why))

    def _count(self, reply: Reply) -> None:
        p, env = self.progress, reply.env()
        p.coherent += int(env.get("coherent", "0"))
        for key, value in env.items():
            if key.startswith("resolution:"):
                p.resolutions[key.partition(":")[2]] += int(value)
        p.refused = p.resolutions["refused"]
        wall_s = wall_of(reply)
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
        again = {s["nr"] for s in said if s["verdict"] in JUDGED}
        before = [self.lost.pop(nr) for nr in by_nr if nr in self.lost]
        for one in sorted([*said, *(s for s in before if s["nr"] not in again)], key=lambda s: s["nr"]):
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
        from .explore_confirm import unrepeated
        unconfirmed = self.progress.unconfirmed
        if self.rules.as_expected(candidate):
            known = [f for f in unconfirmed if f.outcome == "expected"]
            rule = unrepeated(self, candidate)[1].get("rule")
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
        """Each that is not under a finding, nor under one that this here makes; as long as there is time."""
        p = self.progress
        for deadly in p.deadly:
            finding = self._confirm(Candidate(
                0, deadly.text, deadly.steps, deadly.verdict, deadly.resolution, deadly.kinds, "", deadly.why))
            if finding is None:
                continue
            p.findings.remove(deadly)
            # What is not seen again is not told as a finding, and what contains it is run after all.
            if finding.shown:
                finding.under, finding.unseen = deadly.under, deadly.unseen
                self.withheld = [i for i in self.withheld if not embeds(finding.steps, self.enumeration.steps(i.word))]
            (p.findings if finding.shown else p.unconfirmed).append(finding)
        waiting = []
        while p.pending:
            p.pending.sort(key=lambda c: (len(c.steps), c.nr))
            first = p.pending.pop(0)
            known = self.falls_under(first) or self._not_reproducible(first)
            if known:
                known.take(first.kinds)
                continue
            finding = self._confirm(first)
            if finding is None:
                waiting.append(first)
                continue
            (p.findings if finding.shown else p.unconfirmed).append(finding)
        p.pending = waiting

    def _confirm(self, candidate: Candidate) -> Finding | None:
        """None where there was no time for it."""
        from .explore_confirm import confirm
        try:
            finding = confirm(self, candidate)
        except OutOfTime:
            return None
        self.k.say(f"{self.cell.id}: {finding.what}: "
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
        self.fs_run.dirty, self.fs_run.enough = True, self.clock.over
        self.fs_run.run_batch(cases, Mode.QUIET)
        self.fs_run.dirty = True
        return ids


def _names(line: str) -> list[str]:
    """Files that a line of a sequence names."""
    words = line.split()
    if words[:1] == ["file"]:
        return words[1:2]
    return [words[2]] if words[:1] in (["clone"], ["rename"], ["dedupe"]) else []
