# SPDX-License-Identifier: GPL-2.0
"""The judge as a persistent subprocess: a history file's path in, KEY VALUE lines out."""

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .agent import decode
from .errors import EnvironmentFailed

TIMEOUT_S = 60.0


@dataclass
class Judgement:
    resolution: str = ""
    detail: str = ""
    verdict: str = "broken"
    why: str = ""
    kinds: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    checked: int = 0
    blocked_ns: int = 0
    errno: str = ""
    other: dict[str, str] = field(default_factory=dict)


def answer(lines: Iterable[tuple[str, str]]) -> Judgement:
    """From KEY, decoded VALUE up to `end`. ValueError for what is no number."""
    out = Judgement()
    for key, value in lines:
        if key == "end":
            break
        if key in ("resolution", "detail", "verdict", "why", "errno"):
            setattr(out, key, "" if value == "-" else value)
        elif key == "kind":
            out.kinds.append(value)
        elif key == "evidence":
            out.evidence.append(value)
        elif key in ("checked", "blocked_ns"):
            setattr(out, key, int(value or 0))
        else:
            out.other[key] = value
    return out


class Judge:
    """Not shared between threads. A judge that dies or is silent gives verdict `broken` for that
    history, and a fresh one is started for the next."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.child: subprocess.Popen[bytes] | None = None
        self.buffer = b""

    def _line(self, until: float) -> str:
        assert self.child and self.child.stdout
        fd = self.child.stdout.fileno()
        while b"\n" not in self.buffer:
            if not select.select([fd], [], [], max(0.0, until - time.monotonic()))[0]:
                raise OSError(f"silent for {TIMEOUT_S:.0f} s")
            data = os.read(fd, 1 << 16)
            if not data:
                raise OSError(f"ended (exit {self.child.wait(5)})")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode("utf-8", "replace")

    def judge(self, history: Path) -> Judgement:
        try:
            if not self.child:
                self.child = subprocess.Popen([str(self.program), "--stdin"], stdin=subprocess.PIPE,
                                              stdout=subprocess.PIPE)
                self.buffer = b""
            assert self.child.stdin
            self.child.stdin.write(str(history).encode() + b"\n")
            self.child.stdin.flush()
            return self._answer(time.monotonic() + TIMEOUT_S)
        except (OSError, ValueError, subprocess.TimeoutExpired) as err:
            self.close()
            return Judgement(why=f"the judge failed: {err}")

    def _answer(self, until: float) -> Judgement:
        def lines() -> Iterator[tuple[str, str]]:
            while True:
                key, _, value = self._line(until).partition(" ")
                yield key, decode(value)
        return answer(lines())

    def close(self) -> None:
        if self.child:
            self.child.kill()
            self.child.wait(10)
            for pipe in (self.child.stdin, self.child.stdout):
                try:
                    pipe.close()  # type: ignore[union-attr]
                except OSError:
                    pass
            self.child = None


class JudgeEach:
    """`pinfault-judge --each` beside one request of an exploration: histories go in piece by piece while the machine
    works, the answers are read at the end. What goes wrong is kept until then, so that the reply under way is read to
    its end. One request each: nothing can be left over in it from one that was broken off."""

    def __init__(self, program: Path) -> None:
        self.failed = ""
        self.numbers: list[int] = []        # of the histories it has, in order
        self.pieces: dict[int, str] = {}    # of those that are not whole yet
        self.answers = tempfile.TemporaryFile()  # as long as they like: it never waits for us
        try:
            self.child: subprocess.Popen[bytes] | None = subprocess.Popen(
                [str(program), "--each"], stdin=subprocess.PIPE, stdout=self.answers)
            assert self.child.stdin
            os.set_blocking(self.child.stdin.fileno(), False)
        except OSError as err:
            self.child = None
            self.failed = str(err)

    def __enter__(self) -> "JudgeEach":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self, words: list[str]) -> None:
        """NR, more|end, TEXT."""
        nr = int(words[0])
        self.pieces[nr] = self.pieces.get(nr, "") + words[2]
        if words[1] == "end":
            self.numbers.append(nr)
            self._write((self.pieces.pop(nr) + ".\n").encode("utf-8", "surrogateescape"))

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left and not self.failed:
            assert self.child and self.child.stdin
            fd = self.child.stdin.fileno()
            try:
                if not select.select([], [fd], [], TIMEOUT_S)[1]:
                    raise OSError(f"takes nothing for {TIMEOUT_S:.0f} s")
                left = left[os.write(fd, left):]
            except OSError as err:
                self.failed = str(err)

    def finish(self) -> list[tuple[int, Judgement]]:
        """The answer for each history, in the order in which they came. EnvironmentFailed unless there is one for
        each, and no history was cut off."""
        text = "" if self.failed else self._rest()
        out: list[Judgement] = []
        rows: list[tuple[str, str]] = []
        for line in text.splitlines():
            key, _, value = line.partition(" ")
            rows.append((key, decode(value)))
            if key == "end":
                out.append(answer(rows))
                rows = []
        if not self.failed and self.pieces:
            self.failed = f"the history of {min(self.pieces)} has no end"
        if not self.failed and (rows or len(out) != len(self.numbers)):
            self.failed = f"{len(out)} answers to {len(self.numbers)} histories"
        if self.failed:
            raise EnvironmentFailed(f"the judge failed: {self.failed}")
        return list(zip(self.numbers, out))

    def _rest(self) -> str:
        assert self.child and self.child.stdin
        try:
            self.child.stdin.close()
            code = self.child.wait(TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as err:
            self.failed = str(err)
            return ""
        if code not in (0, 2):  # 2: a history could not be judged, and its answer says so
            self.failed = f"exit {code}"
        self.answers.seek(0)
        return self.answers.read().decode("utf-8", "replace")

    def close(self) -> None:
        if self.child:
            self.child.kill()
            self.child.wait(10)
            assert self.child.stdin
            try:
                self.child.stdin.close()
            except OSError:
                pass
        self.child = None
        self.answers.close()
