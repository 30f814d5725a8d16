# SPDX-License-Identifier: GPL-2.0
"""What native may never do, shown with real loop devices; and the cleanup after kill -9."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness.runner import native
from harness.runner.errors import EnvironmentFailed, UsageError
from harness.runner.fsconfig import FsConfig
from harness.runner.fsops import Filesystem, NotCovered
from harness.runner.machines import NativeMachine
from harness.runner.proc import Done, run, start_time

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import sys, time
from pathlib import Path
from harness.runner import native
from harness.runner.proc import run
setup = native.NativeSetup(sys.argv[1], print, sys.argv[3] or None, Path(sys.argv[2]))
setup.__enter__()
mnt = setup.ledger.folder + "/mnt"
Path(mnt).mkdir()
run("mkfs.ext4", "-q", setup.disk_dev, check=True)
run("mount", setup.disk_dev, mnt, check=True)
print("ready", setup.disk_dev, flush=True)
sys.stdin.read()
"""


def can_loop() -> str:
    """"" or why these tests cannot run here."""
    if os.getuid() != 0:
        return "needs root"
    return "" if Path("/dev/loop-control").exists() else "no loop devices here"


def here(*argv: str, timeout_s: float = 60) -> mock.Mock:
    """An agent's sh, on this machine."""
    done = run(*argv, timeout_s=timeout_s)
    return mock.Mock(ok=not done.code, exit=done.code, out=done.err + done.out)


class Paths(unittest.TestCase):
    def test_not_a_device(self) -> None:
        with self.assertRaisesRegex(UsageError, "not a block device"):
            native.check_device(__file__, None)
        with self.assertRaisesRegex(UsageError, "/dev/nothing-here"):
            native.check_device("/dev/nothing-here", None)
        with self.assertRaisesRegex(UsageError, "not a block device"):
            native.check_device("/dev/null", "/dev/null")

    def test_confirmation_is_the_exact_name(self) -> None:
        with self.assertRaisesRegex(UsageError, "is not the name"):
            native.check_device("/dev/loop0", "/dev/loop00")

    def test_start_time(self) -> None:
        self.assertIsNotNone(start_time(os.getpid()))
        self.assertIsNone(start_time(2 ** 22 + 1))

    def test_foreign_ledgers_are_left_alone(self) -> None:
        with tempfile.TemporaryDirectory() as state:
            broken = Path(state, "x.ledger")
            broken.write_text("{")
            mine = native.Ledger("alive", os.getpid(), start_time(os.getpid()) or 0, path=Path(state, "y.ledger"))
            mine.save()
            said: list[str] = []
            self.assertEqual(native.cleanup_stale(said.append, Path(state)), 0)
            self.assertTrue(broken.exists() and mine.path.exists())

    def test_images_of_dead_runs_go(self) -> None:
        with tempfile.TemporaryDirectory() as state:
            mine = Path(state, f"guests.{os.getpid()}.{start_time(os.getpid())}")
            dead, reused = Path(state, f"guests.{2 ** 22 + 1}.5"), Path(state, f"guests.{os.getpid()}.1")
            for folder in (mine, dead, reused):
                folder.mkdir()
            native.cleanup_guests(Path(state))
            self.assertEqual([f.name for f in Path(state).iterdir()], [mine.name])

    def test_the_loop_driver_is_loaded_where_nobody_made_its_node(self) -> None:
        for node, words in ((Path("/nowhere/loop-control"), ["modprobe loop", "losetup --find --show x.img"]),
                            (Path("/dev/null"), ["losetup --find --show x.img"])):
            asked: list[str] = []

            def answer(*argv: str, check: bool = False) -> Done:
                asked.append(" ".join(argv))
                return Done(0, "/dev/loop7\n", "")
            with mock.patch.object(native, "LOOP_CONTROL", node), mock.patch.object(native, "run", answer), \
                    mock.patch.object(native.shutil, "which", lambda tool: tool):
                self.assertEqual(native.attach("x.img"), "/dev/loop7")
            self.assertEqual(asked, words)

    def test_a_folder_outside_is_never_removed(self) -> None:
        with tempfile.TemporaryDirectory() as state:
            keep = Path(state, "keep")
            keep.mkdir()
            for folder in (str(keep), f"/run/pinfault/../..{keep}"):
                ledger = native.Ledger("r", 2 ** 22 + 1, 1, folder=folder, path=Path(state, "z.ledger"))
                ledger.save()
                native.cleanup_stale(lambda _: None, Path(state))
                self.assertTrue(keep.exists(), folder)


@unittest.skipIf(can_loop(), can_loop())
class Devices(unittest.TestCase):
    def setUp(self) -> None:
        self.dir = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(self.dir.cleanup)
        self.root = Path(self.dir.name)
        image = self.root / "foreign.img"
        with open(image, "wb") as f:
            f.truncate(64 << 20)
        self.loop = run("losetup", "--find", "--show", str(image), check=True).out.strip()
        self.addCleanup(run, "losetup", "-d", self.loop)

    def test_empty_device_is_fine(self) -> None:
        native.check_device(self.loop, None)

    def test_signature(self) -> None:
        run("mkfs.ext4", "-q", self.loop, check=True)
        with self.assertRaisesRegex(UsageError, f"holds TYPE=ext4.*--overwrite-device {self.loop}"):
            native.check_device(self.loop, None)
        native.check_device(self.loop, self.loop)

    def test_swap_signature(self) -> None:
        run("mkswap", self.loop, check=True)
        with self.assertRaisesRegex(UsageError, "swap"):
            native.check_device(self.loop, None)

    def test_mounted_is_refused_whatever_is_said(self) -> None:
        run("mkfs.ext4", "-q", self.loop, check=True)
        mnt = self.root / "mnt"
        mnt.mkdir()
        run("mount", self.loop, str(mnt), check=True)
        self.addCleanup(run, "umount", str(mnt))
        with self.assertRaisesRegex(UsageError, f"is mounted on {mnt}"):
            native.check_device(self.loop, self.loop)

    def test_what_a_loop_device_shares_is_refused(self) -> None:
        """The kernel lets everybody open what a loop device is made of, O_EXCL or not."""
        run("mkfs.ext4", "-q", "-E", "offset=1048576", self.loop, "32M", check=True)
        image = str(self.root / "foreign.img")
        for made_of in (self.loop, image):
            other = run("losetup", "--find", "--show", "--offset", "1048576", made_of, check=True).out.strip()
            try:
                with self.assertRaisesRegex(UsageError, rf"{self.loop}: is in use \({other} has the same bytes"):
                    native.check_device(self.loop, self.loop)
            finally:
                run("losetup", "-d", other, check=True)
        native.check_device(self.loop, None)

    def test_a_mounted_part_of_a_disk_and_its_neighbour(self) -> None:
        folders = {"/dev/sdx": "/sys/block/sdx", "/dev/sdx1": "/sys/block/sdx/sdx1",
                   "/dev/sdx10": "/sys/block/sdx/sdx10", "/dev/sdxa": "/sys/block/sdxa"}
        with mock.patch.object(native, "block_folder", lambda path: folders.get(path, "")):
            for one, other, same in (("/dev/sdx", "/dev/sdx1", True), ("/dev/sdx", "/dev/sdx", True),
                                     ("/dev/sdx1", "/dev/sdx10", False), ("/dev/sdx", "/dev/sdxa", False),
                                     ("/dev/sdx", "none", False), ("none", "none", False)):
                self.assertEqual(native.overlaps(one, other), same, (one, other))
                self.assertEqual(native.overlaps(other, one), same, (other, one))

    def test_read_only(self) -> None:
        image = self.root / "read-only.img"
        image.write_bytes(bytes(1 << 20))
        loop = run("losetup", "--find", "--show", "--read-only", str(image), check=True).out.strip()
        self.addCleanup(run, "losetup", "-d", loop)
        with self.assertRaisesRegex(UsageError, f"{loop}: is read-only"):
            native.check_device(loop, loop)

    def test_what_mkfs_has_against_a_device_that_is_too_small(self) -> None:
        def sh(*argv: str, timeout_s: float) -> mock.Mock:
            done = run(*argv, timeout_s=timeout_s)
            return mock.Mock(ok=not done.code, exit=done.code, out=done.out + done.err)

        for fstype, says in (("xfs", "mkfs: Filesystem must be larger than 300MB"), ("btrfs", "mkfs: .*too small")):
            fs = Filesystem(mock.Mock(sh=sh), FsConfig(fstype, fstype), self.loop, str(self.root), native=True)
            with self.assertRaisesRegex(NotCovered, says):
                fs.mkfs()

    def killed(self, state: Path, name: str, device: str) -> str:
        """A run is killed -9 with a filesystem mounted. Returns its disk."""
        child = subprocess.Popen([sys.executable, "-c", CHILD, name, str(state), device], cwd=ROOT, text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout and child.stdin
        word, disk = child.stdout.readline().split()
        self.assertEqual(word, "ready")
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        child.stdin.close()
        child.stdout.close()
        self.assertIn(disk, [m[2] for m in native.mounts_now()])
        return disk

    def test_kill_9_leaves_no_named_device_mounted(self) -> None:
        state = self.root / "state"
        link = self.root / "by-id"
        link.symlink_to(self.loop)
        self.assertEqual(self.killed(state, f"test-{os.getpid()}", str(link)), self.loop)
        self.assertEqual(native.cleanup_stale(lambda _: None, state), 1)
        self.assertNotIn(self.loop, [m[2] for m in native.mounts_now()])
        self.assertEqual(list(state.iterdir()), [])
        self.assertEqual(native.loops_of(str(self.root / "foreign.img")), [self.loop])

    def test_kill_9_leaves_nothing_after_the_next_start(self) -> None:
        state = self.root / "state"
        name = f"test-{os.getpid()}"
        loop = self.killed(state, name, "")
        self.assertEqual(native.cleanup_stale(lambda _: None, state), 1)
        self.assertNotIn(loop, [m[2] for m in native.mounts_now()])
        self.assertEqual(native.loops_of(str(state / f"{name}.img")), [])
        self.assertEqual(list(state.iterdir()), [])
        self.assertFalse((native.MOUNT_ROOT / name).exists())
        # What others made is still there.
        self.assertEqual(native.loops_of(str(self.root / "foreign.img")), [self.loop])

    def test_in_order(self) -> None:
        state = self.root / "state"
        with native.NativeSetup(f"test-o{os.getpid()}", lambda _: None, state=state) as setup:
            self.assertTrue(setup.disk_dev.startswith("/dev/loop"))
        self.assertEqual(list(state.iterdir()), [])

    def test_nothing_starts_when_it_is_over(self) -> None:
        """A thread of a run that was stopped, which sees its executor die and wants another one."""
        state = self.root / "state"
        with native.NativeSetup(f"test-s{os.getpid()}", lambda _: None, state=state) as setup:
            agent = self.root / "agent"
            agent.write_text("#!/bin/sh\nexec cat\n")
            agent.chmod(0o755)
            machine = NativeMachine(setup, agent)
            machine.start()
            assert machine.child
            first = machine.child
        self.assertEqual(first.wait(10), -signal.SIGKILL)
        for ask in (lambda: machine.recv(10), lambda: machine.send("hello")):
            with self.assertRaisesRegex(EnvironmentFailed, "is over"):  # and not AgentDied: no case killed it
                ask()
        Path(machine.work_dir).mkdir()
        self.addCleanup(shutil.rmtree, machine.work_dir)
        with self.assertRaisesRegex(EnvironmentFailed, "is over"):
            machine.start()
        self.assertEqual(list(state.iterdir()), [])

    def test_a_loop_device_that_somebody_took_is_not_touched(self) -> None:
        state = self.root / "state"
        with native.NativeSetup(f"test-t{os.getpid()}", lambda _: None, state=state) as setup:
            self.assertEqual(setup.proven_disk(), setup.disk_dev)
            native.run("losetup", "-d", setup.disk_dev, check=True)
            with self.assertRaisesRegex(EnvironmentFailed, "does not stand for"):
                setup.proven_disk()

    def test_a_mount_that_another_namespace_keeps_is_no_finding(self) -> None:
        with native.NativeSetup(f"test-n{os.getpid()}", lambda _: None, state=self.root / "state") as setup:
            mnt = self.root / "mnt"
            mnt.mkdir()
            run("mkfs.ext4", "-q", setup.disk_dev, check=True)
            run("mount", setup.disk_dev, str(mnt), check=True)
            with subprocess.Popen(["unshare", "-m", "--propagation", "private", "sleep", "2"]) as other:
                while os.readlink(f"/proc/{other.pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
                    pass
                run("umount", str(mnt), check=True)
                agent = mock.Mock()
                agent.sh.side_effect = lambda *argv, timeout_s: mock.Mock(ok=other.poll() is not None, exit=1, out="dirty")
                fs = Filesystem(agent, FsConfig("ext4", "ext4"), setup.disk_dev, str(mnt), native=True)
                self.assertEqual(fs.fsck(), ("", ""))
                self.assertEqual(agent.sh.call_count, 2)

    def test_what_is_frozen_does_not_outlive_its_mount(self) -> None:
        mnt = self.root / "mnt"
        mnt.mkdir()
        with native.NativeSetup(f"test-f{os.getpid()}", lambda _: None, state=self.root / "state") as setup:
            fs = Filesystem(mock.Mock(sh=here), FsConfig("ext4", "ext4"), setup.disk_dev, str(mnt), native=True)
            fs.mkfs()
            fs.mount()
            run("fsfreeze", "-f", str(mnt), check=True)
            self.assertEqual(fs.umount(), "")
            os.close(os.open(setup.disk_dev, os.O_RDONLY | os.O_EXCL))

    def test_what_the_check_of_btrfs_finds(self) -> None:
        """Data that is not what it was summed as is no damage to the filesystem; and what is shown is the complaint."""
        agent = mock.Mock(sh=here)
        with native.NativeSetup(f"test-b{os.getpid()}", lambda _: None, state=self.root / "state") as setup:
            fs = Filesystem(agent, FsConfig("btrfs", "btrfs"), setup.disk_dev, str(self.root), native=True)
            fs.mkfs()
            fs.mount()
            data = os.urandom(65536)
            Path(self.root, "f").write_bytes(data)
            self.assertEqual((fs.umount(), fs.fsck()), ("", ("", "")))
            with open(setup.disk_dev, "r+b", buffering=0) as disk:
                at = disk.read(64 << 20).index(data)
                os.pwrite(disk.fileno(), b"not it", at + 8192)
            kind, said = fs.fsck()
            self.assertEqual(kind, "checksum")
            self.assertIn("expected csum", said)
            self.assertNotIn("bytes", said)
            with open(setup.disk_dev, "r+b", buffering=0) as disk:
                for at in (64 << 10, 64 << 20):  # the superblock and its copy name a root that is not there
                    os.pwrite(disk.fileno(), bytes(4096), at)
            self.assertEqual(fs.fsck()[0], "metadata")

    def test_a_named_device_is_used_and_left(self) -> None:
        state = self.root / "state"
        with native.NativeSetup(f"test-d{os.getpid()}", lambda _: None, self.loop, state) as setup:
            self.assertEqual((setup.disk_dev, setup.pmem_dev, setup.ledger.image), (self.loop, "", ""))
        self.assertEqual(native.loops_of(str(self.root / "foreign.img")), [self.loop])


if __name__ == "__main__":
    unittest.main()
