# SPDX-License-Identifier: GPL-2.0
"""Every kernel package that can be had, by its version: what the mirror's suites offer, and what is kept here.

Which suites: those that kernels/*.conf name, and what belongs to the same release of the distribution
(its updates, security updates and backports).
"""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import debian
from .cache import Log, cache_dir, plain_errors
from .conf import KernelConf
from .errors import GuestError

META = "pinfault-kernel.json"  # beside a kernel in the cache: what it is
SISTERS = ("", "-updates", "-proposed-updates", "-security", "-backports")
ASKED_AT_ONCE = 4
LIST_AGE_S = 86400.0  # a suite's list is fetched again after that time

# 6.12.107, 6.12.107-1, 7.3.4-1~bpo13+1, 6.16-1~exp1, 6.1.0-50-amd64. Two numbers alone are a name of
# kernels/*.conf.
VERSION = re.compile(r"[0-9]+\.[0-9]+(\.[0-9]+([-~+][0-9A-Za-z.+~-]+)?|[-~][0-9A-Za-z.+~-]+)")


class Unknown(GuestError):
    """No kernel goes by this name, or more than one."""


@dataclass(frozen=True)
class Available:
    """One package version of a kernel."""

    package_version: str
    release: str
    suites: tuple[str, ...] = ()  # of the mirror
    folder: Path | None = None    # where it is unpacked, if it was fetched before
    candidates: tuple[debian.Candidate, ...] = field(compare=False, default=())

    @property
    def version(self) -> str:
        return debian.upstream(self.package_version)

    @property
    def source(self) -> str:
        """The same for all rebuilds of one source."""
        return debian.source_version(self.package_version)


def is_version(name: str) -> bool:
    """Whether name looks like a package's or an upstream version, and not like the name of a kernel."""
    return VERSION.fullmatch(name) is not None


def suites_of(confs: list[KernelConf]) -> list[str]:
    """Names of all suites that may have kernels, those of older kernels first."""
    names: dict[str, None] = {}
    for conf in confs:
        for suite in conf.suites:
            base = suite
            for sister in SISTERS[1:]:
                base = base.removesuffix(sister)
            names.update(dict.fromkeys([base + sister for sister in SISTERS]))
            names[suite] = None
    return list(names)


def kept() -> list[Available]:
    """The kernels in the cache that came from packages. Touches no network."""
    found = []
    for path in sorted((cache_dir() / "kernels").glob(f"[!.]*/{META}")):
        try:
            meta = json.loads(path.read_text())
            if (path.parent / meta["image"]).is_file():
                found.append(Available(meta["package_version"], meta["release"], folder=path.parent))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def offered(confs: list[KernelConf], log: Log) -> list[Available]:
    """What the mirror's suites have. Raises GuestError when not one could be asked.

    Takes a minute when the lists are older than a day, else some seconds.
    """
    plain, security = debian.configured_mirrors(), debian.configured_mirrors(security=True)
    if not security:
        log("apt's configuration on this machine names no security archive: kernels of there are not listed")

    def ask(name: str) -> list[debian.Candidate] | GuestError | None:
        why: GuestError | None = None
        for mirror in security if name.endswith("-security") else plain:
            suite = debian.Suite(name, mirror)
            try:
                with plain_errors(f"the package list of {name}"):
                    if suite.update(LIST_AGE_S):
                        log(f"asked {name}")
                    return suite.kernels()
            except debian.NoSuchSuite:
                continue
            except GuestError as err:
                why = err
        return why

    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        answers = list(pool.map(ask, suites_of(confs)))
    trouble = [answer for answer in answers if isinstance(answer, GuestError)]
    found = [answer for answer in answers if isinstance(answer, list)]
    if not found:
        raise trouble[0] if trouble else GuestError("the mirror has none of the suites with kernels")
    for err in trouble:
        log(str(err))
    return merged([candidate for answer in found for candidate in answer])


def merged(found: list[debian.Candidate]) -> list[Available]:
    """One entry a package version. A release name may be used again; the first suite's counts."""
    by_version: dict[str, list[debian.Candidate]] = {}
    for candidate in found:
        by_version.setdefault(candidate.package_version, []).append(candidate)
    return [Available(version, same[0].release, tuple(dict.fromkeys(c.suite for c in same)), None, tuple(same))
            for version, same in by_version.items()]


def everything(confs: list[KernelConf], log: Log) -> list[Available]:
    """What the mirror offers and what is kept, the oldest first. Raises GuestError when there is nothing."""
    here = {a.package_version: a for a in kept()}
    try:
        there = offered(confs, log)
    except GuestError as err:
        if not here:
            raise
        log(f"{err}; only the kernels in the cache can be had")
        there = []
    out = {**here}
    for one in there:
        version = one.package_version
        out[version] = Available(version, one.release, one.suites, here[version].folder if version in here else None,
                                 one.candidates)
    return sorted(out.values(), key=lambda a: debian.version_key(a.package_version))


def choose(name: str, among: list[Available]) -> Available:
    """The kernel of that package version or release, or of that upstream version if there is but one.

    A rebuild for another release of the distribution is not another one: the original is meant.
    Raises Unknown.
    """
    for one in among:
        if name in (one.package_version, one.release):
            return one
    same = [a for a in among if a.version == name]
    originals = [a for a in same if a.package_version == a.source] or same
    if len(originals) == 1:
        return originals[0]
    if same:
        raise Unknown(f"{name} may be {' or '.join(a.package_version for a in originals)}")
    series = ".".join(name.split(".")[:2]) + "."
    near = [a.version for a in among if a.package_version.startswith(series)]
    raise Unknown(f"no kernel {name} on the mirror or in the cache; "
                     + (f"of {series[:-1]} there are: {' '.join(dict.fromkeys(near))}" if near else
                        "`./run.sh list --kernels-available` shows all"))


def find(name: str, confs: list[KernelConf], log: Log) -> Available:
    """As choose(), and asks the mirror only when the cache does not settle it. Raises GuestError,
    Unknown."""
    for one in kept():
        if name in (one.package_version, one.release):
            return one
    return choose(name, everything(confs, log))
