# SPDX-License-Identifier: GPL-2.0
"""A writer of the `newc` cpio format, which is what the kernel unpacks an initramfs from.

Format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel. Without times,
owners and inode numbers of this machine, so that the same input gives the same bytes.
"""

import stat


class CpioWriter:
    """Collects entries; data() ends the archive. Parents must be added before their children."""

    def __init__(self) -> None:
        self._out = bytearray()
        self._ino = 0

    def _entry(self, name: str, mode: int, data: bytes, rdev: tuple[int, int] = (0, 0)) -> None:
        self._ino += 1
        encoded = name.encode() + b"\0"
        fields = (self._ino, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(encoded), 0)
        self._out += b"070701" + b"".join(b"%08X" % value for value in fields) + encoded
        self._pad()
        self._out += data
        self._pad()

    def _pad(self) -> None:
        self._out += b"\0" * (-len(self._out) % 4)

    def directory(self, name: str, mode: int = 0o755) -> None:
        self._entry(name, stat.S_IFDIR | mode, b"")

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        self._entry(name, stat.S_IFREG | mode, data)

    def symlink(self, name: str, target: str) -> None:
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def chardev(self, name: str, major: int, minor: int, mode: int = 0o600) -> None:
        self._entry(name, stat.S_IFCHR | mode, b"", (major, minor))

    def data(self) -> bytes:
        """The finished archive."""
        self._entry("TRAILER!!!", 0, b"")
        self._out += b"\0" * (-len(self._out) % 512)
        return bytes(self._out)
