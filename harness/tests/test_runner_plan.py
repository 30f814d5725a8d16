# SPDX-License-Identifier: GPL-2.0
"""Sequences' headers and the plan."""

import tempfile
import unittest
from pathlib import Path

from harness.runner.agent import ChannelInfo, FaultInfo
from harness.runner.errors import UsageError, nearest
from harness.runner.explore_state import ExploreCase
from harness.runner.fsconfig import FsConfig
from harness.runner.plan import Asked, Case, Filters, load_sequences, parse_case_id, parse_sequence, plan
from harness.runner.race import Race, RaceCase

FAULTS = {n: FaultInfo(n, a, frozenset(f), "") for n, a, f in (
    ("punch", "file-range", ()), ("clone", "file-file", ()), ("syncfs", "file", ("exclusive",)),
    ("crash", "file", ("exclusive", "last")), ("power-cut", "file", ("guest-only", "last", "power")),
    ("panic", "file", ("selftest", "guest-only")))}
CHANNELS = {n: ChannelInfo(n, "pte", "trivial", False, True, "") for n in ("store", "rdma-odp", "rdma-odp/mtu1024")}
CONFIGS = {n: FsConfig(n, "xfs") for n in ("xfs", "xfs-dax")}


class Plans(unittest.TestCase):
    def setUp(self) -> None:
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.root = Path(self.dir.name)
        self.write("punch-write", "# Title here.\n# variants: yes\nfile A 64K written\npin A\npunch A 0 4K\nwrite A 0 8K\n")
        self.write("clone-write", "# T\nfile A 64K written\npin A\nclone A B\nwrite A 0 8K\n")
        self.write("crash-write", "# T\n# channels: rdma-*\nfile A 64K written\nwrite A 0 8K\ncrash A\n")
        self.write("selftest/panic", "# T\nfile A 64K written\npanic A\n")

    def write(self, name: str, text: str) -> Path:
        path = self.root / f"{name}.seq"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def cases(self, kernels: tuple[str, ...] = ("6.1",), selftest: bool = False, **filters: list[str]):
        return plan(list(kernels), CONFIGS, CHANNELS, FAULTS, load_sequences(self.root, FAULTS),
                    Filters(**filters), selftest)

    def test_header(self) -> None:
        seq = parse_sequence(self.root / "punch-write.seq", FAULTS)
        self.assertEqual((seq.title, seq.variants, seq.files), ("Title here.", True, ("A",)))
        self.assertEqual(parse_sequence(self.root / "clone-write.seq", FAULTS).files, ("A", "B"))

    def test_matrix(self) -> None:
        ids = [c.id for c in self.cases()]
        self.assertIn("6.1/xfs/rdma-odp/mtu1024/punch-write", ids)
        self.assertNotIn("6.1/xfs/rdma-odp/mtu1024/clone-write", ids)  # variants run few sequences
        self.assertIn("6.1/xfs/rdma-odp/crash-write", ids)
        self.assertNotIn("6.1/xfs/store/crash-write", ids)  # # channels: rdma-*
        self.assertFalse([i for i in ids if i.endswith("panic")])

    def test_exclusive(self) -> None:
        by = {c.id: c for c in self.cases()}
        self.assertTrue(by["6.1/xfs/rdma-odp/crash-write"].exclusive)
        self.assertTrue(by["6.1/xfs/rdma-odp/crash-write"].crashes)
        self.assertFalse(by["6.1/xfs/store/punch-write"].exclusive)

    def test_default_on_some_filesystems(self) -> None:
        self.write("cut", "# T\n# default: xfs-d*\nfile A 64K written\npunch A 0 4K\n")
        self.write("never", "# T\n# default: no\nfile A 64K written\npunch A 0 4K\n")
        self.assertEqual({c.fs for c in self.cases() if c.sequence == "cut"}, {"xfs-dax"})
        self.assertEqual({c.fs for c in self.cases(sequences=["cut"])}, {"xfs", "xfs-dax"})
        self.assertNotIn("never", {c.sequence for c in self.cases()})
        self.assertIn("never", {c.sequence for c in self.cases(sequences=["never"])})

    def test_filesystems_that_stand_beside_the_others(self) -> None:
        self.write("selftest/quota", "# T\n# fs: xfs-quota\nfile A 64K written\n")
        configs = {**CONFIGS, "xfs-quota": FsConfig("xfs-quota", "xfs", default=False)}

        def planned(selftest: bool, **filters: list[str]) -> set[tuple[str, str]]:
            return {(c.fs, c.sequence) for c in plan(["6.1"], configs, CHANNELS, FAULTS, load_sequences(self.root, FAULTS),
                                                     Filters(**filters), selftest)}
        self.assertEqual({fs for fs, _ in planned(False)}, {"xfs", "xfs-dax"})
        self.assertEqual({fs for fs, _ in planned(False, fs=["*-quota"])}, {"xfs-quota"})
        # The selftest does there what belongs there, and not all the rest again.
        self.assertEqual(planned(True, fs=["xfs", "xfs-quota"]), {("xfs", "panic"), ("xfs-quota", "quota")})

    def test_power_cut(self) -> None:
        self.write("cut", "# T\nfile A 64K written\npower-cut A\n")
        self.write("busy", "# T\nfile A 64K written\npower-cut A\npunch A 0 4K\n")
        by = {c.sequence: c for c in self.cases() if c.fs == "xfs"}
        self.assertEqual([(by[n].power, by[n].busy) for n in ("cut", "busy", "punch-write")],
                         [(True, False), (True, True), (False, False)])
        self.assertFalse([c for c in self.cases(("native",)) if c.power])

    def test_numbers_do_not_depend_on_filters(self) -> None:
        everything = {c.id: c.nr for c in self.cases(("6.1", "6.12"))}
        self.assertEqual(len({(i.split("/")[0], n) for i, n in everything.items()}), len(everything))
        for case in self.cases(("6.12",), fs=["xfs-dax"], sequences=["punch*"], channels=["rdma-odp*"]):
            self.assertEqual(case.nr, everything[case.id])

    def test_faults_filter_and_selftest(self) -> None:
        self.assertEqual({c.sequence for c in self.cases(faults=["clone"])}, {"clone-write"})
        self.assertEqual({c.sequence for c in self.cases(selftest=True)}, {"panic"})
        self.assertEqual(self.cases(("native",), selftest=True), [])  # guest-only

    def test_needs(self) -> None:
        for need in ("guest", "flush-trace"):
            self.write("wants", f"# T\n# needs: {need}\nfile A 64K written\npunch A 0 4K\n")
            self.assertEqual({c.kernel for c in self.cases(("native", "6.1"), sequences=["wants"])}, {"6.1"})
        self.write("wants", "# T\n# needs: flush-trance\nfile A 64K written\npunch A 0 4K\n")
        with self.assertRaisesRegex(UsageError, "need 'flush-trance': did you mean flush-trace"):
            self.cases()

    def test_unknown_names(self) -> None:
        for how, says in (({"fs": ["xsf"]}, "filesystem 'xsf': did you mean xfs"),
                          ({"channels": ["stroe"]}, "channel 'stroe': did you mean store"),
                          ({"sequences": ["zzz"]}, "there are: clone-write"),
                          ({"faults": ["pnch"]}, "fault 'pnch': did you mean punch")):
            with self.assertRaisesRegex(UsageError, says):
                self.cases(**how)

    def test_malformed(self) -> None:
        path = self.write("bad", "# t\nfile A 64K written\npinch A 0 4K\n")
        with self.assertRaisesRegex(UsageError, r"bad.seq:3: unknown step 'pinch': did you mean punch"):
            parse_sequence(path, FAULTS)
        with self.assertRaisesRegex(UsageError, r"bad.seq:1: a sequence names"):
            parse_sequence(self.write("bad", "# t\n"), FAULTS)
        with self.assertRaisesRegex(UsageError, r"bad.seq:2: file wants"):
            parse_sequence(self.write("bad", "# t\nfile A\n"), FAULTS)

    def test_a_held_read(self) -> None:
        path = self.write("read", "# t\nfile A 64K written\npin A\nhold-read r1 A 0 4K\nland r1\nread A 0 4K gup\n")
        self.assertEqual(parse_sequence(path, FAULTS).verbs, ("file", "pin", "hold-read", "land", "read"))

    def test_case_id(self) -> None:
        self.assertEqual(parse_case_id("6.1/xfs/rdma-odp/mtu1024/x"), ("6.1", "xfs", "rdma-odp/mtu1024", "x"))
        self.assertEqual(parse_case_id("6.1/xfs/store/x"), ("6.1", "xfs", "store", "x"))
        with self.assertRaises(UsageError):
            parse_case_id("xfs/store/x")

    def test_nearest_lists_when_nothing_is_near(self) -> None:
        self.assertEqual(nearest("qqq", ["b", "a"], "thing"), "unknown thing 'qqq'; there are: a b")


class Repeats(unittest.TestCase):
    """The line that repeats a case says what only the command line of its run said."""

    def test_what_has_a_name_everywhere(self) -> None:
        self.assertEqual(Case("6.1", "xfs", "store", "s", 1).repeat(),
                         "./run.sh run --kernel 6.1 --fs xfs --channel store --sequence s")

    def test_what_has_none(self) -> None:
        case = Case("native", "mine", "store", "s", 1)
        race = RaceCase("native", "mine", "store", "race", 1, race=Race(seed=2))
        asked = Asked(section_of="mine", local_config=Path("/a b/local.config"), section="mi ne", device="/dev/x",
                      sequence_of="s", sequence_file=Path("/s.seq"))
        where = ("--kernel native --device /dev/x --fs mine --local-config '/a b/local.config' --section 'mi ne' "
                 "--channel store")
        self.assertEqual(case.repeat(asked), f"./run.sh seq /s.seq {where}")
        self.assertEqual(race.repeat(asked), f"./run.sh race {where} --seed 2")
        asked = Asked({"bzImage": Path("/k/bzImage")}, Path("/k/modules"), "mine", Path("/local.config"), device="/dev/x")
        for fs, more in (("xfs", ""), ("mine", " --local-config /local.config")):
            self.assertEqual(Case("bzImage", fs, "store", "s", 1).repeat(asked),
                             f"./run.sh run --kernel /k/bzImage --modules /k/modules --fs {fs}{more} --channel store "
                             "--sequence s")

    def test_of_what_was_recorded_and_of_what_was_enumerated(self) -> None:
        asked = Asked(recorded="results/r", device="/dev/x")
        case = Case("native", "xfs", "store", "s", 1, turn=2)
        self.assertEqual(case.repeat(asked),
                         "./run.sh repro results/r/cases/native/xfs/store/s.2 --kernel native --device /dev/x")
        self.assertEqual(Case("6.1", "xfs", "store", "s", 1).repeat(asked),
                         "./run.sh repro results/r/cases/6.1/xfs/store/s")
        explored = ExploreCase("6.1", "xfs", "store", "explore-x", 1, again=2, folder="a b")
        self.assertEqual(explored.repeat(), f"./run.sh repro 'a b/cases/{explored.id}'")


if __name__ == "__main__":
    unittest.main()
