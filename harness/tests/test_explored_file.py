# SPDX-License-Identifier: GPL-2.0
"""An explored sequence in a file of its own is still what it was explored as, as long as its steps are the same."""

import contextlib
import io
import unittest
from pathlib import Path

from harness.runner import main as runs, reduce_report
from harness.runner.execute import KernelRun
from harness.runner.expect import Expectations, parse_rule
from harness.runner.findings import headed, name_in
from harness.runner.plan import Case, Sequence, parse_sequence

from .fake_machine import FakeMachine
from .test_export import JUDGE
from .test_runner_execute import Bench

NAME = "explore-hold-punch-ca1dda"
TEXT = "file A 16K written\npin A\nhold w1 A 0 8K\npunch A 0 4K\nland w1\n"
REDUCED = {"channel": "store", "fs": "xfs", "kernel": "6.1", "recorded": {"case": "x"},
           "sequence": {"text": TEXT, "name": NAME, "kinds": ["lost-write"], "shown": 5, "tries": 5,
                        "channel": "store"}}


class AFile(Bench):
    def setUp(self) -> None:
        super().setUp()
        self.context.expectations = Expectations([
            parse_rule("* xfs store explore-*/*hold.*>*>land.* unsupported lost ref", "f:1"),
            parse_rule("* xfs store *-mine unsupported lost ref", "f:2")])

    def file(self, text: str, name: str = "reduced") -> Path:
        path = Path(self.dir.name) / f"{name}.seq"
        path.write_text(text)
        return path

    def rule(self, path: Path) -> str:
        """By which rule something is expected of it."""
        sequence = parse_sequence(path)
        self.context.sequences[sequence.name] = sequence
        kernel = KernelRun(FakeMachine(), self.context)
        return kernel.expected(Case("6.1", "xfs", "store", sequence.name, 1)).rule

    def test_what_reduce_wrote(self) -> None:
        text = reduce_report.sequence_text(REDUCED)
        path = self.file(text)
        self.assertEqual((parse_sequence(path).names, self.rule(path)), ({"reduced", NAME}, "f:1"))
        self.assertEqual(parse_sequence(path).title, "lost-write, cut down from a race of store on xfs")
        self.assertEqual(self.rule(self.file(text.replace("land w1", "land w1   # it comes back"))), "f:1")

    def test_with_other_steps_it_is_nobody_known(self) -> None:
        text = reduce_report.sequence_text(REDUCED)
        for other in (text.replace("punch A 0 4K", "punch A 4K 4K"), text + "evict A\n", TEXT,
                      text.replace(NAME, "explore-*"), text.replace(NAME, f"{NAME}x")):
            self.assertEqual(self.rule(self.file(other)), "", other)
        self.assertEqual(self.rule(self.file(TEXT.replace("16K", "64K"), NAME)), "")  # its file's name is no proof
        self.assertEqual(self.rule(self.file(TEXT, f"{NAME}.3")), "f:1")
        self.assertEqual(self.rule(self.file(TEXT, "explore-mine")), "")

    def test_what_a_run_stored(self) -> None:
        for name in (f"{NAME}.1", f"{NAME}.1.101", "mine"):
            self.context.sequences[name] = Sequence(name, TEXT, "", "t", files=("A",))
            case = Case("6.1", "xfs", "store", name, 1)
            self.run_it(FakeMachine(), [case])
            path = self.store.case_dir(case.id) / "sequence.seq"
            self.assertEqual(path.read_text(), TEXT + ("" if name == "mine" else f"# explored: {NAME}\n"))
            self.assertTrue(path.read_text().startswith(TEXT))  # "line 4 of the sequence" is one of both
            self.assertEqual(self.rule(path), "" if name == "mine" else "f:1")
            self.assertEqual(headed(name, path.read_text()), path.read_text())  # once

    def test_names(self) -> None:
        for name, known in ((NAME, NAME), (f"{NAME}.2", NAME), ("explore-hold-ca1ddb", ""), ("explore-", ""),
                            ("race", "")):
            self.assertEqual(name_in(name, TEXT), known)

    @unittest.skipUnless(JUDGE.exists(), "the executor is not built")
    def test_who_changed_it_is_told(self) -> None:
        text = reduce_report.sequence_text(REDUCED)
        for changed, lines in ((text, 0), (text.replace("punch A 0 4K", "punch A 0 8K"), 1)):
            path = self.file(changed)
            with contextlib.redirect_stderr(io.StringIO()) as said:
                runs.world(runs.Options(sequence_file=path))
            self.assertEqual(said.getvalue(), f"{path}: its steps are no more those of {NAME}: no rule for explored "
                             "sequences holds for it\n" * lines)


if __name__ == "__main__":
    unittest.main()
