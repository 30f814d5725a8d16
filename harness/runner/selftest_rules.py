# SPDX-License-Identifier: GPL-2.0
"""What must come of a sabotage, by its sequence's header, and whether it did."""

import re

from .plan import Sequence

_MUST = re.compile(r"^#\s*must:\s*(\w+)", re.MULTILINE)
_KIND = re.compile(r"^#\s*kind:\s*([\w-]+)", re.MULTILINE)


def must(sequence: Sequence) -> str:
    """The verdict this sequence has to get."""
    said = _MUST.search(sequence.text)
    return said[1] if said else "coherent"


def kind(sequence: Sequence) -> str:
    """The kind of violation that has to be found, "" for none."""
    said = _KIND.search(sequence.text)
    return said[1] if said else ""


def found(kinds: list[str], findings: list[dict[str, str]]) -> set[str]:
    """Every kind of violation that was named, by the judge or by a check beside it."""
    return {*kinds, *(f["kind"] for f in findings)}


def is_right(sequence: Sequence, verdict: str, kinds: set[str]) -> bool:
    """Did what had to be found come out, under its name? A case that must be coherent has no kind at all;
    what a check beside the judge finds (fsck, the kernel log, ...) makes a case corrupt as well."""
    wanted, name = must(sequence), kind(sequence)
    if wanted == "coherent":
        return verdict == "coherent" and not kinds
    if wanted == "corrupt":
        return verdict in ("corrupt", "coherent") and (name in kinds if name else bool(kinds))
    return verdict == wanted and (not name or name in kinds)
