# SPDX-License-Identifier: GPL-2.0
"""The judge against handwritten histories: golden/NAME.history and what golden/NAME.expect says
must be among the lines of its answer. NAME ends in what becomes of it."""
import os
import pathlib
import subprocess
import unittest

GOLDEN = pathlib.Path(__file__).parent / "golden"
JUDGE = pathlib.Path(os.environ.get("PINFAULT_BUILD", "build")).resolve() / "pinfault-judge"


WHOLE = """pinfault-history 1
case 1 7 store pte trivial
file A 1 128 written 1
inv 8 10 store A 0 64
ret 8 20 ok 64
inv 9 30 look A 0 128 buffered
see 9 A buffered 128 0 128 w8*1 w1*1
ret 9 40 ok 128
"""
LIES = {  # numbers may come in any order; the last line of each lies
    "clone of a file that is not there": "inv 4 50 fault clone copy A B\n",
    "file that is not there": "inv 4 50 store B 0 64\n",
    "file past what can be judged": "file B 2 99999999999 hole 0\n",
    "write past what can be judged": "inv 4 50 store A 99999999936 64\n",
    "wrote more than asked": "inv 4 50 store A 0 64\n" "ret 4 60 ok 128\n",
    "saw past what can be judged": "inv 4 50 look A 0 128 direct\nsee 4 A direct 128 0 128 w1*1 0*99999999\n",
}


def answer(path: pathlib.Path, *options: str) -> list[str]:
    done = subprocess.run([str(JUDGE), *options, str(path)], capture_output=True, text=True, timeout=60)
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

    def test_what_comes_before_a_lie_is_judged_as_if_it_were_not_there(self) -> None:
        """A lost write before the lie is found; without one the lie invents nothing."""
        path = GOLDEN.parent / "lie.tmp"
        try:
            for lie, lines in LIES.items():
                for before, verdict in ((WHOLE, "inconclusive"), (WHOLE.replace("w8*1 w1*1", "w1*2"), "corrupt")):
                    with self.subTest(lie=lie, verdict=verdict):
                        path.write_text(before + lines)
                        self.assertIn("verdict broken", answer(path))
                        got = answer(path, "--prefix")
                        self.assertIn(f"verdict {verdict}", got)
                        self.assertEqual(got[-1], "end")
        finally:
            path.unlink(missing_ok=True)

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
