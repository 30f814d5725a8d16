# SPDX-License-Identifier: GPL-2.0
"""How long an exploration is said to take."""

import unittest
from unittest import mock

from .exploring import ALPHABET
from .test_runner_enumeration import FAULTS
from harness.runner.alphabet import parse
from harness.runner.explore import Explore
from harness.runner.explore_estimate import RATES, estimate
from harness.runner.explore_state import Cell


class Estimated(unittest.TestCase):
    def test_how_long(self) -> None:
        everything = mock.Mock()
        everything.hello.channels = {"dio-read": mock.Mock(hold="inflight"), "store": mock.Mock(hold="trivial")}
        what = Explore(3, alphabet=parse(ALPHABET, "test", "test", FAULTS))
        cells = [Cell(k, "xfs", c) for k in ("native", "6.1") for c in everything.hello.channels]
        lines, seconds, counts = estimate(cells, everything, what, 2)
        self.assertEqual(len([line for line in lines if "sequences in each of 2 cells" in line]), 6)
        each = {h: sum(c["run"] for c in counts if c["holds"] == h) for h in (2, 0)}
        self.assertAlmostEqual(seconds, sum(each.values()) / RATES["guest"])
        what.depth = 12
        lines, seconds, _ = estimate(cells, everything, what, 2)
        self.assertTrue(any("(estimated)" in line for line in lines))
        self.assertGreater(seconds, 86400)

if __name__ == "__main__":
    unittest.main()
