# SPDX-License-Identifier: GPL-2.0
"""What an exploration is made of, and how far each cell of it has got: a file that is rewritten after each batch."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .enumeration import Word, World
from .errors import UsageError
from .findings import Candidate, Finding, family
from .plan import Asked, Case

_COUNTERS = ("resolutions", "inconclusive", "broken", "skipped")
STATE_SCHEMA = 2  # 2: landings are steps of a finding


@dataclass(frozen=True)
class Cell:
    kernel: str
    fs: str
    channel: str

    @property
    def id(self) -> str:
        return f"{self.kernel}/{self.fs}/{self.channel}"


@dataclass(frozen=True)
class ExploreCase(Case):
    """A sequence of an exploration as an ordinary case, for the `again`th time."""

    again: int = 1
    folder: str = ""

    def repeat(self, asked: Asked = Asked()) -> str:
        return asked.repro(self.folder, self)


@dataclass(frozen=True)
class Item:
    nr: int
    world: World
    word: Word


@dataclass
class Unlaid:
    """What was seen of a batch and is laid to no sequence of it yet."""

    kind: str     # as of a finding
    text: str
    verdict: str  # of a machine that went down; "" where a check of the whole failed
    first: int    # sequences, by number
    last: int
    excused: bool = False  # of some of them that is no news

    @property
    def what(self) -> str:
        """What must be found of a sequence for this to be laid to it."""
        return self.verdict or family([self.kind])

    def dump(self) -> dict[str, Any]:
        """For run.json."""
        return {**asdict(self), "outcome": "broken" if self.verdict == "broken" else
                "inconclusive" if self.excused else "differs"}


@dataclass
class Progress:
    """How far a cell got, and what it has seen. Kept in a file of its own, rewritten after each batch."""

    depth: int = 1     # the one under way
    index: int = 0     # items of it that are done
    nr: int = 0        # items of all depths that are done or another shard's
    depth_done: int = 0
    finished: bool = False
    not_covered: str = ""
    ran: int = 0
    coherent: int = 0
    idle: int = 0      # coherent, but a fault in them had no effect
    refused: int = 0
    resolutions: Counter[str] = field(default_factory=Counter)
    inconclusive: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)  # not run as they stand, for a reason of this machine or ours
    skipped: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, str] = field(default_factory=dict)  # verbs that this filesystem has not, with the errno
    looked_after_remount: int = 0
    wall_s: float = 0.0  # inside the executor
    cpu_s: float = 0.0
    took_s: float = 0.0  # with filesystems, checks and boots
    best_rate: float = 0.0
    phases_s: dict[str, float] = field(default_factory=dict)  # of wall_s
    pending: list[Candidate] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unconfirmed: list[Finding] = field(default_factory=list)
    left: list[Item] = field(default_factory=list)  # before `index`, and not run: there was no time for them
    unlaid: list[Unlaid] = field(default_factory=list)  # of those
    set_aside: list[str] = field(default_factory=list)
    complaints: dict[str, str] = field(default_factory=dict)  # kinds by shape, of what need not be looked for where it is no news

    @property
    def deadly(self) -> list[Finding]:
        """Those that are known, so that what contains them is not run, and still to be confirmed."""
        return [f for f in self.findings if f.ends_things and not f.tries]

    @property
    def waits(self) -> bool:
        """Is there something to be run or confirmed that was taken up already?"""
        return bool(self.pending or self.left or self.deadly)

    def dump(self) -> dict[str, Any]:
        """For JSON. (asdict would make a counter of pairs of a counter.)"""
        out = asdict(replace(self, **{name: Counter() for name in _COUNTERS}))
        return {**out, **{name: dict(getattr(self, name)) for name in _COUNTERS}}

    @classmethod
    def load(cls, data: dict[str, Any]) -> "Progress":
        out = cls(**data)
        for name in _COUNTERS:
            setattr(out, name, Counter(data[name]))
        out.pending = [Candidate.load(c) for c in data["pending"]]
        out.findings = [Finding.load(f) for f in data["findings"]]
        out.left = [Item(i["nr"], tuple(i["world"]), tuple(i["word"])) for i in data.get("left", [])]
        out.unlaid = [Unlaid(**u) for u in data.get("unlaid", [])]
        out.unconfirmed = [Finding.load(f) for f in data["unconfirmed"]]
        return out


def state_path(folder: Path, cell: Cell) -> Path:
    """Of the run in `folder`."""
    return folder / "explore" / cell.id / "state.json"


def load_progress(path: Path) -> Progress:
    """UsageError when it cannot be gone on from."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as err:
        raise UsageError(f"{path}: {err}; without this file its cell begins again") from None
    if not isinstance(data, dict) or data.pop("schema", None) != STATE_SCHEMA:
        raise UsageError(f"{path}: is of another version of this program; it cannot be resumed")
    try:
        return Progress.load(data)
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise UsageError(f"{path}: is not as schema {STATE_SCHEMA} has it: {err}; without this file its cell begins "
                         "again") from None
