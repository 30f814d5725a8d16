# SPDX-License-Identifier: GPL-2.0
"""Rules of expectation, and what a result is called beside them."""

import tempfile
import unittest
from pathlib import Path

from harness.runner.errors import UsageError
from harness.runner.expect import Expectation, Expectations, outcome, parse_range, parse_rule, sleepers, version_of

ROOT = Path(__file__).resolve().parents[2]


class Ranges(unittest.TestCase):
    def test_bounds(self) -> None:
        for text, version, inside in (
                ("*", "6.1.2", True), ("6.5..", "6.5.0", True), ("6.5..", "6.4.16", False),
                ("..6.4", "6.4.16", True), ("..6.4", "6.5.0-rc1", False), ("6.1..6.12", "6.12.107", True),
                ("6.1..6.12", "5.10.0-1", False), ("6.1", "6.1.0-41-amd64", True), ("6.1", "6.10.1", False),
                ("6.12.3..", "6.12.2", False), ("6.12.3..", "7.0.1", True)):
            with self.subTest(f"{version} in {text}"):
                self.assertEqual(version_of(version) in parse_range(text), inside)

    def test_bad(self) -> None:
        for text in ("..", "six", "6", "6.1-6.5", ""):
            with self.assertRaises(ValueError, msg=text):
                parse_range(text)


class Rules(unittest.TestCase):
    def test_last_wins(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "10-a.conf").write_text("* xfs rdma-* * refused refused:EFAULT one\n")
            Path(folder, "20-b.conf").write_text("# c\n..6.4 xfs,ext4 rdma-pinned punch-* bug lost two words\n")
            rules = Expectations.load(Path(folder))
        self.assertEqual(rules.of("6.1.0", {"xfs"}, "rdma-pinned", "punch-write").reference, "two words")
        self.assertEqual(rules.of("6.12.0", {"xfs"}, "rdma-pinned", "punch-write").cls, "refused")
        self.assertEqual(rules.of("6.1.0", {"xfs"}, "rdma-odp/mtu1024", "x").rule, "10-a.conf:1")
        self.assertEqual(rules.of("6.1.0", {"tmpfs"}, "rdma-pinned", "x").cls, "guaranteed")
        self.assertEqual(rules.of("6.12.0", {"mine", "xfs"}, "rdma-pinned", "punch-write").cls, "refused")

    def test_errors(self) -> None:
        for line, says in (("* xfs store *", "a rule is"), ("6 xfs store * bug lost ref", "kernel range"),
                           ("* xfs store * bugs lost ref", "bug"), ("* xfs store * bug los ref", "lost"),
                           ("* xfs store * bug lost", "a rule is|reference")):
            with self.subTest(line), self.assertRaisesRegex(UsageError, says) as caught:
                parse_rule(line, "f.conf:3")
            self.assertTrue(str(caught.exception).startswith("f.conf:3: "))

    def test_shipped_rules_load(self) -> None:
        self.assertTrue(Expectations.load(ROOT / "harness" / "expected").rules)

    def test_what_no_repeat_showed(self) -> None:
        """On btrfs a short pin may be late, now and then. Not gone, nor each time, nor elsewhere, nor a store."""
        rules = Expectations.load(ROOT / "harness" / "expected")
        name = "explore-read-truncate-write-cb847d"

        def of(fs: str, channel: str, kind: str, *also: str) -> str:
            return outcome(rules.of("6.18.44", {fs}, channel, name, frozenset(also)), "corrupt", "lost", "", [], [kind])
        once = f"unrepeated-{name}"
        self.assertEqual(of("btrfs", "dio-read", "view-split", once), "expected")
        self.assertEqual(of("btrfs", "pvm-writev", "checksum", once), "expected")
        for more in (of("btrfs", "dio-read", "lost-write", once), of("btrfs", "dio-read", "view-split"),
                     of("xfs", "dio-read", "view-split", once), of("btrfs", "store", "view-split", once)):
            self.assertEqual(more, "differs")


class Outcomes(unittest.TestCase):
    def check(self, cls: str, listed: str, verdict: str, resolution: str, want: str, errno: str = "",
              findings: tuple[str, ...] = ()) -> None:
        expected = Expectation(cls, listed.split(","))
        self.assertEqual(outcome(expected, verdict, resolution, errno, list(findings)), want)

    def test_guaranteed(self) -> None:
        self.check("guaranteed", "landed", "coherent", "landed", "expected")
        self.check("guaranteed", "landed", "corrupt", "landed", "differs")
        self.check("guaranteed", "landed,lost", "corrupt", "lost", "differs")
        self.check("guaranteed", "landed", "coherent", "blocked", "differs")
        self.check("guaranteed", "landed", "coherent", "landed", "differs", findings=("metadata",))

    def test_a_hang_somewhere_else_is_news(self) -> None:
        known = Expectation("bug", ["hung:ext4_wait_dax_page"])
        for why, want in (("line 4 of the sequence, in S ext4_wait_dax_page", "expected"),
                          ("line 4 of the sequence, in D folio_wait_bit_common", "differs"), ("no answer in 60 s", "differs")):
            with self.subTest(why):
                self.assertEqual(outcome(known, "hung", "hung", "", [], sleepers(why)), want)

    def test_who_hangs_behind_a_known_hang_is_no_news(self) -> None:
        """Of a race all that have not come back are named; one of them must sleep where the rule says."""
        known = Expectation("bug", ["hung:ext4_wait_dax_page"])
        for why, want in (("thread 0, in D filemap_fault; thread 2, in S ext4_wait_dax_page", "expected"),
                          ("thread 0, in D filemap_fault; thread 2, in R 0", "differs")):
            with self.subTest(why):
                self.assertEqual(outcome(known, "hung", "hung", "", [], sleepers(why)), want)

    def test_refused(self) -> None:
        self.check("refused", "refused:EFAULT", "coherent", "refused", "expected", "EFAULT")
        self.check("refused", "refused:EFAULT", "coherent", "refused", "differs", "EINVAL")
        self.check("refused", "refused", "coherent", "refused", "expected", "EINVAL")
        self.check("refused", "refused:EFAULT", "coherent", "landed", "differs")

    def test_bug(self) -> None:
        self.check("bug", "lost", "corrupt", "lost", "expected")
        self.check("bug", "lost", "coherent", "landed", "fixed")
        self.check("bug", "lost,landed", "coherent", "landed", "expected")
        self.check("bug", "lost", "hung", "hung", "differs")
        self.check("bug", "lost,+kernel-log", "corrupt", "lost", "expected", findings=("kernel-log",))
        self.check("bug", "lost", "corrupt", "lost", "differs", findings=("kernel-log",))

    def test_unsupported(self) -> None:
        self.check("unsupported", "lost", "corrupt", "lost", "expected")
        self.check("unsupported", "lost", "coherent", "landed", "differs")
        self.check("unsupported", "landed", "corrupt", "lost", "differs")

    def test_no_verdict(self) -> None:
        self.check("guaranteed", "landed", "skipped", "", "not-covered")
        self.check("guaranteed", "landed", "inconclusive", "landed", "inconclusive")
        self.check("guaranteed", "landed", "broken", "", "broken")
        self.check("guaranteed", "landed", "inconclusive", "landed", "differs", findings=("leaked-pin",))


if __name__ == "__main__":
    unittest.main()
