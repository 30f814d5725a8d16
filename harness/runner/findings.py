# SPDX-License-Identifier: GPL-2.0
"""From thousands of failing sequences to a short list: what counts as the same finding.

A sequence falls under a finding when it contains the finding's steps, in their order, on files that correspond
one to one; sizes and offsets do not matter. Each hold has its landing among the steps, the ones at the end, too: what
happens while a write is held is not what happens once it has landed. Shortest first, so what a finding is known by has
nothing in it that is not needed. Violations of data, and each of the other checks, are kept apart.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from .expect import KINDS, LOSSES, Expectation, outcome

# Verbs, and what they are about: files by number, and holds from HOLD on.
Steps = tuple[tuple[str, tuple[int, ...]], ...]
HOLD = 100
EXPLORED = "explore-"  # so begin the names of explored sequences

# Kinds that say something else than that data is not what it must be.
_OWN_FAMILY = {"metadata": "metadata", "kernel-log": "kernel-log", "kernel-warning": "kernel-log", "aborted": "aborted",
               "kernel-fault": "crash", "crash": "crash", "died": "crash",
               "hang": "hang", "leaked-pin": "leaked-pin", "umount": "mount", "mount": "mount", "unnoticed": "unnoticed",
               "unflushed": "unflushed",
               "foreign": "foreign", "zero-page": "zero-page"}
_MORE = set(KINDS) - set(LOSSES)
JUDGED = ("corrupt", "remount")  # verdicts that the data of a history has got
# What shows them at all decides; of several the first here.
_ORDER = ("zero-page", "crash", "hang", "aborted", "metadata", "leaked-pin", "mount", "foreign", "data", "kernel-log",
          "unnoticed", "unflushed")


def family(kinds: Iterable[str]) -> str:
    families = {_OWN_FAMILY.get(k.partition(":")[0], "data") for k in kinds} or {"data"}
    return next(f for f in _ORDER if f in families)


def more_of(kinds: Iterable[str]) -> set[str]:
    """Of them, what is news beside all else: messages of the kernel, and what is more than data that is not there."""
    kinds = set(kinds)
    return kinds if family(kinds) in ("kernel-log", "aborted") else kinds & _MORE


def embeds(small: Steps, big: Steps) -> bool:
    """Does `big` contain the steps of `small` in their order, under one renaming of its files and holds?"""
    def fits(i: int, at: int, names: dict[int, int]) -> bool:
        if i == len(small):
            return True
        verb, files = small[i]
        for j in range(at, len(big)):
            if big[j][0] != verb or len(big[j][1]) != len(files):
                continue
            more = dict(names)
            good = True
            for f, g in zip(files, big[j][1]):
                good = good and more.setdefault(f, g) == g
            if good and len(set(more.values())) == len(more) and fits(i + 1, j + 1, more):
                return True
        return False
    return len(small) <= len(big) and fits(0, 0, {})


def verbs(steps: Steps) -> list[str]:
    """As people say it: without the landings that every sequence ends with."""
    out = [verb for verb, _ in steps]
    while out and out[-1] == "land":
        out.pop()
    return out


def steps_from(data: Any) -> Steps:
    return tuple((verb, tuple(files)) for verb, files in data)


@dataclass
class Candidate:
    """A sequence that came out otherwise than coherent on the fast path."""

    nr: int
    text: str
    steps: Steps
    verdict: str
    resolution: str = ""
    kinds: list[str] = field(default_factory=list)
    errno: str = ""
    why: str = ""
    evidence: list[str] = field(default_factory=list)
    world: tuple[str, ...] = ()  # in the enumeration of its cell; empty: not from there
    word: tuple[int, ...] = ()

    @property
    def family(self) -> str:
        return family(self.kinds)

    @property
    def signature(self) -> tuple[str, frozenset[str], Steps]:
        """Those with the same are the same, but for sizes and offsets."""
        return self.family, frozenset(more_of(self.kinds)), pattern(self.steps)

    @classmethod
    def load(cls, data: dict[str, Any]) -> "Candidate":
        exact: dict[str, Any] = {"steps": steps_from(data["steps"]), "world": tuple(data["world"]),
                                 "word": tuple(data["word"])}
        return cls(**{**data, **exact})


def outcome_of(candidate: Candidate, expected: Expectation) -> str:
    """As of a case that shows the same."""
    if candidate.verdict in JUDGED:
        return outcome(expected, candidate.verdict, candidate.resolution, candidate.errno, [], candidate.kinds)
    return "expected" if all(expected.allows(kind) for kind in candidate.kinds) else "differs"


def name_of(text: str, steps: Steps) -> str:
    """Of the sequence, for folders and expectations: the verbs in it, and six digits of its text."""
    return f"{EXPLORED}{'-'.join(dict.fromkeys(verbs(steps)))}-{_digits(text)}"


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def name_in(name: str, text: str) -> str:
    """What `name`, of a case or in the head of a file, says that the sequence was explored as, without the number of
    its turn. "" where it says nothing of the kind, or the steps are others: then nothing is known of `text`."""
    match = re.fullmatch(rf"({EXPLORED}\S+-([0-9a-f]{{6}}))(\.\d+)*", name)
    lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
    return match[1] if match and match[2] == _digits("".join(f"{line}\n" for line in lines if line)) else ""


def headed(name: str, text: str) -> str:
    """The text of an explored sequence with a line that says what it is called, for who has the file alone. At its end:
    a hang is told with the number of its line."""
    explored = name_in(name, text)
    return f"{text}# explored: {explored}\n" if explored and "# explored:" not in text else text


@dataclass
class Finding:
    """What one kernel, filesystem and channel shows."""

    name: str
    kernel: str
    fs: str
    channel: str
    text: str
    steps: Steps
    family: str
    kinds: list[str]
    resolution: str = ""
    verdict: str = ""
    why: str = ""
    evidence: list[str] = field(default_factory=list)
    tries: int = 0
    shown: int = 0  # how many of the tries
    under: int = 1  # sequences that fell under it, itself included
    unseen: int = 0  # of which so many were not run, because it ends the machine or hangs
    outcome: str = ""
    expected: dict[str, Any] = field(default_factory=dict)
    cases: list[str] = field(default_factory=list)
    seen: Steps = ()  # what was cut down to its steps

    def covers(self, steps: Steps, of_family: str, kinds: Iterable[str] = ()) -> bool:
        """None whose `kinds` say more than it does: that is news, whatever else such steps do."""
        return self.family == of_family and not more_of(kinds) - set(self.kinds) and embeds(self.steps, steps)

    @property
    def signature(self) -> tuple[str, frozenset[str], Steps]:
        """Of what was seen."""
        return self.family, frozenset(more_of(self.kinds)), pattern(self.seen or self.steps)

    def take(self, kinds: list[str]) -> None:
        """One more sequence falls under it."""
        self.under += 1
        self.kinds += [k for k in kinds if k not in self.kinds]

    @property
    def what(self) -> str:
        """"data: lost-write", "hang"."""
        return self.family if self.kinds == [self.family] else f"{self.family}: {', '.join(self.kinds)}"

    @property
    def ends_things(self) -> bool:
        return self.family in ("crash", "hang")

    @classmethod
    def load(cls, data: dict[str, Any]) -> "Finding":
        exact: dict[str, Any] = {"steps": steps_from(data["steps"]), "seen": steps_from(data["seen"])}
        return cls(**{**data, **exact})

    def dump(self) -> dict[str, Any]:
        return asdict(self)


def pattern(steps: Steps) -> Steps:
    """With files and holds numbered as they first appear, so that it can be compared across cells."""
    names: dict[int, int] = {}
    return tuple((verb, tuple(names.setdefault(f, len(names)) for f in files)) for verb, files in steps)
