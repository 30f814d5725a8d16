# SPDX-License-Identifier: GPL-2.0
"""How many sequences there are, and about how long they will take: said before an exploration begins."""

from typing import TYPE_CHECKING, Any

from .agent import ChannelInfo
from .enumeration import HOLDS_MAX, RULES, Counts
from .explore_state import Cell

if TYPE_CHECKING:
    from .explore import Explore
    from .main import World

DAY_S = 86400.0
COUNTED_MAX = 1_500_000  # valid words; of more the number is estimated
# Sequences a second of one machine before its own rate is known: measured on two CPUs, guests without KVM.
RATES = {"native": 1000.0, "guest": 120.0}
_HOLDS_TEXT = {0: "without held writes", 1: "with one held write at a time", HOLDS_MAX: "with held writes"}


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


def estimate(cells: list[Cell], everything: "World", explore: "Explore", jobs: int) -> tuple[list[str], float, Any]:
    """The lines said before the start, the seconds in all, and the counts for run.json."""
    by_holds: dict[int, list[Cell]] = {}
    for cell in cells:
        by_holds.setdefault(holds_of(everything.hello.channels[cell.channel]), []).append(cell)
    out, told = [], []
    busy_s: dict[str, float] = {}
    for holds, mine in sorted(by_holds.items()):
        e = explore.enumeration(everything.hello.channels[mine[0].channel])
        channels = dict.fromkeys(c.channel for c in mine)
        out.append(f"{' '.join(channels)} ({_HOLDS_TEXT[holds]}, {len(e.symbols)} steps):")
        for depth in range(1, explore.depth + 1):
            counts = e.count(depth, COUNTED_MAX)
            out.append("  " + _count_line(depth, counts, len(mine)))
            told.append({"holds": holds, "depth": depth, "channels": list(channels), **vars(counts),
                         "saved": dict(counts.saved)})
            for cell in mine:
                rate = RATES["native" if cell.kernel == "native" else "guest"]
                busy_s[cell.kernel] = busy_s.get(cell.kernel, 0.0) + counts.run / explore.shards / rate
    seconds = max([max(busy_s.values()), sum(busy_s.values()) / jobs])
    rates = sorted({"native" if c.kernel == "native" else "guest" for c in cells})
    out.append(f"{len(cells)} cells (kernel, filesystem, channel), at about "
               + " and ".join(f"{RATES[r]:.0f} sequences a second in a {'native machine' if r == 'native' else r}"
                              for r in rates) + f": {time_text(seconds)}")
    return out, seconds, told


def _count_line(depth: int, counts: Counts, cells: int) -> str:
    about = "about " if counts.estimated else ""
    text = f"{depth} step{'s' * (depth != 1)}: {about}{counts.run:,} sequences in each of {cells} cells"
    saved = [f"{rule} {counts.saved[rule]:,}" for rule in RULES if counts.saved[rule]]
    return text + (" (estimated)" if counts.estimated else
                   f"; of {counts.valid:,} that make sense" + (f", saved: {', '.join(saved)}" if saved else ""))
