# SPDX-License-Identifier: GPL-2.0
"""From a failing sequence to a finding: shorter where that still fails, then several times as an ordinary case."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .batch import BatchFailed
from .expect import outcome, sleepers
from .explore_attempt import Machine
from .explore_clock import OutOfTime
from .explore_state import Item
from .findings import JUDGED, Candidate, Finding, family, more_of, name_of, outcome_of
from .store import CaseResult

if TYPE_CHECKING:
    from .explore_cell import CellRun

DEADLY_TRIES = 3
COPIES = 3  # of each shorter sequence: it may need a probability
_RANK = {"differs": 0, "fixed": 1, "broken": 2, "inconclusive": 3, "expected": 4}


def _shorter(run: "CellRun", item: Item) -> list[Item]:
    """Every sequence with one step less that still makes sense. It need not write through the channel: what then
    still fails is no conflict, but something plainer."""
    e = run.enumeration
    out = []
    for at in range(len(item.word)):
        word = item.word[:at] + item.word[at + 1:]
        if word and e.valid(word):
            out.append(Item(0, item.world, word))
    return list(dict.fromkeys(out))


def _alike(kinds: Iterable[str], of: Candidate | Finding) -> bool:
    """Do they show what @of is told for? A kind that is more than lost data counts by itself."""
    kinds, more = list(kinds), more_of(of.kinds)
    return family(kinds) == of.family and (not more or bool(more & set(kinds)))


def _as(like: Candidate, run: "CellRun", item: Item) -> Candidate:
    """Another sequence, were it to show the same."""
    return replace(like, text=run.enumeration.text(item.world, item.word), steps=run.enumeration.steps(item.word),
                   world=item.world, word=item.word)


def minimise(run: "CellRun", like: Candidate) -> Candidate:
    """Leave steps out while it fails as before. On the fast path; of violations of data only. What is news never down to
    what is none: that has another cause."""
    news = not run.rules.as_expected(like)
    while len(like.word) > 1:
        shorter = [_as(like, run, item) for item in _shorter(run, Item(like.nr, like.world, like.word))]
        numbered: list[Item] = []
        back: dict[int, Candidate] = {}
        for candidate in shorter:
            if news and run.rules.as_expected(candidate):
                continue
            for _ in range(COPIES):
                nr = len(numbered) + 1
                numbered.append(Item(nr, candidate.world, candidate.word))
                back[nr] = candidate
        if not numbered:
            return like
        if run.clock.over():
            raise OutOfTime
        try:
            said = run.attempts.run(numbered).said
        except (Machine, BatchFailed):
            return like
        failing = [back[s["nr"]] for s in said
                   if s["verdict"] in ("corrupt", "remount", "unnoticed") and _alike(s["kinds"], like)]
        if not failing:
            return like
        like = failing[0]
    return like


def _shows(result: CaseResult, finding: Finding) -> bool:
    kinds = [*result.kinds, *(f["kind"] for f in result.findings)]
    if finding.family in ("crash", "hang"):
        return result.verdict in ("hung", "crashed")
    more = more_of(finding.kinds)
    return finding.family in {family([k]) for k in kinds} and (not more or bool(more & set(kinds)))


def unrepeated(run: "CellRun", candidate: Candidate) -> tuple[str, dict[str, Any]]:
    """Of what was seen once: outcome, and by which rule. No repeat has what thousands of sequences on one filesystem do to
    each other, so rules can say what is expected of that by a name of its own."""
    if candidate.family == "hang":  # a deadline that was missed once, on a machine that has other things to do
        return "inconclusive", {}
    if "died" in candidate.kinds:  # a process of ours
        return "broken", {}
    name = name_of(candidate.text, candidate.steps)
    expected = run.rules.expected(candidate.text, candidate.steps, frozenset({f"unrepeated-{name}"}))
    return outcome_of(candidate, expected), expected.dump()


def _repeat(run: "CellRun", candidate: Candidate) -> Finding:
    """Its sequence as a case, several times; what that shows is the finding. OutOfTime when it was not shown, nor not
    shown often enough."""
    finding = Finding(name_of(candidate.text, candidate.steps), run.cell.kernel, run.cell.fs, run.cell.channel,
                      candidate.text, candidate.steps, candidate.family, list(candidate.kinds), candidate.resolution,
                      candidate.verdict, candidate.why, list(candidate.evidence))
    results: list[CaseResult] = []
    shown: list[CaseResult] = []
    # A hang costs its deadline and a crash a boot: once is enough, when it shows.
    for times in (1,) * DEADLY_TRIES if finding.ends_things else (run.explore.times,):
        if run.clock.over(run.k.deadline_ms / 1000 if finding.family == "hang" else 0.0):
            raise OutOfTime
        finding.cases += run.run_cases(finding.name, candidate.text, times, len(finding.cases) + 1)
        results = [run.k.store.results[c] for c in finding.cases if c in run.k.store.results]
        shown = [r for r in results if _shows(r, finding)]
        if shown:
            break
    finding.tries, finding.shown = len(results), len(shown)
    if not shown and len(results) < len(finding.cases) and run.clock.over():
        raise OutOfTime
    if not shown:
        finding.outcome, finding.expected = unrepeated(run, candidate)
        return finding
    worst = min(shown, key=lambda r: _RANK.get(r.outcome, 5))
    finding.outcome, finding.expected = worst.outcome, worst.expected
    finding.resolution, finding.verdict = worst.resolution, worst.verdict
    finding.why = worst.why or finding.why
    finding.evidence = worst.evidence[:8] or [f["text"] for f in worst.findings][:4] or finding.evidence
    finding.kinds = list(dict.fromkeys([*worst.kinds, *(f["kind"] for f in worst.findings), *finding.kinds]))
    finding.cases.sort(key=lambda c: c != worst.id)  # the one that is told of comes first
    return finding


def confirm(run: "CellRun", candidate: Candidate) -> Finding:
    """Cut down and repeated. What is left of it may show by chance only, so what was seen is repeated, too, before it is
    called not reproducible. OutOfTime; cases that came to an end are not run again by who goes on."""
    if candidate.verdict not in (*JUDGED, "unnoticed"):
        return _repeat(run, candidate)
    least = minimise(run, candidate)
    finding = _repeat(run, least)
    finding.seen = candidate.steps
    if finding.shown or least is candidate:
        return finding
    whole = _repeat(run, candidate)
    return whole if whole.shown else finding


def not_confirmed(run: "CellRun") -> list[Finding]:
    """What was seen and there was no time for yet, as findings that were never repeated: of those that have the steps
    of another the shortest."""
    p = run.progress
    out = []
    for f in p.deadly:
        how, expected = _outcome_seen(run, Candidate(0, f.text, f.steps, f.verdict, kinds=f.kinds, why=f.why))
        out.append(replace(f, outcome=how, expected=expected, kinds=list(f.kinds)))
    for c in sorted(p.pending, key=lambda c: (len(c.steps), c.nr)):
        how, expected = _outcome_seen(run, c)
        known = next((f for f in out if f.outcome == how and f.covers(c.steps, c.family, c.kinds)), None)
        if known:
            known.take(c.kinds)
        else:
            out.append(Finding(name_of(c.text, c.steps), run.cell.kernel, run.cell.fs, run.cell.channel, c.text, c.steps,
                               c.family, list(c.kinds), c.resolution, c.verdict, c.why, list(c.evidence),
                               outcome=how, expected=expected))
    return out


def _outcome_seen(run: "CellRun", candidate: Candidate) -> tuple[str, dict[str, Any]]:
    """Were it to show itself again."""
    if "died" in candidate.kinds:
        return "broken", {}
    expected = run.rules.expected(candidate.text, candidate.steps)
    if candidate.verdict in ("hung", "crashed"):
        asleep = sleepers(candidate.why)
        return outcome(expected, candidate.verdict, candidate.verdict, "", [], [], asleep), expected.dump()
    return outcome_of(candidate, expected), expected.dump()
