# SPDX-License-Identifier: GPL-2.0
"""From a failing sequence to a finding: shorter where that still fails, then several times as an ordinary case."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .batch import BatchFailed
from .expect import outcome
from .explore_state import Item
from .findings import Candidate, Finding, family, more_of, name_of
from .store import CaseResult

if TYPE_CHECKING:
    from .explore_cell import CellRun

DEADLY_TRIES = 3
COPIES = 3  # of each shorter sequence: it may need a probability
_JUDGED = ("corrupt", "remount")  # verdicts that a history's data has got
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


def minimise(run: "CellRun", item: Item, like: Candidate) -> Item:
    """Leave steps out while it fails as before. On the fast path; of violations of data only."""
    from .explore_cell import Machine
    while len(item.word) > 1:
        numbered: list[Item] = []
        back: dict[int, Item] = {}
        for candidate in _shorter(run, item):
            for _ in range(COPIES):
                nr = len(numbered) + 1
                numbered.append(Item(nr, candidate.world, candidate.word))
                back[nr] = candidate
        if not numbered:
            return item
        try:
            said = run.attempt(numbered).said
        except (Machine, BatchFailed):
            return item
        failing = [back[s["nr"]] for s in said
                   if s["verdict"] in ("corrupt", "remount", "unnoticed") and _alike(s["kinds"], like)]
        if not failing:
            return item
        item = failing[0]
    return item


def _shows(result: CaseResult, finding: Finding) -> bool:
    kinds = [*result.kinds, *(f["kind"] for f in result.findings)]
    if finding.family in ("crash", "hang"):
        return result.verdict in ("hung", "crashed")
    more = more_of(finding.kinds)
    return finding.family in {family([k]) for k in kinds} and (not more or bool(more & set(kinds)))


def _unrepeated(run: "CellRun", candidate: Candidate, name: str) -> tuple[str, dict[str, Any]]:
    """Its data was judged, seen again or not. No repeat has what thousands of sequences on one filesystem do to each
    other, so rules can say what is expected of that by a name of its own."""
    config = run.k.context.configs[run.cell.fs]
    expected = run.k.context.expectations.of(run.k.version, {config.name, config.kind}, run.cell.channel, name,
                                             frozenset({f"unrepeated-{name}"}))
    return outcome(expected, candidate.verdict, candidate.resolution, candidate.errno, [],
                   candidate.kinds), expected.dump()


def confirm(run: "CellRun", candidate: Candidate) -> Finding:
    """Run it again `times` as a case; what it then shows is the finding."""
    text, steps = candidate.text, candidate.steps
    if candidate.verdict in ("corrupt", "remount", "unnoticed"):
        least = minimise(run, Item(candidate.nr, candidate.world, candidate.word), candidate)
        text, steps = run.enumeration.text(least.world, least.word), run.enumeration.steps(least.word)
    finding = Finding(name_of(text, steps), run.cell.kernel, run.cell.fs, run.cell.channel, text, steps,
                      candidate.family, list(candidate.kinds), candidate.resolution, candidate.verdict, candidate.why,
                      list(candidate.evidence))
    results: list[CaseResult] = []
    shown: list[CaseResult] = []
    # A hang costs its deadline and a crash a boot: once is enough, when it shows.
    for times in (1,) * DEADLY_TRIES if finding.ends_things else (run.explore.times,):
        finding.cases += run.run_cases(finding.name, text, times, len(finding.cases) + 1)
        results = [run.k.store.results[c] for c in finding.cases if c in run.k.store.results]
        shown = [r for r in results if _shows(r, finding)]
        if shown:
            break
    finding.tries, finding.shown = len(results), len(shown)
    if shown:
        worst = min(shown, key=lambda r: _RANK.get(r.outcome, 5))
        finding.outcome, finding.expected = worst.outcome, worst.expected
        finding.resolution, finding.verdict = worst.resolution, worst.verdict
        finding.why = worst.why or finding.why
        finding.evidence = worst.evidence[:8] or [f["text"] for f in worst.findings][:4] or finding.evidence
        finding.kinds = list(dict.fromkeys([*worst.kinds, *(f["kind"] for f in worst.findings), *finding.kinds]))
        finding.cases.sort(key=lambda c: c != worst.id)  # the one that is told of comes first
    elif candidate.verdict in _JUDGED:
        finding.outcome, finding.expected = _unrepeated(run, candidate, finding.name)
    else:
        # A deadline that was missed once on a machine that has other things to do, or a process of ours that died, says
        # nothing of the kernel.
        finding.outcome = {"hang": "inconclusive"}.get(finding.family, "broken" if "died" in finding.kinds else "differs")
        finding.expected = results[0].expected if results else {}
    return finding
