# SPDX-License-Identifier: GPL-2.0
"""Expected outcomes: harness/expected/*.conf, and how a result compares with them.

A rule is one line: KERNELRANGE FS CHANNEL SEQUENCE CLASS RESOLUTIONS REFERENCE... (00-guaranteed.conf says how each
is written). The last matching rule wins; files are read in the order of their names. Rules of explored sequences are added
up: which causes come together in a sequence nobody chose.
"""

import fnmatch
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import UsageError, nearest

CLASSES = ("guaranteed", "refused", "unsupported", "bug")
RESOLUTIONS = ("landed", "faulted", "overtaken", "blocked", "denied", "refused", "reported", "lost",
               "hung", "crashed")
# What `lost` alone stands for: what was written is not there, or not in every view, or not any more. All else that the
# judge may find in data (judge/README.md) is another matter, and a rule must name it.
LOSSES = ("lost-write", "stale", "view-split", "not-durable")
KINDS = (*LOSSES, "late-zero", "torn", "misplaced", "foreign", "past-eof", "wrong-size", "unreadable", "checksum")
SPINS = "hung:running"
DEFAULT_RESOLUTIONS = ("landed", "faulted", "overtaken", "blocked", "reported", "denied")
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")

Version = tuple[int, ...]


def version_of(text: str) -> Version:
    """(major, minor, patch) of a kernel release such as 6.1.0-41-amd64; () if there is none."""
    match = _VERSION.search(text)
    return tuple(int(p or 0) for p in match.groups()) if match else ()


@dataclass(frozen=True)
class Range:
    low: Version = ()
    high: Version = ()

    def __contains__(self, version: Version) -> bool:
        """Bounds compare on as many numbers as they name: ..6.4 takes in 6.4.16."""
        if not version:
            return not self.low and not self.high
        return (version[:len(self.low)] >= self.low
                and (not self.high or version[:len(self.high)] <= self.high))


def parse_range(text: str) -> Range:
    """Raises ValueError."""
    if text == "*":
        return Range()
    low, dots, high = text.partition("..")
    bounds = []
    for bound in (low, high if dots else low):
        if bound and not re.fullmatch(r"\d+\.\d+(\.\d+)?", bound):
            raise ValueError(f"'{text}' is not a kernel range (6.5.. ..6.4 6.1..6.12 or *)")
        bounds.append(tuple(int(p) for p in bound.split(".")) if bound else ())
    if not any(bounds):
        raise ValueError(f"'{text}' is not a kernel range (6.5.. ..6.4 6.1..6.12 or *)")
    return Range(*bounds)


@dataclass(frozen=True)
class Rule:
    range: Range
    fs: tuple[str, ...]
    channel: tuple[str, ...]
    sequence: tuple[str, ...]
    cls: str
    resolutions: tuple[str, ...]
    reference: str
    where: str

    @property
    def adds(self) -> bool:
        """Is it of explored sequences only?"""
        return all(glob.removeprefix("unrepeated-").startswith("explore-") for glob in self.sequence)

    def matches(self, version: Version, fs: set[str], channel: str, sequence: set[str], steps: str) -> bool:
        return (version in self.range and any(_any(self.fs, name) for name in fs) and _any(self.channel, channel)
                and any(_is(glob, sequence, steps) for glob in self.sequence))


def _is(glob: str, names: set[str], steps: str) -> bool:
    """NAME or NAME/STEPS."""
    name, slash, of_steps = glob.partition("/")
    return (any(fnmatch.fnmatchcase(n, name) for n in names)
            and (not slash or fnmatch.fnmatchcase(steps, of_steps)))


def _any(globs: tuple[str, ...], name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, g) for g in globs)


@dataclass
class Expectation:
    cls: str = "guaranteed"
    resolutions: list[str] = field(default_factory=lambda: list(DEFAULT_RESOLUTIONS))
    reference: str = ""
    rule: str = ""

    def text(self) -> str:
        return ",".join(self.resolutions)

    def allows(self, kind: str) -> bool:
        """May another check find this: +KIND, or of KIND:FUNCTION that one only?"""
        return "+" + kind in self.resolutions or "+" + kind.partition(":")[0] in self.resolutions

    def dump(self) -> dict[str, Any]:
        return {"class": self.cls, "resolutions": self.resolutions, "reference": self.reference, "rule": self.rule}


def parse_rule(line: str, where: str) -> Rule:
    words = line.split()
    if len(words) < 6:
        raise UsageError(f"{where}: a rule is KERNELS FS CHANNEL SEQUENCE CLASS RESOLUTIONS REFERENCE...")
    try:
        kernels = parse_range(words[0])
    except ValueError as err:
        raise UsageError(f"{where}: {err}") from None
    if words[4] not in CLASSES:
        raise UsageError(f"{where}: " + nearest(words[4], list(CLASSES), "class"))
    resolutions = tuple(words[5].split(","))
    for token in resolutions:
        if token.startswith("+"):
            continue  # a finding that may come along, such as +kernel-log
        word, _, closer = token.partition(":")
        if word not in RESOLUTIONS:
            raise UsageError(f"{where}: " + nearest(word, list(RESOLUTIONS), "resolution"))
        if word == "lost" and closer and closer not in KINDS:
            raise UsageError(f"{where}: " + nearest(closer, list(KINDS), "kind of violation"))
    reference = " ".join(words[6:])
    if words[4] != "guaranteed" and not reference:
        raise UsageError(f"{where}: class {words[4]} wants a reference")
    split = [tuple(w.split(",")) for w in words[1:4]]
    return Rule(kernels, split[0], split[1], split[2], words[4], resolutions, reference, where)


class Expectations:
    def __init__(self, rules: list[Rule]) -> None:
        self.rules = rules

    @classmethod
    def load(cls, directory: Path) -> "Expectations":
        rules = []
        for path in sorted(directory.glob("*.conf")):
            for number, raw in enumerate(path.read_text().splitlines(), 1):
                line = raw.split(" #")[0].strip()
                if line and not line.startswith("#"):
                    rules.append(parse_rule(line, f"{path.name}:{number}"))
        return cls(rules)

    def of(self, kernel_version: str, fs: set[str], channel: str, sequence: str,
           also: frozenset[str] = frozenset(), steps: str = "") -> Expectation:
        """`fs` is what the configuration is called and what kind it is, `also` what else the sequence is
        called; a rule may name any. `steps`: plan.Sequence.steps."""
        version = version_of(kernel_version)
        found = [r for r in self.rules if r.matches(version, fs, channel, {sequence, *also}, steps)]
        if not found:
            return Expectation()
        of_it = [r for r in found if r.adds] if found[-1].adds else found[-1:]
        return Expectation(max((r.cls for r in of_it), key=CLASSES.index),
                           list(dict.fromkeys(word for r in of_it for word in r.resolutions)),
                           "; ".join(dict.fromkeys(r.reference for r in of_it)), "; ".join(r.where for r in of_it))


def sleepers(why: str) -> list[str]:
    """The kernel functions of a hang, as far as they are said: "line 4 of the sequence, in S ext4_wait_dax_page",
    "thread 1, in D ext4_wait_dax_page; thread 3, in D filemap_fault", "in D wait_on_page: wait_on_page < truncate";
    of what does not sleep `running:FUNCTION`, the one that it does not leave, or `running`. What a compiler adds to a
    name (.isra.0) is left out."""
    return re.findall(r"\b[A-Z] ((?:running:)?\w+)[\w.]*(?=$|;|: )", why)


def same_place(one: str, other: str) -> bool:
    """Of sleepers(). Where something runs cannot always be told."""
    return one == other or "running" in (one, other) and one.startswith("running") and other.startswith("running")


def asleep_in(why: str) -> str:
    """The first of them, or ""."""
    return next(iter(sleepers(why)), "")


def _explained(violations: list[str], resolutions: list[str]) -> bool:
    """Is each kind of violation of data one that a loss of this rule may show?"""
    return all(f"lost:{kind}" in resolutions or kind in LOSSES and "lost" in resolutions for kind in violations)


def _listed(resolution: str, errno: str, violations: list[str], where: list[str], resolutions: list[str]) -> bool:
    """RESOLUTION alone or with its errno; a loss with all that was seen; a hang with where one of those sleeps that
    hang: the others may wait behind it."""
    if violations and not _explained(violations, resolutions):
        return False
    return (resolution in resolutions or bool(errno) and f"{resolution}:{errno}" in resolutions
            or resolution == "lost" and bool(violations)
            or resolution == "hung" and any(_hangs_there(function, resolutions) for function in where))


def _hangs_there(function: str, resolutions: list[str]) -> bool:
    """Where it runs cannot always be told: then any place that is known is meant."""
    return (f"hung:{function}" in resolutions or function.startswith("running:") and SPINS in resolutions
            or function == "running" and may_spin(resolutions))


def may_spin(resolutions: list[str]) -> bool:
    return any(r == SPINS or r.startswith(f"{SPINS}:") for r in resolutions)


def outcome(expected: Expectation, verdict: str, resolution: str, errno: str, findings: list[str],
            violations: list[str] | None = None, where: list[str] | None = None) -> str:
    """expected, differs, fixed, not-covered, inconclusive or broken. `violations` are the judge's kinds, `where` the
    functions that a hang sleeps in.

    `findings` are the kinds the other checks found (metadata, kernel-log, leaked-pin, unnoticed, neighbour, ...)."""
    if verdict == "skipped":
        return "not-covered"
    if not all(expected.allows(kind) for kind in findings):
        return "differs"
    if verdict in ("inconclusive", "broken"):
        return verdict
    listed = _listed(resolution, errno, violations or [], where or [], expected.resolutions)
    if expected.cls in ("guaranteed", "refused"):
        return "expected" if listed and verdict == "coherent" else "differs"
    if listed:
        return "expected"
    return "fixed" if expected.cls == "bug" and verdict == "coherent" else "differs"
