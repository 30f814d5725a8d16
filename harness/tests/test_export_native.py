# SPDX-License-Identifier: GPL-2.0
"""A case that fails on this kernel, repeated, exported, compiled, and run where it fails and where it does not."""

import dataclasses
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from harness.export import Check, Recorded, find_checks, read_case, write_program, write_xfstests
from harness.runner.proc import run
from harness.runner.store import CaseResult, load_run

from .test_export import (CLAIMED, CLAIMED_SEQ, EITHER, EITHER_SEQ, JUDGE, PUNCHED, PUNCHED_SEQ, ROOT, SWAPPED, XFS, compiled,
                          cow, judged, made)

STAND_IN = ROOT / "harness/tests/fstests_stand_in.sh"
SHOWS = ("pvm-writev", "dio-read", "uring-read")
# The page cache does not wait for short pins, and a large folio takes the neighbour along. It must be one folio that is
# pinned: a clean one (held-punch has that) is gone as soon as somebody drops the caches of this machine, and comes back
# as small ones.
SEQUENCE = "held-punch-dirty"
SEQUENCE_TEXT = """# A write in flight across a punch beside it, of pages that are dirty when they are pinned
file A 64K written
pin A
pwrite A 0 64K
hold w1 A 0 8K
punch A 0 4K
land w1
"""


def cannot() -> str:
    if os.getuid() != 0:
        return "needs root"
    if not Path("/dev/loop-control").exists():
        return "no loop devices here"
    return "" if JUDGE.exists() and JUDGE.parent == ROOT / "build" else "the executor is not built"


def harness(*argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["./run.sh", *argv, "--no-install"], cwd=ROOT, capture_output=True, text=True, timeout=500)


@unittest.skipIf(cannot(), cannot())
class Native(unittest.TestCase):
    root: Path
    mounts: dict[str, Path]
    runs: dict[str, Path]  # by sequence

    @classmethod
    def setUpClass(cls) -> None:
        folder = tempfile.TemporaryDirectory(dir="/var/tmp")
        cls.addClassCleanup(folder.cleanup)
        cls.root = Path(folder.name)
        cls.mounts = {}
        for fs, mkfs in (("xfs", ("-m", "reflink=1")), ("ext4", ()), ("tmpfs", ())):
            point = cls.root / fs
            point.mkdir()
            if fs == "tmpfs":
                run("mount", "-t", "tmpfs", "-o", "size=256m", "none", str(point), check=True)
            else:
                image = cls.root / f"{fs}.image"
                with open(image, "wb") as f:
                    f.truncate(1 << 30)
                run(f"mkfs.{fs}", "-q", *mkfs, str(image), timeout_s=60, check=True)
                run("mount", "-o", "loop", str(image), str(point), check=True)
            cls.addClassCleanup(run, "umount", str(point), timeout_s=60, check=True)
            cls.mounts[fs] = point
        own = cls.root / f"{SEQUENCE}.seq"
        own.write_text(SEQUENCE_TEXT)
        cls.runs = {SEQUENCE: cls.root / "run", "held-clone": cls.root / "run-clone"}
        for name, argv in ((SEQUENCE, ("seq", str(own))), ("held-clone", ("run", "--sequence", "held-clone"))):
            done = harness(*argv, "--kernel", "native", "--fs", "xfs", "--out", str(cls.runs[name]),
                           *(word for c in SHOWS for word in ("--channel", c)))
            if done.returncode == 2:
                raise unittest.SkipTest(f"the run failed: {done.stderr[-300:]}")

    def case(self, channel: str, sequence: str = SEQUENCE) -> Recorded:
        meta, results = load_run(self.runs[sequence])
        result = next(r for r in results if (r.channel, r.sequence) == (channel, sequence))
        if result.verdict != "corrupt":
            self.skipTest(f"{result.id} does not fail on this kernel: {result.verdict}")
        return read_case(self.runs[sequence] / "cases" / result.id, result, meta["filesystems"][result.fs])

    def ends(self, program: Path, fs: str) -> tuple[int, str]:
        done = subprocess.run([str(program), str(self.mounts[fs])], capture_output=True, text=True, timeout=120)
        left = [p.name for p in self.mounts[fs].iterdir() if p.name.startswith(("held", "shown"))]
        self.assertEqual(left, [], "it left its folder behind")
        return done.returncode, done.stdout + done.stderr

    def program(self, recorded: Recorded, name: str) -> Path:
        return compiled(write_program(recorded, find_checks(JUDGE, recorded), "shown"), self.root / name)

    def test_fails_where_it_failed_and_passes_where_it_does_not(self) -> None:
        for channel in SHOWS:
            with self.subTest(channel):
                program = self.program(self.case(channel), f"{channel}-program")
                code, said = self.ends(program, "xfs")
                self.assertEqual(code, 1, said)
                self.assertRegex(said, r"FAIL (mmap|read\(2\)|O_DIRECT read\(2\)) of A at 4096: what step 3 wrote at "
                                       r"4096, must be what step 4 wrote at 4096")
                code, said = self.ends(program, "tmpfs")
                self.assertEqual(code, 0, said)
                self.assertIn("6 land w1: 8192", said)

    def test_a_defragmenter(self) -> None:
        """XFS takes the pinned page out of the cache and the file, and what lands in it is lost. What ext4 does with it depends on
        its version."""
        recorded = judged(SWAPPED, "held-defrag-reuse", "xfs", "dio-read",
                          (ROOT / "workloads/sequences/held-defrag-reuse.seq").read_text(), XFS)
        for fs, ends in (("xfs", (1,)), ("ext4", (0, 1))):
            of = dataclasses.replace(recorded, fs={**recorded.fs, "fstype": fs})
            for channel in ("dio-read", "pvm-writev"):
                through = dataclasses.replace(of, result=dataclasses.replace(of.result, channel=channel))
                code, said = self.ends(self.program(through, f"defrag-{fs}-{channel}"), fs)
                if "4 defrag A: Device or resource busy\n" in said:
                    self.skipTest(f"{fs} of this kernel defragments no file that is mapped")
                self.assertIn(code, ends, said)
                self.assertIn("4 defrag A: 0\n", said)
                self.assertIn("10 land w1: 4096\n", said)

    def test_views_that_disagree(self) -> None:
        recorded = self.case("pvm-writev", "held-clone")
        code, said = self.ends(self.program(recorded, "clone"), "xfs")
        self.assertEqual(code, 1, said)
        self.assertIn("showed", said)
        code, said = self.ends(self.root / "clone", "ext4")  # no reflink: it cannot run
        self.assertEqual(code, 2, said)

    def test_a_registered_buffer(self) -> None:
        """A long pin: tmpfs grants it, where 6.5 and newer refuse it for what is written back."""
        for name, recorded, fails in (
                ("punched", made(PUNCHED_SEQ, PUNCHED, "uring-fixed"),
                 r"FAIL read\(2\) of A at 0: zeros, must be what step 5 wrote at 0\n"),
                ("claimed", made(CLAIMED_SEQ, CLAIMED, "uring-fixed"),
                 r"FAIL 5 write A 0 8K: success for bytes that the file does not have\n")):
            with self.subTest(name):
                program = self.program(recorded, f"fixed-{name}")
                code, said = self.ends(program, "tmpfs")
                if "Function not implemented" in said or "Operation not permitted" in said:
                    self.skipTest("no io_uring here")
                self.assertEqual(code, 1, said)
                self.assertRegex(said, fails)
                code, said = self.ends(program, "xfs")
                self.assertEqual(code, 0, said)
                self.assertRegex(said, "the kernel refuses to register this mapping")

    def test_the_same_steps_through_the_page_table(self) -> None:
        recorded = self.case("pvm-writev")
        checks = find_checks(JUDGE, recorded)
        for channel in ("store", "copyout"):
            control = dataclasses.replace(recorded, result=dataclasses.replace(recorded.result, channel=channel))
            program = compiled(write_program(control, checks, "shown"), self.root / f"control-{channel}")
            code, said = self.ends(program, "xfs")
            self.assertEqual(code, 0, said)

    def test_findings_of_dax_pass_on_the_page_cache(self) -> None:
        for name in ("held-cow-store", "held-cow-read"):
            code, said = self.ends(self.program(cow(name), name), "xfs")
            self.assertEqual(code, 0, said)
            self.assertIn("land w1: 8192", said)
            self.assertNotIn("it lands now", said)

    def test_a_step_that_waits_is_done_beside_the_next_ones(self) -> None:
        recorded = made(EITHER_SEQ, EITHER.replace("ret 4 5", "blocked 4 5 D down_write\nret 4 5"), "pwrite")
        code, said = self.ends(self.program(recorded, "waits"), "xfs")  # write(2) has the inode's lock
        self.assertEqual(code, 0, said)
        self.assertIn("4 punch A 0 4K: waits\n", said)
        self.assertIn("5 land w1: 4096\n", said)
        self.assertIn("4 punch A 0 4K: 0\n", said)
        self.assertNotIn("it lands now", said)

    def test_repro_says_how_often(self) -> None:
        recorded = self.case("pvm-writev")
        done = harness("repro", str(self.runs[SEQUENCE] / "cases" / recorded.result.id), "--times", "3", "--out",
                       str(self.root / "again"))
        said = f"{done.stdout}\n{done.stderr}"
        self.assertEqual(done.returncode, 1, said)
        self.assertEqual(done.stdout.splitlines()[:1], ["failed 3 of 3: lost (lost-write)"], said)
        ids = {r.id for r in load_run(self.root / "again")[1]}
        self.assertEqual(ids, {recorded.result.id + turn for turn in ("", ".2", ".3")})

    def test_export_by_the_command(self) -> None:
        recorded = self.case("dio-read")
        out = self.root / "by-command.c"
        done = harness("repro", f"{self.runs[SEQUENCE]}:{recorded.result.id}", "--export", "c", "--out", str(out))
        self.assertEqual((done.returncode, done.stdout.strip()), (0, str(out)), done.stderr)
        self.assertEqual(self.ends(compiled(out.read_text(), self.root / "by-command"), "xfs")[0], 1)

    def fstests(self, recorded: Recorded, name: str, checks: list[Check] | None = None
                ) -> tuple[list[str], list[str], str]:
        """Run the test in xfstests' form. Its output, its golden output, why it did not run."""
        tree, tmp = self.root / f"fstests-{name}", self.root / f"tmp-{name}"
        (tree / "common").mkdir(parents=True)
        tmp.mkdir()
        shutil.copy(STAND_IN, tree / "common/preamble")
        (tree / "common/reflink").write_text("")
        checks = find_checks(JUDGE, self.case("pvm-writev")) if checks is None else checks
        script, golden, source = write_xfstests(recorded, checks, name, tree)
        compiled(source.read_text(), source.with_suffix(""))
        image = tmp / "image"
        with open(image, "wb") as f:
            f.truncate(1 << 30)
        device = run("losetup", "--find", "--show", str(image), check=True).out.strip()
        try:
            done = subprocess.run([str(script)], cwd=tree, capture_output=True, text=True, timeout=120,
                                  env={**os.environ, "FSTYP": "xfs", "SCRATCH_DEV": device, "TEST_TMP": str(tmp),
                                       "SCRATCH_MNT": str(self.mounts["tmpfs"])})
        finally:
            run("losetup", "-d", device)
        why = next((p.read_text() for p in tmp.glob("*.notrun")), "")
        return (done.stdout + done.stderr).splitlines(), golden.read_text().splitlines(), why

    def test_xfstests_form(self) -> None:
        for channel in ("pvm-writev", "uring-read"):
            recorded = self.case(channel)
            got, golden, why = self.fstests(recorded, f"lost-{channel}")
            self.assertEqual(why, "")
            self.assertNotEqual(got, golden)
            self.assertTrue(any(re.match("FAIL .* of A at 4096", line) for line in got), got)
        control = dataclasses.replace(recorded, result=dataclasses.replace(recorded.result, channel="store"))
        got, golden, why = self.fstests(control, "silent")
        self.assertEqual((got, why), (golden, ""))

    def test_xfstests_form_of_what_failed_before_a_step_was_refused(self) -> None:
        for name, last in (("refused", "punch A 0 0\n"), ("cannot", "file B 0 hole\npin B\n")):
            with self.subTest(name):
                recorded = made(f"# T\nfile A 64K written\ntruncate A 0\nwrite A 0 8K\n{last}", "", "pwrite")
                got, _, why = self.fstests(recorded, name, [Check(0, "A", len_bytes=8192, claim=3)])
                self.assertIn("FAIL 3 write A 0 8K: success for bytes that the file does not have", got)
                self.assertEqual(why, "")

    @unittest.skipUnless(shutil.which("shellcheck"), "no shellcheck")
    def test_xfstests_script_is_clean(self) -> None:
        recorded = self.case("pvm-writev")
        script = write_xfstests(recorded, find_checks(JUDGE, recorded), "clean", self.root / "clean")[0]
        # What theirs is like too: words unquoted, variables that the preamble reads and sets.
        done = run("shellcheck", "-e", "SC1091,SC2154,SC2034,SC2086", str(script), timeout_s=60)
        self.assertEqual((done.code, done.out), (0, ""))

    def test_a_case_that_was_not_run(self) -> None:
        skipped = CaseResult(id="native/xfs/store/x", nr=1, kernel="native", kernel_version="", fs="xfs", channel="store",
                             sequence="x", verdict="skipped", why="no such thing")
        from .test_repro import record
        case = record(self.root / "skipped", skipped)
        (case / "sequence.seq").unlink()
        done = harness("repro", str(case))
        self.assertEqual(done.returncode, 64, done.stderr)
        self.assertIn("was not run (skipped: no such thing)", done.stderr)


if __name__ == "__main__":
    unittest.main()
