# SPDX-License-Identifier: GPL-2.0
"""What a guest is made of: mirrors, packages, modules, archives."""

import gzip
import lzma
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness.guest import GuestError, debian, initramfs, modules
from harness.guest.cpio import CpioWriter


class Mirrors(unittest.TestCase):
    def test_own_archive_only(self) -> None:
        text = ("Debian|Debian-Security|http://sec.example/|bookworm-security|x|main\n"
                "Other|Other|http://other.example/|stable|stable|main\n"
                "Debian|Debian|http://deb.example/debian/|bookworm|oldstable|main\n"
                "Debian|Debian|http://deb.example/debian/|bookworm-updates|x|main\n"
                "Debian|Debian|http://nonfree.example/debian/|bookworm|x|contrib\n"
                "garbage\n")
        self.assertEqual(debian.parse_mirrors(text), ["http://deb.example/debian/"])
        self.assertEqual(debian.parse_mirrors(text, security=True), ["http://sec.example/"])

    def test_before_any_update(self) -> None:
        """Without fetched lists apt leaves the names of origin and codename as they were."""
        text = ("$(ORIGIN)|$(LABEL)|http://sec.example/|$(CODENAME)|bookworm-security|main\n"
                "$(ORIGIN)|$(LABEL)|http://deb.example/debian/|$(CODENAME)|bookworm|main\n"
                "$(ORIGIN)|$(LABEL)|http://js.example/|$(CODENAME)|nodistro|main\n")
        self.assertEqual(debian.parse_mirrors(text), ["http://deb.example/debian/"])
        self.assertEqual(debian.parse_mirrors(text, security=True), ["http://sec.example/"])

    def test_none(self) -> None:
        with mock.patch.object(debian, "_run", return_value=""):
            with self.assertRaisesRegex(GuestError, "no Debian mirror"):
                debian.configured_mirrors()


STANZAS = {
    "linux-image-amd64": "Package: linux-image-amd64\nVersion: 7.3.4-1~bpo13+1\nDepends: "
                         "linux-base-amd64 (= 7.3.4-1~bpo13+1), linux-image-7.3.4+deb13-amd64 "
                         "(= 7.3.4-1~bpo13+1), linux-modules-amd64 (= 7.3.4-1~bpo13+1)\n",
    "linux-image-7.3.4+deb13-amd64":
        "Package: linux-image-7.3.4+deb13-amd64\nVersion: 7.3.4-1~bpo13+1\nDepends: dracut | "
        "initramfs-tools (>= 0.120) | linux-initramfs-tool, linux-base-7.3.4+deb13-amd64 (= 1), "
        "linux-binary-7.3.4+deb13-amd64 (= 1), linux-modules-7.3.4+deb13-amd64 (= 1)\n"
        "Pre-Depends: linux-base (>= 4.17~)\nDescription: x\n Depends: not this\n",
}


class Packages(unittest.TestCase):
    def suite(self, stanzas: dict[str, str]) -> debian.Suite:
        with mock.patch.object(debian, "cache_dir", return_value=Path("/nonexistent")):
            suite = debian.Suite("s", "http://deb.example/")
        suite.show = lambda name: debian.parse_package(stanzas[name])  # type: ignore
        return suite

    def test_split_kernel(self) -> None:
        found = self.suite(STANZAS).kernel()
        self.assertEqual((found.release, found.version), ("7.3.4+deb13-amd64", "7.3.4"))
        self.assertEqual(found.packages, tuple(f"linux-{part}-7.3.4+deb13-amd64" for part in (
            "image", "base", "binary", "modules")))

    def test_parts_that_have_left_the_mirror(self) -> None:
        """Without linux-base an old kernel runs all the same; without its modules it is none that there is."""
        release, suite = "7.3.4+deb13-amd64", self.suite({})
        for there, want in (("image base binary modules", "image base binary modules"), ("image binary modules", "image binary modules"),
                            ("image base binary", ""), ("image base modules", "")):
            names = "".join(f"linux-{part}-{release}\n" for part in there.split())
            with mock.patch.object(debian, "_run", side_effect=lambda argv, *_, names=names: names if argv[1] == "pkgnames" else
                                   STANZAS[f"linux-image-{release}"]):
                self.assertEqual([k.packages for k in suite._read_kernels()],  # noqa: SLF001
                                 [tuple(f"linux-{part}-{release}" for part in want.split())] if want else [])

    def test_no_image(self) -> None:
        with self.assertRaisesRegex(GuestError, "leads to no linux-image"):
            self.suite({"linux-image-amd64": "Package: linux-image-amd64\nVersion: 1\n"}).kernel()
        with self.assertRaises(GuestError):
            debian.parse_package("")

    def test_first_error(self) -> None:
        self.assertEqual(debian.first_error("W: a\nE: Failed to fetch x\n", 100),
                         "E: Failed to fetch x")
        self.assertIn("no space", debian.first_error("E: Write error - write (28: No space left on "
                                                     "device)\n", 100))
        self.assertEqual(debian.first_error("", 3), "exit status 3")


DEP = """\
kernel/drivers/nd_pmem.ko.xz: kernel/drivers/nd-btt.ko.xz kernel/drivers/libnvdimm.ko.xz
kernel/drivers/nd-btt.ko.xz: kernel/drivers/libnvdimm.ko.xz
kernel/drivers/libnvdimm.ko.xz:
kernel/fs/9p/9p.ko.zst: kernel/net/9p/9pnet.ko.gz
kernel/net/9p/9pnet.ko.gz:
kernel/a.ko: kernel/b.ko
kernel/b.ko: kernel/a.ko
"""


class Modules(unittest.TestCase):
    def tree(self) -> modules.ModuleTree:
        tree = modules.ModuleTree(builtin={"virtio_pci"})
        modules.parse_dep(DEP, tree)
        modules.parse_softdep("# x\nsoftdep 9p pre: nd-pmem post: a\nsoftdep 9pnet pre:\n", tree)
        return tree

    def test_names(self) -> None:
        for path in ("kernel/x/nd-pmem.ko", "nd_pmem.ko.xz", "a/nd-pmem.ko.gz", "nd-pmem.ko.zst"):
            self.assertEqual(modules.module_name(path), "nd_pmem")

    def test_order(self) -> None:
        order, missing = self.tree().closure(["nd-pmem", "virtio_pci", "no-such"])
        self.assertEqual([modules.module_name(path) for path in order],
                         ["libnvdimm", "nd_btt", "nd_pmem"])
        self.assertEqual(missing, ["no_such"])

    def test_softdep_and_circle(self) -> None:
        order, _ = self.tree().closure(["9p", "a", "9p"])
        names = [modules.module_name(path) for path in order]
        self.assertEqual(names[:5], ["libnvdimm", "nd_btt", "nd_pmem", "9pnet", "9p"])
        self.assertEqual(sorted(names[5:]), ["a", "b"])

    def test_read(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, data in (("a.ko", b"elf"), ("a.ko.xz", lzma.compress(b"elf")),
                               ("a.ko.gz", gzip.compress(b"elf"))):
                path = Path(folder, name)
                path.write_bytes(data)
                self.assertEqual(modules.read_module(path), b"elf")
            path.write_bytes(b"no gzip at all")
            with self.assertRaisesRegex(GuestError, "cannot read the module"):
                modules.read_module(path)
            with self.assertRaisesRegex(GuestError, "depmod"):
                modules.load_tree(Path(folder))


class Archives(unittest.TestCase):
    def test_cpio_reads_it(self) -> None:
        if not shutil.which("cpio"):
            self.skipTest("cpio is not installed")
        archive = CpioWriter()
        archive.directory("d")
        archive.file("d/f", b"12345", 0o755)
        archive.symlink("s", "d/f")
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["cpio", "-idm", "--quiet"], input=archive.data(), cwd=folder,
                           check=True, timeout=30)
            self.assertEqual(Path(folder, "s").read_bytes(), b"12345")
            self.assertTrue(os.access(Path(folder, "d/f"), os.X_OK))

    def test_same_input_same_bytes(self) -> None:
        def make() -> bytes:
            archive = CpioWriter()
            archive.file("f", b"x" * 4095)
            return archive.data()
        self.assertEqual(make(), make())
        self.assertEqual(len(make()) % 512, 0)

    def test_static(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"#!/bin/sh\n")
            file.flush()
            self.assertFalse(initramfs._is_static(Path(file.name)))
