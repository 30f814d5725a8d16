# SPDX-License-Identifier: GPL-2.0
"""How long an exploration is said to take, against what some took."""

import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from .exploring import ALPHABET
from .test_runner_enumeration import FAULTS
from harness.runner import alphabet as alphabets, explore, explore_estimate
from harness.runner.alphabet import Alphabet, parse
from harness.runner.explore import Explore
from harness.runner.explore_estimate import estimate, mean_bytes
from harness.runner.explore_state import Cell
from harness.runner.main import local_hello

ROOT = Path(__file__).resolve().parents[2]
CHANNELS = {"dio-read": mock.Mock(hold="inflight", cls="short-pin"), "store": mock.Mock(hold="trivial", cls="pte"),
            "pwrite": mock.Mock(hold="inflight", cls="syscall")}
# Sequences a second, with filesystems and checks, of some cells on the machine of the table COSTS.
MEASURED = (("core", "native", "xfs", "store", 660), ("core", "native", "ext4", "dio-read", 427),
            ("core", "native", "btrfs", "store", 524), ("core", "native", "tmpfs", "dio-read", 1714),
            ("core", "native", "ext4", "pwrite", 92), ("core", "6.12", "ext4", "dio-read", 74),
            ("core", "6.1", "ext4-dax", "dio-read", 51), ("core", "6.1", "btrfs", "pwrite", 41),
            ("core", "newest", "tmpfs", "dio-read", 345), ("huge", "native", "xfs", "store", 22),
            ("huge", "native", "tmpfs", "dio-read", 43), ("huge", "native", "btrfs", "store", 13),
            ("huge", "newest", "tmpfs", "dio-read", 6), ("huge", "newest", "xfs", "store", 3))


def world() -> SimpleNamespace:
    configs = {fs: mock.Mock(persistent=fs != "tmpfs") for fs in ("xfs", "ext4", "ext4-dax", "btrfs", "tmpfs")}
    return SimpleNamespace(hello=SimpleNamespace(channels=CHANNELS), configs=configs)


class Estimated(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.faults = local_hello().faults

    def named(self, name: str) -> Alphabet:
        return alphabets.load(name, ROOT / "workloads" / "alphabets", self.faults, ROOT)

    def test_it_is_near_what_was_measured(self) -> None:
        made = {name: Explore(2, alphabet=self.named(name)) for name in ("core", "huge")}
        for name, kernel, fs, channel, want in MEASURED:
            _, seconds, counts = estimate([Cell(kernel, fs, channel)], world(), made[name], 2)  # type: ignore[arg-type]
            rate = sum(c["run"] for c in counts) / seconds
            with self.subTest(name=name, kernel=kernel, fs=fs, channel=channel, rate=rate):
                self.assertTrue(want / 2 <= rate <= want * 2)

    def test_large_files_are_what_costs(self) -> None:
        core, huge = (Explore(2, alphabet=self.named(name)).enumeration(CHANNELS["dio-read"])
                      for name in ("core", "huge"))
        self.assertLess(mean_bytes(core, 4), 1 << 20)
        self.assertTrue(4 << 20 <= mean_bytes(huge, 4) <= 8 << 20)

    def test_how_long(self) -> None:
        what = Explore(3, alphabet=parse(ALPHABET, "test", "test", FAULTS))
        cells = [Cell(k, "xfs", c) for k in ("native", "6.1") for c in ("dio-read", "store")]
        lines, seconds, counts = estimate(cells, world(), what, 2)  # type: ignore[arg-type]
        self.assertEqual(len([line for line in lines if "sequences in each of 2 cells" in line]), 6)
        self.assertRegex(lines[-1], r"^4 cells .*, at an estimated \d+ sequences a second in a guest and \d+ sequences a "
                                    r"second natively: about \d+ seconds, or half or twice that$")
        one = estimate(cells[2:], world(), what, 1)[1]  # type: ignore[arg-type]  # kernels run beside each other
        self.assertAlmostEqual(seconds, one)
        a_quarter = Explore(3, alphabet=what.alphabet, shards=4)
        with mock.patch.object(explore, "SHARED_DEPTH", 0):
            self.assertAlmostEqual(estimate(cells[2:], world(), a_quarter, 1)[1], one / 4)  # type: ignore[arg-type]
        self.assertAlmostEqual(estimate(cells[2:], world(), a_quarter, 1)[1], one)  # type: ignore[arg-type]
        what.depth = 12
        with mock.patch.object(explore_estimate, "COUNTED_MAX", 10_000):
            lines, seconds, _ = estimate(cells, world(), what, 2)  # type: ignore[arg-type]
        self.assertTrue(any("(estimated)" in line for line in lines))
        self.assertGreater(seconds, 86400)


if __name__ == "__main__":
    unittest.main()
