# SPDX-License-Identifier: GPL-2.0
"""repro: which case, on what, how often it failed, and what it refuses in one line."""

import contextlib
import errno
import io
import json
import os
import tempfile
import unittest
from dataclasses import asdict, replace
from pathlib import Path
from unittest import mock

from harness.runner import cli, main, reduce, repro, table
from harness.runner.agent import Agent
from harness.runner.batch import Mode
from harness.runner.errors import EnvironmentFailed, UsageError
from harness.runner.plan import Case, Sequence, _matching, again
from harness.runner.race import Race, RaceCase
from harness.runner.store import SCHEMA, CaseResult, seal_history

from .fake_machine import FakeMachine
from .test_export import JUDGE
from .test_runner_cli import call

XFS = {"fstype": "xfs", "mkfs_options": "-m reflink=1", "mount_options": "", "requires": "disk",
       "proves": {"fstype": "xfs"}}
LOST = CaseResult(id="native/xfs/pvm-writev/held-punch", nr=7, kernel="native", kernel_version="6.18", fs="xfs",
                  channel="pvm-writev", sequence="held-punch", resolution="lost", verdict="corrupt",
                  kinds=["lost-write"])
LANDED = replace(LOST, resolution="landed", verdict="coherent", kinds=[])
SKIPPED = replace(LOST, resolution="", verdict="skipped", kinds=[], why="no FUSE")
RACE = replace(LOST, sequence="race", kinds=["lost-write", "torn"])


def record(folder: Path, result: CaseResult, history: str = "", sequence: str = "file A 64K written\npin A\n",
           **meta: object) -> Path:
    """A run with one case. Returns the case's folder."""
    case = folder / "cases" / result.id
    case.mkdir(parents=True)
    (case / "case.json").write_text(json.dumps(asdict(result)))
    (case / "sequence.seq").write_text(sequence)
    if history:
        (case / "history").write_text(history)
    (folder / "run.json").write_text(json.dumps({"schema": SCHEMA, "seed": 5, "complete": True,
                                                 "filesystems": {result.fs: XFS}, "cases": [asdict(result)], **meta}))
    return case


class Temporary(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)


class Which(Temporary):
    def test_folder_and_name(self) -> None:
        case = record(self.root, LOST)
        for text in (str(case), f"{self.root}:{LOST.id}"):
            found = repro.find(text, Path(text))
            self.assertEqual((found.folder, found.result), (case, LOST))

    def test_odd_names(self) -> None:
        for folder in ("a:b", "a b", "x*"):
            result = replace(LOST, id="native/xfs/store/all[*] of:it", channel="store", sequence="all[*] of:it")
            case = record(self.root / folder, result)
            for text in (str(case), f"{self.root / folder}:{result.id}"):
                self.assertEqual(repro.find(text, Path(text)).folder, case)
        self.assertEqual(_matching(["all[*]"], ["all[*]", "all*"], "sequence"), ["all[*]"])

    def test_a_race_on_a_section_of_a_file_that_is_gone(self) -> None:
        line = ("./run.sh race --kernel native --device /dev/x --fs mine --local-config '/a b' --section x "
                "--channel store --seed 9")
        race = replace(RACE, id="native/mine/store/race-9", fs="mine", channel="store", repeat=line)
        case = record(self.root, race)
        for name in ("stream", "answer"):
            (case / name).write_text("")
        for argv, module in ((["repro", str(case)], repro), (["reduce", str(case)], reduce)):
            with mock.patch.object(module, "repeat" if module is repro else "run", return_value=0) as run:
                self.assertEqual(call(*argv), (0, ""))
            options = run.call_args[0][0]
            self.assertEqual((options.filters.fs, options.fs_recorded.name, options.device), (["mine"], "mine", None))
            self.assertEqual(main.asked_of(options, {}).where("native", "mine"),
                             ["--kernel", "native", "--fs", "mine", "--local-config", "/a b", "--section", "x"])
            with mock.patch.object(module, "repeat" if module is repro else "run", return_value=0) as run:
                self.assertEqual(call(*argv, "--device", "/dev/y", "--overwrite-device", "/dev/y"), (0, ""))
            options = run.call_args[0][0]
            self.assertEqual((options.device, options.overwrite_device), ("/dev/y", "/dev/y"))
            self.assertEqual(call(*argv, "--overwrite-device", "/dev/y")[0], 64)

    def test_aims_at_what_was_recorded(self) -> None:
        case = record(self.root, LOST)
        options = main.Options()
        repro.aim(options, repro.find(str(case), case), [])
        self.assertEqual((options.kernels, options.seed, options.sequence_file, options.sequence_name),
                         (["native"], 5, case / "sequence.seq", "held-punch"))
        self.assertEqual((options.filters.fs, options.filters.channels, options.filters.sequences),
                         (["xfs"], ["pvm-writev"], ["held-punch"]))
        assert options.fs_recorded
        self.assertEqual(options.fs_recorded.mkfs_options, ("-m", "reflink=1"))

    def test_one_line_and_64(self) -> None:
        case = record(self.root / "good", LOST)
        old = record(self.root / "old", LOST, schema=SCHEMA + 1)
        odd = record(self.root / "odd", LOST, cases=[{"id": "x", "colour": "red"}])
        gone = record(self.root / "gone", replace(LOST, id="9.9/xfs/pvm-writev/held-punch", kernel="9.9"))
        race = record(self.root / "race", replace(RACE, id="native/xfs/store/race-1"))
        quiet = record(self.root / "quiet", LANDED)
        bare = record(self.root / "bare", LOST, filesystems={})
        for argv, says in (((str(old),), f"schema {SCHEMA + 1}, this program reads {SCHEMA}"),
                           ((str(odd),), "is not as schema"),
                           ((str(self.root),), "holds no recorded case"),
                           ((f"{self.root}/good:native/xfs/pvm-writev/held-pnch",), "did you mean"),
                           ((str(gone),), "recorded kernel 9.9 (6.18) is not here"),
                           ((str(bare),), "does not say how xfs was made"),
                           ((str(case), "--times", "0"), "--times wants"),
                           ((str(case), "--times", "2", "--export", "c"), "takes no --times"),
                           ((str(case), "--check", "--export", "c"), "takes no --check"),
                           ((str(old), "--check"), f"schema {SCHEMA + 1}, this program reads {SCHEMA}"),
                           ((str(case), "--kernel", "6.1", "--export", "c"), "takes no --kernel"),
                           ((str(case), "--export", "perl"), "invalid choice"),
                           ((str(race), "--export", "c"), "a race cannot be exported"),
                           ((str(case), "--export", "c"), "history"),
                           ((str(quiet), "--export", "c"), "this case did not fail (coherent)")):
            with self.subTest(argv), mock.patch("harness.runner.deps.build"), mock.patch("harness.runner.deps.ensure"):
                code, err = call("repro", *argv)
                self.assertEqual(code, 64, err)
                self.assertIn(says, err)
                self.assertEqual(err.count("\n"), 1, err)

    def test_an_export_to_a_full_disk_is_not_told_of_resuming(self) -> None:
        case = record(self.root, LOST)
        with mock.patch("harness.export.read_case"), mock.patch("harness.export.find_checks"), \
                mock.patch("harness.export.write_program", return_value=""), \
                mock.patch.object(Path, "write_text", side_effect=OSError(errno.ENOSPC, "No space left on device")), \
                self.assertRaisesRegex(EnvironmentFailed, f"^the disk of {self.root} is full$"):
            repro.export(repro.find(str(case), case), "c", self.root / "x.c", Path("judge"))

    def exported(self, form: str, out: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of an export whose program is "text"."""
        with mock.patch("harness.export.read_case"), mock.patch("harness.export.find_checks"), \
                mock.patch("harness.export.write_program", return_value="text"), \
                mock.patch("harness.runner.deps.build"), mock.patch("harness.runner.deps.ensure"), \
                contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()) as said:
            code = cli.ends(["repro", f"{self.root}/run:{LOST.id}", "--export", form, "--out", out])
        return code, said.getvalue(), err.getvalue()

    @unittest.skipUnless(JUDGE.exists(), "the judge is not built")
    def test_a_damaged_history_is_not_exported(self) -> None:
        lines = ["pinfault-history 1", "case 3 9 store pte trivial T", "file A 1 4096 written 1", "inv 2 1 write A 0 4096",
                 "ret 2 2 ok 4096", "end 99"]
        case = record(self.root, LOST, seal_history(lines).replace("ok 4096", "ok 4097"))
        with self.assertRaisesRegex(UsageError, f": broken: {case}/history: line 5, byte [0-9]+: damaged: "):
            repro.export(repro.find(str(case), case), "c", self.root / "x.c", JUDGE)

    def test_an_export_overwrites_regular_files_only(self) -> None:
        record(self.root / "run", LOST)
        os.mkfifo(self.root / "fifo")
        (self.root / "link").symlink_to("fifo")
        (self.root / "file").write_text("old")
        for form, out in (("c", "fifo"), ("c", "link"), ("c", "run"), ("xfstests", "fifo"), ("xfstests", "file")):
            with self.subTest(form, out=out):
                code, said, err = self.exported(form, str(self.root / out))
                self.assertEqual((code, said, err.count("\n")), (64, "", 1), err)
                self.assertIn(f"{self.root / out}: is ", err)
        self.assertTrue((self.root / "fifo").is_fifo())
        self.assertEqual(sorted(p.name for p in (self.root / "run").iterdir()), ["cases", "run.json"])

    def test_an_export_of_an_explored_case_is_not_called_after_its_turn(self) -> None:
        case = record(self.root, replace(LOST, id="native/xfs/pvm-writev/explore-hold-1a2b3c.2",
                                         sequence="explore-hold-1a2b3c.2"))
        with mock.patch("harness.export.read_case"), mock.patch("harness.export.find_checks"), \
                mock.patch("harness.export.write_program", return_value="") as write, \
                contextlib.redirect_stdout(io.StringIO()):
            repro.export(repro.find(str(case), case), "c", Path("-"), Path("judge"))
        self.assertEqual(write.call_args[0][2], "explore-hold-1a2b3c")

    def test_an_export_through_a_symlink_and_to_stdout(self) -> None:
        record(self.root / "run", LOST)
        (self.root / "file").write_text("old")
        (self.root / "link").symlink_to("file")
        self.assertEqual(self.exported("c", str(self.root / "link"))[0], 0)
        self.assertEqual(((self.root / "file").read_text(), (self.root / "link").is_symlink()), ("text", True))
        self.assertEqual(self.exported("c", "-"), (0, "text", ""))
        self.assertEqual(self.exported("xfstests", "-")[0], 64)
        self.assertIn("results want a folder", call("run", "--out", "-")[1])


class Beside(Temporary):
    def modes(self, name: str, *verbs: str, **said: bool | None) -> set[Mode]:
        """How a repro of the case runs it, of which case.json says this."""
        result = replace(LOST, id=f"native/xfs/store/{name}", channel="store", sequence=name)
        case = record(self.root / f"{len(list(self.root.iterdir()))}", result, complete=False, cases=[])
        facts = {key: value for key, value in asdict(result).items() if key != "exclusive"}
        (case / "case.json").write_text(json.dumps({**facts, **said}))
        options = main.Options(times=2)
        repro.aim(options, repro.find(str(case), case), [])
        machine = FakeMachine()
        machine.start()
        assert options.fs_recorded
        world = main.World(Agent(machine).hello(), {name: Sequence(name, "", "", "t", verbs=verbs)},
                           {"xfs": options.fs_recorded}, {})
        return {Mode.of(case) for case in main.plan_cases(options, world, options.kernels)}

    def test_what_was_beside_it_when_it_was_recorded(self) -> None:
        for mode, name, said in ((Mode.SHARED, "held-punch", False), (Mode.QUIET, "held-punch", True),
                                 (Mode.SHARED, "explore-mine", False), (Mode.QUIET, "explore-hold-1a2b3c.1", True)):
            with self.subTest(name, said=said):
                self.assertEqual(self.modes(name, "punch", exclusive=said), {mode})
        self.assertEqual(self.modes("crash-write", "crash", exclusive=False), {Mode.CRASH})

    def test_a_result_that_does_not_say(self) -> None:
        self.assertEqual(self.modes("held-punch", "punch"), {Mode.SHARED})
        self.assertEqual(self.modes("explore-hold-1a2b3c.1", "punch"), {Mode.QUIET})
        self.assertEqual(self.modes("explore-hold-1a2b3c.1", "punch", exclusive=None), {Mode.QUIET})
        self.assertEqual(self.modes("crash-write", "crash"), {Mode.CRASH})


class HowOften(unittest.TestCase):
    def test_summary(self) -> None:
        self.assertEqual(repro.summary(LOST, [LOST] * 5), ["failed 5 of 5: lost (lost-write)"])
        otherwise = replace(LOST, resolution="hung", verdict="hung", kinds=["hang"], why="line 4")
        self.assertEqual(repro.summary(LOST, [LOST, LANDED, LANDED, otherwise]),
                         ["failed 1 of 4: lost (lost-write)", "  2 of 4 landed",
                          "  1 of 4 failed otherwise: hung (hang): line 4"])
        self.assertEqual(repro.summary(LANDED, [LANDED]),
                         ["failed 0 of 1 (and did not when it was recorded: landed)", "  1 of 1 landed"])

    def test_a_hang_says_where(self) -> None:
        hung = replace(LOST, resolution="hung", verdict="hung", kinds=["hang"], why="line 4, in S ext4_wait_dax_page")
        other = replace(hung, why="line 4, in D filemap_fault")
        self.assertEqual(repro.summary(hung, [hung, hung]), ["failed 2 of 2: hung in ext4_wait_dax_page (hang)"])
        self.assertEqual(repro.summary(hung, [hung, other]), [
            "failed 1 of 2: hung in ext4_wait_dax_page (hang)",
            "  1 of 2 failed otherwise: hung in filemap_fault (hang): line 4, in D filemap_fault"])
        self.assertTrue(repro.same_way(replace(hung, why="no answer"), hung))
        for one, other, same in (("R running:f", "R running:f", True), ("R running:f", "R running", True),
                                 ("R running", "R running:f", True), ("R running:f", "R running:g", False),
                                 ("R running", "S f", False), ("R running:f", "S f", False)):
            with self.subTest((one, other)):
                self.assertIs(repro.same_way(replace(hung, why=f"in {one}"), replace(hung, why=f"in {other}")), same)
        with tempfile.TemporaryDirectory() as folder:
            case = record(Path(folder), hung, "pinfault-history 2\nhung 4 9 S ext4_wait_dax_page [<0>]%20"
                          "ext4_wait_dax_page+0x1f/0x30%20[ext4]%0A[<0>]%20dax_break_layout+0xf2/0x140%0A ~8d138fc9\n")
            self.assertEqual(repro.told(hung, [hung], Path(folder) / "cases")[1:],
                             ["  line 4, in S ext4_wait_dax_page: ext4_wait_dax_page < dax_break_layout"])
            (case / "history").unlink()
            self.assertEqual(repro.told(hung, [hung], Path(folder) / "cases")[1:], [])
        self.assertIn("got hung:ext4_wait_dax_page, expected", table.difference(hung, "x"))
        self.assertIn("got hung, expected", table.difference(replace(hung, why="no answer"), "x"))

    def test_a_line_for_each_kernel(self) -> None:
        results = [replace(LOST, kernel="a", kernel_version="6.18"), replace(LANDED, kernel="b", kernel_version="6.19"),
                   replace(LANDED, kernel="b", kernel_version="6.19")]
        for names, says in ((["a", "b", "c"], ["a: failed 1 of 1: lost (lost-write)",
                                               "b: note: this is 6.19, it was recorded on 6.18",
                                               "b: failed 0 of 2: lost (lost-write)", "  2 of 2 landed",
                                               "c: nothing was run"]),
                            (["a"], ["failed 1 of 1: lost (lost-write)"])):
            ended = main.Ended(Path("x"), {"kernels_wanted": names}, results, {}, [])
            with mock.patch.object(main, "execute", return_value=ended), contextlib.redirect_stderr(io.StringIO()), \
                    contextlib.redirect_stdout(io.StringIO()) as out:
                self.assertEqual(repro.repeat(main.Options(), repro.Found(Path("x"), {}, LOST), []), 1)
            self.assertEqual(out.getvalue().splitlines(), says)

    def test_same_way(self) -> None:
        torn = replace(LOST, kinds=["torn"])
        self.assertFalse(repro.same_way(torn, LOST))
        self.assertTrue(repro.same_way(replace(RACE, kinds=["torn"]), RACE))  # races show a part of it
        self.assertFalse(repro.same_way(replace(RACE, kinds=["foreign"]), RACE))
        warned = replace(LOST, findings=[{"kind": "kernel-log", "text": "WARNING"}])
        self.assertFalse(repro.same_way(warned, LOST))
        self.assertEqual(repro.way(warned), "lost (lost-write, kernel-log)")

    def test_exit(self) -> None:
        for results, trouble, code in (([LOST, LANDED], False, 1), ([LANDED], False, 0), ([LANDED], True, 2),
                                       ([LOST], True, 1), ([SKIPPED], False, 2), ([SKIPPED, LANDED], False, 0),
                                       ([], False, 2)):
            self.assertEqual(repro.exit_code(results, trouble), code, results)

    def test_turns_have_numbers_of_their_own(self) -> None:
        cases = again([Case("native", "xfs", "store", "held-punch", 7), Case("native", "xfs", "store", "x", 8)], 3)
        self.assertEqual(len({c.nr for c in cases}), 6)
        self.assertEqual([c.id for c in cases][:3], ["native/xfs/store/held-punch", "native/xfs/store/held-punch.2",
                                                     "native/xfs/store/held-punch.3"])
        race = again([RaceCase("native", "xfs", "store", "race", 1, race=Race(seed=9))], 2)
        self.assertEqual(race[1].id, "native/xfs/store/race-9.2")
        self.assertEqual(race[1].race.seed, 9)

    def test_names_as_before(self) -> None:
        with self.assertRaises(UsageError):
            repro.find("nothing", Path("/nonexistent/nothing"))


if __name__ == "__main__":
    unittest.main()
