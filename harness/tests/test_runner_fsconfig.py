# SPDX-License-Identifier: GPL-2.0
"""fs-configs/*.conf and xfstests' local.config."""

import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness.runner.errors import UsageError
from harness.runner.fsconfig import FSTYPES, import_local_config, load_all, parse, plain_name
from harness.runner.fsops import _MKFS

ROOT = Path(__file__).resolve().parents[2]


class Files(unittest.TestCase):
    def setUp(self) -> None:
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def write(self, text: str, name: str = "x.conf") -> Path:
        path = Path(self.dir.name, name)
        path.write_text(text)
        return path

    def bad(self, text: str, line: int, says: str) -> None:
        path = self.write(text)
        with self.assertRaisesRegex(UsageError, says) as caught:
            parse(path)
        self.assertTrue(str(caught.exception).startswith(f"{path}:{line}:"), str(caught.exception))


class Conf(Files):
    def test_what_can_be_made_is_known_by_name(self) -> None:
        self.assertEqual(sorted(FSTYPES), sorted([*_MKFS, "tmpfs"]))

    def test_shipped(self) -> None:
        configs = load_all(ROOT / "fs-configs")
        self.assertLessEqual({"xfs-dax", "ext4-dax", "ext2-dax", "xfs", "ext4", "btrfs", "tmpfs"}, set(configs))
        for name, config in configs.items():
            self.assertEqual(name.endswith("-dax"), config.proves.get("dax") == "1", name)
            self.assertEqual(name.endswith("-dax"), config.requires == "pmem", name)
            self.assertEqual(name.endswith("-quota"), config.proves.get("quota") == "1", name)
            self.assertEqual(name.endswith("-quota") or "-exchange" in name, not config.default, name)

    def test_quoting(self) -> None:
        config = parse(self.write("# c\nFSTYP=ext4\nMKFS_OPTIONS='-b 4096 -L \"a b\"'  # end\n"))
        self.assertEqual(config.mkfs_options, ("-b", "4096", "-L", "a b"))

    def test_errors(self) -> None:
        self.bad("FSTYP=xfs\nMOUNT_OPTION=x\n", 2, "unknown variable")
        self.bad("FSTYP=xfs\nFSTYP=ext4\n", 2, "twice")
        self.bad("\nFSTYP=exfat\n", 2, "unknown FSTYP 'exfat'")
        self.bad("FSTYP=xfs\nDEFAULT=never\n", 2, "DEFAULT is 'never', not yes or no")
        self.bad("FSTYP=xfs\nRACE_WITHOUT=zero-range\n", 2, "RACE_WITHOUT wants KEY=VALUE")
        self.bad("\nFSTYP=\"xfs\n", 2, "quotation")
        self.bad("MOUNT_OPTIONS=\n", 1, "FSTYP is missing")
        self.bad("FSTYP=xfs\nREQUIRES=floppy\n", 2, "floppy")
        self.bad("FSTYP=xfs\n\nPROVES=dax\n", 3, "KEY=VALUE")
        self.bad("nonsense\n", 1, "NAME=VALUE")


class LocalConfig(Files):
    TEXT = """
export TEST_DEV=/dev/sda1
[plain]
FSTYP=xfs
MKFS_OPTIONS="-m reflink=1"
MOUNT_OPTIONS='-o noatime'
[same]
SCRATCH_MNT=/mnt/scratch
[other]
FSTYP=ext4
[dax]
MOUNT_OPTIONS="-o dax"
[own]
MKFS_OPTIONS="-O bigalloc"
export FSTYP=ext3
"""

    def section(self, name: str):
        return import_local_config(self.write(self.TEXT, "local.config"), name)

    def test_carry_over(self) -> None:
        self.assertEqual(self.section("same").mkfs_options, ("-m", "reflink=1"))
        self.assertEqual(self.section("same").mount_options, ("-o", "noatime"))

    def test_reset_with_fstyp(self) -> None:
        self.assertEqual(self.section("other").mkfs_options, ())
        self.assertEqual(self.section("other").mount_options, ())

    def test_options_of_the_section_itself_survive(self) -> None:
        self.assertEqual(self.section("own").mkfs_options, ("-O", "bigalloc"))
        self.assertEqual(self.section("own").mount_options, ())

    def test_dax_is_noticed(self) -> None:
        self.assertEqual(self.section("dax").requires, "pmem")
        self.assertEqual(self.section("dax").proves, {"dax": "1"})

    def refused(self, text: str, section: str | None, says: str) -> None:
        with self.assertRaisesRegex(UsageError, says):
            import_local_config(self.write(text, "local.config"), section)

    def test_which_section(self) -> None:
        """Lines before the first section are everybody's, and no section."""
        self.refused(self.TEXT, "nothere", r"no section \[nothere\]; there are: \[plain\] \[same\] \[other\] ")
        self.refused(self.TEXT, None, r"--section: \[plain\] ")
        self.refused("[a b]\nTEST_DEV=/dev/sda\n", "a b", r"\[a b\] has no FSTYP")
        self.refused("", None, "has no FSTYP")
        self.refused("[a]\n\nFSTYP=exfat\n", "a", r"local.config:3: unknown FSTYP 'exfat': did you mean ext")
        for text in ("TEST_DEV=/dev/x\n[a b] # only one\nFSTYP=xfs\n", "export FSTYP=xfs\n"):
            self.assertEqual(import_local_config(self.write(text, "local.config"), None).fstype, "xfs")

    def test_variables(self) -> None:
        text = ("COMMON=\"-m reflink=1\"   # \"all\" of them\nSIZE='64m'\n[a]\nFSTYP=xfs\n"
                "MKFS_OPTIONS=\"$COMMON,crc=1 -l size=${SIZE}\" # and more\nMOUNT_OPTIONS=-o noatime,$PINFAULT_X\n")
        with mock.patch.dict(os.environ, PINFAULT_X="nodiscard"):
            config = import_local_config(self.write(text, "local.config"), "a")
        self.assertEqual(config.mkfs_options, ("-m", "reflink=1,crc=1", "-l", "size=64m"))
        self.assertEqual(config.mount_options, ("-o", "noatime,nodiscard"))
        config = import_local_config(self.write("[a]\nFSTYP=xfs\nMKFS_OPTIONS='-L $HOME'\n", "local.config"), "a")
        self.assertEqual(config.mkfs_options, ("-L", "$HOME"))
        for value, says in (("$NOT_SET_HERE", ":3: .NOT_SET_HERE is not set"), ("`uname`", "wants a shell"),
                            ("$(uname)", "wants a shell"), ("${HOME:-x}", "wants a shell")):
            self.refused(f"[a]\nFSTYP=xfs\nMKFS_OPTIONS=\"{value}\"\n", "a", says)

    def test_no_device_is_used(self) -> None:
        for options in ("MKFS_OPTIONS='-l logdev=/dev/sdb1'", "MKFS_OPTIONS='-J device=UUID=0'",
                        "MKFS_OPTIONS='-d name=disk'", "MKFS_OPTIONS=/dev/sdb", "MOUNT_OPTIONS='-o logdev=/dev/sdb'"):
            self.refused(f"[a]\nFSTYP=xfs\n{options}\n", "a", "local.config:3: M.*_OPTIONS names a device")
        self.refused("[a]\nFSTYP=xfs\nUSE_EXTERNAL=yes\nSCRATCH_LOGDEV=/dev/sdb\n", "a", ":3: USE_EXTERNAL")

    def test_names(self) -> None:
        for text, name in (("a b", "a-b"), ("..", "unnamed"), ("-x*", "x-"), ("held-punch.2", "held-punch.2"), ("m\n1", "m-1")):
            self.assertEqual(plain_name(text), name)

    def test_malformed(self) -> None:
        with self.assertRaisesRegex(UsageError, r"local.config:2: "):
            import_local_config(self.write("[a]\nnot a setting\n", "local.config"), "a")


if __name__ == "__main__":
    unittest.main()
