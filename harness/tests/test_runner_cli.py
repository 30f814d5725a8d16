# SPDX-License-Identifier: GPL-2.0
"""Usage, dependencies and their exit codes."""

import contextlib
import io
import unittest
from unittest import mock

from harness.runner import cli, deps
from harness.runner.errors import EnvironmentFailed


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
                           (("run", "--seed", "x"), "invalid"),
                           (("run", "--jobs", "0"), "--jobs wants"),
                           (("run", "--overwrite-device", "/dev/x"), "there is none"),
                           (("run", "--device", "/dev/x"), "for --kernel native"),
                           (("run", "--section", "x"), "--local-config"),
                           (("race", "--threads", "17"), "--threads wants"),
                           (("race", "--size", "12345"), "--size wants"),
                           (("race", "--size", "1G"), "is not a size"),
                           (("race", "--ops", "-1"), "--ops and --seconds"),
                           (("race", "--sequence", "held-punch"), "follows no sequence"),
                           (("race", "--sceonds", "5"), "did you mean --seconds"),
                           (("report",), "required: RUN"),
                           (("report", "/nonexistent"), "is not a run"),
                           (("repro", "nothing"), "neither a case's folder"),
                           (("run", "--resume", "/nonexistent"), "is not a run")):
            with self.subTest(argv):
                code, err = call(*argv)
                self.assertEqual(code, 64, err)
                self.assertIn(says, err)
                self.assertEqual(err.count("\n"), 1, err)

    def test_help(self) -> None:
        self.assertEqual(call("--help")[0], 0)
        self.assertEqual(call("run", "--help")[0], 0)

    def test_no_stubs(self) -> None:
        for later in ("explore", "odp"):
            self.assertEqual(call(later)[0], 64)


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
