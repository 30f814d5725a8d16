# SPDX-License-Identifier: GPL-2.0
"""make lint: cppcheck, clang-tidy, shellcheck, pyflakes, mypy and the tree's own rules. Nothing on stdout when clean.

Own rules: C lines end by column 100 (a tab is 8), files carry their licence, no file names a package
mirror. A tool that is missing is named with its Debian package, and the run fails.

clang-tidy takes five minutes of one core for all files, up to a minute for one: a file that came out clean is not
looked at again (build/lint/) until it, a header it includes, the checks or the tool has changed.
"""

import hashlib
import os
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
CLEAN = ROOT / "build/lint"
INCLUDES = ["-Iharness/core", "-Iworkloads/channels"]  # the second for rdma_try.c
TOOL_TIMEOUT_S = 1200
# Published as they were exported and run; test_export.py compiles what the exporter writes with -Wall -Wextra.
PUBLISHED = "results/"
# What commands have answered, each with a name that says which check it is for (test_kinds.py): no scripts.
RECORDED = "harness/tests/golden/"


def tracked(*patterns: str) -> list[str]:
    done = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
                          cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return [name for name in done.stdout.split() if (ROOT / name).exists()]


def output(argv: list[str]) -> str:
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout


def tool(argv: list[str]) -> list[str]:
    """Complaints of a tool, none if it is content."""
    try:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return [f"no end after {TOOL_TIMEOUT_S} s: {' '.join(argv[:3])} ..."]
    if not done.returncode:
        return []
    return [line for line in (done.stdout + done.stderr).splitlines()
            if line.strip() and "warnings generated" not in line]


class Tidy:
    """clang-tidy of one file, unless it was clean before and nothing has changed."""

    def __init__(self, source: str, cflags: list[str], version: str) -> None:
        self.argv = ["clang-tidy", "--quiet", source, "--", "-std=gnu11", "-D_GNU_SOURCE=", *INCLUDES, *cflags]
        # "name.o: name.c header.h ...", system headers left out.
        rule = output(["gcc", "-MM", "-std=gnu11", "-D_GNU_SOURCE", *INCLUDES, *cflags, source])
        digest = hashlib.sha256("\0".join([version, *self.argv]).encode())
        for name in [".clang-tidy", *rule.replace("\\\n", " ").split()[1:]]:
            digest.update((ROOT / name).read_bytes())
        # Without a rule it does not compile: nothing that could be remembered.
        self.mark = CLEAN / digest.hexdigest() if rule else None

    @property
    def known(self) -> bool:
        return self.mark is not None and self.mark.exists()

    def complaints(self) -> list[str]:
        found = tool(self.argv)
        if not found and self.mark:
            self.mark.touch()
        return found


def tidy_all(sources: list[str], cflags: list[str], pool: ThreadPoolExecutor) -> list[Tidy]:
    """What is to be looked at, the longest first. Marks that belong to nothing any more are removed."""
    CLEAN.mkdir(parents=True, exist_ok=True)
    version = output(["clang-tidy", "--version"])
    sources = sorted(sources, key=lambda name: -(ROOT / name).stat().st_size)
    every = list(pool.map(lambda name: Tidy(name, cflags, version), sources))
    for mark in set(CLEAN.iterdir()) - {t.mark for t in every}:
        mark.unlink()
    return [t for t in every if not t.known]


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
    cflags = output(["pkg-config", "--cflags", "liburing", "libibverbs", "check"]).split()
    sources = tracked("*.c")
    scripts = [name for name in tracked("*.sh", ".ci/run") if not name.startswith(RECORDED)]
    jobs = [
        ["cppcheck", "--quiet", "--error-exitcode=1", "--enable=warning,performance,portability", "--std=c11",
         "--inline-suppr", "--suppress=missingIncludeSystem", "-D_GNU_SOURCE=", *INCLUDES, *sources],
        ["shellcheck", *scripts],
        ["pyflakes3", *tracked("*.py")],
        ["mypy", "--python-version", "3.11", "--namespace-packages", "--no-error-summary",
         "-p", "harness.runner", "-p", "harness.guest", "-p", "harness.export"],
    ]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        tidy = tidy_all([name for name in sources if not name.startswith(PUBLISHED)], cflags, pool)
        print(f"lint: {len(tidy)} of {len(sources)} C files are new to clang-tidy", file=sys.stderr, flush=True)
        answers = [*pool.map(tool, jobs), *pool.map(Tidy.complaints, tidy)]
    complaints = [line for lines in answers for line in lines] + own_rules()
    print("\n".join(complaints), end="\n" if complaints else "")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
