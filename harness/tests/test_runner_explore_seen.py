# SPDX-License-Identifier: GPL-2.0
"""What an exploration saw and could not lay to a sequence, or not at once: it is told, and only where it is news."""

import itertools
import json
import re
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

from .exploring import ALPHABET, HANG_S, Timed, verbs_of
from harness.runner import explore_attempt, explore_cell
from harness.runner.errors import EXIT_DIFFERS, EXIT_EXPECTED
from harness.runner.explore import ExploreKernel
from harness.runner.expect import Expectations, parse_rule

WARNING = "WARNING: CPU: 0 PID: 7 at fs/dax.c:387 dax_one+0x1/0x2"


class Seen(Timed):
    def rule(self, sequences: str, resolutions: str) -> None:
        self.context.expectations = Expectations([parse_rule(f"* xfs dio-read {sequences} bug {resolutions} ref", "x:1")])

    def hangs_in(self, where: str) -> None:
        """A step between a hold and its landing hangs."""
        self.hang()
        explored, case = self.machine.do_explore, self.machine.do_case
        self.machine.do_explore = lambda words, keys: [  # type: ignore[method-assign]
            line.replace("D somewhere", where.replace(" ", "%20")) for line in explored(words, keys)]
        self.machine.do_case = lambda words, keys: [  # type: ignore[method-assign]
            line.replace("D%20x", "line%202,%20in%20" + where.partition(":")[0].replace(" ", "%20"))
            for line in case(words, keys)]

    def test_where_a_hang_that_is_only_seen_sleeps(self) -> None:
        """However much is known of the functions around it."""
        for where, rule in (("R running: no stack", "hung:running"), ("D x: x", "hung:x"), ("D x: x < y", "hung:x")):
            with self.subTest(where=where):
                self.fresh()
                self.rule("explore-*/*hold.*>*>land.*", "landed," + rule)
                self.hangs_in(where)
                cell = self.explore(2, until=self.clock.now + 30)
                self.assertEqual([f["outcome"] for f in cell["seen"]], ["expected"])
                cell = self.explore(2)
                self.assertEqual([f["outcome"] for f in cell["findings"]], ["expected"])

    def test_what_waits_for_a_hang_is_not_begun_again_and_again(self) -> None:
        """There is time for more sequences, and not for that hang."""
        saved = mock.Mock(side_effect=[None] * 10 + [AssertionError("for ever")])
        with mock.patch("harness.tests.exploring.ALPHABET", ALPHABET.replace("punch A 0 4K", "punch A 0,4K,8K 4K")):
            self.breaks(lambda text: self.in_hold(text, "punch"), "hung")
            self.takes(lambda text: 0.01)
            with mock.patch.object(ExploreKernel, "tell", lambda kernel, run: saved() or kernel.tell_cell(run.cell, run)):
                cell = self.explore(until=self.clock.now + HANG_S + 5)
            self.assertEqual((len(cell["seen"]), cell["left"] > 0, cell["finished"]), (1, True, False))
            self.assertTrue(self.explore()["finished"])

    def warns(self, when: Callable[[str], bool]) -> None:
        """One second a sequence."""
        case = self.machine.do_case

        def complain(text: str) -> str:
            self.machine.kmsg += [WARNING] * when(text)
            return "coherent"

        def with_message(words: object, keys: dict[str, str]) -> list[str]:
            complain(keys["seq"])
            return case(words, keys)
        self.machine.on_explore, self.machine.do_case = complain, with_message  # type: ignore[method-assign]
        self.takes(lambda text: 1.0)

    def stops(self, budget_s: float) -> list[dict[str, Any]]:
        """The cell each time that its time was over, and at its end; with the exit code."""
        out: list[dict[str, Any]] = []
        while not out or not out[-1]["finished"]:
            cell = self.explore(until=self.clock.now + budget_s)
            out.append({**json.loads(json.dumps(cell)), "code": self.code()})
        return out

    @mock.patch.object(explore_cell, "BATCH_ITEMS", 20)
    def test_what_is_expected_of_some_of_a_batch_is_no_news_of_it(self) -> None:
        """Whenever the time is over, and for who goes on; also where it shows in one of three only."""
        told = set()
        for budget_s in (14, 20, 24, 27, 30, 36):
            for one_of in (1, 3):
                with self.subTest(budget_s=budget_s, one_of=one_of):
                    self.fresh()
                    self.rule("explore-*punch*", "landed,+kernel-warning:dax_one")
                    at = itertools.count()
                    self.warns(lambda text: "punch A" in text and not next(at) % one_of)
                    stops = self.stops(budget_s)
                    self.assertEqual(({s["code"] for s in stops}, self.store.meta["notes"]), ({EXIT_EXPECTED}, []))
                    told |= {u["outcome"] for s in stops for u in s["unlaid"]}
        self.assertEqual(told, {"inconclusive"})

    def test_what_is_expected_of_some_is_seen_again_of_those(self) -> None:
        """Never of one alone."""
        self.rule("explore-*punch*", "landed,+kernel-warning:dax_one")
        self.warns(lambda text: "punch A" in text and len(self.machine.following) > 3)
        cell = self.explore()
        self.assertEqual((self.code(), self.store.meta["notes"], cell["set_aside"]), (EXIT_EXPECTED, [], []))

    def test_what_is_expected_of_some_and_not_seen_again_is_told(self) -> None:
        """It may have been one of the others."""
        self.rule("explore-*punch*", "landed,+kernel-warning:dax_one")
        at = itertools.count(1)
        self.warns(lambda text: "evict A" in text and next(at) == 1)
        cell = self.explore()
        self.assertEqual((self.code(), len(cell["set_aside"])), (EXIT_EXPECTED, 1))
        self.assertRegex(cell["set_aside"][0], "^kernel-warning:dax_one[:,].*" + re.escape(WARNING))

    def test_what_one_is_laid_to_a_sequence_another_is_not(self) -> None:
        """A machine that went down once is told whatever else is found of the same sequences, then or by who goes on."""
        unlaid = set()
        for budget_s in (None, *range(8, 30, 2)):
            with self.subTest(budget_s=budget_s):
                self.fresh()
                self.rule("explore-*", "landed,hung:x,hung:somewhere")
                self.breaks(lambda text: self.in_hold(text, "punch"), "hung")
                hangs, died = self.machine.on_explore, []

                def dies(text: str) -> str:
                    if self.in_hold(text, "evict") and not died:
                        died.append(text)
                        return "die"
                    return hangs(text) if died else "coherent"
                self.machine.on_explore = dies
                self.takes(lambda text: 1.0)
                if budget_s:
                    unlaid |= {u["kind"] for s in self.stops(budget_s) for u in s["unlaid"]}
                else:
                    self.explore()
                self.assertEqual([n["kind"] for n in self.store.meta["notes"]], ["crash"])
                self.assertEqual(self.code(), EXIT_DIFFERS)
        self.assertEqual(unlaid, {"crash"})

    def test_what_the_repeats_of_a_finding_show_beside_it(self) -> None:
        """As a whole, and there is no time to look for which of them it was."""
        for budget_s in (26, 28, 50):
            with self.subTest(budget_s=budget_s):
                self.fresh()
                self.rule("explore-*/*hold.*>*>land.*", "landed,lost")
                self.breaks(lambda text: self.in_hold(text, "punch"))
                case, ran = self.machine.do_case, []

                def repeated(words: object, keys: dict[str, str]) -> list[str]:
                    ran.append(int(keys["nr"]))
                    return case(words, keys)
                self.machine.do_case = repeated  # type: ignore[method-assign]
                self.machine.fsck_bad = lambda disk: len(disk & set(ran)) == 3
                self.takes(lambda text: 1.0)
                cell = self.explore(2, until=self.clock.now + budget_s)
                self.assertEqual({f["outcome"] for key in ("findings", "seen") for f in cell[key]}, {"expected"})
                self.assertEqual(({n["kind"] for n in self.store.meta["notes"]}, self.code()), ({"metadata"}, EXIT_DIFFERS))

    def test_what_was_lost_before_a_hang_is_told(self) -> None:
        """Also where the rest of the batch is run again and does not lose it."""
        self.breaks(lambda text: self.in_hold(text, "evict"), "hung")
        hangs, lost = self.machine.on_explore, []

        def loses(text: str) -> str:
            if self.in_hold(text, "punch") and not lost:
                lost.append(text)
                return "corrupt"
            return hangs(text)
        self.machine.on_explore = loses
        self.takes(lambda text: 1.0)
        with mock.patch.object(explore_attempt, "CHUNK_ITEMS", 2):
            cell = self.explore()
        self.assertEqual([(f["family"], verbs_of(f), f["shown"]) for f in [*cell["findings"], *cell["unconfirmed"]]],
                         [("hang", ["hold", "evict"], 1), ("data", ["hold", "punch"], 0)])

    def test_a_boot_that_is_to_come_is_counted(self) -> None:
        """Of a kernel that warns in each batch, which is expected of it."""
        for budget_s in (60, 78, 87, 130):
            with self.subTest(budget_s=budget_s), mock.patch.object(explore_cell, "BATCH_ITEMS", 10):
                self.fresh()
                self.rule("explore-*", "landed,+kernel-warning:dax_one")
                self.warns(lambda text: True)
                machine, start, began = self.machine, self.machine.start, self.clock.now
                machine.boot_s = 20.0

                def boots(same_disks: bool = False) -> None:
                    self.clock.now += machine.boot_s
                    start(same_disks)
                machine.start = boots  # type: ignore[method-assign]
                self.explore(until=began + budget_s)
                self.assertLessEqual(self.clock.now, began + budget_s)


if __name__ == "__main__":
    unittest.main()
