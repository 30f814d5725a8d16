# SPDX-License-Identifier: GPL-2.0
"""What looking, decoding and recording cost a race: the same race in three ways, in turns.

    python3 -m harness.bench.bench_race [--fs tmpfs --fs xfs ...] [--rounds 7] [--seconds 2] [--channel store]

Root, this machine; the filesystems are made on a loop image. `off` reads in looks and makes nothing of it,
`decoded` decodes them, `recorded` also writes the history to /dev/null, `judged` gives it to the judge. Medians of the rounds: operations
a second, and a CPU second (which others on the machine disturb less); ratios are to `off`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.runner.agent import decode
from harness.runner.proc import run

EXECUTOR = Path(__file__).resolve().parents[2] / "build" / "pinfault-exec"
JUDGE = EXECUTOR.with_name("pinfault-judge")
WAYS = {"off": "check=0", "decoded": "check=2", "recorded": "check=1 record=/dev/null",
        "judged": f"check=1 judge={JUDGE}"}


def race(request: str) -> dict[str, str]:
    done = subprocess.run([str(EXECUTOR), "--stdio"], input=f"race {request}\nquit\n", capture_output=True, text=True,
                          timeout=600)
    lines = [[decode(t) for t in line.split(" ")] for line in done.stdout.splitlines() if line]
    if ["ok", "ran"] not in lines:
        raise SystemExit(f"race {request}: {lines[-2:]}")
    return {line[1]: " ".join(line[2:]) for line in lines if line[0] == "env"}


@contextmanager
def mounted(fs: str, root: Path) -> Iterator[Path]:
    """A new filesystem at root/mnt, on a loop image of 1 GiB unless it is tmpfs."""
    mnt = root / "mnt"
    mnt.mkdir(exist_ok=True)
    if fs == "tmpfs":
        run("mount", "-t", "tmpfs", "bench", str(mnt), check=True)
    else:
        image = root / f"{fs}.img"
        image.unlink(missing_ok=True)
        with open(image, "wb") as f:
            f.truncate(1 << 30)
        run(f"mkfs.{fs}", "-q", str(image), timeout_s=60, check=True)
        run("mount", "-o", "loop", str(image), str(mnt), check=True)
    try:
        yield mnt
    finally:
        run("umount", str(mnt), timeout_s=60)


def bench(fs: str, root: Path, args: argparse.Namespace,
          beside: Callable[[Path], tuple[str, float]] | None = None) -> None:
    """Print a line for each way; `beside` measures something else on the same filesystem."""
    wall: dict[str, list[float]] = {way: [] for way in WAYS}
    cpu: dict[str, list[float]] = {way: [] for way in WAYS}
    with mounted(fs, root) as mnt:
        number = 0
        for _ in range(args.rounds):
            for way, keys in WAYS.items():
                number += 1
                got = race(f"nr=1 run=7 dir={mnt}/d{number} mnt={mnt} scratch={root} channel={args.channel} seed=1 "
                           f"threads={args.threads} ms={int(args.seconds * 1000)} {args.keys} {keys}")
                wall[way].append(float(got["ops"]) / float(got["seconds"]))
                cpu[way].append(float(got["ops"]) / float(got["cpu_s"]))
                run("rm", "-rf", f"{mnt}/d{number}")
        other = beside(mnt) if beside else None
    for way in WAYS:
        w, c = statistics.median(wall[way]), statistics.median(cpu[way])
        print(f"{fs:6} {args.channel} {way:9} {w:9.0f} ops/s {w / statistics.median(wall['off']):5.2f}   "
              f"{c:9.0f} ops/cpu-s {c / statistics.median(cpu['off']):5.2f}", flush=True)
    if other:
        ratio = statistics.median(wall["judged"]) / other[1]
        print(f"{fs:6} {other[0]} randrw verify=crc32c {other[1]:9.0f} ops/s; the judged race has {ratio:.2f} times as many",
              flush=True)


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fs", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--channel", default="store")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--keys", default="", help="more keys of the request, such as faults=punch")
    return parser.parse_args(argv)


def main() -> int:
    args = options(None)
    if os.getuid():
        raise SystemExit("needs root: it mounts filesystems")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as root:
        for fs in args.fs or ["tmpfs", "xfs"]:
            bench(fs, Path(root), args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
