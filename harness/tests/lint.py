# SPDX-License-Identifier: GPL-2.0
"""make lint: cppcheck, clang-tidy, shellcheck, pyflakes, mypy and the tree's own rules. Silent when clean.

Own rules: C lines end by column 100 (a tab is 8), files carry their licence, no file names a package
mirror. A tool that is missing is named with its Debian package, and the run fails.
"""

import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = {"cppcheck": "cppcheck", "clang-tidy": "clang-tidy", "shellcheck": "shellcheck",
         "pyflakes3": "pyflakes3", "mypy": "mypy"}
MIRROR = re.compile(r"(^|[^a-z.])(deb|security|snapshot)[.]debian[.]org")


def tracked(*patterns: str) -> list[str]:
    done = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
                          cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return [name for name in done.stdout.split() if (ROOT / name).exists()]


def tool(argv: list[str]) -> list[str]:
    """Complaints of a tool, none if it is content."""
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    if not done.returncode:
        return []
    return [line for line in (done.stdout + done.stderr).splitlines()
            if line.strip() and "warnings generated" not in line]


def own_rules() -> list[str]:
    found = []
    for name in tracked():
        path = ROOT / name
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        if MIRROR.search(text):
            found.append(f"{name}: names a package mirror")
        if not name.endswith((".c", ".h")):
            continue
        if "SPDX-License-Identifier" not in text[:80]:
            found.append(f"{name}:1: no licence line")
        for nr, line in enumerate(text.splitlines(), 1):
            if len(line.expandtabs(8)) > 100:
                found.append(f"{name}:{nr}: longer than 100 columns")
            if line != line.rstrip():
                found.append(f"{name}:{nr}: space at the end")
    return found


def main() -> int:
    missing = [package for command, package in TOOLS.items() if not shutil.which(command)]
    if missing:
        print("lint needs: apt-get install -y " + " ".join(missing), file=sys.stderr)
        return 2
    cflags = subprocess.run(["pkg-config", "--cflags", "liburing", "libibverbs", "check"], cwd=ROOT,
                            capture_output=True, text=True, timeout=60).stdout.split()
    sources = tracked("*.c")
    includes = ["-Iharness/core", "-Iworkloads/channels"]  # the second for rdma_try.c
    jobs = [
        ["cppcheck", "--quiet", "--error-exitcode=1", "--enable=warning,performance,portability", "--std=c11",
         "--inline-suppr", "--suppress=missingIncludeSystem", "-D_GNU_SOURCE=", *includes, *sources],
        *(["clang-tidy", "--quiet", source, "--", "-std=gnu11", "-D_GNU_SOURCE=", *includes, *cflags]
          for source in sources),
        ["shellcheck", *tracked("*.sh", ".ci/run")],
        ["pyflakes3", *tracked("*.py")],
        ["mypy", "--python-version", "3.11", "--namespace-packages", "--no-error-summary",
         "-p", "harness.runner", "-p", "harness.guest", "-p", "harness.export"],
    ]
    with ThreadPoolExecutor(2) as pool:
        complaints = [line for lines in pool.map(tool, jobs) for line in lines] + own_rules()
    print("\n".join(complaints), end="\n" if complaints else "")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
