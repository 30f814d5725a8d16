# SPDX-License-Identifier: GPL-2.0
"""A recorded case as the exporter sees it: numbered steps, and the history's operations on them.

Operations are numbered as the executor numbers them (harness/executor/step.c), so the steps of the sequence
and the operations of its history can be put side by side; where they do not fit, nothing is exported.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..runner.agent import decode
from ..runner.plan import HEADER
from ..runner.repro import way
from ..runner.store import CaseResult

REMOUNT_OP = 1_000_000  # looks after the case have numbers above this
VIEWS = ("mmap", "buffered", "direct")
TWO_FILES = ("clone", "dedupe", "rename")
HOLDS = ("hold", "hold-read")
STEPS = ("file", "pin", "unpin", *HOLDS, "write", "store", "pwrite", "read", "look", "land")


class CannotExport(Exception):
    """Why this case cannot be a program of its own: one line."""


def size(text: str) -> int:
    """4096, 4K, 1M."""
    shift = {"K": 10, "M": 20}.get(text[-1], 0)
    return int(text[:-1] if shift else text) << shift


@dataclass(frozen=True)
class Step:
    nr: int  # from 1, as the program counts
    text: str
    words: tuple[str, ...]
    op: int = 0  # its operation in the history (0: none of its own)
    looks: tuple[int, ...] = ()  # the operations of a read or look

    @property
    def verb(self) -> str:
        return self.words[0]

    @property
    def file(self) -> str:
        return self.words[2] if self.verb in HOLDS else self.words[1]

    def numbers(self) -> list[int]:
        return [size(w) for w in self.words[2:] if w[0].isdigit()]


@dataclass
class Look:
    op: int
    file: str
    view: str
    size: int = 0
    cells: dict[int, str] = field(default_factory=dict)  # offset -> value, as the history has it

    @property
    def final(self) -> bool:
        return self.op >= REMOUNT_OP


@dataclass
class Recorded:
    result: CaseResult
    fs: dict[str, Any]  # what run.json says of the filesystem
    title: str
    comments: list[str]
    steps: list[Step]
    end_looks: tuple[int, ...]  # operations of the looks after the last step
    looks: dict[int, Look]
    returned: dict[int, tuple[str, str]]  # operation -> ("ok", N) or ("err", ERRNO)
    blocked: frozenset[int]
    lines: list[list[str]]  # the history, decoded into tokens, without its checksums

    def step_of(self, op: int) -> int:
        """The number of the step that wrote as operation `op`."""
        for step in self.steps:
            if step.op == op:
                return step.nr
        raise CannotExport(f"the history has an operation {op} that no step of the sequence did")


def read_history(path: Path) -> list[list[str]]:
    """Lines as encoded tokens; version 2's checksums are taken off."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as err:
        raise CannotExport(f"{path}: {err.strerror}") from None
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    if not lines or lines[0].split(" ")[0] != "pinfault-history":
        raise CannotExport(f"{path}: is no history")
    if lines[0] == "pinfault-history 2":
        lines = [line.rpartition(" ~")[0] if " ~" in line else line for line in lines[1:]]
    else:
        lines = lines[1:]
    return [line.split(" ") for line in lines if not line.startswith("last ")]


def _number(steps: list[tuple[str, ...]]) -> tuple[list[Step], list[str], int]:
    """Steps with their operations, the files in the executor's order, and the next operation."""
    op = 1
    files: list[str] = []
    made: set[str] = set()
    mapped: set[str] = set()
    out = []
    for nr, words in enumerate(steps, 1):
        verb, mine = words[0], op
        looks: tuple[int, ...] = ()
        names = [] if verb in ("land", "look") else [words[2]] if verb in HOLDS else [words[1]]
        names += [words[2]] if verb in TWO_FILES else []
        files += [n for n in names if n not in files]
        made.update(names)
        if verb == "land":
            mine = 0
        elif verb == "read":
            looks = (op,)
            op += 1
        elif verb == "look":
            many = sum(2 + (f in mapped) for f in files if f in made)
            looks = tuple(range(op, op + many))
            op += many
        else:
            op += 1
        if verb == "pin":
            mapped.add(words[1])
        elif verb == "unpin":
            mapped.discard(words[1])
        out.append(Step(nr, " ".join(words), words, mine, looks))
    return out, files, op


def _looks(lines: list[list[str]]) -> dict[int, Look]:
    looks: dict[int, Look] = {}
    for words in lines:
        if words[0] == "inv" and words[3] == "look":
            looks[int(words[1])] = Look(int(words[1]), decode(words[4]), decode(words[7]))
        elif words[0] == "see":
            look = looks[int(words[1])]
            look.size = int(words[4])
            off = int(words[5])
            for run in words[7:]:
                value, _, count = run.rpartition("*")
                for i in range(int(count)):
                    look.cells[off] = _moved(value, i)
                    off += 64
    return looks


def _moved(value: str, cells: int) -> str:
    """The value of the cell so many after the first of a run."""
    if value[0] != "m":
        return value
    op, file_id, home = value[1:].split(":")
    return f"m{op}:{file_id}:{int(home) + 64 * cells}"


def read_case(folder: Path, result: CaseResult, fs: dict[str, Any]) -> Recorded:
    """Raises CannotExport for what is no sequence, or has no whole history."""
    try:
        text = (folder / "sequence.seq").read_text()
    except OSError as err:
        raise CannotExport(f"{folder / 'sequence.seq'}: {err.strerror}") from None
    comments = [line.lstrip("# ").rstrip() for line in text.splitlines()
                if line.startswith("#") and not HEADER.match(line.strip())]
    words = [tuple(line.split("#", 1)[0].split()) for line in text.splitlines()]
    steps, _, next_op = _number([w for w in words if w])
    lines = read_history(folder / "history")
    looks = _looks(lines)
    returned = {int(w[1]): (w[3], w[4] if len(w) > 4 else "0") for w in lines if w[0] == "ret"}
    _fits(steps, lines)
    return Recorded(result=result, fs=fs, title=comments[0] if comments else _title(result, steps),
                    comments=[c for c in comments[1:] if ":" not in c.split(" ")[0] and "results/" not in c], steps=steps,
                    end_looks=tuple(op for op in looks if next_op <= op < REMOUNT_OP), looks=looks,
                    returned=returned,
                    blocked=frozenset(int(w[1]) for w in lines if w[0] == "blocked"), lines=lines)


def _title(result: CaseResult, steps: list[Step]) -> str:
    """Of a sequence that has none: "lost (lost-write) after hold punch land, through dio-read on xfs, Linux 6.12"."""
    verbs = [step.verb for step in steps if step.verb not in ("file", "pin")]
    return (f"{way(result)} after {' '.join(verbs)}, through {result.channel} on {result.fs}, Linux "
            f"{result.kernel_version}")


def _fits(steps: list[Step], lines: list[list[str]]) -> None:
    """Does every operation in the history stand where its step says?"""
    verbs = {int(w[1]): w[3] for w in lines if w[0] == "inv"}
    for step in steps:
        is_fault = step.verb not in STEPS
        want = "fault" if is_fault else {"hold": "write", "hold-read": "look", "read": "look"}.get(step.verb, step.verb)
        for op in step.looks or ((step.op,) if step.op and step.verb != "file" else ()):
            if verbs.get(op, want) != want:
                raise CannotExport(f"step {step.nr} ({step.text}) is not operation {op} of the history: {verbs[op]}")
