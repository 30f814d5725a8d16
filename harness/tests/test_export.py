# SPDX-License-Identifier: GPL-2.0
"""Recorded cases written out as C: what is checked, what is refused, that it compiles with every warning on."""

import os
import re
import subprocess
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

from harness.export import CannotExport, Check, Recorded, find_checks, read_case, write_program, write_xfstests
from harness.export.channels import CHANNELS
from harness.runner.agent import decode
from harness.runner.judge import answer
from harness.runner.store import CaseResult

ROOT = Path(__file__).resolve().parents[2]
JUDGE = Path(os.environ.get("PINFAULT_BUILD", ROOT / "build")).resolve() / "pinfault-judge"
COW = ROOT / "results/reference/findings/xfs-dax-cow-write-and-fault"
SWAPPED = ROOT / "results/reference/findings/xfs-swapext-under-pin/history-7.3.4"
XFS = {"fstype": "xfs", "mkfs_options": "-m reflink=1", "mount_options": "", "requires": "disk"}
XFS_DAX = {**XFS, "mount_options": "-o dax=always", "requires": "pmem"}
GCC = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror"]


def judged(history: Path, name: str, fs: str, channel: str, sequence: str, of: dict[str, str]) -> Recorded:
    """A history in the place of a run's case, with what the judge says of it."""
    said = subprocess.run([str(JUDGE), str(history)], capture_output=True, text=True, timeout=60, check=True).stdout
    verdict = answer((key, decode(value)) for key, _, value in (line.partition(" ") for line in said.splitlines()))
    result = CaseResult(id=f"native/{fs}/{channel}/{name}", nr=1, kernel="native", kernel_version="6.18", fs=fs,
                        channel=channel, sequence=name, resolution=verdict.resolution, verdict=verdict.verdict,
                        kinds=verdict.kinds, evidence=verdict.evidence)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "history").write_bytes(history.read_bytes())
        (Path(folder) / "sequence.seq").write_text(sequence)
        return read_case(Path(folder), result, of)


def cow(name: str) -> Recorded:
    """The recorded finding: what a guest saw on XFS with DAX."""
    sequence = (ROOT / "workloads/sequences" / f"{name}.seq").read_text()
    return judged(COW / f"history-{name}-7.3.4", name, "xfs-dax", "pwrite", sequence, XFS_DAX)


def made(sequence: str, history: str, channel: str = "pvm-writev", fs: dict[str, str] | None = None) -> Recorded:
    """A history written for a test. Its first line and its case are added."""
    kind = "faulting trivial" if "odp" in channel else \
        "long-pin trivial" if channel.startswith(("rdma", "uring-fixed")) else "short-pin inflight"
    with tempfile.NamedTemporaryFile("w", suffix=".history") as f:
        f.write(f"pinfault-history 1\ncase 3 9 {channel} {kind} T\n{history}end 99\n")
        f.flush()
        return judged(Path(f.name), "made", "xfs", channel, sequence, fs or XFS)


def compiled(text: str, to: Path, *more: str) -> Path:
    """With the libraries that its own build line names."""
    source = to.with_suffix(".c")
    source.write_text(text)
    build = re.search(r"^ \* build: .*\.c((?: -l\w+)*)$", text, re.M)
    assert build, text[:2000]
    subprocess.run([*GCC, *more, "-o", str(to), str(source), *build[1].split()], check=True, timeout=120)
    return to


SPLIT = """file A 1 8192 written 1
inv 2 1 pin A
ret 2 2 ok 0
inv 3 3 write A 0 4096
pinned 3 yes +1
file B 2 0 hole 0
inv 4 4 fault clone copy A B
ret 4 5 ok 0
effect 4 shown strict e
ret 3 6 ok 4096
inv 5 10 look B 0 0 buffered
see 5 B buffered 8192 0 8192 m1:1:0*128
ret 5 11 ok 0
inv 6 12 look B 0 0 direct
see 6 B direct 8192 0 8192 m3:1:0*64 m1:1:4096*64
ret 6 13 ok 0
"""
SPLIT_SEQ = "# T\nfile A 8K written\npin A\nhold w1 A 0 4K\nclone A B\nland w1\n"
EITHER = """file A 1 4096 written 1
inv 2 1 pin A
ret 2 2 ok 0
inv 3 3 write A 0 4096
pinned 3 yes +1
inv 4 4 fault punch zero A 0 4096
ret 4 5 ok 0
effect 4 shown strict e
ret 3 6 ok 4096
inv 5 10 look A 0 0 buffered
see 5 A buffered 4096 0 4096 w1*64
ret 5 11 ok 0
"""
EITHER_SEQ = "# T\nfile A 4K written\npin A\nhold w1 A 0 4K\npunch A 0 4K\nland w1\n"
# The page of a held write is neither where it was, nor where a collapse moved it to.
MOVED = """file A 1 16384 written 1
inv 2 1 pin A
ret 2 2 ok 0
inv 3 3 write A 0 8192
pinned 3 yes +2
inv 4 4 fault collapse collapse A 0 4096
ret 4 5 ok 0
effect 4 shown strict e
ret 3 6 ok 8192
inv 5 10 look A 0 0 buffered
see 5 A buffered 12288 0 12288 m1:1:4096*192
ret 5 11 ok 0
"""
MOVED_SEQ = "# T\nfile A 16K written\npin A\nhold w1 A 0 8K\ncollapse A 0 4K\nland w1\n"
# A pin keeps the page that a punch took out of the file.
PUNCHED = """file A 1 65536 written 1
inv 2 1 pin A
ret 2 2 ok 0
pinned 2 yes +16
inv 3 3 write A 0 8192
ret 3 4 ok 8192
inv 4 5 fault punch zero A 0 8192
ret 4 6 ok 0
effect 4 shown strict e
inv 5 7 write A 0 8192
ret 5 8 ok 8192
inv 6 9 look A 0 0 buffered
see 6 A buffered 65536 0 65536 0*128 w1*896
ret 6 10 ok 0
"""
PUNCHED_SEQ = "# T\nfile A 64K written\npin A\nwrite A 0 8K\npunch A 0 8K\nwrite A 0 8K\n"
# Success for what is behind the end of the file.
CLAIMED = PUNCHED.replace("punch zero A 0 8192", "truncate resize A 0").replace("65536 0 65536 0*128 w1*896", "0 0 0")
CLAIMED_SEQ = PUNCHED_SEQ.replace("punch A 0 8K", "truncate A 0")
# Soft-RoCE's on-demand paging: what should go to an offset in a page is at its start.
MISPLACED = """file A 1 8192 written 1
inv 2 1 pin A
ret 2 2 ok 0
inv 3 3 write A 192 128
ret 3 4 ok 128
inv 4 9 look A 0 0 buffered
see 4 A buffered 8192 0 8192 m3:1:192*2 w1*126
ret 4 10 ok 0
"""
MISPLACED_SEQ = "# T\nfile A 8K written\npin A\nwrite A 192 128\n"


CLONE = """#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct file { int fd; };
static int fake(int to, int from);
#define ioctl(to, how, from) fake(to, from)
@FRAGMENT@
static struct file a, b, longest;

/* FICLONE on any filesystem: what is behind the end of the source stays. The first one waits. */
static int fake(int to, int from)
{
	static int waited;
	char data[16384];
	ssize_t n;

	if (!waited++ && @BETWEEN@)
		return -1;
	n = pread(from, data, sizeof(data), 0);
	return pwrite(to, data, n, 0) == n ? 0 : -1;
}

int main(void)
{
	struct file *files[] = { &a, &b, &longest };
	struct stat one, other;

	for (int i = 0; i < 3; i++) {
		files[i]->fd = open(".", O_TMPFILE | O_RDWR, 0600);
		if (ftruncate(files[i]->fd, i == 2 ? 16384 : 8192))
			return 2;
	}
	if (clone_file(&a, &b) || fstat(a.fd, &one) || fstat(b.fd, &other))
		return 2;
	printf("%lld bytes, of %lld\\n", (long long)other.st_size, (long long)one.st_size);
	return other.st_size != one.st_size;
}
"""


@unittest.skipUnless(JUDGE.exists(), "the judge is not built")
class Checks(unittest.TestCase):
    def test_cells_of_a_recorded_finding(self) -> None:
        checks = find_checks(JUDGE, cow("held-cow-store"))
        self.assertEqual([(c.look, c.file, c.off, c.len_bytes, c.wants) for c in checks],
                         [(0, "A", 0, 64, ((5, 0),)), (0, "A", 128, 1920, ((5, 128),))])
        self.assertEqual(checks[0].views, ("mmap", "buffered", "direct", "dropped"))

    def test_a_look_in_the_middle(self) -> None:
        checks = find_checks(JUDGE, cow("held-cow-read"))
        self.assertEqual([(c.look, c.off, c.len_bytes, c.wants) for c in checks],
                         [(7, 0, 8192, ((5, 0),)), (0, 0, 8192, ((5, 0),))])

    def test_what_only_the_views_contradict(self) -> None:
        checks = find_checks(JUDGE, made(SPLIT_SEQ, SPLIT))
        self.assertEqual([(c.file, c.off, c.len_bytes, c.wants) for c in checks], [("B", 0, 4096, ())])

    def test_one_of_several(self) -> None:
        checks = find_checks(JUDGE, made(EITHER_SEQ, EITHER))
        self.assertEqual([(c.off, c.len_bytes, c.wants) for c in checks], [(0, 4096, ((3, 0), (0, 0)))])

    def test_what_only_the_cells_beside_it_contradict(self) -> None:
        """Of the rest of the look only what matters is asked for."""
        checks = find_checks(JUDGE, made(MOVED_SEQ, MOVED))
        self.assertEqual([(c.look, c.off, c.len_bytes, c.wants, c.beside) for c in checks],
                         [(0, 4096, 4096, ((3, 4096),), ((0, 4096, (1, 4096)),))])

    def test_a_claim(self) -> None:
        checks = find_checks(JUDGE, made(CLAIMED_SEQ, CLAIMED, "rdma-pinned"))
        self.assertEqual(checks, [Check(0, "A", len_bytes=8192, claim=5)])

    def test_what_is_at_another_offset(self) -> None:
        checks = find_checks(JUDGE, made(MISPLACED_SEQ, MISPLACED, "rdma-odp"))
        self.assertEqual([(c.off, c.len_bytes, c.wants) for c in checks],
                         [(0, 128, ((1, 0),)), (192, 128, ((3, 192),))])

    def test_only_after_a_remount(self) -> None:
        good = EITHER.replace("w1*64", "w3*64") + "remount 20\ninv 1000001 21 look A 0 0 remount\n" \
            "see 1000001 A remount 4096 0 4096 w1*64\nret 1000001 22 ok 0\n"
        with self.assertRaisesRegex(CannotExport, "only after a remount"):
            find_checks(JUDGE, made(EITHER_SEQ, good.replace("remount 20", "end 19\nremount 20").replace("end 99", "")))

    def test_sequence_and_history_must_fit(self) -> None:
        with self.assertRaisesRegex(CannotExport, "is not operation 3 of the history"):
            made(EITHER_SEQ.replace("hold w1 A 0 4K\n", ""), EITHER)


@unittest.skipUnless(JUDGE.exists(), "the judge is not built")
class Programs(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def program(self, recorded: Recorded, checks: list[Check] | None = None) -> str:
        return write_program(recorded, find_checks(JUDGE, recorded) if checks is None else checks, "shown")

    def test_findings_compile_alone(self) -> None:
        for name in ("held-cow-store", "held-cow-read"):
            text = self.program(cow(name))
            compiled(text, self.root / name)
            self.assertNotIn('#include "', text)
            self.assertFalse([line for line in text.splitlines() if len(line.expandtabs(8)) > 100])
            self.assertLess(len(text.splitlines()), 500)

    def test_every_kind_of_check_compiles(self) -> None:
        for nr, recorded in enumerate((made(SPLIT_SEQ, SPLIT), made(EITHER_SEQ, EITHER))):
            text = self.program(recorded)
            compiled(text, self.root / f"check{nr}")
            self.assertIn("agree(f, view, 0, 4096" if not nr else "BY(3, 0), 0 }, 2)", text)
        text = self.program(made(MOVED_SEQ, MOVED))
        compiled(text, self.root / "moved")
        self.assertIn("if (shows(0, 4096, BY(1, 4096)))\n\t\t\texpect(f, view, 4096, 4096, BY(3, 4096));", text)
        text = self.program(made(EITHER_SEQ, EITHER), [Check(0, "A", size=4096)])
        compiled(text, self.root / "size")
        self.assertIn("expect_size(f, view, 4096);", text)

    def test_every_channel_and_fault_compiles(self) -> None:
        plain = "# T\nfile A 64K written\nfile B 64K hole\nfile C 64K unwritten\npin A\n"
        faults = ["punch A 0 4K", "zero-range A 0 4K", "unshare A 0 4K", "collapse A 4K 8K", "insert A 4K 8K",
                  "truncate A 4K", "clone A B", "dedupe A B", "fsync A", "fdatasync A", "syncfs A", "msync A",
                  "sync-file-range A 0 4K", "dsync A 0 4K", "evict A", "drop-caches A", "page-out A", "fork A",
                  "defrag A", "migrate A", "rename A B", "unlink B"]
        for channel in CHANNELS:
            for hold in ("", "hold w1 A 0 8K\n"):
                if hold and channel == "proc-mem":
                    continue
                sequence = plain + hold + "".join(f + "\n" for f in faults) + "write A 16K 4K\nstore A 0 64\n" \
                    "pwrite A 64 64\nread A 0 8K mmap\nread A 64 8K direct\nlook\nunpin A\n"
                text = self.program(made(sequence, "", channel), [])
                compiled(text, self.root / f"{channel.replace('/', '-')}{len(hold)}")
                self.assertNotIn('#include "', text)
                self.assertFalse(re.findall(r"@[A-Z]+@", text))
                self.assertFalse([line for line in text.splitlines() if len(line.expandtabs(8)) > 100])

    def test_each_filesystem_has_its_own_defragmenter(self) -> None:
        for kind, call in (("xfs", "XFS_IOC_SWAPEXT, &swap"), ("ext4", "EXT4_IOC_MOVE_EXT, &move"),
                           ("btrfs", "BTRFS_IOC_DEFRAG_RANGE, &range")):
            text = self.program(made(EITHER_SEQ + "defrag A\n", "", "pvm-writev", {**XFS, "fstype": kind}), [])
            compiled(text, self.root / kind)
            self.assertEqual(re.findall(r"ioctl\(f->fd, (\w+, &\w+)\)", text), [call])
        with self.assertRaisesRegex(CannotExport, "tmpfs has no defragmenter"):
            self.program(made(EITHER_SEQ + "defrag A\n", "", "pvm-writev", {**XFS, "fstype": "tmpfs", "requires": "none"}), [])

    def test_what_cannot_be_exported(self) -> None:
        for channel, sequence, says in (
                ("rdma-odp/atomic", EITHER_SEQ, "the channel rdma-odp/atomic cannot be exported"),
                ("dio-read/loop", EITHER_SEQ, "the channel dio-read/loop cannot be exported"),
                ("proc-mem", EITHER_SEQ, "cannot hold"),
                ("store", "file A 8K written\npin A\nhold-read r1 A 0 4K\nland r1\n", "a read that is held cannot be exported"),
                ("store", "file A 8K written\npin A\nread A 0 4K gup\n", "a look through gup cannot be exported"),
                *(("store", EITHER_SEQ + f"{fault} A\n", f"{fault} cannot be exported")
                  for fault in ("crash", "crash-logflush", "power-cut", "remount", "freeze", "fill"))):
            recorded = made(sequence, "", channel)
            with self.assertRaises(CannotExport) as caught:
                self.program(recorded, [])
            self.assertIn(says, str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))

    def test_a_refused_registration_shows_nothing(self) -> None:
        refused = "".join(PUNCHED.splitlines(keepends=True)[:2]) + "ret 2 2 err EFAULT ibv_reg_mr\n"
        with self.assertRaisesRegex(CannotExport, r"step 2 \(pin A\) was refused with EFAULT"):
            self.program(made(PUNCHED_SEQ, refused, "rdma-pinned"), [])

    def test_rdma(self) -> None:
        for channel, access in (("rdma-pinned", ""), ("rdma-odp", " | IBV_ACCESS_ON_DEMAND")):
            text = self.program(made(PUNCHED_SEQ, PUNCHED, channel))
            program = compiled(text, self.root / channel)
            self.assertIn(f"#define ACCESS (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE{access})\n", text)
            self.assertIn(" * build:    gcc -O2 -Wall -o shown shown.c -libverbs\n", text)
            self.assertIn(" *           modprobe rdma_rxe; ip link set lo up; rdma link add rxe0 type rxe netdev lo\n",
                          text)
            self.assertIn('\tpinned("2 pin A", pin(&A));\n', text)
            self.assertIn("\tunpin(&A);\n\tunmap(&A);\n", text)
            self.assertLess(len(text.splitlines()), 540)
            done = subprocess.run([program, self.root], capture_output=True, text=True, timeout=60,
                                  env={**os.environ, "RDMA_DEV": "no-such-device"})
            self.assertEqual((done.returncode, done.stdout),
                             (2, "cannot run here: no RDMA device with an active port: No such device\n"))
        self.assertIn("#define MTU IBV_MTU_1024\n", self.program(made(PUNCHED_SEQ, PUNCHED, "rdma-odp/mtu1024")))

    def test_a_claim_must_fail(self) -> None:
        text = self.program(made(CLAIMED_SEQ, CLAIMED, "uring-fixed"))
        self.assertIn(" * build:    gcc -O2 -Wall -o shown shown.c -luring\n", text)
        self.assertIn(" * Step 5 must not succeed: A does not have the 8192 bytes.", text)
        self.assertRegex(text, r'\tmust_fail\("5 write A 0 8K", channel_write\(&A, ')
        compiled(text, self.root / "claim")

    def test_what_has_failed_is_not_taken_back(self) -> None:
        """The step after a failure is refused, or cannot be done here."""
        begin = "# T\nfile A 64K written\npin A\ntruncate A 0\n"
        for how, last, alone in (("refused", "punch A 0 0\n", 0), ("cannot", "file B 0 hole\npin B\n", 2)):
            for write, code in (("write A 0 8K\n", 1), ("", alone)):
                with self.subTest(how, write=write):
                    checks = [Check(0, "A", len_bytes=8192, claim=4)] if write else []
                    text = self.program(made(begin + write + last, "", "pwrite"), checks)
                    done = subprocess.run([compiled(text, self.root / how), self.root], capture_output=True, text=True,
                                          timeout=60)
                    self.assertEqual(done.returncode, code, done.stdout)
                    self.assertEqual("FAIL 4 write A 0 8K: success for bytes" in done.stdout, bool(write), done.stdout)
                    self.assertIn(": Invalid argument\n", done.stdout.splitlines(True)[-1 - (how == "refused")])

    def test_what_is_not_in_the_content(self) -> None:
        recorded = made(EITHER_SEQ, EITHER)
        recorded.result = replace(recorded.result, verdict="hung", resolution="hung", why="line 5, in D wait_on_page",
                                  kinds=["hang"], findings=[{"kind": "kernel-log", "text": "WARNING: mm/x.c:1"}])
        text = self.program(recorded, [])
        compiled(text, self.root / "hung")
        self.assertIn("It hung: line 5, in D wait_on_page. Watch the kernel log", text)
        self.assertIn("Watch (kernel-log): WARNING: mm/x.c:1", text)
        self.assertIn("alarm(60);", text)

    def test_its_head_says_what_it_shows_where_and_what_was_expected(self) -> None:
        recorded = made(EITHER_SEQ.replace("# T\n", "# explored: explore-hold-punch-abc123\n"), EITHER, "dio-read")
        recorded.result = replace(recorded.result, expected={
            "class": "unsupported", "reference": "the same; held-dedupe: and so on", "rule": "50-explore.conf:17"})
        title = "lost (lost-write) after hold punch land, through dio-read on xfs, Linux 6.18"
        expected = ("Expected of it: unsupported: held-dedupe: and so on (harness/expected/50-explore.conf:17 of "
                    "pinfault).")
        head = " ".join(self.program(recorded, []).partition("*/")[0].replace("\n *", " ").split())
        script = write_xfstests(recorded, [], "x", self.root)[0].read_text()
        for text in (head, " ".join(script.partition(". ./common")[0].replace("\n#", " ").split())):
            self.assertIn(title, text)
            self.assertIn(expected, text)
        self.assertIn("Seen on Linux 6.18, xfs, with an O_DIRECT read(2) into the mapping (dio-read): lost", head)
        self.assertNotIn("explored", head)

    def test_a_step_that_failed_may_fail(self) -> None:
        recorded = made(EITHER_SEQ, EITHER.replace("ret 3 6 ok 4096", "ret 3 6 err EFAULT"))
        text = self.program(recorded, [])
        self.assertIn('tell("5 land w1", land(&w1));', text)
        self.assertIn("sigsetjmp", text)
        compiled(text, self.root / "failed")

    def test_no_directory(self) -> None:
        program = compiled(self.program(cow("held-cow-store")), self.root / "p")
        for argv in ([], ["/nonexistent"], ["/proc"]):
            self.assertEqual(subprocess.run([program, *argv], capture_output=True, timeout=60).returncode, 2)

    def test_only_what_is_used(self) -> None:
        text = self.program(made(EITHER_SEQ, EITHER, "store"), [])
        for word in ("userfaultfd", "FUSE", "FICLONE", "sigsetjmp", "pthread"):
            self.assertNotIn(word, text)

    def test_a_clone_that_others_come_between(self) -> None:
        """It waits inside FICLONE: the source gets shorter, or somebody else clones a longer file onto the same."""
        fragment = (ROOT / "harness/export/clone.c.in").read_text()
        for between in ("ftruncate(a.fd, 4096)", "clone_file(&longest, &b)"):
            with self.subTest(between):
                source = self.root / "clone.c"
                source.write_text(CLONE.replace("@FRAGMENT@", fragment).replace("@BETWEEN@", between))
                subprocess.run([*GCC, "-o", str(self.root / "clone"), str(source)], check=True, timeout=120)
                done = subprocess.run([self.root / "clone"], cwd=self.root, capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 0, done.stdout)

    def test_xfstests_form_with_io_uring(self) -> None:
        recorded = made(PUNCHED_SEQ, PUNCHED, "uring-fixed")
        script = write_xfstests(recorded, find_checks(JUDGE, recorded), "u", self.root)[0].read_text()
        self.assertIn("_begin_fstest auto quick rw mmap punch io_uring\n", script)
        self.assertIn("\n_require_io_uring\n", script)
        self.assertIn("into LINUX_TARGETS (under HAVE_URING) of src/Makefile", script)

    def test_xfstests_has_no_form_for_rdma(self) -> None:
        recorded = made(PUNCHED_SEQ, PUNCHED, "rdma-pinned")
        with self.assertRaisesRegex(CannotExport, "xfstests knows no RDMA devices and does not build with -libverbs"):
            write_xfstests(recorded, find_checks(JUDGE, recorded), "r", self.root)
        self.assertEqual(list(self.root.iterdir()), [])

    def test_xfstests_form(self) -> None:
        recorded = cow("held-cow-store")
        paths = write_xfstests(recorded, find_checks(JUDGE, recorded), "held-cow-store", self.root)
        self.assertEqual([str(p.relative_to(self.root)) for p in paths],
                         ["tests/generic/pinfault-held-cow-store", "tests/generic/pinfault-held-cow-store.out",
                          "src/pinfault-held-cow-store.c"])
        script = paths[0].read_text()
        self.assertEqual(subprocess.run(["bash", "-n", str(paths[0])]).returncode, 0)
        for line in (". ./common/preamble", "_begin_fstest auto quick rw mmap clone dax", "_require_scratch",
                     "_require_scratch_reflink", '_require_scratch_dax_mountopt "dax=always"',
                     "_require_test_program pinfault-held-cow-store"):
            self.assertIn(line + "\n", script)
        self.assertFalse(re.findall(r"@[A-Z]+@", script))
        self.assertEqual(paths[1].read_text(), "QA output created by pinfault-held-cow-store\nSilence is golden\n")
        compiled(paths[2].read_text(), self.root / "xfstests")


if __name__ == "__main__":
    unittest.main()
