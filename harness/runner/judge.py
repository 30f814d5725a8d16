# SPDX-License-Identifier: GPL-2.0
"""The judge as a persistent subprocess: a history file's path in, KEY VALUE lines out."""

import os
import select
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .agent import decode

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
