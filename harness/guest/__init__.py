# SPDX-License-Identifier: GPL-2.0
"""Kernels in QEMU guests: fetch, boot, talk, and learn how they died. Knows nothing of cases."""

from .conf import KERNELS_DIR, KernelConf, handmade, load_kernels
from .console import classify_console
from .errors import BootError, GuestDied, GuestError, GuestTimeout
from .guest import Guest, sweep_stale
from .kernel import Kernel, obtain

__all__ = ["KERNELS_DIR", "BootError", "Guest", "GuestDied", "GuestError", "GuestTimeout",
           "Kernel", "KernelConf", "classify_console", "handmade", "load_kernels", "obtain",
           "sweep_stale"]
