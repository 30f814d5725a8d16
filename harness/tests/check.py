# SPDX-License-Identifier: GPL-2.0
"""make check: everything that can fail, stage by stage, from a bare machine.

    python3 harness/tests/check.py [STAGE...]       all stages, or the named ones

Each stage prints what it counted. The last line is "N passed, N failed, N skipped"; the exit status is
0 only when nothing failed and something passed. What cannot run here says why and counts as skipped.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from harness.runner import deps  # noqa: E402
from harness.runner.errors import EnvironmentFailed  # noqa: E402

ASAN = {"BUILD": "build-asan", "CFLAGS": "-O1 -g",
        "SAN": "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"}
# A slice of the default run that holds one of each: what is refused, blocks, faults, lands, is lost.
GUEST_SLICE = ["write-after-punch", "write-after-truncate", "held-punch", "held-clone", "fsync-crash",
               "geometry-subpage", "map-sync-power-cut"]
NATIVE_SLICE = ["write-after-punch", "write-after-truncate", "write-after-fsync", "held-fsync", "fsync-crash",
                "write-frozen"]


@dataclass
class Tally:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)

    def skip(self, why: str) -> "Tally":
        self.skipped += 1
        self.reasons.append(why)
        return self

    def fail(self, why: str) -> "Tally":
        self.failed += 1
        self.reasons.append(why)
        return self


def run(argv: list[str], timeout_s: float, **env: str) -> subprocess.CompletedProcess[str]:
    """Run in the checkout, output captured. A command that does not end is a failure like any."""
    try:
        return subprocess.run(argv, cwd=ROOT, env={**os.environ, **env}, text=True, timeout=timeout_s,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as err:
        out = err.stdout.decode(errors="replace") if isinstance(err.stdout, bytes) else err.stdout or ""
        return subprocess.CompletedProcess(argv, 124, out + f"\nno end after {timeout_s:.0f} s\n")


def show(done: subprocess.CompletedProcess[str], lines: int = 60) -> None:
    print("\n".join(done.stdout.splitlines()[-lines:]))


def c_tests(build: str, timeout_s: float, **env: str) -> Tally:
    """Every libcheck program of a build; they print what they skip."""
    tally = Tally()
    for source in sorted((ROOT / "harness/tests").glob("test_*.c")):
        done = run([f"{build}/{source.stem}"], timeout_s, **env)
        counts = re.findall(r"Checks: (\d+), Failures: (\d+), Errors: (\d+)", done.stdout)
        good = sum(int(c) - int(f) - int(e) for c, f, e in counts)
        bad = sum(int(f) + int(e) for _, f, e in counts)
        tally.passed += good
        tally.failed += bad
        for line in done.stdout.splitlines():
            if line.startswith("brute force") and "histories" in line:
                print(f"   {line}")
            if line.lower().startswith("skip"):
                tally.skip(f"{source.stem}: {line}")
        if done.returncode or bad:
            show(done)
            if not bad:
                tally.fail(f"{source.stem}: exit {done.returncode}")
    return tally


def builds() -> bool:
    done = run(["make", "-s", "-j2", "all", "tests"], 900)
    if done.returncode:
        show(done)
    return not done.returncode


def stage_units() -> Tally:
    if not builds():
        return Tally().fail("the build failed")
    tally = c_tests("build", 900)
    # The judge with limits so small that it reaches them all the time: it may miss then, and never invent.
    small = {"BUILD": "build-small", "CFLAGS": "-O2 -DX_STATES_MAX=6u -DX_WORLDS_MAX=3u -DX_INDEX_MIN=1u"}
    done = run(["make", "-s", "build-small/test_judge_brute", *[f"{k}={v}" for k, v in small.items()]], 900)
    if done.returncode:
        show(done)
        return tally.fail("the build with small limits failed")
    done = run(["build-small/test_judge_brute"], 900, BRUTE_SMALL_LIMITS="1")
    show(done, 8)
    tally.passed += not done.returncode
    return tally.fail("the judge at its limits") if done.returncode else tally


def stage_sanitizers() -> Tally:
    done = run(["make", "-s", "-j2", "all", "tests"] + [f"{k}={v}" for k, v in ASAN.items()], 900)
    if done.returncode:
        show(done)
        return Tally().fail("the sanitizer build failed")
    tally = c_tests("build-asan", 900, BRUTE_HISTORIES="300")
    for what, module in (("the judge", "test_judge"), ("the judge of races", "test_judge_race_kinds"),
                         ("races", "test_race_native"),
                         ("explorations", "test_explore_native.Requests")):
        done = run([sys.executable, "-m", "unittest", f"harness.tests.{module}"], 600, PINFAULT_BUILD="build-asan")
        if done.returncode:
            show(done)
            return tally.fail(f"{what} under sanitizers")
        tally.passed += 1
    return tally


def stage_python() -> Tally:
    if not builds():
        return Tally().fail("the build failed")
    done = run([sys.executable, "-W", "error::ResourceWarning", "-m", "unittest", "discover", "-s",
                "harness/tests", "-t", "."], 900)
    ran = re.search(r"Ran (\d+) tests?", done.stdout)
    skipped = re.search(r"skipped=(\d+)", done.stdout)
    bad = sum(int(n) for n in re.findall(r"(?:failures|errors)=(\d+)", done.stdout))
    tally = Tally(skipped=int(skipped.group(1)) if skipped else 0)
    tally.passed = (int(ran.group(1)) if ran else 0) - bad - tally.skipped
    tally.failed = bad
    if done.returncode:
        show(done, 120)
        if not bad:
            tally.fail("unittest did not finish")
    return tally


def harness_run(argv: list[str], timeout_s: float) -> Tally:
    """A run of the program itself: every case that came out as expected is a pass."""
    done = run(["./run.sh", *argv, "--out", f"build/check-{argv[0]}-{os.getpid()}-{time.monotonic_ns()}"],
               timeout_s)
    show(done, 45)
    counts = re.search(r"^\d+ cases?: (\d+) expected", done.stdout, re.M) or \
        re.search(r"^selftest: (\d+) of", done.stdout, re.M)
    left_out = re.search(r"^(?:\d+ cases?|selftest): .*?(\d+) not[- ]covered", done.stdout, re.M)
    tally = Tally(passed=int(counts.group(1)) if counts else 0, skipped=int(left_out.group(1)) if left_out else 0)
    if done.returncode:
        tally.fail(f"./run.sh {' '.join(argv)}: exit {done.returncode}")
    elif not tally.passed:
        tally.fail(f"./run.sh {' '.join(argv)}: nothing was tested")
    return tally


def sequences(names: list[str]) -> list[str]:
    return [word for name in names for word in ("--sequence", name)]


def stage_native() -> Tally:
    if os.geteuid():
        return Tally().skip("native: needs root")
    return harness_run(["run", "--kernel", "native", "--no-install", *sequences(NATIVE_SLICE)], 1200)


def stage_guests() -> Tally:
    tally = harness_run(["run", "--no-install", *sequences(GUEST_SLICE)], 1800)
    done = run([sys.executable, "-m", "unittest", "harness.tests.guest_export", "harness.tests.guest_cases"], 900)
    if done.returncode:
        show(done)
        return tally.fail("exported programs, or what is said of cases, in a guest")
    tally.passed += 1
    return tally


def stage_fuzz() -> Tally:
    """A minute for all parsers together."""
    done = run([sys.executable, "harness/fuzz/run.py", "--seconds", "20"], 900)
    show(done, 8)
    clean = re.search(r"^fuzz: (\d+) of (\d+) clean", done.stdout, re.M)
    tally = Tally(passed=int(clean[1]) if clean else 0)
    return tally.fail("a parser could be crashed") if done.returncode or not clean else tally


def stage_selftest() -> Tally:
    return harness_run(["selftest", "--no-install"], 1200)


STAGES: dict[str, Callable[[], Tally]] = {
    "units": stage_units, "sanitizers": stage_sanitizers, "python": stage_python,
    "fuzz": stage_fuzz, "native": stage_native, "guests": stage_guests, "selftest": stage_selftest,
}


def main(names: list[str]) -> int:
    unknown = [n for n in names if n not in STAGES]
    if unknown:
        print(f"no stage {unknown[0]!r}; there are: {' '.join(STAGES)}", file=sys.stderr)
        return 64
    os.chdir(ROOT)
    try:
        deps.ensure(guests=True, install=True, tests=True)
    except EnvironmentFailed as err:
        print(err, file=sys.stderr)
        return 2
    total = Tally()
    for name in names or STAGES:
        began = time.monotonic()
        print(f"== {name}", flush=True)
        tally = STAGES[name]()
        for why in tally.reasons:
            print(f"   {why}")
        print(f"-- {name}: {tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped "
              f"({time.monotonic() - began:.0f} s)", flush=True)
        total.passed += tally.passed
        total.failed += tally.failed
        total.skipped += tally.skipped
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
