# SPDX-License-Identifier: GPL-2.0
"""Alphabets and enumeration: against brute force over every word, with the equivalences spelled out again."""

import itertools
import os
import subprocess
import tempfile
import unittest
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from harness.runner.agent import FaultInfo
from harness.runner.alphabet import Alphabet, load, of_verbs, parse
from harness.runner.enumeration import Enumeration, Word, step
from harness.runner.errors import UsageError
from harness.runner.findings import embeds, family, name_of

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "workloads" / "alphabets"
EXECUTOR = Path(os.environ.get("PINFAULT_BUILD", ROOT / "build")).resolve() / "pinfault-exec"
ARGS = {"punch": "file-range", "truncate": "file-size", "clone": "file-file", "fsync": "file", "evict": "file",
        "unlink": "file", "rename": "file-file", "zero-range": "file-range", "collapse": "file-range",
        "insert": "file-range", "dedupe": "file-file", "defrag": "file", "unshare": "file-range", "fdatasync": "file", "msync": "file",
        "sync-file-range": "file-range", "dsync": "file-range", "page-out": "file", "fork": "file"}
FAULTS = {n: FaultInfo(n, a, frozenset(), "") for n, a in ARGS.items()} | {
    "freeze": FaultInfo("freeze", "file", frozenset({"exclusive"}), ""),
    "syncfs": FaultInfo("syncfs", "file", frozenset(), "")}

# Two files that nothing tells apart, steps that commute, looks, a clone.
TWINS = """# twins
file A 16K written pinned
file B 16K written pinned
step write * 0 4K
step hold A 0 4K
step hold B 0 4K
step land
step land last
step punch * 0 4K
step read * 0 whole mmap
step fsync *
step clone * *
"""
LONE = """# lone
file A 16K written,hole pinned
file B 8K written,unwritten
step write A 0 4K
step punch * 0 4K
step evict *
step unpin A
step pin A
step read A 0 whole direct
step unlink *
"""


def alphabet(text: str) -> Alphabet:
    return parse(text, "test", "test.alphabet", FAULTS)


class Classes:
    """Which words are the same: joined by single rewritings, written down without the code under test."""

    def __init__(self, a: Alphabet, depth: int) -> None:
        self.a = a
        self.e = Enumeration(a)
        self.words = [w for n in range(1, depth + 1)
                      for w in itertools.product(range(len(a.symbols)), repeat=n) if self.e.valid(w)]
        self.parent = {w: w for w in self.words}
        for word in self.words:
            for other in self.rewritten(word):
                if other in self.parent:
                    self.join(word, other)

    def find(self, w: Word) -> Word:
        while self.parent[w] != w:
            self.parent[w] = self.parent[self.parent[w]]
            w = self.parent[w]
        return w

    def join(self, a: Word, b: Word) -> None:
        self.parent[self.find(a)] = self.find(b)

    def rewritten(self, word: Word) -> Iterator[Word]:
        symbols = self.a.symbols
        for i in range(len(word) - 1):
            x, y = symbols[word[i]], symbols[word[i + 1]]
            shared = any(symbols[k].verb in ("clone", "rename") for k in word[:i])
            out = sum({"hold": 1, "land": -1}.get(symbols[k].verb, 0) for k in word[:i])  # what waits for it goes on
            if x.files and y.files and not set(x.files) & set(y.files) and not shared and not out \
                    and {x.verb, y.verb} <= {"write", "punch", "evict"}:
                yield (*word[:i], word[i + 1], word[i], *word[i + 2:])
            if word[i] == word[i + 1] and x.verb == "read":
                yield (*word[:i], *word[i + 1:])
        last = symbols[word[-1]]
        if last.verb == "land" and not last.args:
            yield word[:-1]
        held = sum({"hold": 1, "land": -1}.get(symbols[i].verb, 0) for i in word)
        if last.verb == "read" and last.args == ("0", "16K", "mmap") and last.files == (0,) and not held:
            yield word[:-1]
        if self.a.files[0].size == self.a.files[1].size:
            yield tuple(symbols.index(type(s)(s.verb, tuple(1 - f for f in s.files), s.args, s.fault, s.pair))
                        for s in (symbols[i] for i in word))


class Enumerated(unittest.TestCase):
    def check_against_brute_force(self, text: str, depth: int) -> None:
        """What the rules leave is one word of each class, and each word's own canonical one."""
        classes = Classes(alphabet(text), depth)
        e = classes.e
        run = [w for n in range(1, depth + 1) for w in e.words(n)]
        self.assertEqual(len(run), len(set(run)))
        by_class = Counter(classes.find(w) for w in run)
        writing = {classes.find(w) for w in classes.words if e.writes(w)}
        self.assertEqual(set(by_class), writing)
        self.assertEqual(set(by_class.values()), {1})
        chosen = set(run)
        for w in classes.words:
            if e.writes(w):
                c = e.canonical(w)
                self.assertIn(c, chosen, f"{w} -> {c}")
                self.assertEqual(classes.find(c), classes.find(w), w)

    def test_twins(self) -> None:
        self.check_against_brute_force(TWINS, 4)

    def test_lone(self) -> None:
        self.check_against_brute_force(LONE, 4)

    def test_every_word_is_run_or_saved(self) -> None:
        for text in (TWINS, LONE):
            e = Enumeration(alphabet(text))
            for depth in (1, 2, 3, 4):
                c = e.count(depth)
                valid = sum(e.valid(w) for w in itertools.product(range(len(e.symbols)), repeat=depth))
                self.assertEqual(c.valid, valid * len(e.worlds))
                self.assertEqual(c.run + sum(c.saved.values()), c.valid, (depth, c))
                self.assertEqual(c.run, sum(1 for _ in e.items(depth)))

    def test_the_rules_save_something(self) -> None:
        saved = sum((Enumeration(alphabet(t)).count(4).saved for t in (TWINS, LONE)), Counter())
        self.assertEqual(set(saved), {"names", "order", "landing", "look", "state", "no write"})

    def test_estimate_says_so(self) -> None:
        e = Enumeration(alphabet(TWINS))
        true = e.count(5)
        about = e.count(5, at_most=5000)
        self.assertTrue(about.estimated and not true.estimated)
        self.assertLess(abs(about.run / true.run - 1), 0.5)

    def test_one_held_write_at_a_time(self) -> None:
        """All that hold one, and none that hold two: what a channel whose held write has the file's lock can do."""
        def held(e: Enumeration, word: Word) -> int:
            out = most = 0
            for verb, _ in e.steps(word):
                out += (verb == "hold") - (verb == "land")
                most = max(most, out)
            return most
        two, one = Enumeration(alphabet(TWINS)), Enumeration(alphabet(TWINS), 1)
        every = set(two.words(4))
        self.assertEqual(max(held(two, w) for w in every), 2)
        self.assertEqual(set(one.words(4)), {w for w in every if held(two, w) < 2})

    def test_items_go_on_and_split(self) -> None:
        e = Enumeration(alphabet(LONE))
        every = list(e.items(3))
        self.assertEqual(list(itertools.islice(e.items(3), 40, None)), every[40:])
        self.assertEqual(list(Enumeration(alphabet(LONE)).items(3)), every)
        likely = list(e.items(3, True, 7))
        self.assertEqual(likely, list(e.items(3, True, 7)))
        self.assertNotEqual(likely, list(e.items(3, True, 8)))
        self.assertEqual((len(likely), set(likely)), (len(every), set(every)))

    def test_likeliest_have_a_fault_in_a_hold(self) -> None:
        e = Enumeration(alphabet(TWINS))
        _, word = next(e.items(3, True, 1))
        verbs = [e.symbols[i].verb for i in word]
        self.assertIn("hold", verbs)
        ranks = [e.likelihood(w) for _, w in e.items(3, True, 1)]
        self.assertEqual(ranks, sorted(ranks))

    def test_landings_are_written_out(self) -> None:
        e = Enumeration(alphabet(TWINS))
        index = {(s.verb, s.files, s.args): i for i, s in enumerate(e.symbols)}
        hold, punch = index["hold", (0,), ("0", "4K")], index["punch", (0,), ("0", "4K")]
        land, last = index["land", (), ()], index["land", (), ("last",)]
        text = e.text(("written", "written"), (hold, punch))
        self.assertEqual(text, "file A 16K written\npin A\nhold w1 A 0 4K\npunch A 0 4K\nland w1\n")
        self.assertEqual(e.text(("written",) * 2, (hold, punch, land)), text)
        self.assertEqual(e.text(("written",) * 2, (hold, hold, last, punch)).splitlines()[-5:],
                         ["hold w1 A 0 4K", "hold w2 A 0 4K", "land w2", "punch A 0 4K", "land w1"])

    def test_the_executor_reads_them(self) -> None:
        if not EXECUTOR.exists():
            self.skipTest("the executor is not built")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "s.seq"
            for name in ("core", "wide", "huge"):
                e = Enumeration(load(name, FOLDER, FAULTS))
                items = [*e.items(1), *itertools.islice(e.items(3), 0, 40000, 1009)]
                for world, word in items:
                    path.write_text(e.text(world, word))
                    done = subprocess.run([str(EXECUTOR), "--seq", str(path)], capture_output=True, text=True, timeout=20)
                    self.assertEqual(done.stderr, "", path.read_text())


class Alphabets(unittest.TestCase):
    def refused(self, text: str, part: str) -> None:
        with self.assertRaises(UsageError) as caught:
            alphabet(text)
        self.assertIn(part, str(caught.exception))
        self.assertEqual(len(str(caught.exception).splitlines()), 1)

    def test_bad_ones(self) -> None:
        self.refused("step write A 0 4K\n", "test.alphabet:1: no file 'A'")
        self.refused("file A 16K written pinned\nstep punchh A 0 4K\n", "did you mean punch?")
        self.refused("file A 16K written pinned\nstep punch A 0 4K\n", "no sequence can be made of it")
        self.refused("file A 16K written\nstep write A 0 4K\n", "ever pinned")
        self.refused("file A 16K written pinned\nstep write A 16K 4K\n", "ends past")
        self.refused("file A 16K written pinned\nstep write A 1 4K\n", "not an offset")
        self.refused("file A 16K written pinned\nstep write A 0\n", "wants 3 arguments")
        self.refused("file A 16K writen pinned\n", "did you mean written")
        self.refused("file A 16K written pinned\nstep freeze A\n", "touches the whole filesystem")
        self.refused("file A 16K written pinned\nstep syncfs A\n", "writes back the files of other")
        self.refused("word\n", "neither file nor step")
        self.refused("# nothing\n", "at least one file")
        with self.assertRaises(UsageError):
            load("cor", FOLDER, FAULTS)
        with self.assertRaises(UsageError):
            load("/nowhere/x.alphabet", FOLDER, FAULTS)

    def test_lists_and_stars(self) -> None:
        a = alphabet("file A 8K written pinned\nfile B 8K hole\nstep write A 0,4K 4K\nstep punch * end 4K\n"
                     "step clone * *\nstep read A 0 whole mmap,direct\n")
        self.assertEqual([(s.verb, s.files, s.args) for s in a.symbols], [
            ("write", (0,), ("0", "4K")), ("write", (0,), ("4K", "4K")), ("punch", (0,), ("8K", "4K")),
            ("punch", (1,), ("8K", "4K")), ("clone", (0, 1), ()), ("clone", (1, 0), ()),
            ("read", (0,), ("0", "8K", "mmap")), ("read", (0,), ("0", "8K", "direct"))])

    def test_verbs(self) -> None:
        a = of_verbs("punch write hold land".split(), FOLDER / "wide.alphabet", FAULTS)
        self.assertEqual(set(a.verbs), {"punch", "write", "hold", "land"})
        self.assertEqual(set(load("write fsync", FOLDER, FAULTS).verbs), {"write", "fsync"})
        with self.assertRaises(UsageError):
            load("write nonesuch", FOLDER, FAULTS)
        with self.assertRaises(UsageError):
            load("punch land", FOLDER, FAULTS)

    def test_shipped(self) -> None:
        for path in FOLDER.glob("*.alphabet"):
            a = load(path.stem, FOLDER, FAULTS)
            self.assertTrue(a.title and a.title != a.name, path)
        # In full to four steps, on every filesystem, channel and kernel.
        self.assertLess(Enumeration(load("core", FOLDER, FAULTS)).count(4).run, 40000)

    def test_states(self) -> None:
        a = alphabet(LONE)
        e = Enumeration(a)
        unlink = next(i for i, s in enumerate(a.symbols) if s.verb == "unlink" and s.files == (0,))
        self.assertFalse(e.valid((unlink, unlink)))
        pin = next(i for i, s in enumerate(a.symbols) if s.verb == "pin")
        self.assertIsNone(step(e.first, a.symbols[pin]))


class Findings(unittest.TestCase):
    def test_embeds(self) -> None:
        small = (("hold", (0,)), ("punch", (0,)))
        self.assertTrue(embeds(small, (("hold", (1,)), ("read", (0,)), ("punch", (1,)))))
        self.assertFalse(embeds(small, (("hold", (1,)), ("punch", (0,)))))
        self.assertFalse(embeds(small, (("punch", (0,)), ("hold", (0,)))))
        self.assertTrue(embeds(small, (("hold", (1,)), ("hold", (0,)), ("punch", (0,)))))
        self.assertFalse(embeds((("clone", (0, 1)),), (("clone", (0,)),)))
        self.assertFalse(embeds((("write", (0,)), ("write", (1,))), (("write", (0,)), ("write", (0,)))))

    def test_families(self) -> None:
        self.assertEqual(family(["lost-write", "view-split"]), "data")
        self.assertEqual(family(["kernel-log", "lost-write"]), "data")
        self.assertEqual(family(["metadata"]), "metadata")
        self.assertEqual(family([]), "data")
        self.assertRegex(name_of("x", (("hold", (0,)), ("punch", (0,)), ("hold", (0,)))), "^explore-hold-punch-[0-9a-f]{6}$")


if __name__ == "__main__":
    unittest.main()
