# SPDX-License-Identifier: GPL-2.0
"""Kernel log lines by severity, and a constant title for a crash seen on a console.

The patterns follow what xfstests' _check_dmesg and syzkaller's reports look for; what is known to be
harmless is data, in harness/expected/klog.allow.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError

# Worst first. The first that matches names the severity.
_SEVERITIES = (
    # Said by the executor, which looks (executor/zeros.c): the kernel says nothing of it.
    ("zeros", re.compile(r"the kernel's page of zeros has \d+ bytes that are not")),
    ("panic", re.compile(r"Kernel panic - not syncing")),
    ("oops", re.compile(r"Oops:|BUG: kernel NULL pointer|BUG: unable to handle|kernel BUG at|"
                        r"general protection fault|double fault|stack guard page was hit")),
    ("bug", re.compile(r"\bBUG:|\bBUG .* remaining|Bad page state|nonzero mapcount|"
                       r"KASAN:|KFENCE:|KCSAN:|UBSAN:|soft lockup|hard LOCKUP|"
                       r"rcu.*detected stalls|blocked for more than \d+ seconds")),
    ("lock", re.compile(r"possible recursive locking|possible circular locking|suspicious RCU usage|"
                        r"inconsistent lock state|bad unlock balance")),
    ("warning", re.compile(r"WARNING:")),
    ("aborted", re.compile(r"BTRFS: error .* in \w+:\d+: errno=|Shutting down filesystem|"
                           r"Remounting filesystem read-only")),
    ("corrupt", re.compile(r"Metadata corruption|Metadata CRC error|Corruption of in-memory data|"
                           r"EXT4-fs error|EXT4-fs \(.*\): .*inconsisten|BTRFS (error|critical)|Transaction (\d+ )?aborted|"
                           r"does not have buffers attached|dirty without notifying|"
                           r"checksum verify failed|csum failed|Buffer I/O error|"
                           r"Internal error .* at line")),
    ("memory", re.compile(r"invoked oom-killer|Out of memory|Killed process|page allocation failure")),
)
_TRACE = re.compile(r"^\s*(\? )?[A-Za-z0-9_.]+\+0x[0-9a-f]+/0x|^\s*(Call Trace|Code|R[A-Z0-9]{2,3}|CPU):")
_NOISE = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,16}\b|\b\d+\b")
_ABOUT = re.compile(r"(?<![:+/])\b(0x[0-9a-f]+|[0-9a-f]{8,16}|\d+)\b")  # not file.c:LINE nor function+OFFSET


_KINDS = {"panic": "kernel-fault", "oops": "kernel-fault", "bug": "kernel-fault", "aborted": "aborted",
          "warning": "kernel-warning", "lock": "kernel-warning", "zeros": "zero-page"}
# The function, where the line says it: btrfs, XFS, a WARNING.
_WHERE = re.compile(r" in (\w+):\d+: errno=|detected at (\w+)\+0x|WARNING: .*? (\w+)(?:\.\w+)*\+0x")
_SAY_WHERE = ("aborted", "kernel-warning")
_WORST = ("zero-page", "kernel-fault", "aborted", "kernel-warning", "checksum")
# The second is how often btrfs has met the first by now.
_CHECKSUM = re.compile(r"csum failed|errs: wr 0, rd 0, flush 0, corrupt [1-9]")


@dataclass(frozen=True)
class Finding:
    severity: str
    text: str

    @property
    def kind(self) -> str:
        """The kind of violation: a wrong checksum of data, the page of zeros overwritten, the kernel at fault, a
        filesystem that gave up, what the kernel warns of, or what else it complained of; KIND:FUNCTION where one that
        gave up or warns says where."""
        if _CHECKSUM.search(self.text):
            return "checksum"
        kind = _KINDS.get(self.severity, "kernel-log")
        where = _WHERE.search(self.text) if kind in _SAY_WHERE else None
        return f"{kind}:{next(filter(None, where.groups()))}" if where else kind

    @property
    def shape(self) -> str:
        """The same for the same complaint, from the same place, about another inode, block or process."""
        return _ABOUT.sub("N", self.text)


def kind_of(findings: list[Finding]) -> str:
    """One kind for several lines: the worst."""
    return min((f.kind for f in findings), key=_badness, default="kernel-log")


def by_kind(findings: list[Finding]) -> list[tuple[str, list[str]]]:
    """The lines of each kind, the worst kind first."""
    kinds = sorted({f.kind for f in findings}, key=lambda kind: (_badness(kind), kind))
    return [(kind, [f.text for f in findings if f.kind == kind]) for kind in kinds]


def _badness(kind: str) -> int:
    base = kind.partition(":")[0]
    return _WORST.index(base) if base in _WORST else len(_WORST)


class KernelLog:
    def __init__(self, allow: list[re.Pattern[str]]) -> None:
        self.allow = allow

    @classmethod
    def load(cls, path: Path) -> "KernelLog":
        """One regular expression a line; blank lines and # comments are skipped."""
        allow = []
        for number, raw in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            try:
                allow.append(re.compile(line))
            except re.error as err:
                raise UsageError(f"{path}:{number}: {err}") from None
        return cls(allow)

    def grade(self, lines: list[str]) -> list[Finding]:
        """What in `lines` is not allowed, one finding a report (its trace is not graded)."""
        out = []
        for text in lines:
            if _TRACE.match(text):
                continue
            for severity, pattern in _SEVERITIES:
                if pattern.search(text):
                    if not any(a.search(text) for a in self.allow):
                        out.append(Finding(severity, text.strip()))
                    break
        return out


_TITLES = (
    re.compile(r"(Kernel panic - not syncing: .*)"),
    re.compile(r"(kernel BUG at \S+)"),
    re.compile(r"(BUG: .*)"),
    re.compile(r"(Oops: .*)"),
    re.compile(r"(general protection fault.*)"),
    re.compile(r"(WARNING: .*)"),
)
_RIP = re.compile(r"RIP: 0010:(\w+)")


def classify_console(text: str) -> str:
    """A title that stays the same from run to run (addresses and numbers out), "" if nothing is
    recognised. A panic that follows an oops is named by the oops."""
    lines = text.splitlines()
    for pattern in (*_TITLES[1:5], _TITLES[0]):
        for line in lines:
            match = pattern.search(line)
            if match:
                title = _NOISE.sub("N", match[1]).strip()
                rip = _RIP.search(text)
                return f"{title} in {rip[1]}" if rip and rip[1] not in title else title
    return ""
