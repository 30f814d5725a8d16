# SPDX-License-Identifier: GPL-2.0
"""How many sequences there are, and about how long they will take: said before an exploration begins."""

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from .agent import ChannelInfo
from .enumeration import HOLDS_MAX, RULES, Counts, Enumeration
from .explore_attempt import CHUNK_ITEMS
from .explore_cell import BATCH_BYTES, BATCH_ITEMS
from .explore_state import Cell

if TYPE_CHECKING:
    from .explore import Explore
    from .main import World

DAY_S = 86400.0
COUNTED_MAX = 1_500_000  # valid words; of more the number is estimated
SAMPLE_WORDS = 2000      # whose files are looked at
_HOLDS_TEXT = {0: "without held writes", 1: "with one held write at a time", HOLDS_MAX: "with held writes"}


@dataclass(frozen=True)
class Cost:
    """What is spent on average, in milliseconds."""

    sequence_ms: float    # whatever it does
    mib_ms: float         # a MiB of its files: written, looked at through every view, looked at after a remount
    filesystem_ms: float  # one more of them: made, mounted, checked


# By where it runs and what the filesystem is in. Measured on two CPUs that two or three machines shared (guests
# emulated, without KVM): sequence_ms is the median of 107 cells of four steps of alphabet core on 6.1 to 7.3; mib_ms and
# filesystem_ms are from alphabet huge, two and three steps (btrfs, xfs and tmpfs natively, xfs and tmpfs in guests of
# 7.3). A cell takes half of that or twice that, and confirming what is found is not in it.
COSTS = {("native", "disk"): Cost(2.0, 6.5, 500.0),
         ("native", "memory"): Cost(0.5, 4.5, 80.0),
         ("guest", "disk"): Cost(16.0, 25.0, 2500.0),
         ("guest", "memory"): Cost(3.0, 25.0, 500.0)}
# More of a sequence where one that waits for a held write(2) sleeps until that is seen. The same cells, channel pwrite.
SLEEP_MS = 9.0


def holds_of(channel: ChannelInfo) -> int:
    """Writes that may be held at once. Where nothing is in flight after a hold, a held write is a write where it
    lands. A held write(2) has its file's lock: a second one may wait for it, or for who waits for it, and is not
    held then, but stuck."""
    if channel.hold != "inflight":
        return 0
    return 1 if channel.cls == "syscall" else HOLDS_MAX


def time_text(seconds: float) -> str:
    for size, unit in ((365 * DAY_S, "years"), (DAY_S, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.0f} seconds"


def mean_bytes(e: Enumeration, depth: int) -> float:
    """Of the files of a sequence; longer ones than two steps name hardly more."""
    words = list(islice(e.words(min(depth, 2)), SAMPLE_WORDS))
    return sum(map(e.bytes_of, words)) / max(1, len(words))


def sequence_s(cost: Cost, file_bytes: float, persistent: bool, sleeps: bool) -> float:
    """With its part of a filesystem: large files are so many fewer on one."""
    most = BATCH_ITEMS if persistent else CHUNK_ITEMS
    on_one = min(float(most), 1 + BATCH_BYTES / max(1.0, 2 * file_bytes))
    each = cost.sequence_ms + sleeps * SLEEP_MS + file_bytes / (1 << 20) * cost.mib_ms + cost.filesystem_ms / on_one
    return each / 1000


def estimate(cells: list[Cell], everything: "World", explore: "Explore", jobs: int) -> tuple[list[str], float, Any]:
    """The lines said before the start, the seconds in all, and the counts for run.json."""
    by_holds: dict[int, list[Cell]] = {}
    for cell in cells:
        by_holds.setdefault(holds_of(everything.hello.channels[cell.channel]), []).append(cell)
    out, told = [], []
    busy_s: dict[str, float] = {}
    rates: dict[str, list[float]] = {}
    for holds, mine in sorted(by_holds.items()):
        e = explore.enumeration(everything.hello.channels[mine[0].channel])
        channels = dict.fromkeys(c.channel for c in mine)
        out.append(f"{' '.join(channels)} ({_HOLDS_TEXT[holds]}, {len(e.symbols)} steps):")
        nr_run = 0.0
        for depth in range(1, explore.depth + 1):
            counts = e.count(depth, COUNTED_MAX)
            out.append("  " + _count_line(depth, counts, len(mine)))
            told.append({"holds": holds, "depth": depth, "channels": list(channels), **vars(counts),
                         "saved": dict(counts.saved)})
            nr_run += counts.run / explore.shards_of(depth)
        file_bytes = mean_bytes(e, explore.depth)
        for cell in mine:
            where = "native" if cell.kernel == "native" else "guest"
            persistent = everything.configs[cell.fs].persistent
            each_s = sequence_s(COSTS[where, "disk" if persistent else "memory"], file_bytes, persistent, holds == 1)
            busy_s[cell.kernel] = busy_s.get(cell.kernel, 0.0) + nr_run * each_s
            rates.setdefault("natively" if where == "native" else "in a guest", []).append(1 / each_s)
    seconds = max([max(busy_s.values()), sum(busy_s.values()) / jobs])
    out.append(f"{len(cells)} cells (kernel, filesystem, channel), at an estimated "
               + " and ".join(f"{_between(some)} sequences a second {where}" for where, some in sorted(rates.items()))
               + f": about {time_text(seconds)}, or half or twice that")
    return out, seconds, told


def _between(rates: list[float]) -> str:
    low, high = f"{min(rates):.0f}", f"{max(rates):.0f}"
    return low if low == high else f"{low} to {high}"


def _count_line(depth: int, counts: Counts, cells: int) -> str:
    about = "about " if counts.estimated else ""
    text = f"{depth} step{'s' * (depth != 1)}: {about}{counts.run:,} sequences in each of {cells} cells"
    saved = [f"{rule} {counts.saved[rule]:,}" for rule in RULES if counts.saved[rule]]
    return text + (" (estimated)" if counts.estimated else
                   f"; of {counts.valid:,} that make sense" + (f", saved: {', '.join(saved)}" if saved else ""))
