# SPDX-License-Identifier: GPL-2.0
"""From a KernelConf to a Kernel that can be booted: from the cache, fetched, or made by hand."""

import contextlib
import json
import lzma
import os
import re
import shutil
import subprocess
import tempfile
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

from . import available, debian
from .cache import Log, cache_dir, locked, need_space, plain_errors
from .conf import KernelConf, load_kernels
from .errors import GuestError
from .initramfs import build_initramfs
from .modules import unzstd

WISHES = Path(__file__).parent / "kernel.config"
META = available.META
ASK_AGAIN_S = 86400.0  # after the mirror could not be asked
UNPACKED_BYTES = 900 << 20  # packages and their contents, for a moment both


@dataclass(frozen=True)
class Kernel:
    """A kernel ready to boot."""

    name: str  # as listed in kernels/, or the image's file name
    version: str  # upstream version, such as 6.12.107
    release: str  # what `uname -r` says
    image: Path
    modules: Path | None  # a folder with lib/modules/RELEASE; None: everything is built in
    initramfs: Path
    origin: str = ""  # suite and package version, or "by hand"
    plain_image: Path | None = None  # the same kernel decompressed, which boots sooner
    package_version: str = ""  # "" when it is of no package


def obtain(conf: KernelConf, log: Log, refresh: bool = False) -> Kernel:
    """Make conf bootable: fetch and unpack what is missing, and build its initramfs.

    The first call of a distribution kernel takes the time of a 70 to 110 MB download; later ones
    touch no network, unless conf wants its suites asked again after some days, or refresh is set.
    Raises GuestError, one line, for everything that can go wrong.
    """
    if conf.path is not None:
        return _by_hand(conf, log)
    with locked(f"kernel-{conf.name}", log), plain_errors(f"kernel {conf.name}"):
        if conf.package_version:
            folder, meta = _of_version(conf, log)
        else:
            kept = _newest_kept(conf.name)
            if kept and not refresh and not _is_stale(conf, kept[1]):
                folder, meta = kept
            else:
                folder, meta = _refetch(conf, kept, log)
        release = meta["release"]
        initramfs = build_initramfs(conf.name, folder / "lib/modules" / release, log)
        plain = _plain_image(folder, meta)
    return Kernel(conf.name, meta["version"], release, folder / meta["image"], folder, initramfs,
                  f"{meta['suite']} {meta['package_version']}", plain, meta["package_version"])


def _of_version(conf: KernelConf, log: Log) -> tuple[Path, dict]:
    """One version, whoever asked for it first; for that it need not be in the mirror any more."""
    for one in available.kept():
        if one.package_version == conf.package_version and one.folder:
            return one.folder, json.loads((one.folder / META).read_text())
    _kernels_dir().mkdir(exist_ok=True)
    need_space(cache_dir(), UNPACKED_BYTES)
    one = available.choose(conf.package_version, available.everything(list(load_kernels().values()), log))
    trouble: GuestError | None = None
    for candidate in one.candidates:
        for mirror in debian.configured_mirrors(security=candidate.suite.endswith("-security")):
            folder = _kernels_dir() / f"{conf.name}-{candidate.release}"
            try:
                _download(conf, debian.Suite(candidate.suite, mirror), candidate, folder, log)
                return folder, json.loads((folder / META).read_text())
            except GuestError as err:
                trouble = err
    raise trouble or GuestError(f"no suite has {conf.package_version}")


def _plain_image(folder: Path, meta: dict) -> Path | None:
    """The ELF image inside the bzImage, unpacked once, if the kernel can be entered that way (PVH).

    A guest under emulation takes 1 to 5 s to decompress itself; here it is a fraction of that.
    """
    plain = folder / "vmlinux"
    if plain.exists():
        return plain
    config = (folder / f"boot/config-{meta['release']}").read_text(errors="replace")
    if missing_options(config, ("CONFIG_PVH=y",)):
        return None
    payload = image_payload(folder / meta["image"])
    if payload[:4] != b"\x7fELF":
        return None
    temp = folder / f".vmlinux.{os.getpid()}"
    temp.write_bytes(payload)
    temp.rename(plain)
    return plain


def _kernels_dir() -> Path:
    return cache_dir() / "kernels"


def _newest_kept(name: str) -> tuple[Path, dict] | None:
    """The kernel kept under name that was asked for last, with its description."""
    found = []
    for path in _kernels_dir().glob(f"{name}-*/{META}"):
        try:
            meta = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        if meta.get("name") == name and (path.parent / meta.get("image", "-")).is_file():
            found.append((meta["checked_s"], path.parent, meta))
    if not found:
        return None
    _, folder, meta = max(found, key=lambda entry: entry[0])
    return folder, meta


def _is_stale(conf: KernelConf, meta: dict) -> bool:
    if conf.recheck_days is None:
        return False
    return time.time() - meta["checked_s"] > conf.recheck_days * 86400


def _refetch(conf: KernelConf, kept: tuple[Path, dict] | None, log: Log) -> tuple[Path, dict]:
    """Ask the suites; fall back to what is kept when they cannot be asked."""
    try:
        return _fetch(conf, log)
    except GuestError as err:
        if not kept:
            raise
        log(f"{err}; the one from the cache is used")
        with contextlib.suppress(OSError):
            # The mirror may stay away for long: do not wait for it at every start.
            _remember(kept[0], time.time() - (conf.recheck_days or 0) * 86400 + ASK_AGAIN_S)
        return kept


def _fetch(conf: KernelConf, log: Log) -> tuple[Path, dict]:
    _kernels_dir().mkdir(exist_ok=True)
    need_space(cache_dir(), UNPACKED_BYTES)
    why_not: list[str] = []
    for suite, candidate in _candidates(conf, log, why_not):
        folder = _kernels_dir() / f"{conf.name}-{candidate.release}"
        if not (folder / META).exists():
            _download(conf, suite, candidate, folder, log)
        config = (folder / f"boot/config-{candidate.release}").read_text(errors="replace")
        lacking = missing_options(config, conf.require)
        if not lacking:
            return folder, _remember(folder, time.time())
        why_not.append(f"{candidate.release} has no {', '.join(lacking)}")
        shutil.rmtree(folder, ignore_errors=True)
    raise GuestError(f"kernel {conf.name}: " + "; ".join(why_not))


def _remember(folder: Path, checked_s: float) -> dict:
    """Note in the kernel's description when the mirror was asked."""
    meta = json.loads((folder / META).read_text())
    meta["checked_s"] = checked_s
    temp = folder / (META + f".{os.getpid()}")
    temp.write_text(json.dumps(meta, indent=1) + "\n")
    temp.rename(folder / META)
    return meta


def _candidates(conf: KernelConf, log: Log, why_not: list[str]):
    """What conf's suites offer and is new enough, the highest version first."""
    found: list[tuple[debian.Suite, debian.Candidate]] = []
    mirrors = debian.configured_mirrors()
    for name in conf.suites:
        log(f"kernel {conf.name}: asking {name}")
        for mirror in mirrors:
            suite = debian.Suite(name, mirror)
            try:
                suite.update()
                candidate = suite.kernel()
            except GuestError as err:
                why_not.append(str(err))
                continue
            if conf.min_version and debian.version_key(candidate.version) < debian.version_key(conf.min_version):
                why_not.append(f"{name} has {candidate.version}, older than {conf.min_version}")
            else:
                found.append((suite, candidate))
            break
    # The first of equal ones, as conf names the suites.
    yield from sorted(found, key=lambda entry: debian.version_key(entry[1].package_version), reverse=True)


def _download(conf: KernelConf, suite: debian.Suite, candidate: debian.Candidate, folder: Path,
              log: Log) -> None:
    """Fetch and unpack into a temporary folder beside folder; what is finished is renamed."""
    log(f"kernel {conf.name}: fetching {candidate.release} ({candidate.package_version}) "
        f"from {candidate.suite}")
    for stale in _kernels_dir().glob(f".{conf.name}-*"):
        shutil.rmtree(stale, ignore_errors=True)  # the lock says that nobody works in it
    temp = Path(tempfile.mkdtemp(prefix=f".{conf.name}-", dir=_kernels_dir()))
    try:
        temp.chmod(0o755)
        debs = suite.download(candidate, temp)
        debian.unpack(debs, temp)
        for deb in debs:
            deb.unlink()
        image = _settle(temp, candidate.release)
        meta = {**asdict(candidate), "name": conf.name, "version": candidate.version,
                "image": image, "checked_s": time.time()}
        (temp / META).write_text(json.dumps(meta, indent=1) + "\n")
        temp.rename(folder)
    except BaseException:
        shutil.rmtree(temp, ignore_errors=True)
        raise


def _settle(root: Path, release: str) -> str:
    """Bring an unpacked kernel into one shape, run depmod, and say where the image is."""
    if not (root / "lib").exists() and (root / "usr/lib/modules").is_dir():
        (root / "lib").symlink_to("usr/lib")
    if not (root / "lib/modules" / release).is_dir():
        raise GuestError(f"the packages of {release} hold no lib/modules/{release}")
    config = root / f"boot/config-{release}"
    if not config.exists():
        other = root / "lib/modules" / release / "config"
        if not other.exists():
            raise GuestError(f"the packages of {release} hold no config")
        config.parent.mkdir(exist_ok=True)
        shutil.copyfile(other, config)
    run_depmod(root, release)
    for image in (f"boot/vmlinuz-{release}", f"lib/modules/{release}/vmlinuz"):
        if (root / image).is_file():
            return image
    raise GuestError(f"the packages of {release} hold no vmlinuz")


def run_depmod(root: Path, release: str) -> None:
    """Make modules.dep and its kin of root/lib/modules/RELEASE. Raises GuestError."""
    tool = shutil.which("depmod", path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
    if not tool:
        raise GuestError("depmod is not installed (Debian's package kmod)")
    try:
        done = subprocess.run([tool, "-b", str(root), release], timeout=300, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True)
    except subprocess.TimeoutExpired:
        raise GuestError("depmod took longer than 300 s") from None
    if done.returncode:
        raise GuestError("depmod: " + debian.first_error(done.stderr, done.returncode))


# A kernel somebody built.


def check_by_hand(conf: KernelConf) -> tuple[str, Path | None]:
    """The release of somebody's kernel, and the folder above its lib/modules/RELEASE (None: no --modules was given).
    Raises GuestError, one line, where the two do not fit, or where without modules there would be no guest."""
    assert conf.path is not None
    release = image_release(conf.path)
    if conf.modules:
        return release, _module_folder(conf.modules, release, conf.path)
    for source, config in find_configs(conf.path, None, release):
        wanted = [option for option in _listed(wish=False) if option.endswith("=m")]
        builtin = [option[:-1] + "y" for option in wanted]
        if missing_options(config, tuple(builtin)) and not missing_options(config, tuple(wanted)):
            raise GuestError(f"{conf.path} ({release}) needs --modules DIR, with lib/modules/{release} in it: of "
                             f"{source} these are modules: "
                             f"{' '.join(o[:-2] for o in missing_options(config, tuple(builtin)))}")
        break
    return release, None


def _by_hand(conf: KernelConf, log: Log) -> Kernel:
    release, folder = check_by_hand(conf)
    assert conf.path is not None
    for source, config in find_configs(conf.path, conf.modules, release):
        lacking = missing_options(config, _listed(wish=False))
        if lacking:
            raise GuestError(f"{conf.path} cannot boot as a guest: {source} has no "
                             f"{', '.join(lacking)}")
        wished = missing_options(config, _listed(wish=True))
        if wished:
            log(f"{source} has no {', '.join(wished)}: what needs it will be missing")
        break
    else:
        log(f"no configuration of {conf.path} found: what it lacks shows when it boots"
            + ("" if folder else "; no --modules given: all that a guest needs must be built in"))
    if folder is None and _config_has_modules(conf.path, release):
        log(f"no --modules given: {conf.path} must have everything it needs built in")
    initramfs = build_initramfs(conf.name, folder and folder / "lib/modules" / release, log)
    return Kernel(conf.name, release.split("-")[0].split("+")[0], release, conf.path, folder,
                  initramfs, "by hand")


def _config_has_modules(path: Path, release: str) -> bool:
    return any("CONFIG_MODULES=y" in text for _, text in find_configs(path, None, release))


def _module_folder(modules: Path, release: str, image: Path) -> Path:
    """The folder above lib/modules/RELEASE. Takes lib/modules and the leaf itself as well."""
    if not modules.is_dir():
        raise GuestError(f"--modules {modules}: no such folder")
    tries = [modules]
    if modules.name == release:
        tries.append(modules.parent.parent.parent)
    if modules.name == "modules":
        tries.append(modules.parent.parent)
    for folder in tries:
        if (folder / "lib/modules" / release).is_dir():
            return folder
    others = _releases(modules)
    raise GuestError(f"--modules {modules}: has no lib/modules/{release}, and {image} is {release}; "
                     + (f"it has {' '.join(others)}" if others else "it has no modules of any kernel")
                     + " (make modules_install INSTALL_MOD_PATH=DIR)")


def _releases(modules: Path) -> list[str]:
    """Whose modules a folder has, that is given for lib/modules, what is above it, or a leaf of it."""
    if not (modules / "lib/modules").is_dir() and (modules / "modules.dep").exists():
        return [modules.name]
    above = modules if modules.name == "modules" else modules / "lib/modules"
    return sorted(leaf.name for leaf in above.glob("*") if leaf.is_dir())


def image_release(path: Path) -> str:
    """The release that a bzImage's header names. Raises GuestError.

    Layout: Documentation/arch/x86/boot.rst: "HdrS" at 0x202, kernel_version at 0x20e, an offset
    from 0x200 to a string that begins with the release.
    """
    with plain_errors(str(path)), open(path, "rb") as file:
        head = file.read(0x10000)
    if head[0x202:0x206] != b"HdrS":
        raise GuestError(f"{path} is no bzImage")
    start = int.from_bytes(head[0x20e:0x210], "little") + 0x200
    words = head[start:start + 256].split(b"\0")[0].decode(errors="replace").split()
    if not words:
        raise GuestError(f"{path} does not say which release it is")
    return words[0]


def image_payload(path: Path) -> bytes:
    """The decompressed kernel inside a bzImage, b"" if its compression is unknown."""
    data = path.read_bytes()
    sectors = data[0x1f1] or 4
    start = (sectors + 1) * 512 + int.from_bytes(data[0x248:0x24c], "little")
    packed = data[start:start + int.from_bytes(data[0x24c:0x250], "little")]
    try:
        if packed[:2] == b"\x1f\x8b":
            return zlib.decompressobj(31).decompress(packed)
        if packed[:6] == b"\xfd7zXZ\0":
            return lzma.LZMADecompressor().decompress(packed)
        if packed[:4] == b"\x28\xb5\x2f\xfd":
            return unzstd(packed)
    except (zlib.error, lzma.LZMAError, GuestError):
        pass
    return b""


def find_configs(image: Path, modules: Path | None, release: str):
    """(where, text) of the configurations that can be found for an image, the surest first."""
    tree = [parent / ".config" for parent in list(image.parents)[1:4]]  # of arch/x86/boot/bzImage
    named = [image.parent / f"config-{release}"]
    named += [image.parent / "config"] if image.parent.name == release else []  # some have the image there
    if modules:
        leaves = [modules / "lib/modules" / release, modules / release, modules][:3 if modules.name == release else 2]
        named += [modules / f"boot/config-{release}", modules / f"config-{release}"]
        named += [leaf / "config" for leaf in leaves]
        tree += [*(leaf / "build/.config" for leaf in leaves), modules / ".config", modules.parent / ".config"]
    inside = _ikconfig(image_payload(image))
    if inside:
        yield str(image), inside
    for place in [*named, *tree, Path(f"/boot/config-{release}")]:
        try:
            text = place.read_text(errors="replace")
        except OSError:
            continue
        if place in named or _is_of(text, release):
            yield str(place), text


def _is_of(config: str, release: str) -> bool:
    """Whether a configuration that does not say so by its name may be of this release: a tree moves on, and
    a .config may be of another tree. Its head names the version without what is local."""
    head = re.search(r"^# Linux/\S+ (\S+) Kernel Configuration$", config, re.M)
    return head is None or release.startswith(head[1])


def _ikconfig(kernel: bytes) -> str:
    start = kernel.find(b"IKCFG_ST\x1f\x8b")
    if start < 0:
        return ""
    try:
        return zlib.decompressobj(31).decompress(kernel[start + 8:]).decode(errors="replace")
    except zlib.error:
        return ""


def _listed(wish: bool) -> tuple[str, ...]:
    """The options of kernel.config: those that must be, or the wishes."""
    lines = [line.split("#")[0].strip() for line in WISHES.read_text().splitlines()]
    return tuple(line.lstrip("?") for line in lines if line and line.startswith("?") == wish)


def missing_options(config: str, wanted: tuple[str, ...]) -> list[str]:
    """Those of wanted (CONFIG_X=y: built in; =m: a module or built in) that a .config lacks."""
    have = dict(re.findall(r"^(CONFIG_\w+)=([ym])$", config, re.M))
    out = []
    for option in wanted:
        key, _, value = option.partition("=")
        if have.get(key) != "y" and not (value == "m" and have.get(key) == "m"):
            out.append(option)
    return out
