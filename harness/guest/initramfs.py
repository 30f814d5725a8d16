# SPDX-License-Identifier: GPL-2.0
"""The initramfs of a kernel: busybox, init, and the modules wanted before the root is there.

Modules are put in decompressed and loaded by insmod from a list made here, in order: under
emulation that is several times faster than modprobe reading compressed ones over 9p.
"""

import hashlib
import os
import shutil
import time
from pathlib import Path

from .cache import Log, cache_dir, need_space, plain_errors
from .cpio import CpioWriter
from .errors import GuestError
from .modules import ModuleTree, load_tree, read_module

INIT = Path(__file__).parent / "init"
OLD_S = 7 * 86400.0

# Without these there is no root filesystem and nobody to talk to.
ROOT_MODULES = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"]
# What the tests use. A kernel without one of them boots, and the log says what is missing.
MORE_MODULES = ["virtio_blk", "nfit", "nd_pmem", "fuse", "loop", "ib_uverbs", "rdma_rxe"]


def find_busybox() -> Path:
    """A statically linked busybox. Raises GuestError."""
    for name in ("busybox-static", "busybox"):
        found = shutil.which(name, path=os.environ.get("PATH", "") + ":/bin:/usr/bin")
        if found and _is_static(Path(found)):
            return Path(found)
    raise GuestError("no statically linked busybox (Debian's package busybox-static)")


def _is_static(path: Path) -> bool:
    """Whether an ELF64 file names no interpreter: no program header of type PT_INTERP (3)."""
    data = path.read_bytes()
    if data[:5] != b"\x7fELF\x02":
        return False
    start = int.from_bytes(data[32:40], "little")
    size = int.from_bytes(data[54:56], "little")
    count = int.from_bytes(data[56:58], "little")
    kinds = [int.from_bytes(data[start + i * size:start + i * size + 4], "little")
             for i in range(count)]
    return 3 not in kinds


def build_initramfs(name: str, module_root: Path | None, log: Log) -> Path:
    """Path of the initramfs for a lib/modules/RELEASE folder (None: everything is built in).

    Kept in the cache under a name made of its content. Raises GuestError.
    """
    tree = load_tree(module_root) if module_root else ModuleTree()
    root_paths, root_missing = tree.closure(ROOT_MODULES)
    if root_missing and module_root:
        raise GuestError(f"kernel {name} has no {', '.join(root_missing)}, "
                         "without which a guest has no root filesystem")
    all_paths, missing = tree.closure(ROOT_MODULES + MORE_MODULES)
    if missing and module_root:
        log(f"kernel {name} has no module {', '.join(missing)}: what needs it will be missing")
    busybox = find_busybox()
    key = _key(busybox, module_root, all_paths)
    out = cache_dir() / "initramfs" / f"{name}-{key}.cpio"
    with plain_errors(str(out)):
        if out.exists():
            return out
        out.parent.mkdir(exist_ok=True)
        need_space(out.parent, 64 << 20)
        temp = out.with_suffix(f".tmp{os.getpid()}")
        temp.write_bytes(_archive(busybox, module_root, root_paths, all_paths))
        temp.rename(out)
        # Another checkout may be booting an older one right now.
        for old in out.parent.glob(f"{name}-*.cpio"):
            if old != out and len(old.name) == len(out.name) and old.stat().st_mtime < time.time() - OLD_S:
                old.unlink(missing_ok=True)
    return out


def _key(busybox: Path, module_root: Path | None, paths: list[str]) -> str:
    """A digest of all that goes in. Modules count by size and time: reading all is slow."""
    digest = hashlib.sha256()
    files = [busybox, INIT, Path(__file__), Path(__file__).with_name("cpio.py")]
    files += [module_root / path for path in paths] if module_root else []
    for path in files:
        status = path.stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _archive(busybox: Path, module_root: Path | None, first: list[str], paths: list[str]) -> bytes:
    cpio = CpioWriter()
    for name in ("bin", "dev", "proc", "sys", "modules", "host", "rw", "new"):
        cpio.directory(name)
    # The kernel opens /dev/console for init before devtmpfs is mounted.
    cpio.chardev("dev/console", 5, 1)
    cpio.file("bin/busybox", busybox.read_bytes(), 0o755)
    cpio.symlink("bin/sh", "busybox")
    cpio.file("init", INIT.read_bytes(), 0o755)
    order = []
    for path in first + [path for path in paths if path not in first]:
        plain = Path(path).name.split(".ko")[0] + ".ko"
        assert module_root is not None
        cpio.file(f"modules/{plain}", read_module(module_root / path))
        order.append(plain)
    cpio.file("modules/first", "".join(f"{p}\n" for p in order[:len(first)]).encode())
    cpio.file("modules/more", "".join(f"{p}\n" for p in order[len(first):]).encode())
    return cpio.data()
