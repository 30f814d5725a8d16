# SPDX-License-Identifier: GPL-2.0
"""Which kernels can be had, and which of them is meant by a version."""

import json
import os
import random
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness.guest import GuestError, available, debian, kernel
from harness.guest.conf import of_version, parse_kernel_conf


class OfVersion(unittest.TestCase):
    """Kernels by their package's version, with an apt of a few lines."""

    OFFERED = ("6.1.170-3", "6.1.172-1~deb11u1", "6.1.172-1", "6.1.180-1~deb11u1", "6.12.115-1", "6.12.115-2",
               "6.12.115-2~deb12u1", "7.3.4-1~bpo13+1")

    def among(self) -> list[available.Available]:
        return [available.Available(v, f"{v}-amd64") for v in self.OFFERED]

    def test_names(self) -> None:
        for name in ("6.12.107", "6.12.107-1", "7.3.4-1~bpo13+1", "6.16-1~exp1", "7.3~rc7-1~exp1",
                     "6.12.90+deb12.1-amd64"):
            self.assertTrue(available.is_version(name), name)
        for name in ("6.12", "newest", "a/6.12.107", "6.12.107 x"):
            self.assertFalse(available.is_version(name), name)

    def test_choose(self) -> None:
        for name, found in (("6.1.170", "6.1.170-3"), ("6.1.172", "6.1.172-1"), ("7.3.4", "7.3.4-1~bpo13+1"),
                            ("6.1.172-1~deb11u1", "6.1.172-1~deb11u1"), ("6.1.180", "6.1.180-1~deb11u1"),
                            ("6.12.115-2", "6.12.115-2"),
                            ("6.1.170-3-amd64", "6.1.170-3")):
            self.assertEqual(available.choose(name, self.among()).package_version, found)
        for name, says in (("6.12.115", "^6.12.115 may be 6.12.115-1 or 6.12.115-2$"),
                           ("6.1.171", "of 6.1 there are: 6.1.170 6.1.172 6.1.180$"), ("9.9.9", "kernels-available")):
            with self.assertRaisesRegex(available.Unknown, says):
                available.choose(name, self.among())

    def test_order_is_dpkg_s(self) -> None:
        if not shutil.which("dpkg"):
            self.skipTest("dpkg is not installed")
        rng = random.Random(11)
        words = ["1", "0", "9", "12", ".", "~", "+", "-", "a", "bpo", "Z", "~deb12u1"]
        for _ in range(150):
            one, two = ("".join([rng.choice(["", "", "1:"]), rng.choice("123"),
                                 *rng.choices(words, k=rng.randint(0, 6)), "1"]) for _ in range(2))
            if rng.random() < 0.5:
                two = one + rng.choice(words[:10]) + "1"
            newer = subprocess.run(["dpkg", "--compare-versions", one, "gt", two], timeout=30,
                                   capture_output=True).returncode == 0
            self.assertEqual(debian.version_key(one) > debian.version_key(two), newer, (one, two))

    def test_suites(self) -> None:
        confs = [parse_kernel_conf(f"SUITE='{suites}'\n", "n", "n.conf") for suites in ("a", "b-backports a x")]
        names = available.suites_of(confs)
        self.assertEqual(len(names), len(set(names)))
        for name in ("a", "a-security", "a-updates", "b", "b-security", "b-backports", "x-security"):
            self.assertIn(name, names)

    def test_offered(self) -> None:
        """Kernels of all suites that answer; metapackages and other flavours are none."""
        stanzas = ("Package: linux-image-6.1.0-1-amd64\nVersion: 6.1.9-1\nDepends: kmod\n\n"
                   "Package: linux-image-6.1-amd64\nVersion: 6.1.10-1\n"
                   "Depends: linux-image-6.1.0-2-amd64 (= 6.1.10-1)\n\n"
                   "Package: linux-image-6.1.0-2-amd64\nVersion: 6.1.10-1\nDepends: kmod\n\n")

        def run(argv: list[str], *_: object) -> str:
            if "indextargets" in argv:
                return ("Debian|Debian|http://deb.example/|s|s|main\n"
                        "Debian|Debian-Security|http://sec.example/|s-security|s-security|main\n")
            suite = Path(_[2]["APT_CONFIG"]).parent.name  # type: ignore[index]
            asked.append((suite, argv[0], argv[-1]))
            if suite not in ("s", "s-security"):
                raise GuestError(f"{suite} does not have a Release file.")
            if "pkgnames" in argv:
                return ("linux-image-amd64 linux-image-6.1.0-1-amd64 linux-image-6.1.0-2-amd64 linux-image-6.1-amd64 "
                        "linux-image-6.1.0-1-cloud-amd64 linux-image-6.1.0-1-rt-amd64 linux-image-6.1.0-1-amd64-dbg "
                        "linux-image-6.1.0-1-amd64-unsigned").replace(" ", "\n")
            return stanzas if suite == "s" else stanzas.split("\n\n")[0]
        asked: list[tuple[str, str, str]] = []
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"XDG_CACHE_HOME": folder}), \
                mock.patch.object(debian, "_run", run), mock.patch.object(debian.glob, "glob", return_value=["k.gpg"]):
            confs = [parse_kernel_conf("SUITE=s\n", "n", "n.conf")]
            found = available.everything(confs, lambda text: None)
            self.assertEqual([(a.package_version, a.release, a.suites) for a in found],
                             [("6.1.9-1", "6.1.0-1-amd64", ("s", "s-security")), ("6.1.10-1", "6.1.0-2-amd64", ("s",))])
            self.assertNotIn("unsigned", "".join(name for *_, name in asked))
            listed = Path(folder, "pinfault/apt/s-security/sources.list").read_text()
            self.assertIn("http://sec.example/ s-security", listed)
            asked.clear()
            self.assertEqual(available.everything(confs, lambda text: None), found)
            self.assertEqual(asked, [])  # neither what is known, nor what is known not to be there

    def test_one_that_is_kept_needs_no_mirror(self) -> None:
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"XDG_CACHE_HOME": folder}), \
                mock.patch.object(debian, "_run", side_effect=GuestError("no network")):
            kept = Path(folder, "pinfault/kernels/6.1-6.1.0-1-amd64")
            kept.mkdir(parents=True)
            (kept / "image").write_text("")
            (kept / available.META).write_text(json.dumps({
                "name": "6.1", "package_version": "6.1.9-1", "release": "6.1.0-1-amd64", "version": "6.1.9",
                "suite": "s", "image": "image", "checked_s": 0}))
            said: list[str] = []
            for name in ("6.1.9-1", "6.1.9"):
                self.assertEqual(available.find(name, [], said.append).folder, kept)
            self.assertEqual(said, ["no network; only the kernels in the cache can be had"])
            with mock.patch.object(kernel, "build_initramfs", return_value=Path("/i")), \
                    mock.patch.object(kernel, "_plain_image", return_value=None):
                made = kernel.obtain(of_version("6.1.9-1"), said.append)
            self.assertEqual((made.name, made.image, made.package_version), ("6.1.9-1", kept / "image", "6.1.9-1"))
            with self.assertRaisesRegex(GuestError, "no network"):
                with mock.patch.object(available, "kept", return_value=[]):
                    kernel.obtain(of_version("6.1.8-1"), said.append)


if __name__ == "__main__":
    unittest.main()
