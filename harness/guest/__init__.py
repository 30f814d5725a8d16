# SPDX-License-Identifier: GPL-2.0
"""Kernels in QEMU guests: fetch, boot, talk, and learn how they died. Knows nothing of cases."""

from .available import Available, is_version
from .conf import KERNELS_DIR, KernelConf, handmade, load_kernels, of_version
from .console import classify_console
from .errors import BootError, GuestDied, GuestError, GuestTimeout
from .guest import Guest, sweep_stale
from .kernel import Kernel, check_by_hand, image_release, obtain

__all__ = ["KERNELS_DIR", "Available", "BootError", "Guest", "GuestDied", "GuestError", "GuestTimeout",
           "Kernel", "KernelConf", "check_by_hand", "classify_console", "handmade", "image_release",
           "is_version", "load_kernels", "obtain", "of_version", "sweep_stale"]
