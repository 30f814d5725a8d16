# SPDX-License-Identifier: GPL-2.0
"""Filesystems that tests mount."""

import time
from pathlib import Path

from harness.runner.proc import run

PATIENCE_S = 20  # what was asleep on it and was killed may still be on its way out


def unmount(mnt: Path) -> None:
    """Thawed before, as a frozen one outlives its mount. AssertionError when it stays busy."""
    run("fsfreeze", "-u", str(mnt), timeout_s=60)
    until = time.monotonic() + PATIENCE_S
    while (done := run("umount", str(mnt), timeout_s=60)).code:
        assert time.monotonic() < until, done
        time.sleep(0.1)
