# SPDX-License-Identifier: GPL-2.0
"""The tables, made from a run's facts and results alone."""

import shlex
from collections import Counter
from collections.abc import Iterable
from typing import Any

from .controls import failures, summary
from .expect import sleepers
from .store import CaseResult

# Strongest first: what a maintainer must see of a cell before anything else.
STRENGTH = ("crashed", "hung", "lost", "refused", "blocked", "overtaken")
LETTERS = {"landed": ".", "faulted": "f", "overtaken": "o", "blocked": "B", "refused": "R", "denied": "D",
           "reported": "r", "lost": "L", "hung": "H", "crashed": "C"}
NOT_COVERED, INCONCLUSIVE = "-", "?"
NEWS = ("differs", "fixed")
LEGEND = ("letters: " + "  ".join(f"{letter} {word}" for word, letter in LETTERS.items())
          + "\n         - not covered  ? inconclusive or broken"
          + "\ncells:   the strongest resolution (crashed hung lost refused blocked overtaken, else the commonest; of the\n"
          "         page-table controls the commonest), how often of how many, and what was expected where that is not\n"
          "         guaranteed coherence: u unsupported, b bug, p refused by policy; ! something not as expected")
CLASS_MARKS = {"unsupported": " u", "bug": " b", "refused": " p"}


def letter(result: CaseResult | None) -> str:
    if result is None or result.outcome == "not-covered":
        return NOT_COVERED
    return LETTERS.get(result.resolution, INCONCLUSIVE) if result.outcome not in ("inconclusive", "broken") \
        else INCONCLUSIVE


def cell(results: list[CaseResult], control: bool = False) -> str:
    """The strongest resolution, else the commonest, how often, of how many, and the class of what was
    expected of it; `!` where one differs from expected."""
    counted = [r for r in results if letter(r) not in (NOT_COVERED, INCONCLUSIVE)]
    news = "!" if any(r.outcome in NEWS for r in results) else ""
    if not counted:
        return (INCONCLUSIVE if any(letter(r) == INCONCLUSIVE for r in results) else NOT_COVERED) + news
    counts = Counter(r.resolution for r in counted)
    strong = STRENGTH[:3] if control else STRENGTH
    word = next((w for w in strong if counts[w]), counts.most_common(1)[0][0])
    classes = Counter(r.expected.get("class", "") for r in counted if r.resolution == word)
    return f"{word} {counts[word]}/{len(counted)}{CLASS_MARKS.get(classes.most_common(1)[0][0], '')}{news}"


def _grid(head: list[str], rows: list[list[str]], markdown: bool) -> list[str]:
    if markdown:
        return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head),
                *("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows)]
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in [head, *rows]]


def _short(channels: Iterable[str], cell_width: int, room: int) -> list[list[str]]:
    """Columns in groups that fit `room` characters."""
    groups: list[list[str]] = [[]]
    used = 0
    for name in channels:
        width = max(len(name), cell_width) + 2
        if groups[-1] and used + width > room:
            groups.append([])
            used = 0
        groups[-1].append(name)
        used += width
    return groups


def _names(results: list[CaseResult], key: str) -> list[str]:
    return list(dict.fromkeys(getattr(r, key) for r in results))


def _collapse(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else "/".join(values)


def kernel_tables(kernel: str, meta: dict[str, Any], results: list[CaseResult], markdown: bool) -> list[str]:
    """Both tables of one kernel."""
    facts = meta.get("kernels", {}).get(kernel, {})
    controls = {name for name, c in meta.get("channels", {}).items() if c.get("class") in ("syscall", "pte")}
    by = {(r.fs, r.channel, r.sequence): r for r in results}
    filesystems, sequences = _names(results, "fs"), sorted(_names(results, "sequence"))
    channels = _names(results, "channel")
    covered = {r.channel for r in results if r.outcome != "not-covered"}
    shown = [c for c in channels if c in covered]
    version = facts.get("version", "")
    title = f"kernel {kernel}" + (f" ({version})" if version and version != kernel else "")
    out = [("## " if markdown else "") + title, ""]
    if facts.get("error"):
        out += [f"not finished: {facts['error']}", ""]
    if not shown:
        return out + ["nothing was covered", ""]
    # A variant is its channel in another way, and stands with the conflicts.
    for group in _short([c for c in shown if "/" not in c] or shown, 16, 118):
        rows = [[fs, *(cell([r for r in results if r.fs == fs and r.channel == c], c in controls) for c in group)]
                for fs in filesystems]
        out += [*_grid(["filesystem", *group], rows, markdown), ""]
    out += [f"filesystems in the letters below, in this order: {' '.join(filesystems)}", ""]
    # Plain channels first: a variant runs few sequences, and its columns are mostly empty.
    for group in _short(sorted(shown, key=lambda c: "/" in c), len(filesystems), 100):
        rows = [[seq, *("".join(letter(by.get((fs, c, seq))) for fs in filesystems) for c in group)]
                for seq in sequences]
        rows = [row for row in rows if any(set(c) != {NOT_COVERED} for c in row[1:])]
        if markdown:
            rows = [[row[0], *(f"`{c}`" for c in row[1:])] for row in rows]
        out += [*_grid(["conflict", *group], rows, markdown), ""]
    return out


def again(folder: object, case_id: str) -> str:
    """What repeats a case as it was, whatever it is of: a file of one's own, a section, a kernel by its path."""
    return f"./run.sh repro {shlex.quote(f'{folder}/cases/{case_id}')}"


def difference(result: CaseResult, folder: str) -> str:
    """One line that says what differs and how to see it again."""
    got = result.resolution or "nothing"
    if result.errno:
        got += f":{result.errno}"
    if result.verdict == "hung":
        got = " ".join(f"{got}:{function}" for function in dict.fromkeys(sleepers(result.why))) or got
    if result.verdict not in ("coherent", result.resolution):
        got += f" ({result.verdict}{': ' + ','.join(result.kinds) if result.kinds else ''})"
    got += "".join(f" +{kind}" for kind in sorted({f['kind'] for f in result.findings}))
    expected = result.expected
    wanted = ",".join(expected.get("resolutions", []))
    why = expected.get("class", "") + (f", {expected['reference']}" if expected.get("reference") else "")
    word = "FIXED  " if result.outcome == "fixed" else "DIFFERS"
    return (f"{word} {result.kernel} {result.fs} {result.channel} {result.sequence}: got {got}, "
            f"expected {wanted} ({why}) - repeat: {again(folder, result.id)}")


def grouped_reasons(results: list[CaseResult], outcome: str) -> list[str]:
    """Why cases ended in `outcome`, counted, the most frequent first."""
    reasons: dict[str, list[CaseResult]] = {}
    for result in results:
        if result.outcome == outcome:
            reasons.setdefault(result.why or "(no reason given)", []).append(result)
    lines = []
    for why, hit in sorted(reasons.items(), key=lambda item: -len(item[1])):
        where = "; ".join(f"{key} {_few(_names(hit, attr))}" for key, attr in
                          (("kernels", "kernel"), ("fs", "fs"), ("channels", "channel")))
        lines.append(f"{len(hit):6} {why} [{where}]")
    return lines


def _few(names: list[str]) -> str:
    return " ".join(names[:5]) + (f" +{len(names) - 5}" if len(names) > 5 else "")


def _section(title: str, lines: list[str], markdown: bool) -> list[str]:
    if not lines:
        return []
    body = ["```", *lines, "```"] if markdown else lines
    return [("### " if markdown else "") + title, *([""] if markdown else []), *body, ""]


def render(meta: dict[str, Any], results: list[CaseResult], folder: str, markdown: bool = False) -> str:
    """The whole report of a run."""
    out: list[str] = []
    if markdown:
        out += [f"# pinfault run {meta['run']}", ""]
    for kernel in dict.fromkeys([*meta.get("kernels_wanted", []), *_names(results, "kernel")]):
        mine = [r for r in results if r.kernel == kernel]
        out += kernel_tables(kernel, meta, mine, markdown)
    if results:
        out += [*(["```", LEGEND, "```"] if markdown else [LEGEND]), ""]
    news = [r for r in results if r.outcome in NEWS]
    out += _section("not as expected", [difference(r, folder) for r in news], markdown)
    notes = [f"{n['kind']}{' (expected)' if n.get('expected') else ''}: {n['text']} "
             f"({len(n['cases'])} cases, first {n['cases'][0]})"
             for n in meta.get("notes", []) if n.get("cases")]
    out += _section("findings of whole batches", notes, markdown)
    out += _section("not covered", [*meta.get("left_out", []), *grouped_reasons(results, "not-covered")], markdown)
    out += _section("inconclusive", grouped_reasons(results, "inconclusive"), markdown)
    out += _section("broken (the harness failed)", grouped_reasons(results, "broken"), markdown)
    checks = meta.get("controls", [])
    out += _section("controls that failed: nothing above holds", failures(checks), markdown)
    if summary(checks):
        out.append(summary(checks))
    counts = Counter(r.outcome for r in results)
    words = ", ".join(f"{counts[w]} {w}" for w in ("expected", "differs", "fixed", "inconclusive",
                                                   "not-covered", "broken") if counts[w])
    missing = meta.get("planned", len(results)) - len(results)
    out.append(f"{len(results)} cases: {words or 'none'}" + (f", {missing} not run" if missing > 0 else "")
               + f"; seed {meta.get('seed')}; results in {folder}")
    if not results:
        return "\n".join(out) + "\n"
    races = {r.sequence for r in results} == {"race"}
    out.append("repeat one: " + again(folder, f"KERNEL/FS/CHANNEL/{'race-SEED' if races else 'CONFLICT'}"))
    return "\n".join(out) + "\n"
