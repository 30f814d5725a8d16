# SPDX-License-Identifier: GPL-2.0
"""Exit codes and the exceptions that end in one clear line."""

import difflib

EXIT_EXPECTED = 0
EXIT_DIFFERS = 1
EXIT_BROKEN = 2
EXIT_USAGE = 64


class UsageError(Exception):
    """The command line or a file the user wrote is wrong: exit 64."""


class EnvironmentFailed(Exception):
    """The harness or its environment failed: exit 2."""


class AgentDied(Exception):
    """The machine under test is gone. `console` is the tail of what it said last."""

    def __init__(self, reason: str, console: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.console = console


class AgentTimeout(Exception):
    """A request had no answer by its deadline."""


def nearest(name: str, known: list[str], what: str) -> str:
    """The message for an unknown `name`: what is near it, or what there is."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return f"unknown {what} '{name}': did you mean {' or '.join(close)}?"
    listed = " ".join(sorted(known)) or "(none)"
    return f"unknown {what} '{name}'; there are: {listed}"
