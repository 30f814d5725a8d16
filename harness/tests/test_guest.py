# SPDX-License-Identifier: GPL-2.0
"""Guests without booting one: kernel files, the command line, console."""

import gzip
import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness.guest import GuestDied, GuestError, GuestTimeout, load_kernels
from harness.guest import cache, guest, kernel, qemu
from harness.guest.conf import handmade, parse_kernel_conf
from harness.guest.console import TAIL_LINES, classify_console, console_tail

NULL_DEREF = """\
pinfault-init: ready
[   12.341234] XFS (pmem0): Mounting V5 Filesystem
[   14.123456] BUG: kernel NULL pointer dereference, address: 0000000000000008
[   14.123460] #PF: supervisor read access in kernel mode
[   14.123470] Oops: 0000 [#1] PREEMPT SMP NOPTI
[   14.123480] CPU: 1 PID: 312 Comm: kworker/1:2 Not tainted 6.1.0-50-amd64 #1
[   14.123490] RIP: 0010:rxe_mr_copy.isra.0+0x1c/0x2b0 [rdma_rxe]
[   14.123500] Code: 0f 1f 44 00 00
[   14.123510] Kernel panic - not syncing: Fatal exception
"""
SYSRQ = """\
[   20.000000] sysrq: Trigger a crash
[   20.000010] Kernel panic - not syncing: sysrq triggered crash
[   20.000020] CPU: 0 PID: 400 Comm: sh Not tainted 6.12.107+deb13-amd64
"""
KERNEL_BUG = """\
[    9.1][  T501] ------------[ cut here ]------------
[    9.100000][  T501] kernel BUG at fs/dax.c:412!
[    9.100001][  T501] Oops: invalid opcode: 0000 [#1] SMP NOPTI
[    9.100002][  T501] RIP: 0010:dax_disassociate_entry+0xd1/0x120
"""
INT3 = """\
[    0.512345] int3: 0000 [#1] PREEMPT SMP
[    0.512346] RIP: 0010:pgd_alloc+0x5/0x10
"""
LOCKUP = """\
[   61.0] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [kworker/1:1:45]
[   61.0] RIP: 0010:smp_call_function_many_cond+0x12f/0x3b0
"""
HARMLESS = """\
[    1.035665] mtrr: your CPUs had inconsistent fixed MTRR settings
[    1.494944] acpi/hmat: failed to reserve 0x100000000 - 0x200000000 in pxm: 0
pinfault-init: up
[   30.1] WARNING: CPU: 0 PID: 9 at mm/gup.c:1 try_grab_page+0x1/0x2
[   31.1] RIP: 0010:try_grab_page+0x1/0x2
pinfault-init: failed: BUG: this is init's own word
"""


class Console(unittest.TestCase):
    def title(self, text: str) -> str | None:
        found = classify_console(text)
        return found and found[0]

    def test_titles(self) -> None:
        for text, title in (
                (NULL_DEREF, "BUG: NULL pointer dereference in rxe_mr_copy"),
                (SYSRQ, "panic: sysrq triggered crash"),
                (KERNEL_BUG, "kernel BUG in dax_disassociate_entry"),
                (INT3, "int3 in pgd_alloc"),
                (LOCKUP, "soft lockup in smp_call_function_many_cond"),
                ("[ 1.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\n",
                 "panic: Attempted to kill init! exitcode=ADDR"),
                ("[ 1.0] BUG: KASAN: slab-use-after-free in xfs_iread+0x12/0x90\n",
                 "KASAN: slab-use-after-free in xfs_iread"),
                ("[ 1.0] Oops: general protection fault, probably for non-canonical address "
                 "0xdead000000000100: 0000 [#1] SMP\n[ 1.0] RIP: 0010:__list_del+0x1/0x2\n",
                 "general protection fault in __list_del"),
                ("[ 1.0] BUG: Bad page state in process fio  pfn:12345\n", "BUG: Bad page state")):
            self.assertEqual(self.title(text), title)

    def test_titles_are_constant(self) -> None:
        other = NULL_DEREF.replace("0x1c/", "0x4c/").replace("0008", "ff10")
        self.assertEqual(self.title(other), self.title(NULL_DEREF))

    def test_no_crash(self) -> None:
        self.assertIsNone(classify_console(HARMLESS))
        self.assertIsNone(classify_console(""))

    def test_tail_begins_with_the_report(self) -> None:
        found = classify_console(NULL_DEREF.replace("\n", "\r\n") + "x\n" * 500)
        assert found
        lines = found[1].splitlines()
        self.assertIn("BUG: kernel NULL", lines[0])
        self.assertLessEqual(len(lines), TAIL_LINES)
        self.assertEqual(console_tail("a\n\nb\r\nc\n", 2), "b\nc")


class Conf(unittest.TestCase):
    def test_good(self) -> None:
        conf = parse_kernel_conf('# c\n\nSUITE="a-b c"  # why\nDEFAULT=yes\nMIN_VERSION=6.15\n'
                                 'REQUIRE="CONFIG_X=m CONFIG_Y=y"\nRECHECK_DAYS=7\n', "n", "n.conf")
        self.assertEqual((conf.name, conf.suites, conf.default), ("n", ("a-b", "c"), True))
        self.assertEqual((conf.min_version, conf.recheck_days), ("6.15", 7))
        self.assertEqual(conf.require, ("CONFIG_X=m", "CONFIG_Y=y"))

    def test_bad(self) -> None:
        for text, message in (
                ("SUITE=a\nnonsense\n", "k.conf:2: not KEY=VALUE: nonsense"),
                ("SUITE=a\nSIUTE=b\n", "k.conf:2: unknown key SIUTE"),
                ("SUITE=a\nSUITE=b\n", "k.conf:2: SUITE was already set in line 1"),
                ("SUITE=a b\n", "k.conf:1: SUITE: quote"),
                ("SUITE='a\n", "k.conf:1: SUITE: No closing quotation"),
                ("DEFAULT=yes\n", "k.conf:1: SUITE is missing"),
                ("SUITE=http://x\n", "k.conf:1: SUITE: http://x is no suite"),
                ("SUITE=a\nDEFAULT=true\n", "k.conf:2: DEFAULT is yes or no"),
                ("SUITE=a\n\nMIN_VERSION=new\n", "k.conf:3: MIN_VERSION"),
                ("SUITE=a\nREQUIRE=RXE\n", "k.conf:2: REQUIRE"),
                ("SUITE=a\nRECHECK_DAYS=-1\n", "k.conf:2: RECHECK_DAYS")):
            with self.assertRaisesRegex(GuestError, "^" + message.replace("(", r"\(")):
                parse_kernel_conf(text, "k", "k.conf")

    def test_listed_kernels(self) -> None:
        kernels = load_kernels()
        self.assertEqual(list(kernels), ["5.10", "6.1", "6.12", "newest"])
        self.assertEqual([k.name for k in kernels.values() if k.default], ["6.1", "6.12", "newest"])
        with self.assertRaisesRegex(GuestError, "x.conf:1: not KEY=VALUE"):
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "x.conf").write_text("what\n")
                load_kernels(Path(folder))


class HandMade(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.image = self.root / "bzImage"
        self.write_image(b"6.19.0-rc1-mine (me@here) #1 SMP\0")

    def write_image(self, version: bytes, kernel_bytes: bytes = b"") -> None:
        packed = gzip.compress(kernel_bytes)
        head = bytearray(0x1000)
        head[0x1f1] = 7  # setup sectors: the payload begins at 8 * 512
        head[0x202:0x206] = b"HdrS"
        head[0x20e:0x210] = (0x400).to_bytes(2, "little")
        head[0x24c:0x250] = len(packed).to_bytes(4, "little")
        head[0x600:0x600 + len(version)] = version
        self.image.write_bytes(bytes(head) + packed)

    def test_release(self) -> None:
        self.assertEqual(kernel.image_release(self.image), "6.19.0-rc1-mine")
        self.image.write_bytes(b"x" * 100)
        with self.assertRaisesRegex(GuestError, "is no bzImage"):
            kernel.image_release(self.image)
        with self.assertRaisesRegex(GuestError, "No such file"):
            kernel.image_release(self.root / "none")

    def test_ikconfig(self) -> None:
        inside = b"\x7fELF" + b"IKCFG_ST" + gzip.compress(b"CONFIG_A=y\n") + b"IKCFG_ED"
        self.write_image(b"6.19.0\0", inside)
        found = list(kernel.find_configs(self.image, None, "6.19.0"))
        self.assertEqual(found[0], (str(self.image), "CONFIG_A=y\n"))

    def test_missing_options(self) -> None:
        config = "CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=\"y\"\n"
        self.assertEqual(kernel.missing_options(config, (
            "CONFIG_A=y", "CONFIG_A=m", "CONFIG_B=m", "CONFIG_B=y", "CONFIG_C=m", "CONFIG_D=y")),
            ["CONFIG_B=y", "CONFIG_C=m", "CONFIG_D=y"])

    def test_missing_ones_are_named_before_boot(self) -> None:
        (self.root / "lib/modules/6.19.0-rc1-mine").mkdir(parents=True)
        (self.root / "boot").mkdir()
        (self.root / "boot/config-6.19.0-rc1-mine").write_text("CONFIG_PCI=y\n")
        with self.assertRaisesRegex(GuestError, "has no .*CONFIG_DEVTMPFS=y.*CONFIG_OVERLAY_FS=m"):
            kernel.obtain(handmade(self.image, self.root), lambda text: None)

    def places(self, modules: Path | None = None) -> list[str]:
        return [text.splitlines()[-1] for _, text in kernel.find_configs(self.image, modules, "6.19.0-rc1-mine")]

    def test_configurations_by_their_place(self) -> None:
        """The image itself, then what is named after its release, then what a tree or folder of modules has."""
        tree = self.root / "tree"
        (tree / "arch/x86/boot").mkdir(parents=True)
        (tree / "arch/x86/boot/config-6.19.0-rc1-mine").write_text("beside\n")
        (tree / ".config").write_text("# Linux/x86 6.19.0-rc1 Kernel Configuration\ntree\n")
        self.image = tree / "arch/x86/boot/bzImage"
        self.write_image(b"6.19.0-rc1-mine\0", b"IKCFG_ST" + gzip.compress(b"inside\n"))
        self.assertEqual(self.places(), ["inside", "beside", "tree"])
        leaf = self.root / "m/lib/modules/6.19.0-rc1-mine"
        leaf.mkdir(parents=True)
        (leaf / "config").write_text("of the modules\n")
        for folder in (self.root / "m", leaf.parent, leaf):
            self.assertEqual(self.places(folder), ["inside", "beside", "of the modules", "tree"])

    def test_configuration_of_another_kernel(self) -> None:
        (self.root / "a/b").mkdir(parents=True)
        (self.root / "a/.config").write_text("# Linux/x86 6.1.2 Kernel Configuration\nCONFIG_PCI=y\n")
        self.image = self.root / "a/b/bzImage"
        self.write_image(b"6.19.0-rc1-mine\0")
        self.assertEqual(self.places(), [])

    def test_no_configuration(self) -> None:
        """Said, and gone on with."""
        said: list[str] = []
        with mock.patch.object(kernel, "build_initramfs", return_value=Path("/i")):
            made = kernel.obtain(handmade(self.image, None), said.append)
        self.assertEqual((made.release, made.version), ("6.19.0-rc1-mine", "6.19.0"))
        self.assertEqual(said, [f"no configuration of {self.image} found: what it lacks shows when it boots; no "
                                "--modules given: all that a guest needs must be built in"])

    def test_wishes_are_logged(self) -> None:
        must = "".join(f"{option[:-1]}y\n" for option in kernel._listed(wish=False))
        (self.root / "config-6.19.0-rc1-mine").write_text(must)
        said: list[str] = []
        with mock.patch.object(kernel, "build_initramfs", return_value=Path("/i")):
            kernel.obtain(handmade(self.image, None), said.append)
        self.assertEqual(len(said), 1)
        self.assertRegex(said[0], "has no .*CONFIG_XFS_FS=m.*: what needs it will be missing")

    def test_wrong_modules(self) -> None:
        (self.root / "empty").mkdir()
        (self.root / "m/lib/modules/6.1.0-x").mkdir(parents=True)
        (self.root / "m/lib/modules/6.1.0-x/modules.dep").touch()
        wrong = f"has no lib/modules/6.19.0-rc1-mine, and {self.image} is 6.19.0-rc1-mine; it has "
        for name, says in (("none", f"--modules {self.root}/none: no such folder"),
                           ("empty", f"{wrong}no modules of any"), ("m", f"{wrong}6.1.0-x "),
                           ("m/lib/modules", f"{wrong}6.1.0-x "), ("m/lib/modules/6.1.0-x", f"{wrong}6.1.0-x ")):
            with self.subTest(name), self.assertRaises(GuestError) as caught:
                kernel.obtain(handmade(self.image, self.root / name), lambda text: None)
            self.assertIn(says, str(caught.exception))

    def test_no_modules_where_they_are_needed(self) -> None:
        must = [f"{option[:-1]}y\n" for option in kernel._listed(wish=False)]
        config = self.root / "config-6.19.0-rc1-mine"
        config.write_text("".join(must).replace("CONFIG_9P_FS=y", "CONFIG_9P_FS=m"))
        with self.assertRaises(GuestError) as caught:
            kernel.check_by_hand(handmade(self.image, None))
        self.assertEqual(str(caught.exception), f"{self.image} (6.19.0-rc1-mine) needs --modules DIR, with lib/modules/"
                         f"6.19.0-rc1-mine in it: of {config} these are modules: CONFIG_9P_FS")
        leaf = self.root / "lib/modules/6.19.0-rc1-mine"
        leaf.mkdir(parents=True)
        beside = handmade(leaf / self.image.name, None)
        (leaf / self.image.name).write_bytes(self.image.read_bytes())
        (leaf / "config").write_text(config.read_text())
        with self.assertRaisesRegex(GuestError, f"of {leaf}/config these are modules: CONFIG_9P_FS$"):
            kernel.check_by_hand(beside)
        config.write_text("".join(must))
        self.assertEqual(kernel.check_by_hand(handmade(self.image, None)), ("6.19.0-rc1-mine", None))

    def test_lists(self) -> None:
        must, wish = kernel._listed(wish=False), kernel._listed(wish=True)
        self.assertIn("CONFIG_9P_FS=m", must)
        self.assertIn("CONFIG_RDMA_RXE=m", wish)
        for option in must + wish:
            self.assertRegex(option, r"^CONFIG_\w+=[ym]$")


def a_kernel() -> kernel.Kernel:
    return kernel.Kernel("k", "6.1.1", "6.1.1-x", Path("/k/vmlinuz"), Path("/tmp/k"), Path("/k/i"),
                         "", Path("/k/vmlinux"))


class CommandLine(unittest.TestCase):
    def test_parameters_are_encoded(self) -> None:
        line = qemu.kernel_command_line({"run": "sh -c 'a b%'", "keep": "/tmp/a b\0/tmp/c"})
        self.assertIn("pinfault.run=sh%20-c%20%27a%20b%25%27", line)
        self.assertIn(" lsm=capability ", line)
        self.assertIn("pinfault.keep=/tmp/a%20b pinfault.keep=/tmp/c", line)
        with self.assertRaisesRegex(GuestError, "too long"):
            qemu.kernel_command_line({"run": "x" * 2000})

    def test_host_is_read_only(self) -> None:
        with mock.patch.object(qemu, "qemu_path", return_value="qemu"):
            argv = qemu.qemu_argv(qemu.Machine(a_kernel(), {}, Path("/p,q"), Path("/d"), Path("/c"),
                                               7, "tcg"))
        host = argv[argv.index("-fsdev") + 1]
        self.assertIn("readonly=on", host.split(","))
        self.assertIn("/k/vmlinux", argv)
        self.assertTrue(any("mem-path=/p,,q" in word for word in argv))
        self.assertFalse(any(word.startswith(("-net", "virtio-net")) for word in argv))

    def test_accel_override(self) -> None:
        with mock.patch.dict(os.environ, {"PINFAULT_ACCEL": "tcg"}):
            self.assertEqual(qemu.choose_accel(a_kernel(), print), "tcg")
        with mock.patch.dict(os.environ, {"PINFAULT_ACCEL": "fast"}):
            with self.assertRaisesRegex(GuestError, "PINFAULT_ACCEL"):
                qemu.choose_accel(a_kernel(), print)


# Stands in for QEMU: speaks the agent's protocol on the port's descriptor, and writes a console.
FAKE_QEMU = """\
import os, sys
fd, console = int(sys.argv[1]), sys.argv[2]
port = os.fdopen(fd, "r+b", buffering=0)
print("pinfault-init: ready", file=open(console, "w"))
open(sys.argv[5], "w").close()
for line in iter(port.readline, b""):
    if line == b"hello\\n":
        port.write(b"env a b\\nok\\n")
    elif line == b"crash\\n":
        with open(console, "a") as out:
            out.write("[ 9.9] Kernel panic - not syncing: sysrq triggered crash\\n")
        sys.exit(0)
    elif line == b"quit\\n":
        print("pinfault-init: exit 0", file=open(console, "a"))
        sys.exit(0)
    elif line == b"vanish\\n":
        sys.exit("emulator: something broke")
    elif line.startswith(b"write "):
        for image in sys.argv[3:5]:
            with open(image, "r+b") as file:
                file.write(line[6:])
        port.write(b"written\\n")
    elif line == b"chatter\\n":
        with open(sys.argv[5], "a") as late:
            late.write("one\\ntwo\\nhalf")
        port.write(b"written\\n")
"""


def write_images(made: guest.Guest, what: str) -> None:
    """Have the stand-in write to both of its images."""
    made.send("write " + what)
    assert made.recv(20) == "written"


def in_images(made: guest.Guest) -> set[bytes]:
    """What write_images() last wrote there."""
    found = set()
    for image in (made.disk_path, made.pmem_path):
        with open(image, "rb") as file:
            found.add(file.read(16).partition(b"\n")[0].rstrip(b"\0"))
    return found


class FakeGuests(unittest.TestCase):
    """The life of a Guest, with a few lines of Python in QEMU's place."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.work = Path(folder.name)
        (self.work / "pmem").write_bytes(b"")
        self.script = FAKE_QEMU
        self.logged: list[str] = []
        for target, new in (("prepared_pmem", lambda run, log: self.work / "pmem"),
                            ("choose_accel", lambda conf, log: "tcg"), ("launch", self.launch),
                            ("need_space", lambda path, size: None)):
            patch = mock.patch.object(guest, target, new)
            patch.start()
            self.addCleanup(patch.stop)

    def launch(self, machine: qemu.Machine, errors: Path) -> subprocess.Popen:
        assert machine.port_fd is not None
        with open(errors, "wb") as err:
            return subprocess.Popen(["python3", "-c", self.script, str(machine.port_fd),
                                     str(machine.console), str(machine.disk), str(machine.pmem),
                                     str(machine.late)], pass_fds=(machine.port_fd,), stderr=err)

    def guest(self) -> guest.Guest:
        made = guest.Guest(a_kernel(), Path("/bin/true"), self.work, self.logged.append)
        self.addCleanup(made.close)
        return made

    def died(self, word: str) -> GuestDied:
        made = self.guest()
        made.start(20)
        made.send(word)
        with self.assertRaises(GuestDied) as caught:
            made.recv(20)
        return caught.exception

    def test_hello_and_silence(self) -> None:
        made = self.guest()
        made.start(20)
        self.assertEqual(made.hello, ["env a b"])
        self.assertGreater(made.boot_s, 0)
        self.assertEqual(made.disk_path.stat().st_size, qemu.DISK_MIB << 20)
        with self.assertRaises(GuestTimeout):
            made.recv(0.05)
        own = made.dir
        made.close()
        made.close()
        self.assertFalse(own and own.exists())

    def test_deaths(self) -> None:
        crash = self.died("crash")
        self.assertEqual((crash.reason, crash.crashed), ("panic: sysrq triggered crash", True))
        self.assertEqual(self.died("quit").reason, "the agent ended with status 0")
        vanished = self.died("vanish")
        self.assertIn("something broke", vanished.reason)
        self.assertFalse(vanished.crashed)

    def test_images_survive_a_power_cut(self) -> None:
        made = self.guest()
        made.start(20)
        write_images(made, "before")
        own = made.dir
        self.assertEqual(made.cut_power(), [])
        self.assertFalse(made.alive())
        made.start(20, fresh=False)
        self.assertEqual(made.dir, own)
        self.assertEqual(in_images(made), {b"before"})
        made.start(20)  # and without that, they are new
        self.assertEqual(in_images(made), {b""})

    def test_early_death_after_a_power_cut_keeps_the_images(self) -> None:
        made = self.guest()
        made.start(20)
        write_images(made, "before")
        made.cut_power()
        self.script = ("import os, sys\nif not os.path.exists(sys.argv[2] + '.2'):\n"
                       "    open(sys.argv[2] + '.2', 'w')\n    sys.exit('no luck')\n" + self.script)
        made.start(20, fresh=False)
        self.assertEqual(len(self.logged), 1)
        self.assertEqual(in_images(made), {b"before"})

    def test_forgotten_images(self) -> None:
        made = self.guest()
        made.start(20)
        write_images(made, "before")
        made.keep_images()
        write_images(made, "after")
        for cut in range(2):  # put back once, not for ever
            made.cut_power()
            made.start(20, fresh=False)
            self.assertEqual(in_images(made), {b"after" if cut else b"before"})
            write_images(made, "after")

    def test_last_words_before_a_power_cut(self) -> None:
        made = self.guest()
        made.start(20)
        made.send("chatter")
        self.assertEqual(made.recv(20), "written")
        self.assertEqual(made.cut_power(), ["one", "two"])
        with self.assertRaisesRegex(GuestDied, "dead before"):
            made.cut_power()

    def test_no_power_cut_of_the_dead(self) -> None:
        made = self.guest()
        made.start(20)
        made.send("crash")
        with self.assertRaises(GuestDied):
            made.recv(20)
        with self.assertRaises(GuestDied) as caught:
            made.cut_power()
        self.assertTrue(caught.exception.crashed)

    def test_early_death_is_tried_again(self) -> None:
        self.script = "import sys; sys.exit('no luck')"
        with self.assertRaisesRegex(guest.BootError, "did not come up in 3 tries: .*no luck"):
            self.guest().start(20)
        self.assertEqual(len(self.logged), 2)

    def test_stale_folders(self) -> None:
        stale, fresh = self.work / (guest.PREFIX + "a"), self.work / (guest.PREFIX + "b")
        held = self.work / (guest.PREFIX + "c")
        for path in (stale, fresh, held):
            path.mkdir()
        for path in (stale, held):
            os.utime(path, (1, 1))
        fd = guest._lock_folder(held)
        self.addCleanup(os.close, fd)
        guest.sweep_stale(self.work)
        self.assertEqual([path.exists() for path in (stale, fresh, held)], [False, True, True])


class Cache(unittest.TestCase):
    def test_place(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": folder}):
                self.assertEqual(cache.cache_dir(), Path(folder, "pinfault"))
            Path(folder, "file").write_text("")
            with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": folder + "/file"}):
                with self.assertRaisesRegex(GuestError, "cannot make the cache folder"):
                    cache.cache_dir()

    def test_space(self) -> None:
        with self.assertRaisesRegex(GuestError, "MiB are needed"):
            cache.need_space(Path("/"), 1 << 60)

    def test_one_line(self) -> None:
        with self.assertRaisesRegex(GuestError, "^thing: no space left on the disk$"):
            with cache.plain_errors("thing"):
                raise OSError(28, "No space left on device")


if __name__ == "__main__":
    unittest.main()
