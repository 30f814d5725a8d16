# SPDX-License-Identifier: GPL-2.0
"""What is said of cases in guests where time and order could say it wrongly.

Part of the guests stage (check.py), not of the python stage: its name is not test_*.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from harness.runner.agent import decode, encode

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("PINFAULT_BUILD", "build")).resolve()
SEQUENCES = ("held-clone", "write-after-clone")
TIMES = 240  # longer, all in all, than it is thawed
WRITES = "file A 64K written\npin A\n" + "write A 0 8K\n" * TIMES
CASE = (f"case nr=1 run=7 dir=/tmp/m/c1 mnt=/tmp/m scratch=/tmp channel=rdma-odp seq={encode(WRITES)} "
        "deadline_ms=6000 grace_ms=100")
# Somebody else freezes the filesystem again and again: page faults take long, and no step could end that.
IN_GUEST = f"""mkdir -p /tmp/m && mkfs.xfs -q -f /dev/pmem0 && mount -o dax=never /dev/pmem0 /tmp/m || exit 99
while fsfreeze -f /tmp/m; do sleep 0.5; fsfreeze -u /tmp/m; done &
sleep 2
printf '%s\\nquit\\n' {shlex.quote(CASE)} | {shlex.quote(str(BUILD / "pinfault-exec"))} --stdio
"""


# The second and the fourth warn, of 7.3 (results/reference/findings/7.3-dax-mapped-entry-invalidated).
WARNS = "file A 16K written\nfile B 16K written\npin A\nzero-range A 4K 4K\nclone A B\nwrite A 4K 4K\nwrite A 0 8K\npwrite A 4K 4K\n"
QUIET = WARNS.replace("clone A B\n", "")
EXPLORED = "\n".join(["explore run=7 dir=/tmp/m/x mnt=/tmp/m scratch=/tmp channel=store judge=- jobs=1 first=1 mark=0 turns=1 "
                      "overhear=1 deadline_ms=9000 grace_ms=100",
                      *(f"seq {nr} {encode(text)}" for nr, text in enumerate((QUIET, WARNS, QUIET, WARNS, QUIET), 1)), "go"])
EXPLORE_IN_GUEST = f"""mkdir -p /tmp/m && mkfs.xfs -q -f -m reflink=1 /dev/pmem0 && mount -o dax=always /dev/pmem0 /tmp/m || exit 99
printf '%s\nquit\n' {shlex.quote(EXPLORED)} | {shlex.quote(str(BUILD / "pinfault-exec"))} --stdio
"""

# On DAX, with the kernel's trace of flushes and without. A port that is a file: its requests are read before it is written to.
STORED = encode("file A 64K written\npin A\nwrite A 0 8K\nfsync A\n")
FLUSHES = "".join(f"case nr={nr} run=7 dir=/tmp/m/$1{nr} mnt=/tmp/m scratch=/tmp channel=store seq={STORED} flushes={nr - 1}\n"
                  for nr in (1, 2)) + "quit\n"
FLUSHES_IN_GUEST = f"""mkdir -p /tmp/m && mkfs.xfs -q -f /dev/pmem0 && mount -o dax=always /dev/pmem0 /tmp/m || exit 99
cases() {{
	printf '%s' "{FLUSHES}" >/tmp/port
	{shlex.quote(str(BUILD / "pinfault-exec"))} --port /tmp/port && cat /tmp/port
}}
cases with
umount /sys/kernel/tracing && cases without
"""


def in_guest(script: str) -> "subprocess.CompletedProcess[str]":
    """Run on the newest kernel."""
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:  # not in /tmp: a guest has one of its own
        path = Path(folder, "script")
        path.write_text(script)
        return subprocess.run([sys.executable, "-m", "harness.guest", "try", "--kernel", "newest", "--", "sh", str(path)],
                              cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


class Cases(unittest.TestCase):
    def test_each_is_told_of_its_warning(self) -> None:
        """Both share a block of a DAX file of 6.1, and the second is no cleaner than the first (WARN_ON_ONCE)."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "out")
            done = subprocess.run(["./run.sh", "run", "--kernel", "6.1", "--fs", "xfs-dax", "--channel", "pwrite",
                                   "--no-install", "--out", str(out), *(f"--sequence={s}" for s in SEQUENCES)],
                                  cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            for name in SEQUENCES:
                case = json.loads((out / "cases/6.1/xfs-dax/pwrite" / name / "case.json").read_text())
                self.assertIn("kernel-warning:dax_insert_entry", [f["kind"] for f in case["findings"]], name)

    def test_a_write_that_nobody_is_told_of(self) -> None:
        """What a device writes through a long pin of 6.1 moves no modification time: each time, not when a tick came in between."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "out")
            done = subprocess.run(["./run.sh", "explore", "--depth", "1", "--kernel", "6.1", "--fs", "xfs", "--channel",
                                   "rdma-pinned", "--no-install", "--out", str(out)],
                                  cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            found = json.loads((out / "explore/6.1/xfs/rdma-pinned/state.json").read_text())["findings"]
        self.assertEqual([(f["family"], [v for v, _ in f["steps"]], f["shown"], f["tries"]) for f in found],
                         [("unnoticed", ["write"], 5, 5)])

    def test_which_sequence_the_kernel_warns_of(self) -> None:
        """Each time, though it warns once, and of no other sequence."""
        done = in_guest(EXPLORE_IN_GUEST)
        said = [line.split(" ") for line in done.stdout.splitlines()]
        warned = [(words[1], decode(words[2])) for words in said if words[0] == "w"]
        self.assertEqual([nr for nr, text in warned if "dax_disassociate_entry" in text and text.startswith("WARNING: ")],
                         ["2", "4"], done.stdout + done.stderr)
        self.assertEqual({nr for nr, _ in warned}, {"2", "4"})

    def test_no_trace_of_flushes(self) -> None:
        """What is there for them alone is not covered without; the trace of another case is a note less."""
        done = in_guest(FLUSHES_IN_GUEST)
        said = [re.sub(r"\d+", "N", decode(decode(line))) for line in done.stdout.splitlines()]
        said = [line for line in said if line.startswith("ok ") or (line.startswith("h note") and "flush" in line)]
        self.assertEqual(said, ["h note flushed N yes", "ok ran", "h note flushed N yes", "ok ran",
                                "h note no trace of flushes: ENOENT", "ok ran", "ok skip no trace of flushes: ENOENT"],
                         done.stdout + done.stderr)

    def test_what_is_slow_is_not_blocked(self) -> None:
        """Writes take half a second, but nothing is held that they could wait for."""
        done = in_guest(IN_GUEST)
        said = [decode(line[2:]).split(" ") for line in done.stdout.splitlines() if line.startswith("h ")]
        began = {words[1]: int(words[2]) for words in said if words[0] == "inv"}
        took_ns = [int(words[2]) - began[words[1]] for words in said if words[0] == "ret" and words[3:] == ["ok", "8192"]]
        self.assertEqual(len(took_ns), TIMES, done.stdout + done.stderr)
        self.assertGreater(max(took_ns), 200e6)
        self.assertEqual([words for words in said if words[0] == "blocked"], [])


if __name__ == "__main__":
    unittest.main()
