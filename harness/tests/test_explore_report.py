# SPDX-License-Identifier: GPL-2.0
"""What an exploration says: each thing once."""

import unittest

from harness.runner import explore_report
from harness.runner.findings import Finding

STACK = "ext4_wait_dax_page < dax_break_layout < ext4_fallocate"


def cell(fs: str, channel: str, *aside: str) -> dict[str, object]:
    return {"kernel": "newest", "fs": fs, "channel": channel, "set_aside": list(aside)}


class Once(unittest.TestCase):
    def test_what_a_finding_is(self) -> None:
        for family, kinds, what in (("hang", ["hang"], "hang"), ("data", ["lost-write"], "data: lost-write"),
                                    ("crash", ["kernel-fault", "crash"], "crash: kernel-fault, crash")):
            self.assertEqual(Finding("n", "k", "f", "c", "t", (), family, kinds).what, what)

    def test_set_aside(self) -> None:
        hung = f"hung in sequence 575: line 4 of the sequence, in S ext4_wait_dax_page: {STACK}"
        again = "hung in sequence 603: line 5 of the sequence, in S ext4_wait_dax_page: x < ext4_setattr"
        judge = "sequence {}: the judge failed: nothing was said"
        lines = explore_report._set_aside([
            cell("ext2-dax", "dio-read", hung, again, judge.format(2), judge.format(7)),
            cell("ext4-dax", "dio-read", again), cell("ext4-dax", "store"),
            cell("xfs-dax", "store", "crashed in sequence 9: Kernel panic")])
        self.assertEqual(lines, [
            f"newest/ext2-dax/dio-read: {hung}; 2 more like it: newest: ext2-dax ext4-dax (dio-read)",
            "newest/ext2-dax/dio-read: sequence 2: the judge failed: nothing was said; 1 more like it: newest: "
            "ext2-dax (dio-read)", "newest/xfs-dax/store: crashed in sequence 9: Kernel panic"])

    def test_what_runs_sleeps_in_no_function(self) -> None:
        """Two hangs that spin are one only where their steps are the same."""
        def hang(where: str, *verbs: str) -> dict[str, object]:
            steps = tuple((verb, (0,)) for verb in verbs)
            return Finding("n", "k", "f", "c", "t", steps, "hang", ["hang"], why=where, outcome="expected").dump()
        found = [hang("line 4 of the sequence, in R running", "hold", "clone"),
                 hang("in R running: no stack", "hold", "clone"), hang("in R running: no stack", "punch"),
                 hang("in D x: x < y", "punch"), hang("line 4 of the sequence, in D x", "fsync")]
        self.assertEqual(sorted(len(g.found) for g in explore_report.groups([{"findings": found}])), [1, 2, 2])


if __name__ == "__main__":
    unittest.main()
