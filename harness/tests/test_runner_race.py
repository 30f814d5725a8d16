# SPDX-License-Identifier: GPL-2.0
"""Races as the runner sees them: which there are, what is made of an answer, what is kept."""

import errno
import stat
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from .fake_machine import FakeMachine
from harness.runner import race, table
from harness.runner.agent import ChannelInfo, FaultInfo
from harness.runner.errors import EnvironmentFailed, UsageError
from harness.runner.execute import KernelRun, RunContext
from harness.runner.expect import Expectations, outcome
from harness.runner.fsconfig import FsConfig, load_all
from harness.runner.klog import KernelLog
from harness.runner.plan import Filters
from harness.runner.store import CaseResult, Store

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {name: FsConfig(name, name) for name in ("xfs", "tmpfs")}
CHANNELS = {name: ChannelInfo(name, cls, "none", False, True, "") for name, cls in (
    ("dio-read", "short-pin"), ("dio-read/loop", "short-pin"), ("rdma-odp", "faulting"), ("rdma-pinned", "long-pin"),
    ("pwrite", "syscall"), ("store", "pte"))}
FAULTS = {"punch": FaultInfo("punch", "file-range", frozenset(), ""),
          "freeze": FaultInfo("freeze", "file", frozenset({"exclusive", "unraced"}), ""),
          "page-out": FaultInfo("page-out", "file", frozenset({"best-effort"}), ""),
          "clone": FaultInfo("clone", "file-file", frozenset(), ""),
          "fork": FaultInfo("fork", "file", frozenset({"unraced"}), "")}


class Planning(unittest.TestCase):
    def planned(self, asked: race.Race = race.Race(seed=3), **filters: list[str]) -> list[race.RaceCase]:
        return race.plan(["6.1"], CONFIGS, CHANNELS, Filters(**filters), asked)

    def test_controls_first_and_plain_only(self) -> None:
        self.assertEqual([c.channel for c in self.planned(fs=["xfs"])], ["store", "dio-read", "rdma-pinned"])

    def test_a_number_is_the_same_however_selected(self) -> None:
        everything = {c.id: c.nr for c in self.planned(channels=["*"])}
        self.assertEqual(len(set(everything.values())), 10)
        for case in self.planned(fs=["tmpfs"], channels=["dio-read/loop", "rdma-odp"]):
            self.assertEqual(everything[case.id], case.nr)

    def test_names(self) -> None:
        case = self.planned(fs=["xfs"], channels=["dio-read/loop"])[0]
        self.assertEqual(case.id, "6.1/xfs/dio-read/loop/race-3")
        self.assertEqual(case.repeat(), "./run.sh race --kernel 6.1 --fs xfs --channel dio-read/loop --seed 3")
        with self.assertRaisesRegex(UsageError, "unknown channel 'stor': did you mean store"):
            self.planned(channels=["stor"])

    def test_write_2_is_in_every_race_and_no_channel_of_one(self) -> None:
        with self.assertRaisesRegex(UsageError, "part of every race"):
            self.planned(channels=["pwrite"])

    def test_all_that_was_asked_for_is_repeated(self) -> None:
        asked = race.Race(seed=9, ops=10, seconds=2.5, threads=2, files=3, size=1 << 20, faults=("punch", "clone"))
        self.assertEqual(asked.options(), "--seed 9 --ops 10 --seconds 2.5 --threads 2 --files 3 --size 1048576 "
                         "--fault punch --fault clone")
        self.assertEqual(asked.keys(), {"seed": 9, "threads": 2, "files": 3, "size": 1 << 20, "ops": 10, "ms": 2500,
                                        "faults": "punch,clone"})
        self.assertEqual(race.Race().keys()["ms"], 10000)
        self.assertNotIn("ms", race.Race(ops=5).keys())

    def test_faults(self) -> None:
        self.assertEqual(race.choose_faults(["p*"], FAULTS), ("punch", "page-out"))
        self.assertEqual(race.choose_faults(["*"], FAULTS), ("punch", "page-out", "clone"))
        self.assertEqual(race.choose_faults(["*"], FAULTS, 1), ("punch", "page-out"))
        for pattern in ("freeze", "f*"):
            with self.assertRaisesRegex(UsageError, "--fault .*: cannot be raced$"):
                race.choose_faults([pattern], FAULTS)
        with self.assertRaisesRegex(UsageError, "--fault clone: cannot be raced with one file$"):
            race.choose_faults(["clone"], FAULTS, 1)
        self.assertEqual(race.choose_faults([], FAULTS), ())
        with self.assertRaisesRegex(UsageError, "unknown fault 'freez'"):
            race.choose_faults(["freez"], FAULTS)

    def test_what_a_filesystem_leaves_out(self) -> None:
        configs = {**CONFIGS, "ext4-dax": FsConfig("ext4-dax", "ext4", race_without={"zero-range": "findings/x"})}

        def planned(**asked: tuple[str, ...]) -> list[race.RaceCase]:
            return race.plan(["6.1"], configs, CHANNELS, Filters(channels=["store"]), race.Race(**asked))
        self.assertEqual([c.keys().get("without") for c in planned()], [None, None, "zero-range"])
        self.assertEqual(race.left_out(planned(), configs), ["race on ext4-dax leaves out zero-range: known defect, findings/x"])
        # What is asked for by name is run.
        self.assertEqual([c.without for c in planned(faults=("zero-range",))], [()] * 3)
        self.assertEqual(race.left_out(planned(faults=("zero-range",)), configs), [])
        report = table.render({"run": "r", "left_out": race.left_out(planned(), configs)}, [], "r")
        self.assertIn("not covered\nrace on ext4-dax leaves out zero-range: known defect, findings/x\n", report)

    def test_what_is_left_out_exists(self) -> None:
        for config in load_all(ROOT / "fs-configs").values():
            for fault, reference in config.race_without.items():
                self.assertTrue((ROOT / "workloads/faults" / (fault.replace("-", "_") + ".c")).is_file(), fault)
                self.assertTrue((ROOT / reference).exists(), reference)

    def test_what_is_expected(self) -> None:
        rules = Expectations.load(ROOT / "harness" / "expected")

        def cls(kernel: str, fs: str, channel: str) -> str:
            return rules.of(kernel, {fs}, channel, race.SEQUENCE).cls
        for fs in ("xfs", "ext4", "btrfs", "tmpfs"):
            for kernel in ("6.1.176", "6.12.1", "7.3.4"):
                self.assertEqual(cls(kernel, fs, "store"), "guaranteed")
                self.assertEqual(cls(kernel, fs, "copyout"), "guaranteed")
        self.assertEqual(cls("6.1.176", "xfs", "rdma-pinned"), "unsupported")
        self.assertEqual(cls("6.12.1", "xfs", "rdma-pinned"), "refused")
        self.assertEqual(cls("6.12.1", "xfs-dax", "rdma-pinned"), "refused")
        self.assertEqual(cls("6.12.1", "tmpfs", "uring-fixed"), "unsupported")
        self.assertEqual(cls("6.12.1", "xfs", "pvm-writev"), "unsupported")
        # Findings of races themselves: results/reference/findings/.
        self.assertEqual(cls("7.3.4", "ext2-dax", "store"), "bug")
        for fs in ("ext2-dax", "ext4-dax", "xfs-dax"):  # late zeros, and nothing else
            for kernel in ("6.1.176", "6.12.1", "7.3.4"):
                rule = rules.of(kernel, {fs}, "store", race.SEQUENCE)
                self.assertEqual(outcome(rule, "corrupt", "lost", "", [], ["late-zero"]), "expected")
                self.assertEqual(outcome(rule, "corrupt", "lost", "", [], ["late-zero", "stale"]), "differs")
                self.assertEqual(outcome(rule, "coherent", "landed", "", []), "expected")
                new = kernel == "7.3.4"
                for where, known in ((f"{fs.split('-')[0].replace('2', '4')}_wait_dax_page", new), ("filemap_fault", False)):
                    self.assertEqual(outcome(rule, "hung", "hung", "", [], [], [where]), "expected" if known else "differs")
        named = self.planned(race.Race(faults=("punch", "zero-range")), fs=["xfs"])[0]
        self.assertIn("lost", rules.of("6.12.1", {"ext4-dax"}, "store", named.sequence, named.also).resolutions)
        self.assertNotIn("lost", rules.of("6.12.1", {"xfs-dax"}, "store", named.sequence, named.also).resolutions)
        named = self.planned(race.Race(faults=("clone",)), fs=["xfs"])[0]
        self.assertIn("lost", rules.of("7.3.4", {"xfs-dax"}, "store", named.sequence, named.also).resolutions)


class Answers(unittest.TestCase):
    def setUp(self) -> None:
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        root = Path(self.dir.name)
        judge = root / "judge"
        judge.write_text("#!/bin/sh\nexit 9\n")  # no history of a race may reach it
        judge.chmod(judge.stat().st_mode | stat.S_IXUSR)
        (root / "job.fio").write_text("[global]\n")
        self.store = Store.create(root / "run", {"seed": 1, "planned": 0})
        self.machine = FakeMachine()
        self.race = race.Race(seed=4)

    def run_it(self, *reply: str, channel: str = "store", say: Callable[[str], None] = lambda _: None) -> CaseResult:
        if reply:
            self.machine.race_reply = list(reply)
        context = RunContext(
            self.store, Expectations.load(ROOT / "harness" / "expected"), KernelLog([]),
            {race.SEQUENCE: race.sequence(self.race)}, {"xfs": FsConfig("xfs", "xfs")},
            Path(self.dir.name, "judge"), Path(self.dir.name, "job.fio"), 7, say, lambda _: None)
        case = race.RaceCase("6.1", "xfs", channel, race.SEQUENCE, 5, exclusive=True, race=self.race)
        self.store.results.clear()
        KernelRun(self.machine, context).run([case])
        return self.store.results[case.id]

    def kept(self, name: str) -> bool:
        return (self.store.case_dir("6.1/xfs/store/race-4") / name).exists()

    def test_coherent(self) -> None:
        got = self.run_it()
        self.assertEqual((got.verdict, got.resolution, got.outcome, got.checked_cells), ("coherent", "landed",
                                                                                         "expected", 9))
        self.assertEqual(got.repeat, "./run.sh race --kernel 6.1 --fs xfs --channel store --seed 4")
        self.assertTrue(self.kept("answer") and self.kept("case.json") and self.kept("sequence.seq"))
        self.assertFalse(self.kept("stream"))
        keys = self.machine.races[0]
        self.assertEqual((keys["judge"], keys["seed"], keys["nr"], keys["run"]), ("/fake/pinfault-judge", "4", "5", "7"))

    def test_corrupt_keeps_the_stream(self) -> None:
        got = self.run_it("j verdict corrupt", "j kind lost-write", "j evidence cell%209", "j end", "env ops 9", "env write 5",
                          "env judge exit%200", "ok ran")
        self.assertEqual((got.verdict, got.resolution, got.outcome), ("corrupt", "lost", "differs"))
        self.assertEqual((got.kinds, got.evidence), (["lost-write"], ["cell 9"]))
        path = self.store.stream_path("6.1/xfs/store/race-4")
        self.assertEqual(path.read_bytes(), self.machine.stream)

    def test_a_stream_for_which_there_is_no_space_is_not_left_there(self) -> None:
        self.machine.guest = False
        path = self.store.stream_path("6.1/xfs/store/race-4")
        path.parent.mkdir(parents=True)
        path.write_bytes(b"part of it")
        with self.assertRaisesRegex(EnvironmentFailed, f"^the disk of {path.parent} is full; every case finished before"):
            self.run_it("j verdict coherent", "j end", "env ops 9", "err 5 stream:%20ENOSPC")
        self.assertEqual((self.store.results, path.exists()), ({}, False))

    def test_a_guest_s_stream_for_which_there_is_no_space(self) -> None:
        self.race = race.Race(seed=4, record=True)
        path = self.store.stream_path("6.1/xfs/store/race-4")

        def full(to: Path, data: bytes) -> int:
            to.write_text("part of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        with mock.patch.object(Path, "write_bytes", full), \
                self.assertRaisesRegex(EnvironmentFailed, f"^the disk of {path.parent} is full; every case finished"):
            self.run_it()
        self.assertEqual((self.store.results, path.exists()), ({}, False))

    def test_a_folder_that_cannot_be_made(self) -> None:
        self.machine.guest = False
        (self.store.folder / "cases").write_text("")
        with self.assertRaisesRegex(EnvironmentFailed, "race-4/stream: Not a directory$"):
            self.run_it()

    def test_record_keeps_the_stream(self) -> None:
        self.race = race.Race(seed=4, record=True)
        self.assertEqual(self.run_it().outcome, "expected")
        self.assertTrue(self.kept("stream"))

    def test_no_answer_is_never_a_pass(self) -> None:
        for reply in (["env write 5", "ok ran"], ["j verdict coherent", "env judge exit%200", "ok ran"],
                      ["j verdict coherent", "j end", "env judge signal%2011", "ok ran"],
                      ["j verdict coherent", "j end", "env judge late", "ok ran"],
                      ["err 5 the%20judge%20ended%20before%20the%20race"]):
            with self.subTest(reply):
                got = self.run_it(*reply)
                self.assertEqual((got.verdict, got.outcome), ("broken", "broken"))

    def test_a_pass_is_earned(self) -> None:
        for idle in ("write", "look", "fault"):
            counts = [f"env {w} {0 if w == idle else 7}" for w in ("write", "look", "fault")]
            got = self.run_it("j verdict coherent", "j end", *counts, "env judge exit%200", "ok ran")
            self.assertEqual((got.verdict, got.outcome), ("inconclusive", "inconclusive"), idle)
            self.assertIn(f"not one {idle}", got.why)

    def test_a_race_that_ended_early_says_so(self) -> None:
        said: list[str] = []
        reply = ("j verdict coherent", "j end", "env ops 15", "env ops_per_s 10", "env seconds 1.500", "env dead EIO", "env write 5",
                 "env look 5", "env fault 5", "env judge exit%200", "ok ran")
        got = self.run_it(*reply, say=said.append)
        dead = "ended after 1.500 s: the filesystem takes no more changes (EIO)"
        self.assertEqual(got.detail, f"15 operations, 10 a second; {dead}")
        self.assertIn(f"6.1: {got.id}: {dead}", said)
        self.assertNotIn("ended", self.run_it(*(line for line in reply if "dead" not in line)).detail)

    def test_refused(self) -> None:
        self.machine.version = "6.12.1"
        got = self.run_it("ok refused EFAULT%20ibv_reg_mr", channel="store")
        self.assertEqual((got.resolution, got.errno, got.outcome), ("refused", "EFAULT", "differs"))
        self.race = race.Race(seed=4, record=True)  # there is none to keep
        self.run_it()
        self.assertFalse(self.kept("stream"))

    def test_hung_and_died(self) -> None:
        got = self.run_it("j verdict coherent", "j end", "env ops 9", "ok hung thread%201,%20in%20D%20folio_wait")
        self.assertEqual((got.verdict, got.resolution, got.outcome), ("hung", "hung", "differs"))
        self.assertTrue(self.kept("stream"))
        self.assertEqual(self.run_it("ok died 11").verdict, "broken")

    def test_fsck_after_a_race_is_its_own(self) -> None:
        self.machine.fsck_bad = lambda _: True
        got = self.run_it()
        self.assertEqual(([f["kind"] for f in got.findings], got.outcome), (["metadata"], "differs"))


if __name__ == "__main__":
    unittest.main()
