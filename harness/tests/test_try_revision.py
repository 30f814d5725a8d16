# SPDX-License-Identifier: GPL-2.0
"""try-revision.sh under a real `git bisect run`, in a tree whose "kernel" is a file; and the codes git is given."""

import contextlib
import io
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from harness.runner import cli, repro
from harness.runner.errors import EnvironmentFailed, UsageError
from harness.runner.store import SCHEMA

from .test_repro import LOST, record

ROOT = Path(__file__).resolve().parents[2]
# What there is of a kernel's build: `source` is the kernel, and one that says "broken" does not build.
MAKEFILE = """\
defconfig olddefconfig:
	@touch $(O)/.config
bzImage:
	@! grep -q broken source || { echo "source:1: error: it is broken"; seq 9; exit 1; }
	@mkdir -p $(O)/arch/x86/boot
	@cp source $(O)/arch/x86/boot/bzImage
	@grep -q CONFIG_9P_FS=m $(O)/.config
modules:
	@:
modules_install:
	@mkdir -p $(INSTALL_MOD_PATH)/lib/modules/x
"""
MERGE = """#!/bin/sh
[ "$1 $2" = "-m -O" ] || exit 1
cat "$4" "$5" >"$3/.config"
"""
# Stands in for the runner: bad, good, or does not boot, as the image says.
RUN = """#!/bin/sh
case " $* " in *" --check "*) exit 0 ;; esac
while [ $# -gt 0 ]; do
	case $1 in
	--kernel) image=$2 ;;
	--modules) [ -d "$2/lib/modules/x" ] || exit 255 ;;
	--times) [ "$2" = 5 ] || exit 255 ;;
	esac
	shift
done
case $(cat "$image") in good*) exit 0 ;; bad*) exit 1 ;; dead*) exit 125 ;; esac
exit 255
"""
CHECK = f"""#!/bin/sh
case " $* " in *" --check "*) cd {ROOT} && exec python3 -m harness.runner "$@" ;; esac
exit 0
"""


@unittest.skipUnless(shutil.which("git") and shutil.which("make"), "git and make are not installed")
class GitBisect(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.tree = self.root / "tree"
        self.script = self.root / "pinfault/harness/guest/try-revision.sh"
        self.script.parent.mkdir(parents=True)
        for name in ("try-revision.sh", "kernel.config"):
            shutil.copy2(ROOT / "harness/guest" / name, self.script.parent)
        (self.tree / "scripts/kconfig").mkdir(parents=True)
        (self.tree / "Makefile").write_text(MAKEFILE)
        for path, text in ((self.tree / "scripts/kconfig/merge_config.sh", MERGE),
                           (self.root / "pinfault/run.sh", RUN)):
            path.write_text(text)
            path.chmod(0o755)
        self.case = self.root / "pinfault/results/RUN/cases/6.1/xfs/store/held-punch"
        self.case.mkdir(parents=True)
        for name in ("case.json", "sequence.seq"):
            (self.case / name).touch()
        self.git("init", "-q")

    def run_in_tree(self, *argv: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "LC_ALL": "C",
               "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t"}
        return subprocess.run(argv, cwd=self.tree, env=env, text=True, timeout=120, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def git(self, *argv: str) -> str:
        done = self.run_in_tree("git", *argv)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def bisect(self, *revisions: str) -> subprocess.CompletedProcess[str]:
        for nr, text in enumerate(revisions):
            (self.tree / "source").write_text(f"{text} {nr}\n")
            self.git("add", "-A")
            self.git("commit", "-q", "-m", f"revision {nr}")
        self.git("bisect", "start", "HEAD", f"HEAD~{len(revisions) - 1}")
        return self.run_in_tree("git", "bisect", "run", str(self.script), str(self.case), "5")

    def test_finds_it(self) -> None:
        done = self.bisect("good", "good", "broken", "dead", "good", "bad", "bad", "bad", "bad")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stdout, r"is the first bad commit[\s\S]*revision 5\n")

    def test_what_cannot_be_tried_is_skipped(self) -> None:
        done = self.bisect("good", "broken", "dead", "bad")
        self.assertRegex(done.stdout, r"The first bad commit could be any of")
        self.assertRegex(done.stdout, r"does not build, see .*/log:\nsource:1: error: it is broken\n")

    def test_a_wrong_command_stops_git(self) -> None:
        (self.root / "pinfault/run.sh").write_text(RUN.replace("while [", "exit 255\nwhile ["))
        done = self.bisect("good", "good", "bad", "bad")
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn("is the first bad commit", done.stdout)

    def test_what_is_wrong_for_every_revision_is_said_before_the_first_build(self) -> None:
        (self.tree / "source").write_text("good\n")
        build = self.root / "pinfault-build"
        for argv, says in ((("nothing",), "nothing: holds no recorded case"), (("RUN:6.1/xfs/store/x",), "no recorded"),
                           ((str(self.case.parent),), "no recorded"), ((str(self.case), "0"), "TIMES is a number")):
            done = self.run_in_tree(str(self.script), *argv)
            self.assertEqual((done.returncode, done.stdout.count("\n")), (255, 1), done.stdout)
            self.assertIn(says, done.stdout)
        (self.tree / ".config").touch()
        done = self.run_in_tree(str(self.script), str(self.case), "5")
        self.assertEqual(done.returncode, 255)
        self.assertIn("make mrproper", done.stdout)
        self.assertFalse(build.exists())
        (self.tree / ".config").unlink()
        for name in (str(self.case), "RUN:6.1/xfs/store/held-punch",
                     "../pinfault/results/RUN:6.1/xfs/store/held-punch"):
            done = self.run_in_tree(str(self.script), name, "5")
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_a_result_of_another_schema_is_refused_before_the_first_build(self) -> None:
        (self.tree / "source").write_text("good\n")
        (self.root / "pinfault/run.sh").write_text(CHECK)
        for schema, code in ((SCHEMA + 1, 255), (SCHEMA, 0)):
            case = record(self.root / f"run-{schema}", LOST, schema=schema)
            done = self.run_in_tree(str(self.script), str(case), "5")
            self.assertEqual((done.returncode, (self.root / "pinfault-build").exists()), (code, not code), done.stdout)
            self.assertEqual(done.stdout, f"pinfault: {self.root}/run-{schema}: run.json has schema {schema}, this "
                             f"program reads {SCHEMA}\n" if code else "")

    def test_the_configuration_that_is_named_now(self) -> None:
        (self.tree / "source").write_text("good\n")
        for text in ("CONFIG_ONE=y\n", "CONFIG_TWO=y\n"):
            (self.root / "config").write_text(text)
            done = self.run_in_tree("env", "CONFIG=../config", str(self.script), str(self.case), "5")
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertIn(text, (self.root / "pinfault-build/.config").read_text())

    def test_outside_a_tree(self) -> None:
        done = subprocess.run([self.script, "R"], cwd=self.root, timeout=60, capture_output=True, text=True)
        self.assertEqual(done.returncode, 255)
        self.assertIn("usage", done.stderr)


class Codes(unittest.TestCase):
    def code(self, *argv: str, answer: object = 0) -> int:
        with contextlib.redirect_stderr(io.StringIO()), mock.patch.object(repro, "find"), \
                mock.patch.object(repro, "aim"), \
                mock.patch.object(cli, "_as_recorded", lambda options, found: options), \
                mock.patch.object(repro, "repeat", side_effect=[answer]):
            return cli.main(["repro", "R", *argv])

    def test_git_is_told_what_it_understands(self) -> None:
        image = ("--kernel", "./bzImage")
        for answer, code in ((0, 0), (1, 1), (2, 125), (64, 255), (EnvironmentFailed("no boot"), 125),
                             (UsageError("x"), 255), (KeyboardInterrupt(), 255), (SystemExit(2), 255),
                             (ValueError("a bug"), 255)):
            self.assertEqual(self.code(*image, "--git-bisect", answer=answer), code, answer)
        self.assertEqual(self.code(*image, "--git-b", answer=2), 125)
        self.assertEqual(self.code(*image, answer=2), 2)
        for argv in ((), ("--kernel", "6.1", "--kernel", "6.12"), ("--kernel", "6.1", "--export", "c"),
                     ("--nonsense",)):
            self.assertEqual(self.code("--git-bisect", *argv), 255, argv)


if __name__ == "__main__":
    unittest.main()
