# SPDX-License-Identifier: GPL-2.0
"""What the machine must have: what is looked for, the Debian package that brings it, and why.

Says nothing when nothing is missing. python3 itself is run.sh's job.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import EnvironmentFailed
from .proc import run

APT_TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Need:
    look: str  # a command, `pc:NAME` for pkg-config, or the path of a header
    package: str
    why: str
    guests_only: bool = False
    tests_only: bool = False


NEEDS = (
    Need("gcc", "gcc", "builds the executor and the judge"),
    Need("make", "make", "builds the executor and the judge"),
    Need("/usr/include/x86_64-linux-gnu/asm/unistd.h", "libc6-dev", "C headers"),
    Need("pkg-config", "pkg-config", "finds the libraries below"),
    Need("pc:liburing", "liburing-dev", "io_uring channels"),
    Need("pc:libibverbs", "libibverbs-dev", "RDMA channels"),
    Need("/usr/lib/x86_64-linux-gnu/libibverbs", "ibverbs-providers", "user space driver of Soft-RoCE"),
    Need("pc:zlib", "zlib1g-dev", "sums of histories"),
    Need("/usr/include/xxhash.h", "libxxhash-dev", "sums in the history of a race"),
    Need("pc:check", "check", "unit tests of the C parts"),
    Need("clang", "clang", "fuzzes the parsers (make check)", tests_only=True),
    Need("rt:fuzzer", "libclang-rt-dev", "fuzzes the parsers (make check)", tests_only=True),
    Need("fio", "fio", "neighbours on the same filesystem"),
    Need("mkfs.xfs", "xfsprogs", "XFS"),
    Need("mkfs.ext4", "e2fsprogs", "ext4 and ext2"),
    Need("mkfs.btrfs", "btrfs-progs", "btrfs"),
    Need("losetup", "mount", "loop devices and mounts"),
    Need("rdma", "iproute2", "Soft-RoCE links"),
    Need("ndctl", "ndctl", "the NVDIMM's fsdax mode", True),
    Need("qemu-system-x86_64", "qemu-system-x86", "guests", True),
    Need("busybox", "busybox-static", "the guest's first user space", True),
    Need("depmod", "kmod", "the guest kernels' modules", True),
    Need("dpkg-deb", "dpkg", "unpacks kernel packages", True),
    Need("xz", "xz-utils", "unpacks kernel packages", True),
    Need("zstd", "zstd", "unpacks kernel modules", True),
    Need("setpriv", "util-linux", "ends a guest with the runner", True),
    Need("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring",
         "signatures of the kernel packages", True),
)


def present(look: str) -> bool:
    if look.startswith("pc:"):
        return bool(shutil.which("pkg-config")) and run("pkg-config", "--exists", look[3:]).code == 0
    if look.startswith("rt:"):  # a runtime library of clang's
        name = f"libclang_rt.{look[3:]}-{os.uname().machine}.a"
        return bool(shutil.which("clang")) and \
            Path(run("clang", f"-print-file-name={name}").out.strip()).is_absolute()
    if look.startswith("/"):
        return Path(look).exists()
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(look, path=path) is not None


def missing(guests: bool, is_present: Callable[[str], bool] = present, tests: bool = False) -> list[Need]:
    return [n for n in NEEDS if (guests or not n.guests_only) and (tests or not n.tests_only)
            and not is_present(n.look)]


def ensure(guests: bool, install: bool, is_present: Callable[[str], bool] = present,
           uid: int | None = None, tests: bool = False) -> None:
    """Everything is there when this returns. EnvironmentFailed otherwise, saying what to do."""
    needs = missing(guests, is_present, tests)
    if not needs:
        return
    print("missing on this machine:", file=sys.stderr)
    for need in needs:
        print(f"  {need.package:18} {need.why}", file=sys.stderr)
    packages = list(dict.fromkeys(n.package for n in needs))
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if not shutil.which("apt-get"):
        raise EnvironmentFailed("no apt-get here: install these by hand, under this distribution's names")
    if not install:
        raise EnvironmentFailed("not installed, as --no-install says: " + " ".join(command))
    if (os.getuid() if uid is None else uid) != 0:
        raise EnvironmentFailed("as root, run: " + " ".join(command))
    print("installing: " + " ".join(packages), file=sys.stderr)
    _apt(command)
    still = [n.package for n in missing(guests, is_present, tests)]
    if still:
        raise EnvironmentFailed("installed, and still missing: " + " ".join(still))


def _apt(command: list[str]) -> None:
    """Install; when that fails, once more after an update of the package lists."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        if run(*command, timeout_s=APT_TIMEOUT_S, env=env).code:
            run("apt-get", "update", timeout_s=APT_TIMEOUT_S, env=env)
            run(*command, timeout_s=APT_TIMEOUT_S, env=env, check=True)
    except EnvironmentFailed as err:
        raise EnvironmentFailed(f"apt-get failed: {err}") from None


def build(root: Path) -> None:
    """make; silent when there is nothing to do."""
    try:
        done = subprocess.run(["make", "-s", "-C", str(root)], stdout=sys.stderr, timeout=900)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise EnvironmentFailed(f"make: {err}") from None
    if done.returncode:
        raise EnvironmentFailed("make failed, see above")
