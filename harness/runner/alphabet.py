# SPDX-License-Identifier: GPL-2.0
"""Alphabets of `./run.sh explore`: workloads/alphabets/NAME.alphabet, and what a step of one means.

A file of lines; `#` begins a comment, and the first one is the alphabet's title:

    file NAME SIZE STATE[,STATE] [pinned]   a file; several states: every sequence once for each
    step VERB ARG...                        a step; an argument may be a list (0,4K): all combinations.
                                            `*` for a file's name: every file (of two: every pair)

VERB is a step of a sequence (harness/README.md) or a fault. `hold NAME OFF LEN` needs no label, `land` lands
the oldest held write and `land last` the youngest. `whole` is the file's size, `end` as an offset its end.
"""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .agent import FaultInfo
from .errors import UsageError, nearest

STATES = ("written", "hole", "unwritten")
VIEWS = ("mmap", "buffered", "direct", "gup")
CHANNEL_VERBS = ("write", "hold")
_STEPS = {"write": 3, "hold": 3, "land": 0, "pin": 1, "unpin": 1, "store": 3, "pwrite": 3, "read": 4}
_FAULT_ARGS = {"file": 1, "file-size": 2, "file-range": 3, "file-file": 2}
# They ask that what was written is on the disk, or begin to bring it there.
SYNCS = frozenset(("fsync", "fdatasync", "msync", "dsync", "sync-file-range"))
# What other sequences on the same filesystem would notice, or a whole machine.
_SPREADING_FLAGS = {"exclusive": "touches the whole filesystem", "last": "ends the case", "power": "ends the machine",
                    "guest-only": "runs in guests only"}
_SPREADING = {"syncfs": "writes back the files of other sequences as well",
              "drop-caches": "drops the pages of other sequences as well",
              "migrate": "compacts the memory of the whole machine"}
FILES_MAX = 3


def size_bytes(text: str) -> int | None:
    match = re.fullmatch(r"(\d+)([KkMm]?)", text)
    return int(match[1]) << {"": 0, "k": 10, "m": 20}[match[2].lower()] if match else None


def size_text(number: int) -> str:
    for unit, shift in (("M", 20), ("K", 10)):
        if number and not number % (1 << shift):
            return f"{number >> shift}{unit}"
    return str(number)


@dataclass(frozen=True)
class File:
    name: str
    size: int
    states: tuple[str, ...]
    pinned: bool


@dataclass(frozen=True)
class Symbol:
    """One step that a sequence may have. Files are numbers in the alphabet's list."""

    verb: str
    files: tuple[int, ...]
    args: tuple[str, ...] = ()  # after the files
    fault: bool = False
    pair: bool = False  # a fault that leaves two files sharing something

    @property
    def last(self) -> bool:
        return self.verb == "land" and self.args == ("last",)


@dataclass(frozen=True)
class Alphabet:
    name: str
    text: str  # as it was read, so that a run can say what it had
    title: str
    files: tuple[File, ...]
    symbols: tuple[Symbol, ...]

    def without_holds(self) -> "Alphabet":
        return self.only(lambda s: s.verb not in ("hold", "land"))

    def only(self, wanted) -> "Alphabet":  # type: ignore[no-untyped-def]
        return Alphabet(self.name, self.text, self.title, self.files, tuple(s for s in self.symbols if wanted(s)))

    @property
    def verbs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(s.verb for s in self.symbols))

    def check(self) -> None:
        """UsageError when no sequence can be made of it."""
        if not any(s.verb in CHANNEL_VERBS for s in self.symbols):
            raise UsageError(f"alphabet {self.name}: no sequence can be made of it: nothing in it writes through the "
                             "channel (write or hold)")
        pinnable = {i for i, f in enumerate(self.files) if f.pinned} | {
            s.files[0] for s in self.symbols if s.verb == "pin"}
        if not any(s.verb in CHANNEL_VERBS and s.files[0] in pinnable for s in self.symbols):
            raise UsageError(f"alphabet {self.name}: no sequence can be made of it: no file that is written is ever "
                             "pinned")


class _Parser:
    def __init__(self, where: str, faults: dict[str, FaultInfo]) -> None:
        self.where, self.faults = where, faults
        self.line = 0
        self.files: list[File] = []
        self.symbols: list[Symbol] = []

    def bad(self, what: str) -> UsageError:
        return UsageError(f"{self.where}:{self.line}: {what}")

    def file(self, words: list[str]) -> None:
        if len(words) not in (3, 4) or words[3:] not in ([], ["pinned"]):
            raise self.bad("file NAME SIZE STATE[,STATE] [pinned]")
        name, size, states = words[0], size_bytes(words[1]), tuple(words[2].split(","))
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,14}", name):
            raise self.bad(f"'{name}' is not a name (a letter, then letters and digits)")
        if not size or size % 64:
            raise self.bad(f"'{words[1]}' is not a size (a multiple of 64, also as 16K or 2M)")
        for state in states:
            if state not in STATES:
                raise self.bad(nearest(state, list(STATES), "state"))
        if name in (f.name for f in self.files):
            raise self.bad(f"file {name} is declared twice")
        if len(self.files) == FILES_MAX:
            raise self.bad(f"more than {FILES_MAX} files")
        self.files.append(File(name, size, states, len(words) == 4))

    def _files(self, words: list[str]) -> list[tuple[int, ...]]:
        """All that these names can stand for, different files each."""
        choices = []
        for word in words:
            names = [f.name for f in self.files] if word == "*" else word.split(",")
            for name in names:
                if name not in (f.name for f in self.files):
                    raise self.bad(f"no file '{name}' was declared")
            choices.append([[f.name for f in self.files].index(n) for n in names])
        return [c for c in itertools.product(*choices) if len(set(c)) == len(c)]

    def _number(self, word: str, file: int, what: str) -> str:
        size = self.files[file].size
        value = size if word == "whole" and what == "length" or word == "end" and what == "offset" else size_bytes(word)
        if value is None or value % 64 or what == "length" and not value:
            raise self.bad(f"'{word}' is not {'an' if what[0] in 'aeiou' else 'a'} {what} (a multiple of 64, also as "
                           "4K)")
        return size_text(value)

    def _args(self, verb: str, kinds: list[str], words: list[str], file: int) -> tuple[str, ...]:
        out = []
        for word, kind in zip(words, kinds):
            if kind == "view":
                if word not in VIEWS:
                    raise self.bad(nearest(word, list(VIEWS), "view"))
                out.append(word)
            else:
                out.append(self._number(word, file, kind))
        if verb in ("write", "hold", "store", "pwrite"):
            end = (size_bytes(out[0]) or 0) + (size_bytes(out[1]) or 0)
            if end > self.files[file].size:
                raise self.bad(f"{verb} ends past the {self.files[file].size} bytes of file {self.files[file].name}")
        return tuple(out)

    def step(self, words: list[str]) -> None:
        verb, rest = words[0], words[1:]
        if verb == "land" and rest in ([], ["last"]):
            self.symbols.append(Symbol("land", (), tuple(rest)))
            return
        fault = self.faults.get(verb)
        if verb not in _STEPS and fault is None:
            raise self.bad(nearest(verb, sorted(set(_STEPS) | set(self.faults)), "step"))
        if fault:
            why = refused(fault)
            if why:
                raise self.bad(f"{verb} {why}: it cannot be explored beside others")
        wants = _FAULT_ARGS[fault.args] if fault else _STEPS[verb]
        if len(rest) != wants:
            raise self.bad(f"{verb} wants {wants} argument{'s' * (wants != 1)}")
        two = bool(fault) and fault.args == "file-file"  # type: ignore[union-attr]
        kinds = (["size"] if fault and fault.args == "file-size" else ["offset", "length", "view"])[:wants - 1 - two]
        for files in self._files(rest[:1 + two]):
            for args in itertools.product(*(w.split(",") for w in rest[1 + two:])):
                symbol = Symbol(verb, files, self._args(verb, kinds, list(args), files[0]), bool(fault), two)
                if symbol not in self.symbols:
                    self.symbols.append(symbol)


def refused(fault: FaultInfo) -> str:
    """Why a fault cannot be a step here, or ""."""
    why = [text for flag, text in _SPREADING_FLAGS.items() if flag in fault.flags]
    return _SPREADING.get(fault.name, why[0] if why else "")


def parse(text: str, name: str, where: str, faults: dict[str, FaultInfo]) -> Alphabet:
    """UsageError with WHERE:LINE."""
    p = _Parser(where, faults)
    title = ""
    for raw in text.splitlines():
        p.line += 1
        if raw.startswith("#") and not title:
            title = raw.lstrip("# ")
        words = raw.split("#", 1)[0].split()
        if not words:
            continue
        if words[0] == "file":
            p.file(words[1:])
        elif words[0] == "step" and len(words) > 1:
            p.step(words[1:])
        else:
            raise p.bad(f"'{words[0]}' is neither file nor step")
    if not p.files:
        raise UsageError(f"{where}: an alphabet names at least one file")
    out = Alphabet(name, text, title or name, tuple(p.files), tuple(p.symbols))
    out.check()
    return out


def _default_step(verb: str, fault: FaultInfo) -> str:
    return {"file": f"step {verb} A", "file-size": f"step {verb} A 4K,whole", "file-range": f"step {verb} A 0 4K",
            "file-file": f"step {verb} A B"}[fault.args]


def of_verbs(verbs: Iterable[str], wide: Path, faults: dict[str, FaultInfo]) -> Alphabet:
    """The steps of `wide` with these verbs; a fault that it does not have comes with its plainest arguments."""
    text = wide.read_text()
    wanted = list(dict.fromkeys(verbs))
    lines = [line for line in text.splitlines() if line.split("#", 1)[0].split()[:1] == ["file"]]
    for verb in wanted:
        mine = [line for line in text.splitlines() if line.split("#", 1)[0].split()[:2] == ["step", verb]]
        if not mine and verb in faults:
            mine = [_default_step(verb, faults[verb])]
        if not mine:
            raise UsageError(nearest(verb, sorted(set(_STEPS) | set(faults)), "step"))
        lines += mine
    return parse("\n".join([f"# {' '.join(wanted)}", *lines]) + "\n", "+".join(wanted), "--alphabet", faults)


def load(text: str, folder: Path, faults: dict[str, FaultInfo], base: Path = Path(".")) -> Alphabet:
    """What --alphabet says: a name, a file, or verbs. UsageError."""
    names = sorted(p.stem for p in folder.glob("*.alphabet"))
    if text in names:
        path = folder / f"{text}.alphabet"
    elif "/" in text or text.endswith(".alphabet"):
        path = base / text
    elif len(text.split()) > 1 or text in faults or text in _STEPS:
        return of_verbs(text.split(), folder / "wide.alphabet", faults)
    else:
        raise UsageError(nearest(text, names, "alphabet"))
    try:
        return parse(path.read_text(), path.stem, str(path), faults)
    except OSError as err:
        raise UsageError(f"{path}: {err.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not text") from None
