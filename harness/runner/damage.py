# SPDX-License-Identifier: GPL-2.0
"""Damage to an unmounted filesystem of ours, for the sabotage of its metadata and quota (selftest).

A filesystem that is mounted writes its inodes back and so repairs what was broken under it. The case
therefore names an inode only, and it is broken here, between unmount and fsck, on the device that the
runner itself made the filesystem on.
"""

import re

from .agent import ShResult
from .errors import EnvironmentFailed
from .fsops import Filesystem

_FAULT = re.compile(r"^inv (\d+) \d+ fault sabotage-metadata ")
_INODE = re.compile(r"^effect (\d+) shown \S+ inode%20(\d+)$")
_MAP = re.compile(r"physical (\d+)")
_ROOT = re.compile(r"^root\s+(\d+)", re.MULTILINE)
_QUOTA = re.compile(r"^inv \d+ \d+ fault sabotage-quota ")
_BLOCKS = re.compile(r"bcount = (\d+)")
LINKS = 77  # a link count that nobody has
QUOTA_BLOCKS = 256


def wanted(history: list[str]) -> int | None:
    """The inode whose damage a case has asked for."""
    asked = {m[1] for m in map(_FAULT.match, history) if m}
    for line in history:
        said = _INODE.match(line)
        if said and said[1] in asked:
            return int(said[2])
    return None


def wanted_quota(history: list[str]) -> bool:
    """Has a case asked for a wrong quota?"""
    return any(map(_QUOTA.match, history))


def break_quota(fs: Filesystem) -> None:
    """Charge root for more than its files have, on a filesystem that cannot be told so while it is mounted.
    The others were told by the case itself."""
    assert not fs.mounted and fs.device
    if fs.config.fstype != "xfs":
        return
    find = "dquot -u 0"
    said = _must(fs, fs.agent.sh("xfs_db", "-r", "-c", find, "-c", "print diskdq.bcount", fs.device))
    blocks = _BLOCKS.search(said)
    if not blocks:
        raise EnvironmentFailed(f"{fs.device}: XFS does not say what it charges root for: {said.strip()}")
    _must(fs, fs.agent.sh("xfs_db", "-x", "-c", find, "-c", f"write diskdq.bcount {int(blocks[1]) + QUOTA_BLOCKS}", fs.device))


def break_inode(fs: Filesystem, inode: int) -> None:
    """Make the filesystem on `fs`, which is not mounted, inconsistent at `inode` (btrfs: at the root of
    all trees). EnvironmentFailed when the tool for it fails: nothing may then be concluded."""
    assert not fs.mounted and fs.device
    kind = fs.config.fstype
    if kind == "xfs":
        field = "core.nlinkv2"
        _must(fs, fs.agent.sh("xfs_db", "-x", "-c", f"inode {inode}", "-c", f"write {field} {LINKS}", fs.device))
    elif kind in ("ext2", "ext3", "ext4"):
        _must(fs, fs.agent.sh("debugfs", "-w", "-R", f"set_inode_field <{inode}> links_count {LINKS}", fs.device))
    elif kind == "btrfs":
        _break_btrfs(fs)
    else:
        raise EnvironmentFailed(f"how to damage {kind} is not known")


def _break_btrfs(fs: Filesystem) -> None:
    """Metadata is there twice (DUP), and one good copy would be enough."""
    root = _ROOT.search(_must(fs, fs.agent.sh("btrfs", "inspect-internal", "dump-super", fs.device)))
    if not root:
        raise EnvironmentFailed(f"{fs.device}: btrfs does not say where its root tree is")
    copies = _MAP.findall(_must(fs, fs.agent.sh("btrfs-map-logical", "-l", root[1], fs.device)))
    if not copies:
        raise EnvironmentFailed(f"{fs.device}: btrfs does not say where the block {root[1]} is")
    script = 'printf pinfault | dd of="$1" bs=1 seek="$2" conv=notrunc,fsync status=none'
    for at in copies:
        _must(fs, fs.agent.sh("sh", "-c", script, "sh", fs.device, str(int(at) + 512)))


def _must(fs: Filesystem, done: ShResult) -> str:
    if not done.ok:
        raise EnvironmentFailed(f"{fs.device}: the sabotage of its metadata failed: {done.out.strip() or done.how}")
    return done.out
