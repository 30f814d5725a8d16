# SPDX-License-Identifier: GPL-2.0
"""Batches, bisection, deaths and hangs, on a machine that breaks where it is told to."""

import json
import stat
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from .fake_machine import FakeMachine
from harness.runner import batch, native
from harness.runner.agent import FaultInfo
from harness.runner.errors import EnvironmentFailed
from harness.runner.execute import KernelRun, RunContext
from harness.runner.expect import Expectations, parse_rule
from harness.runner.fsconfig import FsConfig
from harness.runner.klog import KernelLog
from harness.runner.plan import Case, Sequence
from harness.runner.store import CaseResult, Store

JUDGE = """#!/bin/sh
[ "$1" = --stdin ] || exit 2
while read -r path; do
	echo "verdict coherent"; echo "resolution landed"; echo "checked 3"; echo "detail views $(grep -c view "$path")"
	echo end
done
"""
FAULTS = {"punch": FaultInfo("punch", "file-range", frozenset(), "")}


class Bench(unittest.TestCase):
    """A store, a judge and cases; no test of its own."""

    def setUp(self) -> None:
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        root = Path(self.dir.name)
        self.judge = root / "judge"
        self.judge.write_text(JUDGE)
        self.judge.chmod(self.judge.stat().st_mode | stat.S_IXUSR)
        (root / "job.fio").write_text("[global]\n")
        self.store = Store.create(root / "run", {"seed": 1, "planned": 0})
        self.said: list[str] = []
        sequence = Sequence("s", "file A 64K written\n", "s.seq", "t", files=("A",))
        self.context = RunContext(self.store, Expectations([]), KernelLog([]), {"s": sequence},
                                  {"xfs": FsConfig("xfs", "xfs"), "xfs-dax": FsConfig("xfs-dax", "xfs",
                                                                                      requires="pmem")},
                                  self.judge, root / "job.fio", 7, self.said.append, lambda _: None)
        self.patience, batch.PIN_PATIENCE_S = batch.PIN_PATIENCE_S, 0.05
        self.addCleanup(setattr, batch, "PIN_PATIENCE_S", self.patience)

    def cases(self, count: int, fs: str = "xfs", channel: str = "store", exclusive: bool = False) -> list[Case]:
        # Ids differ by the channel's variant here, so that many cases need but one sequence.
        return [Case("6.1", fs, f"{channel}", "s", nr, exclusive) if count == 1 else
                NumberedCase("6.1", fs, channel, "s", nr, exclusive) for nr in range(1, count + 1)]

    def run_it(self, machine: FakeMachine, cases: list[Case]) -> dict[int, object]:
        KernelRun(machine, self.context).run(cases)
        return {r.nr: r for r in self.store.results.values()}


class Kernels(Bench):
    def test_plain(self) -> None:
        machine = FakeMachine()
        got = self.run_it(machine, self.cases(5))
        self.assertEqual([r.outcome for r in got.values()], ["expected"] * 5)
        self.assertEqual({r.detail for r in got.values()}, {"views 1"})  # judged after the remount
        self.assertEqual((machine.boots, machine.mkfs), (1, 1))
        self.assertFalse(json.loads((self.store.case_dir(got[1].id) / "case.json").read_text())["exclusive"])

    def test_a_full_disk_under_the_image_is_no_finding(self) -> None:
        full = "critical space allocation error, dev {}, sector 547536 op 0x1:(WRITE) flags 0x800 phys_seg 1 prio class 2"
        for device, counted in (("fake", False), ("other", True)):
            for when in ("case", "fsck"):
                def answer(nr: int, machine: FakeMachine) -> str:
                    machine.kmsg = [full.format(device), f"EXT4-fs error (device {device}): x"] * (nr == 2 and when == "case")
                    return "ok ran"

                def bad(on_disk: set[int]) -> bool:
                    machine.kmsg = [full.format(device)] * (when == "fsck")
                    return 2 in on_disk and when == "fsck"
                machine = FakeMachine(answer, bad)
                with self.subTest(device=device, when=when):
                    self.store.results.clear()
                    if counted:
                        self.assertEqual(self.run_it(machine, self.cases(3))[2].outcome, "differs")
                        continue
                    with self.assertRaisesRegex(EnvironmentFailed, "^/dev/fake: the disk that its image lies on"):
                        self.run_it(machine, self.cases(3))
                    self.assertEqual(self.store.results, {})

    def test_a_full_disk_is_no_reason_to_be_not_covered(self) -> None:
        def fails(nr: int) -> bool:
            machine.kmsg = ["critical space allocation error, dev fake, sector 8 op 0x1:(WRITE)"]
            return True
        machine = FakeMachine()
        machine.mkfs_fails = fails
        with self.assertRaisesRegex(EnvironmentFailed, "^/dev/fake: the disk that its image lies on"):
            self.run_it(machine, self.cases(1))
        self.assertEqual(self.store.results, {})

    def test_a_machine_that_goes_down_on_a_full_disk_is_no_finding(self) -> None:
        for how in ("die", "silent"):
            with self.subTest(how), mock.patch.object(native, "is_full", return_value=True):
                with self.assertRaisesRegex(EnvironmentFailed, "the disk that its image lies on"):
                    self.run_it(FakeMachine(lambda nr, _: how if nr == 2 else "ok ran"), self.cases(3))
                self.assertEqual(self.store.results, {})

    def test_a_rule_may_ask_for_the_steps(self) -> None:
        rule = parse_rule("* xfs store s/*hold.*>punch.* unsupported landed,lost x", "f:1")
        for steps, expected in (("hold w1 A 0 4K\npunch A 0 4K\nland w1\n", "f:1"), ("punch A 0 4K\n", "")):
            with self.subTest(steps):
                self.context.expectations = Expectations([rule])
                text = "file A 64K written\npin A\n" + steps
                self.context.sequences["s"] = Sequence("s", text, "s.seq", "t", files=("A",))
                self.store.results.clear()
                self.assertEqual(self.run_it(FakeMachine(), self.cases(1))[1].expected["rule"], expected)

    def test_panic_costs_one_case(self) -> None:
        machine = FakeMachine(lambda nr, _: "die" if nr == 3 else "ok ran")
        got = self.run_it(machine, self.cases(5))
        self.assertEqual({n: r.verdict for n, r in got.items()},
                         {1: "coherent", 2: "coherent", 3: "crashed", 4: "coherent", 5: "coherent"})
        self.assertEqual(got[3].why, "Kernel panic - not syncing: test")
        self.assertEqual((got[3].kinds, got[2].kinds), (["kernel-fault"], []))
        self.assertEqual((got[3].outcome, machine.boots), ("differs", 2))
        self.assertEqual({r.detail for n, r in got.items() if n != 3}, {"views 1"})

    def test_a_warning_after_the_cases_is_laid_to_one(self) -> None:
        """A fresh machine for each half: however many, they are none that come to nothing."""
        machine = FakeMachine()
        sh = machine.do_sh

        def warns(words: list[str], keys: object) -> list[str]:
            machine.kmsg += ["WARNING: CPU: 0 PID: 7 at fs/dax.c:387 dax_one+0x1/0x2"] \
                * (words[1] == "xfs_repair" and 1 in machine.on_disk)
            return sh(words, keys)
        machine.do_sh = warns  # type: ignore[method-assign]
        got = self.run_it(machine, self.cases(64, exclusive=True))
        self.assertEqual([(n, r.findings[0]["kind"], r.outcome) for n, r in got.items() if r.findings],
                         [(1, "kernel-warning:dax_one", "differs")])
        self.assertEqual((len(got), machine.boots), (64, 8))

    def test_a_machine_without_its_page_of_zeros_is_good_for_nothing(self) -> None:
        def overwrite(nr: int, machine: FakeMachine) -> str:
            machine.no_zeros |= nr in (2, 3)
            return "ok ran"
        machine = FakeMachine(overwrite)
        got = self.run_it(machine, self.cases(4))
        self.assertEqual({n: (r.outcome, [f["kind"] for f in r.findings]) for n, r in got.items()},
                         {1: ("expected", []), 2: ("differs", ["zero-page"]), 3: ("differs", ["zero-page"]), 4: ("expected", [])})
        self.assertEqual((machine.boots, got[1].detail, got[4].detail), (3, "views 1", "views 1"))

    def test_nor_is_this_one(self) -> None:
        def overwrite(nr: int, machine: FakeMachine) -> str:
            machine.no_zeros |= nr == 2
            return "ok ran"
        machine = FakeMachine(overwrite)
        machine.guest = False
        with self.assertRaisesRegex(EnvironmentFailed, "page of zeros"):
            self.run_it(machine, self.cases(3))
        self.assertEqual(machine.ran, [1, 2])

    def test_silence_is_hung(self) -> None:
        got = self.run_it(FakeMachine(lambda nr, _: "silent" if nr == 2 else "ok ran"), self.cases(3))
        self.assertEqual([got[n].verdict for n in (1, 2, 3)], ["coherent", "hung", "coherent"])
        self.assertEqual(got[2].kinds, ["hang"])

    def test_running_at_the_deadline_is_tried_again(self) -> None:
        spins = {2: 1, 3: 9}  # once, and always

        def answer(nr: int, _: FakeMachine) -> str:
            spins[nr] = spins.get(nr, 0) - 1
            return "ok hung line%203,%20in%20R%20unknown" if spins[nr] >= 0 else "ok ran"

        machine = FakeMachine(answer)
        got = self.run_it(machine, self.cases(4))
        self.assertEqual([got[n].verdict for n in (1, 2, 3, 4)], ["coherent", "coherent", "hung", "coherent"])
        self.assertEqual(machine.boots, 3)

    def test_however_many_are_running_at_the_deadline(self) -> None:
        """Each takes two machines, and none of the first ones is one that came to nothing."""
        machine = FakeMachine(lambda nr, _: "ok hung line%203,%20in%20R%20unknown")
        got = self.run_it(machine, self.cases(9))
        self.assertEqual({n: (r.resolution, r.outcome) for n, r in got.items()}, {n: ("hung", "differs") for n in range(1, 10)})

    def test_running_at_the_deadline_as_a_rule_says(self) -> None:
        self.context.expectations = Expectations([parse_rule("* xfs store s bug hung:running,landed x", "f:1")])
        machine = FakeMachine(lambda nr, _: "ok hung line%203,%20in%20R%20running" if nr == 2 else "ok ran")
        got = self.run_it(machine, self.cases(3))
        self.assertEqual([got[n].verdict for n in (1, 2, 3)], ["coherent", "hung", "coherent"])
        self.assertEqual((got[2].outcome, machine.boots), ("expected", 1))

    def test_what_the_kernel_keeps_of_a_known_warning_is_no_news_of_the_next_case(self) -> None:
        """Case 1 is known for it, 3 meets what is left of that, 4 warns by itself, 5 of something else."""
        self.context.expectations = Expectations([parse_rule("* xfs store s bug landed,+kernel-warning:dax_one x", "f:1")])
        clean = Sequence("t", "file A 64K written\n", "t.seq", "t", files=("A",))
        self.context.sequences["t"] = clean
        text = "WARNING: CPU: 0 PID: 7 at fs/dax.c:387 dax_{}+0x1/0x2"

        def answer(nr: int, machine: FakeMachine) -> str:
            if nr == 4 or nr == 3 and 1 in machine.on_disk:
                machine.kmsg = [text.format("one")]
            if nr == 5:
                machine.kmsg = [text.format("two")]
            return "ok ran"
        machine = FakeMachine(answer)
        cases = [NumberedCase("6.1", "xfs", "store", "s" if nr == 1 else "t", nr, False) for nr in range(1, 7)]
        got = self.run_it(machine, cases)
        self.assertEqual({n: (r.outcome, [f["kind"] for f in r.findings]) for n, r in got.items()}, {
            1: ("expected", []), 2: ("expected", []), 3: ("expected", []), 4: ("differs", ["kernel-warning:dax_one"]),
            5: ("differs", ["kernel-warning:dax_two"]), 6: ("expected", [])})
        self.assertEqual(machine.ran.count(5), 1)
        self.assertEqual([(n["kind"], n["cases"], n["expected"]) for n in self.store.meta["notes"]],
                         [("kernel-warning:dax_one", [got[3].id], True)])

    def test_all_panic_ends(self) -> None:
        machine = FakeMachine(lambda nr, _: "die")
        got = self.run_it(machine, self.cases(9))
        self.assertEqual({r.verdict for r in got.values()}, {"crashed"})
        self.assertEqual(len(machine.ran), 9)

    def test_statuses(self) -> None:
        answers = {1: "ok skip no%20reflink", 2: "ok hung D%20wait", 3: "ok died 11", 4: "err 22 bad",
                   5: "ok stuck D"}
        got = self.run_it(FakeMachine(lambda nr, _: answers.get(nr, "ok ran")), self.cases(6))
        self.assertEqual({n: r.verdict for n, r in got.items()},
                         {1: "skipped", 2: "hung", 3: "broken", 4: "broken", 5: "hung", 6: "coherent"})
        self.assertEqual(got[1].why, "no reflink")

    def test_fsck_blames_the_one(self) -> None:
        machine = FakeMachine(fsck_bad=lambda on_disk: 4 in on_disk)
        got = self.run_it(machine, self.cases(7))
        self.assertEqual([n for n, r in got.items() if r.findings], [4])
        self.assertEqual(got[4].findings[0]["kind"], "metadata")
        self.assertEqual(got[4].outcome, "differs")
        self.assertEqual({r.outcome for n, r in got.items() if n != 4}, {"expected"})

    def test_fsck_that_one_is_expected_to_spoil(self) -> None:
        self.context.expectations = Expectations([parse_rule("* xfs * * unsupported landed,+metadata x", "f:1")])
        machine = FakeMachine(fsck_bad=lambda on_disk: 2 in on_disk)
        got = self.run_it(machine, self.cases(4))
        self.assertEqual({r.outcome for r in got.values()}, {"expected"})
        self.assertEqual([(n["kind"], n["expected"]) for n in self.store.meta["notes"]], [("metadata", True)])
        self.assertEqual(machine.mkfs, 1)

    def test_what_is_spoilt_is_not_the_next_batch_s(self) -> None:
        self.context.expectations = Expectations([parse_rule("* xfs * * unsupported landed,+metadata x", "f:1")])
        machine = FakeMachine(fsck_bad=lambda on_disk: 2 in on_disk)
        with mock.patch.object(batch, "BATCH_CASES", 2):
            self.run_it(machine, self.cases(4))
        self.assertEqual((len(self.store.meta["notes"]), machine.mkfs), (1, 2))

    def test_fsck_that_does_not_come_again_is_a_note(self) -> None:
        self.run_it(FakeMachine(fsck_bad=lambda on_disk: len(on_disk) >= 4), self.cases(4))
        self.assertEqual([n["kind"] for n in self.store.meta["notes"]], ["metadata"])

    def test_death_in_umount_blames_the_one(self) -> None:
        machine = FakeMachine()
        machine.umount_dies = lambda on_disk: 2 in on_disk
        got = self.run_it(machine, self.cases(4))
        self.assertEqual({n: r.verdict for n, r in got.items()},
                         {1: "coherent", 2: "crashed", 3: "coherent", 4: "coherent"})

    def test_an_umount_that_fails_blames_the_one_in_a_large_batch(self) -> None:
        """Five times by halves, each with a machine of its own, before a case is finished."""
        machine = FakeMachine()
        do_sh = machine.do_sh

        def sh(words: list[str], keys: dict[str, str]) -> list[str]:
            fails = "umount" in " ".join(words) and 1 in machine.on_disk
            return ["out Segmentation%20fault", "ok exit 1"] if fails else do_sh(words, keys)
        machine.do_sh = sh  # type: ignore[method-assign, assignment]
        got = self.run_it(machine, self.cases(32))
        self.assertEqual({n: [f["kind"] for f in r.findings] for n, r in got.items() if r.findings}, {1: ["umount"]})
        self.assertEqual(len(got), 32)

    def test_a_filesystem_that_cannot_be_had_again_ends_the_kernel(self) -> None:
        """What was found stands; the rest is not passed off as not covered."""
        machine = FakeMachine(fsck_bad=lambda on_disk: True)
        machine.mkfs_fails = lambda nr: nr > 1
        with self.assertRaisesRegex(EnvironmentFailed, "could be had before and cannot now"):
            self.run_it(machine, self.cases(4))
        self.assertNotIn("not-covered", {r.outcome for r in self.store.results.values()})

    def test_a_filesystem_that_cannot_be_had_at_all_is_not_covered(self) -> None:
        machine = FakeMachine()
        machine.mkfs_fails = lambda nr: True
        got = self.run_it(machine, self.cases(2))
        self.assertEqual({r.outcome for r in got.values()}, {"not-covered"})

    def test_exclusive_singly(self) -> None:
        machine = FakeMachine(fsck_bad=lambda on_disk: 2 in on_disk)
        got = self.run_it(machine, self.cases(3, exclusive=True))
        self.assertEqual([bool(got[n].findings) for n in (1, 2, 3)], [False, True, False])
        self.assertEqual([got[n].exclusive for n in (1, 2, 3)], [True] * 3)
        self.assertGreater(machine.mkfs, 1)

    def test_crash_is_viewed_at_once(self) -> None:
        cases = [NumberedCase("6.1", "xfs", "store", "s", nr, True, True) for nr in (1, 2, 3)]

        def crash(nr: int, machine: FakeMachine) -> str:
            machine.crashed = nr != 2  # the second never got as far as its crash
            return "ok ran"
        got = self.run_it(FakeMachine(crash), cases)
        self.assertEqual({n: r.detail for n, r in got.items()}, {1: "views 1", 2: "views 0", 3: "views 1"})

    def power(self, count: int, **more: bool) -> list[Case]:
        return [NumberedCase("6.1", "xfs", "store", "s", nr, power=True, **more) for nr in range(1, count + 1)]

    def history(self, result: CaseResult) -> list[str]:
        return (self.store.case_dir(result.id) / "history").read_text().splitlines()

    def test_one_power_cut_for_all(self) -> None:
        machine = FakeMachine(lambda nr, _: "ok ran" if nr == 2 else "ok power")
        later = [NumberedCase("6.1", "xfs", "store", "s", 9)]
        got = self.run_it(machine, self.power(3) + later)
        self.assertEqual((machine.cuts, machine.boots), (1, 2))
        # The second was refused before it came to that; 9 ran before all of them, and was remounted.
        self.assertEqual({n: r.detail for n, r in got.items()},
                         {1: "views 1", 2: "views 0", 3: "views 1", 9: "views 1"})
        self.assertEqual(self.history(got[1])[1:], [
            "inv 3 70 fault power-cut crash A",
            "effect 3 shown strict killed%20after%200.000%20s,%20booted%20again%20on%20the%20same%20disks",
            "end 70", "view crash"])
        self.assertEqual(machine.added, ["", "70", "70"])

    def test_after_a_power_cut_the_filesystem_is_made_anew(self) -> None:
        batch.POWER_CASES, before = 2, batch.POWER_CASES
        self.addCleanup(setattr, batch, "POWER_CASES", before)
        machine = FakeMachine(lambda nr, _: "ok power")
        self.run_it(machine, self.power(4))
        self.assertEqual((machine.cuts, machine.boots, machine.mkfs), (2, 3, 2))

    def test_late_lines_reach_their_case(self) -> None:
        def say(nr: int, machine: FakeMachine) -> str:
            machine.said_late += [f"{nr} inv%20{nr + 3}%20{nr + 90}%20write%20A%200%2064"]
            return "ok power"
        got = self.run_it(FakeMachine(say), self.power(2))
        for nr in (1, 2):
            self.assertIn(f"inv {nr + 3} {nr + 90} write A 0 64", self.history(got[nr]))
            self.assertIn(f"end {nr + 90}", self.history(got[nr]))

    def test_kernel_log_until_the_cut(self) -> None:
        def warn(nr: int, machine: FakeMachine) -> str:
            machine.said_late = [f"{nr} note%20a"]
            return "ok power"
        machine = FakeMachine(warn)
        watched = batch.FsRun._cut_power

        def cut(run: batch.FsRun, *args: object) -> None:
            machine.kmsg = ["WARNING: CPU: 0 PID: 1 at fs/dax.c:380"]
            watched(run, *args)  # type: ignore[arg-type]
        with mock.patch.object(batch.FsRun, "_cut_power", cut), mock.patch.object(batch, "BUSY_S", (0.01, 0.02)):
            got = self.run_it(machine, self.power(1, busy=True))
        self.assertEqual([f["kind"] for f in got[1].findings], ["kernel-warning"])

    def test_what_is_expected_of_the_log_excuses_nothing_else(self) -> None:
        self.context.expectations = Expectations([parse_rule("* xfs * * unsupported landed,+kernel-warning x", "f:1")])
        warning, error = "WARNING: CPU: 0 PID: 1 at fs/dax.c:380", "EXT4-fs error (device vda): x"
        umount = batch.FsRun._umount
        for said, outcome in (([warning], "expected"), ([warning, error], "differs")):
            with self.subTest(said):
                machine = FakeMachine()

                def late(run: batch.FsRun, fs: object, machine: FakeMachine = machine, said: list[str] = said) -> None:
                    machine.kmsg = said
                    umount(run, fs)  # type: ignore[arg-type]
                self.store.results.clear()
                with mock.patch.object(batch.FsRun, "_umount", late):
                    self.assertEqual(self.run_it(machine, self.cases(1))[1].outcome, outcome)

    def test_machine_that_does_not_come_back(self) -> None:
        machine = FakeMachine(lambda nr, _: "ok power")
        machine.dead_after_cut = True
        with self.assertRaisesRegex(EnvironmentFailed, "does not boot"):
            self.run_it(machine, self.power(2))
        self.assertEqual(self.store.results, {})

    def test_dead_before_the_power_is_cut_blames_the_one(self) -> None:
        machine = FakeMachine(lambda nr, _: "ok power")
        cut = machine.cut_power

        def cut_power() -> list[str]:
            machine.alive = machine.alive and 3 not in machine.on_disk
            return cut()
        machine.cut_power = cut_power  # type: ignore[method-assign]
        got = self.run_it(machine, self.power(4))
        self.assertEqual({n: r.verdict for n, r in got.items()},
                         {1: "coherent", 2: "coherent", 3: "crashed", 4: "coherent"})
        self.assertEqual(got[3].why, "Kernel panic - not syncing: test")

    def test_death_of_a_later_case_costs_no_earlier_one(self) -> None:
        machine = FakeMachine(lambda nr, _: "die" if nr == 2 else "ok power")
        got = self.run_it(machine, self.power(3))
        self.assertEqual({n: (r.verdict, r.detail) for n, r in got.items()},
                         {1: ("coherent", "views 1"), 2: ("crashed", ""), 3: ("coherent", "views 1")})

    def test_fsck_after_a_power_cut(self) -> None:
        got = self.run_it(FakeMachine(lambda nr, _: "ok power", lambda on_disk: 2 in on_disk), self.power(3))
        self.assertEqual([n for n, r in got.items() if r.findings], [2])

    def test_no_power_cut_where_nothing_is_left(self) -> None:
        for name, why in (("tmpfs", "nothing of tmpfs outlives its machine"), ("ext2", "ext2 has no log")):
            self.context.configs["xfs"] = FsConfig("xfs", name, requires="none")
            machine = FakeMachine(lambda nr, _: "ok power")
            got = self.run_it(machine, [NumberedCase("6.1", "xfs", "store", "s", 20 + len(name), power=True)])
            result = got[20 + len(name)]
            self.assertEqual((machine.cuts, result.outcome), (0, "not-covered"))
            self.assertIn(why, result.why)

    def test_who_shares_a_power_cut(self) -> None:
        self.context.sequences["spoil"] = Sequence("spoil", "", "s.seq", "t", verbs=("file", "sabotage-lost-flush"))
        run = batch.FsRun(KernelRun(FakeMachine(), self.context), self.context.configs["xfs"])
        self.context.sequences["all"] = Sequence("all", "", "s.seq", "t", verbs=("file", "syncfs", "power-cut"))
        cases = [NumberedCase("6.1", "xfs", "store", "s", 1, power=True, busy=True), *self.power(9)[1:],
                 NumberedCase("6.1", "xfs", "store", "all", 10, power=True),
                 Case("6.1", "xfs", "store", "spoil", 11, power=True)]
        cases += [NumberedCase("6.1", "xfs", "dio-read", "s", 12, power=True, busy=True)]
        alone, shared, *busy = [[c.nr for c in part] for part in run._parts(cases, batch.Mode.POWER)]
        self.assertEqual((alone, shared[0], sorted(busy)), ([11], 10, [[1], [12]]))
        self.assertEqual(sorted(shared[1:]), list(range(2, 10)))
        self.assertNotEqual(shared[1:], list(range(2, 10)))
        self.assertEqual(shared, [c.nr for c in run._parts(cases, batch.Mode.POWER)[1]])  # the seed's order

    def test_kernel_log(self) -> None:
        def warn(nr: int, machine: FakeMachine) -> str:
            machine.kmsg = ["WARNING: CPU: 0 PID: 1 at fs/dax.c:380"] if nr == 2 else ["harmless"]
            return "ok ran"
        got = self.run_it(FakeMachine(warn), self.cases(2))
        self.assertEqual([r.outcome for r in got.values()], ["expected", "differs"])
        self.assertEqual(got[2].findings[0]["severity"], "warning")
        self.assertTrue((self.store.case_dir(got[2].id) / "kernel.log").exists())

    def test_pin_leak(self) -> None:
        def leak(nr: int, machine: FakeMachine) -> str:
            machine.leak += nr == 2
            return "ok ran"
        got = self.run_it(FakeMachine(leak), self.cases(2))
        self.assertEqual([f["kind"] for f in got[2].findings], ["leaked-pin"])
        self.assertEqual(got[1].findings, [])

    def test_pin_leak_is_said_once(self) -> None:
        def leak(nr: int, machine: FakeMachine) -> str:
            machine.leak += {2: 3, 3: -1, 5: 1}.get(nr, 0)  # one goes again; the fifth leaks anew
            return "ok ran"
        got = self.run_it(FakeMachine(leak), self.cases(5))
        self.assertEqual({n: r.findings[0]["text"].split()[0] for n, r in got.items() if r.findings}, {2: "3", 5: "1"})

    def test_kernel_fault(self) -> None:
        def bug(nr: int, machine: FakeMachine) -> str:
            machine.kmsg = ["INFO: task x:1 blocked for more than 1 seconds."] if nr == 2 else []
            return "ok ran"
        got = self.run_it(FakeMachine(bug), self.cases(2))
        self.assertEqual([f["kind"] for f in got[2].findings], ["kernel-fault"])

    def test_unnoticed(self) -> None:
        machine = FakeMachine()
        machine.history_of = lambda nr: ["note mtime%204%20no%20x"] if nr == 1 else ["note mtime%204%20yes%20x"]
        got = self.run_it(machine, self.cases(2))
        self.assertEqual({n: [f["kind"] for f in r.findings] for n, r in got.items()}, {1: ["unnoticed"], 2: []})

    def test_unflushed(self) -> None:
        machine = FakeMachine()
        machine.history_of = lambda nr: [f"note flushed%204%20{'no' if nr == 1 else 'yes'}%20x"]
        got = self.run_it(machine, self.cases(2))
        self.assertEqual({n: [f["kind"] for f in r.findings] for n, r in got.items()}, {1: ["unflushed"], 2: []})

    def test_who_is_nothing_without_the_trace_of_flushes(self) -> None:
        """The executor is told; that there is none is a case not covered."""
        self.context.sequences["f"] = Sequence("f", "", "s.seq", "t", needs=frozenset({"flush-trace"}))
        machine = FakeMachine(lambda nr, _: "ok skip no%20trace%20of%20flushes:%20ENOENT" if nr == 2 else "ok ran")
        got = self.run_it(machine, [Case("6.1", "xfs", "store", "s", 1), Case("6.1", "xfs", "store", "f", 2)])
        self.assertEqual(machine.flushes, ["0", "1"])
        self.assertEqual((got[1].outcome, got[2].outcome, got[2].why),
                         ("expected", "not-covered", "no trace of flushes: ENOENT"))

    def test_metadata_is_damaged_between_umount_and_fsck(self) -> None:
        machine = FakeMachine(fsck_bad=lambda _: "xfs_db" in machine.commands)
        machine.history_of = lambda nr: ["inv 4 9 fault sabotage-metadata none A",
                                         "effect 4 shown strict inode%20131"] if nr == 1 else []
        got = self.run_it(machine, self.cases(1))
        self.assertEqual([f["kind"] for f in got[1].findings], ["metadata"])
        at = machine.commands.index("xfs_db")
        self.assertEqual(machine.commands[at - 1:at + 2], ["umount", "xfs_db", "xfs_repair"])

    def test_not_covered(self) -> None:
        got = self.run_it(FakeMachine(), self.cases(1, channel="rdma-odp"))
        self.assertEqual((got[1].outcome, got[1].why), ("not-covered", "rdma-odp: no device"))

    def test_no_pmem(self) -> None:
        got = self.run_it(FakeMachine(), self.cases(1, fs="xfs-dax"))
        self.assertEqual(got[1].outcome, "not-covered")
        self.assertIn("persistent memory", got[1].why)

    def test_judge_that_dies(self) -> None:
        self.judge.write_text("#!/bin/sh\nexit 3\n")
        got = self.run_it(FakeMachine(), self.cases(2))
        self.assertEqual({r.verdict for r in got.values()}, {"broken"})

    def test_no_boot(self) -> None:
        machine = FakeMachine()
        machine.do_hello = lambda *_: []  # type: ignore[method-assign]
        with self.assertRaisesRegex(EnvironmentFailed, "3 boots in a row"):
            KernelRun(machine, self.context).run(self.cases(2))

    def test_resume_runs_the_rest(self) -> None:
        cases = self.cases(4)
        self.run_it(FakeMachine(), cases[:2])
        self.store.write_run()
        self.store = self.context.store = Store.resume(self.store.folder)
        machine = FakeMachine()
        self.run_it(machine, cases)
        self.assertEqual((machine.ran, len(self.store.results)), ([3, 4], 4))


class NumberedCase(Case):
    """Many cases of one sequence."""

    @property
    def id(self) -> str:
        return f"{self.kernel}/{self.fs}/{self.channel}/{self.sequence}{self.nr}"


if __name__ == "__main__":
    unittest.main()
