# SPDX-License-Identifier: GPL-2.0
"""The executor's protocol (harness/README.md), spoken to any machine that moves lines.

Every request has a deadline for its last line, so nothing here can wait for ever.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote_to_bytes

from .errors import AgentTimeout

_ESCAPED = {b: f"%{b:02X}" for b in [*range(0x21), 0x7F, ord("%")]}


def encode(token: str) -> str:
    """One token of a line: bytes that would split or end it become %XX, nothing becomes %-."""
    return token.translate(_ESCAPED) if token else "%-"


def decode(token: str) -> str:
    """The inverse of encode. Malformed escapes stay as they are."""
    if token == "%-":
        return ""
    if "%" not in token:
        return token
    return unquote_to_bytes(token.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


class Transport(Protocol):
    """What a machine offers. Both raise AgentDied, recv also AgentTimeout."""

    def send(self, line: str) -> None: ...

    def recv(self, timeout_s: float) -> str: ...


@dataclass
class Reply:
    lines: list[list[str]]
    last: list[str]

    @property
    def ok(self) -> bool:
        return self.last[0] == "ok"

    def env(self) -> dict[str, str]:
        return {line[1]: " ".join(line[2:]) for line in self.lines if line[0] == "env" and len(line) > 1}

    def history(self) -> list[str]:
        return [line[1] for line in self.lines if line[0] == "h" and len(line) > 1]


@dataclass(frozen=True)
class ChannelInfo:
    name: str
    cls: str
    hold: str
    brief: bool  # close kin of another channel: the default run gives it the short list
    available: bool
    why: str

    @property
    def plain(self) -> bool:
        return "/" not in self.name


@dataclass(frozen=True)
class FaultInfo:
    name: str
    args: str
    flags: frozenset[str]
    summary: str


@dataclass
class Hello:
    env: dict[str, str] = field(default_factory=dict)
    channels: dict[str, ChannelInfo] = field(default_factory=dict)
    faults: dict[str, FaultInfo] = field(default_factory=dict)


@dataclass
class ShResult:
    out: str
    exit: int | None  # None: a signal or the timeout
    how: str

    @property
    def ok(self) -> bool:
        return self.exit == 0


def late_histories(lines: list[str]) -> dict[int, list[str]]:
    """By case, its history after the reply to it: lines `NR LINE` of the second port."""
    out: dict[int, list[str]] = {}
    for line in lines:
        nr, _, rest = line.partition(" ")
        if nr.isdigit() and rest:
            out.setdefault(int(nr), []).append(decode(rest))
    return out


class Agent:
    """Typed requests over a Transport. One request at a time; not shared between threads."""

    def __init__(self, transport: Transport, answer: Callable[[str], None] | None = None) -> None:
        """`answer` does what a case asks for in the middle of its reply."""
        self.transport = transport
        self.answer = answer
        self.mark: list[int] = []  # the sequences that an exploration said last it was at

    def request(self, *tokens: str, timeout_s: float) -> Reply:
        self.transport.send(" ".join(encode(t) for t in tokens))
        return self._reply(tokens[0], timeout_s)

    def _reply(self, what: str, timeout_s: float, take: Callable[[list[str]], None] | None = None) -> Reply:
        """`take` gets the lines `y` as they come. Where one says where it is, its time begins again."""
        until = time.monotonic() + timeout_s
        lines: list[list[str]] = []
        while True:
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise AgentTimeout(f"no answer to '{what}' within {timeout_s:.0f} s")
            tokens_in = [decode(t) for t in self.transport.recv(left_s).rstrip("\n").split(" ")]
            if tokens_in == [""]:
                continue  # the end of a line that a killed case left unfinished
            if tokens_in[0] == "ask" and self.answer:
                self.answer(tokens_in[1])
                self.transport.send("go")
                continue
            if tokens_in[0] == "at":
                self.mark = [int(t) for t in tokens_in[1:] if t.isdigit()]
                until = time.monotonic() + timeout_s
                continue
            if tokens_in[0] == "y" and take:
                take(tokens_in[1:])
                continue
            if tokens_in[0] in ("ok", "err"):
                return Reply(lines, tokens_in)
            lines.append(tokens_in)

    def watch(self, seconds: float) -> None:
        """Let it be for so long. AgentDied as soon as it dies."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            try:
                self.transport.recv(left_s)
            except AgentTimeout:
                return

    def hello(self, timeout_s: float = 180) -> Hello:
        reply = self.request("hello", timeout_s=timeout_s)
        hello = Hello(env=reply.env())
        for line in reply.lines:
            words = [*line, "", "", "", "", ""]
            if line[0] == "channel" and len(line) >= 4:
                hello.channels[words[1]] = ChannelInfo(words[1], words[2], words[3], words[4] == "brief",
                                                       words[5] == "yes", " ".join(words[6:]).strip())
            elif line[0] == "fault" and len(line) >= 4:
                flags = frozenset(f for f in words[3].split(",") if f not in ("-", ""))
                hello.faults[words[1]] = FaultInfo(words[1], words[2], flags, " ".join(words[4:]).strip())
        return hello

    def sh(self, *argv: str, timeout_s: float = 30) -> ShResult:
        """Run argv on the machine. Never raises for what the command did."""
        reply = self.request("sh", str(int(timeout_s * 1000)), *argv, timeout_s=timeout_s + 15)
        out = "\n".join(" ".join(line[1:]) for line in reply.lines if line[0] == "out")
        if reply.ok and reply.last[1:2] == ["exit"]:
            return ShResult(out, int(reply.last[2]), " ".join(reply.last[1:]))
        return ShResult(out, None, " ".join(reply.last[1:]))

    def statx(self, path: str) -> dict[str, str]:
        return self.request("statx", path, timeout_s=20).env()

    def case(self, timeout_s: float, **keys: str | int) -> Reply:
        return self.request("case", *(f"{k}={v}" for k, v in keys.items()), timeout_s=timeout_s)

    def race(self, timeout_s: float, **keys: str | int) -> Reply:
        return self.request("race", *(f"{k}={v}" for k, v in keys.items()), timeout_s=timeout_s)

    def explore(self, silence_s: float, sequences: list[tuple[int, str]],
                take: Callable[[list[str]], None] | None = None, **keys: str | int) -> Reply:
        """`sequences` are number and text. Where it was last is in self.mark, also when it dies; AgentTimeout when it
        has not said that for `silence_s`. With judge=- `take` gets the pieces of histories, NR, more|end, TEXT, as they
        come."""
        self.mark = []
        head = " ".join(["explore", *(encode(f"{k}={v}") for k, v in keys.items())])
        self.transport.send("\n".join([head, *(f"seq {nr} {encode(text)}" for nr, text in sequences), "go"]))
        return self._reply("explore", silence_s, take)

    def explore_views(self, timeout_s: float, **keys: str | int) -> Reply:
        return self.request("explore-views", *(f"{k}={v}" for k, v in keys.items()), timeout_s=timeout_s)

    def views(self, timeout_s: float, **keys: str | int) -> Reply:
        return self.request("views", *(f"{k}={v}" for k, v in keys.items()), timeout_s=timeout_s)

    def kmsg(self) -> list[tuple[float, int, str]]:
        """(seconds, priority, text) of the kernel log since the last call."""
        out = []
        for line in self.request("kmsg", timeout_s=30).lines:
            if line[0] == "k" and len(line) >= 3:
                out.append((float(line[1]), int(line[2]), " ".join(line[3:])))
        return out

    def pins(self) -> int | None:
        """Pins held now (acquired - released), or None where the kernel does not count them."""
        env = self.request("pins", timeout_s=20).env()
        try:
            return int(env["nr_foll_pin_acquired"]) - int(env["nr_foll_pin_released"])
        except (KeyError, ValueError):
            return None

    def quota(self, mnt: str) -> tuple[int, int] | None:
        """(bytes the filesystem charges root for, bytes that root's files have) after a sync of it, or None
        where there is no user quota."""
        env = self.request("quota", mnt, timeout_s=60).env()
        try:
            return int(env["quota_bytes"]), int(env["files_bytes"])
        except (KeyError, ValueError):
            return None

    def quit(self) -> None:
        self.request("quit", timeout_s=10)
