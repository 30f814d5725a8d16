# SPDX-License-Identifier: GPL-2.0
"""Every sequence of so many steps over an alphabet: lazily, in a fixed order, each kind of them once.

A word is a tuple of numbers of symbols. It is valid when each of its steps makes sense where it stands. Of
words that provably are the same, one is run. The rules, each of which is counted:

  names      files that are declared alike, and that no other step tells apart, are interchangeable
  order      neighbouring steps on different files that share nothing commute (see commute()), while no write is held
             that one of them might wait for: what waits is not over when the next begins. Of all orders the smallest
             is run (the lexicographic normal form of a trace: Anisimov and Knuth)
  landing    a word that ends in landing the oldest held write is the one without: what is held lands at the
             end, oldest first, by steps that are written into the sequence
  look       a look repeated at once sees, and does, nothing new; nor does one through the first file's mapping
             just before the looks at the end, which begin with that
  state      the state of a file that no step of the word names is no difference
  no write   without a write through the channel there is no conflict

A look is never moved across anything: it fills and flushes caches, so it is a step.
"""

import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count, permutations, product

from .alphabet import CHANNEL_VERBS, SYNCS, Alphabet, Symbol, size_text
from .findings import HOLD, Steps

HOLDS_MAX = 2
DEPTH_MAX = 12
RULES = ("names", "order", "landing", "look", "state", "no write")
CLASSES = 4  # of likelihood
_RESIDUES = 8

Word = tuple[int, ...]
World = tuple[str, ...]


@dataclass(frozen=True)
class State:
    """What decides which step may come next."""

    pinned: frozenset[int]
    held: tuple[int, ...] = ()  # the files of what is held, oldest first
    nameless: frozenset[int] = frozenset()
    holds_max: int = HOLDS_MAX  # writes held at once


def first_state(alphabet: Alphabet, holds_max: int = HOLDS_MAX) -> State:
    return State(frozenset(i for i, f in enumerate(alphabet.files) if f.pinned), holds_max=holds_max)


def step(state: State, s: Symbol) -> State | None:
    """The state after it; None where it makes no sense."""
    file = s.files[0] if s.files else -1
    if s.verb in ("write", "store", "hold") and file not in state.pinned:
        return None
    if s.verb == "hold":
        return None if len(state.held) == state.holds_max else replace(state, held=(*state.held, file))
    if s.verb == "land":
        # With one held write the oldest is the youngest.
        if len(state.held) < (2 if s.last else 1):
            return None
        return replace(state, held=state.held[:-1] if s.last else state.held[1:])
    if s.verb == "pin":
        return None if file in state.pinned else replace(state, pinned=state.pinned | {file})
    if s.verb == "unpin":
        if file not in state.pinned or file in state.held:
            return None
        return replace(state, pinned=state.pinned - {file})
    if s.verb == "read" and s.args[-1] in ("mmap", "gup") and file not in state.pinned:
        return None
    if s.verb in ("unlink", "rename"):
        gone = set(s.files) & state.nameless
        return None if gone else replace(state, nameless=state.nameless | {s.files[-1] if s.pair else file})
    return state


_MOVES = frozenset(("write", "store", "pwrite"))


def commute(a: Symbol, b: Symbol) -> bool:
    """Does their order, one right after the other, make no difference? Not known is no."""
    def plain(s: Symbol) -> bool:
        return s.verb in _MOVES or (s.fault and not s.pair and s.verb not in SYNCS and s.verb != "unlink")
    return plain(a) and plain(b) and not set(a.files) & set(b.files)


@dataclass
class Counts:
    """Of one depth."""

    run: int = 0
    valid: int = 0
    saved: Counter[str] = field(default_factory=Counter)
    estimated: bool = False


class Enumeration:
    """All words over an alphabet; symbols are tried in the alphabet's order."""

    def __init__(self, alphabet: Alphabet, holds_max: int = HOLDS_MAX) -> None:
        self.alphabet = alphabet
        self.symbols = alphabet.symbols
        self.commutes = [[commute(a, b) for b in self.symbols] for a in self.symbols]
        self.is_look = [s.verb == "read" for s in self.symbols]
        self.twins = self._twins()
        self.renamed = [self._renaming(p) for p in self.twins]
        self.firsts = {0} | {p.index(0) for p in self.twins}  # files that may be the first to be looked at
        self.completions: dict[tuple[State, int], int] = {}
        self.first = first_state(alphabet, holds_max)
        self.worlds: list[World] = list(product(*(f.states for f in alphabet.files)))
        self.worlds_by_use: dict[frozenset[int], list[World]] = {}

    # --- names ------------------------------------------------------------------------------

    def _twins(self) -> list[tuple[int, ...]]:
        """Permutations of the files that leave files and steps as they are."""
        files = self.alphabet.files
        out = []
        for p in permutations(range(len(files))):
            alike = all((files[i].size, files[i].states, files[i].pinned)
                        == (files[j].size, files[j].states, files[j].pinned) for i, j in enumerate(p))
            if alike and p != tuple(range(len(files))) and self._renaming(p) is not None:
                out.append(p)
        return out

    def _renaming(self, p: tuple[int, ...]) -> list[int] | None:
        index = {(s.verb, s.files, s.args): i for i, s in enumerate(self.symbols)}
        out = [index.get((s.verb, tuple(p[f] for f in s.files), s.args), -1) for s in self.symbols]
        return None if -1 in out else out

    # --- order ------------------------------------------------------------------------------

    def _tied(self, word: Word) -> bool:
        """After it, does the order matter of steps that commute? Files share something, or a write is held."""
        return any(self.symbols[i].pair for i in word) or self._held(word)

    def out_of_order(self, word: Word, last: int) -> bool:
        """Would `last` after `word` stand better further left?"""
        for at in range(len(word) - 1, -1, -1):
            if not self.commutes[word[at]][last] or self._tied(word[:at]):
                return False
            if word[at] > last:
                return True
        return False

    def normal_form(self, word: Word) -> Word:
        """The smallest of all orders that are the same."""
        out: list[int] = []
        for symbol in word:
            best = at = len(out)
            while at and self.commutes[out[at - 1]][symbol] and not self._tied(tuple(out[:at - 1])):
                at -= 1
                if out[at] > symbol:
                    best = at
            out.insert(best, symbol)
        return tuple(out)

    def canonical(self, word: Word) -> Word:
        """The word that is run for this one: by order and names, and without a last landing or look."""
        word = self.trimmed(word)
        candidates = [self.normal_form(word)]
        for renamed in self.renamed:
            assert renamed
            candidates.append(self.normal_form(tuple(renamed[i] for i in word)))
        return min(candidates)

    def trimmed(self, word: Word) -> Word:
        """Without looks repeated at once, and without what the end does anyway."""
        out: list[int] = []
        for i in word:
            if not (out and out[-1] == i and self.is_look[i]):
                out.append(i)
        while out and self.useless_end(tuple(out)):
            out.pop()
        return tuple(out)

    def useless_end(self, word: Word) -> str:
        """The rule by which the last step changes nothing, or ""."""
        s = self.symbols[word[-1]]
        if s.verb == "land" and not s.last:
            return "landing"
        if s.verb == "read" and s.args[2] == "mmap" and s.files[0] in self.firsts and self.whole(s) \
                and not self._held(word):
            return "look"
        return ""

    def whole(self, s: Symbol) -> bool:
        return s.args[:2] == ("0", size_text(self.alphabet.files[s.files[0]].size))

    def _held(self, word: Word) -> bool:
        state: State | None = self.first
        for i in word:
            assert state
            state = step(state, self.symbols[i])
        return bool(state and state.held)

    def valid(self, word: Word) -> bool:
        state: State | None = self.first
        for i in word:
            state = step(state, self.symbols[i]) if state else None
        return state is not None

    def writes(self, word: Word) -> bool:
        return any(self.symbols[i].verb in CHANNEL_VERBS for i in word)

    def bytes_of(self, word: Word) -> int:
        """What the files that its steps name hold when they are made."""
        used = {f for i in word for f in self.symbols[i].files}
        return sum(self.alphabet.files[f].size for f in used)

    # --- all of them ------------------------------------------------------------------------

    def valid_after(self, state: State, left: int) -> int:
        """How many ways there are to go on for `left` steps."""
        if not left:
            return 1
        key = (state, left)
        if key not in self.completions:
            nexts = [step(state, s) for s in self.symbols]
            self.completions[key] = sum(self.valid_after(n, left - 1) for n in nexts if n)
        return self.completions[key]

    def _left_out(self, word: Word) -> str:
        """The rule by which a whole word is left out, or ""."""
        if not self.writes(word):
            return "no write"
        why = self.useless_end(word)
        if why:
            return why
        for renamed in self.renamed:
            assert renamed
            if self.normal_form(tuple(renamed[i] for i in word)) < word:
                return "names"
        return ""

    def words(self, depth: int, saved: Counter[str] | None = None) -> Iterator[Word]:
        """The words of `depth` steps that are run, in order. `saved` counts those that are not, by rule."""
        def walk(word: Word, state: State) -> Iterator[Word]:
            if len(word) == depth:
                why = self._left_out(word)
                if not why:
                    yield word
                elif saved is not None:
                    saved[why] += 1
                return
            for i, s in enumerate(self.symbols):
                after = step(state, s)
                if after is None:
                    continue
                why = ("look" if self.is_look[i] and word and word[-1] == i
                       else "order" if self.out_of_order(word, i) else "")
                if not why:
                    yield from walk((*word, i), after)
                elif saved is not None:
                    saved[why] += self.valid_after(after, depth - len(word) - 1)
        yield from walk((), self.first)

    def count(self, depth: int, at_most: int = 1 << 62) -> Counts:
        """Counted; where that are more than `at_most` valid words, estimated from the depth before."""
        valid = self.valid_after(self.first, depth)
        if valid > at_most and depth > 1:
            below = self.count(depth - 1, at_most)
            ratio = valid / max(1, below.valid)
            return Counts(int(below.run * ratio), valid * len(self.worlds), estimated=True)
        saved: Counter[str] = Counter()
        words = run = 0
        for word in self.words(depth, saved):
            words += 1
            run += len(self.worlds_of(word))
        worlds = len(self.worlds)
        saved = Counter({k: v * worlds for k, v in saved.items()})
        if words * worlds > run:
            saved["state"] = words * worlds - run
        return Counts(run, valid * worlds, saved)

    def worlds_of(self, word: Word) -> list[World]:
        """The states that the files may begin with; of a file that is not used, the first."""
        used = frozenset(f for i in word for f in self.symbols[i].files)
        if used not in self.worlds_by_use:
            self.worlds_by_use[used] = list(product(*(f.states if i in used else f.states[:1]
                                                      for i, f in enumerate(self.alphabet.files))))
        return self.worlds_by_use[used]

    # --- the likeliest first ----------------------------------------------------------------

    def likelihood(self, word: Word) -> int:
        """0: something changes the file between a hold and its landing. 1: after a write or a hold. 2: before a
        write. 3: the rest."""
        state: State | None = self.first
        seen_write = fault = False
        out = 3
        for i in word:
            s = self.symbols[i]
            if s.fault or s.verb == "pwrite":
                if state and state.held:
                    return 0
                out = min(out, 1 if seen_write else 3)
                fault = True
            elif s.verb in CHANNEL_VERBS:
                seen_write = True
                out = min(out, 2 if fault else 3)
            state = step(state, s) if state else None
        return out

    def items(self, depth: int, likeliest: bool = False, seed: int = 0) -> Iterator[tuple[World, Word]]:
        """The sequences of one depth. `likeliest`: by likelihood(), and within a class spread over all of it by
        the seed; the set is the same."""
        if not likeliest:
            for word in self.words(depth):
                yield from ((world, word) for world in self.worlds_of(word))
            return
        for cls in range(CLASSES):
            for residue in range(_RESIDUES):
                for word in self.words(depth):
                    if self.likelihood(word) != cls or self._residue(word, seed) != residue:
                        continue
                    yield from ((world, word) for world in self.worlds_of(word))

    @staticmethod
    def _residue(word: Word, seed: int) -> int:
        return zlib.crc32(f"{seed}:{word}".encode()) % _RESIDUES

    # --- as text ----------------------------------------------------------------------------

    def text(self, world: World, word: Word) -> str:
        """The sequence: files that its steps name, and what is held landed at the end, oldest first."""
        files = self.alphabet.files
        used = sorted({f for i in word for f in self.symbols[i].files})
        lines = [f"file {files[i].name} {size_text(files[i].size)} {world[i]}" for i in used]
        lines += [f"pin {files[i].name}" for i in used if files[i].pinned]
        labels: list[str] = []
        free = ["w2", "w1"]
        for i in word:
            s = self.symbols[i]
            if s.verb == "hold":
                labels.append(free.pop())
                lines.append(" ".join(["hold", labels[-1], files[s.files[0]].name, *s.args]))
            elif s.verb == "land":
                label = labels.pop(-1 if s.last else 0)
                free.append(label)
                lines.append(f"land {label}")
            else:
                lines.append(" ".join([s.verb, *(files[f].name for f in s.files), *s.args]))
        lines += [f"land {label}" for label in labels]
        return "\n".join(lines) + "\n"

    def steps(self, word: Word) -> Steps:
        """Verbs, files and holds: what a finding is known by. With the landings at the end."""
        out: list[tuple[str, tuple[int, ...]]] = []
        held: list[int] = []
        holds = count(HOLD)
        for i in word:
            s = self.symbols[i]
            if s.verb == "hold":
                held.append(next(holds))
                out.append((s.verb, (*s.files, held[-1])))
            elif s.verb == "land":
                out.append((s.verb, (held.pop(-1 if s.last else 0),)))
            else:
                out.append((s.verb, s.files))
        return tuple(out + [("land", (hold,)) for hold in held])
