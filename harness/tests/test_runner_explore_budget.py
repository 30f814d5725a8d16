# SPDX-License-Identifier: GPL-2.0
"""Explorations that run out of time, by a clock of their own: how far over the budget, what is told, and that who goes
on comes to the same as who had all the time."""

import json
import unittest
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest import mock

from .exploring import ALPHABET, HANG_S, Timed, verbs_of
from harness.runner import cli, explore, explore_attempt, explore_report, store
from harness.runner.agent import decode
from harness.runner.errors import EXIT_BROKEN, EXIT_DIFFERS, EXIT_EXPECTED, UsageError
from harness.runner.expect import Expectations, parse_rule
from harness.runner.explore import Explore, ExploreKernel, part_of
from harness.runner.explore_state import Cell, load_progress

OF_THE_RUN = ("ran", "coherent", "idle", "refused", "resolutions", "inconclusive", "skipped", "set_aside", "depth_done",
              "finished", "left", "seen", "unlaid")


class Budget(Timed):
    def goes_on(self, budget_s: float, prepare: Callable[[], None]) -> list[dict[str, Any]]:
        """With so much at a time, to the end, which must be that of a run without a budget. Returns the cell as it was
        each time it stopped."""
        self.fresh()
        prepare()
        whole = self.explore()
        every = Counter(self.machine.explored)
        self.fresh()
        prepare()
        stops: list[dict[str, Any]] = []
        for _ in range(40):
            began = self.clock.now
            cell = self.explore(until=began + budget_s)
            if cell["finished"]:
                break
            stops.append(json.loads(json.dumps(cell)))
            load_progress(self.store.folder / "explore/6.1/xfs/dio-read/state.json")
        self.assertTrue(stops)
        self.assertEqual({k: cell[k] for k in OF_THE_RUN}, {k: whole[k] for k in OF_THE_RUN})
        for key in ("findings", "unconfirmed"):
            for f in [*cell[key], *whole[key]]:
                f["cases"] = []
            self.assertEqual(cell[key], whole[key])
        self.assertEqual(set(self.machine.explored), set(every))
        return stops

    # --- sequences --------------------------------------------------------------------------

    def test_a_batch_is_as_large_as_there_is_time_for(self) -> None:
        for also in (0.0, 3.0):
            with self.subTest(also=also):
                self.fresh()
                self.takes(lambda text: 1.0, also)
                began = self.clock.now
                cell = self.explore(until=began + 40)
                self.assertLessEqual(self.clock.now, began + 40)
                self.assertTrue(20 < cell["ran"] <= 40)
                self.assertFalse(cell["finished"])
                self.assertEqual(max(Counter(self.machine.explored).values()), 1)

    def test_a_batch_that_turns_out_slow_is_stopped(self) -> None:
        """Between two chunks, with what there is of it checked; the rest is not run and not lost."""
        self.takes(lambda text: 4.0 if len(self.machine.explored) > 15 else 1.0)
        began = self.clock.now
        cell = self.explore(until=began + 60)
        self.assertLessEqual(self.clock.now, began + 60 + 4)
        self.assertEqual((cell["finished"], cell["left"] > 0), (False, True))
        self.assertEqual(cell["coherent"], cell["ran"])
        self.assertEqual(cell["looked_after_remount"], cell["ran"])
        self.assertEqual(len(self.machine.explored), cell["ran"])
        self.explore()
        self.assertEqual(Counter(Counter(self.machine.explored).values()), {1: 73})

    def test_who_goes_on_runs_what_was_left(self) -> None:
        self.goes_on(15, lambda: self.takes(lambda text: 4.0 if len(text.splitlines()) > 4 else 1.0))

    def test_without_a_budget_nothing_is_cut(self) -> None:
        self.takes(lambda text: 1000.0)
        self.assertTrue(self.explore()["finished"])
        self.assertEqual(len(self.machine.chunks), 3)

    # --- what is seen -----------------------------------------------------------------------

    def damage(self) -> None:
        """fsck complains."""
        numbers: dict[int, str] = {}
        self.takes(lambda text: 1.0)
        do_explore, do_case = self.machine.do_explore, self.machine.do_case

        def explored(words: object, keys: dict[str, str]) -> list[str]:
            numbers.update({int(r.split(" ")[1]): decode(r) for r in self.machine.following if r.startswith("seq ")})
            return do_explore(words, keys)

        def case(words: object, keys: dict[str, str]) -> list[str]:
            numbers[int(keys["nr"])] = keys["seq"]
            return do_case(words, keys)
        self.machine.do_explore, self.machine.do_case = explored, case  # type: ignore[method-assign]
        self.machine.fsck_bad = lambda disk: any(self.in_hold(numbers.get(n, ""), "evict") for n in disk)

    def report(self, cell: dict[str, Any], code: int = EXIT_DIFFERS) -> str:
        self.store.meta["explore"]["cells"] = {"6.1/xfs/dio-read": cell}
        self.assertEqual(self.code(), code)
        return explore_report.render(self.store.meta, [], "x y")

    def test_what_there_is_no_time_to_repeat_is_seen_and_not_confirmed(self) -> None:
        cell = self.goes_on(5, self.lose)[0]
        self.assertEqual([(verbs_of(f), f["shown"], f["tries"]) for f in cell["findings"]], [(["hold", "punch"], 3, 3)])
        self.assertEqual([(verbs_of(f), f["shown"], f["tries"], f["outcome"]) for f in cell["seen"]],
                         [(["hold", "evict"], 0, 0, "differs")])
        cell["findings"] = []
        out = self.report(cell)
        section = out.partition("seen, not confirmed: budget over\n")[2]
        self.assertIn("1. lost-write: hold evict (guaranteed; differs)", section)
        self.assertIn("shown   in no repeats; 1 sequences fell under it", section)
        self.assertIn("1 thing seen and not confirmed; ./run.sh explore --resume 'x y' --budget TIME goes on", out)
        self.assertIn("0 findings (0 not as expected)", out)

    def test_of_a_hang_that_is_not_confirmed_nothing_is_concluded(self) -> None:
        """What contains it is not run, nor left out; here the same with another offset."""
        with mock.patch("harness.tests.exploring.ALPHABET", ALPHABET.replace("punch A 0 4K", "punch A 0,4K,8K 4K")):
            cell = self.goes_on(30, self.hang)[0]
        self.assertEqual((cell["findings"], cell["unconfirmed"]), ([], []))
        self.assertEqual([(f["family"], verbs_of(f), f["outcome"], f["under"], f["unseen"]) for f in cell["seen"]],
                         [("hang", ["hold", "punch"], "differs", 1, 0)])
        self.assertGreater(cell["left"], 0)
        self.assertIn("1. hang: hold punch", self.report(cell).partition("seen, not confirmed")[2])

    def test_what_a_batch_has_shown_that_came_to_nothing_is_kept(self) -> None:
        def lose_and_hang() -> None:
            self.lose()
            losing = self.machine.do_case
            self.breaks(lambda text: self.in_hold(text, "evict"), "hung")
            hanging = self.machine.do_case
            self.machine.on_explore = lambda text: ("hung" if self.in_hold(text, "evict") else "corrupt" if
                                                    self.in_hold(text, "punch") else "coherent")
            self.machine.do_case = lambda words, keys: (  # type: ignore[method-assign]
                hanging if self.in_hold(keys["seq"], "evict") else losing)(words, keys)
        with mock.patch.object(explore_attempt, "CHUNK_ITEMS", 2):
            stops = self.goes_on(30, lose_and_hang)
        self.assertEqual({f["family"] for f in stops[0]["seen"]}, {"data", "hang"})

    def test_a_hang_in_a_repeat_is_not_begun_again(self) -> None:
        """One that spins gets another try in a fresh machine, when there is time for that."""
        self.hang()
        hanging = self.machine.do_case

        def spins(words: object, keys: dict[str, str]) -> list[str]:
            lines = hanging(words, keys)
            return [*lines[:-1], lines[-1].replace("D%20x", "line%202,%20in%20R%20running")]
        self.machine.do_case = spins  # type: ignore[method-assign]
        began = self.clock.now
        cell = self.explore(until=began + 100)
        self.assertLess(self.clock.now, began + 100 + HANG_S)
        self.assertEqual((len(self.machine.ran), len(cell["seen"]), self.store.results), (1, 1, {}))
        cell = self.explore(2)
        self.assertEqual([(f["family"], f["shown"], f["tries"]) for f in cell["findings"]], [("hang", 1, 1)])

    def test_what_is_expected_is_so_before_it_is_confirmed(self) -> None:
        rule = "* xfs dio-read explore-*/*hold.*>*>land.* unsupported lost,hung:somewhere,hung:x its reference"
        self.context.expectations = Expectations([parse_rule(rule, "x:1")])
        for prepare, budget_s in ((self.lose, 5), (self.hang, 30)):
            cell = self.goes_on(budget_s, prepare)[0]
            self.assertEqual({f["outcome"] for f in cell["seen"]}, {"expected"})
            self.report(cell, EXIT_EXPECTED)

    def test_a_complaint_of_a_batch_that_there_is_no_time_to_look_for(self) -> None:
        cell = next(c for c in self.goes_on(20, self.damage) if c["unlaid"])
        out = self.report({**cell, "findings": [], "seen": []})
        self.assertIn("seen of a batch, and not looked for which sequence it was: budget over", out)
        self.assertRegex(out, r"6.1/xfs/dio-read: metadata in one of \d+ to \d+: ")
        ours = [{**u, "outcome": "broken"} for u in cell["unlaid"]]
        self.store.meta["notes"].clear()  # of repeats
        self.report({**cell, "findings": [], "seen": [], "unlaid": ours}, EXIT_BROKEN)

    # --- all cells ---------------------------------------------------------------------------

    def test_what_is_not_begun_in_time_is_not_begun(self) -> None:
        """Not even booted; and what was known of it stands."""
        self.explore()
        cells = self.store.meta["explore"]["cells"]
        before = json.loads(json.dumps(cells["6.1/xfs/dio-read"]))
        boots = self.machine.boots
        kernel = ExploreKernel(self.machine, self.context)
        kernel.explore, kernel.until = Explore(3), self.clock.now
        kernel.run([Cell("6.1", "xfs", "dio-read"), Cell("6.1", "xfs-dax", "dio-read")])
        self.assertEqual(self.machine.boots, boots)
        self.assertEqual(json.loads(json.dumps(cells["6.1/xfs/dio-read"])), before)
        self.assertIn("not begun in 1 s: 6.1: xfs-dax (dio-read)", explore_report.render(self.store.meta, [], "x"))

    def test_each_kernel_has_its_part(self) -> None:
        for kernels, jobs, parts in ((3, 1, [20] * 3), (3, 2, [30, 60, 30]), (2, 2, [60] * 2), (4, 2, [30] * 4)):
            free, got = [0.0] * jobs, []
            for nth in range(1, kernels + 1):
                at = min(free)
                got.append(part_of(60 - at, kernels - nth, jobs))
                free[free.index(at)] += got[-1]
            self.assertEqual((got, max(free)), (parts, 60), (kernels, jobs))

    def test_who_goes_on_may_give_it_more(self) -> None:
        argv = ["explore", "--depth", "3", "--budget", "60s", "--seed", "3"]
        folder = store.Store.create(self.store.folder.parent / "asked", {"argv": argv, "seed": 3}).folder
        with mock.patch.object(explore, "run", return_value=0) as ran:
            for more, want in ((["--budget", "2h"], 7200.0), ([], 60.0)):
                cli.dispatch(["explore", "--resume", str(folder), *more])
                self.assertEqual((ran.call_args.args[1].budget_s, ran.call_args.args[1].depth), (want, 3))

    def test_who_goes_on_may_go_deeper(self) -> None:
        argv = ["explore", "--depth", "3", "--seed", "3"]
        folder = store.Store.create(self.store.folder.parent / "asked", {"argv": argv, "seed": 3}).folder
        with mock.patch.object(explore, "run", return_value=0) as ran:
            cli.dispatch(["explore", "--resume", str(folder), "--depth", "5"])
            self.assertEqual(ran.call_args.args[1].depth, 5)
            with self.assertRaisesRegex(UsageError, "no other --depth can be given"):
                cli.dispatch(["explore", "--resume", str(folder), "--depth", "2"])

    def test_what_is_deeper_is_what_was_not_run(self) -> None:
        self.explore(3)
        whole = Counter(self.machine.explored)
        self.fresh()
        cell = self.explore(2)
        self.assertEqual((cell["finished"], cell["depth_done"]), (True, 2))
        self.assertLess(sum(Counter(self.machine.explored).values()), sum(whole.values()))
        cell = self.explore(3)
        self.assertEqual((cell["finished"], cell["depth_done"]), (True, 3))
        self.assertEqual(Counter(self.machine.explored), whole)

    def test_the_order_of_what_is_deeper(self) -> None:
        """Likeliest first where there is a budget, unless something has begun in the other order."""
        self.store.meta.update(argv=["explore", "--depth", "2"])
        cell = Cell("6.1", "xfs", "dio-read")
        for until, likeliest in ((None, True), (self.clock.now + 20, False)):
            self.fresh()
            self.takes(lambda text: 1.0)
            self.explore(2, until=until)
            self.store.meta["explore"].update(depth=2, likeliest_first=False)
            self.store.meta["explore"]["alphabet"]["text"] = "x"
            self.store.write_run()
            what = Explore(3, budget_s=60.0, alphabet=mock.Mock(text="x"))
            made = explore._open_store(  # noqa: SLF001
                mock.Mock(resume=self.store.folder), what, [], mock.Mock(), {}, [cell], ["counts"])
            kept = json.loads((self.store.folder / "run.json").read_text())
            for meta in (made.meta, kept):
                said = meta["explore"]
                self.assertEqual((what.likeliest, said["likeliest_first"], said["depth"], said["counts"]),
                                 (likeliest, likeliest, 3, ["counts"]))
                self.assertEqual(cli.parser().parse_args(meta["argv"]).depth, 3)

    def test_who_goes_on_keeps_to_the_order(self) -> None:
        """Whatever budget there is now: what was run is known by its place in it."""
        self.store.meta["explore"]["alphabet"]["text"] = "x"
        for likeliest, budget_s in ((True, 0.0), (False, 60.0)):
            self.store.meta["explore"]["likeliest_first"] = likeliest
            self.store.write_run()
            what = Explore(3, budget_s=budget_s, alphabet=mock.Mock(text="x"))
            made = explore._open_store(  # noqa: SLF001
                mock.Mock(resume=self.store.folder), what, [], mock.Mock(), {}, [], [])
            self.assertEqual((what.likeliest, made.meta["explore"]["budget_s"]), (likeliest, budget_s))


if __name__ == "__main__":
    unittest.main()
