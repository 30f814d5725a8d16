# SPDX-License-Identifier: GPL-2.0
"""reduce: what can matter of a stream, cutting down what shows only now and then, and the steps that are left."""

import itertools
import json
import random
import tempfile
import unittest
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.runner import reduce, reduce_report
from harness.runner.agent import ChannelInfo
from harness.runner.alphabet import parse
from harness.runner.explore_state import Cell
from harness.runner.race import Race
from harness.runner.race_slice import Slice, Told, contradictions, cut_out
from harness.runner.racelog import Window
from harness.runner.reduce_race import TRIES_MAX, Cut, OutOfTime, Ran, Reducer, ddmin, tries_for
from harness.runner.reduce_sequence import alphabet_text, channels_for
from harness.runner.repro import Found

from .fake_machine import FakeMachine
from .test_judge_race_kinds import stream
from .test_repro import LANDED, LOST, RACE, record
from .test_runner_cli import call
from .test_runner_enumeration import FAULTS
from .test_runner_execute import Bench
from .test_runner_explore import JUDGE

# One page is 64 cells. 12 is settled by write(2), a store and a punch of the next page run beside it.
STREAM = """# inv ret
0  10  20 pwrite - 0+128 128
1  30  45 store - 0+64 64
0  50  60 pwrite - 0+128 128
1  55  90 fault none 0+0 0
0  70  80 pwrite - 64+64 64
1  95 130 store - 8+8 8
0 100 110 fault zero 64+64 0
2 105 108 look mmap 64+64 0 12
2 115 125 look buffered 16+32 0 10"""


class TheSlice(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "stream"

    def cut(self, text: str, told: list[Told]) -> Slice | None:
        self.path.write_bytes(stream(text))
        return cut_out(Window(self.path), told, ["evict", "punch"])

    def ops(self, text: str, line: int, cells: tuple[int, int]) -> list[int]:
        cut = self.cut(text, [Told("lost-write", 10 + line, 1, cells, "op 13", "op 10")])
        assert cut
        return [r.op - 10 for r in cut.kept]

    def test_from_what_settled_the_cells_on(self) -> None:
        """Not the writes before 50, nor a look and a write of the other page; every fault on the file."""
        self.assertEqual(self.ops(STREAM, 9, (16, 48)), [3, 4, 6, 7, 9])

    def test_what_overlaps_settles_nothing(self) -> None:
        overlapped = STREAM.replace("55  90 fault none 0+0 0", "55  90 store - 20+8 8")
        self.assertEqual(self.ops(overlapped, 9, (16, 48)), [2, 3, 4, 6, 7, 9])

    def test_a_write_that_failed_or_is_too_small_settles_nothing(self) -> None:
        failed = STREAM.replace("0  50  60 pwrite - 0+128 128", "0  50  60 pwrite - 0+128 -5")
        self.assertEqual(self.ops(failed, 9, (16, 48)), [2, 3, 4, 6, 7, 9])
        small = STREAM.replace("0  50  60 pwrite - 0+128 128", "0  50  60 pwrite - 0+40 40")
        self.assertEqual(self.ops(small, 9, (16, 48)), [2, 3, 4, 6, 7, 9])

    def test_before_a_shift_the_cells_were_elsewhere(self) -> None:
        shifted = STREAM.replace("100 110 fault zero 64+64 0", "100 110 fault collapse 0+64 0")
        self.assertEqual(self.ops(shifted, 9, (16, 48)), [3, 4, 5, 6, 7, 8, 9])

    def test_nothing_settled(self) -> None:
        cut = self.cut("0 10 20 store - 0+8 8\n1 15 40 pwrite - 0+64 64\n0 25 30 look mmap 0+8 0 1",
                       [Told("lost-write", 12, 1, (0, 8), "op 10", "op 1")])
        assert cut
        self.assertIsNone(cut.settled)
        self.assertEqual([r.op for r in cut.kept], [10, 11, 12])

    def test_as_a_person_reads_it(self) -> None:
        cut = self.cut(STREAM, [Told("lost-write", 19, 1, (16, 48), "op 13", "op 10")])
        assert cut
        lines = cut.timeline()
        self.assertEqual((cut.verbs, cut.faults, cut.view, len(lines)), (["store", "pwrite"], ["evict"], "buffered", 5))
        self.assertRegex(lines[0], r"^ *0\.0 +0\.0 +t0 +op 13 +pwrite +A \[0, \+8192\) +ok +settles the cells$")
        self.assertRegex(lines[-1], r"look buffered +A \[1024, \+2048\) +ok +\[1024, \+2048\) must be op 13, saw op 10")
        self.assertTrue(cut.unaligned("store"))
        self.assertFalse(cut.unaligned("pwrite"))

    def test_of_many_the_looks_go_first(self) -> None:
        looks = "".join(f"\n2 {200 + n} {200 + n} look mmap 0+8 0 12" for n in range(50))
        last = "\n0 300 310 look mmap 0+8 0 10"
        cut = self.cut(STREAM + looks + last, [Told("stale", 69, 1, (0, 8), "op 15", "op 10")])
        assert cut
        self.assertGreater(len(cut.kept), 50)
        lines = cut.timeline(12)
        self.assertLess(len(lines), 10)
        self.assertIn("more: looks that contradict nothing", lines[-1])

    def test_what_the_judge_says(self) -> None:
        told = contradictions([
            "lost-write: look 49191 buffered of file 2 [131072, +1344), from 2210933776 for 4248 ns: must be op 47708, "
            "saw op 47684 of file 1 at 64", "  op 48117 collapse of file 2 [118784, +8192), from 1 for 2 ns: ok",
            "wrong-size: look 7 mmap of file 1: 4096 bytes long, must be 8192",
            "lost-write: op 5 pwrite: success for 64 bytes at 128 that file 1 did not have"])
        self.assertEqual([(t.kind, t.op, t.file_id, t.cells, t.from_ns) for t in told],
                         [("lost-write", 49191, 2, (2048, 2069), 2210933776), ("wrong-size", 7, 1, (0, 0), -1),
                          ("lost-write", 5, 1, (2, 3), -1)])


class Fake:
    """Races that show it with a probability, while what is needed is there. Time is counted, not waited for."""

    def __init__(self, seed: int, needed: Callable[[Race], float], budget_s: float = 10000.0) -> None:
        self.random, self.needed = random.Random(seed), needed
        self.left = budget_s
        self.seeds: list[int] = []
        self.reducer = Reducer(self.run, itertools.count(), lambda: self.left)

    def run(self, race: Race) -> Ran:
        self.left -= race.seconds + 1
        self.seeds.append(race.seed)
        shows = self.random.random() < self.needed(race)
        return Ran(shows, 1000, 3 * shows, race.seconds, f"race-{race.seed}", race.seed)


ALL = tuple(f"f{n}" for n in range(13))
BASE = Race(seconds=4.0, faults=ALL)


class CuttingDown(unittest.TestCase):
    def test_ddmin_finds_the_two_that_matter(self) -> None:
        asked = []

        def shows(some: tuple[str, ...]) -> bool:
            asked.append(some)
            return {"f3", "f11"} <= set(some)
        self.assertEqual(ddmin(ALL, shows), ("f3", "f11"))
        self.assertLess(len(asked), 60)

    def test_how_often_a_cut_is_tried(self) -> None:
        self.assertEqual([tries_for(p) for p in (1.0, 0.9, 0.5, 0.25, 0.01)], [2, 2, 5, 11, TRIES_MAX])

    def cut(self, fake: Fake, likely: tuple[str, ...] = ()) -> Race:
        fake.reducer.likely = fake.reducer.measure(BASE, 5).likely
        fake.reducer.cut_down(BASE, ALL, likely, ("write",), "mmap")
        return fake.reducer.cuts[-1].race if fake.reducer.cuts else BASE

    def test_what_always_shows_is_cut_to_the_bone(self) -> None:
        fake = Fake(1, lambda r: float("f3" in r.faults and "write" in (r.verbs or ("write",))
                                       and r.threads >= 2 and "buffered" in (r.views or ("buffered",))))
        race = self.cut(fake, ("f3", "f9"))
        self.assertEqual((race.faults, race.views, race.threads, race.files, race.size, race.seconds),
                         (("f3",), ("buffered",), 2, 1, 32 << 10, 0.5))
        self.assertEqual(set(race.verbs), {"write", "look", "fault"})

    def test_what_shows_now_and_then(self) -> None:
        """A cut never keeps what cannot show it, and mostly ends at what matters."""
        ends = []
        for seed in range(40):
            race = self.cut(Fake(seed, lambda r: 0.5 * {"f3", "f8"}.issubset(r.faults)))
            self.assertLessEqual({"f3", "f8"}, set(race.faults))
            ends.append(len(race.faults))
        self.assertGreater(sum(n == 2 for n in ends), 25, ends)

    def test_two_files_stay_where_a_fault_needs_them(self) -> None:
        fake = Fake(1, lambda r: 1.0)
        race = replace(BASE, faults=("clone",), files=4)
        fake.reducer.likely = 1.0
        fake.reducer.step = 5  # files
        fake.reducer.cut_down(race, ("clone",), (), (), "")
        self.assertEqual(fake.reducer.cuts[-1].race.files, 2)

    def test_time_is_up_and_goes_on(self) -> None:
        fake = Fake(1, lambda r: float("f3" in r.faults), budget_s=60)
        race = self.cut(fake)
        self.assertLess(fake.left, 8)
        self.assertIn("f3", race.faults)
        fake.left = 1000
        self.assertTrue(fake.reducer.cut_down(BASE, ALL, (), ("write",), "mmap"))
        self.assertEqual((fake.reducer.cuts[-1].race.faults, fake.reducer.cuts[-1].race.files), (("f3",), 1))

    def test_no_time_at_all(self) -> None:
        fake = Fake(1, lambda r: 1.0, budget_s=0.5)
        with self.assertRaises(OutOfTime):
            fake.reducer.shows(BASE, "x")

    def test_a_rate_is_of_seeds_that_chose_nothing(self) -> None:
        """Nothing here can be made better or worse: 3 in 10. What was kept showed it in more of its tries than that;
        what is measured afterwards does not."""
        kept, measured = [], []
        for seed in range(60):
            fake = Fake(seed, lambda r: 0.3)
            race = self.cut(fake)
            kept += [c.shown / c.of for c in fake.reducer.cuts]
            rate = fake.reducer.measure(race, 5)
            measured.append(rate.shown / rate.races)
            self.assertEqual(len(set(fake.seeds)), len(fake.seeds))
            self.assertEqual(rate.races, 5)
        self.assertGreater(sum(kept) / len(kept), 0.45)
        self.assertTrue(0.2 < sum(measured) / len(measured) < 0.4, sum(measured) / len(measured))


def channel(name: str, cls: str, hold: str = "inflight") -> ChannelInfo:
    return ChannelInfo(name, cls, hold, False, True, "")


KNOWN = {c.name: c for c in (channel("store", "pte", "trivial"), channel("copyout", "pte", "trivial"),
                             channel("dio-read", "short-pin"), channel("pwrite", "syscall"))}


class Steps(unittest.TestCase):
    def made(self, name: str, recorded: str, race: Race, unaligned: bool = False) -> tuple[list[str], list[str]]:
        text, left_out = alphabet_text(KNOWN[name], KNOWN[recorded], race, FAULTS, lambda _verb: unaligned)
        parse(text, "reduced", "reduced", FAULTS)
        return [line[5:] for line in text.splitlines() if line.startswith("step ")], left_out

    def test_a_short_pin(self) -> None:
        steps, _ = self.made("dio-read", "dio-read", Race(
            faults=("punch", "truncate"), verbs=("write", "look", "fault"), views=("buffered",)))
        self.assertEqual(steps, ["hold A 0 8K", "land", "punch A 0,8K 4K", "truncate A 4K,16K", "write A 0 8K",
                                 "read A 0 whole buffered"])

    def test_held_write2_with_stores_and_clones(self) -> None:
        """All that held-cow-store and held-cow-read are made of."""
        race = Race(faults=("clone",), verbs=("write", "pwrite", "look", "fault"))
        steps, _ = self.made("pwrite", "store", race, unaligned=True)
        for step in ("hold A 0 8K", "clone B A", "store A 64 64", "read A 0 whole mmap"):
            self.assertIn(step, steps)
        self.assertNotIn("pwrite A 4K 4K", steps)  # it would wait for the one that is held

    def test_what_others_would_notice_is_left_out(self) -> None:
        steps, left_out = self.made("dio-read", "dio-read", Race(faults=("freeze", "syncfs", "punch")))
        self.assertEqual([text.partition(":")[0] for text in left_out], ["freeze", "syncfs"])
        self.assertFalse([s for s in steps if s.startswith(("freeze", "syncfs"))])

    def test_no_faults(self) -> None:
        steps, _ = self.made("dio-read", "dio-read", Race(faults=("punch",), verbs=("write", "look")))
        self.assertFalse([s for s in steps if s.startswith("punch")])

    def test_channels(self) -> None:
        def names(recorded: str, *verbs: str) -> list[str]:
            return channels_for(KNOWN[recorded], Race(verbs=verbs), KNOWN)
        self.assertEqual(names("dio-read"), ["dio-read", "pwrite"])
        self.assertEqual(names("dio-read", "write", "look"), ["dio-read"])
        self.assertEqual(names("dio-read", "store", "pwrite", "look"), ["pwrite"])
        self.assertEqual(names("store"), ["pwrite"])
        self.assertEqual(names("copyout"), ["copyout", "pwrite"])


ANSWER = "env fault:EINVAL 3\nenv fault:punch 9 failed 0\nenv fault:crash 1 failed 0\nenv dropped:crash EOPNOTSUPP\n" \
    "env seconds 4.012\noperations 1000\nviolations 2\n"


class Whole(Bench):
    """All of it on a machine made of Python."""

    def setUp(self) -> None:
        super().setUp()
        self.judge.write_text(JUDGE)
        self.machine = FakeMachine()
        self.store.meta["reduce"] = {}
        self.folder = Path(self.dir.name) / "was"
        result = replace(RACE, id="6.1/xfs/dio-read/race-3", kernel="6.1", channel="dio-read", kinds=["lost-write"])
        case = record(self.folder, result)
        (case / "answer").write_text(ANSWER)
        (case / "stream").write_bytes(stream(STREAM))
        self.found = Found(case, {}, result)

    def reduced(self, kinds: tuple[str, ...] = ("lost-write",), budget_s: float = 60.0) -> dict[str, Any]:
        asked = Race(seed=3, seconds=4.0)
        what = reduce.Reduce(self.found, reduce.race_of(self.found, asked), asked, kinds, budget_s=budget_s, depth=3)
        what.race = replace(what.race, seconds=0.5)
        out = reduce.Outcome()
        self.context.sequences["race"] = self.context.sequences["s"]
        kernel = reduce.ReduceKernel(self.machine, self.context)
        kernel.what, kernel.out, kernel.began = what, out, reduce.time.monotonic()
        kernel.run([Cell("6.1", "xfs", "dio-read")])
        told = reduce_report.told(what, out, self.store.folder, "6.1")
        json.dumps(told)
        return told

    def sequences_fail(self, when: Callable[[str], bool], as_a_case: Callable[[str], bool] | None = None) -> None:
        self.machine.on_explore = lambda text: "corrupt" if when(text) else "coherent"
        original = self.machine.do_case

        def case(words: object, keys: dict[str, str]) -> list[str]:
            bad = (as_a_case or when)(keys["seq"])
            self.machine.history_of = lambda nr: ["BAD"] if bad else []
            return original(words, keys)
        self.machine.do_case = case  # type: ignore[method-assign]

    def test_faults_that_this_filesystem_has_not_are_no_part_of_it(self) -> None:
        race = reduce.race_of(self.found, Race(ops=5000))
        self.assertEqual((race.faults, race.ops, race.seconds), (("punch",), 0, 4.0))

    def test_a_race_and_a_sequence(self) -> None:
        self.machine.on_race = lambda keys: {"write", "fault"} <= set(keys.get("verbs", "write,fault").split(","))
        self.sequences_fail(lambda text: "hold" in text and "punch" in text.partition("hold")[2].partition("land")[0])
        told = self.reduced()
        self.assertEqual((told["race"]["before"]["shown"], told["race"]["before"]["races"]), (5, 5))
        self.assertEqual((told["race"]["after"]["shown"], told["race"]["after"]["races"]), (5, 5))
        self.assertIn("--fault punch", told["race"]["line"])
        self.assertIn("--threads 2", told["race"]["line"])
        sequence = told["sequence"]
        self.assertEqual((sequence["shown"], sequence["tries"], sequence["same"], sequence["channel"]),
                         (5, 5, "kind", "dio-read"))
        self.assertIn("hold w1 A 0 8K\npunch A 0 4K\nland w1\n", sequence["text"])
        self.assertLess(told["explored"][0]["depth_done"], 2)  # it ends with the first
        text = reduce_report.render(told)
        self.assertIn("failed 5 of 5: lost (lost-write), channel dio-read", text)
        self.assertIn("--export c", text)
        told["sequence"]["not_exported"] = "no"
        self.assertIn("export    not as a program: no\n", reduce_report.render(told))
        self.assertNotIn("stream", [k for keys in self.machine.races[5:7] for k in keys])

    def test_only_what_is_measured_is_recorded(self) -> None:
        self.machine.on_race = lambda keys: True
        self.reduced()
        recorded = ["record" in keys for keys in self.machine.races]
        self.assertEqual(recorded[:5], [True] * 5)
        self.assertFalse(any(recorded[5:-5]))
        self.assertEqual(recorded[-5:], [True] * 5)

    def test_of_what_it_went_back_from_no_cut_is_told(self) -> None:
        """The last cuts were kept by chance: measured, only what was cut before them shows it."""
        for least, kept in ((64 << 10, 2), (1 << 30, 0)):
            reducer = Reducer(lambda race: Ran(race.size >= least, 1000, 3, race.seconds, "x", race.seed),
                              itertools.count(), lambda: 1e6)
            for size in (128 << 10, 64 << 10, 32 << 10):
                reducer.cuts.append(Cut(f"size {size}", replace(BASE, size=size), 1, 1))
            reducer.tried = 9
            whole = reduce.ReduceKernel(self.machine, self.context)
            whole.what = reduce.Reduce(self.found, BASE, BASE, ("lost-write",))
            whole.out = reduce.Outcome(before=reducer.measure(replace(BASE, size=1 << 30), 5))
            whole.began = reduce.time.monotonic()
            whole._keep(reducer.cuts)
            whole.out.tried = reducer.tried
            whole._measure(reducer, reducer.cuts[-1].race)
            told = reduce_report.told(whole.what, whole.out, self.store.folder, "6.1")
            self.assertEqual([c["what"] for c in told["race"]["cuts"]], ["size 131072", "size 65536"][:kept])
            says = f"cut down: {kept} of 9 cuts kept" if kept else "cut down: 9 smaller races tried, none is kept"
            self.assertIn(says, reduce_report.render(told))

    def test_chance_only(self) -> None:
        self.machine.on_race = lambda keys: True
        told = self.reduced()
        self.assertIsNone(told["sequence"])
        self.assertRegex(reduce_report.render(told), r"none of up to \d steps over what is left shows it; it is chance "
                         r"only: 5 of 5 races of 0.5 s")
        self.assertTrue(told["explored"][0]["ran"])
        told["explored"] = []  # as when it is stopped: nothing is claimed of what was not run
        self.assertIn("sequence  not looked for", reduce_report.render(told))

    def test_a_sequence_that_fails_now_and_then_does_not_end_the_search(self) -> None:
        self.machine.on_race = lambda keys: "fault" in keys.get("verbs", "fault")
        failing = iter(itertools.cycle((True, False, False)))  # as a case: on the fast path it always does
        self.sequences_fail(lambda text: "hold" in text and "punch" in text, lambda text: next(failing))
        told = self.reduced()
        self.assertEqual((told["sequence"]["shown"], told["sequence"]["tries"]), (2, 5))
        self.assertEqual(told["explored"][0]["depth_done"], 3)
        self.assertIn("failed 2 of 5: lost (lost-write), channel dio-read; a matter of chance too",
                      reduce_report.render(told))

    def test_nothing_shows_any_more(self) -> None:
        told = self.reduced()
        self.assertEqual((told["race"]["before"]["shown"], told["race"]["after"], told["sequence"]), (0, None, None))
        self.assertGreater(told["race"]["before"]["races"], 5)
        self.assertIn("nothing shows it any more", reduce_report.render(told))

    def test_another_kind_is_called_so(self) -> None:
        self.machine.on_race = lambda keys: True
        self.sequences_fail(lambda text: "hold" in text and "punch" in text)
        told = self.reduced(kinds=("stale",))
        self.assertEqual(told["race"]["before"]["shown"], 0)  # lost-write is not what was asked for
        self.assertEqual(told["sequence"]["same"], "family")
        self.assertIn("the race's kind was stale", reduce_report.render(told))


class Refused(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def refused(self, says: str, result: object, *options: str, files: tuple[str, ...] = ()) -> None:
        case = record(self.root / str(len(list(self.root.iterdir()))), result)  # type: ignore[arg-type]
        for name in files:
            (case / name).write_text("")
        code, err = call("reduce", str(case), *options)
        self.assertEqual(code, 64, err)
        self.assertIn(says, err)

    def test_what_cannot_be_reduced(self) -> None:
        both = ("stream", "answer")
        self.refused("is no race", LOST)
        self.refused("shows no violation", replace(LANDED, sequence="race"))
        self.refused("its stream was not kept", RACE)
        self.refused("unknown kind of this race 'lost'", RACE, "--kind", "lost", files=both)
        self.refused("--repeats wants", RACE, "--repeats", "0", files=both)
        self.refused("--depth wants", RACE, "--depth", "99", files=both)
        self.refused("on one kernel", RACE, "--kernel", "6.1", "--kernel", "6.12", files=both)
        self.refused("is not a time", RACE, "--budget", "soon", files=both)


if __name__ == "__main__":
    unittest.main()
