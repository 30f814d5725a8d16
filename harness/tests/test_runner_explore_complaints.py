# SPDX-License-Identifier: GPL-2.0
"""Explorations on a machine whose kernel complains: which sequences that is laid to, and what it keeps of it."""

import itertools
import random
import unittest
from collections import Counter
from collections.abc import Callable
from unittest import mock

from .exploring import ALPHABET, Exploring, verbs_of
from .fake_machine import FakeMachine
from harness.runner import explore_attempt, explore_cell, explore_rules
from harness.runner.errors import EnvironmentFailed
from harness.runner.expect import Expectations, parse_rule


class Complaints(Exploring):
    def test_a_complaint_of_the_kernel_is_looked_for_once(self) -> None:
        """In sequences that no other explains, of which it is no news. The same about another inode is the same."""
        inode = itertools.count(257)

        def complain(text: str) -> str:
            if "evict" in text:
                self.machine.kmsg.append(f"BTRFS warning (device vda): csum failed root 5 ino {next(inode)} off 0")
            if "punch" in text:
                self.machine.kmsg.append("BTRFS error (device vda): bdev /dev/vda errs")
            return "coherent"
        self.machine.on_explore = complain
        for rule, want in (("none", 4), ("explore-*evict*", 1), ("explore-*", 1)):
            with self.subTest(rule=rule):
                self.setUp()
                self.machine.on_explore = complain
                self.context.expectations = Expectations([parse_rule(
                    f"* xfs dio-read {rule} unsupported landed,+checksum its reference", "x:1")])
                with mock.patch.object(explore_cell, "BATCH_ITEMS", 8):
                    cell = self.explore(2)
                found = Counter(f["kinds"][0] for f in [*cell["findings"], *cell["unconfirmed"]])
                self.assertEqual(found, {"checksum": want, "kernel-log": 4})

    def test_a_complaint_by_chance_is_looked_for_once_where_it_is_no_news(self) -> None:
        """Of any of the sequences: then no batch is redone for it again, and nothing is told."""
        at = itertools.count()

        def complain(text: str) -> str:
            if "evict" in text and len(self.machine.following) > 3:  # never alone
                self.machine.kmsg.append(f"BTRFS error (device vda): bdev /dev/vda errs {next(at)}")
            return "coherent"
        for rule, notes in (("explore-*", False), ("none", True)):
            with self.subTest(rule=rule), mock.patch.object(explore_cell, "BATCH_ITEMS", 20):
                self.setUp()
                self.machine.on_explore = complain
                self.context.expectations = Expectations([parse_rule(
                    f"* xfs dio-read {rule} unsupported landed,+kernel-log its reference", "x:1")])
                cell = self.explore()
                self.assertEqual((cell["ran"], bool(self.store.meta["notes"]), cell["unconfirmed"]), (73, notes, []))
                twice = {text for text, n in Counter(self.machine.explored).items() if n > 1}
                self.assertEqual(any(len(text.splitlines()) == 5 and "hold" not in text for text in twice), notes)

    def test_a_complaint_where_nearly_all_fail_by_themselves(self) -> None:
        """Which few do not is another each time: it is looked for by halves, not once without each of those."""
        luck, large = random.Random(5), [0]

        def complain(text: str) -> str:
            large[0] += len(self.machine.following) > 40
            if text.endswith("write A 0 4K\nevict A\nevict A\n"):
                self.machine.kmsg.append("BTRFS error (device vda): bdev /dev/vda errs")
            return "corrupt" if luck.random() < 0.95 else "coherent"
        self.machine.on_explore = complain
        cell = self.explore()
        found = [f for f in [*cell["findings"], *cell["unconfirmed"]] if "kernel-log" in f["kinds"]]
        self.assertEqual([verbs_of(f) for f in found], [["write", "evict", "evict"]])
        self.assertLess(large[0], 2 * cell["ran"])

    def test_what_leads_to_too_much_is_not_looked_for_for_ever(self) -> None:
        def complain(text: str) -> str:
            self.machine.kmsg.append("BTRFS error (device vda): bdev /dev/vda errs")
            return "coherent"
        self.machine.on_explore = complain
        with mock.patch.object(explore_rules, "BLAMED_PER_COMPLAINT", 2), mock.patch.object(explore_cell, "BATCH_ITEMS", 1):
            cell = self.explore(2)
        self.assertEqual(sum("kernel-log" in f["kinds"] for f in cell["unconfirmed"]), 2)
        self.assertEqual([why for why in cell["set_aside"] if "more than 2 kinds of steps" in why], cell["set_aside"])
        self.assertTrue(cell["set_aside"])

    def test_a_known_complaint_does_not_hide_what_else_leads_to_it(self) -> None:
        """Known of one, with a rule. Of another, for which there is none, it is news."""
        def complain(text: str) -> str:
            if "evict A" in text or "punch A" in text:
                self.machine.kmsg.append("WARNING: CPU: 0 PID: 7 at fs/dax.c:387 dax_one+0x1/0x2")
            return "coherent"
        self.complains(complain)
        self.context.expectations = Expectations([parse_rule(
            "* xfs dio-read explore-*punch* bug landed,+kernel-warning:dax_one its reference", "x:1")])
        for batch, blamed in ((1, 30), (4000, 30), (1, 1)):  # what is expected of one is not what is told of another
            with self.subTest(batch=batch, blamed=blamed), mock.patch.object(explore_cell, "BATCH_ITEMS", batch), \
                    mock.patch.object(explore_rules, "BLAMED_PER_COMPLAINT", blamed):
                self.store.folder = self.store.folder.parent / f"batch{batch}-{blamed}"
                cell = self.explore(2)
                told = {(f["outcome"], "evict" in verbs_of(f), "punch" in verbs_of(f)) for f in cell["findings"]}
                self.assertEqual({t for t in told if t[1] != t[2]}, {("expected", False, True), ("differs", True, False)})

    def test_what_is_heard_beside_a_sequence_need_not_be_looked_for(self) -> None:
        """Those that were under way are run one at a time; and the others, among which nobody is told from anybody."""
        def complain(text: str) -> str:
            if "punch A" in text.partition("evict A")[2] or text.endswith("land w1\nevict A\n"):
                self.machine.kmsg.append("WARNING: CPU: 0 PID: 7 at fs/dax.c:387 dax_one+0x1/0x2")
            return "coherent"
        told, disks = [], []
        for hears in (False, True):
            self.setUp()
            self.machine.hears = hears
            self.complains(complain)
            cell = self.explore()
            told.append([(f["text"], f["kinds"], f["outcome"]) for f in cell["findings"]])
            disks.append(self.machine.mkfs)
            self.assertEqual((cell["ran"], self.store.meta["notes"], cell["unconfirmed"], cell["set_aside"]), (73, [], [], []))
        self.assertEqual(told[0], told[1])
        self.assertGreater(len(told[1]), 2)
        self.assertLess(2 * disks[1], disks[0])

    def test_a_complaint_that_is_heard_beside_another_sequence(self) -> None:
        """The one that leads to it is through by then: found all the same, and the others are not tried one by one for ever."""
        late: list[int] = []  # after how many more

        def complain(text: str) -> str:
            late[:] = [n - 1 for n in late]
            if 0 in late:
                late.remove(0)
                self.machine.kmsg.append("BTRFS error (device vda): bdev /dev/vda errs")
            late.extend([9] * ("write A 0 4K\npunch A 0 4K\nevict A" in text))
            return "coherent"

        def at_the_end(explored: Callable[[object, dict[str, str]], list[str]]) -> Callable[[object, dict[str, str]], list[str]]:
            def also(words: object, keys: dict[str, str]) -> list[str]:
                lines = explored(words, keys)
                self.machine.kmsg += ["BTRFS error (device vda): bdev /dev/vda errs"] * len(late)
                late.clear()
                return lines
            return also
        disks = []
        for hears in (False, True):
            self.setUp()
            self.machine.hears = hears
            self.machine.on_explore = complain
            self.machine.do_explore = at_the_end(self.machine.do_explore)  # type: ignore[method-assign]
            cell = self.explore()
            disks.append(self.machine.mkfs)
            found = [f for f in [*cell["findings"], *cell["unconfirmed"]] if f["kinds"] == ["kernel-log"]]
            self.assertTrue(found)
            self.assertEqual([f["text"] for f in found if "punch A 0 4K\nevict A" not in f["text"]], [])
        self.assertLessEqual(disks[1], disks[0] + 2)

    def keeps(self, warns: Callable[[str], bool], spoils: Callable[[str], bool]) -> None:
        """What warns leads to a warning; what spoils makes all that follow warn, until the machine is booted again."""
        spoiled = [0]

        def complain(text: str) -> str:
            if warns(text) or spoiled[-1] == self.machine.boots:
                self.machine.kmsg.append("WARNING: CPU: 0 PID: 7 at fs/dax.c:387 dax_one+0x1/0x2")
            if spoils(text):
                spoiled.append(self.machine.boots)
            return "coherent"
        self.complains(complain)
        self.context.expectations = Expectations([parse_rule(
            "* xfs dio-read explore-*punch* bug landed,+kernel-warning:dax_one its reference", "x:1")])

    def test_what_the_kernel_keeps_of_a_warning_is_not_the_next_filesystem(self) -> None:
        def punches(text: str) -> bool:
            return "punch A" in text

        def punches_and_evicts(text: str) -> bool:
            return punches(text) and "evict A" in text
        for warns in (punches, punches_and_evicts):  # the others of those spoil it without a word
            with self.subTest(warns=warns), mock.patch.object(explore_cell, "BATCH_ITEMS", 20):
                self.setUp()
                self.keeps(warns, punches)
                cell = self.explore()
                self.assertEqual((self.store.meta["notes"], cell["unconfirmed"], cell["ran"]), ([], [], 73))
                self.assertLessEqual({f["outcome"] for f in cell["findings"]}, {"expected"})
                self.assertEqual({why.partition("; ")[2] for why in cell["set_aside"]} - {"something that ran is known for it)"}, set())
                self.assertEqual(bool(cell["set_aside"]), warns is punches_and_evicts)

    def test_what_the_kernel_keeps_of_no_known_warning_is_told(self) -> None:
        self.keeps(lambda text: False, lambda text: "punch A" in text)
        self.context.expectations = Expectations([])
        with mock.patch.object(explore_cell, "BATCH_ITEMS", 1):
            cell = self.explore(2)
        self.assertEqual((cell["findings"], cell["unconfirmed"], cell["set_aside"]), ([], [], []))
        self.assertIn("not seen again in a fresh machine", self.store.meta["notes"][0]["text"])

    def test_another_warning_is_another_finding(self) -> None:
        """Also where the sequence has the steps of one that warns, and failed by itself."""
        def complain(text: str) -> None:
            if "evict A" in text:
                self.machine.kmsg.append("WARNING: CPU: 0 PID: 7 at fs/dax.c:387 dax_one+0x1/0x2")
            if "punch A" in text.partition("evict A")[2]:
                self.machine.kmsg.append("WARNING: CPU: 0 PID: 7 at fs/dax.c:400 dax_two+0x1/0x2")
        self.breaks(lambda text: "evict A" in text)
        self.complains(complain)
        cell = self.explore()
        told = {kind: verbs_of(f) for f in reversed(cell["findings"]) for kind in f["kinds"]
                if f["family"] == "kernel-log" and kind.startswith("kernel-warning")}
        self.assertEqual(set(told), {"kernel-warning:dax_one", "kernel-warning:dax_two"})
        self.assertIn("punch", told["kernel-warning:dax_two"])
        self.assertNotIn("punch", told["kernel-warning:dax_one"])

    def test_what_overwrites_the_page_of_zeros_is_found(self) -> None:
        """Whatever is known of it: a machine without that page says nothing of the others."""
        def overwrite(text: str) -> str:
            self.machine.no_zeros |= "punch A 0 4K\nwrite" in text
            return "coherent"

        def again(nr: int, machine: FakeMachine) -> str:  # a repeat
            machine.no_zeros = True
            return "ok ran"
        for rule, outcome, hears in (("none", "differs", False), ("none", "differs", True), ("explore-*", "expected", True)):
            with self.subTest(rule=rule, hears=hears):
                self.setUp()
                self.machine.on_explore, self.machine.on_case, self.machine.hears = overwrite, again, hears
                self.context.expectations = Expectations([parse_rule(f"* xfs dio-read {rule} bug landed,+zero-page x", "x:1")])
                cell = self.explore()
                self.assertEqual([(verbs_of(f), f["family"], f["kinds"], f["shown"], f["under"], f["outcome"])
                                  for f in cell["findings"]],
                                 [(["punch", "write"], "zero-page", ["zero-page"], 3, 9, outcome)])

    def test_a_filesystem_that_gives_up_between_two_chunks(self) -> None:
        """It takes no directory any more. What led to it is found, in a batch of its own; without a word of the kernel's it is ours."""
        explored, gave_up = self.machine.do_explore, [0]

        def readonly(words: object, keys: dict[str, str]) -> list[str]:
            return ["err 30 mkdir"] if gave_up[-1] == self.machine.mkfs else explored(words, keys)

        def complain(text: str) -> str:
            if "punch A 0 4K\nevict A" in text:
                gave_up.append(self.machine.mkfs)
                self.machine.kmsg += ["BTRFS: error (device vda state A) in btrfs_one:3: errno=-2 No such entry"] * says
            return "coherent"
        for says in (1, 0):
            with self.subTest(says=says), mock.patch.object(explore_attempt, "CHUNK_ITEMS", 5):
                self.setUp()
                explored = self.machine.do_explore
                self.machine.do_explore, self.machine.on_explore = readonly, complain  # type: ignore[method-assign]
                if not says:
                    self.assertRaisesRegex(EnvironmentFailed, "6.1/xfs/dio-read: executor: mkdir: EROFS", self.explore)
                    continue
                cell = self.explore()
                found = [f for f in [*cell["findings"], *cell["unconfirmed"]] if f["kinds"] == ["aborted:btrfs_one"]]
                self.assertEqual((cell["ran"], bool(found)), (73, True))
                self.assertEqual([f["text"] for f in found if "punch A 0 4K\nevict A" not in f["text"]], [])

    def test_an_oops_is_always_looked_for(self) -> None:
        """The line that is graded is the same wherever it was."""
        def complain(text: str) -> str:
            if "evict" in text or "punch" in text:
                self.machine.kmsg.append("BUG: kernel NULL pointer dereference, address: 0000000000000000")
            return "coherent"
        self.machine.on_explore = complain
        cell = self.explore()
        found = [f for f in [*cell["findings"], *cell["unconfirmed"]] if f["kinds"] == ["kernel-fault"]]
        verbs = {v for f in found for v, _ in f["steps"]}
        self.assertLessEqual({"evict", "punch"}, verbs)

    def test_an_expected_finding_excuses_only_what_is_expected(self) -> None:
        """The same warning in the same steps with another offset, for which there is no rule."""
        def complain(text: str) -> str:
            if "punch A" in text:
                self.machine.kmsg.append("WARNING: CPU: 0 PID: 7 at fs/dax.c:387 dax_one+0x1/0x2")
            return "coherent"
        self.complains(complain)
        self.context.expectations = Expectations([parse_rule(
            "* xfs dio-read explore-*/*punch.A.0.4K* bug landed,+kernel-warning:dax_one its reference", "x:1")])
        with mock.patch("harness.tests.exploring.ALPHABET", ALPHABET.replace("punch A 0 4K", "punch A 0,4K 4K")), \
                mock.patch.object(explore_cell, "BATCH_ITEMS", 1):
            cell = self.explore(2)
        outcomes = {f["text"].partition("pin A\n")[2]: f["outcome"] for f in cell["findings"]}
        self.assertEqual(outcomes["write A 0 4K\npunch A 0 4K\n"], "expected")
        self.assertEqual(outcomes.get("write A 0 4K\npunch A 4K 4K\n"), "differs")


if __name__ == "__main__":
    unittest.main()
