# SPDX-License-Identifier: GPL-2.0
"""What a guest's console says about its death.

A title is constant: no addresses, process numbers or CPU numbers, so that the same crash has the
same title every time. The detail is in the tail.
"""

import re

TAIL_LINES = 60

# `[   12.345678]`, with `[    T123]` after it on some kernels.
_STAMP = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?")
_FUNC = r"([A-Za-z_][\w.]*)"
_RIP = re.compile(r"\bRIP: [0-9a-f]{4}:" + _FUNC + r"\+0x")

# (what the line says, the title; {func} is the function of the RIP line that follows). The first
# line of the log that matches any of them begins the report; where one crash prints several, the
# first is the most telling.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple((re.compile(p), t) for p, t in (
    (r"BUG: KASAN: ([\w-]+) in " + _FUNC, "KASAN: {1} in {2}"),
    (r"BUG: KFENCE: ([\w -]+?) in " + _FUNC, "KFENCE: {1} in {2}"),
    (r"BUG: (?:kernel|unable to handle kernel) NULL pointer dereference",
     "BUG: NULL pointer dereference in {func}"),
    (r"BUG: unable to handle (?:page fault|kernel paging request)",
     "BUG: unable to handle page fault in {func}"),
    (r"kernel BUG at ", "kernel BUG in {func}"),
    (r"general protection fault", "general protection fault in {func}"),
    (r"BUG: (soft lockup|hard lockup)", "{1} in {func}"),
    (r"Watchdog detected (hard LOCKUP)", "hard lockup in {func}"),
    (r"(stack guard page was hit|stack segment|double fault|divide error|invalid opcode|int3)"
     r"\b.*(?:\[#\d+\]|: \d{4})", "{1} in {func}"),
    (r"BUG: (Bad page state|Bad page map|Bad rss-counter state)", "BUG: {1}"),
    (r"BUG: (sleeping function called from invalid context)", "BUG: {1}"),
    (r"BUG: (scheduling while atomic)", "BUG: {1}"),
    (r"\b(list_add|list_del) corruption", "{1} corruption in {func}"),
    (r"Oops: ([\w -]+?)(?::|,)? ?\d*(?: \[#\d+\])", "Oops: {1} in {func}"),
    (r"Kernel panic - not syncing: (.*)", "panic: {1}"),
    (r"PANIC: (double fault|early exception)", "panic: {1}"),
    (r"^BUG: (.*)", "BUG: {1}"),
))


def strip_stamp(line: str) -> str:
    """A console line without the kernel's time stamp."""
    return _STAMP.sub("", line.rstrip("\r\n"))


def classify_console(text: str) -> tuple[str, str] | None:
    """(title, tail) of the first crash in a console's text, None if there is none.

    tail is the report itself, at most TAIL_LINES lines of it.
    """
    lines = text.replace("\r", "").split("\n")
    for nr, line in enumerate(lines):
        plain = strip_stamp(line)
        if plain.startswith("pinfault-init:"):
            continue
        for pattern, title in _PATTERNS:
            match = pattern.search(plain)
            if match:
                report = lines[nr:nr + TAIL_LINES]
                return _title(title, match, report), "\n".join(report).rstrip()
    return None


def _title(template: str, match: re.Match[str], report: list[str]) -> str:
    groups = {str(i): value or "" for i, value in enumerate(match.groups(), 1)}
    title = template
    for key, value in groups.items():
        title = title.replace("{" + key + "}", value)
    if "{func}" in title:
        title = title.replace("{func}", _function(report))
    return _constant(title)


def _function(report: list[str]) -> str:
    for line in report:
        match = _RIP.search(line)
        if match:
            return match.group(1)
    return "unknown"


def _constant(title: str) -> str:
    """Take out what differs from one time to the next."""
    title = re.sub(r"\.(isra|constprop|part|cold|llvm)(\.\d+)?", "", title)
    title = re.sub(r"\b0x[0-9a-fA-F]+\b|\b[0-9a-f]{8,16}\b", "ADDR", title)
    title = re.sub(r"\b(CPU|pid|PID)[# :]*\d+", r"\1 N", title)
    title = re.sub(r"\b\d{3,}\b", "N", title)
    return " ".join(title.split())[:120]


def console_tail(text: str, lines: int = 20) -> str:
    """The last lines of a console, blank ones left out."""
    kept = [line.rstrip() for line in text.replace("\r", "").split("\n") if line.strip()]
    return "\n".join(kept[-lines:])
