# SPDX-License-Identifier: GPL-2.0
"""kernels/*.conf: one file a kernel. KEY=VALUE lines as a shell would read them, and comments."""

import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path

from .errors import GuestError

KEYS = ("SUITE", "DEFAULT", "MIN_VERSION", "REQUIRE", "RECHECK_DAYS")
KERNELS_DIR = Path(__file__).parent / "kernels"


@dataclass(frozen=True)
class KernelConf:
    """A kernel by name. From a .conf file (suites), of a package's version, or made by hand (path
    and modules)."""

    name: str
    suites: tuple[str, ...] = ()
    default: bool = False
    min_version: str = ""
    require: tuple[str, ...] = ()
    recheck_days: int | None = None  # None: what is in the cache is good for ever
    package_version: str = ""
    path: Path | None = None
    modules: Path | None = None
    source: Path | None = field(default=None, compare=False)


def parse_kernel_conf(text: str, name: str, where: str) -> KernelConf:
    """The conf file's text as a KernelConf. Raises GuestError "where:line: what is wrong"."""
    seen: dict[str, str] = {}
    lines: dict[str, int] = {}
    for nr, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = re.match(r"\s*([A-Za-z_0-9]+)=(.*)$", line)
        if not match:
            raise GuestError(f"{where}:{nr}: not KEY=VALUE: {line.strip()}")
        key, raw = match.groups()
        if key not in KEYS:
            raise GuestError(f"{where}:{nr}: unknown key {key} (known: {', '.join(KEYS)})")
        if key in seen:
            raise GuestError(f"{where}:{nr}: {key} was already set in line {lines[key]}")
        try:
            words = shlex.split(raw, comments=True)
        except ValueError as err:
            raise GuestError(f"{where}:{nr}: {key}: {err}") from None
        if len(words) > 1:
            raise GuestError(f"{where}:{nr}: {key}: quote a value that has spaces")
        seen[key] = words[0] if words else ""
        lines[key] = nr
    return _checked(seen, lines, name, where)


def _checked(seen: dict[str, str], lines: dict[str, int], name: str, where: str) -> KernelConf:
    suites = tuple(seen.get("SUITE", "").split())
    if not suites:
        raise GuestError(f"{where}:{lines.get('SUITE', 1)}: SUITE is missing or empty")
    for suite in suites:
        if not re.fullmatch(r"[a-z][a-z0-9.-]*", suite):
            raise GuestError(f"{where}:{lines['SUITE']}: SUITE: {suite} is no suite's name")
    default = seen.get("DEFAULT", "no")
    if default not in ("yes", "no"):
        raise GuestError(f"{where}:{lines['DEFAULT']}: DEFAULT is yes or no, not {default}")
    min_version = seen.get("MIN_VERSION", "")
    if min_version and not re.fullmatch(r"[0-9]+(\.[0-9]+)*", min_version):
        raise GuestError(f"{where}:{lines['MIN_VERSION']}: MIN_VERSION is a version such as 6.15")
    require = tuple(seen.get("REQUIRE", "").split())
    for option in require:
        if not re.fullmatch(r"CONFIG_[A-Za-z0-9_]+=[ym]", option):
            raise GuestError(f"{where}:{lines['REQUIRE']}: REQUIRE takes CONFIG_NAME=y|m")
    days = seen.get("RECHECK_DAYS")
    if days is not None and not days.isdigit():
        raise GuestError(f"{where}:{lines['RECHECK_DAYS']}: RECHECK_DAYS is a number of days")
    return KernelConf(name=name, suites=suites, default=default == "yes", min_version=min_version,
                      require=require, recheck_days=None if days is None else int(days))


def load_kernels(directory: Path = KERNELS_DIR) -> dict[str, KernelConf]:
    """All kernels listed in directory by name, older ones first. Raises GuestError."""
    out = []
    try:
        files = sorted(Path(directory).glob("*.conf"))
        for path in files:
            conf = parse_kernel_conf(path.read_text(encoding="utf-8"), path.stem, str(path))
            out.append(replace(conf, source=path))
    except (OSError, UnicodeDecodeError) as err:
        raise GuestError(f"{directory}: {err}") from None
    return {conf.name: conf for conf in sorted(out, key=_age)}


def _age(conf: KernelConf) -> tuple:
    """Numbered kernels by number, then the named ones."""
    if re.fullmatch(r"[0-9.]+", conf.name):
        return (0, [int(part) for part in conf.name.split(".") if part], conf.name)
    return (1, [], conf.name)


def handmade(path: Path, modules: Path | None) -> KernelConf:
    """A kernel somebody built: a bzImage, and a folder with lib/modules/RELEASE."""
    path = Path(path).resolve()
    return KernelConf(name=path.name, path=path, modules=modules and Path(modules).resolve())


def of_version(package_version: str) -> KernelConf:
    """The kernel of a Debian package's version, as harness/guest/available.py lists them."""
    return KernelConf(name=package_version, package_version=package_version)
