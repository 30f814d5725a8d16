# SPDX-License-Identifier: GPL-2.0
"""Filesystem configurations: fs-configs/NAME.conf and sections of an xfstests local.config.

Both use xfstests' variable names. Ours add REQUIRES (pmem, disk or none: what to make the
filesystem on), PROVES (KEY=VALUE words checked before the configuration counts as covered) and
RACE_WITHOUT (FAULT=REFERENCE words: what races leave out, since a known defect that shows in them would hide
those that are not known), and DEFAULT (yes or no: whether a run that names no filesystem has it).
"""

import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from .errors import UsageError, nearest

FSTYPES = ("btrfs", "ext2", "ext3", "ext4", "tmpfs", "xfs")  # that fsops.py can make
REQUIRES = ("pmem", "disk", "none")
_KEYS = ("FSTYP", "MKFS_OPTIONS", "MOUNT_OPTIONS", "REQUIRES", "PROVES", "RACE_WITHOUT", "DEFAULT",
         "SUMMARY")
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_SHELL = re.compile(r"\\.|[\"'`]|\$(?:(\w+)|\{(\w+)\})?")
_COMMENT = re.compile(r"(^|\s)#.*")
_DEVICE = re.compile(r"/dev/|\b(logdev|rtdev|device|name)=")
DEFAULT_SECTION = "default"


@dataclass(frozen=True)
class FsConfig:
    name: str
    fstype: str
    mkfs_options: tuple[str, ...] = ()
    mount_options: tuple[str, ...] = ()
    requires: str = "disk"
    proves: dict[str, str] = field(default_factory=dict, hash=False)
    race_without: dict[str, str] = field(default_factory=dict, hash=False)  # fault -> the finding
    summary: str = ""
    default: bool = True  # in a run that names no filesystem

    @property
    def persistent(self) -> bool:
        """Does what was written outlive the mount?"""
        return self.fstype != "tmpfs"

    @property
    def lost_with_power(self) -> str:
        """Why there is nothing to mount after a power cut, or ""."""
        if not self.persistent:
            return f"nothing of {self.fstype} outlives its machine"
        if self.fstype == "ext2":
            return "ext2 has no log: e2fsck repairs it before it is mounted again, and promises nothing"
        return ""

    @property
    def kind(self) -> str:
        """What expectations know it as, whatever it is called: xfs, xfs-dax, ..."""
        return self.fstype + ("-dax" if self.requires == "pmem" else "")


def plain_name(text: str) -> str:
    """What a thing of the user's is called in folders, command lines and exported programs."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text).lstrip(".-") or "unnamed"


def _words(value: str, where: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(value))
    except ValueError as err:
        raise UsageError(f"{where}: {err}") from None


def _make(name: str, values: dict[str, tuple[str, str]], path: str) -> FsConfig:
    """values: KEY -> (value, file:line)."""
    if "FSTYP" not in values or not values["FSTYP"][0]:
        raise UsageError(f"{path}:1: FSTYP is missing")
    get = {k: v for k, (v, _) in values.items()}
    at = {k: w for k, (_, w) in values.items()}
    if get["FSTYP"] not in FSTYPES:
        raise UsageError(f"{at['FSTYP']}: " + nearest(get["FSTYP"], list(FSTYPES), "FSTYP"))
    requires = get.get("REQUIRES", "none" if get["FSTYP"] == "tmpfs" else "disk")
    if requires not in REQUIRES:
        raise UsageError(f"{at['REQUIRES']}: REQUIRES is '{requires}', not {', '.join(REQUIRES)}")

    def pairs(name: str) -> dict[str, str]:
        out = {}
        for word in _words(get.get(name, ""), at.get(name, path)):
            key, _, value = word.partition("=")
            if not key or not value:
                raise UsageError(f"{at[name]}: {name} wants KEY=VALUE words, not '{word}'")
            out[key] = value
        return out

    for key in ("MKFS_OPTIONS", "MOUNT_OPTIONS"):
        if _DEVICE.search(get.get(key, "")):
            raise UsageError(f"{at[key]}: {key} names a device ({get[key]}): only the run's own is written to (--device)")
    default = get.get("DEFAULT", "yes")
    if default not in ("yes", "no"):
        raise UsageError(f"{at['DEFAULT']}: DEFAULT is '{default}', not yes or no")
    return FsConfig(name=name, fstype=get["FSTYP"],
                    mkfs_options=_words(get.get("MKFS_OPTIONS", ""), at.get("MKFS_OPTIONS", path)),
                    mount_options=_words(get.get("MOUNT_OPTIONS", ""), at.get("MOUNT_OPTIONS", path)),
                    requires=requires, proves=pairs("PROVES"), race_without=pairs("RACE_WITHOUT"), summary=get.get("SUMMARY", ""),
                    default=default == "yes")


def parse(path: Path) -> FsConfig:
    """Raises UsageError with file:line."""
    values: dict[str, tuple[str, str]] = {}
    for number, raw in enumerate(path.read_text().splitlines(), 1):
        where = f"{path}:{number}"
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        key, eq, value = line.partition("=")
        key = key.removeprefix("export ").strip()
        if not eq or not _NAME.match(key):
            raise UsageError(f"{where}: not NAME=VALUE: {line}")
        if key not in _KEYS:
            raise UsageError(f"{where}: unknown variable {key}; there are {' '.join(_KEYS)}")
        if key in values:
            raise UsageError(f"{where}: {key} is set twice")
        values[key] = (" ".join(_unquote(value, where)), where)
    return _make(path.stem, values, str(path))


def _unquote(value: str, where: str) -> list[str]:
    try:
        return shlex.split(value, comments=True)
    except ValueError as err:
        raise UsageError(f"{where}: {err}") from None


def load_all(directory: Path) -> dict[str, FsConfig]:
    """Every configuration by name: persistent memory first, memory only last."""
    all_of_them = [parse(p) for p in sorted(directory.glob("*.conf"))]
    return {c.name: c for c in sorted(all_of_them, key=lambda c: (REQUIRES.index(c.requires), c.name))}


def _expand(value: str, where: str, known: dict[str, tuple[str, str]]) -> str:
    """$NAME and ${NAME} outside of single quotes, as the shell that reads a local.config would."""
    quote = ""

    def one(match: re.Match[str]) -> str:
        nonlocal quote
        text, name = match[0], match[1] or match[2]
        if text in ("'", '"'):
            quote = "" if quote == text else quote or text
        elif quote != "'" and text[0] != "\\":
            if not name:
                raise UsageError(f"{where}: '{text}' wants a shell; $NAME and ${{NAME}} are all that is expanded here")
            if name not in known and name not in os.environ:
                raise UsageError(f"{where}: ${name} is not set")
            return known[name][0] if name in known else os.environ[name]
        return text
    return _SHELL.sub(one, value)


def _setting(line: str, where: str, known: dict[str, tuple[str, str]]) -> tuple[str, str]:
    key, eq, value = line.removeprefix("export ").strip().partition("=")
    key = key.strip()
    if not eq or not _NAME.match(key):
        raise UsageError(f"{where}: not NAME=VALUE: {line}")
    return key, " ".join(_unquote(_expand(_COMMENT.sub("", value).strip(), where, known), where))


def _sections(path: Path) -> dict[str, dict[str, tuple[str, str]]]:
    """By name; of a file without sections all of it, as DEFAULT_SECTION."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"{path}: {err.strerror if isinstance(err, OSError) else 'is no text'}") from None
    carried: dict[str, tuple[str, str]] = {}
    seen: dict[str, dict[str, tuple[str, str]]] = {}
    current = ""
    fresh: set[str] = set()
    for number, raw in enumerate(text.splitlines(), 1):
        where = f"{path}:{number}"
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line.startswith("["):
            name, bracket, rest = line[1:].partition("]")
            if not bracket or _COMMENT.sub("", rest).strip():
                raise UsageError(f"{where}: not [SECTION]: {line}")
            current = name.strip()
            fresh = set()
        else:
            key, value = _setting(line, where, carried)
            if key == "FSTYP" and carried.get("FSTYP", (value,))[0] != value:
                for option in {"MKFS_OPTIONS", "MOUNT_OPTIONS"} - fresh:
                    carried.pop(option, None)
            carried[key] = (value, where)
            fresh.add(key)
        if current:
            seen[current] = dict(carried)
    return seen or {DEFAULT_SECTION: carried}


def import_local_config(path: Path, section: str | None) -> FsConfig:
    """A section of a user's xfstests local.config, as xfstests itself would see it.

    Options carry over from section to section; MKFS_OPTIONS and MOUNT_OPTIONS are forgotten when
    FSTYP changes. Devices and directories named there are never touched: we make our own.
    """
    seen = _sections(path)
    there = " ".join(f"[{name}]" for name in seen)
    if section is None and len(seen) == 1:
        section = next(iter(seen))
    if section is None:
        raise UsageError(f"{path}: name one with --section: {there}")
    if section not in seen:
        raise UsageError(f"{path}: no section [{section}]; there are: {there}")
    said = seen[section]
    values = {k: v for k, v in said.items() if k in ("FSTYP", "MKFS_OPTIONS", "MOUNT_OPTIONS")}
    if not values.get("FSTYP", ("", ""))[0]:
        raise UsageError(f"{path}: [{section}] has no FSTYP")
    if said.get("USE_EXTERNAL", ("", ""))[0] == "yes":
        raise UsageError(f"{said['USE_EXTERNAL'][1]}: USE_EXTERNAL: no log or realtime device beside the filesystem's "
                         "own is used here")
    mount = values.get("MOUNT_OPTIONS", ("", ""))[0]
    if re.search(r"(^|[ ,])dax(=always)?([ ,]|$)", mount):
        values["REQUIRES"] = ("pmem", str(path))
        values["PROVES"] = ("dax=1", str(path))
    return _make(plain_name(section), values, str(path))
