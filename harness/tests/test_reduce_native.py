# SPDX-License-Identifier: GPL-2.0
"""From a race to a sequence on this machine: short pins of page-cache pages lose data on every kernel ("you get to keep
both pieces"), so a race of them is cut down to a sequence that loses it each time."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from harness.runner.proc import run

ROOT = Path(__file__).resolve().parents[2]
# Who collapses a range on XFS takes the pages from one block before it on out of the cache, pinned or not. On btrfs
# chance loses some, too: what a search came to there showed it 3 of 3 times, and then did not.
WHERE = ("xfs", "pvm-writev", "collapse")
TRIES = 3  # to come to what is lost each time


def cannot() -> str:
    """"" or why these tests cannot run here."""
    if os.getuid() != 0:
        return "needs root"
    if run("which", "mkfs.xfs").code:
        return "no mkfs.xfs here"
    return "" if Path("/dev/loop-control").exists() else "no loop devices here"


@unittest.skipIf(cannot(), cannot())
class Whole(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def call(self, *argv: str, timeout_s: float = 200) -> tuple[int, str, str]:
        done = subprocess.run([str(ROOT / "run.sh"), *argv, "--no-install"], capture_output=True, text=True,
                              timeout=timeout_s)
        return done.returncode, done.stdout, done.stderr

    def race(self) -> Path:
        fs, channel, fault = WHERE
        for seed in range(1, 5):
            out = self.root / f"race{seed}"
            _, text, err = self.call(
                "race", "--kernel", "native", "--fs", fs, "--channel", channel, "--seconds", "2", "--size", "32K",
                f"--fault={fault}", *(f"--verb={v}" for v in ("write", "pwrite", "look", "fault")), "--view",
                "buffered", "--seed", str(seed), "--out", str(out))
            case = out / f"cases/native/{fs}/{channel}/race-{seed}"
            self.assertTrue((case / "case.json").exists(), text + err)
            if "lost-write" in json.loads((case / "case.json").read_text())["kinds"]:
                return case
        self.skipTest(f"no race of {channel} on {fs} lost anything on this kernel")

    def test_a_lost_write(self) -> None:
        case = self.race()
        for seed in range(5, 5 + TRIES):
            out = self.root / f"reduced{seed}"
            code, text, err = self.call("reduce", str(case), "--kind", "lost-write", "--budget", "20s", "--repeats", "3",
                                        "--depth", "4", "--seed", str(seed), "--out", str(out))
            self.assertEqual(code, 1, text + err)
            told = json.loads((out / "reduce.json").read_text())
            self.assertLess(told["slice"]["operations"], told["slice"]["of"] / 100)
            self.assertGreater(told["race"]["before"]["shown"], 0)
            sequence = told["sequence"]
            self.assertTrue(sequence, text)
            if sequence["shown"] < sequence["tries"]:
                continue
            # What was printed does what it says: again, by its folder and by its file, and as a program.
            recorded = out / "cases" / sequence["cases"][0]
            code, said, err = self.call("repro", str(recorded), "--times", "2", "--out",
                                        str(self.root / f"again{seed}"))
            if said.startswith("failed 2 of 2"):
                break
        self.assertEqual((sequence["shown"], sequence["tries"]), (3, 3))
        self.assertEqual((code, said.splitlines()[0][:13]), (1, "failed 2 of 2"), said + err)
        self.assertIn(f"failed 3 of 3: lost ({', '.join(sequence['kinds'])}), channel {sequence['channel']}", text)
        self.assertLessEqual(sequence["steps"], 5)
        code, said, err = self.call("seq", str(out / "reduced.seq"), "--kernel", "native", "--fs", WHERE[0],
                                    "--channel", sequence["channel"], "--json", "--out", str(self.root / "seq"))
        self.assertEqual([c["verdict"] for c in json.loads(said)["cases"]], ["corrupt"], err)
        code, said, err = self.call("repro", str(recorded), "--export", "c", "--out", str(self.root / "x.c"))
        self.assertEqual((code, "--export c" in text), (64, False) if sequence["not_exported"] else (0, True), err)
        again = subprocess.run([str(ROOT / "run.sh"), "report", str(out)], capture_output=True, text=True, timeout=60)
        self.assertEqual(again.stdout, text)


if __name__ == "__main__":
    unittest.main()
