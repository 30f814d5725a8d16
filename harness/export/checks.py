# SPDX-License-Identifier: GPL-2.0
"""What a recorded case must be held to, look by look, by the judge.

The judge is asked about one look at a time: the history without all the others, and with bytes in this one
that nobody can have written. So it says for every cell what could stand there by the operations alone.
A cell that showed something else is a check of the program. One that could stand there, but not beside the
other cells of the same look (data that moved, or not), is a check where those show the same again. What
contradicted only because another view had shown otherwise is a check that the views agree.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from ..runner.agent import decode
from .recorded import REMOUNT_OP, CannotExport, Look, Recorded

CELL = 64
_RANGE = re.compile(r"look (\d+) \S+ of (\S+) \[(\d+), \+(\d+)\): must be (.*), saw (.*)")
_SIZE = re.compile(r"look (\d+) \S+ of (\S+): \d+ bytes long, must be (\d+)")
_CLAIM = re.compile(r"op (\d+) \S+: success for (\d+) bytes that file (\S+) did not have")
_VALUE = re.compile(r"op (\d+)(?: of \S+ at (\d+))?")

Want = tuple[int, int]  # (operation that wrote it, its home offset); (0, 0) is zero
Run = tuple[int, int, Want]  # offset, length, what its first cell is


@dataclass(frozen=True)
class Check:
    """[off, off + len_bytes) of a file. `look` is an operation, or 0 for all looks at the end.

    With `claim`: the operation that must not succeed, for nothing that it wrote was the file's.
    """

    look: int
    file: str
    off: int = 0
    len_bytes: int = 0
    wants: tuple[Want, ...] = ()  # of the first cell; empty: the views must agree
    saw: str = ""  # of the first cell, as the history has it
    views: tuple[str, ...] = ()
    beside: tuple["Run", ...] = ()  # holds only where the same look shows all this
    size: int = -1  # the size that the file must have, instead
    claim: int = 0


def _ask(judge: Path, lines: list[list[str]]) -> list[str]:
    text = "pinfault-history 1\n" + "".join(" ".join(words) + "\n" for words in lines)
    with tempfile.NamedTemporaryFile("w", suffix=".history", errors="surrogateescape") as f:
        f.write(text)
        f.flush()
        done = subprocess.run([str(judge), f.name], capture_output=True, text=True, timeout=60)
    return [decode(line.partition(" ")[2]) for line in done.stdout.splitlines() if line.startswith("evidence ")]


def check_whole(judge: Path, history: Path) -> None:
    """Raises CannotExport, with what the judge says, for a history that it cannot read."""
    done = subprocess.run([str(judge), str(history)], capture_output=True, text=True, timeout=60)
    said = {key: decode(value) for key, _, value in (line.partition(" ") for line in done.stdout.splitlines())}
    if said.get("verdict", "broken") == "broken":
        raise CannotExport(f"broken: {said.get('why') or 'the judge gave no answer'}")


def _alone(recorded: Recorded, look: Look, shown: Iterable[int] = ()) -> list[list[str]]:
    """The history with this look only, which sees what it saw at the offsets `shown`, and else what nobody wrote."""
    out = []
    nobody = ""
    for words in recorded.lines:
        if words[0] in ("remount", "crash", "end"):
            continue
        if words[0] == "case":
            nobody = f"f{int(words[2]) ^ 1}:1:1:0:1"
        if words[0] in ("inv", "see", "ret", "blocked") and int(words[1]) in recorded.looks:
            if int(words[1]) != look.op:
                continue
            if words[0] == "see":
                off, cells = int(words[5]), int(words[6]) // CELL
                seen = {at: look.cells[at] for at in shown if at in look.cells}
                each = groupby(seen.get(at, nobody) for at in range(off, off + cells * CELL, CELL))
                words = [*words[:7], *(f"{value}*{len(list(run))}" for value, run in each)]
        out.append(words)
    return [*out, ["end", "9" * 18]]


def _wants(text: str, off: int) -> tuple[Want, ...] | None:
    """None: anything goes."""
    out: list[Want] = []
    for one in text.split(" or "):
        match = _VALUE.fullmatch(one)
        if one == "zero":
            out.append((0, 0))
        elif match:
            out.append((int(match[1]), int(match[2]) if match[2] else off))
        else:
            return None
    return tuple(sorted(out, reverse=True))


def _shift(want: Want, by: int) -> Want:
    return (want[0], want[1] + by) if want[0] else want


def allowed(judge: Path, recorded: Recorded, look: Look, shown: Iterable[int] = ()) -> dict[int, tuple[Want, ...]]:
    """Offset -> what the cell there may be, beside those `shown`. Cells of which anything may be true are left out."""
    out = {}
    for text in _ask(judge, _alone(recorded, look, shown)):
        match = _RANGE.match(text)
        if not match or int(match[1]) != look.op:
            continue
        off, length = int(match[3]), int(match[4])
        wants = _wants(match[5], off)
        for at in range(0, length, CELL):
            if wants is not None:
                out[off + at] = tuple(_shift(w, at) for w in wants)
    return out


def value_of(text: str, off: int) -> Want | None:
    """A history's value as (operation, home); None for what is no whole cell of this case."""
    if text == "0":
        return (0, 0)
    if text[0] == "w":
        return (int(text[1:]), off)
    if text[0] == "m":
        op, _, home = text[1:].split(":")
        return (int(op), int(home))
    return None


def _contradicted(recorded: Recorded) -> dict[int, list[tuple[int, int]]]:
    """Look -> the ranges that the recorded evidence says it should not have seen so."""
    out: dict[int, list[tuple[int, int]]] = {}
    for text in recorded.result.evidence:
        match = _RANGE.match(text)
        if match:
            out.setdefault(int(match[1]), []).append((int(match[3]), int(match[4])))
    return out


def _cells(judge: Path, recorded: Recorded) -> tuple[dict[int, dict[int, tuple[Want, ...]]], dict[int, set[int]]]:
    """For each look: cells that are wrong by the operations alone; cells that only contradict other looks."""
    wrong: dict[int, dict[int, tuple[Want, ...]]] = {}
    split: dict[int, set[int]] = {}
    said = _contradicted(recorded)
    for look in recorded.looks.values():
        if look.final or not look.cells:
            continue
        may = allowed(judge, recorded, look)
        in_evidence = {at for off, length in said.get(look.op, []) for at in range(off, off + length, CELL)}
        for off, text in look.cells.items():
            value = value_of(text, off)
            if off in may and value not in may[off] and (value is not None or off in in_evidence):
                wrong.setdefault(look.op, {})[off] = may[off]
            elif off in in_evidence:
                split.setdefault(look.op, set()).add(off)
    return wrong, split


def _runs(look: Look, offs: Iterable[int]) -> list[Run]:
    values = {off: value_of(look.cells[off], off) for off in offs}
    return [(off, length, wants[0]) for off, length, wants in _ranges({off: (v,) for off, v in values.items() if v})]


def _offsets(runs: Iterable[Run]) -> list[int]:
    return [at for off, length, _ in runs for at in range(off, off + length, CELL)]


def _beside(judge: Path, recorded: Recorded, look: Look, offs: set[int]) -> list[Check]:
    """Of cells that each could be so, those that could not beside the others of this look; with as few others as do."""
    runs = _runs(look, look.cells.keys() - offs)
    may = allowed(judge, recorded, look, _offsets(runs))
    wrong = {off: may[off] for off in offs & may.keys() if value_of(look.cells[off], off) not in may[off]}
    for run in list(runs) if wrong else []:
        fewer = [r for r in runs if r != run]
        may = allowed(judge, recorded, look, _offsets(fewer))
        if all(may.get(off) == wants for off, wants in wrong.items()):
            runs = fewer
    return [Check(look.op, look.file, off, length, wants, look.cells[off], (look.view,), tuple(runs))
            for off, length, wants in _ranges(wrong)]


def _joint(judge: Path, recorded: Recorded, split: dict[int, set[int]]) -> list[Check]:
    """Checks of what contradicts within a look; what they say is taken out of `split`."""
    out: list[Check] = []
    end: dict[Check, list[str]] = {}
    for op, offs in split.items():
        for check in _beside(judge, recorded, recorded.looks[op], offs):
            offs.difference_update(range(check.off, check.off + check.len_bytes, CELL))
            if op in recorded.end_looks:
                end.setdefault(replace(check, look=0, views=()), []).extend(check.views)
            else:
                out.append(check)
    return out + [replace(check, views=tuple(dict.fromkeys(views))) for check, views in end.items()]


def _ranges(cells: dict[int, tuple[Want, ...]]) -> list[tuple[int, int, tuple[Want, ...]]]:
    """Neighbours of which the same is wanted, each with its first cell's wants."""
    out: list[tuple[int, int, tuple[Want, ...]]] = []
    for off in sorted(cells):
        if out and out[-1][0] + out[-1][1] == off and \
                tuple(_shift(w, out[-1][1]) for w in out[-1][2]) == cells[off]:
            out[-1] = (out[-1][0], out[-1][1] + CELL, out[-1][2])
        else:
            out.append((off, CELL, cells[off]))
    return out


def _sizes(recorded: Recorded) -> list[Check]:
    out = {}
    for text in recorded.result.evidence:
        match = _SIZE.match(text)
        if match and int(match[1]) in recorded.end_looks:
            out[match[2]] = Check(0, match[2], size=int(match[3]))
    return list(out.values())


def _claims(recorded: Recorded) -> list[Check]:
    found = [match for match in map(_CLAIM.match, recorded.result.evidence) if match]
    return [Check(0, match[3], len_bytes=int(match[2]), claim=int(match[1])) for match in found]


def find_checks(judge: Path, recorded: Recorded) -> list[Check]:
    """The checks that this case fails. Empty when its failure is not about content. Raises CannotExport."""
    wrong, split = _cells(judge, recorded)
    out = []
    end: dict[str, dict[int, tuple[Want, ...]]] = {}
    for op, cells in wrong.items():
        look = recorded.looks[op]
        if op in recorded.end_looks:
            end.setdefault(look.file, {}).update(cells)
        else:
            out += [Check(op, look.file, off, length, wants, look.cells[off], (look.view,))
                    for off, length, wants in _ranges(cells)]
    for file, cells in end.items():
        for off, length, wants in _ranges(cells):
            shown = [recorded.looks[op] for op in recorded.end_looks if off in wrong.get(op, {})
                     and recorded.looks[op].file == file]
            out.append(Check(0, file, off, length, wants, shown[0].cells[off],
                             tuple(dict.fromkeys(look.view for look in shown))))
    out += _joint(judge, recorded, split)
    out += _agreements(recorded, split, end)
    out += _sizes(recorded) + _claims(recorded)
    if recorded.result.verdict == "corrupt" and recorded.result.evidence and not out:
        if all(op >= REMOUNT_OP for op in _contradicted(recorded)):
            raise CannotExport("what is contradicted here shows only after a remount or a crash, which no program "
                               "survives; `repro` without --export runs it")
        raise CannotExport("what is contradicted here takes several looks together: a program that checks each by "
                           "itself cannot say it; `repro` without --export runs it")
    return out


def _differs(recorded: Recorded, file: str, off: int) -> bool:
    """Did the looks at the end see different things there?"""
    return len({recorded.looks[op].cells.get(off) for op in recorded.end_looks
                if recorded.looks[op].file == file}) > 1


def _agreements(recorded: Recorded, split: dict[int, set[int]], end: dict[str, dict[int, tuple[Want, ...]]]
                ) -> list[Check]:
    cells: dict[str, dict[int, tuple[Want, ...]]] = {}
    views: dict[str, list[str]] = {}
    for op, offs in split.items():
        look = recorded.looks[op]
        if op not in recorded.end_looks:
            continue
        # Where all saw the same, it contradicts another cell (data that moved), which no single cell can show.
        fresh: dict[int, tuple[Want, ...]] = {off: () for off in offs if off not in end.get(look.file, {})
                                              and _differs(recorded, look.file, off)}
        if fresh:
            cells.setdefault(look.file, {}).update(fresh)
            views.setdefault(look.file, []).append(look.view)
    return [Check(0, file, off, length, (), views=tuple(dict.fromkeys(views[file])))
            for file, found in cells.items() for off, length, _ in _ranges(found)]
