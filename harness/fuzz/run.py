# SPDX-License-Identifier: GPL-2.0
"""The parsers under libFuzzer: any bytes are refused in order, or judged, and never crash anything.

    python3 harness/fuzz/run.py [--seconds S] [--runs N] [--jobs J] [--keep DIR] [NAME...]

Builds every harness/fuzz/fuzz_NAME.c and gives each S seconds (default 20) or N executions, from the corpus
in the tree and the histories and sequences that are there anyway. Prints one line each; exit 1 when one
found something, with the input's path. --keep DIR keeps what was found new (for corpus/, after -merge=1).
"""

import argparse
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SEEDS = {"history": ["harness/tests/golden"], "sequence": ["workloads/sequences", "workloads/sequences/selftest"]}
STUCK_S = 20  # of CPU, one execution


def fuzz(name: str, seconds: int, runs: int, jobs: int, keep: Path) -> tuple[int, str]:
    """Executions, and what was found ("" for nothing)."""
    found = keep / name
    found.mkdir(parents=True, exist_ok=True)
    folders = [str(found)] + [str(p) for p in [HERE / "corpus" / name, *(ROOT / s for s in SEEDS.get(name, []))]
                              if p.is_dir()]
    command = [str(ROOT / "build-fuzz" / f"fuzz_{name}"), f"-timeout={STUCK_S}", "-rss_limit_mb=4096",
               "-max_len=4096", f"-artifact_prefix={keep}/{name}-", "-print_final_stats=1"]
    if (HERE / f"{name}.dict").exists():
        command.append(f"-dict={HERE}/{name}.dict")
    with ThreadPoolExecutor(jobs) as pool:
        done = list(pool.map(lambda n: _job(command, folders, n + 1, seconds, runs // jobs), range(jobs)))
    return sum(executed for executed, _ in done), next((trouble for _, trouble in done if trouble), "")


def _job(command: list[str], folders: list[str], seed: int, seconds: int, runs: int) -> tuple[int, str]:
    """One process, and another one after each that only the clock stopped."""
    total, until = 0, time.monotonic() + seconds
    while True:
        left = max(1, round(until - time.monotonic()))
        limit = [f"-runs={runs - total}"] if runs else [f"-max_total_time={left}"]
        try:
            child = subprocess.run([*command, *limit, f"-seed={seed}", *folders], stdout=subprocess.PIPE, text=True,
                                   stderr=subprocess.STDOUT, errors="replace", timeout=None if runs else left + 120,
                                   check=False)
        except subprocess.TimeoutExpired:
            return total, "no end"
        done = re.search(r"stat::number_of_executed_units:\s*(\d+)", child.stdout)
        total += int(done[1]) if done else 0
        if not child.returncode:
            return total, ""
        told = re.search(r"(SUMMARY: .*|ERROR: .*)", child.stdout)
        where = re.search(r"Test unit written to (\S+)", child.stdout)
        if not (done and where and "libFuzzer: timeout" in child.stdout) or _is_stuck(command[0], where[1]):
            return total, f"{told[1] if told else f'exit {child.returncode}'}; input {where[1] if where else '?'}"
        Path(where[1]).unlink()
        if total >= runs if runs else time.monotonic() > until:
            return total, ""


def _is_stuck(fuzzer: str, found: str) -> bool:
    """Does the input really take so long? libFuzzer goes by the clock, and a machine may stand still."""
    limit = STUCK_S, STUCK_S
    return subprocess.run([fuzzer, "-timeout=0", found], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, limit)).returncode != 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    known = sorted(p.stem.removeprefix("fuzz_") for p in HERE.glob("fuzz_*.c"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    args = parser.parse_args()
    if unknown := set(args.names) - set(known):
        parser.error(f"no fuzzer {min(unknown)!r}; there are {', '.join(known)}")
    names = args.names or known
    if subprocess.run(["make", "-s", "-C", str(ROOT), "fuzz"], timeout=900).returncode:
        return 2
    keep = args.keep or Path(tempfile.mkdtemp(prefix="pinfault-fuzz."))
    bad = 0
    for name in names:
        executed, trouble = fuzz(name, args.seconds, args.runs, args.jobs, keep.resolve())
        bad += bool(trouble) or not executed
        print(f"fuzz {name}: {executed} executions, {trouble or 'nothing found'}", flush=True)
    print(f"fuzz: {len(names) - bad} of {len(names)} clean")
    if not args.keep and not bad:
        shutil.rmtree(keep, ignore_errors=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
