# SPDX-License-Identifier: GPL-2.0
"""Exported programs in guests, on the kernels and filesystems where the cases fail and where they do not.

Part of the guests stage (check.py), not of the python stage: its name is not test_*.
"""

import dataclasses
import re
import shlex
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from harness.export import find_checks, write_program

from .test_export import (CLAIMED, CLAIMED_SEQ, EITHER, EITHER_SEQ, JUDGE, MISPLACED, MISPLACED_SEQ, PUNCHED,
                          PUNCHED_SEQ, ROOT, SWAPPED, XFS_DAX, compiled, cow, judged, made)

KERNEL = "newest"
DAX = """mkdir -p /tmp/m
mkfs.xfs -q -f -m reflink=1,rmapbt=1 -b size=4096 /dev/pmem0 && mount -o dax=always /dev/pmem0 /tmp/m || exit 99
for p in {programs}; do $p /tmp/m; echo "ended $(basename $p) $?"; done
umount /tmp/m
"""
# The first time without a device; then with the one that the head of the program says how to make.
REGISTERING = """mkdir -p /tmp/xfs /tmp/xfs-dax /tmp/tmpfs
mkfs.xfs -q -f -m reflink=1,rmapbt=1 -b size=4096 /dev/pmem0 && mount -t tmpfs none /tmp/tmpfs || exit 99
mount -o dax=never /dev/pmem0 /tmp/xfs || exit 99
rdma link delete rxe0 || exit 99
cd {folder}
./pinned /tmp/xfs; echo "ended pinned none $?"
$(sed -n 's/.*\\(modprobe rdma_rxe\\);.*/\\1/p' pinned.c) || exit 99
sh -c "$(sed -n 's/^ \\* *modprobe rdma_rxe; //p' pinned.c)" || exit 99
for fs in xfs tmpfs; do
	for p in *.c; do p=${{p%.c}}; echo "begins $p $fs"; ./$p /tmp/$fs; echo "ended $p $fs $?"; done
done
umount /tmp/xfs
mount -o dax=always /dev/pmem0 /tmp/xfs-dax || exit 99
for p in pinned fixed odp-punch; do echo "begins $p dax"; ./$p /tmp/xfs-dax; echo "ended $p dax $?"; done
umount /tmp/xfs-dax
"""
# program -> its exit on 6.1, 6.12 and newest. Up to 6.4 xfs lets long pins be; from 6.15 Soft-RoCE has ODP.
ENDS = {
    ("pinned", "none"): (2, 2, 2),
    ("pinned", "xfs"): (1, 0, 0), ("pinned", "tmpfs"): (1, 1, 1), ("pinned", "dax"): (0, 0, 0),
    ("pinned-claim", "xfs"): (1, 0, 0), ("pinned-claim", "tmpfs"): (1, 1, 1),
    ("pinned-read", "xfs"): (1, 0, 0), ("pinned-read", "tmpfs"): (1, 1, 1),
    ("pinned-send", "xfs"): (1, 0, 0), ("pinned-send", "tmpfs"): (1, 1, 1),
    ("pinned-deaf", "xfs"): (2, 0, 0), ("pinned-deaf", "tmpfs"): (2, 2, 2),
    ("fixed", "xfs"): (0, 0, 0), ("fixed", "tmpfs"): (1, 1, 1), ("fixed", "dax"): (0, 0, 0),
    ("odp-misplaced", "xfs"): (2, 2, 1), ("odp-misplaced", "tmpfs"): (2, 2, 1),
    ("odp-punch", "xfs"): (2, 2, 0), ("odp-punch", "tmpfs"): (2, 2, 0), ("odp-punch", "dax"): (2, 2, 0),
    ("odp-claim", "xfs"): (2, 2, 0), ("odp-claim", "tmpfs"): (2, 2, 0),
    ("uring-read", "xfs"): (0, 0, 0), ("uring-read", "tmpfs"): (0, 0, 0),
}


def in_guest(kernel: str, script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "harness.guest", "try", "--kernel", kernel, "--", "sh", "-c", script],
                          cwd=ROOT, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)


class InAGuest(unittest.TestCase):
    def test_exports_on_dax(self) -> None:
        with tempfile.TemporaryDirectory(dir=ROOT / "build") as name:
            folder = Path(name)
            for finding in ("held-cow-store", "held-cow-read"):
                recorded = cow(finding)
                compiled(write_program(recorded, find_checks(JUDGE, recorded), finding), folder / finding, "-static")
                control = dataclasses.replace(recorded, result=dataclasses.replace(recorded.result, channel="store"))
                compiled(write_program(control, find_checks(JUDGE, recorded), finding), folder / f"{finding}-control",
                         "-static")
            # A step that waits is done beside the next ones; here it does not come back.
            hangs = judged(ROOT / "results/reference/findings/7.3-dax-wait-mapped-again/history-7.3.4", "held-punch-load",
                           "xfs-dax", "pvm-writev", (ROOT / "workloads/sequences/held-punch-load.seq").read_text(), XFS_DAX)
            compiled(write_program(hangs, find_checks(JUDGE, hangs), "hangs"), folder / "hangs", "-static")
            # The block of a page that is pinned goes away; whether one of its other files gets it depends on what is free.
            swaps = judged(SWAPPED, "held-defrag-reuse", "xfs-dax", "dio-read",
                           (ROOT / "workloads/sequences/held-defrag-reuse.seq").read_text(), XFS_DAX)
            compiled(write_program(swaps, find_checks(JUDGE, swaps), "swaps"), folder / "swaps", "-static")
            # A punch waits for the pin on DAX: the program must not wait for ever.
            waits = {c: made(EITHER_SEQ, EITHER, c, XFS_DAX) for c in ("pvm-writev", "dio-read")}
            for channel, recorded in waits.items():
                compiled(write_program(recorded, find_checks(JUDGE, recorded), channel), folder / channel, "-static")
            programs = " ".join(shlex.quote(str(p)) for p in sorted(folder.iterdir()) if p.suffix != ".c")
            done = in_guest(KERNEL, DAX.format(programs=programs))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        ended = dict(re.findall(r"^ended (\S+) (\d+)", done.stdout, re.M))
        self.assertEqual(ended, {"held-cow-store": "1", "held-cow-read": "1", "held-cow-store-control": "0",
                                 "held-cow-read-control": "0", "pvm-writev": "0", "dio-read": "0", "hangs": "1", "swaps": "1"},
                         done.stdout)
        self.assertRegex(done.stdout, "4 defrag A: 0\n(.*\n)*FAIL read\\(2\\) of A at 4096: what step 1 wrote at 4096, "
                                      "must be what step 3 wrote at 4096\n")
        self.assertRegex(done.stdout, "4 punch A 0 4K: waits\n5 read A 0 64 mmap: 0\n6 land w1: 8192\nFAIL 4 punch")
        self.assertIn("a step waits for the write that is under way", done.stdout)
        self.assertIn("a step waits for the read that is under way", done.stdout)

    def test_what_registers_the_mapping(self) -> None:
        shown = {"pinned": (PUNCHED_SEQ, PUNCHED, "rdma-pinned"),
                 "pinned-claim": (CLAIMED_SEQ, CLAIMED, "rdma-pinned"),
                 "pinned-read": (PUNCHED_SEQ, PUNCHED, "rdma-pinned/read"),
                 "pinned-send": (PUNCHED_SEQ, PUNCHED, "rdma-pinned/send"),
                 "odp-misplaced": (MISPLACED_SEQ, MISPLACED, "rdma-odp"),
                 "odp-punch": (PUNCHED_SEQ, PUNCHED, "rdma-odp"),
                 "odp-claim": (CLAIMED_SEQ, CLAIMED, "rdma-odp"),
                 "fixed": (PUNCHED_SEQ, PUNCHED, "uring-fixed"),
                 "uring-read": (EITHER_SEQ, EITHER, "uring-read")}
        with tempfile.TemporaryDirectory(dir=ROOT / "build") as name:
            for program, case in shown.items():
                recorded = made(*case)
                compiled(write_program(recorded, find_checks(JUDGE, recorded), program), Path(name) / program)
            # Nobody answers: that is no refusal.
            deaf = (Path(name) / "pinned.c").read_text().replace("dest_qp_num = qp[!i]->qp_num", "dest_qp_num = 0xdeaf")
            compiled(deaf, Path(name) / "pinned-deaf")
            for nr, kernel in enumerate(("6.1", "6.12", "newest")):
                with self.subTest(kernel):
                    done = in_guest(kernel, REGISTERING.format(folder=shlex.quote(name)))
                    said = done.stdout + done.stderr
                    self.assertEqual(done.returncode, 0, said)
                    ended = {(p, fs): int(code) for p, fs, code in re.findall(r"^ended (\S+) (\S+) (\d+)", said, re.M)}
                    self.assertEqual(ended, {which: codes[nr] for which, codes in ENDS.items()}, said)
                    self.says(kernel, dict(re.findall(r"^begins (\S+ \S+)\n(.*?)^ended", said, re.M | re.S)), said)

    def says(self, kernel: str, said: dict[str, str], whole: str) -> None:
        self.assertIn("cannot run here: no RDMA device with an active port: No such device\nended pinned none 2", whole)
        lost = "FAIL read(2) of A at 0: zeros, must be what step 5 wrote at 0\n"
        refused = "the kernel refuses to register this mapping (errno"
        for program in ("pinned", "pinned-read", "pinned-send"):
            self.assertIn(lost if kernel == "6.1" else refused, said[f"{program} xfs"])
        self.assertIn("FAIL 5 write A 0 8K: success for bytes", said["pinned-claim xfs" if kernel == "6.1" else
                                                                     "pinned-claim tmpfs"])
        for which in ("pinned dax", "fixed dax", "fixed xfs"):
            self.assertIn(refused, said[which])
        self.assertIn(lost, said["fixed tmpfs"])
        self.assertIn("cannot run here: 3 write A 0 8K: Connection timed out\n", said["pinned-deaf tmpfs"])
        self.assertIn("5 land w1: 4096\n", said["uring-read xfs"])
        if kernel != "newest":
            self.assertIn("cannot run here: on-demand paging: ", said["odp-punch xfs"])
            return
        self.assertIn("FAIL read(2) of A at 0: what step 3 wrote at 192, must be what step 1 wrote at 0\n",
                      said["odp-misplaced xfs"])
        self.assertIn("  remote access error\n5 write A 0 8K: Remote I/O error\n", said["odp-claim xfs"])


if __name__ == "__main__":
    unittest.main()
