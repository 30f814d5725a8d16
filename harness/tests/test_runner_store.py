# SPDX-License-Identifier: GPL-2.0
"""The results folder, and the tables made from it."""

import contextlib
import io
import json
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness.runner import table
from harness.runner.errors import EnvironmentFailed, UsageError
from harness.runner.main import exit_code, nonce_of
from harness.runner.store import CaseResult, Store, load_run


def result(case_id: str, nr: int, outcome: str = "expected", **more: object) -> CaseResult:
    kernel, fs, channel, sequence = case_id.split("/")
    made = CaseResult(case_id, nr, kernel, "6.1.0", fs, channel, sequence, resolution="landed", verdict="coherent",
                      outcome=outcome, expected={"class": "guaranteed", "resolutions": ["landed"],
                                                 "reference": "", "rule": ""}, repeat="./run.sh run X")
    for key, value in more.items():
        setattr(made, key, value)
    return made


class Folders(unittest.TestCase):
    def setUp(self) -> None:
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.folder = Path(self.dir.name, "run")
        self.store = Store.create(self.folder, {"seed": 5, "planned": 3})

    def test_a_killed_run_is_readable(self) -> None:
        self.store.finish(result("6.1/xfs/store/a", 1), "file A 4K written\n", ["line"])
        self.assertEqual(json.loads((self.folder / "run.json").read_text())["cases"], [])  # not rewritten yet
        meta, results = load_run(self.folder)
        self.assertEqual((meta["complete"], [r.id for r in results]), (False, ["6.1/xfs/store/a"]))
        self.assertEqual((self.store.case_dir("6.1/xfs/store/a") / "kernel.log").read_text(), "line\n")

    def test_unfinished_cases_do_not_count(self) -> None:
        self.store.write_history("6.1/xfs/store/a", ["x"])
        self.assertEqual(load_run(self.folder)[1], [])

    def test_a_crash_of_this_machine(self) -> None:
        """XFS leaves what was not synced with its name and without its content."""
        self.store.finish(result("6.1/xfs/store/a", 1), "s", [])
        with mock.patch.object(os, "fsync") as fsync:
            self.store.finish(result("6.1/xfs/store/b", 2), "s", [])
            fsync.assert_not_called()
            self.store.write_run()
            fsync.assert_called_once()
        self.store.finish(result("6.1/xfs/store/c", 3), "s", [])
        for name, left in (("a", b""), ("c", bytes(512))):
            (self.store.case_dir(f"6.1/xfs/store/{name}") / "case.json").write_bytes(left)
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            for _ in range(2):
                self.assertEqual([r.id[-1] for r in load_run(self.folder)[1]], ["a", "b"])
        self.assertEqual(err.getvalue().count("is empty, left so by a crash"), 2, err.getvalue())

    def test_complete(self) -> None:
        self.store.finish(result("6.1/xfs/store/a", 1), "s", [])
        self.store.write_run(complete=True)
        meta, results = load_run(self.folder / "run.json")
        self.assertTrue(meta["complete"] and meta["finished"])
        self.assertEqual(results[0], result("6.1/xfs/store/a", 1))

    def test_refuses_to_overwrite(self) -> None:
        with self.assertRaisesRegex(UsageError, "--resume"):
            Store.create(self.folder, {})

    def test_takes_only_a_folder_of_its_own(self) -> None:
        mine = Path(self.dir.name, "mine")
        mine.mkdir()
        (mine / "thesis.tex").touch()
        for taken in (mine, mine / "thesis.tex"):
            with self.assertRaisesRegex(UsageError, "is there already"):
                Store.create(taken, {})
        self.assertEqual([p.name for p in mine.iterdir()], ["thesis.tex"])
        (mine / "thesis.tex").unlink()
        Store.create(mine, {})

    def test_bad_files(self) -> None:
        with self.assertRaisesRegex(UsageError, "is not a run"):
            load_run(Path(self.dir.name))
        (self.folder / "run.json").write_text('{"schema": 99}')
        with self.assertRaisesRegex(UsageError, "schema 99"):
            load_run(self.folder)
        (self.folder / "run.json").write_text("{")
        with self.assertRaises(UsageError):
            load_run(self.folder)

    def test_full_disk(self) -> None:
        with mock.patch.object(Path, "write_text", side_effect=OSError(28, "No space left on device")):
            with self.assertRaisesRegex(EnvironmentFailed, "is full; every case finished before is kept"):
                self.store.finish(result("6.1/xfs/store/b", 2), "s", [])
        self.assertEqual(list(self.folder.rglob("*.tmp")), [])

    def test_nonce(self) -> None:
        self.assertEqual(nonce_of(5), nonce_of(5))
        self.assertNotEqual(nonce_of(5), nonce_of(6))

    def test_exit_codes(self) -> None:
        def code(*outcomes: str, failed: bool = False, notes: bool = False) -> int:
            return exit_code([result(f"k/f/c/{n}", n, o) for n, o in enumerate(outcomes)], failed, notes)
        self.assertEqual(code("expected", "not-covered", "inconclusive"), 0)
        self.assertEqual(code("expected", "fixed"), 1)
        self.assertEqual(code("differs", "broken"), 1)
        self.assertEqual(code("expected", notes=True), 1)
        self.assertEqual(code("expected", "broken"), 2)
        self.assertEqual(code("expected", failed=True), 2)
        self.assertEqual(code("not-covered"), 2)
        self.assertEqual(code("inconclusive"), 2)
        self.assertEqual(code(), 2)


GOLDEN = """\
kernel 6.1 (6.1.0)

filesystem  store       rdma
xfs         landed 1/1  lost 1/2!
tmpfs       landed 1/1  -

filesystems in the letters below, in this order: xfs tmpfs

conflict  store  rdma
punch     ..     L-
trunc     -?     .-
"""


class Tables(unittest.TestCase):
    def setUp(self) -> None:
        self.results = [
            result("6.1/xfs/store/punch", 1), result("6.1/tmpfs/store/punch", 2),
            result("6.1/tmpfs/store/trunc", 3, "inconclusive", why="no effect", verdict="inconclusive"),
            result("6.1/xfs/rdma/punch", 4, "differs", resolution="lost", verdict="corrupt", kinds=["lost-write"]),
            result("6.1/xfs/rdma/trunc", 5),
            result("6.1/tmpfs/rdma/punch", 6, "not-covered", resolution="", verdict="skipped", why="no device"),
        ]
        self.meta = {"run": "r", "seed": 5, "planned": 7, "kernels": {"6.1": {"version": "6.1.0"}}, "notes": []}

    def test_golden(self) -> None:
        text = table.render(self.meta, self.results, "results/r")
        self.assertTrue(text.startswith(GOLDEN), text)
        self.assertIn("DIFFERS 6.1 xfs rdma punch: got lost (corrupt: lost-write), expected landed (guaranteed)"
                      " - repeat: ./run.sh repro results/r/cases/6.1/xfs/rdma/punch", text)
        self.assertIn("     1 no device [kernels 6.1; fs tmpfs; channels rdma]", text)
        self.assertIn("6 cases: 3 expected, 1 differs, 1 inconclusive, 1 not-covered, 1 not run; seed 5;", text)

    def test_nothing_ran(self) -> None:
        text = table.render({**self.meta, "kernels": {}}, [], "results/r")
        self.assertEqual(text, "0 cases: none, 7 not run; seed 5; results in results/r\n")

    def test_strongest(self) -> None:
        rows = [result("k/f/c/a", 1), result("k/f/c/b", 2, resolution="blocked"),
                result("k/f/c/d", 3, resolution="hung", verdict="hung", outcome="fixed")]
        self.assertEqual(table.cell(rows), "hung 1/3!")
        self.assertEqual(table.cell(rows[:2]), "blocked 1/2")
        self.assertEqual(table.cell([]), "-")

    def test_markdown(self) -> None:
        text = table.render(self.meta, self.results, "r", markdown=True)
        self.assertIn("| filesystem | store | rdma |\n|---|---|---|\n", text)

    def test_width(self) -> None:
        many = [result(f"6.1/xfs/channel-{n:02}/punch", n) for n in range(1, 15)]
        text = table.render(self.meta, many, "r")
        self.assertLessEqual(max(len(line) for line in text.splitlines()[:20]), 130)

    def test_every_word_has_a_letter(self) -> None:
        self.assertLess(set(table.STRENGTH), set(table.LETTERS))
        self.assertEqual(len(set(table.LETTERS.values())), len(table.LETTERS))


class Compare(unittest.TestCase):
    def test_changes(self) -> None:
        from harness.runner.report import compare
        with tempfile.TemporaryDirectory() as root:
            for name, verdict in (("a", "coherent"), ("b", "corrupt")):
                one = Store.create(Path(root, name), {"seed": 1})
                one.finish(result("6.1/xfs/store/a", 1, verdict=verdict), "s", [])
                one.finish(result(f"6.1/xfs/store/only-{name}", 2), "s", [])
                one.write_run(True)
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                self.assertEqual(compare(Path(root, "a"), Path(root, "b"), False), 1)
                self.assertEqual(compare(Path(root, "a"), Path(root, "a"), False), 0)
                Store.create(Path(root, "c"), {"seed": 1})
                for as_json in (False, True):
                    with self.assertRaisesRegex(EnvironmentFailed, r"no case in common \(2 and 0 cases\)"):
                        compare(Path(root, "a"), Path(root, "c"), as_json)
        self.assertIn("6.1/xfs/store/a: landed (coherent) expected -> landed (corrupt) expected", out.getvalue())
        self.assertIn("1 cases in both, 1 changed; 1 only in", out.getvalue())


    def test_what_is_a_change(self) -> None:
        """Another place to sleep in, a graver kind, or that it is expected no more; not another way to lose data."""
        from harness.runner.report import compare
        lost = {"verdict": "corrupt", "resolution": "lost", "kinds": ["lost-write"]}
        hung = {"verdict": "hung", "resolution": "hung", "kinds": ["hang"], "why": "line 4, in D ext4_wait_dax_page"}
        for a, b, said in (
                (lost, {**lost, "kinds": ["view-split", "stale"]}, ""),
                (lost, {**lost, "kinds": ["lost-write", "foreign"]}, "lost (corrupt) expected -> lost (corrupt) +foreign expected"),
                (lost, {**lost, "outcome": "differs"}, "lost (corrupt) expected -> lost (corrupt) differs"),
                (hung, {**hung, "why": "line 4, in D rwsem_down"},
                 "hung:ext4_wait_dax_page (hung) expected -> hung:rwsem_down (hung) expected"),
                (hung, {**hung, "why": "line 5, in D ext4_wait_dax_page"}, ""),
                (hung, {**hung, "why": "line 4, in R running:f"},
                 "hung:ext4_wait_dax_page (hung) expected -> hung:running (hung) expected"),
                ({**hung, "why": "line 4, in R running"}, {**hung, "why": "line 4, in R running:f"}, "")):
            with self.subTest(b), tempfile.TemporaryDirectory() as root:
                for name, fields in (("a", a), ("b", b)):
                    one = Store.create(Path(root, name), {"seed": 1})
                    one.finish(result("6.1/xfs/store/a", 1, **fields), "s", [])
                    one.write_run(True)
                out = io.StringIO()
                with contextlib.redirect_stdout(out):
                    self.assertEqual(compare(Path(root, "a"), Path(root, "b"), False), bool(said))
                self.assertIn(said, out.getvalue())


if __name__ == "__main__":
    unittest.main()
