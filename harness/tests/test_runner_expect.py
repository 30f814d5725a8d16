# SPDX-License-Identifier: GPL-2.0
"""Rules of expectation, and what a result is called beside them."""

import fnmatch
import tempfile
import unittest
from pathlib import Path

from harness.runner.errors import UsageError
from harness.runner.expect import (KINDS, Expectation, Expectations, outcome, parse_range, parse_rule, sleepers,
                                   version_of)
from harness.runner.plan import Sequence, load_sequences

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

    def test_those_of_explored_sequences_add_up(self) -> None:
        rules = Expectations([parse_rule(line, f"f:{nr}") for nr, line in enumerate((
            "* xfs store * refused refused any", "* xfs store explore-*punch* bug lost,landed one",
            "* xfs store explore-*clone* unsupported landed,lost:foreign two", "* xfs store named*,explore-b bug hung three"))])
        both = rules.of("6.1", {"xfs"}, "store", "explore-punch-clone-1")
        self.assertEqual((both.cls, both.text()), ("bug", "lost,landed,lost:foreign"))
        self.assertEqual((both.reference, both.rule), ("one; two", "f:1; f:2"))
        self.assertEqual(rules.of("6.1", {"xfs"}, "store", "explore-clone-1").text(), "landed,lost:foreign")
        self.assertEqual(rules.of("6.1", {"xfs"}, "store", "punch-clone").rule, "f:0")
        self.assertEqual(rules.of("6.1", {"xfs"}, "store", "named-b").rule, "f:3")

    def test_errors(self) -> None:
        for line, says in (("* xfs store *", "a rule is"), ("6 xfs store * bug lost ref", "kernel range"),
                           ("* xfs store * bugs lost ref", "bug"), ("* xfs store * bug los ref", "lost"),
                           ("* xfs store * bug lost", "a rule is|reference"),
                           ("* xfs store * bug lost:foriegn ref", "foreign")):
            with self.subTest(line), self.assertRaisesRegex(UsageError, says) as caught:
                parse_rule(line, "f.conf:3")
            self.assertTrue(str(caught.exception).startswith("f.conf:3: "))

    def test_the_steps_of_a_sequence(self) -> None:
        rules = Expectations([parse_rule("* xfs store a,explore-*/*hold.*>punch.*>land.* bug lost ref", "f:1")])
        punch = "pin.A>hold.w1.A.0.8K>punch.A.0.4K>land.w1"
        for name, steps, matches in (("a", "pin.A", True), ("explore-hold-punch-0", punch, True), ("b", punch, False),
                                     ("explore-punch-hold-0", "pin.A>punch.A.0.4K>hold.w1.A.0.8K>land.w1", False)):
            with self.subTest(name):
                self.assertEqual(rules.of("6.1", {"xfs"}, "store", name, frozenset(), steps).rule == "f:1", matches)

    def test_steps_as_rules_write_them(self) -> None:
        text = "# title\n# channels: store\nfile A 64K written\npin  A\nhold w1 A 0 8K   # why\n\nland w1\n"
        self.assertEqual(Sequence("s", text, "", "").steps, "pin.A>hold.w1.A.0.8K>land.w1")

    def test_kinds_are_those_of_the_judge(self) -> None:
        """Each of its kinds has a history that shows it (test_judge.py), or a stream."""
        golden = ROOT / "harness" / "tests" / "golden"
        shown = {line.split()[1] for path in golden.glob("*.caught.*")
                 for line in path.read_text().splitlines() if line.startswith("kind ")}
        self.assertEqual(set(KINDS) - shown, set())

    def test_what_no_repeat_showed(self) -> None:
        """On btrfs a short pin may be late, now and then. Not gone, nor each time, nor elsewhere, nor a store."""
        rules = Expectations.load(ROOT / "harness" / "expected")
        name = "explore-read-truncate-write-cb847d"

        def of(fs: str, channel: str, kind: str, *also: str) -> str:
            return outcome(rules.of("6.18.44", {fs}, channel, name, frozenset(also)), "corrupt", "lost", "", [], [kind])
        once = f"unrepeated-{name}"
        self.assertEqual(of("btrfs", "dio-read", "view-split", once), "expected")
        self.assertEqual(of("btrfs", "pvm-writev", "checksum", once), "expected")
        self.assertEqual(of("xfs-dax", "dio-read", "foreign", once), "expected")  # a block that another sequence's pin wrote to
        for more in (of("xfs-dax", "dio-read", "foreign"), of("xfs-dax", "store", "foreign", once),
                     of("xfs-dax", "dio-read", "lost-write", once), of("ext4-dax", "dio-read", "foreign", once), of("btrfs", "dio-read", "lost-write", once), of("btrfs", "dio-read", "view-split"),
                     of("xfs", "dio-read", "view-split", once), of("btrfs", "store", "view-split", once)):
            self.assertEqual(more, "differs")


class Outcomes(unittest.TestCase):
    def check(self, cls: str, listed: str, verdict: str, resolution: str, want: str, errno: str = "",
              findings: tuple[str, ...] = (), kinds: tuple[str, ...] = ()) -> None:
        expected = Expectation(cls, listed.split(","))
        self.assertEqual(outcome(expected, verdict, resolution, errno, list(findings), list(kinds)), want)

    def test_guaranteed(self) -> None:
        self.check("guaranteed", "landed", "coherent", "landed", "expected")
        self.check("guaranteed", "landed", "corrupt", "landed", "differs")
        self.check("guaranteed", "landed,lost", "corrupt", "lost", "differs")
        self.check("guaranteed", "landed", "coherent", "blocked", "differs")
        self.check("guaranteed", "landed", "coherent", "landed", "differs", findings=("metadata",))

    def test_what_other_checks_find_is_named(self) -> None:
        for listed, found, want in (
                ("lost,+kernel-log", ("kernel-log",), "expected"),
                ("lost,+kernel-log", ("kernel-log", "kernel-warning:dax_insert_entry"), "differs"),
                ("lost,+kernel-log", ("aborted:btrfs_finish_one_ordered",), "differs"),
                ("lost,+kernel-warning", ("kernel-warning:dax_insert_entry", "kernel-warning"), "expected"),
                ("lost,+kernel-warning:dax_insert_entry", ("kernel-warning:dax_insert_entry",), "expected"),
                ("lost,+kernel-warning:dax_insert_entry", ("kernel-warning:ext4_dirty_folio",), "differs"),
                ("lost,+kernel-warning:dax_insert_entry", ("kernel-warning",), "differs")):
            with self.subTest((listed, found)):
                self.check("unsupported", listed, "corrupt", "lost", want, findings=found, kinds=("lost-write",))

    def test_no_rule_lets_any_filesystem_give_up(self) -> None:
        for rule in Expectations.load(ROOT / "harness" / "expected").rules:
            self.assertNotIn("+aborted", rule.resolutions, rule.where)

    def test_a_hang_somewhere_else_is_news(self) -> None:
        known = Expectation("bug", ["hung:ext4_wait_dax_page"])
        for why, want in (("line 4 of the sequence, in S ext4_wait_dax_page", "expected"),
                          ("line 4 of the sequence, in D folio_wait_bit_common", "differs"), ("no answer in 60 s", "differs")):
            with self.subTest(why):
                self.assertEqual(outcome(known, "hung", "hung", "", [], [], sleepers(why)), want)

    def test_who_hangs_behind_a_known_hang_is_no_news(self) -> None:
        """Of a race all that have not come back are named; one of them must sleep where the rule says."""
        known = Expectation("bug", ["hung:ext4_wait_dax_page"])
        for why, want in (("thread 0, in D filemap_fault; thread 2, in S ext4_wait_dax_page", "expected"),
                          ("thread 0, in D filemap_fault; thread 2, in R 0", "differs")):
            with self.subTest(why):
                self.assertEqual(outcome(known, "hung", "hung", "", [], [], sleepers(why)), want)

    def test_what_spins(self) -> None:
        """In a function that it does not leave, where that can be told; else nowhere but where a rule says that it runs."""
        for rule, where, want in (("hung:running:f", "R running:f", "expected"), ("hung:running:f", "R running:f: g < f", "expected"),
                                  ("hung:running:f", "R running:f.isra.0: h < f", "expected"),
                                  ("hung:running:f", "R running:g", "differs"), ("hung:running:f", "D f", "differs"),
                                  ("hung:f", "R running:f", "differs"), ("hung:f", "R running", "differs"),
                                  ("hung:running:f", "R running", "expected"), ("hung:running", "R running:g", "expected"),
                                  ("hung:running", "R running", "expected"), ("hung:running", "D running_f", "differs")):
            with self.subTest((rule, where)):
                known = parse_rule(f"* xfs store s bug {rule} x", "f:1")
                self.assertEqual(outcome(Expectation(known.cls, list(known.resolutions)), "hung", "hung", "", [], [],
                                         sleepers(f"line 4 of the sequence, in {where}")), want)

    def test_data_that_a_known_hang_does_not_explain(self) -> None:
        known = Expectation("bug", ["hung:ext4_wait_dax_page"])
        self.assertEqual(outcome(known, "hung", "hung", "", [], ["stale"], ["ext4_wait_dax_page"]), "differs")

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

    def test_a_loss_is_no_other_violation(self) -> None:
        for cls in ("bug", "unsupported"):
            for kinds in (("lost-write",), ("view-split", "stale"), ("not-durable",)):
                self.check(cls, "lost", "corrupt", "lost", "expected", kinds=kinds)
            for kind in set(KINDS) - {"lost-write", "stale", "view-split", "not-durable"}:
                with self.subTest(kind):
                    self.check(cls, "lost", "corrupt", "lost", "differs", kinds=("lost-write", kind))
                    self.check(cls, f"lost,lost:{kind}", "corrupt", "lost", "expected", kinds=("lost-write", kind))
                    self.check(cls, f"lost:{kind}", "corrupt", "lost", "expected", kinds=(kind,))
                    self.check(cls, f"lost:{kind}", "corrupt", "lost", "differs", kinds=("lost-write", kind))

    def test_what_may_come_along_makes_no_verdict(self) -> None:
        self.check("unsupported", "landed,+kernel-log", "inconclusive", "landed", "inconclusive",
                   findings=("kernel-log",))

    def test_no_verdict(self) -> None:
        self.check("guaranteed", "landed", "skipped", "", "not-covered")
        self.check("guaranteed", "landed", "inconclusive", "landed", "inconclusive")
        self.check("guaranteed", "landed", "broken", "", "broken")
        self.check("guaranteed", "landed", "inconclusive", "landed", "differs", findings=("leaked-pin",))


# What was seen and is explained, and beside it what would be something else: kernel, filesystem, channel, lines after
# pin A, resolution, kinds (of a hang: where it sleeps), outcome.
SHORT_PIN = "hold w1 A 0 8K;punch A 0 4K;land w1"
COW = "clone A B;hold w1 A 0 8K;%s;land w1"
REPLACED = "punch A 4K 4K;clone A B;hold w1 A 4K 4K;store A 0 64;pwrite A 4K 64;land w1"
FAULTED = "punch A 0 4K;clone A B;hold w1 A 0 8K;%swrite A 0 8K;land w1"
REWRITTEN = "zero-range A 4K 4K;clone A B;write A 4K 4K;write A 0 8K;pwrite A 4K 4K"
CLONED = "hold w1 A 0 8K;clone A B;land w1"
DEFRAGMENTED = "hold w1 A 0 8K;defrag A;land w1"
DEDUPED = "hold w1 A 0 8K;dedupe A C;land w1"
WAIT = "hold w1 A 0 8K;punch A 0 4K;write A 0 8K;land w1"
EXPLORED = (
    ("6.18.44", "xfs", "pvm-writev", SHORT_PIN, "lost", "lost-write", "expected"),
    ("6.18.44", "xfs", "pvm-writev", SHORT_PIN, "lost", "lost-write foreign", "differs"),
    ("6.18.44", "xfs", "pvm-writev", SHORT_PIN, "lost", "wrong-size", "differs"),
    ("6.18.44", "xfs", "pvm-writev", "hold w1 A 0 8K;dedupe A C;land w1", "lost", "foreign", "expected"),
    ("7.3.4", "xfs", "dio-read", CLONED + ";evict A;write A 0 8K", "lost", "foreign", "expected"),
    ("7.3.4", "xfs", "dio-read", CLONED + ";evict A", "lost", "foreign", "differs"),
    ("7.3.4", "xfs", "dio-read", CLONED + ";sync-file-range A;write A 0 8K", "lost", "foreign", "differs"),
    ("7.3.4", "xfs", "dio-read", CLONED + ";write A 0 8K;evict A", "lost", "foreign", "differs"),
    ("7.3.4", "ext4", "dio-read", CLONED + ";evict A;write A 0 8K", "lost", "foreign", "differs"),
    ("7.3.4", "xfs", "store", "write A 0 8K;clone A B;evict A;write A 0 8K", "lost", "foreign", "differs"),
    ("6.18.44", "xfs", "pvm-writev", "punch A 0 4K;hold w1 A 0 8K;land w1", "lost", "lost-write", "differs"),
    ("7.3.4", "tmpfs", "dio-read", SHORT_PIN, "lost", "checksum", "differs"),
    ("7.3.4", "btrfs", "dio-read", "hold w1 A 0 8K;evict A;land w1", "lost", "checksum", "expected"),
    ("6.18.44", "btrfs", "dio-read", "truncate A 4K;read A 0 4K direct;hold w1 A 0 8K;land w1", "lost", "view-split",
     "differs"),
    ("7.3.4", "btrfs", "dio-read", "hold w1 A 0 8K;evict A;land w1", "lost", "unreadable", "differs"),
    ("7.3.4", "xfs-dax", "pwrite", COW % "read A 0 64K mmap", "lost", "lost-write unreadable", "expected"),
    ("6.12.117", "xfs-dax", "pwrite", COW % "read A 0 64K mmap", "lost", "lost-write unreadable", "differs"),
    ("6.12.117", "xfs-dax", "pwrite", COW % "store A 0 4K", "lost", "lost-write", "expected"),
    ("7.3.4", "xfs-dax", "pwrite", COW % "read A 0 64K direct", "lost", "lost-write", "differs"),
    # A defect of the harness once: two clones that wait for one write(2).
    ("7.3.4", "xfs-dax", "pwrite", "hold w1 A 0 8K;clone A B;collapse A 0 4K;clone A B;land w1", "lost",
     "stale wrong-size", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", WAIT, "hung", "xfs_wait_dax_page", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", WAIT, "hung", "rwsem_down_write_slowpath", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", SHORT_PIN, "hung", "xfs_wait_dax_page", "differs"),
    ("6.12.117", "xfs-dax", "dio-read", WAIT, "hung", "xfs_break_dax_layouts", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", CLONED, "hung", "running", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", CLONED, "hung", "running:dax_break_layout", "expected"),
    ("6.12.117", "xfs-dax", "dio-read", CLONED, "hung", "running:dax_break_layout", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", CLONED, "hung", "xfs_wait_dax_page", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", CLONED, "lost", "lost-write", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", "hold w1 A 0 8K;write A 0 8K;clone A B;land w1", "hung", "xfs_wait_dax_page", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", "hold w1 A 0 8K;clone A B;write A 0 8K;land w1", "hung", "xfs_wait_dax_page", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", "clone A B;hold w1 A 0 8K;punch A 0 4K;land w1", "hung", "running", "differs"),
    ("7.3.4", "ext4-dax", "dio-read", CLONED, "hung", "running", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", DEDUPED, "hung", "running", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", DEDUPED, "hung", "running:xfs_ilock2_io_mmap", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", DEDUPED, "hung", "running:xfs_file_fallocate", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", DEDUPED, "hung", "xfs_wait_dax_page", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", "hold w1 A 0 8K;dedupe A C;write A 0 8K;land w1", "hung", "xfs_wait_dax_page", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", "dedupe A C;hold w1 A 0 8K;punch A 0 4K;land w1", "hung", "running", "differs"),
    ("6.12.117", "xfs-dax", "pvm-writev", DEDUPED, "hung", "running", "expected"),
    ("6.1.176", "xfs-dax", "pvm-writev", DEDUPED, "hung", "running", "expected"),
    ("6.12.117", "xfs-dax", "pvm-writev", CLONED, "hung", "running", "expected"),
    ("6.1.176", "xfs-dax", "pvm-writev", CLONED, "hung", "running", "expected"),
    ("6.1.176", "xfs-dax", "store", "clone A B;store A 0 4K", "lost", "lost-write", "differs"),
    ("7.3.4", "ext4", "rdma-odp", "write A 64 4K", "lost", "lost-write misplaced", "expected"),
    ("7.3.4", "ext4", "rdma-odp", "write A 64 4K", "lost", "foreign", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", REPLACED, "lost", "lost-write", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", REPLACED, "lost", "foreign", "differs"),
    ("7.3.4", "xfs-dax", "store", REPLACED, "lost", "lost-write", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", "hold w1 A 4K 4K;store A 0 64;pwrite A 4K 64;land w1", "lost", "lost-write", "differs"),
    ("6.12.117", "xfs-dax", "dio-read", "clone A B;hold w1 A 4K 4K;pwrite A 4K 64;land w1", "lost", "lost-write", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", REPLACED.partition(";")[2], "lost", "lost-write", "differs"),  # it had no hole
    ("7.3.4", "xfs-dax", "dio-read", FAULTED % "fsync A;", "lost", "lost-write", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", FAULTED % "", "lost", "lost-write", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", (FAULTED % "fsync A;").partition(";")[2], "lost", "lost-write", "differs"),
    ("7.3.4", "ext4-dax", "dio-read", FAULTED % "fsync A;", "lost", "lost-write", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", FAULTED % "punch A 0 4K;", "hung", "xfs_wait_dax_page", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", FAULTED % "fsync A;clone A B;", "hung", "running:xfs_ilock2_io_mmap", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", FAULTED % "fsync A;clone A B;", "hung", "xfs_wait_dax_page", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", FAULTED % "fsync A;clone A B;", "hung", "running:xfs_file_fallocate", "differs"),
    ("7.3.4", "xfs-dax", "rdma-odp", "write A 1K 64;defrag A", "lost", "lost-write misplaced", "expected"),
    ("7.3.4", "xfs-dax", "rdma-odp", "write A 0 4K;defrag A", "lost", "lost-write misplaced", "differs"),
    ("6.12.117", "xfs-dax", "dio-read", DEFRAGMENTED, "lost", "lost-write", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", DEFRAGMENTED, "hung", "xfs_wait_dax_page", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", DEFRAGMENTED, "lost", "lost-write", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", DEFRAGMENTED, "lost", "lost-write foreign", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", "defrag A;" + DEFRAGMENTED.replace("defrag A;", ""), "lost", "lost-write", "differs"),
    ("7.3.4", "xfs-dax", "store", "store A 0 8K;defrag A", "lost", "lost-write", "differs"),
    ("6.1.176", "xfs-dax", "store", REWRITTEN, "lost", "lost-write", "expected"),
    ("6.1.176", "xfs-dax", "store", REWRITTEN.partition(";")[2], "lost", "lost-write", "differs"),
    ("6.12.117", "xfs-dax", "store", REWRITTEN, "lost", "lost-write", "differs"),
    ("7.3.4", "xfs", "rdma-odp", "write A 64 4K;clone A B", "lost", "lost-write misplaced foreign", "expected"),
    ("7.3.4", "xfs", "rdma-odp", "clone A B;write A 64 4K", "lost", "lost-write misplaced foreign", "differs"),
    ("7.3.4", "xfs", "rdma-odp", "write A 0 4K;clone A B", "lost", "lost-write", "differs"),
    ("7.3.4", "ext4", "rdma-odp", "write A 0 8K;punch A 0 4K;write A 4K 4K", "lost", "lost-write", "differs"),
)
# What the kernel says beside it: kernel, filesystem, channel, lines after pin A, kind, is it no news.
TRUNCATED, BUSY = "kernel-warning:truncate_folio_batch_exceptionals", "kernel-warning:dax_disassociate_entry"
WARNED = (
    ("7.3.4", "xfs-dax", "store", "store A 0 8K;defrag A", TRUNCATED, True),
    ("7.3.4", "xfs-dax", "pwrite", "store A 0 8K;defrag A", TRUNCATED, True),
    ("7.3.4", "xfs-dax", "rdma-odp", "store A 0 8K;defrag A", TRUNCATED, True),
    ("7.3.4", "xfs-dax", "dio-read", DEFRAGMENTED, TRUNCATED, True),
    ("7.3.4", "xfs-dax", "store", "store A 0 8K;punch A 0 4K", TRUNCATED, False),
    ("7.3.4", "xfs", "store", "store A 0 8K;defrag A", TRUNCATED, False),
    ("6.12.117", "xfs-dax", "store", "store A 0 8K;defrag A", TRUNCATED, False),
    ("6.12.117", "xfs-dax", "dio-read", DEFRAGMENTED, BUSY, True),
    ("7.3.4", "xfs-dax", "rdma-odp", "write A 1K 64;defrag A", TRUNCATED, True),
    ("7.3.4", "xfs-dax", "dio-read", FAULTED % "fsync A;", BUSY, True),
    ("7.3.4", "xfs-dax", "dio-read", FAULTED % "fsync A;clone A B;", BUSY, True),
    ("7.3.4", "xfs-dax", "dio-read", FAULTED % "", BUSY, False),
)
NAMED = (
    ("6.12.117", "xfs", "pvm-writev", "held-dedupe", "lost", "foreign", "expected"),
    ("6.12.117", "xfs", "pvm-writev", "held-clone", "lost", "foreign", "differs"),
    ("6.12.117", "btrfs", "pvm-writev", "held-fsync", "lost", "view-split unreadable", "expected"),
    ("6.12.117", "btrfs", "pvm-writev", "held-fsync", "lost", "foreign", "differs"),
    ("7.3.4", "xfs", "rdma-odp", "geometry-subpage", "lost", "lost-write misplaced", "expected"),
    ("7.3.4", "xfs", "rdma-odp", "geometry-subpage", "lost", "foreign", "differs"),
    ("6.1.176", "xfs", "rdma-pinned", "held-clone", "lost", "foreign view-split", "expected"),
    ("6.1.176", "xfs", "rdma-pinned", "held-punch", "lost", "foreign", "differs"),
    ("6.1.176", "ext4-dax", "dio-read/loop", "held-punch", "hung", "ext4_break_layouts", "expected"),
    ("6.1.176", "ext4-dax", "dio-read/loop", "held-punch", "hung", "folio_wait_bit_common", "differs"),
    ("6.1.176", "xfs-dax", "pvm-writev", "held-clone", "lost", "lost-write", "differs"),
    ("6.12.117", "xfs-dax", "pvm-writev", "held-read-clone-punch", "hung", "running", "expected"),
    ("6.12.117", "xfs-dax", "pvm-writev", "held-read-clone-punch", "hung", "xfs_break_dax_layouts", "differs"),
    ("7.3.4", "xfs-dax", "pvm-writev", "held-pwrite-cow", "lost", "lost-write", "expected"),
    ("7.3.4", "xfs-dax", "pvm-writev", "held-pwrite-cow", "lost", "foreign", "differs"),
    ("7.3.4", "xfs-dax", "pvm-writev", "held-pwrite-cow-reuse", "lost", "lost-write foreign", "expected"),
    ("6.1.176", "xfs-dax", "pvm-writev", "held-store-cow", "lost", "lost-write", "expected"),
    ("7.3.4", "xfs-dax", "pvm-writev", "held-store-cow", "lost", "foreign", "differs"),
    ("6.12.117", "xfs-dax", "uring-read", "held-store-cow-reuse", "lost", "lost-write foreign", "expected"),
    ("7.3.4", "xfs", "pvm-writev", "held-store-cow", "lost", "lost-write", "differs"),
    ("6.1.176", "xfs-dax", "pvm-writev", "held-defrag", "lost", "lost-write", "expected"),
    ("7.3.4", "xfs-dax", "pvm-writev", "held-defrag", "lost", "lost-write foreign", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", "held-defrag-reuse", "lost", "lost-write foreign", "expected"),
    ("7.3.4", "xfs", "dio-read", "held-defrag-reuse", "lost", "lost-write", "expected"),
    ("7.3.4", "xfs", "dio-read", "held-defrag-reuse", "lost", "lost-write foreign", "differs"),
    ("7.3.4", "ext4", "dio-read", "held-defrag", "lost", "lost-write", "differs"),
    ("6.18.15", "ext4", "pvm-writev", "held-defrag", "lost", "lost-write view-split", "expected"),
    ("6.18.15", "ext4", "pvm-writev", "held-defrag-reuse", "lost", "foreign", "differs"),
    ("6.12.118", "ext4", "pvm-writev", "held-defrag", "lost", "lost-write view-split", "differs"),
    ("7.3.4", "xfs-dax", "store", "write-after-defrag", "lost", "lost-write", "differs"),
    ("7.3.4", "xfs", "store", "write-commit-range", "lost", "lost-write foreign", "expected"),
    ("6.12.117", "xfs-dax", "rdma-odp", "write-commit-range", "lost", "lost-write foreign", "expected"),
    ("7.3.4", "xfs", "pwrite", "write-commit-range", "lost", "lost-write", "differs"),
    ("6.12.117", "xfs", "pwrite", "write-commit-range", "lost", "lost-write foreign", "expected"),
    ("7.3.4", "xfs", "dio-read", "held-commit-range", "lost", "lost-write", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", "held-commit-range", "lost", "lost-write foreign", "differs"),
    ("7.3.4", "xfs-dax", "store", "held-commit-range", "lost", "lost-write", "differs"),
    ("6.18.15", "ext4-dax", "rdma-odp/atomic", "held-punch", "lost", "lost-write view-split", "expected"),
    ("6.18.15", "tmpfs", "rdma-odp/atomic", "held-punch", "lost", "lost-write", "differs"),
    ("7.3.4", "ext4", "rdma-odp/atomic", "held-punch", "lost", "lost-write", "differs"),
    ("7.3.4", "xfs", "pvm-writev", "held-pwrite-cow-reuse", "lost", "lost-write foreign", "differs"),
    ("7.3.4", "xfs", "store", "write-cow-pwrite", "lost", "lost-write", "differs"),
    ("7.3.4", "xfs", "pvm-writev", "held-clone-evict-write", "lost", "foreign", "expected"),
    ("7.3.4", "btrfs", "pvm-writev", "held-clone-evict-write", "lost", "foreign", "differs"),
    ("6.12.117", "xfs-dax", "dio-read", "held-clone-onto-earlier", "hung", "running", "expected"),
    ("6.12.117", "xfs-dax", "dio-read", "held-clone-onto-earlier", "hung", "running:xfs_ilock2_io_mmap", "expected"),
    ("6.12.117", "xfs-dax", "dio-read", "held-clone-onto-earlier", "hung", "running:__get_user_pages", "differs"),
    ("7.3.4", "xfs-dax", "uring-read", "held-dedupe-onto-earlier", "hung", "running:xfs_ilock2_io_mmap", "expected"),
    ("7.3.4", "xfs-dax", "uring-read", "held-dedupe-onto-earlier", "hung", "dax_break_layout", "differs"),
    ("6.12.117", "xfs-dax", "dio-read", "held-clone-onto-earlier", "hung", "xfs_break_dax_layouts", "differs"),
    ("7.3.4", "xfs-dax", "dio-read", "held-clone-onto-earlier", "hung", "running:dax_break_layout", "expected"),
    ("7.3.4", "xfs-dax", "dio-read", "held-clone", "hung", "running", "differs"),
    ("7.3.4", "xfs-dax", "pwrite", "held-cow-read", "lost", "lost-write unreadable", "expected"),
    ("6.12.117", "xfs-dax", "pwrite", "held-cow-read", "lost", "lost-write unreadable", "differs"),
    ("7.3.4", "xfs-dax", "pwrite", "held-cow-store", "lost", "lost-write unreadable", "differs"),
    ("7.3.4", "xfs", "pvm-writev", "race", "lost", "lost-write", "expected"),
    ("7.3.4", "xfs", "pvm-writev", "race", "lost", "misplaced", "differs"),
    ("7.3.4", "btrfs", "dio-read", "race", "lost", "checksum unreadable", "expected"),
    ("7.3.4", "xfs-dax", "store", "race:clone", "hung", "xfs_wait_dax_page", "expected"),
    ("6.12.117", "xfs-dax", "store", "race:clone", "hung", "xfs_break_dax_layouts", "differs"),
    ("7.3.4", "ext4-dax", "store", "race:zero-range", "hung", "ext4_wait_dax_page", "expected"),
    ("7.3.4", "ext4-dax", "store", "race:zero-range", "hung", "jbd2_log_wait_commit", "differs"),
)


class Shipped(unittest.TestCase):
    """The rules of harness/expected: what they explain, and no more."""

    rules = Expectations.load(ROOT / "harness" / "expected")

    def check(self, row: tuple[str, ...], name: str, steps: str) -> None:
        kernel, fs, channel, _, resolution, seen, want = row
        rule = self.rules.of(kernel, {fs}, channel, name, frozenset(), steps)
        kinds, where = ([], seen.split()) if resolution == "hung" else (seen.split(), [])
        verdict = "hung" if resolution == "hung" else "corrupt"
        self.assertEqual(outcome(rule, verdict, resolution, "", [], kinds, where), want, rule)

    @staticmethod
    def explored(lines: list[str]) -> tuple[str, str]:
        """Name and steps."""
        verbs = "-".join(dict.fromkeys(s.split()[0] for s in lines if not s.startswith("land")))
        return f"explore-{verbs}-123456", Sequence("", "\n".join(["pin A", *lines]), "", "").steps

    def test_explored(self) -> None:
        for row in EXPLORED:
            with self.subTest(" ".join(row)):
                self.check(row, *self.explored(row[3].split(";")))

    def test_what_the_kernel_says(self) -> None:
        for kernel, fs, channel, lines, kind, known in WARNED:
            with self.subTest(f"{kernel} {fs} {channel} {lines} {kind}"):
                name, steps = self.explored(lines.split(";"))
                rule = self.rules.of(kernel, {fs}, channel, name, frozenset(), steps)
                self.assertEqual(rule.allows(kind), known, rule)

    def test_named(self) -> None:
        named = load_sequences(ROOT / "workloads" / "sequences")
        for row in NAMED:
            with self.subTest(" ".join(row)):
                self.check(row, row[3], named[row[3]].steps if row[3] in named else "")

    def test_a_sequence_that_a_rule_names_exists(self) -> None:
        names = [*load_sequences(ROOT / "workloads" / "sequences"), "race"]
        faults = [p.stem.replace("_", "-") for p in (ROOT / "workloads" / "faults").glob("*.c")]
        for rule in self.rules.rules:
            for glob in rule.sequence:
                name = glob.partition("/")[0]
                if name.startswith("race:"):
                    self.assertIn(name[5:], faults, rule.where)
                elif not name.removeprefix("unrepeated-").startswith("explore-"):
                    self.assertTrue(fnmatch.filter(names, name), f"{rule.where}: {name}")


if __name__ == "__main__":
    unittest.main()
