# SPDX-License-Identifier: GPL-2.0
"""Usage, dependencies and their exit codes."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from harness.runner import cli, deps, main as runs
from harness.runner.errors import EnvironmentFailed
from harness.runner.fsconfig import FsConfig
from harness.runner.store import SCHEMA


def call(*argv: str) -> tuple[int, str]:
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = cli.main(list(argv))
        except SystemExit as end:
            code = int(end.code or 0)
    return code, err.getvalue()


class Usage(unittest.TestCase):
    def test_one_line_and_64(self) -> None:
        for argv, says in ((("rnu",), "unknown command 'rnu': did you mean run?"),
                           (("run", "--kernl", "x"), "unknown option '--kernl': did you mean --kernel"),
                           (("run", "--seed", "x"), "'x' is not a number"),
                           (("run", "--jobs", "0"), "--jobs wants"),
                           (("run", "--overwrite-device", "/dev/x"), "there is none"),
                           (("run", "--device", "/dev/x"), "for --kernel native"),
                           (("run", "--section", "x"), "--local-config"),
                           (("race", "--threads", "17"), "--threads wants"),
                           (("race", "--size", "12345"), "--size wants"),
                           (("race", "--size", "1G"), "is not a size"),
                           (("race", "--ops", "-1"), "--ops and --seconds"),
                           (("race", "--seconds", "nan"), "--ops and --seconds"),
                           (("race", "--seconds", "inf"), "--ops and --seconds"),
                           (("race", "--fault", "punch", "--verb", "look", "--verb", "store"), "--verb leaves fault out"),
                           (("explore", "--depth", "2", "--budget", "nan"), "is not a time"),
                           (("explore", "--depth", "2", "--budget", "inf"), "is not a time"),
                           (("report", "x", "--no-install"), "this command takes no --no-install"),
                           (("race", "--sequence", "held-punch"), "race takes no --sequence: a race follows no"),
                           (("race", "--all"), "race takes no --all"),
                           (("explore", "--fault", "punch"), "explore takes no --fault"),
                           (("repro", "x", "--fs", "xfs"), "repro takes no --fs"),
                           (("seq", "x", "--sequence", "held-punch"), "FILE is the sequence"),
                           (("list", "--fs", "xfs"), "lists all there is"),
                           (("list", "--jobs", "99"), "lists all there is"),
                           (("race", "--sceonds", "5"), "did you mean --seconds"),
                           (("report",), "required: RUN"),
                           (("report", "/nonexistent"), "is not a run"),
                           (("report", "/etc/passwd"), "pinfault: /etc/passwd: is not a run (a run is a folder with a"),
                           (("repro", "nothing"), "neither a case's folder"),
                           (("run", "--resume", "/nonexistent"), "is not a run")):
            with self.subTest(argv):
                code, err = call(*argv)
                self.assertEqual(code, 64, err)
                self.assertIn(says, err)
                self.assertEqual(err.count("\n"), 1, err)

    def test_a_bug_of_ours_is_no_difference(self) -> None:
        with mock.patch.object(cli, "dispatch", side_effect=KeyError("argv")):
            code, err = call("run")
        self.assertEqual(code, 2)
        self.assertTrue(err.endswith("pinfault: the runner failed: KeyError: 'argv'\n"), err)

    def test_a_file_of_somebody_else(self) -> None:
        with mock.patch.object(Path, "exists", side_effect=PermissionError(13, "Permission denied", "/x/case.json")):
            self.assertEqual(call("repro", "/x"), (64, "pinfault: /x/case.json: Permission denied\n"))
        with mock.patch.object(cli, "dispatch", side_effect=PermissionError(13, "Permission denied", "/x")):
            self.assertEqual(call("run"), (2, "pinfault: /x: Permission denied\n"))

    def test_an_output_that_takes_nothing(self) -> None:
        for argv in (["report"], ["report", "--json"]):
            with tempfile.TemporaryDirectory() as name, open("/dev/full", "w", encoding="utf-8") as full:
                (Path(name) / "run.json").write_text(json.dumps({"schema": SCHEMA, "complete": True}))
                done = subprocess.run([sys.executable, "-m", "harness.runner", *argv, name],
                                      stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (2, "pinfault: standard output: No space left on device\n"))

    def test_help(self) -> None:
        self.assertEqual(call("--help")[0], 0)
        self.assertEqual(call("run", "--help")[0], 0)

    def test_help_shows_what_the_command_takes(self) -> None:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), self.assertRaises(SystemExit):
            cli.parser().parse_args(["explore", "--help"])
        self.assertIn("--fs NAME", out.getvalue())
        self.assertNotIn("--sequence", out.getvalue())

    def test_no_stubs(self) -> None:
        for later in ("explore", "odp"):
            self.assertEqual(call(later)[0], 64)


class BeforeAnythingRuns(unittest.TestCase):
    """What is wrong with the command line is said before there is a folder or a machine."""

    def setUp(self) -> None:
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        self.dir = Path(made.name)
        patch = mock.patch.object(runs, "run_kernels", side_effect=AssertionError("it went on"))
        self.run_kernels = patch.start()
        self.addCleanup(patch.stop)
        for what in (mock.patch.object(deps, "ensure"), mock.patch.object(deps, "build"),
                     mock.patch.object(runs, "stage", return_value={})):
            what.start()
            self.addCleanup(what.stop)

    def refused(self, says: str, *argv: str) -> None:
        code, err = call(*argv, "--out", str(self.dir / "out"))
        self.assertEqual((code, err.count("\n")), (64, 1), err)
        self.assertIn(says, err)
        self.assertFalse((self.dir / "out").exists())

    def test_a_sequence_that_is_none(self) -> None:
        path = self.dir / "mine.seq"
        path.write_text("file A 64K written\npin A\nland w1\n")
        self.refused(f"{path}:3: 'w1' is not held", "seq", str(path), "--kernel", "6.1")

    def test_a_sequence_of_a_name_that_is_taken(self) -> None:
        for name, whose in (("race", "races"), ("control", "control.seq"), ("sabotage-swap", "sabotage-swap.seq")):
            path = self.dir / f"{name}.seq"
            path.write_text("file A 64K written\npin A\n")
            self.refused(f"{path}: the name '{name}' is taken by ", "seq", str(path), "--kernel", "6.1")

    def test_a_sequence_of_an_odd_name(self) -> None:
        for name, called in (("a b'c.1", "a-b-c.1"), ("new\nline", "new-line"), ("all[*]", "all---")):
            path = self.dir / f"{name}.seq"
            path.write_text("file A 64K written\npin A\n")
            options = runs.Options(sequence_file=path)
            self.assertIn(called, runs.world(options).sequences)
            self.assertEqual(options.filters.sequences, [called])

    def test_an_image_that_is_none(self) -> None:
        path = self.dir / "bzImage"
        path.write_text("none")
        self.refused("is no bzImage", "run", "--kernel", str(path))

    def test_a_device_that_is_none(self) -> None:
        with mock.patch.object(os, "getuid", return_value=0), mock.patch.object(runs.native, "cleanup_stale"), \
                mock.patch.object(runs.native, "private_dir", return_value=self.dir):
            self.refused("/dev/none: No such file", "run", "--kernel", "native", "--device", "/dev/none")
            with mock.patch.dict(os.environ, PINFAULT_CALLER_DIR=str(self.dir)):
                self.refused(f"{self.dir}/disk: No such file", "run", "--kernel", "native", "--device", "disk")
                self.refused(f"{self.dir}: is not a block device", "run", "--kernel", "native", "--device", "")

    def test_a_section_runs_beside_filesystems_that_are_named(self) -> None:
        path = self.dir / "local.config"
        path.write_text("[mine]\nFSTYP=xfs\n")
        options = runs.Options(local_config=path)
        options.filters.fs = ["ext4"]
        self.assertIn("mine", runs.world(options).configs)
        self.assertEqual(options.filters.fs, ["ext4", "mine"])
        asked = runs.asked_of(options, {"6.1": None})
        self.assertEqual(asked.where("6.1", "mine"), ["--kernel", "6.1", "--fs", "mine", "--local-config", str(path)])
        self.assertEqual(asked.where("6.1", "ext4"), ["--kernel", "6.1", "--fs", "ext4"])
        options.fs_recorded = FsConfig("mine", "xfs")
        path.unlink()  # a recorded case has its own copy of it
        self.assertIn("mine", runs.world(options).configs)

    def test_what_a_kernel_has_of_its_own(self) -> None:
        for kernel in (["--kernel", "6.1"], []):
            self.refused("--modules belongs to --kernel PATH", "run", *kernel, "--modules", str(self.dir))

    def test_modules_of_another_kernel(self) -> None:
        (self.dir / "lib/modules/6.1.0-x").mkdir(parents=True)
        images = []
        for name in ("a", "b"):
            images.append(self.dir / name / "bzImage")
            images[-1].parent.mkdir()
            images[-1].write_bytes(bytes(0x202) + b"HdrS" + bytes(8) + b"\x00\x10" + bytes(0xff0) + b"7.3.4\0")
        self.refused(f": --modules {self.dir}: has no lib/modules/7.3.4, and {images[0]} is 7.3.4; it has 6.1.0-x ",
                     "run", "--kernel", str(images[0]), "--modules", str(self.dir))
        self.refused("another one is called bzImage", "run", "--kernel", str(images[0]), "--kernel", str(images[1]))

    def test_resume(self) -> None:
        """What was asked for is what it goes on with, from wherever it is told to."""
        (self.dir / "mine.seq").write_text("file A 64K written\npin A\n")
        with mock.patch.dict(os.environ, PINFAULT_CALLER_DIR=str(self.dir)):
            self.run_kernels.side_effect = EnvironmentFailed("it stops here")
            code, err = call("seq", "mine.seq", "--kernel", "6.1", "--fs", "xfs", "--channel", "store", "--out", "out")
            self.assertEqual(code, 2, err)
        out = self.dir / "out"
        for argv in (["seq"], ["run"], ["seq", "--jobs", "1"], ["seq", "--fs", "xfs"]):
            with mock.patch.dict(os.environ, PINFAULT_CALLER_DIR="/"):
                code, err = call(*argv, "--resume", str(out))
            self.assertEqual((code, "it stops here" in err), (2, True), err)
        for says, argv in (("was made by `seq`, not by `race`", ["race"]),
                           ("was made by `seq`, not by `repro`", ["repro", "x"]),
                           ("no other FILE can be given", ["seq", "other.seq"]), ("no other --fs", ["seq", "--fs", "ext4"]),
                           ("no other --seed", ["seq", "--seed", "5"]), ("no other --kernel", ["--kernel", "6.12"])):
            code, err = call(*argv, "--resume", str(out))
            self.assertEqual((code, err.count("\n")), (64, 1), err)
            self.assertIn(says, err)
        for argv, says in ((["seq"], "wants the FILE"), (["repro"], "wants RESULT")):
            self.assertEqual(call(*argv)[0], 64)
            self.assertIn(says, call(*argv)[1])
        (out / "run.json").write_text(json.dumps({"schema": SCHEMA}))
        code, err = call("seq", "--resume", str(out))
        self.assertEqual((code, err), (64, f"pinfault: {out}: run.json does not say what the run was asked for (argv)\n"))

    def test_a_device_that_has_a_filesystem_by_now_is_confirmed_again(self) -> None:
        argv = ["run", "--kernel", "native", "--device", "/dev/x"]
        with mock.patch.object(cli, "load_run", return_value=({"argv": argv}, [])):
            made = cli._resumed(cli.parser().parse_args(["run", "--resume", "x", "--overwrite-device", "/dev/x"]))
        self.assertEqual((made.device, made.overwrite_device), ("/dev/x", "/dev/x"))

    def test_who_stops_it_is_told_how_to_go_on(self) -> None:
        def stop(*_: object) -> None:
            os.kill(os.getpid(), number)
            time.sleep(10)
        self.run_kernels.side_effect = stop
        # Who was started in the background of a shell has it ignored.
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        self.addCleanup(signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_DFL))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            out = self.dir / number.name
            code, err = call("run", "--kernel", "6.1", "--fs", "xfs", "--channel", "store", "--out", str(out))
            self.assertEqual(code, 2, err)
            self.assertIn(f"pinfault: stopped; finished cases are kept; ./run.sh run --resume {out} goes on\n", err)
            self.assertTrue((out / "run.json").exists())


class Dependencies(unittest.TestCase):
    def ensure(self, there: bool, **how: object) -> str:
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            try:
                deps.ensure(True, is_present=lambda look: there or look != "fio", **how)  # type: ignore[arg-type]
            except EnvironmentFailed as failed:
                return err.getvalue() + str(failed)
        return err.getvalue()

    def test_silent(self) -> None:
        self.assertEqual(self.ensure(True, install=True), "")

    def test_without_root_one_command(self) -> None:
        said = self.ensure(False, install=True, uid=1000)
        self.assertIn("fio                neighbours", said)
        self.assertTrue(said.endswith("as root, run: apt-get install -y --no-install-recommends fio"), said)

    def test_no_install(self) -> None:
        with mock.patch.object(deps, "_apt") as apt:
            self.assertIn("--no-install", self.ensure(False, install=False, uid=0))
            apt.assert_not_called()

    def test_root_installs(self) -> None:
        with mock.patch.object(deps, "_apt") as apt:
            self.assertIn("still missing: fio", self.ensure(False, install=True, uid=0))
            self.assertEqual(apt.call_args.args[0][-1], "fio")

    def test_guest_packages_only_for_guests(self) -> None:
        names = {n.package for n in deps.missing(False, lambda _: False)}
        self.assertNotIn("qemu-system-x86", names)
        self.assertIn("fio", names)


if __name__ == "__main__":
    unittest.main()
