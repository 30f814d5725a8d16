# SPDX-License-Identifier: GPL-2.0
"""How many sequences a second explore runs, where its time goes, and what the exact judge takes of them.

    python3 -m harness.bench.bench_explore [--fs tmpfs ...] [--channel store ...] [--depth 3 ...] [--sequences 1500] [--rounds 3]

Root, this machine; the filesystems are made on a loop image. The alphabet is core, each round as many sequences of
`depth` steps, evenly from all of them, on a fresh filesystem, judged as explore judges them; the best round counts. Of a round's time: `make` and
`run` are files and steps, `drop` is the last look, with what is left of judging. Once more the histories are kept and
judged by themselves: `judge` is CPU time a history, and its share of what making, running and judging took.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

from .bench_race import EXECUTOR, JUDGE, mounted
from harness.runner import alphabet
from harness.runner.agent import decode, encode
from harness.runner.explore import Explore
from harness.runner.explore_attempt import CHUNK_ITEMS, PROCESSES, SLEEPERS
from harness.runner.explore_estimate import holds_of
from harness.runner.main import ROOT, local_hello

CHANNELS = ("store", "pwrite", "dio-read")
DEPTHS = (3, 5)


def sequences(channel: str, depth: int, most: int) -> tuple[list[str], int]:
    """Texts of no more than `most`, and how many processes explore runs them in."""
    hello = local_hello()
    core = alphabet.load("core", ROOT / "workloads" / "alphabets", hello.faults, ROOT)
    info = hello.channels[channel]
    made = Explore(depth, alphabet=core).enumeration(info)
    every = -(-made.count(depth, 1 << 30).run // most)
    texts = [made.text(world, word) for world, word in islice(made.items(depth, False, 0), 0, None, every)]
    return texts, SLEEPERS if holds_of(info) == 1 else PROCESSES


def executed(mnt: Path, root: Path, channel: str, texts: list[str], jobs: int, judge: str) -> list[list[str]]:
    """The executor's lines for these sequences, in its own chunks."""
    out = []
    for at in range(0, len(texts), CHUNK_ITEMS):
        part = texts[at:at + CHUNK_ITEMS]
        head = (f"explore run=7 dir={mnt}/x{at} mnt={mnt} scratch={root} channel={channel} judge={judge} "
                f"jobs={min(jobs, len(part))} first={int(not at)}")
        lines = [head, *(f"seq {nr} {encode(text)}" for nr, text in enumerate(part, at + 1)), "go", "quit", ""]
        done = subprocess.run([str(EXECUTOR), "--stdio"], input="\n".join(lines), capture_output=True, text=True,
                              timeout=600)
        told = [[decode(t) for t in line.split(" ")] for line in done.stdout.splitlines() if line]
        if ["ok", "ran"] not in told:
            raise SystemExit(f"bench_explore: {channel}: {told[-2:]}")
        out += told
    return out


def env(lines: list[list[str]], key: str) -> float:
    return sum(float(line[2]) for line in lines if line[:2] == ["env", key]) / 1e6


def judged_s(lines: list[list[str]]) -> tuple[int, float]:
    """How many histories, and the seconds of CPU that the judge takes for them."""
    pieces: dict[str, str] = {}
    for line in lines:
        if line[0] == "y":
            pieces[line[1]] = pieces.get(line[1], "") + line[3]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(JUDGE), "--each"], input="".join(text + ".\n" for text in pieces.values()), text=True,
                   stdout=subprocess.DEVNULL, timeout=600, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return len(pieces), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def bench(fs: str, channel: str, depth: int, root: Path, args: argparse.Namespace) -> None:
    texts, jobs = sequences(channel, depth, args.sequences)
    rounds = []
    for _ in range(args.rounds):
        with mounted(fs, root) as mnt:
            rounds.append(executed(mnt, root, channel, texts, jobs, str(JUDGE)))
    best = min(rounds, key=lambda lines: env(lines, "wall_us"))
    with mounted(fs, root) as mnt:
        kept = executed(mnt, root, channel, texts, jobs, "-")
    nr, judge_s = judged_s(kept)
    wall_s = env(best, "wall_us")
    phases = ", ".join(f"{p} {100 * env(best, f'phase_us:{p}') / wall_s:.0f} %" for p in ("make", "run", "drop"))
    print(f"{fs:6} {channel:9} {len(texts):5,} of {depth} steps, {len(texts) / wall_s:6.0f} a second: {phases}; "
          f"judge {judge_s / nr * 1e6:5.0f} us each, {100 * judge_s / (judge_s + env(kept, 'cpu_us')):.0f} % of the CPU time",
          flush=True)


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fs", action="append", default=[])
    parser.add_argument("--channel", action="append", default=[])
    parser.add_argument("--depth", action="append", type=int, default=[])
    parser.add_argument("--sequences", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = options(argv)
    if os.getuid():
        raise SystemExit("needs root: it mounts filesystems")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as root:
        for fs in args.fs or ["tmpfs", "xfs"]:
            for channel in args.channel or CHANNELS:
                for depth in args.depth or DEPTHS:
                    bench(fs, channel, depth, Path(root), args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
