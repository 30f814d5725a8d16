# SPDX-License-Identifier: GPL-2.0
"""The per-user cache: kernels, initramfs images, the prepared NVDIMM, what KVM was found to do."""

import contextlib
import errno
import fcntl
import os
import shutil
from pathlib import Path
from typing import Callable, Iterator

from .errors import GuestError

Log = Callable[[str], None]


def cache_dir() -> Path:
    """${XDG_CACHE_HOME:-~/.cache}/pinfault, made if it is not there. Raises GuestError."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification of XDG_CACHE_HOME says that a relative path is to be ignored.
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    path = root / "pinfault"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise GuestError(f"cannot make the cache folder {path}: {err.strerror}") from None
    return path


def need_space(path: Path, need_bytes: int) -> None:
    """Raise GuestError unless the filesystem of path has need_bytes to give."""
    free = shutil.disk_usage(path).free
    if free < need_bytes:
        raise GuestError(f"{path}: {need_bytes >> 20} MiB are needed and {free >> 20} MiB are free")


@contextlib.contextmanager
def plain_errors(what: str) -> Iterator[None]:
    """Turn an OSError of the body into a GuestError of one line."""
    try:
        yield
    except OSError as err:
        if err.errno == errno.ENOSPC:
            raise GuestError(f"{what}: no space left on the disk") from None
        raise GuestError(f"{what}: {err.strerror or err}"
                         + (f" ({err.filename})" if err.filename else "")) from None


@contextlib.contextmanager
def locked(name: str, log: Log) -> Iterator[None]:
    """Hold the cache's lock NAME, so that two runs do not fetch or prepare the same thing twice."""
    locks = cache_dir() / "locks"
    with plain_errors(str(locks)):
        locks.mkdir(exist_ok=True)
        fd = os.open(locks / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f"waiting for another run that prepares {name}")
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
