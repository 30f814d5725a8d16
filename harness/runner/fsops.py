# SPDX-License-Identifier: GPL-2.0
"""mkfs, mount, prove, umount and fsck, through the agent's `sh` on whatever machine it sits."""

import errno
import os
import re
import time
from dataclasses import dataclass, field

from .agent import Agent
from .errors import EnvironmentFailed
from .fsconfig import FsConfig

# The journal is initialised in full: blocks of an earlier filesystem's journal on the same device
# have the right magic and sequence numbers, and a recovery that meets them fails with "JBD2: Invalid
# checksum found in transaction".
_MKFS = {
    "xfs": ("mkfs.xfs", "-f", "-q"),
    "ext4": ("mkfs.ext4", "-F", "-q", "-E", "lazy_itable_init=1,lazy_journal_init=0,nodiscard"),
    "ext3": ("mkfs.ext3", "-F", "-q"),
    "ext2": ("mkfs.ext2", "-F", "-q"),
    "btrfs": ("mkfs.btrfs", "-f", "-q"),
}
_FSCK = {
    "xfs": ("xfs_repair", "-n"),
    "ext4": ("e2fsck", "-fn"),
    "ext3": ("e2fsck", "-fn"),
    "ext2": ("e2fsck", "-fn"),
    "btrfs": ("btrfs", "check", "--readonly", "--check-data-csum"),
}
_DATA_TOO = "--check-data-csum"  # of its options; without it only metadata is checked
_STATISTICS = re.compile(r"\[\d+/\d+\] |Opening |Checking |UUID: |found \d+ bytes|total |btree space|file data blocks| *referenced ")

ELSEWHERE_PATIENCE_S = 20  # for the last copy of a mount to go
QUOTA_PATIENCE_S = 3.0


class NotCovered(Exception):
    """This configuration cannot be had on this machine; the text says why."""


@dataclass
class Filesystem:
    """One configuration on one machine, made and mounted as often as it takes."""

    agent: Agent
    config: FsConfig
    device: str  # "" for tmpfs
    mnt: str
    mounted: bool = False
    proven: bool = False
    native: bool = False  # the device is this machine's own
    notes: list[str] = field(default_factory=list)

    def mkfs(self) -> None:
        """NotCovered when it cannot be made. tmpfs is made by mounting it."""
        config = self.config
        if not config.persistent:
            return
        if config.fstype not in _MKFS:
            raise NotCovered(f"FSTYP {config.fstype} is none the harness can make")
        done = self.agent.sh(*_MKFS[config.fstype], *config.mkfs_options, self.device, timeout_s=120)
        if not done.ok and self._mounted_elsewhere():
            done = self.agent.sh(*_MKFS[config.fstype], *config.mkfs_options, self.device, timeout_s=120)
        if not done.ok:
            raise NotCovered(f"mkfs: {_first(done.out) or done.how}")

    def mount(self) -> None:
        """NotCovered when the kernel refuses."""
        source = self.device if self.config.persistent else "pinfault-" + self.config.name
        done = self.agent.sh("mount", "-t", self.config.fstype, *self.config.mount_options, source,
                             self.mnt, timeout_s=60)
        if not done.ok:
            hint = " (has this kernel quota: CONFIG_XFS_QUOTA, CONFIG_QFMT_V2?)" if "quota" in self.config.proves else ""
            raise NotCovered(f"mount: {_last(done.out) or done.how}{hint}")
        self.mounted = True

    def umount(self, patience_s: int = 20) -> str:
        """"" or why not. EBUSY is retried for a while: pins of a dying process go asynchronously."""
        if not self.mounted:
            return ""
        # A case that hung may have left it frozen. Then umount does not end, or (seen on 6.18) the mount goes and the
        # filesystem stays, with its device, where nobody can thaw it any more.
        self.agent.sh("fsfreeze", "-u", self.mnt)
        if self.agent.sh("umount", self.mnt, timeout_s=60).ok:
            self.mounted = False
            return ""
        script = ('i=0; until out=$(umount "$1" 2>&1); do i=$((i+1)); '
                  '[ $i -ge $2 ] && { echo "$out"; exit 1; }; sleep 0.1; done')
        done = self.agent.sh("sh", "-c", script, "sh", self.mnt, str(patience_s * 10),
                             timeout_s=patience_s + 40)
        if done.ok:
            self.mounted = False
            return ""
        return _last(done.out) or done.how

    def fsck(self) -> tuple[str, str]:
        """Kind and what the checker said (its last lines), ("", "") when clean. checksum: of data only (btrfs), where
        everything that the filesystem keeps for itself is in order; else metadata."""
        if not self.config.persistent:
            return "", ""
        command = _FSCK[self.config.fstype]
        done = self.agent.sh(*command, self.device, timeout_s=180)
        if not done.ok and self._mounted_elsewhere():
            done = self.agent.sh(*command, self.device, timeout_s=180)  # it had looked at a filesystem in use
        if done.ok:
            return "", ""
        if done.exit is None or done.exit == 127:
            raise EnvironmentFailed(f"{command[0]}: {done.how}")
        kind = "metadata"
        if _DATA_TOO in command:
            rest = [word for word in command if word != _DATA_TOO]
            kind = "checksum" if self.agent.sh(*rest, self.device, timeout_s=180).ok else kind
        said = [line for line in done.out.splitlines() if line.strip() and not _STATISTICS.match(line)]
        return kind, " | ".join(said[-6:]) or done.how

    def _mounted_elsewhere(self) -> bool:
        """Was our umount not the last? A mount namespace that was copied meanwhile keeps its copy of the mount.
        True once it is gone; EnvironmentFailed when it stays. Nothing is written: the device is only opened."""
        late = False
        until = time.monotonic() + ELSEWHERE_PATIENCE_S
        while self.native:
            try:
                os.close(os.open(self.device, os.O_RDONLY | os.O_EXCL))
                break
            except OSError as err:
                if err.errno != errno.EBUSY:
                    break
            if time.monotonic() > until:
                raise EnvironmentFailed(f"{self.device} is unmounted here and still in use in another mount namespace, "
                                        "so nobody can use it (a container that was started meanwhile?)")
            late = True
            time.sleep(0.1)
        return late

    def quota(self) -> str:
        """"" when the filesystem charges for what its files have, else both numbers. What was unlinked is
        freed in the background, so it may take a moment."""
        if self.config.proves.get("quota") != "1":
            return ""
        until = time.monotonic() + QUOTA_PATIENCE_S
        while True:
            said = self.agent.quota(self.mnt)
            if said is None:
                return "quota: the filesystem does not say any more what it charges for"
            if said[0] == said[1]:
                return ""
            if time.monotonic() > until:
                return f"quota: root is charged for {said[0]} bytes, and its files have {said[1]}"
            time.sleep(0.1)

    def prove(self) -> None:
        """Check the configuration's claims on the mounted filesystem. NotCovered if one is false."""
        if self.proven:
            return
        probe = f"{self.mnt}/.pinfault-probe"
        made = self.agent.sh("sh", "-c", 'head -c 65536 /dev/zero > "$1" && sync "$1"', "sh", probe)
        if not made.ok:
            raise NotCovered(f"cannot write a first file: {_last(made.out)}")
        seen = self.agent.statx(probe)
        # By the driver's name: the magic number is one for ext2, ext3 and ext4.
        seen["fstype"] = self.agent.sh("findmnt", "-n", "-o", "FSTYPE", "--mountpoint", self.mnt).out.strip()
        if "quota" in self.config.proves:
            seen["quota"] = "0" if self.agent.quota(self.mnt) is None else "1"
        for key, want in self.config.proves.items():
            if key == "reflink":
                clone = self.agent.sh("cp", "--reflink=always", probe, probe + "2")
                self.agent.sh("rm", "-f", probe + "2")
                seen[key] = "1" if clone.ok else "0"
            if seen.get(key) != want:
                raise NotCovered(f"not proven: {key} is {seen.get(key, 'unknown')}, not {want}")
        self.agent.sh("rm", "-f", probe)
        self.proven = True


def _first(text: str) -> str:
    """What mkfs has against it: what follows is how it wants to be called, or where to read on."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if "dmesg(1)" not in line] or lines
    return lines[-1] if lines else ""
