# SPDX-License-Identifier: GPL-2.0
"""What the executor says of a step that sleeps, on a filesystem of its own. Root."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from harness.runner.agent import decode, encode
from harness.runner.proc import run

BUILD = Path(os.environ.get("PINFAULT_BUILD", "build")).resolve()
FROZEN = "file A 64K written\npin A\nfreeze A\nhold w1 A 0 8K\nthaw A\nland w1\n"


def cannot() -> str:
    """"" or why these tests cannot run here."""
    if os.getuid() != 0:
        return "needs root"
    return "" if Path("/dev/loop-control").exists() else "no loop devices here"


@unittest.skipIf(cannot(), cannot())
class Sleepers(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.mnt = self.root / "mnt"
        self.mnt.mkdir()
        with open(self.root / "image", "wb") as f:
            f.truncate(512 << 20)
        run("mkfs.xfs", "-q", str(self.root / "image"), timeout_s=60, check=True)
        run("mount", "-o", "loop", str(self.root / "image"), str(self.mnt), check=True)
        self.addCleanup(run, "umount", str(self.mnt), timeout_s=60)

    def history(self, channel: str, text: str) -> list[list[str]]:
        request = (f"case nr=1 run=7 dir={self.mnt}/c1 mnt={self.mnt} scratch={self.root} channel={channel} "
                   f"seq={encode(text)} deadline_ms=3000 grace_ms=100\nquit\n")
        out = subprocess.run([str(BUILD / "pinfault-exec"), "--stdio"], input=request, capture_output=True, text=True,
                             timeout=60, check=True).stdout
        self.assertIn("\nok ran\n", out)
        return [decode(line[2:]).split(" ") for line in out.splitlines() if line.startswith("h ")]

    def test_where_a_held_write_sleeps(self) -> None:
        """Its page fault waits for the thaw in a thread of the channel's; the step only polls for that thread."""
        history = self.history("pvm-writev", FROZEN)
        held = next(line[1] for line in history if line[0] == "inv" and line[3] == "write")
        blocked = [line for line in history if line[0] == "blocked"]
        self.assertEqual([line[1] for line in blocked], [held])
        self.assertNotIn("poll", blocked[0][4])


if __name__ == "__main__":
    unittest.main()
