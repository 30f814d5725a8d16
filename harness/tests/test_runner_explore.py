# SPDX-License-Identifier: GPL-2.0
"""Explorations on a machine that breaks where it is told to: what is set aside, found, resumed, refused."""

import itertools
import json
import unittest
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from .exploring import ALPHABET, JUDGE, Exploring, verbs_of
from .test_runner_enumeration import FAULTS
from harness.runner import cli, explore, explore_cell, explore_report, judge
from harness.runner.agent import decode
from harness.runner.alphabet import parse
from harness.runner.errors import EXIT_USAGE, EnvironmentFailed, UsageError
from harness.runner.expect import Expectations, parse_rule
from harness.runner.explore import Explore, ExploreKernel, duration
from harness.runner.explore_state import load_progress
from harness.runner.findings import steps_from, verbs


class Explored(Exploring):
    def judge_that(self, what: str) -> None:
        """In place of the part that judges explored histories; sh."""
        self.judge.write_text(JUDGE.replace("if [", f'if [ "$1" = --each ]; then\n{what}\nfi\nif [', 1))

    def never_a_pass(self, why: str) -> None:
        with self.assertRaisesRegex(EnvironmentFailed, f"6.1/xfs/dio-read: the judge failed: .*{why}"):
            self.explore()
        state = self.store.folder / "explore/6.1/xfs/dio-read/state.json"
        self.assertFalse(state.exists() and load_progress(state).coherent)

    def test_a_judge_that_dies_is_never_a_pass(self) -> None:
        one = "read -r a; read -r b; read -r c; echo verdict coherent; echo end"
        self.judge_that(f"{one}; kill -9 $$")
        self.never_a_pass("exit -9|Broken pipe")
        self.judge_that("exit 0")
        self.never_a_pass("0 answers to|Broken pipe")
        self.judge_that("cat >/dev/null; echo verdict coherent; exit 0")  # cut off in the middle of an answer
        self.never_a_pass("0 answers to 1 histories")
        self.judge_that("exec sleep 60")
        with mock.patch.object(judge, "TIMEOUT_S", 0.3):
            self.never_a_pass("timed out|takes nothing")
        self.judge.unlink()
        self.never_a_pass("No such file")

    def test_a_history_without_an_end_is_never_a_pass(self) -> None:
        original = self.machine.do_explore
        self.machine.do_explore = lambda words, keys: [  # type: ignore[method-assign]
            line for line in original(words, keys) if not line.startswith("y 2 end")]
        cell = self.explore()
        self.assertEqual(cell["set_aside"], ["sequence 2: the judge failed: the history of 2 has no end"])
        self.assertEqual(cell["coherent"], cell["ran"] - 1)

    def test_a_sequence_of_which_nothing_comes_is_never_a_pass(self) -> None:
        original = self.machine.do_explore
        self.machine.do_explore = lambda words, keys: [  # type: ignore[method-assign]
            line for line in original(words, keys) if not line.startswith("y 2 ")]
        cell = self.explore()
        self.assertEqual(cell["set_aside"], ["sequence 2: the judge failed: nothing was said of sequence 2"])
        self.assertEqual(cell["coherent"], cell["ran"] - 1)

    def test_one_answer_for_each(self) -> None:
        """A judge that leaves one out: alone it answers, and that is what counts."""
        one = "read -r a; read -r b; read -r c; echo verdict coherent; echo end"
        self.judge_that(f"{one}; cat >/dev/null; exit 0")
        cell = self.explore()
        self.assertEqual((cell["coherent"], cell["set_aside"]), (cell["ran"], []))
        self.assertGreater(len(self.machine.chunks), cell["ran"])

    def test_nothing_of_a_chunk_that_broke_off_is_counted(self) -> None:
        """The machine dies in the middle of a history, and what came before it is said again."""
        original, broke = self.machine.do_explore, []

        def breaks_off(words: object, keys: dict[str, str]) -> list[str]:
            lines = original(words, keys)
            if broke or len(self.machine.following) < 12:
                return lines
            broke.append(True)
            self.machine.dying = lines[:7]  # three of them, and a piece
            self.machine.alive = False
            return []
        self.machine.do_explore = breaks_off  # type: ignore[method-assign]
        cell = self.explore()
        self.assertEqual((bool(broke), cell["ran"], cell["coherent"], cell["findings"]), (True, 73, 73, []))
        self.assertEqual(self.machine.boots, 2)

    def test_all_well(self) -> None:
        cell = self.explore()
        self.assertEqual((cell["finished"], cell["depth_done"], cell["findings"]), (True, 3, []))
        self.assertEqual(cell["ran"], len(self.machine.explored))
        self.assertEqual(len(set(self.machine.explored)), len(self.machine.explored))
        self.assertEqual((cell["looked_after_remount"], cell["coherent"]), (cell["ran"], cell["ran"]))
        self.assertIn("0 findings (0 not as expected)", explore_report.render(self.store.meta, [], "x"))

    def test_a_budget_that_the_boot_took_is_named(self) -> None:
        self.explore()
        section = self.store.meta["explore"]
        for cell in section["cells"].values():
            cell["ran"] = 0
        section["budget_s"] = 60.0
        self.assertIn("not begun in 60 s: ", explore_report.render(self.store.meta, [], "x"))

    def test_thousands_are_one_finding(self) -> None:
        self.breaks(lambda text: "hold" in text and "punch" in text.partition("hold")[2].partition("land")[0])
        cell = self.explore()
        self.assertEqual(len(cell["findings"]), 1)
        f = cell["findings"][0]
        self.assertEqual(verbs_of(f), ["hold", "punch"])
        self.assertEqual((f["shown"], f["tries"], f["outcome"]), (3, 3, "differs"))
        self.assertGreater(f["under"], 3)
        said = [json.loads((self.store.case_dir(c) / "case.json").read_text()) for c in f["cases"]]
        self.assertEqual([case["exclusive"] for case in said], [True] * 3)
        out = explore_report.render(self.store.meta, [], "results/x")
        self.assertIn("hold w1 A 0 4K", out)
        self.assertIn("3 of 3 repeats", out)

    def test_more_than_lost_data_is_another_finding(self) -> None:
        """Though its sequence has the steps of one that loses data: no rule would be asked, and nobody told."""
        def comes_of(text: str) -> str:
            steps = text.partition("evict A")[2]
            return "corrupt wrong-size" if "punch A" in steps else "corrupt" if "evict A" in text else "coherent"
        self.machine.on_explore = comes_of
        original = self.machine.do_case

        def case(words: object, keys: dict[str, str]) -> list[str]:
            how, _, kind = comes_of(keys["seq"]).partition(" ")
            self.machine.history_of = lambda nr: [f"BAD {kind}"] if how == "corrupt" else []
            return original(words, keys)
        self.machine.do_case = case  # type: ignore[method-assign]
        self.context.expectations = Expectations([parse_rule("* xfs dio-read explore-* unsupported lost its reference", "x:1")])
        found = {tuple(verbs_of(f)): f for f in self.explore()["findings"]}
        self.assertEqual({steps: (f["outcome"], f["kinds"], f["shown"]) for steps, f in found.items()},
                         {("evict",): ("expected", ["lost-write"], 3),
                          ("evict", "punch"): ("differs", ["lost-write", "wrong-size"], 3)})

    def test_one_that_is_not_seen_again(self) -> None:
        self.machine.on_explore = lambda text: "corrupt" if "punch" in text else "coherent"
        cell = self.explore(2)
        self.assertEqual(cell["findings"], [])
        self.assertTrue(all(f["shown"] == 0 and f["tries"] == 3 for f in cell["unconfirmed"]))
        self.assertEqual({f["outcome"] for f in cell["unconfirmed"]}, {"differs"})
        self.assertIn("seen on the fast path, and not again", explore_report.render(self.store.meta, [], "x"))

    def test_one_that_is_not_seen_again_may_be_expected(self) -> None:
        """By a rule for just that, or by what holds of the sequence; of what it showed, and not of more."""
        rule = "* xfs dio-read {} unsupported {} its reference"
        for name, listed, want in (("unrepeated-explore-*", "lost:lost-write", "expected"),
                                   ("unrepeated-explore-*", "lost:view-split", "differs"),
                                   ("explore-*punch*", "lost", "expected"), ("explore-*evict*", "lost", "differs")):
            with self.subTest(name=name, listed=listed):
                self.setUp()
                self.context.expectations = Expectations([parse_rule(rule.format(name, listed), "x.conf:1")])
                self.machine.on_explore = lambda text: ("corrupt" if text.count("punch") == 1 and "write" in text
                                                        and "evict" not in text and "hold" not in text else "coherent")
                cell = self.explore(2)
                self.assertEqual({f["outcome"] for f in cell["unconfirmed"]}, {want})

    def test_a_rule_for_what_is_not_seen_again_is_none_for_what_is(self) -> None:
        self.context.expectations = Expectations(
            [parse_rule("* xfs dio-read unrepeated-explore-* unsupported lost its reference", "x.conf:1")])
        self.breaks(lambda text: "punch" in text)
        self.assertEqual({f["outcome"] for f in self.explore(2)["findings"]}, {"differs"})

    def test_a_longer_one_is_cut_down(self) -> None:
        self.breaks(lambda text: "evict" in text and "write" in text)
        with mock.patch.object(explore_cell.CellRun, "_items", lambda run, depth, skip: iter(
                [explore_cell.Item(1, ("written",), (0, 1, 2))] if depth == 3 and not skip else [])):
            cell = self.explore()
        self.assertEqual([verbs_of(f) for f in cell["findings"]], [["write", "evict"]])

    def test_one_that_kills_the_machine_is_set_aside(self) -> None:
        self.breaks(lambda text: "evict" in text and "hold" in text, "die")
        cell = self.explore()
        deadly = [f for f in cell["findings"] if f["family"] == "crash"]
        self.assertEqual(sorted(verbs_of(f) for f in deadly),
                         [["evict", "hold"], ["hold", "evict"], ["hold", "land", "evict"]])
        self.assertTrue(all((f["shown"], f["tries"], f["outcome"]) == (1, 1, "differs") for f in deadly))
        self.assertEqual(cell["ran"], len(set(self.machine.explored)) + 3)
        self.assertTrue(any(f["unseen"] for f in deadly))
        self.assertIn("Kernel panic", cell["set_aside"][0])
        # With what contains them, nothing is missing.
        whole = sum(f["unseen"] for f in deadly) + cell["ran"]
        self.machine.on_explore = lambda text: "coherent"
        e = Explore(3, alphabet=parse(ALPHABET, "test", "test", FAULTS)).enumeration(
            ExploreKernel(self.machine, self.context).hello.channels.get("x") or mock.Mock(hold="inflight"))
        self.assertEqual(whole, sum(1 for d in (1, 2, 3) for _ in e.items(d)))

    def test_one_that_hangs_is_set_aside(self) -> None:
        self.breaks(lambda text: "evict" in text and "punch" in text, "hung")
        cell = self.explore()
        hung = [f for f in cell["findings"] if f["family"] == "hang"]
        self.assertTrue(hung and all(f["verdict"] == "hung" for f in hung))
        self.assertGreater(len(hung), 1)
        out = explore_report.render(self.store.meta, [], "x")  # all sleep in the same function: one finding
        self.assertIn("1 finding (1 not as expected)", out)
        self.assertRegex(out, "also .*evict punch")
        self.assertEqual(self.machine.boots, 1)
        self.assertFalse(any("evict" in t and "punch" in t for t in self.machine.explored))

    def test_a_hang_that_is_not_seen_again_is_no_finding(self) -> None:
        """And a process of ours that died says nothing of the kernel."""
        for how, kind, outcome in (("hung", "hang", "inconclusive"), ("died", "died", "broken")):
            with self.subTest(how=how):
                self.setUp()
                self.machine.on_explore = lambda text, how=how: how if text.count("punch") == 2 else "coherent"
                cell = self.explore()
                self.assertEqual(cell["findings"], [])
                self.assertTrue(cell["unconfirmed"])
                for f in cell["unconfirmed"]:
                    self.assertEqual((f["shown"], f["tries"], f["kinds"], f["outcome"]), (0, 3, [kind], outcome))
                self.assertIn("seen on the fast path, and not again", explore_report.render(self.store.meta, [], "x"))

    def test_what_the_judge_cannot_judge_is_set_aside(self) -> None:
        """Found by halves, as it is not told which; the rest is judged, and it is not called coherent."""
        self.machine.on_explore = lambda text: "unjudged" if text.count("punch") == 2 else "coherent"
        cell = self.explore()
        self.assertTrue(cell["set_aside"])
        self.assertTrue(all("the judge failed" in why for why in cell["set_aside"]))
        self.assertEqual([f["outcome"] for f in cell["unconfirmed"]], ["broken"] * len(cell["unconfirmed"]))
        self.assertTrue(cell["finished"])
        self.assertFalse(any(t.count("punch") == 2 for t in self.machine.explored))
        self.assertTrue(any(t.count("punch") == 1 for t in self.machine.explored))

    def test_a_process_that_an_oops_killed_is_a_crash(self) -> None:
        def died(text: str) -> str:
            if text.count("punch") != 2:
                return "coherent"
            self.machine.kmsg.append("BUG: kernel NULL pointer dereference, address: 0")
            return "died"
        self.machine.on_explore = died
        cell = self.explore()
        self.assertTrue(cell["unconfirmed"])
        for f in cell["unconfirmed"]:
            self.assertEqual((f["kinds"], f["outcome"]), (["kernel-fault"], "differs"))
            self.assertIn("NULL pointer", f["why"])

    def test_a_batch_that_fails_its_check_is_redone_by_halves(self) -> None:
        self.fails_its_check(lambda text: "evict" in text and "hold" in text)
        cell = self.explore(2)
        found = [f for f in [*cell["findings"], *cell["unconfirmed"]] if f["family"] == "metadata"]
        self.assertEqual(sorted(verbs_of(f) for f in found), [["evict", "hold"], ["hold", "evict"]])

    def fails_its_check(self, when: Callable[[str], bool]) -> None:
        """fsck complains where a sequence of which that holds is on the disk."""
        numbers: dict[int, str] = {}
        explore, case = self.machine.do_explore, self.machine.do_case

        def note_explored(words: object, keys: dict[str, str]) -> list[str]:
            numbers.update({int(r.split(" ")[1]): decode(r) for r in self.machine.following if r.startswith("seq ")})
            return explore(words, keys)

        def note_case(words: object, keys: dict[str, str]) -> list[str]:
            numbers[int(keys["nr"])] = keys["seq"]
            return case(words, keys)
        self.machine.do_explore, self.machine.do_case = note_explored, note_case  # type: ignore[method-assign]
        self.machine.fsck_bad = lambda disk: any(when(numbers.get(n, "")) for n in disk)

    def test_a_check_that_fails_is_laid_to_those_that_failed_by_themselves(self) -> None:
        """The others run once more, together; what is known is not looked for again, and what failed otherwise is told."""
        def bad(text: str) -> bool:
            return "write A" in text.partition("evict A")[0] and "evict A" in text
        self.breaks(bad)
        self.fails_its_check(bad)
        cell = self.explore()
        found = [*cell["findings"], *cell["unconfirmed"]]
        self.assertEqual(sorted((f["family"], verbs_of(f)) for f in found),
                         [("data", ["write", "evict"]), ("metadata", ["write", "evict"])])
        times = Counter(self.machine.explored)
        # When it is found they run twice. From then on those of which it would be news have a filesystem of their own.
        for steps, want in ((2, 2), (3, 1)):
            self.assertEqual({n for text, n in times.items() if "hold" not in text and not bad(text)
                              and len(text.splitlines()) == 2 + steps}, {want}, steps)
        self.assertEqual(cell["ran"], 73)

    def test_a_check_that_fails_once_is_laid_to_nobody(self) -> None:
        """Not to the only one that failed by itself, either: the others did well without it, and so did it without them."""
        self.breaks(lambda text: "evict A" in text and "write A" in text.partition("evict A")[0] and "hold" not in text)
        checks = itertools.count()
        self.machine.fsck_bad = lambda disk: len(disk) > 5 and next(checks) == 0
        cell = self.explore(2)
        self.assertEqual([f["family"] for f in [*cell["findings"], *cell["unconfirmed"]]], ["data"])
        self.assertEqual([n["kind"] for n in self.store.meta["notes"]], ["metadata"])

    def test_a_check_that_fails_for_another_beside_those(self) -> None:
        self.breaks(lambda text: "evict A" in text)
        self.fails_its_check(lambda text: "punch A" in text)
        cell = self.explore(2)
        found = {(f["family"], v) for f in [*cell["findings"], *cell["unconfirmed"]] for v, _ in f["steps"]}
        self.assertEqual({f for f, v in found if v == "evict"}, {"data"})
        self.assertEqual({f for f, v in found if v == "punch"}, {"metadata"})

    def test_what_landed_before_is_another_finding(self) -> None:
        """Not that of what happens while the write is held, which is expected."""
        self.breaks(lambda text: "hold" in text and "punch" in text.partition("hold")[2])
        self.context.expectations = Expectations([parse_rule(
            "* xfs dio-read explore-*/*hold.*>*>land.* unsupported lost its reference", "x:1")])
        found = {tuple(verbs_of(f)): f["outcome"] for f in self.explore()["findings"]}
        self.assertEqual(found, {("hold", "punch"): "expected", ("hold", "land", "punch"): "differs"})

    def test_an_expected_finding_takes_in_only_what_is_expected(self) -> None:
        """Rules look at sizes, and findings do not."""
        self.breaks(lambda text: "write A" in text and "punch A" in text.partition("write A")[2])
        self.context.expectations = Expectations([parse_rule(
            "* xfs dio-read explore-*/*write.A.0.4K>*punch* unsupported lost its reference", "x:1")])
        with mock.patch("harness.tests.exploring.ALPHABET", ALPHABET.replace("write A 0 4K", "write A 0,4K 4K")):
            found = {(*verbs_of(f), f["outcome"], "write A 4K 4K" in f["text"]) for f in self.explore()["findings"]}
        self.assertEqual(found, {("write", "punch", "expected", False), ("write", "punch", "differs", True)})

    def test_what_does_not_hang_is_run_beside_what_does(self) -> None:
        self.breaks(lambda text: "punch" in text.partition("hold")[2].partition("land")[0], "hung")
        self.explore()
        landed = "file A 16K written\npin A\nhold w1 A 0 4K\nland w1\npunch A 0 4K\n"
        self.assertIn(landed, self.machine.explored)

    def test_a_panic_that_is_not_seen_again_is_told(self) -> None:
        seen: list[str] = []

        def once(text: str) -> str:
            if "evict" in text and "hold" in text and not seen:
                seen.append(text)
                return "die"
            return "coherent"
        self.machine.on_explore = once
        cell = self.explore()
        self.assertEqual((cell["findings"], cell["unconfirmed"]), ([], []))
        self.assertIn("not seen again", cell["set_aside"][0])
        self.assertEqual([n["kind"] for n in self.store.meta["notes"]], ["crash"])
        self.assertIn("Kernel panic", explore_report.render(self.store.meta, [], "x"))

    def test_what_an_unrepeated_hang_withheld_is_run(self) -> None:
        hung: list[str] = []

        def once(text: str) -> str:
            if "punch" in text.partition("hold")[2].partition("land")[0] and not hung:
                hung.append(text)
                return "hung"
            return "coherent"
        self.machine.on_explore = once
        with mock.patch("harness.tests.exploring.ALPHABET", ALPHABET.replace("punch A 0 4K", "punch A 0,4K,8K 4K")):
            cell = self.explore(2)
        self.assertEqual(len(hung), 1)
        self.assertEqual([f["unseen"] for f in cell["unconfirmed"]], [0])
        self.assertEqual(len({*self.machine.explored, *hung}), cell["ran"])
        self.assertEqual(sum("punch" in t.partition("hold")[2] for t in {*self.machine.explored}), 2)

    def test_what_a_hang_withheld_is_not_run(self) -> None:
        self.breaks(lambda text: "punch" in text.partition("hold")[2].partition("land")[0], "hung")
        with mock.patch("harness.tests.exploring.ALPHABET", ALPHABET.replace("punch A 0 4K", "punch A 0,4K,8K 4K")):
            cell = self.explore(2)
        self.assertEqual([(f["shown"], f["unseen"]) for f in cell["findings"]], [(1, 2)])

    def test_the_same_steps_are_tried_a_few_times_only(self) -> None:
        self.machine.on_explore = lambda text: "corrupt" if "punch" in text else "coherent"
        with mock.patch("harness.tests.exploring.ALPHABET", ALPHABET.replace("punch A 0 4K", "punch A 0,4K,8K,12K 4K")):
            cell = self.explore(2)
        tried = Counter(tuple(verbs(steps_from(f["seen"]))) for f in cell["unconfirmed"])
        self.assertEqual((len(tried) > 3, set(tried.values())), (True, {3}))

    def test_not_reproducible_is_said_of_the_same_steps_only(self) -> None:
        """The same in another order, and each time: told, though those that came first were not seen again."""
        def comes_of(text: str) -> str:
            order = [line.split()[0] for line in text.splitlines()[2:]]
            if sorted(order) != ["evict", "punch", "write"]:
                return "coherent"
            return "corrupt past-eof" if order[0] == "evict" else "corrupt"
        self.machine.on_explore = comes_of
        original = self.machine.do_case

        def case(words: object, keys: dict[str, str]) -> list[str]:
            real = "past-eof" in comes_of(keys["seq"])
            self.machine.history_of = lambda nr: ["BAD past-eof"] if real else []
            return original(words, keys)
        self.machine.do_case = case  # type: ignore[method-assign]
        self.context.expectations = Expectations([parse_rule(
            "* xfs dio-read unrepeated-explore-* unsupported lost its reference", "x:1")])
        told = {tuple(verbs_of(f)): (f["shown"], f["outcome"]) for f in self.explore()["findings"]}
        self.assertEqual(told, {("evict", "punch", "write"): (3, "differs"), ("evict", "write", "punch"): (3, "differs")})

    def test_what_is_expected_is_not_tried_for_ever(self) -> None:
        self.machine.on_explore = lambda text: "corrupt" if "punch" in text and "write" in text else "coherent"
        rules = [parse_rule("* xfs dio-read explore-* unsupported lost it", "x:1"),
                 parse_rule("* xfs dio-read unrepeated-explore-* unsupported lost by chance", "x:2")]
        for nr in (1, 2):
            self.store.folder = self.store.folder.parent / f"rules{nr}"
            self.context.expectations = Expectations(rules[:nr])
            with self.subTest(nr=nr), mock.patch.object(explore_cell, "CONFIRM_PER_RULE", 1):
                self.assertEqual([f["outcome"] for f in self.explore()["unconfirmed"]], ["expected"])

    def test_cut_down_to_what_shows_by_chance_it_is_repeated_as_it_was(self) -> None:
        def steps(text: str) -> list[str]:
            return [line.split()[0] for line in text.splitlines()[2:]]
        chance: Counter[str] = Counter()

        def comes_of(text: str) -> str:
            chance[text] += steps(text) == ["write", "evict"]
            return "corrupt" if steps(text) == ["write", "evict", "punch"] or chance[text] == 3 else "coherent"
        self.machine.on_explore = comes_of
        original = self.machine.do_case

        def case(words: object, keys: dict[str, str]) -> list[str]:
            always = steps(keys["seq"]) == ["write", "evict", "punch"]
            self.machine.history_of = lambda nr: ["BAD x"] if always else []
            return original(words, keys)
        self.machine.do_case = case  # type: ignore[method-assign]
        cell = self.explore()
        self.assertEqual([(verbs_of(f), f["shown"]) for f in cell["findings"]], [(["write", "evict", "punch"], 3)])

    def test_news_is_not_cut_down_to_what_is_none(self) -> None:
        self.breaks(lambda text: "hold" in text and "punch" in text.partition("hold")[2])
        self.context.expectations = Expectations([parse_rule(
            "* xfs dio-read explore-*/*hold.*>punch*>land.* unsupported lost its reference", "x:1")])
        one = explore_cell.Item(1, ("written",), (3, 4, 1))  # hold, land, punch
        with mock.patch.object(explore_cell.CellRun, "_items", lambda run, depth, skip: iter(
                [one] if depth == 3 and not skip else [])):
            self.assertEqual([(verbs_of(f), f["outcome"]) for f in self.explore()["findings"]],
                             [(["hold", "land", "punch"], "differs")])

    def test_what_could_not_be_run_is_none_that_ran(self) -> None:
        original = self.machine.do_explore

        def broken(words: object, keys: dict[str, str]) -> list[str]:
            numbers = [r.split(" ")[1] for r in self.machine.following if r.startswith("seq ")]
            original(words, keys)
            return [*(f"x {nr} broken - - - /mnt/x0/{nr}:%20EROFS" for nr in numbers),
                    "env coherent 0", f"env not_coherent {len(numbers)}", "env wall_us 1000", "ok ran"]
        self.machine.do_explore = broken  # type: ignore[method-assign]
        cell = self.explore()
        self.assertEqual((cell["ran"], cell["coherent"], cell["broken"]), (0, 0, {"EROFS": 73}))
        self.assertIn("73 sequences could not be run: ", explore_report.render(self.store.meta, [], "x"))

    def test_the_best_rate_is_no_less_than_the_mean(self) -> None:
        """Where no batch was large enough to be measured there is no best one."""
        cell = self.explore()
        small = {**cell, "ran": 70, "wall_s": 1.0, "took_s": 2.0, "best_rate": 0.0}
        self.store.meta["explore"]["cells"] = {"x": small}
        self.assertIn("70 (70; 35)", explore_report.render(self.store.meta, [], "x"))

    def test_a_cell_that_left_it_out_is_not_quiet(self) -> None:
        """One with a hang in the same steps has not run them."""
        self.breaks(lambda text: "punch" in text.partition("hold")[2].partition("land")[0], "hung")
        self.explore()
        cells = self.store.meta["explore"]["cells"]
        cells["6.1/ext4/dio-read"] = {**cells["6.1/xfs/dio-read"], "fs": "ext4", "findings": [
            {**cells["6.1/xfs/dio-read"]["findings"][0], "fs": "ext4", "family": "data", "kinds": ["lost-write"], "why": "",
             "steps": [["evict", [0]], ["hold", [0, 100]], ["punch", [0]], ["land", [100]]]}]}
        out = explore_report.render(self.store.meta, [], "x")
        self.assertRegex(out.partition("evict hold punch")[2], "not run .*xfs")

    def test_what_the_filesystem_has_not(self) -> None:
        self.machine.on_explore = lambda text: ("skipped punch: EOPNOTSUPP on this filesystem" if "punch" in text
                                                else "coherent")
        cell = self.explore()
        self.assertEqual(cell["dropped"], {"punch": "EOPNOTSUPP on this filesystem"})
        self.assertFalse(any("punch" in t for t in set(self.machine.explored) if t.count("\n") > 5))
        self.assertEqual(cell["coherent"], cell["ran"])

    def test_a_refused_pin_ends_the_cell(self) -> None:
        self.machine.on_explore = lambda text: "refused"
        cell = self.explore()
        self.assertIn("refused", cell["not_covered"])
        self.assertEqual((cell["depth_done"], cell["finished"]), (1, True))

    def test_holds_that_are_nothing_are_left_out(self) -> None:
        cell = self.explore(channel="store")
        self.assertTrue(cell["ran"])
        self.assertFalse(any("hold" in t for t in self.machine.explored))

    def test_it_goes_on_where_it_stopped(self) -> None:
        with mock.patch.object(explore_cell, "BATCH_ITEMS", 7):
            whole = self.explore()
            every, self.machine.explored = self.machine.explored, []
            self.store.folder = self.store.folder.parent / "second"
            stop = itertools.count()

            def interrupted(text: str) -> str:
                if next(stop) == 40:
                    raise KeyboardInterrupt
                return "coherent"
            self.machine.on_explore = interrupted
            with self.assertRaises(KeyboardInterrupt):
                self.explore()
            part = len(self.machine.explored)
            self.assertTrue(0 < part < len(every))
            self.machine.on_explore = lambda text: "coherent"
            again = self.explore()
        self.assertEqual(again["ran"], whole["ran"])
        self.assertEqual(set(self.machine.explored), set(every))
        self.assertLess(len(self.machine.explored) - len(every), 8)  # the batch that was under way

    def test_shards_share_what_is_long(self) -> None:
        parts = []
        with mock.patch.object(explore, "SHARED_DEPTH", 2):
            for shard in range(3):
                self.machine.explored = []
                self.store.folder = self.store.folder.parent / f"shard{shard}"
                self.explore(shard=shard, shards=3)
                parts.append(set(self.machine.explored))
                self.assertEqual(len(self.machine.explored), len(parts[-1]))
        self.machine.explored = []
        self.store.folder = self.store.folder.parent / "short"
        self.explore(depth=2)
        short = set(self.machine.explored)
        self.machine.explored = []
        self.store.folder = self.store.folder.parent / "all"
        self.explore()
        every = set(self.machine.explored)
        self.assertTrue(short < every)
        self.assertEqual(set().union(*parts), every)
        for part in parts:
            self.assertTrue(short < part)
        self.assertEqual(sum(len(part - short) for part in parts), len(every - short))

    def test_a_hang_of_few_steps_is_known_to_each_shard(self) -> None:
        self.breaks(lambda text: "punch" in text.partition("hold")[2].partition("land")[0], "hung")
        for shard in range(3):
            self.store.folder = self.store.folder.parent / f"shard{shard}"
            seen = self.explore(4, shard=shard, shards=3)
            self.assertEqual({len(f["steps"]) for f in seen["findings"]}, {3})  # type: ignore[attr-defined, index]

    def test_a_state_of_another_version(self) -> None:
        path = Path(self.dir.name) / "state.json"
        path.write_text(json.dumps({"schema": 99}))
        with self.assertRaises(UsageError):
            load_progress(path)
        for text in ("{", "", "[]", "null", '{"schema": 1}', '{"schema": 1, "resolutions": {}, "inconclusive": {}, '
                     '"skipped": {}, "pending": 5, "findings": [], "unconfirmed": []}'):
            path.write_text(text)
            with self.assertRaises(UsageError):
                load_progress(path)


class Asked(unittest.TestCase):
    def code(self, *argv: str) -> tuple[int, str]:
        with mock.patch("sys.stderr") as err:
            code = cli.main(list(argv))
        return code, "".join(c.args[0] for c in err.write.call_args_list)

    def test_usage(self) -> None:
        for argv, part in ((["--depth", "0"], "1 to 12"), (["--depth", "13"], "1 to 12"), ([], "--depth N"),
                           (["--depth", "2", "--shard", "3/2"], "I/N"), (["--depth", "2", "--budget", "soon"], "not a time"),
                           (["--depth", "2", "--sequence", "held-punch"], "--alphabet"), (["--depht", "2"], "--depth")):
            code, said = self.code("explore", *argv)
            self.assertEqual(code, EXIT_USAGE, argv)
            self.assertIn(part, said)
            self.assertEqual(len(said.strip().splitlines()), 1, said)

    def test_duration(self) -> None:
        self.assertEqual([duration(t) for t in ("90", "90s", "2m", "1.5h", "1d")], [90, 90, 120, 5400, 86400])
        for bad in ("", "m", "-1", "0", "2w"):
            with self.assertRaises(ValueError):
                duration(bad)


if __name__ == "__main__":
    unittest.main()
