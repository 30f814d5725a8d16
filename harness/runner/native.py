# SPDX-License-Identifier: GPL-2.0
"""This machine as the machine under test: loop images the harness made, and a ledger of them.

The ledger is written before the thing it names exists, so a kill -9 at any moment leaves a record of
everything that could have been left behind. The next start removes what is provably its own: the
ledger's owner is gone, the loop device's backing file is the ledger's image, and the mount's source is
that loop device (or the device that was named, and the mount point lies in the ledger's own folder).
Nothing else is ever touched.
"""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import EnvironmentFailed, UsageError
from .proc import run, start_time

IMAGE_BYTES = 1 << 30  # sparse
MOUNT_ROOT = Path("/run/pinfault")
LOOP_CONTROL = Path("/dev/loop-control")
FULL_BYTES = 4 << 20  # of a disk that has less than this left, who wants more may get none


def state_dir() -> Path:
    return Path(f"/var/tmp/pinfault-{os.getuid()}")


FULL = f"the disk that its image lies on ({state_dir()}) is full; what was under way does not count"


def is_full(folder: Path) -> bool:
    """Is there next to nothing left for what this user writes to `folder`?"""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_frsize * (disk.f_bavail if os.getuid() else disk.f_bfree) < FULL_BYTES


def private_dir(path: Path) -> Path:
    """Make `path` ours alone. /var/tmp is everybody's: a folder of somebody else's is refused."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        raise EnvironmentFailed(f"{path}: is not this user's own folder")
    return path


def guest_dir() -> Path:
    """Where this process keeps the images of its guests; its name says whose it is."""
    return state_dir() / f"guests.{os.getpid()}.{start_time(os.getpid())}"


def cleanup_guests(state: Path) -> None:
    """Remove images of guests whose runner was killed."""
    for folder in state.glob("guests.*.*"):
        _, pid, started = folder.name.split(".", 2)
        if pid.isdigit() and str(start_time(int(pid))) != started:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Ledger:
    """What one run may have left on this machine."""

    run: str
    pid: int
    started: int
    image: str = ""
    loop: str = ""
    device: str = ""  # named by the user: what is mounted of it is ours, what it holds is not
    folder: str = ""  # its mount points and scratch lie in here
    mounts: list[str] = field(default_factory=list)
    agents: list[tuple[int, int]] = field(default_factory=list)  # (pid, start time)
    rdma_links: list[str] = field(default_factory=list)
    path: Path = field(default=Path(), repr=False, compare=False)

    def save(self) -> None:
        """Atomic, and on the disk before it returns."""
        data = asdict(self)
        del data["path"]
        temporary = self.path.with_suffix(".tmp")
        with open(temporary, "w", encoding="utf-8") as f:
            json.dump(data, f)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, self.path)

    @classmethod
    def load(cls, path: Path) -> "Ledger":
        data = json.loads(path.read_text())
        data["agents"] = [tuple(a) for a in data.get("agents", [])]
        return cls(**data, path=path)

    def owner_alive(self) -> bool:
        return start_time(self.pid) == self.started


def mounts_now() -> list[tuple[str, str, str]]:
    """(mount point, fstype, source) of every mount, outermost first."""
    out = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), left.split()[4])
        fstype, source = right.split()[:2]
        out.append((point, fstype, source))
    return out


def backing_files() -> dict[str, str]:
    """Loop devices, and what each is made of: a file, deleted or not, or a device."""
    out = {}
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            out["/dev/" + backing.parts[3]] = backing.read_text().strip().removesuffix(" (deleted)")
        except OSError:
            continue
    return out


def loops_of(image: str) -> list[str]:
    """Loop devices whose backing file is exactly `image`, deleted or not."""
    return [loop for loop, name in backing_files().items() if name == image]


def block_folder(path: str) -> str:
    """Where sysfs has the block device `path` (a partition lies in its disk), "" when it is none."""
    try:
        info = os.stat(path)
    except OSError:
        return ""
    if not stat.S_ISBLK(info.st_mode):
        return ""
    return os.path.realpath(f"/sys/dev/block/{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}")


def overlaps(one: str, other: str) -> bool:
    """Are two names of block devices those of one, or of a disk and a part of it?"""
    a, b = block_folder(one), block_folder(other)
    return bool(a and b) and (f"{a}/".startswith(f"{b}/") or f"{b}/".startswith(f"{a}/"))


def loop_on(device: str) -> str:
    """A loop device with the same bytes as `device`, "" for none: the kernel lets it share what it is made of, so
    that O_EXCL on `device` succeeds although a filesystem on the loop device is mounted."""
    loops = backing_files()
    own = "/dev/" + os.path.basename(block_folder(device))
    for loop, name in loops.items():
        if overlaps(device, name) or (loop != own and name == loops.get(own)):
            return loop
    return ""


def kill_neighbour(folder: str) -> None:
    """fio has a session of its own and would outlive the executor. Its pid file lies in the run's own
    folder, and the process must be working in there."""
    try:
        pid = int((Path(folder) / "live.pid").read_text())
        if os.readlink(f"/proc/{pid}/cwd") == folder:
            os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        pass


def _umount_patiently(point: str) -> bool:
    """True if it stays mounted: a process that was just killed may need a moment to let go."""
    until = time.monotonic() + 10
    while run("umount", point, timeout_s=60).code:
        if time.monotonic() > until:
            return True
    return False


def cleanup_ledger(ledger: Ledger, say: Callable[[str], None]) -> bool:
    """Undo what `ledger` names. True when nothing is left of it and its file is gone too."""
    left = []
    for pid, started in ledger.agents:
        if start_time(pid) == started:
            os.killpg(pid, signal.SIGKILL)  # it leads its session; a mount of its may be under way
    kill_neighbour(ledger.folder)
    loops = loops_of(ledger.image) if ledger.image else []
    folder = ledger.folder.rstrip("/") + "/"
    own_folder = folder.startswith(str(MOUNT_ROOT) + "/") and ".." not in folder
    for point, fstype, source in reversed(mounts_now()):
        ours = source in loops or (own_folder and point.startswith(folder) and point in ledger.mounts
                                   and (fstype == "tmpfs" or overlaps(source, ledger.device)))
        if ours:
            run("fsfreeze", "-u", point, timeout_s=30)
            if _umount_patiently(point):
                left.append(point)
    for loop in loops:
        if loop not in [m[2] for m in mounts_now()]:
            run("losetup", "-d", loop, timeout_s=30)
    if ledger.image:
        left += loops_of(ledger.image)
    for link in ledger.rdma_links:
        run("rdma", "link", "delete", link, timeout_s=30)
    if left:
        say(f"still busy, the next start tries again: {' '.join(left)}")
        return False
    if ledger.image:
        Path(ledger.image).unlink(missing_ok=True)
    if own_folder and not any(p.startswith(folder) for p, _, _ in mounts_now()):
        shutil.rmtree(ledger.folder, ignore_errors=True)
    ledger.path.unlink(missing_ok=True)
    return True


def cleanup_stale(say: Callable[[str], None], state: Path | None = None) -> int:
    """At every start: remove what dead runs of this user left. Returns how many ledgers went."""
    gone = 0
    for path in sorted((state or state_dir()).glob("*.ledger")):
        try:
            ledger = Ledger.load(path)
        except (OSError, ValueError, TypeError) as err:
            say(f"{path}: unreadable, left alone ({err})")
            continue
        if not ledger.owner_alive():
            say(f"cleaning up after run {ledger.run}, which was killed")
            gone += cleanup_ledger(ledger, say)
    return gone


def signature_of(device: str) -> str:
    """What blkid or wipefs recognises on `device`, "" for nothing."""
    probe = run("blkid", "-p", "-o", "export", device, timeout_s=30)
    if probe.code == 0:
        words = [w for w in probe.out.split() if w.startswith(("TYPE=", "PTTYPE="))]
        return " ".join(words) or "something blkid recognises"
    if probe.code == 8:
        return "several signatures"
    wipe = run("wipefs", "-n", "-p", device, timeout_s=30)
    lines = [line for line in wipe.out.splitlines() if line and not line.startswith("#")]
    return lines[0] if lines else ""


def check_device(device: str, overwrite: str | None) -> None:
    """May we make filesystems on `device`? UsageError says why not.

    `overwrite` must be the very same text as `device` to allow a device with a signature; a mounted
    or otherwise used device is refused whatever was said."""
    if overwrite is not None and overwrite != device:
        raise UsageError(f"--overwrite-device {overwrite} is not the name given with --device {device}")
    try:
        mode = os.stat(device).st_mode
    except OSError as err:
        raise UsageError(f"{device}: {err.strerror}") from None
    if not stat.S_ISBLK(mode):
        raise UsageError(f"{device}: is not a block device")
    for point, _, source in mounts_now():
        if source.startswith("/dev/") and overlaps(source, device):
            raise UsageError(f"{device}: is mounted on {point}" if block_folder(source) == block_folder(device)
                             else f"{device}: {source} is mounted on {point}")
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))  # swap, md, dm and mounts hold it
    except OSError as err:
        raise UsageError(f"{device}: is in use ({err.strerror})") from None
    if loop := loop_on(device):
        raise UsageError(f"{device}: is in use ({loop} has the same bytes: losetup -l {loop})")
    if Path(block_folder(device), "ro").read_text().strip() == "1":
        raise UsageError(f"{device}: is read-only")
    found = signature_of(device)
    if found and overwrite is None:
        raise UsageError(f"{device}: holds {found}; if it may be overwritten, add "
                         f"--overwrite-device {device}")


def supports_dax(device: str) -> bool:
    name = os.path.basename(os.path.realpath(device))
    try:
        return Path(f"/sys/block/{name}/queue/dax").read_text().strip() == "1"
    except OSError:
        return False


def attach(image: str) -> str:
    """A loop device for `image`. Raises EnvironmentFailed.

    Where nobody made the node whose first use loads the driver (a guest of somebody else's), it is loaded by name.
    """
    if not LOOP_CONTROL.exists() and shutil.which("modprobe"):
        run("modprobe", "loop")
    return run("losetup", "--find", "--show", image, check=True).out.strip()


class NativeSetup:
    """The loop image, folder and ledger of one run. Use as a context manager."""

    def __init__(self, run_name: str, say: Callable[[str], None], device: str | None = None,
                 state: Path | None = None) -> None:
        self.say = say
        self.device = os.path.realpath(device) if device else ""
        base = private_dir(state or state_dir())
        self.ledger = Ledger(run=run_name, pid=os.getpid(), started=start_time(os.getpid()) or 0,
                             image=str((base / f"{run_name}.img").resolve()),
                             device=self.device, folder=str(MOUNT_ROOT / run_name), path=base / f"{run_name}.ledger")
        self.disk_dev = ""
        self.pmem_dev = ""
        self.lock = threading.Lock()
        self.over = False

    def __enter__(self) -> "NativeSetup":
        ledger = self.ledger
        private_dir(MOUNT_ROOT)
        private_dir(Path(ledger.folder))
        ledger.mounts = [f"{ledger.folder}/mnt"]
        if self.device and not supports_dax(self.device):
            ledger.image = ""
        ledger.save()
        if self.device and supports_dax(self.device):
            self.pmem_dev = self.device
        elif self.device:
            self.disk_dev = self.device
        if not self.disk_dev:
            with open(ledger.image, "wb") as f:
                f.truncate(IMAGE_BYTES)
            try:
                self.disk_dev = attach(ledger.image)
            except EnvironmentFailed:
                cleanup_ledger(ledger, self.say)
                raise
            ledger.loop = self.disk_dev
            ledger.save()
        return self

    def proven_disk(self) -> str:
        """The disk, which is still what we made or were given."""
        loop = self.ledger.loop
        if loop and loop not in loops_of(self.ledger.image):
            raise EnvironmentFailed(f"{loop} does not stand for {self.ledger.image} any more: somebody else detached it")
        return self.disk_dev

    def agent(self, argv: list[str], **how: Any) -> "subprocess.Popen[bytes]":
        """A process that the cleaning up ends. EnvironmentFailed once that has begun: the threads of a run that is
        stopped live on."""
        with self.lock:
            if self.over:
                raise EnvironmentFailed("the run is over")
            child = subprocess.Popen(argv, start_new_session=True, **how)
            self.ledger.agents.append((child.pid, start_time(child.pid) or 0))
            self.ledger.save()
            return child

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.over = True
        cleanup_ledger(self.ledger, self.say)
