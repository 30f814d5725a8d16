# SPDX-License-Identifier: GPL-2.0
"""Disk images of guests: the NVDIMM in fsdax mode, prepared once, and empty scratch disks."""

import os
import subprocess
from pathlib import Path
from typing import Callable

from .cache import Log, cache_dir, locked, need_space, plain_errors
from .errors import GuestError
from .qemu import PMEM_MIB

# What the preparing guest runs: an NVDIMM is raw at first, and has no DAX.
PREPARE = "ndctl create-namespace -f -e namespace0.0 --mode=fsdax --map=mem"


def sparse_file(path: Path, size_mib: int) -> Path:
    """Make an empty file of that size that takes no space yet. Raises GuestError."""
    with plain_errors(str(path)), open(path, "wb") as file:
        file.truncate(size_mib << 20)
    return path


def sparse_copy(source: Path, target: Path) -> Path:
    """Copy a file without filling its holes. Raises GuestError."""
    try:
        done = subprocess.run(["cp", "--reflink=auto", "--sparse=always", str(source),
                               str(target)], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        raise GuestError(f"copying {source} took longer than 120 s") from None
    if done.returncode:
        raise GuestError(done.stderr.strip().splitlines()[-1])
    return target


def prepared_pmem(run: Callable[[Path, str], tuple[int, str]], log: Log) -> Path:
    """The NVDIMM image in fsdax mode, from the cache or made by one boot.

    run(image, command) boots a guest with image as its NVDIMM and gives the command's exit
    status and output. Raises GuestError.
    """
    image = cache_dir() / f"pmem-fsdax-{PMEM_MIB}.img"
    with locked("pmem", log):
        if image.exists():
            return image
        log("preparing the NVDIMM (once)")
        need_space(image.parent, 64 << 20)
        temp = image.with_suffix(f".tmp{os.getpid()}")
        try:
            status, text = run(sparse_file(temp, PMEM_MIB), PREPARE)
            if status:
                last = text.strip().splitlines()[-1:] or ["no output"]
                raise GuestError(f"preparing the NVDIMM: ndctl ended with {status}: {last[0]}")
            temp.rename(image)
        finally:
            temp.unlink(missing_ok=True)
    return image
