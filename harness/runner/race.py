# SPDX-License-Identifier: GPL-2.0
"""`./run.sh race`: kernel x filesystem x channel, each a race of its own under the run's seed.

The executor runs the race and its judge, inside the machine; here stand what is asked for, what is made
of the answer, and where a stream is kept. Machines, filesystems and the checks around a race are those of
every other case (execute.py, batch.py).
"""

import base64
import binascii
import fnmatch
import shlex
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .agent import Agent, ChannelInfo, FaultInfo, Reply
from .errors import UsageError, nearest
from .fsconfig import FsConfig
from .judge import Judgement, answer
from .plan import Asked, Case, Filters, Sequence, _matching, default_filesystems
from .racelog import VERBS, VIEWS
from .store import GOES_ON, unwritten

SEQUENCE = "race"  # what expectations and tables know a race by
SECONDS = 10.0     # of each race, when neither time nor number was asked for
SECONDS_MAX = 1e6  # the executor counts milliseconds in 31 bits
TITLE = "Threads of channel writes, stores, reads and faults run free on a few files"
_CLASS_ORDER = ("pte", "short-pin", "long-pin", "faulting", "syscall")
_SLOWEST_OPS_PER_S = 20
_JUDGE_S = 300.0
NATIVE_STREAM_MAX = 4 << 30  # on the disk of the results
_PIECE_BYTES = 36 << 10      # of a file on its way out of a guest: `sh` answers with 64 KiB at most
GUEST_STREAM_MAX = 48 << 20  # in the guest's memory, and then through its port


@dataclass(frozen=True)
class Race:
    """What the options say of every race of a run."""

    seed: int = 0
    ops: int = 0
    seconds: float = 0.0
    threads: int = 4
    files: int = 2
    size: int = 256 << 10
    faults: tuple[str, ...] = ()  # empty: all suitable ones
    record: bool = False
    verbs: tuple[str, ...] = ()   # empty: all of VERBS
    views: tuple[str, ...] = ()   # empty: all of VIEWS

    def check(self) -> None:
        """UsageError for what the executor would refuse."""
        if not 1 <= self.threads <= 16:
            raise UsageError("--threads wants 1 to 16")
        if not 1 <= self.files <= 8:
            raise UsageError("--files wants 1 to 8")
        if self.ops < 0 or not 0 <= self.seconds <= SECONDS_MAX:
            raise UsageError(f"--ops and --seconds want a number from 0 up (seconds to {SECONDS_MAX:g}), and one of them "
                             "above it")
        for said, known, what in ((self.verbs, VERBS, "verb"), (self.views, VIEWS, "view")):
            for name in said:
                if name not in known:
                    raise UsageError(nearest(name, list(known), what))
        if self.verbs and ("look" not in self.verbs or not set(self.verbs) - {"look", "fault"}):
            raise UsageError("--verb: a race needs look, and one that writes (write, store, pwrite)")
        if self.size % 8192 or not 32 << 10 <= self.size <= 256 << 20:
            raise UsageError("--size wants a multiple of 8192 from 32K to 256M")

    def keys(self) -> dict[str, str | int]:
        keys: dict[str, str | int] = {"seed": self.seed, "threads": self.threads, "files": self.files,
                                      "size": self.size}
        if self.ops:
            keys["ops"] = self.ops
        if self.seconds or not self.ops:
            keys["ms"] = int((self.seconds or SECONDS) * 1000)
        if self.faults:
            keys["faults"] = ",".join(self.faults)
        if self.verbs:
            keys["verbs"] = ",".join(self.verbs)
        if self.views:
            keys["views"] = ",".join(self.views)
        return keys

    def timeout_s(self, deadline_ms: int) -> float:
        lasts = self.seconds or (self.ops / _SLOWEST_OPS_PER_S if self.ops else SECONDS)
        return lasts + 10 * deadline_ms / 1000 + _JUDGE_S

    def options(self) -> str:
        """As the command line says it, for the line that repeats a race."""
        out = f"--seed {self.seed}"
        if self.ops:
            out += f" --ops {self.ops}"
        if self.seconds:
            out += f" --seconds {self.seconds:g}"
        plain = Race()
        for name in ("threads", "files", "size"):
            if getattr(self, name) != getattr(plain, name):
                out += f" --{name} {getattr(self, name)}"
        return out + "".join(f" --{what} {name}" for what, names in (
            ("fault", self.faults), ("verb", self.verbs), ("view", self.views)) for name in names)


@dataclass(frozen=True)
class RaceCase(Case):
    race: Race = field(compare=False, default=Race())
    without: tuple[str, ...] = field(compare=False, default=())  # faults that this filesystem's races leave out
    keep: bool = field(compare=False, default=True)  # the stream, when it shows something

    @property
    def id(self) -> str:
        return f"{self.kernel}/{self.fs}/{self.channel}/{SEQUENCE}-{self.race.seed}" + self._turn()

    @property
    def also(self) -> frozenset[str]:
        """A race in which a fault was asked for by name is `race:FAULT` too, for what is expected of it."""
        return frozenset(f"{SEQUENCE}:{fault}" for fault in self.race.faults)

    def keys(self) -> dict[str, str | int]:
        """For the executor."""
        return {**self.race.keys(), **({"without": ",".join(self.without)} if self.without else {})}

    def repeat(self, asked: Asked = Asked()) -> str:
        where = shlex.join([*asked.where(self.kernel, self.fs), "--channel", self.channel])
        return f"./run.sh race {where} {self.race.options()}"


def sequence(race: Race) -> Sequence:
    """What stands in a race's folder in the place of a sequence."""
    text = f"# {TITLE}\n# race " + " ".join(f"{k}={v}" for k, v in asdict(race).items()) + "\n"
    return Sequence(SEQUENCE, text, "", TITLE)


def choose_faults(patterns: list[str], known: dict[str, FaultInfo], files: int = Race.files) -> tuple[str, ...]:
    """Names for the executor, which says what can be raced; a glob takes what can be, with so many files."""
    out: list[str] = []
    for pattern in patterns:
        named = [pattern] if pattern in known else fnmatch.filter(known, pattern)
        hits = [n for n in named if "unraced" not in known[n].flags and (files > 1 or known[n].args != "file-file")]
        if named and not hits:
            alone = "unraced" not in known[named[0]].flags
            raise UsageError(f"--fault {pattern}: cannot be raced" + " with one file" * alone)
        if not hits:
            raise UsageError(nearest(pattern, list(known), "fault"))
        out += hits
    return tuple(dict.fromkeys(out))


def plan(kernels: list[str], configs: dict[str, FsConfig], channels: dict[str, ChannelInfo], filters: Filters,
         race: Race) -> list[RaceCase]:
    """The page-table controls first. Without a filter every channel in its plain form. What a filesystem's
    configuration leaves out is left out, unless faults were named."""
    ordered = sorted(channels, key=lambda n: (_CLASS_ORDER.index(channels[n].cls), n))
    fs_names = set(_matching(filters.fs, list(configs), "filesystem") if filters.fs else default_filesystems(configs))
    chosen = set(_matching(filters.channels, ordered, "channel"))
    if not filters.channels:
        chosen = {n for n in chosen if channels[n].plain and channels[n].cls != "faulting"}
    chosen = {n for n in chosen if channels[n].cls != "syscall"}
    if not chosen:
        raise UsageError("write(2) is a part of every race, not the channel of one")
    numbered = [(nr, fs, channel) for nr, (fs, channel) in
                enumerate(((fs, channel) for fs in configs for channel in ordered), 1)]
    return [RaceCase(kernel, fs, channel, SEQUENCE, nr, exclusive=True, race=race,
                     without=() if race.faults else tuple(configs[fs].race_without)) for kernel in kernels
            for nr, fs, channel in numbered if fs in fs_names and channel in chosen]


def left_out(cases: Iterable[Case], configs: dict[str, FsConfig]) -> list[str]:
    """For the report: what no race of these did, and why."""
    return [f"race on {fs} leaves out {fault}: known defect, {configs[fs].race_without[fault]}"
            for fs, fault in dict.fromkeys((c.fs, f) for c in cases if isinstance(c, RaceCase) for f in c.without)]


def ended_early(reply: Reply) -> str:
    """Why it did not last its time, or ""."""
    env = reply.env()
    if "dead" not in env:
        return ""
    return f"ended after {env.get('seconds', '?')} s: the filesystem takes no more changes ({env['dead']})"


def judgement(reply: Reply) -> Judgement:
    """What the judge inside the machine said, and whether the race earned it."""
    said = [line[1:] for line in reply.lines if line[0] == "j" and len(line) > 1]
    env = reply.env()
    if not said or said[-1] != ["end"] or env.get("judge", "exit 0").split()[0] != "exit":
        return Judgement(why=f"the judge gave no whole answer ({env.get('judge', 'it did not run')})")
    out = answer((line[0], " ".join(line[1:])) for line in said)
    out.resolution = out.resolution or {"coherent": "landed", "corrupt": "lost"}.get(out.verdict, "")
    if out.verdict == "coherent":
        idle = [what for what in ("write", "look", "fault") if not int(env.get(what, "0"))]
        if idle:
            out.verdict, out.resolution = "inconclusive", ""
            out.why = f"not one {' and not one '.join(idle)} succeeded"
    out.detail = out.detail or f"{env.get('ops', '?')} operations, {env.get('ops_per_s', '?')} a second"
    if dead := ended_early(reply):
        out.detail += f"; {dead}"
    return out


def lines(reply: Reply) -> list[str]:
    """The judge's answer and the executor's counters, for the case's folder."""
    return [" ".join(line[1:]) if line[0] == "j" else " ".join(line)
            for line in reply.lines if line[0] in ("j", "env")]


def fetch(agent: Agent, path: str, to: Path, advice: str = GOES_ON) -> str:
    """Bring a file out of a guest. "" or why it could not be had. EnvironmentFailed where it cannot be written here;
    nothing of it is left then."""
    packed = agent.sh("sh", "-c", 'gzip -1 < "$1" > "$1.gz" && wc -c < "$1.gz"', "sh", path, timeout_s=300)
    if not packed.ok or not packed.out.strip().isdigit():
        return packed.out[-200:] or packed.how
    data = b""
    size = int(packed.out)
    try:
        for nr in range((size + _PIECE_BYTES - 1) // _PIECE_BYTES):
            piece = agent.sh("sh", "-c", 'dd if="$1.gz" bs="$2" skip="$3" count=1 2>/dev/null | base64 -w 1024', "sh",
                             path, str(_PIECE_BYTES), str(nr))
            data += base64.b64decode(piece.out, validate=False)
        whole = zlib.decompress(data, wbits=31)
    except (binascii.Error, zlib.error) as err:
        return f"{len(data)} of {size} bytes came: {err}"
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(whole)
    except OSError as err:
        if to.is_file():
            to.unlink()
        raise unwritten(to, err, advice) from None
    return ""
