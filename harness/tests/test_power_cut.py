# SPDX-License-Identifier: GPL-2.0
"""The executor's side of a power cut: on a terminal in place of a guest's port, and with nobody who
cuts anything. What a case says before and after the reply to it, and that it goes on living."""

import os
import select
import subprocess
import tempfile
import time
import tty
import unittest
from pathlib import Path

from harness.runner.agent import Agent, late_histories
from harness.runner.errors import AgentDied, AgentTimeout

BUILD = Path(os.environ.get("PINFAULT_BUILD", "build")).resolve()
REST = "file A 64K written\npin A\nwrite A 0 8K\nfsync A\npower-cut A\n"
BUSY = "file A 64K written\npin A\npower-cut A\nwrite A 0 8K\nfsync A\n"


class Port:
    """An executor with --port, which takes it for a guest's."""

    def __init__(self, late: Path) -> None:
        late.touch()
        self.ours, theirs = os.openpty()
        tty.setraw(self.ours)
        tty.setraw(theirs)
        self.child = subprocess.Popen([str(BUILD / "pinfault-exec"), "--port", os.ttyname(theirs), "--late", str(late)],
                                      stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.theirs = theirs
        self.buffer = b""

    def send(self, line: str) -> None:
        os.write(self.ours, line.encode() + b"\n")

    def recv(self, timeout_s: float) -> str:
        until = time.monotonic() + timeout_s
        while b"\n" not in self.buffer:
            if not select.select([self.ours], [], [], max(0.0, until - time.monotonic()))[0]:
                raise AgentTimeout("silent")
            data = os.read(self.ours, 1 << 16)
            if not data:
                raise AgentDied("gone")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()

    def close(self) -> None:
        self.child.kill()
        self.child.wait(10)
        os.close(self.ours)
        os.close(self.theirs)


class PowerCut(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(dir=BUILD)  # not /tmp, which may be a tmpfs
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.late = Path(folder.name) / "late"
        self.port = Port(self.late)
        self.addCleanup(self.port.close)
        self.asked: list[str] = []
        self.agent = Agent(self.port, self.asked.append)

    def case(self, nr: int, seq: str, channel: str = "store"):
        return self.agent.case(60, nr=nr, run=7, dir=f"{self.folder}/c{nr}", mnt=self.folder, scratch=self.folder,
                               channel=channel, seq="# T\n" + seq, deadline_ms=3000, grace_ms=100)

    def test_at_rest(self) -> None:
        reply = self.case(1, REST)
        self.assertEqual(reply.last, ["ok", "power"])
        self.assertRegex(reply.history()[-1], r"^inv \d+ \d+ fault power-cut crash A$")
        self.assertEqual(self.case(2, REST).last, ["ok", "power"])  # beside the first, which waits
        self.agent.watch(0.3)
        self.assertEqual(self.late.read_text(), "")

    def test_at_work(self) -> None:
        self.assertEqual(self.case(3, BUSY).last, ["ok", "power"])
        self.assertTrue(self.agent.sh("true").ok)  # others are served meanwhile
        self.agent.watch(1.0)
        late = late_histories(self.late.read_text().split("\n")[:-1])[3]
        begun = [line.split()[1] for line in late if line.startswith("inv")]
        self.assertGreater(len(begun), 4)
        self.assertEqual(begun, sorted(set(begun), key=int))
        for op in begun[:-1]:  # of what was begun, only the last may be in flight
            self.assertTrue([line for line in late if line.startswith(f"ret {op} ")], late)

    def test_dies_with_the_agent(self) -> None:
        self.case(3, BUSY)
        before = self.children()
        self.assertTrue(before)
        self.port.child.kill()
        self.port.child.wait(10)
        until = time.monotonic() + 10
        while (left := [pid for pid in before if self.runs(pid)]) and time.monotonic() < until:
            select.select([], [], [], 0.01)
        self.assertEqual(left, [])

    def children(self) -> list[int]:
        pid = self.port.child.pid
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    @staticmethod
    def runs(pid: int) -> bool:
        try:
            return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False

    def test_forget_is_asked_and_waited_for(self) -> None:
        reply = self.case(4, "file A 64K written\npin A\nwrite A 0 8K\nsabotage-lost-flush A\npower-cut A\n")
        self.assertEqual((reply.last, self.asked), (["ok", "power"], ["forget"]))

    def test_what_cannot_be_repeated(self) -> None:
        reply = self.case(5, REST + "unpin A\n")
        self.assertEqual(reply.last[0], "err")
        self.assertIn("cannot be repeated", " ".join(reply.last))

    def test_views_go_on_with_the_time(self) -> None:
        self.case(6, REST)
        seen = self.agent.views(60, nr=6, run=7, label="crash", files="A", dir=f"{self.folder}/c6",
                                add_ns=10 ** 18).history()
        self.assertGreater(int(seen[0].split()[1]), 10 ** 18)
        self.assertGreater(int(seen[1].split()[2]), 10 ** 18)
        self.assertIn("w3*128", seen[2])

    def test_not_on_the_machine_of_the_harness(self) -> None:
        child = subprocess.run([str(BUILD / "pinfault-exec"), "--stdio"], capture_output=True, text=True, timeout=60,
                               input=f"case nr=1 run=7 dir={self.folder}/c1 mnt={self.folder} "
                               f"scratch={self.folder} channel=store seq=file%20A%2064K%20hole%0Apower-cut%20A\n")
        self.assertIn("ok skip power-cut%20runs%20in%20guests%20only", child.stdout)


if __name__ == "__main__":
    unittest.main()
