# SPDX-License-Identifier: GPL-2.0
"""Exported programs in a guest, on the kernel and filesystem where the case fails: XFS with DAX, one boot.

Part of the guests stage (check.py), not of the python stage: its name is not test_*.
"""

import dataclasses
import re
import shlex
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from harness.export import find_checks, write_program

from .test_export import EITHER, EITHER_SEQ, JUDGE, ROOT, XFS_DAX, compiled, cow, judged, made

KERNEL = "newest"
SCRIPT = """mkdir -p /tmp/m
mkfs.xfs -q -f -m reflink=1,rmapbt=1 -b size=4096 /dev/pmem0 && mount -o dax=always /dev/pmem0 /tmp/m || exit 99
for p in {programs}; do $p /tmp/m; echo "ended $(basename $p) $?"; done
umount /tmp/m
"""


class InAGuest(unittest.TestCase):
    def test_exports_on_dax(self) -> None:
        with tempfile.TemporaryDirectory(dir=ROOT / "build") as name:
            folder = Path(name)
            for finding in ("held-cow-store", "held-cow-read"):
                recorded = cow(finding)
                compiled(write_program(recorded, find_checks(JUDGE, recorded), finding), folder / finding, "-static")
                control = dataclasses.replace(recorded, result=dataclasses.replace(recorded.result, channel="store"))
                compiled(write_program(control, find_checks(JUDGE, recorded), finding), folder / f"{finding}-control",
                         "-static")
            # A step that waits is done beside the next ones; here it does not come back.
            hangs = judged(ROOT / "results/reference/findings/7.3-dax-wait-mapped-again/history-7.3.4", "held-punch-load",
                           "xfs-dax", "pvm-writev", (ROOT / "workloads/sequences/held-punch-load.seq").read_text(), XFS_DAX)
            compiled(write_program(hangs, find_checks(JUDGE, hangs), "hangs"), folder / "hangs", "-static")
            # A punch waits for the pin on DAX: the program must not wait for ever.
            waits = {c: made(EITHER_SEQ, EITHER, c, XFS_DAX) for c in ("pvm-writev", "dio-read")}
            for channel, recorded in waits.items():
                compiled(write_program(recorded, find_checks(JUDGE, recorded), channel), folder / channel, "-static")
            programs = " ".join(shlex.quote(str(p)) for p in sorted(folder.iterdir()) if p.suffix != ".c")
            done = subprocess.run([sys.executable, "-m", "harness.guest", "try", "--kernel", KERNEL, "--", "sh", "-c",
                                   SCRIPT.format(programs=programs)], cwd=ROOT, capture_output=True, text=True,
                                  timeout=600, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        ended = dict(re.findall(r"^ended (\S+) (\d+)", done.stdout, re.M))
        self.assertEqual(ended, {"held-cow-store": "1", "held-cow-read": "1", "held-cow-store-control": "0",
                                 "held-cow-read-control": "0", "pvm-writev": "0", "dio-read": "0", "hangs": "1"}, done.stdout)
        self.assertRegex(done.stdout, "4 punch A 0 4K: waits\n5 read A 0 64 mmap: 0\n6 land w1: 8192\nFAIL 4 punch")
        self.assertIn("a step waits for the write that is under way", done.stdout)
        self.assertIn("a step waits for the read that is under way", done.stdout)


if __name__ == "__main__":
    unittest.main()
