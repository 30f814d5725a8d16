# SPDX-License-Identifier: GPL-2.0
"""What a sabotage must come out as, the controls of every run, and the checks that findings come from."""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from . import test_runner_execute as execute
from .fake_machine import FakeMachine
from harness.runner import controls, damage, main, selftest, selftest_rules as rules, table
from harness.runner.agent import ShResult
from harness.runner.batch import unnoticed
from harness.runner.errors import EnvironmentFailed
from harness.runner.fsconfig import FsConfig
from harness.runner.findings import family
from harness.runner.klog import Finding, KernelLog, kind_of
from harness.runner.plan import Sequence, load_sequences
from harness.runner.store import CaseResult, Store

KINDS = set("lost-write stale torn misplaced foreign view-split not-durable past-eof metadata checksum unnoticed "
            "leaked-pin hang kernel-fault wrong-size unreadable unflushed".split())


def sequence(must: str, kind: str = "", name: str = "x", fs: tuple[str, ...] = ()) -> Sequence:
    text = f"# T\n# must: {must}\n" + (f"# kind: {kind}\n" if kind else "") + "file A 64K written\n"
    return Sequence(name, text, f"selftest/{name}.seq", "T", files=("A",), filesystems=fs)


class Rules(unittest.TestCase):
    def test_right_and_wrong(self) -> None:
        for must, kind, verdict, found, right in (
                ("coherent", "", "coherent", set(), True),
                ("coherent", "", "coherent", {"metadata"}, False),
                ("coherent", "", "inconclusive", set(), False),
                ("corrupt", "torn", "corrupt", {"torn"}, True),
                ("corrupt", "torn", "corrupt", {"foreign"}, False),
                ("corrupt", "torn", "coherent", set(), False),
                ("corrupt", "metadata", "coherent", {"metadata"}, True),
                ("corrupt", "metadata", "broken", {"metadata"}, False),
                ("corrupt", "", "corrupt", set(), False),
                ("hung", "hang", "hung", {"hang"}, True),
                ("crashed", "kernel-fault", "hung", {"hang"}, False)):
            with self.subTest((must, kind, verdict, found)):
                self.assertEqual(rules.is_right(sequence(must, kind), verdict, found), right)

    def test_found(self) -> None:
        self.assertEqual(rules.found(["torn"], [{"kind": "metadata", "text": ""}]), {"torn", "metadata"})

    def test_every_kind_has_a_sabotage(self) -> None:
        there = [s for s in load_sequences(main.ROOT / "workloads" / "sequences").values() if s.selftest]
        self.assertEqual({rules.kind(s) for s in there} - {""}, KINDS)
        for s in there:
            self.assertEqual(rules.kind(s) == "", rules.must(s) == "coherent", s.name)
        self.assertLessEqual(set(controls.SEQUENCES), {s.name for s in there})


class Findings(unittest.TestCase):
    def test_unnoticed(self) -> None:
        history = ["note mtime%203%20yes%201.2%20before", "note mtime%207%20no%201.2%20before", "mtime 9 no 1.2%20x",
                   "mtime 10 yes 1.3", "note nomtime%207%20no%201.2"]
        self.assertEqual([f["text"] for f in unnoticed(history)],
                         ["op 7: mtime did not move: 1.2 before", "op 9: mtime did not move: 1.2 x"])
        self.assertEqual({f["kind"] for f in unnoticed(history)}, {"unnoticed"})

    def test_kernel_log_kinds(self) -> None:
        warn, bug, csum = Finding("warning", "WARNING: x"), Finding("bug", "BUG: x"), Finding("corrupt", "csum failed")
        self.assertEqual([f.kind for f in (warn, bug, csum)], ["kernel-warning", "kernel-fault", "checksum"])
        self.assertEqual([kind_of([csum]), kind_of([warn, csum]), kind_of([csum, bug, warn])],
                         ["checksum", "kernel-warning", "kernel-fault"])

    def test_a_filesystem_that_gave_up(self) -> None:
        """Nothing that is expected to be complained of excuses it; what was told to shut down did not give up."""
        log = KernelLog.load(Path(__file__).parents[1] / "expected" / "klog.allow")
        for line, kind in (
                ("BTRFS: error (device loop0 state A) in btrfs_finish_one_ordered:3271: errno=-2 No such entry",
                 "aborted:btrfs_finish_one_ordered"),
                ("XFS (vda): Corruption of in-memory data (0x8) detected at xfs_trans_cancel+0x1/0x2 (fs/xfs/xfs_trans.c:9)."
                 "  Shutting down filesystem.", "aborted:xfs_trans_cancel"),
                ("WARNING: CPU: 1 PID: 7 at fs/dax.c:372 dax_insert_entry+0x308/0x350", "kernel-warning:dax_insert_entry"),
                ("WARNING: fs/dax.c:452 at dax_disassociate_entry.isra.0+0x9c/0xc0, CPU#0: pinfault-exec/263",
                 "kernel-warning:dax_disassociate_entry"),
                ("WARNING: CPU: 1 PID: 7 at fs/ext4/inode.c:3661 ext4_dirty_folio+0x28/0x30 [ext4]",
                 "kernel-warning:ext4_dirty_folio"),
                ("EXT4-fs (vda): Remounting filesystem read-only", "aborted"),
                ("BTRFS error (device vda state A): Transaction 7 aborted (-ENOENT)", "kernel-log"),
                ("BTRFS: Transaction aborted (error -2)", "kernel-log"),
                ("BTRFS error (device vda): bdev /dev/vda errs: wr 0, rd 0, flush 0, corrupt 9, gen 0", "checksum"),
                ("BTRFS error (device vda): bdev /dev/vda errs: wr 1, rd 0, flush 0, corrupt 9, gen 0", "kernel-log")):
            with self.subTest(line):
                self.assertEqual([f.kind for f in log.grade([line])], [kind])
        self.assertEqual(log.grade(["XFS (vda): Log I/O Error (0x2) detected at xfs_fs_goingdown+0xac/0xb0 [xfs] "
                                    "(fs/xfs/xfs_fsops.c:462).  Shutting down filesystem."]), [])
        worst = log.grade(["BTRFS error (device vda): x", "BTRFS: error (device vda) in f:1: errno=-2 x", "WARNING: y"])
        self.assertEqual((kind_of(worst), family([f.kind for f in worst])), ("aborted:f", "aborted"))


class Shell:
    """An agent that only remembers what it was to run."""

    def __init__(self, out: str = "", exit_code: int = 0) -> None:
        self.out, self.exit_code, self.argv = out, exit_code, []

    def sh(self, *argv: str, timeout_s: float = 30) -> ShResult:
        self.argv.append(argv)
        return ShResult(self.out, self.exit_code, f"exit {self.exit_code}")


class Damage(unittest.TestCase):
    HISTORY = ["inv 3 9 fault punch zero A 0 4096", "effect 3 shown strict inode%205",
               "inv 4 9 fault sabotage-metadata none A", "ret 4 9 ok 0", "effect 4 shown strict inode%20131"]

    def test_wanted(self) -> None:
        self.assertEqual(damage.wanted(self.HISTORY), 131)
        self.assertIsNone(damage.wanted(self.HISTORY[:2]))

    def filesystem(self, fstype: str, shell: Shell) -> damage.Filesystem:
        return damage.Filesystem(shell, FsConfig(fstype, fstype), "/dev/fake", "/mnt")  # type: ignore[arg-type]

    def test_tools(self) -> None:
        for fstype, tool in (("xfs", "xfs_db"), ("ext4", "debugfs")):
            shell = Shell()
            damage.break_inode(self.filesystem(fstype, shell), 131)
            self.assertEqual((shell.argv[0][0], shell.argv[0][-1]), (tool, "/dev/fake"))

    def test_quota(self) -> None:
        self.assertTrue(damage.wanted_quota(["inv 4 9 fault sabotage-quota none A"]))
        self.assertFalse(damage.wanted_quota(self.HISTORY))
        shell = Shell("diskdq.bcount = 300")
        damage.break_quota(self.filesystem("xfs", shell))
        self.assertEqual(shell.argv[-1], ("xfs_db", "-x", "-c", "dquot -u 0", "-c", "write diskdq.bcount 556", "/dev/fake"))
        shell = Shell()
        damage.break_quota(self.filesystem("ext4", shell))
        self.assertEqual(shell.argv, [])  # Q_SETQUOTA did it
        with self.assertRaises(EnvironmentFailed):
            damage.break_quota(self.filesystem("xfs", shell))

    def test_a_tool_that_fails_is_no_result(self) -> None:
        for fstype in ("xfs", "btrfs", "vfat"):
            with self.assertRaises(EnvironmentFailed):
                damage.break_inode(self.filesystem(fstype, Shell(exit_code=1)), 131)

    def test_never_while_mounted(self) -> None:
        fs = self.filesystem("xfs", Shell())
        fs.mounted = True
        with self.assertRaises(AssertionError):
            damage.break_inode(fs, 131)


JUDGE = """#!/bin/sh
while read -r path; do
	case $path in
	*/sabotage-*) echo "verdict corrupt"; echo "kind misplaced" ;;
	*) echo "verdict coherent"; echo "resolution landed" ;;
	esac
	echo "checked 3"; echo end
done
"""


class Controls(execute.Bench):
    """The controls of a run, on a machine and with a judge that fail where they are told to."""

    def setUp(self) -> None:
        super().setUp()
        self.judge.write_text(JUDGE)
        for s in (sequence("coherent", name="control"), sequence("corrupt", "misplaced", "sabotage-swap"),
                  sequence("corrupt", "misplaced", "sabotage-split", ("ext4",))):
            self.context.sequences[s.name] = s
        self.context.controls = ("control", "sabotage-swap", "sabotage-split")

    def controls(self, machine: FakeMachine) -> list[dict]:
        self.run_it(machine, self.cases(2))
        return self.store.meta["controls"]

    def test_all_is_well(self) -> None:
        got = self.controls(FakeMachine())
        self.assertEqual([(c["sequence"], c["ok"]) for c in got], [("control", True), ("sabotage-swap", True)])
        self.assertEqual(controls.summary(got), "controls: 1 sabotages caught, 1 clean runs silent")
        self.assertEqual(controls.failures(got), [])
        self.assertEqual(len(self.store.results), 2)  # controls are no cases

    def test_a_sabotage_that_is_not_caught(self) -> None:
        self.judge.write_text(execute.JUDGE)
        got = self.controls(FakeMachine())
        self.assertEqual([c["ok"] for c in got], [True, False])
        self.assertIn("only 0 of 1 sabotages caught", controls.summary(got))
        self.assertIn("6.1/xfs/sabotage-swap must be misplaced, is coherent", controls.failures(got)[0])

    def test_the_wrong_name(self) -> None:
        self.judge.write_text(JUDGE.replace("misplaced", "torn"))
        self.assertEqual([c["ok"] for c in self.controls(FakeMachine())], [True, False])

    def test_a_clean_run_that_alarms(self) -> None:
        self.judge.write_text(JUDGE.replace("verdict coherent", "verdict corrupt"))
        got = self.controls(FakeMachine())
        self.assertEqual([c["ok"] for c in got], [False, True])
        self.assertIn("only 0 of 1 clean runs silent", controls.summary(got))

    def test_skip_is_not_counted(self) -> None:
        def skip(nr: int, _: FakeMachine) -> str:
            return "ok skip no%20device" if nr > controls.FIRST_NR else "ok ran"
        got = self.controls(FakeMachine(skip))
        self.assertEqual([(c["covered"], c["ok"]) for c in got], [(True, True), (False, True)])

    def test_a_machine_that_dies_gets_another_try(self) -> None:
        deaths = [1]

        def die(nr: int, _: FakeMachine) -> str:
            return "die" if nr >= controls.FIRST_NR and deaths and deaths.pop() else "ok ran"
        machine = FakeMachine(die)
        self.assertEqual([c["ok"] for c in self.controls(machine)], [True, True])
        self.assertEqual(machine.boots, 2)

    def test_a_machine_that_always_dies_fails_them(self) -> None:
        got = self.controls(FakeMachine(lambda nr, _: "die" if nr == controls.FIRST_NR + 1 else "ok ran"))
        self.assertEqual([c["ok"] for c in got], [True, False])

    def test_once_a_run(self) -> None:
        self.run_it(FakeMachine(), self.cases(1))
        machine = FakeMachine()
        self.run_it(machine, [execute.NumberedCase("6.1", "xfs", "store", "s", 9)])
        self.assertEqual(machine.ran, [9])

    def test_report(self) -> None:
        self.judge.write_text(execute.JUDGE)
        self.controls(FakeMachine())
        text = table.render({**self.store.meta, "run": "r"}, list(self.store.results.values()), "r")
        self.assertIn("controls that failed: nothing above holds\n6.1/xfs/sabotage-swap", text)


class Report(unittest.TestCase):
    """`selftest` reads a run's folder: what it prints and returns."""

    def judged(self, *results: CaseResult, planned: int | None = None) -> tuple[int, str]:
        with tempfile.TemporaryDirectory() as folder:
            store = Store.create(Path(folder) / "run", {"seed": 1, "planned": planned or len(results)})
            for r in results:
                must, kind = ("coherent", "") if r.sequence == "control" else ("corrupt", "torn")
                store.finish(r, sequence(must, kind).text, [])
            store.write_run(complete=True)
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                return selftest.judge_run(store.folder), out.getvalue()

    @staticmethod
    def result(name: str, verdict: str, kinds: list[str]) -> CaseResult:
        return CaseResult(f"6.1/xfs/store/{name}", 1, "6.1", "6.1.0", "xfs", "store", name, verdict=verdict, kinds=kinds)

    def test_codes(self) -> None:
        good = [self.result("control", "coherent", []), self.result("sabotage-torn", "corrupt", ["torn"])]
        code, out = self.judged(*good)
        self.assertEqual(code, 0, out)
        self.assertIn("selftest: 2 of 2 as they must be, 0 not covered", out)
        code, out = self.judged(good[0], self.result("sabotage-torn", "corrupt", ["stale"]))
        self.assertEqual(code, 1)
        self.assertRegex(out, r"NOT OK 6.1/xfs/store/sabotage-torn +torn: corrupt, stale")
        self.assertEqual(self.judged(*good, planned=3)[0], 2)
        code, out = self.judged(good[0], self.result("sabotage-torn", "skipped", []))
        self.assertEqual(code, 0)
        self.assertRegex(out, r"- +6.1/xfs/store/sabotage-torn +not covered")
        self.assertEqual(self.judged(self.result("control", "skipped", []))[0], 2)


class Exit(unittest.TestCase):
    def test_failed_controls_go_before_news(self) -> None:
        with tempfile.TemporaryDirectory() as folder, \
                mock.patch.object(main, "prepare", return_value=(mock.Mock(sequences={}), {}, [])), \
                mock.patch.object(main, "stage", return_value={}), \
                mock.patch.object(main.native, "private_dir"), mock.patch.object(main.native, "cleanup_guests"), \
                mock.patch.object(main.native, "cleanup_stale"), \
                mock.patch.object(main, "run_kernels", return_value={}), mock.patch.object(main, "_open_store") as opens:
            for ok, code in ((True, 1), (False, 2)):
                store = Store.create(Path(folder) / str(ok), {"seed": 1, "planned": 1, "kernels_wanted": []})
                store.add_control({"kernel": "6.1", "fs": "xfs", "sequence": "s", "must": "corrupt", "kind": "torn",
                                   "verdict": "coherent", "found": [], "why": "", "covered": True, "ok": ok})
                store.finish(CaseResult("6.1/xfs/store/s", 1, "6.1", "", "xfs", "store", "s", outcome="differs"), "", [])
                opens.return_value = store
                err, out = io.StringIO(), io.StringIO()
                with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
                    got = main.run(main.Options(), ["run"])
                self.assertEqual(got, code)
                self.assertEqual("a control failed, so nothing this run says holds" in err.getvalue(), not ok)
                self.assertEqual(json.loads((store.folder / "run.json").read_text())["controls"][0]["ok"], ok)


if __name__ == "__main__":
    unittest.main()
