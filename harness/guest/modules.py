# SPDX-License-Identifier: GPL-2.0
"""Kernel module trees: which files a module needs, in what order, and their plain contents."""

import gzip
import lzma
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from .errors import GuestError

SUFFIXES = (".ko", ".ko.xz", ".ko.gz", ".ko.zst")


def module_name(path: str) -> str:
    """The name a module is loaded by: nd_pmem of kernel/drivers/nvdimm/nd-pmem.ko.xz."""
    base = path.rsplit("/", 1)[-1]
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if base.endswith(suffix):
            base = base[: -len(suffix)]
            break
    return base.replace("-", "_")


@dataclass
class ModuleTree:
    """What modules.dep, modules.softdep and modules.builtin of one lib/modules/RELEASE say."""

    paths: dict[str, str] = field(default_factory=dict)
    depends: dict[str, list[str]] = field(default_factory=dict)
    pre: dict[str, list[str]] = field(default_factory=dict)
    builtin: set[str] = field(default_factory=set)

    def closure(self, names: list[str]) -> tuple[list[str], list[str]]:
        """(paths in the order to load them, names that are neither modules nor built in).

        A dependency comes before what needs it, and every path once.
        """
        order: list[str] = []
        missing: list[str] = []
        for name in names:
            name = name.replace("-", "_")
            if name in self.paths:
                self._visit(name, order, set())
            elif name not in self.builtin:
                missing.append(name)
        return order, missing

    def _visit(self, name: str, order: list[str], above: set[str]) -> None:
        path = self.paths.get(name)
        if path is None or path in order or name in above:
            return  # built in, already there, or a circle of soft dependencies
        for need in self.pre.get(name, []) + self.depends.get(name, []):
            self._visit(need, order, above | {name})
        if path not in order:
            order.append(path)


def parse_dep(text: str, tree: ModuleTree) -> None:
    """modules.dep: `path: path path...`, where the last of a line must be loaded first."""
    for line in text.splitlines():
        path, sep, rest = line.partition(":")
        if not sep:
            continue
        name = module_name(path)
        tree.paths[name] = path
        tree.depends[name] = [module_name(need) for need in reversed(rest.split())]


def parse_softdep(text: str, tree: ModuleTree) -> None:
    """modules.softdep: `softdep NAME pre: A B post: C`; only what comes before is followed."""
    for line in text.splitlines():
        words = line.split()
        if len(words) < 3 or words[0] != "softdep":
            continue
        into: list[str] | None = None
        for word in words[2:]:
            if word.endswith(":"):
                into = tree.pre.setdefault(words[1].replace("-", "_"), []) \
                    if word == "pre:" else None
            elif into is not None:
                into.append(word.replace("-", "_"))


def load_tree(root: Path) -> ModuleTree:
    """Read the tree of a lib/modules/RELEASE folder. Raises GuestError if depmod never ran."""
    tree = ModuleTree()
    try:
        parse_dep((root / "modules.dep").read_text(), tree)
    except OSError as err:
        raise GuestError(f"{root}/modules.dep: {err.strerror} (depmod makes it)") from None
    for name, reader in (("modules.softdep", parse_softdep), ("modules.builtin", _parse_builtin)):
        if (root / name).exists():
            reader((root / name).read_text(), tree)
    return tree


def _parse_builtin(text: str, tree: ModuleTree) -> None:
    tree.builtin.update(module_name(line) for line in text.split())


def read_module(path: Path) -> bytes:
    """A module's ELF, decompressed. Raises GuestError."""
    try:
        raw = path.read_bytes()
        if path.name.endswith(".xz"):
            return lzma.decompress(raw)
        if path.name.endswith(".gz"):
            return gzip.decompress(raw)
        if path.name.endswith(".zst"):
            return unzstd(raw)
        return raw
    except (OSError, lzma.LZMAError, EOFError) as err:
        raise GuestError(f"cannot read the module {path}: {err}") from None


def unzstd(raw: bytes) -> bytes:
    """Decompress with the zstd tool: this Python has no such module. Raises GuestError."""
    try:
        done = subprocess.run(["zstd", "-dcq"], input=raw, capture_output=True, timeout=60)
    except FileNotFoundError:
        raise GuestError("zstd is not installed, and this kernel is compressed with it") from None
    except subprocess.TimeoutExpired:
        raise GuestError("zstd took longer than 60 s") from None
    if not done.stdout:
        raise GuestError(f"zstd: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
