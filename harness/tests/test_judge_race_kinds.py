# SPDX-License-Identifier: GPL-2.0
"""What the judge of races calls what it finds: small handwritten races here and in golden/*.race, one operation a
line, # a comment.

    THREAD INV RET VERB WHAT FIRST+CELLS RESULT [SEEN]    (one file of 128 cells, written by op 1)

The operation's number is 10 and its line's number; SEEN is what a look saw: `zero`, `eio`, `OP` for all its cells,
or `OP/CELL` for cells that were written from CELL on and moved.
"""

import errno
import os
import subprocess
import time
import unittest
from pathlib import Path

from . import racelog

JUDGE = Path(os.environ.get("PINFAULT_BUILD", "build")).resolve() / "pinfault-judge"
GOLDEN = Path(__file__).parent / "golden"
CELLS = 128


def value(op: int, cell: int) -> int:
    return op << 32 | 1 << 24 | cell if op else 0


def record(number: int, line: str) -> tuple[int, bytes]:
    thread, inv, ret, verb, what, cells, result, *seen = line.split()
    first, count = map(int, cells.split("+"))
    runs = b""
    if seen:
        what_op, _, home = seen[0].partition("/")
        op = 0 if what_op in ("zero", "eio") else int(what_op)
        runs = racelog.RUN.pack(value(op, int(home or first)), count, 1 if op else 0)
        if what_op == "eio":
            runs = racelog.RUN.pack(errno.EIO, count, racelog.KINDS.index("error"))
    names = {"look": racelog.VIEWS, "fault": racelog.PRIMS}.get(verb, ("-",))
    return int(thread), racelog.RECORD.pack(
        int(inv), int(ret), 10 + number, racelog.VERBS.index(verb), names.index(what), 0, 0, first, count,
        int(result), CELLS if seen else racelog.NO_SIZE, len(runs) // racelog.RUN.size, 0) + runs


def stream(text: str, dax: bool = True) -> bytes:
    lines = [record(n, line) for n, line in enumerate(text.split("\n")) if line.strip() and line[0] != "#"]
    threads = 1 + max(thread for thread, _ in lines)
    head = racelog.HEADER.pack(b"pfrace01", racelog.HEADER.size, 7, 1, threads, 1, 0, b"store", 0,
                               racelog.FILE.pack(1, CELLS, 1, dax), 0)[:-8]
    out = head + racelog.xxh64(head).to_bytes(8, "little")
    for thread in range(threads):
        mine = [r for t, r in lines if t == thread]
        body = b"".join(mine)
        chunk = racelog.CHUNK.pack(racelog.CHUNK_MAGIC, thread, len(body), len(mine), racelog.NEVER, 0)[:-8]
        out += chunk + racelog.xxh64(body, racelog.xxh64(chunk)).to_bytes(8, "little") + body
    return out


def answer(text: str, dax: bool = True) -> list[list[str]]:
    data = stream(text, dax)
    racelog.read(data)  # what every stream must keep to
    done = subprocess.run([JUDGE, "--race", "-"], input=data, capture_output=True, timeout=60, check=False)
    return [line.split(" ", 1) for line in done.stdout.decode().splitlines()]


def judge(text: str, dax: bool = True) -> list[str]:
    """The verdict and the kinds."""
    said = answer(text, dax)
    verdict = dict(line for line in said if len(line) == 2)["verdict"]
    return [verdict, *(line[1] for line in said if line[0] == "kind")]


class Kinds(unittest.TestCase):
    def test_a_write_that_is_seen(self) -> None:
        self.assertEqual(judge("""0 10 20 pwrite - 0+64 64
                                        1 30 40 look mmap 0+64 0 10"""), ["coherent"])

    def test_a_write_that_is_lost(self) -> None:
        self.assertEqual(judge("""0 10 20 pwrite - 0+64 64
                                        1 30 40 look buffered 0+64 0 1"""), ["corrupt", "lost-write"])

    def test_what_was_seen_before_the_write_does_not_count(self) -> None:
        self.assertEqual(judge("""0 2 5 look mmap 0+64 0 1
                                  0 10 20 pwrite - 0+64 64
                                  1 30 40 look buffered 0+64 0 1"""), ["corrupt", "lost-write"])

    def test_what_another_view_has_shown(self) -> None:
        self.assertEqual(judge("""0 10 20 pwrite - 0+64 64
                                  1 30 40 look mmap 0+64 0 10
                                  1 50 60 look buffered 0+64 0 1"""), ["corrupt", "view-split"])

    def test_what_another_view_has_shown_of_a_store_under_way(self) -> None:
        self.assertEqual(judge("""0 10 100 store - 0+64 64
                                  1 20 40 look mmap 0+64 0 10
                                  2 30 35 look buffered 64+8 0 1
                                  1 50 60 look buffered 0+64 0 1"""), ["corrupt", "view-split"])

    def test_which_cells_another_view_has_shown(self) -> None:
        race = """0 10 20 pwrite - 0+128 128
                  1 30 40 look mmap 40+{} 0 10
                  1 50 60 look buffered {} 0 1"""
        for shown, cells, kind in ((8, "32+8", "lost-write"), (8, "40+8", "view-split"), (8, "48+8", "lost-write"),
                                   (40, "64+16", "view-split"), (40, "80+8", "lost-write")):
            with self.subTest(shown=shown, cells=cells):
                self.assertEqual(judge(race.format(shown, cells)), ["corrupt", kind])

    def test_a_write_that_never_returned_is_no_operation(self) -> None:
        said = answer("0 10 20 store - 0+64 64\n0 30 18446744073709551615 store - 0+64 64")
        self.assertIn(["operations", "1"], said)

    def test_a_direct_read_that_fails_beside_a_store(self) -> None:
        """It may have met a page that the store had just made dirty, and says so."""
        beside = """0 {} store - 0+8 8
                    1 20 50 look direct 64+8 0 eio
                    2 80 90 look buffered 64+8 0 1"""
        self.assertEqual(judge(beside.format("30 40")), ["coherent"])
        self.assertEqual(judge(beside.format("10 15")), ["corrupt", "checksum"])
        self.assertEqual(judge(beside.format("60 70")), ["corrupt", "checksum"])

    def test_golden(self) -> None:
        for path in sorted(GOLDEN.glob("*.race")):
            with self.subTest(path.name):
                want = [line.split()[1] for line in path.with_suffix(".expect").read_text().splitlines()]
                self.assertEqual(judge(path.read_text()), want)

    def test_zeros_that_stay_are_lost_data(self) -> None:
        """The same, and a look after the store is over: no page fault is under way any more."""
        late = """0 5 9 fault zero 0+64 0
                  1 10 60 store - 8+8 8
                  0 20 30 pwrite - 0+64 64
                  2 40 50 look mmap 16+48 0 zero
                  2 70 80 look {} 16+48 0 {}"""
        self.assertEqual(judge(late.format("mmap", "zero")), ["corrupt", "late-zero", "lost-write"])
        self.assertEqual(judge(late.format("buffered", "zero")), ["corrupt", "late-zero", "lost-write"])
        self.assertEqual(judge(late.format("mmap", "12")), ["corrupt", "late-zero"])
        self.assertEqual(judge(late.format("buffered", "12")), ["corrupt", "late-zero"])
        self.assertEqual(judge(late.format("mmap", "12"), dax=False), ["corrupt", "lost-write"])

    def test_misplaced_after_a_shift(self) -> None:
        """What was written after the last shift has not been shifted; what was there before may have been."""
        race = """0 {} fault collapse 64+32 -5
                  1 {} pwrite - 0+8 8
                  2 50 60 look buffered 8+8 0 11/0"""
        self.assertEqual(judge(race.format("10 20", "30 40")), ["corrupt", "misplaced"])
        self.assertEqual(judge(race.format("30 40", "10 20")), ["corrupt", "lost-write"])
        self.assertEqual(judge(race.format("10 40", "20 30")), ["corrupt", "lost-write"])
        self.assertEqual(judge(race.format("30 90", "10 20")), ["corrupt", "lost-write"])
        self.assertEqual(judge(race.format("30 90", "40 45")), ["corrupt", "lost-write"])

    def test_the_first_of_each_kind_is_shown(self) -> None:
        many = "".join(f"1 {t} {t + 5} look buffered 0+8 0 1\n0 {t + 6} {t + 8} pwrite - 0+8 8\n"
                       for t in range(100, 1100, 10))
        said = answer(f"0 10 20 pwrite - 0+8 8\n{many}1 2000 2010 look buffered 8+8 0 1/0")
        self.assertEqual([line[1] for line in said if line[0] == "kind"], ["lost-write", "misplaced"])
        shown = [line[1].partition(":")[0] for line in said if line[0] == "evidence"]
        self.assertEqual(shown.count("misplaced"), 1)

    def test_a_copy_onto_itself_is_no_race(self) -> None:
        done = subprocess.run([JUDGE, "--race", "-"], input=stream("0 10 20 fault copy 0+0 0"), capture_output=True,
                              timeout=60, check=False)
        self.assertIn("verdict broken", done.stdout.decode())

    def test_zeros_that_no_page_fault_explains(self) -> None:
        lost = ["corrupt", "lost-write"]
        with self.subTest("the store had returned"):
            self.assertEqual(judge("""0 5 9 fault zero 0+64 0
                                            1 10 35 store - 8+8 8
                                            0 20 30 pwrite - 0+64 64
                                            2 40 50 look mmap 16+48 0 zero"""), lost)
        with self.subTest("it began after write(2) was over"):
            self.assertEqual(judge("""0 5 9 fault zero 0+64 0
                                            0 20 30 pwrite - 0+64 64
                                            1 35 90 store - 8+8 8
                                            2 40 50 look mmap 16+48 0 zero"""), lost)
        with self.subTest("it is in another page"):
            self.assertEqual(judge("""0 5 9 fault zero 0+64 0
                                            1 10 90 store - 64+8 8
                                            0 20 30 pwrite - 0+64 64
                                            2 40 50 look mmap 16+48 0 zero"""), lost)
        with self.subTest("the look was a read(2)"):
            self.assertEqual(judge("""0 5 9 fault zero 0+64 0
                                            1 10 90 store - 8+8 8
                                            0 20 30 pwrite - 0+64 64
                                            2 40 50 look buffered 16+48 0 zero"""), lost)
        with self.subTest("the data is of a store"):
            self.assertEqual(judge("""0 5 9 fault zero 0+64 0
                                            1 10 90 store - 8+8 8
                                            0 20 30 store - 16+48 48
                                            2 40 50 look mmap 16+48 0 zero"""), lost)
        with self.subTest("the data is of a store, and write(2) had returned"):
            self.assertEqual(judge("""0 5 9 fault zero 0+64 0
                                            1 10 35 pwrite - 8+8 8
                                            0 20 30 store - 16+48 48
                                            2 40 50 look mmap 16+48 0 zero"""), lost)


class Meetings(unittest.TestCase):
    """Operations that overlap, and what may be there when they are over: op 1 was."""

    def left(self, race: str, cells: str) -> set[int]:
        """The operations of which the last look may see the data."""
        ops = [1, *(10 + n for n, line in enumerate(race.split("\n")) if "look" not in line)]
        looks = {op: judge(f"{race}\n0 210 220 look buffered {cells} 0 {op}") for op in ops}
        self.assertLessEqual({verdict for verdict, *_ in looks.values()}, {"coherent", "corrupt"})
        return {op for op, said in looks.items() if said == ["coherent"]}

    def test_two_writes(self) -> None:
        race = "0 10 100 store - 0+64 64\n1 40 50 store - 32+64 64"
        self.assertEqual(self.left(race, "0+32"), {10})
        self.assertEqual(self.left(race, "32+32"), {10, 11})
        self.assertEqual(self.left(race, "64+32"), {11})

    def test_one_of_them_was_seen_before_the_other_began(self) -> None:
        race = "0 10 100 store - 0+64 64\n1 40 50 store - 32+64 64\n2 20 30 look mmap 0+64 0 10"
        self.assertEqual(self.left(race, "0+32"), {10})
        self.assertEqual(self.left(race, "32+32"), {11})

    def test_one_of_them_was_seen_after_the_other_had_ended(self) -> None:
        race = "0 10 100 store - 0+64 64\n1 40 50 store - 32+64 64\n2 60 70 look mmap 32+32 0 {}"
        self.assertEqual(self.left(race.format(10), "32+32"), {10})
        self.assertEqual(self.left(race.format(11), "32+32"), {10, 11})
        self.assertEqual(self.left(race.format(1), "32+32"), set())

    def test_a_look_beside_both(self) -> None:
        race = "0 10 100 store - 0+64 64\n1 40 50 store - 32+64 64\n2 20 {} look mmap 32+32 0 {}"
        for end in (45, 70, 110):
            for op in (1, 10, 11):
                with self.subTest(end=end, op=op):
                    self.assertEqual(self.left(race.format(end, op), "32+32"), {10, 11})

    def test_two_looks_one_after_the_other(self) -> None:
        race = ("0 10 100 store - 0+64 64\n1 40 50 store - 32+64 64\n"
                "2 20 70 look mmap 32+32 0 {}\n3 80 90 look mmap 32+32 0 {}")
        want = {(1, 10): {10}, (1, 11): {10, 11}, (10, 10): {10}, (10, 11): {11}, (11, 10): {10}, (11, 11): {10, 11},
                (1, 1): set(), (10, 1): set(), (11, 1): set()}
        for seen, may in want.items():
            with self.subTest(seen=seen):
                self.assertEqual(self.left(race.format(*seen), "32+32"), may)

    def test_a_write_that_failed_where_it_is_not_certain(self) -> None:
        race = "0 10 100 store - 0+64 64\n1 40 50 store - 0+64 64\n2 110 120 store - 16+16 -5"
        self.assertEqual(self.left(race, "0+16"), {10, 11})
        self.assertEqual(self.left(race, "16+16"), {10, 11, 12})
        self.assertEqual(self.left(race, "32+32"), {10, 11})

    def test_more_than_are_followed(self) -> None:
        """Each write that failed may be there, and what was: 64 are followed."""
        failed = "\n".join(f"0 {t} {t + 1} store - 0+64 -5" for t in range(10, 138, 2))
        race = f"{failed}\n0 140 150 store - 64+64 64\n0 160 170 look buffered 64+64 0 74"
        for op in (1, 10, 73):
            with self.subTest(op=op):
                self.assertEqual(judge(f"{race}\n0 210 220 look buffered 0+1 0 {op}"), ["coherent"])

    def test_a_fourth_write_beside_one_of_three(self) -> None:
        race = ("0 10 100 store - 0+64 64\n1 20 60 store - 0+64 64\n2 30 40 store - 0+64 64\n"
                "3 62 110 store - 0+64 64\n4 70 80 look mmap 0+64 0 10")
        self.assertEqual(self.left(race, "0+64"), {10, 13})

    def test_a_look_that_a_refused_shift_met(self) -> None:
        """It need not have seen what it had seen, and says nothing of what its thread does next."""
        race = """0 10 62 store - 0+64 64
                  1 20 60 store - 0+64 64
                  2 30 40 store - 0+64 64
                  3 50 70 look mmap 0+64 0 {}
                  4 65 90 fault collapse 0+32 -22
                  3 110 120 store - 0+64 64
                  0 105 130 look mmap 0+8 0 15"""
        for op in (10, 11):
            self.assertEqual(self.left(race.format(op), "8+56"), {15})

    def test_three_writes(self) -> None:
        race = "0 10 100 store - 0+64 64\n1 20 60 store - 0+64 64\n2 30 40 store - 0+64 64\n3 {} look mmap 0+64 0 {}"
        self.assertEqual(self.left(race.format("32 36", 11), "0+64"), {10, 11, 12})
        self.assertEqual(self.left(race.format("45 50", 11), "0+64"), {10, 11})
        self.assertEqual(self.left(race.format("45 50", 12), "0+64"), {10, 11, 12})
        self.assertEqual(self.left(race.format("70 80", 12), "0+64"), {10, 12})


class Silence(unittest.TestCase):
    def test_a_shift_of_a_file_that_may_have_any_size(self) -> None:
        """Six resizes at once leave more sizes than are followed, one alone makes it certain again, and six more do
        not; then a pwrite makes the file longer than any of them, and a collapse moves what it wrote."""
        def resizes(at: int) -> str:
            return "".join(f"{t} {at + t} {at + 40 + t} fault resize {16 + t}+0 0\n" for t in range(1, 7))
        self.assertEqual(judge(resizes(0) + "0 100 110 fault resize 16+0 0\n" + resizes(200) + """\
0 300 310 pwrite - 0+128 128
0 320 330 fault collapse 0+32 0
0 340 350 look buffered 32+32 0 23/64
"""), ["coherent"])

    def test_a_long_coherent_race_is_coherent(self) -> None:
        """Streams of the bench: what they show is done as it is written, by threads that interrupt each other."""
        seed = time.time_ns() % 1_000_000_000
        done = subprocess.run([JUDGE.with_name("bench_judge"), "--seed", str(seed), "300000"], capture_output=True,
                              text=True, timeout=600, check=False)
        self.assertEqual(done.returncode, 0, f"build/bench_judge --seed {seed} 300000: {done.stderr}")


class Plain(unittest.TestCase):
    """Writes that begin and end alone where it is not certain which of two others came last."""

    EITHER = """0 10 40 write - 64+64 64
                1 20 30 write - 64+64 64"""

    def judge(self, *lines: str) -> list[str]:
        return judge("\n".join([" ".join(line.split()) for line in self.EITHER.split("\n")] + list(lines)))

    def test_inside_it(self) -> None:
        lines = ("2 50 60 write - 80+10 10", "2 61 62 look buffered 64+16 0 11", "2 63 64 look buffered 80+10 0 12",
                 "2 65 66 look buffered 90+38 0 10")
        self.assertEqual(self.judge(*lines), ["coherent"])
        self.assertEqual(self.judge(*lines, "2 67 68 look buffered 90+38 0 11"), ["corrupt", "stale"])

    def test_where_it_begins(self) -> None:
        self.assertEqual(self.judge("2 50 60 write - 60+68 68", "2 61 62 look buffered 60+68 0 12",
                                    "0 70 80 write - 60+68 68", "1 75 90 look buffered 60+68 0 14"), ["coherent"])

    def test_beneath_a_look(self) -> None:
        self.assertEqual(self.judge("2 50 60 write - 64+64 64", "3 45 70 look buffered 64+64 0 11"), ["coherent"])


if __name__ == "__main__":
    unittest.main()
