# SPDX-License-Identifier: GPL-2.0
"""Distribution kernels as signed packages, through the mirror this machine is configured with.

Nothing is installed and nothing needs root: apt gets a private sources list, state and cache
folder for every suite, and dpkg-deb only unpacks.
"""

import glob
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .cache import cache_dir
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
        return re.split(r"[-~+]", self.package_version.split(":")[-1])[0]


def parse_mirrors(text: str) -> list[str]:
    """Mirror addresses in the lines of `apt-get indextargets`, the best guess first.

    Only Debian's own archive counts: security and foreign repositories have other suites.
    """
    sure, likely = [], []
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) != 6:
            continue
        origin, label, uri, codename, release, component = fields
        if component != "main" or not re.match(r"[a-z+]+:", uri):
            continue
        if origin == "Debian" and label == "Debian":
            sure.append(uri)
        elif origin.startswith("$") or not origin:
            name = release if codename.startswith("$") or not codename else codename
            if DEBIAN_RELEASE.match(name):
                likely.append(uri)
    return list(dict.fromkeys(sure + likely))


def configured_mirrors() -> list[str]:
    """The Debian mirrors of this machine's apt configuration. Raises GuestError if it has none."""
    text = _run(["apt-get", "indextargets", "--format", INDEX_FORMAT, "Created-By: Packages"],
                QUERY_TIMEOUT_S, "cannot read apt's configuration")
    mirrors = parse_mirrors(text)
    if not mirrors:
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

    def update(self) -> None:
        """Fetch the suite's package list. Raises GuestError."""
        self._configure()
        # apt-get update ends with 0 although a list could not be fetched, unless told otherwise.
        _run(["apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update"], UPDATE_TIMEOUT_S,
             f"cannot fetch the package list of {self.name}", self.env)

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
        image = self.show(images[0])
        # Newer kernels are split. What belongs to this very kernel carries its release in the
        # name; linux-base and the initramfs tools are for installing, which nobody does here.
        parts = [name for name in image.depends if re.fullmatch(
            r"linux-(modules|binary|base)-" + re.escape(release), name)]
        return Candidate(self.name, release, image.version, tuple([image.name] + parts))

    def download(self, packages: tuple[str, ...], into: Path) -> list[Path]:
        """Fetch packages, checked against the signed list, into a folder. Raises GuestError."""
        _run(["apt-get", "-q", "download", *packages], DOWNLOAD_TIMEOUT_S,
             f"cannot fetch {packages[0]} from {self.name}", self.env, into)
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


def version_ge(left: str, right: str) -> bool:
    """Whether Debian version left is the same as right or newer."""
    return subprocess.run(["dpkg", "--compare-versions", left, "ge", right],
                          timeout=QUERY_TIMEOUT_S).returncode == 0


def unpack(debs: list[Path], into: Path) -> None:
    """Unpack packages without installing them. Raises GuestError."""
    for deb in debs:
        _run(["dpkg", "-x", str(deb), str(into)], QUERY_TIMEOUT_S * 5,
             f"cannot unpack {deb.name}")
