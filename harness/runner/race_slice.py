# SPDX-License-Identifier: GPL-2.0
"""Of a race's million operations those that can matter to one violation, and a readable list of them.

From the judge's evidence come the look that contradicts and its cells. What can matter: what touches a page of those
cells (also where they were before a shift, and in the file they were cloned from), and every fault on that file (one
takes folios away beyond its range), if it was not over before the last operation that certainly settled the cells
began. Certainly: it covers them, returned well, and nothing else that changes them overlapped it. (A page that was
mapped or pinned earlier can matter all the same; what the cut-down race leaves says more than this list does.)
"""

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from .racelog import NEVER, PRIMS, VERBS, VIEWS, Record, Window

CELL = 64
PAGE = 64             # cells
LINES_MAX = 40
_RANGES_MAX = 32
_FIRST_WIDTH_NS = 5_000_000
_VALUE = re.compile(r"^(\S+): look (\d+) (\S+) of file (\d+) \[(\d+), \+(\d+)\), from (\d+) for (\d+) ns: "
                    r"must be (.+), saw (.+)$")
_SIZE = re.compile(r"^(\S+): look (\d+) (\S+) of file (\d+): (\d+) bytes long, must be (\d+)$")
_CLAIM = re.compile(r"^(\S+): op (\d+) (\S+): success for (\d+) bytes at (\d+) that file (\d+) did not have$")
Range = tuple[int, int]  # cells, the end not included


@dataclass(frozen=True)
class Told:
    """One contradiction as the judge's evidence has it."""

    kind: str
    op: int
    file_id: int
    cells: Range
    must: str
    saw: str
    from_ns: int = -1  # of the operation, since the race began; -1: not said
    for_ns: int = 0

    def text(self) -> str:
        low, high = self.cells
        where = f"[{low * CELL}, +{(high - low) * CELL}) " if high else ""
        return f"{where}must be {self.must}, saw {self.saw}"


def contradictions(evidence: Iterable[str]) -> list[Told]:
    out = []
    for line in evidence:
        if m := _VALUE.match(line):
            first = int(m[5]) // CELL
            out.append(Told(m[1], int(m[2]), int(m[4]), (first, first + int(m[6]) // CELL), m[9], m[10], int(m[7]),
                            int(m[8])))
        elif m := _SIZE.match(line):
            out.append(Told(m[1], int(m[2]), int(m[4]), (0, 0), f"{m[6]} bytes", f"{m[5]} bytes"))
        elif m := _CLAIM.match(line):
            first = int(m[5]) // CELL
            out.append(Told(m[1], int(m[2]), int(m[6]), (first, first + int(m[4]) // CELL), "an error", "success"))
    return out


def _verb(r: Record) -> str:
    return VERBS[r.verb]


def _prim(r: Record) -> str:
    return PRIMS[r.what] if _verb(r) == "fault" else ""


def changes(r: Record, file: int, cells: Range) -> bool:
    """Does it change any of these cells?"""
    if r.result < 0 and r.returned:
        return False
    low, high = cells
    prim = _prim(r)
    if _verb(r) in ("write", "store", "pwrite") or prim == "zero":
        return r.file == file and r.first < high and r.first + r.cells > low
    if prim == "copy":
        return r.file2 == file
    return prim in ("resize", "collapse", "insert") and r.file == file and r.first < high


def _settles(r: Record, file: int, cells: Range) -> bool:
    low, high = cells
    whole = r.first <= low and r.first + r.cells >= high
    if not r.returned or not changes(r, file, cells):
        return False
    if _verb(r) in ("write", "store", "pwrite"):
        return whole and r.result == r.cells
    return _prim(r) == "copy" or _prim(r) == "zero" and whole


def settled_by(records: list[Record], file: int, cells: Range, before_ns: int) -> Record | None:
    """The last operation of which it is certain what the cells held after it."""
    changing = [r for r in records if changes(r, file, cells)]
    for r in sorted(changing, key=lambda r: r.inv, reverse=True):
        if r.ret < before_ns and _settles(r, file, cells) and not any(
                o is not r and o.inv <= r.ret and o.ret >= r.inv for o in changing):
            return r
    return None


@dataclass
class Slice:
    told: list[Told]         # contradictions of the same look
    look: Record
    settled: Record | None   # None: not since the race began
    kept: list[Record] = field(default_factory=list)
    operations: int = 0      # of the whole stream
    names: list[str] = field(default_factory=list)  # of faults, by their number

    def what(self, r: Record) -> str:
        """write, store, pwrite, look, or the fault's name."""
        if _verb(r) != "fault":
            return _verb(r)
        return self.names[r.fault] if r.fault < len(self.names) else _prim(r)

    @property
    def faults(self) -> list[str]:
        return sorted({self.what(r) for r in self.kept if _verb(r) == "fault"})

    @property
    def verbs(self) -> list[str]:
        return [v for v in ("write", "store", "pwrite") if any(_verb(r) == v for r in self.kept)]

    @property
    def view(self) -> str:
        """Of the look that contradicts; "" where a write does."""
        return VIEWS[self.look.what] if _verb(self.look) == "look" else ""

    def unaligned(self, verb: str) -> bool:
        """Did one of them end inside a page?"""
        return any(_verb(r) == verb and (r.first % PAGE or r.cells % PAGE) for r in self.kept)

    def counts(self) -> str:
        found = Counter(self.what(r) for r in self.kept)
        return ", ".join(f"{n} {what}" for what, n in found.most_common())

    # --- for people -------------------------------------------------------------------------

    def timeline(self, most: int = LINES_MAX) -> list[str]:
        """One operation a line; looks that contradict nothing are left out first."""
        shown = self.kept
        if len(shown) > most:
            shown = [r for r in shown if r is self.look or r is self.settled or _verb(r) != "look"]
        cut = max(0, len(shown) - most)
        if cut:  # the latest are next to what went wrong
            shown = [r for r in shown[:1] if r is self.settled] + shown[cut:]
        zero = self.settled.inv if self.settled else shown[0].inv if shown else 0
        rows = [self._row(r, zero) for r in shown]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
        right = (0, 1)
        out = ["  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()
               for row in rows]
        left = len(self.kept) - len(shown)
        return out + ([f"({left} more: looks that contradict nothing"
                       + (f", and {cut} earlier operations" if cut else "") + ")"] if left else [])

    def _row(self, r: Record, zero: int) -> list[str]:
        length = f"{(r.ret - r.inv) / 1000:,.1f}" if r.returned else "never returned"
        what = self.what(r) + (f" {VIEWS[r.what]}" if _verb(r) == "look" else "")
        place = chr(ord("A") + r.file)
        if _prim(r) == "copy":
            place += f" to {chr(ord('A') + r.file2)}"
        elif _prim(r) == "resize":
            place += f" to {r.first * CELL}"
        elif r.cells:
            place += f" [{r.first * CELL}, +{r.cells * CELL})"
        result = "" if not r.returned else os.strerror(-r.result) if r.result < 0 else "ok"
        begins = f"{(r.inv - zero) / 1000:,.1f}"
        return [begins, length, f"t{r.thread}", f"op {r.op}", what, place, result, self._note(r)]

    def _note(self, r: Record) -> str:
        if r is self.look:
            return "; ".join(dict.fromkeys(t.text() for t in self.told[:3]))
        if r is self.settled:
            return "settles the cells"
        return ""


def _places(records: list[Record], file: int, cells: Range, from_ns: int) -> dict[int, list[Range]]:
    """Where the cells are, and were before clones and shifts of the slice: pages by file."""
    out: dict[int, list[Range]] = {file: [cells]}
    for r in sorted(records, key=lambda r: r.inv, reverse=True):
        if r.ret < from_ns or r.result < 0 and r.returned:
            continue
        prim = _prim(r)
        if prim == "copy" and r.file2 in out:
            out.setdefault(r.file, []).extend(out[r.file2])
        elif prim in ("collapse", "insert") and r.file in out:
            by = r.cells if prim == "collapse" else -r.cells
            moved = [(lo + by, hi + by) for lo, hi in out[r.file] if hi > r.first and lo + by >= 0]
            out[r.file] += moved[:max(0, _RANGES_MAX - len(out[r.file]))]
    return {f: list(dict.fromkeys((lo // PAGE * PAGE, (hi + PAGE - 1) // PAGE * PAGE) for lo, hi in ranges))
            for f, ranges in out.items()}


def _matters(r: Record, places: dict[int, list[Range]]) -> bool:
    if _verb(r) == "fault":
        return r.file in places or r.file2 in places
    return any(r.first < hi and r.first + r.cells > lo for lo, hi in places.get(r.file, []))


def cut_out(window: Window, told: list[Told], names: list[str]) -> Slice | None:
    """The slice of the first of `told` that the stream has. `names`: of the faults, by their number."""
    for first in told:
        look = window.find(first.op, first.from_ns)
        if look is not None:
            break
    else:
        return None
    same = [t for t in told if t.op == first.op]
    ids = [f[0] for f in window.about.files]
    file = ids.index(first.file_id)
    cells = (min(t.cells[0] for t in same), max(t.cells[1] for t in same))
    settled, width = None, _FIRST_WIDTH_NS
    end = look.ret if look.returned else NEVER
    while True:
        records = window.records(look.inv - width, end)
        settled = settled_by(records, file, cells, look.inv) if cells[1] else None
        if settled or width >= look.inv:
            break
        width *= 4
    from_ns = settled.inv if settled else 0
    if not cells[1]:  # a size: what changes sizes, for a while
        from_ns = max(0, look.inv - _FIRST_WIDTH_NS)
    places = _places(records, file, cells, from_ns) if cells[1] else {file: []}
    kept = [r for r in records if r.ret >= from_ns and _matters(r, places)]
    for at, r in enumerate(records):  # the very ones that are named
        if r.op in (look.op, settled.op if settled else 0) and r not in kept:
            kept.append(records[at])
    kept.sort(key=lambda r: r.inv)
    out = Slice(same, next(r for r in kept if r.op == look.op), None, kept, window.operations, names)
    out.settled = next((r for r in kept if settled and r.op == settled.op), None)
    return out
