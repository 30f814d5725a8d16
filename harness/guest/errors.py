# SPDX-License-Identifier: GPL-2.0
"""What can go wrong with a guest. Every message is one line made for a person."""


class GuestError(Exception):
    """The environment failed (no mirror, no space, no QEMU, a bad file): never a kernel finding."""


class BootError(GuestError):
    """The guest did not come up, also when tried again. console_tail is its last console text."""

    def __init__(self, reason: str, console_tail: str = ""):
        super().__init__(reason)
        self.reason = reason
        self.console_tail = console_tail


class GuestTimeout(Exception):
    """Nothing complete came from the agent within the time. The guest may still be alive."""


class GuestDied(Exception):
    """The guest ended while it was in use.

    reason is a constant title fit for de-duplication where the console shows a crash, else a
    sentence; console_tail is the crash report, or the last console text. crashed says which.
    """

    def __init__(self, reason: str, console_tail: str = "", crashed: bool = False):
        super().__init__(reason)
        self.reason = reason
        self.console_tail = console_tail
        self.crashed = crashed
