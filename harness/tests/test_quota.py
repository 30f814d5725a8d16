# SPDX-License-Identifier: GPL-2.0
"""What the executor counts as root's on a filesystem, and what it says where there is no quota."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXECUTOR = Path(os.environ.get("PINFAULT_BUILD", ROOT / "build")).resolve() / "pinfault-exec"


def ask(path: str) -> list[str]:
    done = subprocess.run([str(EXECUTOR), "--stdio"], input=f"quota {path}\nquit\n", capture_output=True, text=True, timeout=60)
    return done.stdout.splitlines()


@unittest.skipIf(os.getuid() != 0, "needs root: it is root's files that are counted")
class Counts(unittest.TestCase):
    def test_each_inode_of_root_once(self) -> None:
        with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
            folder = Path(name)
            (folder / "sub" / "deep").mkdir(parents=True)
            for at, size in (("a", 100_000), ("sub/b", 4096), ("sub/deep/c", 1), ("other", 70_000)):
                (folder / at).write_bytes(b"x" * size)
            os.chown(folder / "other", 12345, 12345)
            os.link(folder / "a", folder / "sub" / "again")
            (folder / "link").symlink_to("/usr")
            reply = ask(name)  # it syncs, so that everything has its blocks
            inodes = {s.st_ino: s for s in (p.lstat() for p in [folder, *folder.rglob("*")])}
            self.assertEqual(len(inodes), 8)
            self.assertEqual(reply[0], f"env files_bytes {sum(s.st_blocks * 512 for s in inodes.values() if s.st_uid == 0)}")

    def test_no_quota_is_said(self) -> None:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
            self.assertRegex(ask(name)[1], "^err [1-9]")
        self.assertEqual(ask("/nowhere")[0], "err 2 ENOENT")


if __name__ == "__main__":
    unittest.main()
