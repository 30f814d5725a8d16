# SPDX-License-Identifier: GPL-2.0
"""From names and filters to cases: kernel x filesystem x channel(/variant) x sequence."""

import fnmatch
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from .agent import ChannelInfo, FaultInfo
from .errors import UsageError, nearest
from .findings import EXPLORED, name_in
from .fsconfig import FsConfig

# Steps of a sequence that are not faults.
STEPS = frozenset("file pin unpin hold hold-read land write store pwrite read look".split())
HEADER = re.compile(r"^#\s*(default|variants|channels|needs|fs|explored):\s*(.*)$")
NEEDS = ("guest", "flush-trace")  # either is of guests only


@dataclass(frozen=True)
class Sequence:
    """A sequence as the runner sees it: its text goes to the executor unread but for this."""

    name: str
    text: str
    path: str
    title: str
    default: tuple[str, ...] = ("*",)  # filesystems where a run that names no sequence and no fault has it
    variants: bool = False
    channels: tuple[str, ...] = ()
    filesystems: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    files: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    explored: str = ""  # what its head says that it was explored as

    @property
    def names(self) -> frozenset[str]:
        """What expectations know it as. An explored sequence is one by its steps, whatever its file is called."""
        said = {name_in(n, self.text) if n.startswith(EXPLORED) else n for n in (self.name, self.explored)}
        return frozenset(said - {""})

    @property
    def steps(self) -> str:
        """In order, as expectations write them: "pin.A>hold.w1.A.0.8K>land.w1"."""
        lines = (line.split("#", 1)[0].split() for line in self.text.splitlines())
        return ">".join(".".join(words) for words in lines if words and words[0] != "file")

    @property
    def selftest(self) -> bool:
        return Path(self.path).parent.name == "selftest"


def parse_sequence(path: Path, faults: dict[str, FaultInfo] | None = None, name: str = "") -> Sequence:
    """Header and step names; the executor parses the rest. UsageError with file:line.

    Its name is the file's, unless `name` says otherwise (a recorded case's copy)."""
    try:
        text = path.read_text()
    except OSError as err:
        raise UsageError(f"{path}: {err.strerror}") from None
    title = ""
    head: dict[str, str] = {}
    files: list[str] = []
    verbs: list[str] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        header = HEADER.match(line)
        if header:
            head[header[1]] = header[2].strip()
        elif line.startswith("#"):
            title = title or line.lstrip("# ")
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        verbs.append(words[0])
        if words[0] == "file":
            if len(words) != 4:
                raise UsageError(f"{path}:{number}: file wants NAME SIZE STATE")
            files.append(words[1])
        elif words[0] not in STEPS:
            if faults and words[0] not in faults:
                raise UsageError(f"{path}:{number}: "
                                 + nearest(words[0], sorted(STEPS | set(faults)), "step"))
            files += _new_names(words, faults)
    if not files:
        raise UsageError(f"{path}:1: a sequence names at least one file")
    needs = frozenset(w.lower() for w in head.get("needs", "").replace(",", " ").split())
    for need in needs - set(NEEDS):
        raise UsageError(f"{path}:1: " + nearest(need, list(NEEDS), "need"))
    return Sequence(name=name or path.stem, text=text, path=str(path), title=title or path.stem,
                    default=_default(head.get("default", "yes")), variants=head.get("variants", "no") == "yes",
                    channels=tuple(head.get("channels", "").replace(",", " ").split()),
                    filesystems=tuple(head.get("fs", "").replace(",", " ").split()),
                    needs=needs, files=tuple(dict.fromkeys(files)), verbs=tuple(verbs),
                    explored=head.get("explored", ""))


def _default(said: str) -> tuple[str, ...]:
    return {"yes": ("*",), "no": ()}.get(said, tuple(said.replace(",", " ").split()))


def _new_names(words: list[str], faults: dict[str, FaultInfo] | None) -> list[str]:
    """The second name of `clone A B` or `rename A B`: a file that may exist only from then on."""
    fault = (faults or {}).get(words[0])
    takes_two = fault.args == "file-file" if fault else len(words) == 3 and words[2][0].isalpha()
    return [words[2]] if takes_two and len(words) >= 3 else []


def load_sequences(directory: Path, faults: dict[str, FaultInfo] | None = None) -> dict[str, Sequence]:
    """Every *.seq below `directory`, by name; names are unique over the whole tree."""
    out: dict[str, Sequence] = {}
    for path in sorted(directory.rglob("*.seq")):
        seq = parse_sequence(path, faults)
        if seq.name in out:
            raise UsageError(f"{path}:1: the name '{seq.name}' is taken by {out[seq.name].path}")
        out[seq.name] = seq
    return out


@dataclass(frozen=True)
class Asked:
    """What only the command line of a run says of its cases: a line that repeats one must say it again."""

    images: dict[str, Path] = field(default_factory=dict, hash=False)  # of kernels that were given by their path
    modules: Path | None = None
    section_of: str = ""  # the filesystem that is a section of local_config
    local_config: Path | None = None
    section: str | None = None
    device: str | None = None
    sequence_of: str = ""  # the sequence that is a file of the user's own
    sequence_file: Path | None = None
    recorded: str = ""  # the run's folder, where its cases are as others were recorded and not as they would be made now

    def machine(self, kernel: str) -> list[str]:
        """--kernel, and what it is given with."""
        out = ["--kernel", str(self.images.get(kernel, kernel))]
        if kernel in self.images and self.modules:
            out += ["--modules", str(self.modules)]
        return out + (["--device", self.device] if kernel == "native" and self.device else [])

    def where(self, kernel: str, fs: str) -> list[str]:
        out = [*self.machine(kernel), "--fs", fs]
        if fs == self.section_of and self.local_config:
            out += ["--local-config", str(self.local_config)]
            out += ["--section", self.section] if self.section else []
        return out

    def repro(self, folder: str, case: "Case") -> str:
        """Of a case whose folder has all there is to say of it, but for the machine."""
        machine = self.machine(case.kernel)
        return shlex.join(["./run.sh", "repro", f"{folder}/cases/{case.id}", *(machine if machine[2:] else [])])


@dataclass(frozen=True)
class Case:
    kernel: str
    fs: str
    channel: str
    sequence: str
    nr: int
    exclusive: bool = field(compare=False, default=False)
    crashes: bool = field(compare=False, default=False)
    power: bool = field(compare=False, default=False)  # ends in a power cut
    busy: bool = field(compare=False, default=False)  # and is at work until then
    turn: int = field(compare=False, default=1)  # of a case that is run several times

    @property
    def id(self) -> str:
        return f"{self.kernel}/{self.fs}/{self.channel}/{self.sequence}" + self._turn()

    def _turn(self) -> str:
        return f".{self.turn}" if self.turn > 1 else ""

    @property
    def also(self) -> frozenset[str]:
        """What expectations know it as besides its sequence's name."""
        return frozenset()

    def repeat(self, asked: Asked = Asked()) -> str:
        if asked.recorded:
            return asked.repro(asked.recorded, self)
        what, named = ["run"], ["--sequence", self.sequence]
        if self.sequence == asked.sequence_of:
            what, named = ["seq", str(asked.sequence_file)], []
        return shlex.join(["./run.sh", *what, *asked.where(self.kernel, self.fs), "--channel", self.channel, *named])


_TURN = 1_000_000  # numbers of the plan are below it


def again(cases: Iterable[Case], times: int) -> list[Case]:
    """Each case so often, under numbers of their own: in one boot, in folders of their own."""
    return [replace(c, turn=turn, nr=c.nr + _TURN * (turn - 1)) for c in cases for turn in range(1, times + 1)]


def parse_case_id(text: str) -> tuple[str, str, str, str]:
    """KERNEL/FS/CHANNEL[/VARIANT]/SEQUENCE. Raises UsageError."""
    parts = text.strip("/").split("/")
    if len(parts) not in (4, 5):
        raise UsageError(f"'{text}' is not KERNEL/FS/CHANNEL/SEQUENCE")
    return parts[0], parts[1], "/".join(parts[2:-1]), parts[-1]


@dataclass
class Filters:
    """Empty means the default run. Each entry is a name or a glob."""

    fs: list[str] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    sequences: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    all: bool = False  # also the sequences whose header says `default: no`


def default_filesystems(configs: dict[str, FsConfig]) -> list[str]:
    """Those of a run that names none."""
    return [name for name, config in configs.items() if config.default]


def _matching(patterns: list[str], known: list[str], what: str) -> list[str]:
    """Names that any pattern selects; a pattern that selects none is a UsageError."""
    if not patterns:
        return known
    chosen = set()
    for pattern in patterns:
        hits = [pattern] if pattern in known else fnmatch.filter(known, pattern)
        if not hits:
            raise UsageError(nearest(pattern, known, what))
        chosen.update(hits)
    return [name for name in known if name in chosen]


def wanted(seq: Sequence, channel: ChannelInfo, fs: str, faults: dict[str, FaultInfo]) -> bool:
    """Does this sequence belong on this channel and filesystem at all?"""
    if not channel.plain and not seq.variants:
        return False
    base = channel.name.split("/")[0]
    if seq.channels and not any(fnmatch.fnmatchcase(channel.name, g) or fnmatch.fnmatchcase(base, g)
                                for g in seq.channels):
        return False
    if seq.filesystems and not any(fnmatch.fnmatchcase(fs, g) for g in seq.filesystems):
        return False
    return True


def flags_of(seq: Sequence, faults: dict[str, FaultInfo]) -> frozenset[str]:
    return frozenset(flag for verb in seq.verbs if verb in faults for flag in faults[verb].flags)


def _busy(seq: Sequence, faults: dict[str, FaultInfo]) -> bool:
    """Do steps follow the power cut? They are repeated until it comes."""
    return any(verb in faults and "power" in faults[verb].flags for verb in seq.verbs[:-1])


def plan(kernels: list[str], configs: dict[str, FsConfig], channels: dict[str, ChannelInfo],
         faults: dict[str, FaultInfo], sequences: dict[str, Sequence], filters: Filters,
         selftest: bool = False) -> list[Case]:
    """Cases in the order they run. Numbers count the whole matrix before the filters, so a case
    has the same number however it was selected (and on every kernel). Raises UsageError."""
    fs_names = _matching(filters.fs, list(configs), "filesystem") if filters.fs else default_filesystems(configs)
    plain_first = sorted(channels, key=lambda n: (n.split("/")[0], "/" in n, n))
    channel_names = set(_matching(filters.channels, plain_first, "channel"))
    usable = {n: s for n, s in sequences.items() if s.selftest == selftest or n in filters.sequences}
    sequence_names = set(_matching(filters.sequences, sorted(usable), "sequence"))
    by_default = not (filters.sequences or filters.faults or filters.all)
    if by_default:
        sequence_names = {n for n in sequence_names if usable[n].default}  # on some filesystem
    fault_names = set(_matching(filters.faults, sorted(faults), "fault")) if filters.faults else set()
    out: list[Case] = []
    nr = 0
    rows: list[tuple[int, str, str, str]] = []
    for fs in configs:
        for channel in plain_first:
            for name in sorted(sequences):
                if not wanted(sequences[name], channels[channel], fs, faults):
                    continue
                nr += 1
                # Of one that stands beside the others the selftest wants only what it is there for.
                if selftest and not configs[fs].default and not (filters.sequences or sequences[name].filesystems):
                    continue
                if by_default and channels[channel].brief and not sequences[name].variants:
                    continue
                if by_default and not any(fnmatch.fnmatchcase(fs, g) for g in sequences[name].default):
                    continue
                if (fs in fs_names and channel in channel_names and name in sequence_names
                        and (not fault_names or fault_names & set(sequences[name].verbs))):
                    rows.append((nr, fs, channel, name))
    for kernel in kernels:
        for number, fs, channel, name in rows:
            seq = sequences[name]
            flags = flags_of(seq, faults)
            if kernel == "native" and ("guest-only" in flags or seq.needs):
                continue
            out.append(Case(kernel, fs, channel, name, number,
                            exclusive=bool({"exclusive", "last"} & flags),
                            crashes="last" in flags or any(v.startswith("crash") for v in seq.verbs),
                            power="power" in flags, busy=_busy(seq, faults)))
    return out
