# SPDX-License-Identifier: GPL-2.0
"""What a guest's kernel warns of once (WARN_ON_ONCE) is told of every case that has it warn.

Part of the guests stage (check.py), not of the python stage: its name is not test_*.
"""

import json
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEQUENCES = ("held-clone", "write-after-clone")


class Once(unittest.TestCase):
    def test_each_is_told(self) -> None:
        """Both share a block of a DAX file of 6.1, and the second is no cleaner than the first."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "out")
            done = subprocess.run(["./run.sh", "run", "--kernel", "6.1", "--fs", "xfs-dax", "--channel", "pwrite",
                                   "--no-install", "--out", str(out), *(f"--sequence={s}" for s in SEQUENCES)],
                                  cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            for name in SEQUENCES:
                case = json.loads((out / "cases/6.1/xfs-dax/pwrite" / name / "case.json").read_text())
                self.assertIn("kernel-warning:dax_insert_entry", [f["kind"] for f in case["findings"]], name)


if __name__ == "__main__":
    unittest.main()
