# SPDX-License-Identifier: GPL-2.0
"""make bench: how fast this is, on this machine, as ratios where a ratio says more.

    python3 -m harness.bench.run [--quick]

Cells beside memcpy; the judge of races; what recording and judging cost a race; a race beside fio's randrw with
verify=crc32c on the same filesystem in the same run; sequences that explore runs in a second, and the exact judge's part of
that. All but the first two want root (loop images of our own) and are left out with a word without it. Nothing here passes or fails.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from . import bench_explore, bench_race

ROOT = Path(__file__).resolve().parents[2]


def machine() -> str:
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "?")
    return f"{model}, {os.cpu_count()} CPUs, Linux {os.uname().release}; load {os.getloadavg()[0]:.1f}"


def c_bench(name: str, *args: str) -> None:
    print(f"\n{name}", flush=True)
    subprocess.run([str(ROOT / "build" / name), *args], timeout=3600, check=True)


def fio(mnt: Path, seconds: float) -> float:
    """Operations a second of one job that reads and writes at random and verifies what it reads."""
    done = subprocess.run(
        ["fio", "--name=verify", f"--filename={mnt}/fio", "--size=16m", "--bs=4k", "--rw=randrw", "--ioengine=psync",
         "--verify=crc32c", "--verify_backlog=64", "--time_based", f"--runtime={seconds}", "--output-format=json"],
        capture_output=True, text=True, timeout=300, check=True,
        cwd=mnt)  # it leaves a state file where it stands
    job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
    (mnt / "fio").unlink(missing_ok=True)
    return float(job["read"]["iops"] + job["write"]["iops"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute instead of ten")
    args = parser.parse_args()
    print(machine())
    c_bench("bench_cell")
    c_bench("bench_judge", *(["1000000", "3000000"] if args.quick else ["1000000", "10000000", "100000000"]))
    if os.getuid():
        print("\nraces, explored sequences: not measured, they want root")
        return 0
    print("\nraces, relative to the same race with looks undecoded, nothing recorded and nothing judged", flush=True)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        for fs in ("tmpfs", "ext4", "xfs"):
            options = bench_race.options(["--rounds", "3" if args.quick else "9", "--seconds", "1" if args.quick else "2"])
            bench_race.bench(fs, Path(folder), options, beside=lambda mnt: ("fio", fio(mnt, 3)))
    print("\nexplored sequences, and what the exact judge takes", flush=True)
    bench_explore.main(["--rounds", "1", "--depth", "3"] if args.quick else [])
    return 0


if __name__ == "__main__":
    sys.exit(main())
