# SPDX-License-Identifier: GPL-2.0
"""Progress on stderr: one line rewritten on a terminal, a line now and then otherwise."""

import sys
import threading
import time

from .store import CaseResult

EVERY_S = 10.0


class Progress:
    """Safe to call from several threads."""

    def __init__(self, total: int, news: bool = True) -> None:
        """`news`: whether it counts for something that a case came out otherwise than an expectation has it."""
        self.total = total
        self.news = news
        self.finished = 0
        self.differs = 0
        self.began = time.monotonic()
        self.shown = 0.0
        self.lock = threading.Lock()
        self.tty = sys.stderr.isatty()
        self.open_line = False

    def say(self, text: str) -> None:
        with self.lock:
            if self.open_line:
                sys.stderr.write("\r\033[K")
                self.open_line = False
            print(text, file=sys.stderr, flush=True)

    def done(self, result: CaseResult) -> None:
        with self.lock:
            self.finished += 1
            self.differs += result.outcome in ("differs", "fixed")
            now = time.monotonic()
            if now - self.shown < (0.2 if self.tty else EVERY_S) and self.finished != self.total:
                return
            self.shown = now
            news = f", {self.differs} not as expected" if self.news else ""
            line = f"{self.finished}/{self.total} cases{news}{self._eta(now)}"
            if self.tty:
                sys.stderr.write(f"\r\033[K{line}  {result.id}"[:128])
                self.open_line = True
                sys.stderr.flush()
            else:
                print(line, file=sys.stderr, flush=True)

    def _eta(self, now: float) -> str:
        if self.finished < 5 or self.finished >= self.total:
            return ""
        left_s = (now - self.began) / self.finished * (self.total - self.finished)
        return f", about {int(left_s // 60)}:{int(left_s % 60):02d} left"

    def end(self) -> None:
        with self.lock:
            if self.open_line:
                sys.stderr.write("\r\033[K")
                self.open_line = False
