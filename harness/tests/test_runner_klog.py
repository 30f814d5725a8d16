# SPDX-License-Identifier: GPL-2.0
"""Kernel log lines and console titles."""

import re
import unittest
from pathlib import Path

from harness.runner.klog import KernelLog, classify_console

ROOT = Path(__file__).resolve().parents[2]


class Grades(unittest.TestCase):
    def setUp(self) -> None:
        self.log = KernelLog([re.compile(r"harmless WARNING: known")])

    def severities(self, *lines: str) -> list[str]:
        return [f.severity for f in self.log.grade(list(lines))]

    def test_severity(self) -> None:
        for line, severity in (
                ("[ 1.0] <4> WARNING: CPU: 0 PID: 1 at fs/dax.c:380 dax_insert_entry+0x1/0x2", "warning"),
                ("BUG: unable to handle page fault for address: 0", "oops"),
                ("kernel BUG at mm/truncate.c:1!", "oops"),
                ("BUG: Bad page state in process x", "bug"),
                ("INFO: task umount:1 blocked for more than 120 seconds.", "bug"),
                ("the kernel's page of zeros has 17 bytes that are not", "zeros"),
                ("Kernel panic - not syncing: sysrq triggered crash", "panic"),
                ("WARNING: possible circular locking dependency detected", "lock"),
                ("XFS (vda): Metadata corruption detected at x", "corrupt"),
                ("EXT4-fs warning (device vda): page 3 does not have buffers attached", "corrupt"),
                ("fio invoked oom-killer: gfp_mask=0", "memory")):
            with self.subTest(line):
                self.assertEqual(self.severities(line), [severity])

    def test_shape(self) -> None:
        """Whom a complaint is about makes no difference, where it comes from does."""
        def shape(text: str) -> str:
            return self.log.grade([text])[0].shape
        warning = "WARNING: CPU: {} PID: {} at fs/dax.c:{} dax_entry+0x{}/0xb0"
        self.assertEqual(shape(warning.format(0, 386, 404, 49)), shape(warning.format(1, 7, 404, 49)))
        self.assertNotEqual(shape(warning.format(0, 386, 404, 49)), shape(warning.format(0, 386, 405, 49)))
        self.assertNotEqual(shape(warning.format(0, 386, 404, 49)), shape(warning.format(0, 386, 404, 50)))
        self.assertEqual(shape("csum failed root 5 ino 274 off 0 csum 0x47493f3a"),
                         shape("csum failed root 5 ino 9 off 4096 csum 0x1"))

    def test_quiet(self) -> None:
        self.assertEqual(self.severities("XFS (vda): Mounting V5 Filesystem", "EXT4-fs (vda): mounted", ""), [])

    def test_allowed(self) -> None:
        self.assertEqual(self.severities("harmless WARNING: known thing"), [])

    def test_shipped_allow_list(self) -> None:
        self.log = KernelLog.load(ROOT / "harness" / "expected" / "klog.allow")
        line = "[ 193.4] <3> Buffer I/O error on dev loop1, logical block {}, async page read"
        self.assertEqual(self.severities(line.format(274877906936)), [])  # the end of a held source
        self.assertEqual(self.severities(line.format(262136)), ["corrupt"])


class Titles(unittest.TestCase):
    def test_constant(self) -> None:
        one = classify_console("x\nBUG: kernel NULL pointer dereference, address: 0000000000000010\n"
                               "RIP: 0010:rxe_odp_mr_copy+0x1/0x2\nKernel panic - not syncing: Fatal exception")
        two = classify_console("BUG: kernel NULL pointer dereference, address: 0000000000000abc\n"
                               "RIP: 0010:rxe_odp_mr_copy+0x9/0x2\n")
        self.assertEqual(one, two)
        self.assertIn("rxe_odp_mr_copy", one)

    def test_panic_and_nothing(self) -> None:
        self.assertEqual(classify_console("Kernel panic - not syncing: sysrq triggered crash"),
                         "Kernel panic - not syncing: sysrq triggered crash")
        self.assertEqual(classify_console("all is well"), "")


if __name__ == "__main__":
    unittest.main()
