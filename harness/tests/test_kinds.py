# SPDX-License-Identifier: GPL-2.0
"""Golden pairs of the kinds that a check beside the judge finds (results/README.md), on a machine that says
what is written in golden/NAME.passed.* and golden/NAME.caught.*:

    .reply    the executor's answer to a case: its history, then the last line
    .klog     what the kernel logged meanwhile
    .console  the end of the console of a machine that died in the case
    .vmstat   the pin counters, before the case and each time they are read after it
    .quota    what root is charged for and what its files have, each time it is asked after the case
    .sh       a command, what it says, and its exit status, whenever it is run after the case

The case goes the way of every case, through the runner's own checks and the real judge. NAME.expect has lines
that must come of it: `verdict WORD`, `kind NAME`, `finding NAME: TEXT` (`~TEXT`: has it somewhere), `nothing found`.
"""

import os
import re
import unittest
from unittest import mock
from collections.abc import Callable
from pathlib import Path

from .fake_machine import FakeMachine
from .test_runner_execute import Bench
from harness.runner import fsops
from harness.runner.agent import encode
from harness.runner.fsconfig import FsConfig
from harness.runner.klog import KernelLog

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"
JUDGE = Path(os.environ.get("PINFAULT_BUILD", "build")).resolve() / "pinfault-judge"
PLAIN = """pinfault-history 1
case 1 7 store pte trivial A%20plain%20write
file A 1 128 written 1
inv 2 10 pin A
ret 2 11 ok 0
inv 3 20 write A 0 128
ret 3 21 ok 128
inv 4 30 look A 0 0 buffered
see 4 A buffered 128 0 128 w3*2
ret 4 31 ok 0
end 40
ok ran
"""


def body(path: Path) -> str:
    """Without the comments."""
    return "".join(line for line in path.read_text().splitlines(True) if not line.startswith("#"))


class GoldenMachine(FakeMachine):
    """One case is run on it, and what the golden file says happens then."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.reply = PLAIN
        self.pin_readings: list[list[str]] = []
        self.says: tuple[list[str], list[str]] | None = None  # words of a command; its reply
        self.asked = 0
        self.quota_readings = [["env quota_bytes 8192", "env files_bytes 8192"]]
        self.asked_quota = 0
        form: dict[str, Callable[[str], None]] = {
            ".reply": self.form_reply, ".klog": self.form_klog, ".console": self.form_console,
            ".vmstat": self.form_vmstat, ".quota": self.form_quota, ".sh": self.form_sh}
        form[path.suffix](body(path))

    def form_reply(self, text: str) -> None:
        self.reply = text

    def form_klog(self, text: str) -> None:
        self.log_of_case = text.splitlines()
        self.on_case = self.logs

    def logs(self, nr: int, machine: FakeMachine) -> str:
        self.kmsg = list(self.log_of_case)
        return "ok ran"

    def form_console(self, text: str) -> None:
        self.console = text
        self.on_case = lambda nr, machine: "die"

    @staticmethod
    def readings(text: str) -> list[list[str]]:
        return [["env " + line for line in part.splitlines()] for part in text.strip().split("\n\n")]

    def form_vmstat(self, text: str) -> None:
        self.pin_readings = self.readings(text)

    def form_quota(self, text: str) -> None:
        self.quota_readings += self.readings(text)

    def form_sh(self, text: str) -> None:
        lines = text.splitlines()
        assert lines[0].startswith("$ ") and lines[-1].startswith("exit ")
        self.says = lines[0].split()[1:], [*(f"out {encode(line)}" for line in lines[1:-1]), "ok " + lines[-1]]

    def do_pins(self, *_: object) -> list[str]:
        if not self.pin_readings:
            return super().do_pins()
        at = min(self.asked, len(self.pin_readings) - 1)
        self.asked += 1
        return [*self.pin_readings[at], "ok"]

    def do_quota(self, *_: object) -> list[str]:
        at = min(self.asked_quota, len(self.quota_readings) - 1)
        self.asked_quota += 1 if self.ran else 0
        return [*self.quota_readings[at if self.ran else 0], "ok"]

    def do_sh(self, words: list[str], keys: object) -> list[str]:
        text = " ".join(words[1:])
        if self.says and self.ran and all(word in text for word in self.says[0]):
            self.commands.append(" ".join(self.says[0]))
            return list(self.says[1])
        return super().do_sh(words, keys)

    def do_case(self, words: object, keys: dict[str, str]) -> list[str]:
        if not super().do_case(words, keys):
            return []
        *history, last = self.reply.splitlines()
        return [*(f"h {encode(line)}" for line in history), " ".join(encode(w) for w in last.split(" "))]

    def do_views(self, *_: object) -> list[str]:
        return ["ok"]


def table_kinds() -> list[str]:
    """The first column of the table of kinds."""
    text = (ROOT / "results/README.md").read_text().split("| kind | what was seen |")[1].split("\n\n")[0]
    return [name for line in text.splitlines() for name in re.findall(r"`([\w-]+)`", (line.split("|") + ["", ""])[1])]


class Readmes(unittest.TestCase):
    def test_every_code_block_ends(self) -> None:
        for path in (ROOT / "README.md", *ROOT.glob("*/README.md")):
            fences = [line for line in path.read_text().splitlines() if line.startswith("```")]
            self.assertEqual((len(fences) % 2, [f for f in fences[1::2] if f != "```"]), (0, []), path)

    def test_every_link_leads_somewhere(self) -> None:
        found = 0
        for path in ROOT.glob("**/*.md"):
            for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
                found += 1
                self.assertTrue((path.parent / link).exists(), f"{path}: {link}")
        self.assertGreater(found, 50)

    def test_every_finding_is_in_the_list(self) -> None:
        """With what its folder has: a program, a fix."""
        folder = ROOT / "results/reference/findings"
        rows = dict(re.findall(r"^\| \[([^]]+)\]\(\1/README.md\) (\|.*)$", (folder / "README.md").read_text(), re.M))
        self.assertEqual(sorted(rows), sorted(p.name for p in folder.iterdir() if p.is_dir()))
        for name, row in rows.items():
            self.assertEqual(("| yes |" in row, "program" in row),
                             ((folder / name / "fix.patch").exists(), any((folder / name).glob("*.c"))), name)


class Kinds(Bench):
    def outcome(self, path: Path) -> list[str]:
        self.context.judge_program = JUDGE
        self.enterContext(mock.patch.object(fsops, "QUOTA_PATIENCE_S", 0.15))
        self.context.klog = KernelLog.load(ROOT / "harness/expected/klog.allow")
        fstype = path.name.partition(".")[0].partition("-")[2]
        if path.suffix == ".sh" and fstype in ("ext4", "btrfs"):
            self.context.configs["xfs"] = FsConfig(fstype, fstype)
        if path.suffix == ".quota":
            self.context.configs["xfs"] = FsConfig("xfs", "xfs", proves={"quota": "1"})
        machine = GoldenMachine(path)
        (got,) = self.run_it(machine, self.cases(1)).values()
        if machine.says:
            self.assertIn(" ".join(machine.says[0]), machine.commands, "nobody ran this command")
        found = [f"kind {k}" for k in got.kinds] + [f"finding {f['kind']}: {f['text']}" for f in got.findings]
        return [f"verdict {got.verdict}", *(found or ["nothing found"])]

    def test_each_gets_its_answer(self) -> None:
        paths = [p for form in ("reply", "klog", "console", "vmstat", "quota", "sh") for p in sorted(GOLDEN.glob(f"*.{form}"))]
        self.assertGreater(len(paths), 20)
        for path in paths:
            with self.subTest(path.name):
                self.setUp()
                got = self.outcome(path)
                wanted = path.with_suffix(".expect").read_text().splitlines()
                for line in wanted:
                    start, contains, rest = line.partition("~")
                    self.assertTrue(any(g.startswith(start) and rest in g for g in got) if contains else line in got,
                                    f"{line!r} is not in {got}")
                self.assertEqual(len(got), len(wanted), got)

    def test_every_kind_has_a_pair(self) -> None:
        kinds = table_kinds()
        self.assertGreater(len(kinds), 18)
        for kind in kinds:
            with self.subTest(kind):
                for what in ("passed", "caught"):
                    self.assertEqual(len(list(GOLDEN.glob(f"{kind}.{what}.*"))), 2, f"{kind}.{what} and its .expect")
                lines = (GOLDEN / f"{kind}.caught.expect").read_text().splitlines()
                self.assertTrue(any(line == f"kind {kind}" or line.startswith(f"finding {kind}:") for line in lines), lines)
                self.assertNotRegex((GOLDEN / f"{kind}.passed.expect").read_text(), "(?m)^(kind|finding)")

    def test_each_says_first_what_happens(self) -> None:
        for path in GOLDEN.iterdir():
            if path.suffix != ".expect" and ".broken." not in path.name:
                self.assertTrue(path.read_text().startswith("# "), path.name)


if __name__ == "__main__":
    unittest.main()
