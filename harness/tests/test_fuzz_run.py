# SPDX-License-Identifier: GPL-2.0
"""What the fuzzers' runner makes of a process that ends: libFuzzer's part is played by a script."""

import importlib.util
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FUZZER = """#!/bin/sh
case $1 in
-timeout=0) [ {alone} = ends ] && exit 0; while :; do :; done ;;
esac
echo "stat::number_of_executed_units: 5"
echo "$*" >> {dir}/calls
[ {kind} = well ] && exit 0
[ -e {dir}/input ] && rm {dir}/input && exit 0
echo x > {dir}/input
echo "ERROR: libFuzzer: {kind} after 49 seconds"
echo "Test unit written to {dir}/input"
exit 70
"""


class Jobs(unittest.TestCase):
    def setUp(self) -> None:
        spec = importlib.util.spec_from_file_location("fuzz_run", ROOT / "harness" / "fuzz" / "run.py")
        assert spec and spec.loader
        self.run_py = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.run_py)
        self.run_py.STUCK_S = 1
        self.dir = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def job(self, kind: str, alone: str = "ends", runs: int = 20) -> tuple[int, str]:
        script = self.dir / "fuzzer"
        script.write_text(FUZZER.format(dir=self.dir, kind=kind, alone=alone))
        script.chmod(0o755)
        got: tuple[int, str] = self.run_py._job([str(script)], [], 1, 9, runs)  # noqa: SLF001
        return got

    def test_well(self) -> None:
        self.assertEqual(self.job("well"), (5, ""))

    def test_a_machine_that_stood_still(self) -> None:
        """The input takes no time alone: the rest goes on."""
        script_calls = self.dir / "calls"
        executed, trouble = self.job("timeout")
        self.assertEqual((executed, trouble), (20, ""))
        self.assertIn("-runs=15", script_calls.read_text())
        self.assertFalse((self.dir / "input").exists())

    def test_an_input_that_takes_too_long(self) -> None:
        executed, trouble = self.job("timeout", alone="spins")
        self.assertEqual(executed, 5)
        self.assertIn("timeout after 49 seconds; input", trouble)
        self.assertTrue((self.dir / "input").exists())

    def test_a_crash(self) -> None:
        self.assertIn("overflow", self.job("heap-buffer-overflow")[1])


if __name__ == "__main__":
    unittest.main()
