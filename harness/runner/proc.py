# SPDX-License-Identifier: GPL-2.0
"""Subprocesses of the runner: argv lists, always with a timeout."""

import subprocess
from dataclasses import dataclass

from .errors import EnvironmentFailed


@dataclass
class Done:
    code: int
    out: str
    err: str


def run(*argv: str, timeout_s: float = 30, check: bool = False, env: dict[str, str] | None = None,
        stdin: str = "") -> Done:
    """Run argv to its end. EnvironmentFailed when it cannot start, does not end in time, or, with
    `check`, fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", env=env,
                              timeout=timeout_s, input=stdin)
    except FileNotFoundError:
        raise EnvironmentFailed(f"{argv[0]}: not found") from None
    except subprocess.TimeoutExpired:
        raise EnvironmentFailed(f"{' '.join(argv)}: no end after {timeout_s:.0f} s") from None
    if check and done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise EnvironmentFailed(f"{' '.join(argv)}: {said[-1] if said else f'exit {done.returncode}'}")
    return Done(done.returncode, done.stdout, done.stderr)


def start_time(pid: int) -> int | None:
    """When process `pid` started (clock ticks since boot), None if there is none: a pid alone can
    be somebody else's by now, a pid with its start time cannot."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return int(f.read().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None
