# SPDX-License-Identifier: GPL-2.0
"""bisect: which kernels are tried, what is said of each, and what is concluded; on machines of Python."""

import contextlib
import io
import json
import random
import stat
import unittest
from collections.abc import Callable
from unittest import mock

from harness.guest import Available, KernelConf, available
from harness.guest.debian import Candidate
from harness.runner import batch, bisect, main
from harness.runner.agent import Agent
from harness.runner.errors import EnvironmentFailed
from harness.runner.fsconfig import FsConfig
from harness.runner.plan import Sequence
from harness.runner.store import load_run

from .fake_machine import FakeMachine
from .test_repro import LOST, Temporary, record
from .test_runner_cli import call

# A history's own words say what comes of it.
JUDGE = """#!/bin/sh
while read -r path; do
	if grep -q LOST "$path"; then echo "verdict corrupt"; echo "resolution lost"; echo "kind lost-write"
	elif grep -q DUNNO "$path"; then echo "verdict inconclusive"; echo "why no pin was seen"
	else echo "verdict coherent"; echo "resolution refused"; echo "checked 3"
	fi
	echo end
done
"""
VERSIONS = ["6.1.170-3", "6.1.172-1~deb11u1", "6.1.172-1", "6.1.180-1", "6.12.90-1", "6.12.90-2", "6.12.107-1",
            "6.12.107-1~deb12u1", "7.0.4-1~bpo13+1", "7.3.4-1~bpo13+1"]
CASE = "6.1.170-3/xfs/store/s"


def offer(version: str) -> Available:
    release = f"{version}-amd64"
    return Available(version, release, ("suite",), None, (Candidate("suite", release, version, ()),))


class Bench(Temporary):
    """`how` says of a version and the number of a run on it "bad", "good", "dunno", or "dead"."""

    def setUp(self) -> None:
        super().setUp()
        judge = self.root / "judge"
        judge.write_text(JUDGE)
        judge.chmod(judge.stat().st_mode | stat.S_IXUSR)
        self.how: Callable[[str, int], str] = lambda version, turn: "good"
        self.booted: list[str] = []
        self.case = record(self.root / "then", mock_result(), sequence="file A 64K written\n", filesystems={
            "xfs": {"fstype": "xfs", "mkfs_options": "", "mount_options": "", "requires": "disk", "proves": {}}})
        hello = FakeMachine()
        hello.start()
        sequence = Sequence("s", "file A 64K written\n", "s.seq", "t", files=("A",))
        world = main.World(Agent(hello).hello(), {"s": sequence},
                           {"xfs": FsConfig("xfs", "xfs")}, {"6.1": KernelConf("6.1"), "newest": KernelConf("newest")})
        patches = (mock.patch.object(main, "ready", return_value=world), mock.patch.object(main, "JUDGE", judge),
                   mock.patch.object(main, "stage_programs", return_value=self.root / "exec"),
                   mock.patch.object(main, "guest_maker", self.maker), mock.patch.object(batch, "PIN_PATIENCE_S", 0.05),
                   mock.patch.object(available, "everything", return_value=[offer(v) for v in VERSIONS]))
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)

    def maker(self, conf: KernelConf, *_: object) -> Callable[[], FakeMachine]:
        name = conf.package_version
        if self.how(name, 1) == "gone":
            raise EnvironmentFailed(f"kernel {name}: cannot fetch it")
        machine = FakeMachine(kernel=name)
        machine.version = name

        def start(same_disks: bool = False) -> None:
            self.booted.append(name)
            if self.how(name, 1) == "dead":
                raise EnvironmentFailed(f"kernel {name} does not boot: no luck")
            FakeMachine.start(machine, same_disks)
        machine.start = start  # type: ignore[method-assign]
        words = {"bad": "LOST", "dunno": "DUNNO"}
        machine.history_of = lambda nr: [words.get(self.how(name, 1 + nr // 1_000_000), "fine")]
        return lambda: machine

    def bisect(self, good: str, bad: str, *more: str) -> tuple[int, str, str]:
        out = io.StringIO()
        with mock.patch("sys.stdout", out), contextlib.redirect_stdout(out):
            err = io.StringIO()
            with contextlib.redirect_stderr(err):
                from harness.runner import cli
                code = cli.main(["bisect", str(self.case), "--good", good, "--bad", bad, "--out",
                                 str(self.root / "now"), *more])
        return code, out.getvalue(), err.getvalue()

    def facts(self) -> dict:
        return json.loads((self.root / "now/bisect.json").read_text())


def mock_result():
    from dataclasses import replace
    return replace(LOST, id=CASE, kernel="6.1.170-3", channel="store", sequence="s", kernel_version="6.1.170")


def from_version(first: str, word: str, other: str) -> Callable[[str, int], str]:
    """`word` from that version on, `other` before it."""
    at = VERSIONS.index(first)
    return lambda version, turn: word if VERSIONS.index(version) >= at else other


class Bisect(Bench):
    def test_first_bad(self) -> None:
        self.how = from_version("6.12.90-2", "bad", "good")
        code, out, err = self.bisect("6.1.170-3", "7.3.4", "--times", "2")
        self.assertEqual(code, 0, err)
        self.assertIn("8 kernels from 6.1.170-3 (good) to 7.3.4-1~bpo13+1 (bad), without 2 rebuilds", out)
        self.assertIn("these two and at most 3 between them", out)
        self.assertIn("first bad: 6.12.90-2 (6.12.90); last good: 6.12.90-1 (6.12.90)\n", out)
        self.assertRegex(out, r"\n6\.12\.90-2 +bad +2 of 2 +lost \(lost-write\)\n")
        self.assertRegex(out, r"\n6\.12\.90-1 +good +0 of 2 +refused\n")
        self.assertRegex(out, r"bad: +\./run\.sh repro \S+/now/cases/6\.12\.90-2/xfs/store/s --times 2\n")
        self.assertLessEqual(len(self.booted), 5)
        facts = self.facts()
        self.assertEqual((facts["first"]["version"], facts["last"]["upstream"], facts["looks_for"], facts["complete"]),
                         ("6.12.90-2", "6.12.90", "first bad", True))
        meta, results = load_run(self.root / "now")
        self.assertTrue(meta["complete"])
        self.assertEqual(len(results), 2 * len(self.booted))
        self.assertTrue((self.root / "now/cases/6.12.90-2/xfs/store/s.2/history").exists())

    def test_every_place(self) -> None:
        kept = [v for v in VERSIONS if "~deb" not in v]
        for first in kept[1:]:
            with self.subTest(first):
                self.booted = []
                self.how = from_version(first, "bad", "good")
                code, out, err = self.bisect(VERSIONS[0], VERSIONS[-1], "--times", "1", "--out", str(self.root / first))
                self.assertEqual(code, 0, err)
                before = kept[kept.index(first) - 1]
                self.assertIn(f"first bad: {first} (", out)
                self.assertIn(f"; last good: {before} (", out)
                self.assertLessEqual(len(self.booted), 5)

    def test_fix(self) -> None:
        self.how = from_version("6.12.107-1", "good", "bad")
        code, out, _ = self.bisect("7.3.4-1~bpo13+1", "6.1.170-3")
        self.assertEqual(code, 0)
        self.assertIn("first good: 6.12.107-1 (6.12.107); last bad: 6.12.90-2 (6.12.90)\n", out)
        self.assertRegex(out, r"\n6\.12\.90-2 +bad +3 of 3")

    def test_now_and_then_is_bad(self) -> None:
        late = from_version("6.12.90-1", "bad", "good")
        self.how = lambda version, turn: late(version, turn) if turn == 3 else "good"
        code, out, _ = self.bisect(VERSIONS[0], VERSIONS[-1])
        self.assertEqual(code, 0)
        self.assertRegex(out, r"\n6\.12\.90-1 +bad +1 of 3 +lost \(lost-write\)\n")
        self.assertIn("first bad: 6.12.90-1 ", out)

    def test_skip_in_the_middle(self) -> None:
        """Halving begins with one that does not boot; its neighbour decides."""
        plain = from_version("6.12.90-1", "bad", "good")
        for broken, why in (("dead", "does not boot"), ("dunno", "3 inconclusive: no pin was seen"),
                            ("gone", "cannot fetch")):
            with self.subTest(broken):
                self.booted = []
                self.how = lambda version, turn: broken if version == "6.12.90-2" else plain(version, turn)
                code, out, err = self.bisect(VERSIONS[0], VERSIONS[-1], "--out", str(self.root / broken))
                self.assertEqual(code, 0, err)
                self.assertIn("first bad: 6.12.90-1 (6.12.90); last good: 6.1.180-1 (6.1.180)\n", out)
                skips = [t["why"] for t in json.loads((self.root / broken / "bisect.json").read_text())["tried"]
                         if t["verdict"] == "skip"]
                self.assertTrue(all(why in text for text in skips), skips)
        self.how = lambda version, turn: "dead" if version == "6.1.180-1" else plain(version, turn)
        _, out, _ = self.bisect(VERSIONS[0], VERSIONS[-1], "--out", str(self.root / "x"))
        self.assertRegex(out, r"\n6\.1\.180-1 +skip +- +kernel 6\.1\.180-1 does not boot: no luck\n")

    def test_range(self) -> None:
        plain = from_version("6.12.90-1", "bad", "good")
        self.how = lambda version, turn: "dead" if version in ("6.1.180-1", "6.12.90-1") else plain(version, turn)
        code, out, _ = self.bisect(VERSIONS[0], VERSIONS[-1])
        self.assertEqual(code, 0)
        self.assertIn("first bad: one of 6.1.180-1 6.12.90-1 6.12.90-2: those before the last of them gave no answer; "
                      "last good: 6.1.172-1 (6.1.172)\n", out)
        facts = self.facts()
        self.assertEqual((facts["first"], facts["first_is_one_of"]), (None, ["6.1.180-1", "6.12.90-1", "6.12.90-2"]))

    def test_nothing_between_answers(self) -> None:
        ends = {VERSIONS[0]: "good", VERSIONS[-1]: "bad"}
        self.how = lambda version, turn: ends.get(version, "dunno")
        code, out, _ = self.bisect(VERSIONS[0], VERSIONS[-1])
        self.assertEqual(code, 2)
        self.assertIn("first bad: one of ", out)
        self.assertEqual(len(self.booted), 8)

    def test_neighbours_need_no_step(self) -> None:
        self.how = from_version("6.12.90-2", "bad", "good")
        code, out, _ = self.bisect("6.12.90-1", "6.12.90-2")
        self.assertEqual((code, len(self.booted)), (0, 2))
        self.assertIn("first bad: 6.12.90-2", out)

    def test_wrong_ends(self) -> None:
        self.how = lambda version, turn: "bad"
        code, out, err = self.bisect(VERSIONS[0], VERSIONS[-1])
        self.assertEqual((code, self.booted), (64, [VERSIONS[0]]))
        self.assertIn("--good 6.1.170-3: the case failed 3 of 3 times on it, so it is bad\n", err)
        self.assertEqual(self.facts()["complete"], False)
        self.how = lambda version, turn: "good"
        code, _, err = self.bisect(VERSIONS[0], VERSIONS[-1], "--out", str(self.root / "2"))
        self.assertEqual(code, 64)
        self.assertIn("--bad 7.3.4-1~bpo13+1: the case failed 0 of 3 times on it, so it is good (one that fails", err)
        for how in ("dunno", "dead"):
            self.how = lambda version, turn: how
            code, _, err = self.bisect(VERSIONS[0], VERSIONS[-1], "--out", str(self.root / how))
            self.assertEqual(code, 2)
            self.assertIn("--good 6.1.170-3: nothing was concluded on it: ", err)

    def test_a_failed_control_is_no_answer(self) -> None:
        self.how = from_version("6.12.90-1", "bad", "good")
        with mock.patch.object(bisect.controls, "failures", lambda some: ["swap"]):
            self.assertEqual(self.bisect(VERSIONS[0], VERSIONS[-1])[0], 2)

    def test_rebuild_as_an_end(self) -> None:
        self.how = lambda version, turn: "bad" if version == "6.12.107-1~deb12u1" else "good"
        code, out, _ = self.bisect("6.12.90-2", "6.12.107-1~deb12u1")
        self.assertEqual(code, 0)
        self.assertIn("first bad: 6.12.107-1~deb12u1 (6.12.107); last good: 6.12.90-2 ", out)

    def test_what_was_alone_stays_alone(self) -> None:
        self.how = from_version("6.12.90-2", "bad", "good")
        path = self.root / "then/run.json"
        for alone in (False, True):
            with self.subTest(alone=alone), mock.patch.object(batch.Neighbour, "start") as neighbour:
                facts = json.loads(path.read_text())
                facts["cases"][0]["exclusive"] = alone
                path.write_text(json.dumps(facts))
                code, _, err = self.bisect("6.12.90-1", "6.12.90-2", "--out", str(self.root / f"now-{alone}"))
                self.assertEqual((code, neighbour.called), (0, not alone), err)

    def test_named_kernels(self) -> None:
        self.how = from_version("6.12.90-1", "bad", "good")
        with mock.patch("harness.guest.obtain", side_effect=lambda conf, log: mock.Mock(
                package_version={"6.1": VERSIONS[0], "newest": VERSIONS[-1]}[conf.name])):
            code, out, _ = self.bisect("6.1", "newest")
        self.assertEqual(code, 0)
        self.assertIn("8 kernels from 6.1.170-3 (good)", out)

    def test_json(self) -> None:
        self.how = from_version("6.12.90-1", "bad", "good")
        code, out, err = self.bisect(VERSIONS[0], VERSIONS[-1], "--json")
        self.assertEqual((code, json.loads(out)["first"]["version"]), (0, "6.12.90-1"))
        self.assertIn("first bad: 6.12.90-1", err)

    def test_another_way(self) -> None:
        at = from_version("6.12.90-1", "bad", "good")
        self.how = at
        torn = JUDGE.replace("lost-write", "torn")
        (self.root / "judge").write_text(torn)
        _, out, _ = self.bisect(VERSIONS[0], VERSIONS[-1])
        self.assertRegex(out, r"\n6\.12\.90-1 +bad +3 of 3 +another way: lost \(torn\)\n")
        self.assertIn("note: the case was recorded as lost (lost-write)", out)

    def test_resume(self) -> None:
        self.how = from_version("6.12.90-1", "bad", "good")

        def stops(conf: KernelConf, *rest: object) -> Callable[[], FakeMachine]:
            if len(self.booted) == 3:
                raise KeyboardInterrupt
            return self.maker(conf, *rest)
        with mock.patch.object(main, "guest_maker", stops):
            self.assertEqual(self.bisect(VERSIONS[0], VERSIONS[-1])[0], 2)
        self.assertEqual((self.facts()["complete"], len(self.facts()["tried"])), (False, 3))
        before = list(self.booted)
        code, err = call("bisect", "--resume", str(self.root / "now"))
        self.assertEqual(code, 0, err)
        self.assertEqual(self.facts()["first"]["version"], "6.12.90-1")
        self.assertEqual(len(self.booted), len(set(self.booted)), (before, self.booted))

    def test_usage(self) -> None:
        for argv, says in ((("--good", "6.1"), "(bad is missing)"),
                           (("--good", "6.1.170-3", "--bad", "6.1.170-3"), "are both 6.1.170-3"),
                           (("--good", "6.1.171", "--bad", "7.3.4"), "no kernel 6.1.171 on the mirror or in the cache"),
                           (("--good", "6.12.90", "--bad", "7.3.4"), "6.12.90 may be 6.12.90-1 or 6.12.90-2"),
                           (("--good", "native", "--bad", "7.3.4"), "--good: unknown kernel 'native'"),
                           (("--good", "6.1.170-3", "--bad", "7.3.4", "--times", "0"), "--times wants"),
                           (("--good", "6.1", "--bad", "7.3.4", "--fs", "xfs"), "this command takes no --fs")):
            first = mock.Mock(package_version=VERSIONS[0])
            with self.subTest(argv), mock.patch("harness.guest.obtain", return_value=first):
                code, err = call("bisect", str(self.case), *argv)
                self.assertEqual(code, 64, err)
                self.assertIn(says, err)
                self.assertEqual(err.count("\n"), 1, err)
        self.assertEqual(self.booted, [])


class Narrow(unittest.TestCase):
    def test_against_looking_at_all(self) -> None:
        """Random kernels, of which some give no answer; the answer is the one gap with the turn in it."""
        rng = random.Random(7)
        for _ in range(500):
            count, turn = rng.randint(2, 20), 0
            turn = rng.randint(1, count - 1)
            mute = {i for i in range(1, count - 1) if rng.random() < 0.3}
            asked: list[int] = []

            def trial(at: int) -> str:
                asked.append(at)
                return bisect.SKIP if at in mute else bisect.GOOD if at < turn else bisect.BAD
            low, high = bisect.narrow(count, bisect.GOOD, trial)
            self.assertLess(low, turn)
            self.assertGreaterEqual(high, turn)
            self.assertTrue(all(i in mute for i in range(low + 1, high)))
            self.assertEqual(len(asked), len(set(asked)))
            if not mute:
                self.assertLessEqual(len(asked), bisect.steps_at_most(count - 2))


if __name__ == "__main__":
    unittest.main()
