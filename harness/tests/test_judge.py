# SPDX-License-Identifier: GPL-2.0
"""The judge against handwritten histories: golden/NAME.history and what golden/NAME.expect says
must be among the lines of its answer. NAME ends in what becomes of it."""
import os
import pathlib
import subprocess
import unittest

GOLDEN = pathlib.Path(__file__).parent / "golden"
JUDGE = pathlib.Path(os.environ.get("PINFAULT_BUILD", "build")).resolve() / "pinfault-judge"


def answer(path: pathlib.Path) -> list[str]:
    done = subprocess.run([str(JUDGE), str(path)], capture_output=True, text=True, timeout=60)
    return done.stdout.splitlines()


class Golden(unittest.TestCase):
    def test_each_history_gets_its_answer(self) -> None:
        histories = sorted(GOLDEN.glob("*.history"))
        self.assertGreater(len(histories), 20)
        for history in histories:
            with self.subTest(history=history.name):
                got = answer(history)
                for line in history.with_suffix(".expect").read_text().splitlines():
                    self.assertIn(line, got)
                self.assertEqual(got[-1], "end")

    def test_a_truncated_history_is_never_a_pass(self) -> None:
        whole = (GOLDEN / "view-split.passed.history").read_text()
        path = GOLDEN.parent / "truncated.tmp"
        try:
            for cut in range(len(whole) - 1):
                path.write_text(whole[:cut])
                verdict = [line for line in answer(path) if line.startswith("verdict ")]
                self.assertEqual(verdict, ["verdict broken"], f"cut after {cut} bytes")
        finally:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    unittest.main()
