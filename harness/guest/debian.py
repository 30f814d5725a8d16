# SPDX-License-Identifier: GPL-2.0
"""Distribution kernels as signed packages, through the mirror this machine is configured with.

Nothing is installed and nothing needs root: apt gets a private sources list, state and cache
folder for every suite, and dpkg-deb only unpacks.
"""

import glob
import json
import os
import re
import subprocess
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .cache import cache_dir, locked
from .errors import GuestError

KEYRINGS = "/usr/share/keyrings/debian-archive-*.gpg"
INDEX_FORMAT = "$(ORIGIN)|$(LABEL)|$(REPO_URI)|$(CODENAME)|$(RELEASE)|$(COMPONENT)"
UPDATE_TIMEOUT_S = 180
DOWNLOAD_TIMEOUT_S = 900
QUERY_TIMEOUT_S = 60

# Names a Debian main archive's suites go by, for a machine whose lists were never fetched and
# whose index targets therefore carry neither origin nor label.
DEBIAN_RELEASE = re.compile(r"(bullseye|bookworm|trixie|forky|duke|sid|oldstable|stable|testing|"
                            r"unstable)(-updates|-backports)?$")
SECURITY_RELEASE = re.compile(r"[a-z]+-security$")
# A kernel of this architecture in its ordinary flavour: not linux-image-RELEASE-cloud-amd64 and its like.
IMAGE = re.compile(r"linux-image-([0-9](?:(?!-cloud|-rt)[^\s])*-amd64)$")


class NoSuchSuite(GuestError):
    """The mirror was asked, and has no suite of that name."""


@dataclass(frozen=True)
class Package:
    """One version of a package in a suite."""

    name: str
    version: str
    depends: tuple[str, ...]  # names only, of every alternative


@dataclass(frozen=True)
class Candidate:
    """A kernel a suite offers: RELEASE as `uname -r` says it, and the packages that make it up."""

    suite: str
    release: str
    package_version: str
    packages: tuple[str, ...]

    @property
    def version(self) -> str:
        """The upstream version: 6.1.176 of 6.1.176-1, 7.3.4 of 7.3.4-1~bpo13+1."""
        return upstream(self.package_version)


def upstream(package_version: str) -> str:
    """6.12.107 of 6.12.107-1~deb12u1."""
    return re.split(r"[-~+]", package_version.split(":")[-1])[0]


def source_version(package_version: str) -> str:
    """The version whose source this package was made of: 7.3.4-1 of its rebuild 7.3.4-1~bpo13+1."""
    return re.sub(r"~(bpo|deb)[0-9][0-9a-z+.]*$", "", package_version)


def version_key(version: str) -> tuple:
    """Sorts as `dpkg --compare-versions` does: `~` before the end of a part, letters before the rest."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    main, dash, revision = rest.rpartition("-")
    if not dash:
        main, revision = rest, "0"

    def part(text: str) -> tuple:
        out: list[object] = []
        for word, digits in re.findall(r"([^0-9]*)([0-9]*)", text):
            out.append(tuple(-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in word) + (0,))
            out.append(int(digits or 0))
        return tuple(out)
    return int(epoch), part(main), part(revision)


def parse_mirrors(text: str, security: bool = False) -> list[str]:
    """Mirror addresses in the lines of `apt-get indextargets`, the best guess first.

    Only Debian's own archive counts, or with `security` its security archive: foreign repositories
    have other suites.
    """
    label_wanted, names = ("Debian-Security", SECURITY_RELEASE) if security else ("Debian", DEBIAN_RELEASE)
    sure, likely = [], []
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) != 6:
            continue
        origin, label, uri, codename, release, component = fields
        if component != "main" or not re.match(r"[a-z+]+:", uri):
            continue
        if origin == "Debian" and label == label_wanted:
            sure.append(uri)
        elif origin.startswith("$") or not origin:
            name = release if codename.startswith("$") or not codename else codename
            if names.match(name):
                likely.append(uri)
    return list(dict.fromkeys(sure + likely))


def configured_mirrors(security: bool = False) -> list[str]:
    """The Debian mirrors of this machine's apt configuration, or those of its security archive.

    Raises GuestError if it has none; a machine without security updates has an empty list of those.
    """
    text = _run(["apt-get", "indextargets", "--format", INDEX_FORMAT, "Created-By: Packages"],
                QUERY_TIMEOUT_S, "cannot read apt's configuration")
    mirrors = parse_mirrors(text, security)
    if not mirrors and not security:
        raise GuestError("apt's configuration on this machine names no Debian mirror "
                         "(use --kernel PATH --modules DIR for a kernel of your own)")
    return mirrors


def _run(argv: list[str], timeout_s: float, what: str, env: dict[str, str] | None = None,
         cwd: Path | None = None) -> str:
    """Standard output of argv. Raises GuestError with the one line that says why it failed."""
    full = {**os.environ, "LC_ALL": "C", **(env or {})}
    try:
        done = subprocess.run(argv, env=full, cwd=cwd, timeout=timeout_s, text=True,
                              errors="replace", stdin=subprocess.DEVNULL, capture_output=True)
    except FileNotFoundError:
        raise GuestError(f"{what}: {argv[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise GuestError(f"{what}: {argv[0]} took longer than {timeout_s:.0f} s") from None
    if done.returncode:
        raise GuestError(f"{what}: {first_error(done.stderr or done.stdout, done.returncode)}")
    return done.stdout


def first_error(text: str, status: int) -> str:
    """The line of a tool's output that says what is wrong."""
    if "No space left on device" in text:
        return "no space left on the disk"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for mark in ("E:", "Err:", "W:", "error"):
        for line in lines:
            if line.startswith(mark) or (mark == "error" and mark in line):
                return line
    return lines[-1] if lines else f"exit status {status}"


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")


class Suite:
    """One suite of the mirror with its private apt folders."""

    def __init__(self, name: str, mirror: str):
        self.name = name
        self.mirror = mirror
        self.dir = cache_dir() / "apt" / name
        self.env = {"APT_CONFIG": str(self.dir / "apt.conf")}

    def _configure(self) -> None:
        for sub in ("state/lists/partial", "cache/archives/partial"):
            (self.dir / sub).mkdir(parents=True, exist_ok=True)
        keyrings = sorted(glob.glob(KEYRINGS))
        if not keyrings:
            raise GuestError(f"no {KEYRINGS}: install debian-archive-keyring, so that signatures "
                             "can be checked")
        (self.dir / "status").write_text("")
        (self.dir / "sources.list").write_text(
            f"deb [arch=amd64 target=Packages signed-by={','.join(keyrings)}] "
            f"{self.mirror} {self.name} main\n")
        (self.dir / "apt.conf").write_text(_APT_CONF.format(dir=self.dir))

    def update(self, age_s: float = 0.0) -> bool:
        """Fetch the suite's package list, unless what the mirror said within age_s is known. Returns
        whether it was fetched. Raises GuestError, NoSuchSuite."""
        # Two processes of ours would find apt's own lock taken, which is an error to it.
        with locked(f"apt-{self.name}", lambda _: None):
            asked = self.dir / "asked"
            if _age_s(asked) < age_s:
                mirror, _, refused = asked.read_text().partition("\n")
                if mirror == self.mirror:
                    if refused:
                        raise NoSuchSuite(refused)
                    return False
            self._configure()
            asked.unlink(missing_ok=True)
            try:
                # apt-get update ends with 0 although a list could not be fetched, unless told otherwise.
                _run(["apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update"], UPDATE_TIMEOUT_S,
                     f"cannot fetch the package list of {self.name}", self.env)
            except GuestError as err:
                if "does not have a Release file" not in str(err):
                    raise
                asked.write_text(f"{self.mirror}\n{err}")  # it will not have one in an hour either
                raise NoSuchSuite(str(err)) from None
            asked.write_text(self.mirror + "\n")
            return True

    def show(self, package: str) -> Package:
        """The newest version of package in this suite. Raises GuestError."""
        text = _run(["apt-cache", "show", "--no-all-versions", package], QUERY_TIMEOUT_S,
                    f"{self.name} has no package {package}", self.env)
        return parse_package(text)

    def kernel(self, meta: str = "linux-image-amd64") -> Candidate:
        """The kernel that the metapackage leads to. Raises GuestError."""
        top = self.show(meta)
        images = [name for name in top.depends if re.match(r"linux-image-[0-9]", name)]
        if not images:
            raise GuestError(f"{self.name}: {meta} {top.version} leads to no linux-image package")
        release = images[0].removeprefix("linux-image-")
        return self._candidate(self.show(images[0]), release)

    def kernels(self) -> list[Candidate]:
        """Every kernel in this suite's list, in no order. Raises GuestError."""
        listed = self.dir / "kernels.json"  # reading the whole list takes two seconds
        if _age_s(listed) < _age_s(self.dir / "asked"):
            try:
                return [Candidate(one["suite"], one["release"], one["package_version"], tuple(one["packages"]))
                        for one in json.loads(listed.read_text())]
            except (ValueError, KeyError, TypeError):
                pass
        found = self._read_kernels()
        temp = listed.with_suffix(f".{os.getpid()}")
        temp.write_text(json.dumps([asdict(one) for one in found]))
        temp.replace(listed)
        return found

    def _read_kernels(self) -> list[Candidate]:
        names = [name for name in _run(["apt-cache", "pkgnames", "linux-image-"], QUERY_TIMEOUT_S,
                                       f"cannot read the package list of {self.name}", self.env).split()
                 if IMAGE.match(name)]
        if not names:
            return []
        text = _run(["apt-cache", "show", "--all-versions", *names], QUERY_TIMEOUT_S,
                    f"cannot read the package list of {self.name}", self.env)
        there = set(_run(["apt-cache", "pkgnames", "linux-"], QUERY_TIMEOUT_S,
                         f"cannot read the package list of {self.name}", self.env).split())
        found = []
        for stanza in text.strip().split("\n\n"):
            package = parse_package(stanza)
            # linux-image-6.12-amd64 may be a kernel's package, or lead to one.
            if any(IMAGE.match(name) for name in package.depends):
                continue
            # Parts of an old kernel may leave the mirror before its image. Of linux-base that does not matter: it has the
            # configuration and lists.
            kernel = self._candidate(package, package.name.removeprefix("linux-image-"))
            gone = {name for name in kernel.packages if name not in there}
            if all(name.startswith("linux-base-") for name in gone):
                found.append(replace(kernel, packages=tuple(p for p in kernel.packages if p not in gone)))
        return found

    def _candidate(self, image: Package, release: str) -> Candidate:
        # Newer kernels are split. What belongs to this very kernel carries its release in the
        # name; linux-base and the initramfs tools are for installing, which nobody does here.
        parts = [name for name in image.depends if re.fullmatch(
            r"linux-(modules|binary|base)-" + re.escape(release), name)]
        return Candidate(self.name, release, image.version, tuple([image.name] + parts))

    def download(self, candidate: Candidate, into: Path) -> list[Path]:
        """Fetch its packages, checked against the signed list, into a folder. Raises GuestError."""
        packages = candidate.packages
        _run(["apt-get", "-q", "download", *(f"{name}={candidate.package_version}" for name in packages)],
             DOWNLOAD_TIMEOUT_S, f"cannot fetch {packages[0]} from {self.name}", self.env, into)
        debs = sorted(into.glob("*.deb"))
        if len(debs) != len(packages):
            raise GuestError(f"cannot fetch {packages[0]} from {self.name}: apt-get left "
                             f"{len(debs)} packages of {len(packages)}")
        return debs


_APT_CONF = """\
Dir::State "{dir}/state";
Dir::State::status "{dir}/status";
Dir::Cache "{dir}/cache";
Dir::Etc::sourcelist "{dir}/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
// The folders belong to the caller; apt's own user could not write there.
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
// What the distribution hooks onto an update of the real lists is none of ours.
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
"""


def parse_package(text: str) -> Package:
    """The first stanza of `apt-cache show`."""
    fields: dict[str, str] = {}
    for line in text.split("\n\n")[0].splitlines():
        key, sep, value = line.partition(": ")
        if sep and not line.startswith(" "):
            fields[key] = value
    if "Package" not in fields or "Version" not in fields:
        raise GuestError("apt-cache show gave no package")
    names = re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]*)", fields.get("Depends", ""))
    return Package(fields["Package"], fields["Version"], tuple(names))


def unpack(debs: list[Path], into: Path) -> None:
    """Unpack packages without installing them. Raises GuestError."""
    for deb in debs:
        _run(["dpkg", "-x", str(deb), str(into)], QUERY_TIMEOUT_S * 5,
             f"cannot unpack {deb.name}")
