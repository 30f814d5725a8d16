# SPDX-License-Identifier: GPL-2.0
"""Explorations on real filesystems of this machine: the executor's request, and the whole of it."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from harness.runner.agent import decode, encode
from harness.runner.judge import JudgeEach
from harness.runner.proc import run
from harness.tests.mounts import unmount

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("PINFAULT_BUILD", ROOT / "build")).resolve()
CLEAN = "file A 16K written\npin A\nwrite A 0 8K\npunch A 0 4K\n"
HELD = "file A 16K written\npin A\nhold w1 A 0 8K\n"
SWAPPED = "file A 16K written\npin A\nwrite A 0 8K\nsabotage-swap A\n"


def cannot() -> str:
    """"" or why these tests cannot run here."""
    if os.getuid() != 0:
        return "needs root"
    return "" if Path("/dev/loop-control").exists() else "no loop devices here"


class Reply:
    def __init__(self, text: str) -> None:
        rows = [[decode(t) for t in line.split(" ")] for line in text.splitlines() if line]
        self.last = next(r for r in rows if r[0] in ("ok", "err"))
        self.env = {r[1]: " ".join(r[2:]) for r in rows if r[0] == "env"}
        self.said = {int(r[1]): r[2:] for r in rows if r[0] == "x"}
        self.pieces = [r[1:] for r in rows if r[0] == "y"]
        self.marks = [r for r in rows if r[0] == "at"]


@unittest.skipIf(cannot(), cannot())
class Requests(unittest.TestCase):
    def setUp(self) -> None:
        self.dir = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(self.dir.cleanup)
        self.root = Path(self.dir.name)
        self.mnt = self.root / "mnt"
        self.mnt.mkdir()
        image = self.root / "image"
        with open(image, "wb") as f:
            f.truncate(512 << 20)
        run("mkfs.xfs", "-q", str(image), timeout_s=60, check=True)
        run("mount", "-o", "loop", str(image), str(self.mnt), check=True)
        self.addCleanup(unmount, self.mnt)
        self.agent = subprocess.Popen([str(BUILD / "pinfault-exec"), "--stdio"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end)
        self.chunks = 0

    def end(self) -> None:
        self.agent.kill()
        self.agent.communicate()

    def ask(self, sequences: dict[int, str], **keys: object) -> None:
        self.chunks += 1
        words = {"run": 7, "dir": self.mnt / f"x{self.chunks}", "mnt": self.mnt, "scratch": self.root,
                 "channel": "store", "judge": BUILD / "pinfault-judge", "jobs": 2, "first": int(self.chunks == 1), **keys}
        assert self.agent.stdin
        self.agent.stdin.write("explore " + " ".join(f"{k}={v}" for k, v in words.items()) + "\n"
                               + "".join(f"seq {nr} {encode(text)}\n" for nr, text in sequences.items()) + "go\n")
        self.agent.stdin.flush()

    def reply(self) -> Reply:
        assert self.agent.stdout
        text = ""
        while True:
            line = self.agent.stdout.readline()
            text += line
            if not line or line.split()[:1] in (["ok"], ["err"]):
                return Reply(text)

    def views(self) -> Reply:
        assert self.agent.stdin
        self.agent.stdin.write(f"explore-views run=7 mnt={self.mnt}\n")
        self.agent.stdin.flush()
        return self.reply()

    def test_what_came_of_each(self) -> None:
        self.ask({1: CLEAN, 2: SWAPPED, 3: CLEAN + "collapse A 0 4K\n", 4: "file A 16K written\nread A 0 4K direct\n",
                  5: CLEAN + "freeze A\n", 6: "file A\n", 7: CLEAN + "syncfs A\n"})
        got = self.reply()
        self.assertEqual(got.last, ["ok", "ran"])
        self.assertEqual(set(got.said), {2, 4, 5, 6, 7})
        self.assertEqual(got.said[2][:2], ["corrupt", "lost"])
        self.assertIn("misplaced", got.said[2][2].split(","))
        self.assertIn("must be", got.said[2][5])  # the judge's evidence
        self.assertEqual(got.said[4][0], "inconclusive")
        self.assertEqual((got.said[5][0], got.said[6][0], got.said[7][0]), ("skipped", "broken", "skipped"))
        self.assertIn("freeze touches other files", got.said[5][4])
        self.assertEqual((got.env["coherent"], got.env["not_coherent"]), ("2", "5"))

    def test_histories_for_the_runner(self) -> None:
        """judge=-: they are what its own judge gets, the long ones in pieces."""
        long = CLEAN + "".join(f"write A {4096 * (i % 4)} 64\nread A 0 16K direct\n" for i in range(40))
        all_of_them = {1: CLEAN, 2: SWAPPED, 3: CLEAN + "freeze A\n", 4: long, 5: "file A\n"}
        self.ask(all_of_them)
        here = self.reply()
        self.ask(all_of_them, judge="-")
        got = self.reply()
        self.assertEqual((here.last, got.last), (["ok", "ran"], ["ok", "ran"]))
        self.assertEqual((set(got.said), got.env["coherent"], got.env["not_coherent"]), ({3, 5}, "0", "2"))
        self.assertGreater(len(got.pieces), 3)
        with JudgeEach(BUILD / "pinfault-judge") as judge:
            for words in got.pieces:
                judge.take(words)
            answers = dict(judge.finish())
        self.assertEqual(set(answers), {1, 2, 4})
        self.assertEqual((answers[1].verdict, answers[4].verdict), ("coherent", "coherent"))
        two = answers[2]
        self.assertEqual([two.verdict, two.resolution, ",".join(two.kinds)], here.said[2][:3])
        self.assertEqual(here.env["coherent"], "2")

    def test_after_the_remount(self) -> None:
        self.ask({nr: CLEAN for nr in range(1, 21)})
        self.assertEqual(self.reply().last, ["ok", "ran"])
        self.ask({30: "file A 16K written\nfile B 16K written\npin A\nwrite A 0 4K\nrename A B\n",
                  31: "file A 16K written\npin A\nwrite A 0 4K\nunlink A\n"})
        self.assertEqual(self.reply().said, {})
        # What changes behind its back while it is not mounted, in content, size or name, is seen.
        (self.mnt / "x1" / "5" / "A").write_bytes(b"x" * 16384)
        os.truncate(self.mnt / "x1" / "6" / "A", 8192)
        os.unlink(self.mnt / "x1" / "7" / "A")
        (self.mnt / "x2" / "31" / "A").write_bytes(b"")
        run("mount", "-o", "remount", str(self.mnt), check=True)
        got = self.views()
        self.assertEqual(sorted(got.said), [5, 6, 7, 31])
        self.assertEqual(got.said[5][:2], ["remount", "lost"])
        self.assertEqual(got.env["looked"], "23")
        self.assertEqual(self.views().env["looked"], "0")

    def child(self) -> int:
        """A process that works on the sequences, once it is past its start: files are made, and it notes where it crashes."""
        for _ in range(2000):
            tasks = Path(f"/proc/{self.agent.pid}/task/{self.agent.pid}/children").read_text().split()
            for pid in tasks:
                status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
                if (status["Name"] == "pinfault-exec" and int(status["SigCgt"], 16) >> (signal.SIGSEGV - 1) & 1
                        and any((self.mnt / "x1").glob("*/A"))):
                    return int(pid)
            time.sleep(0.001)
        self.fail("no process appeared")

    def until_steps_run(self, jobs: int = 1) -> None:
        """Of mark=1. While files are made it is told now and then where all @jobs are: never of one and then of the next."""
        assert self.agent.stdout
        last = 0  # of none, which is told as well
        while words := self.agent.stdout.readline().split():
            if len(words) == 2 and words[0] == "at":
                if jobs > 1 or last and int(words[1]) == last + 1:
                    return
                last = int(words[1])
        self.fail("no step ran")

    def test_a_process_that_is_killed(self) -> None:
        self.ask({nr: CLEAN for nr in range(1, 3001)})
        os.kill(self.child(), signal.SIGKILL)
        got = self.reply()
        self.assertEqual((got.last[:2], got.last[3]), (["ok", "died"], "9"))
        self.assertIn(int(got.last[2]), range(0, 3001))
        self.ask({1: CLEAN})  # the executor goes on
        self.assertEqual(self.reply().last, ["ok", "ran"])

    def test_a_process_that_crashes_says_where(self) -> None:
        self.ask({nr: CLEAN for nr in range(1, 3001)})
        os.kill(self.child(), signal.SIGSEGV)
        got = self.reply()
        self.assertEqual(got.last[:2], ["ok", "died"])
        self.assertRegex(" ".join(got.last[3:]), r"^11 at [^ ]+\+0x[0-9a-f]+ \(.*\), address 0x[0-9a-f]+$")

    def test_a_process_that_stands_still(self) -> None:
        self.ask({nr: CLEAN for nr in range(1, 3001)}, deadline_ms=300)
        os.kill(self.child(), signal.SIGSTOP)
        got = self.reply()
        self.assertEqual(got.last[:2], ["ok", "hung"])
        self.assertRegex(" ".join(got.last[3:]), r"^T do_signal_stop: do_signal_stop < get_signal < ")

    def test_where_a_step_stands_still(self) -> None:
        """Frozen behind its back: what writes then sleeps where nothing ends it, and the stack of that thread is told."""
        for channel, text, said in (("pwrite", CLEAN, ""), ("pvm-writev", HELD + "pwrite A 0 4K\n", r"line \d of the sequence, in ")):
            want = rf"^ok stuck hung \d+ {said}D (\w+): \1 < ([\w.]+ < )+entry_SYSCALL_64"
            for _ in range(5):  # if it was frozen while the held write was on its way, nothing is held
                if re.match(want, got := " ".join(self.frozen({nr: text for nr in range(1, 5001)}, channel).last)):
                    break
            self.assertRegex(got, want)

    def frozen(self, sequences: dict[int, str], channel: str) -> Reply:
        self.ask(sequences, channel=channel, jobs=1, deadline_ms=300, mark=1)
        self.until_steps_run()
        run("fsfreeze", "-f", str(self.mnt), timeout_s=60, check=True)
        try:
            return self.reply()
        finally:
            run("fsfreeze", "-u", str(self.mnt))

    def test_files_have_inode_numbers_in_the_order_in_which_they_are_made(self) -> None:
        """As they would have alone; here the free ones are few and far between."""
        chance = random.Random(1)
        folders = [self.mnt / f"d{nr}" for nr in range(1500)]
        for folder in folders:
            folder.mkdir()
            (folder / "A").touch()
            (folder / "B").touch()
        for folder in chance.sample(folders, 1200):
            shutil.rmtree(folder)
        self.ask({nr: CLEAN.replace("pin A", "file B 16K written\npin A") for nr in range(1, 401)}, jobs=4, mark=1)
        self.until_steps_run(jobs=4)
        run("fsfreeze", "-f", str(self.mnt), timeout_s=60, check=True)
        try:
            numbers = [[path.stat().st_ino for path in sorted(folder.iterdir())] for folder in self.mnt.glob("*/**/")
                       if folder not in folders]
        finally:
            run("fsfreeze", "-u", str(self.mnt))
        numbers = [pair for pair in numbers if len(pair) == 2]
        self.assertGreater(len(numbers), 100)
        self.assertEqual([pair for pair in numbers if pair[0] > pair[1]], [])
        self.assertEqual(self.reply().last, ["ok", "ran"])

    def test_a_step_that_runs(self) -> None:
        """The main thread waits for it, and is not what is told of. One that runs may only be slow: it gets longer."""
        text = "file A 768M hole\npin A\nhold w1 A 0 8K\nread A 0 768M buffered\nland w1\n"
        for _ in range(5):  # on a busy machine the sync before it is already too long
            began = time.monotonic()
            self.ask({1: text}, channel="pvm-writev", jobs=1, deadline_ms=30)
            got = self.reply()
            if got.last[2:3] != ["0"]:
                break
        self.assertGreater(time.monotonic() - began, 0.15)  # five deadlines
        self.assertEqual(got.last[:3], ["ok", "hung", "1"])
        self.assertRegex(" ".join(got.last[3:]), r"^(line \d of the sequence, in )?R running(:\w+)?: ")

    def test_a_process_that_stands_still_between_two_sequences(self) -> None:
        """Before it begins, as it would in a sync: no sequence can be named."""
        self.ask({nr: CLEAN for nr in range(1, 3)}, jobs=2, deadline_ms=300, judge=self.slow_judge())
        got = self.reply()
        self.assertEqual(got.last[:3], ["ok", "hung", "0"])

    def on_one_cpu(self) -> None:
        os.sched_setaffinity(self.agent.pid, {min(os.sched_getaffinity(0))})

    def test_turns_change_nothing_that_is_seen(self) -> None:
        self.on_one_cpu()
        all_of_them = {1 + 5 * i + j: text for i in range(12) for j, text in enumerate((
            CLEAN, SWAPPED, CLEAN + "freeze A\n", HELD + "truncate A 4K\nland w1\n", HELD + "evict A\nland w1\nread A 0 4K direct\n"))}
        said = []
        for turns in (0, 1):
            self.ask(all_of_them, channel="pwrite", jobs=4, turns=turns)
            got = self.reply()
            self.assertEqual(got.last, ["ok", "ran"])
            said.append(({nr: row[:3] for nr, row in got.said.items()},
                         {k: v for k, v in got.env.items() if k.startswith(("coherent", "not_", "resolution"))}))
        self.assertEqual(said[0], said[1])
        self.assertEqual(said[0][1]["resolution:blocked"], "12")

    def test_a_turn_is_given_away_where_a_step_sleeps(self) -> None:
        """A held write(2) has the file's lock: for each truncation it takes 60 ms to see that it sleeps."""
        self.on_one_cpu()
        walls: dict[int, list[int]] = {1: [], 4: []}
        for jobs in (1, 4, 4, 4, 4):  # one of four, should the machine be busy
            self.ask({nr: HELD + "truncate A 4K\nland w1\n" for nr in range(1, 17)}, channel="pwrite", jobs=jobs, turns=1)
            got = self.reply()
            self.assertEqual((got.last, got.env["resolution:blocked"]), (["ok", "ran"], "16"))
            walls[jobs].append(int(got.env["phase_us:run"]))
        self.assertGreater(walls[1][0], 16 * 60_000)
        self.assertLess(min(walls[4]), 16 * 60_000)  # so they slept at the same time

    def test_one_that_stands_still_in_its_turn(self) -> None:
        self.on_one_cpu()
        self.ask({nr: CLEAN for nr in range(1, 3001)}, deadline_ms=300, turns=1)
        os.kill(self.child(), signal.SIGSTOP)
        got = self.reply()
        self.assertEqual((got.last[:2], got.last[3][:1]), (["ok", "hung"], "T"))

    def slow_judge(self) -> Path:
        path = self.root / "judge"
        path.write_text("#!/bin/sh\nsleep 30\n")
        path.chmod(0o755)
        return path

    def test_marks(self) -> None:
        self.ask({nr: CLEAN for nr in (4, 9)}, jobs=1, mark=1)
        self.assertEqual([m for m in self.reply().marks if len(m) == 2], [["at", "4"], ["at", "9"]])

    def test_bad_requests(self) -> None:
        self.ask({})
        self.assertEqual(self.reply().last[:2], ["err", "22"])
        self.ask({1: CLEAN}, judge="/nowhere")
        self.assertEqual(self.reply().last[0], "err")
        self.ask({1: CLEAN}, channel="nonesuch")
        self.assertEqual(self.reply().last[0], "err")


@unittest.skipIf(cannot(), cannot())
class Whole(unittest.TestCase):
    def setUp(self) -> None:
        self.dir = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(self.dir.cleanup)
        self.out = Path(self.dir.name) / "run"

    def explore(self, *options: str) -> tuple[int, str, str]:
        done = subprocess.run([str(ROOT / "run.sh"), "explore", "--no-install", *options], capture_output=True, text=True,
                              timeout=300)
        return done.returncode, done.stdout, done.stderr

    def native(self, *options: str) -> tuple[int, str, dict[str, object]]:
        code, out, err = self.explore("--kernel", "native", "--fs", "xfs", "--channel", "store", "--out", str(self.out),
                                      *options)
        self.assertTrue((self.out / "run.json").exists(), err)
        return code, out, json.loads((self.out / "run.json").read_text())

    def test_core_finds_nothing_with_stores(self) -> None:
        code, out, meta = self.native("--depth", "2")
        cell = meta["explore"]["cells"]["native/xfs/store"]  # type: ignore[index]
        self.assertEqual((code, cell["findings"], cell["unconfirmed"]), (0, [], []), out)
        self.assertEqual((cell["depth_done"], cell["finished"]), (2, True))
        self.assertEqual(cell["ran"], cell["coherent"] + cell["idle"] + sum(cell["inconclusive"].values()))
        self.assertEqual(cell["ran"], sum(c["run"] for c in meta["explore"]["counts"]))  # type: ignore[index]
        self.assertGreater(cell["looked_after_remount"], cell["ran"] - 1)

    def test_the_planted_finding_and_no_other(self) -> None:
        alphabet = Path(self.dir.name) / "planted.alphabet"
        alphabet.write_text("# planted\nfile A 16K written pinned\nstep write A 0,4K 8K\nstep punch A 0 4K\n"
                            "step fsync A\nstep sabotage-swap A\nstep read A 0 whole direct\n")
        code, out, meta = self.native("--depth", "3", "--alphabet", str(alphabet), "--repeats", "3")
        cell = meta["explore"]["cells"]["native/xfs/store"]  # type: ignore[index]
        self.assertEqual(code, 1, out)
        self.assertEqual(len(cell["findings"]), 1, out)
        finding = cell["findings"][0]
        self.assertEqual(finding["steps"], [["sabotage-swap", [0]]])
        self.assertEqual((finding["shown"], finding["tries"], finding["outcome"]), (3, 3, "differs"))
        self.assertGreater(finding["under"], 20)
        self.assertIn("sabotage-swap A", out)
        again = subprocess.run([str(ROOT / "run.sh"), "report", str(self.out)], capture_output=True, text=True, timeout=60)
        self.assertEqual(again.stdout, out)

    def test_stopped_and_resumed(self) -> None:
        argv = ["--kernel", "native", "--fs", "xfs", "--channel", "store", "--depth", "3", "--seed", "3",
                "--alphabet", "write punch fsync"]  # some seconds: it must not be over before it is stopped
        state = self.out / "explore" / "native" / "xfs" / "store" / "state.json"
        with subprocess.Popen([str(ROOT / "run.sh"), "explore", "--no-install", "--out", str(self.out), *argv],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as child:
            # (What a shell began in the background ignores it.)
            until = time.monotonic() + 120
            while not state.exists() and time.monotonic() < until:
                time.sleep(0.01)
            child.send_signal(signal.SIGINT)
            assert child.stderr
            said = child.stderr.read()
            self.assertEqual(child.wait(60), 2, said)
        self.assertRegex(said, r"--resume \S+ goes on")
        self.assertFalse(json.loads((self.out / "run.json").read_text())["complete"])
        self.assertEqual(run("losetup", "-l", "-n").out.count(str(self.out)), 0)
        kept = state.read_text()
        before = json.loads(kept)["ran"]
        state.write_text("")  # said before anything runs
        code, out, err = self.explore("--resume", str(self.out))
        self.assertEqual((code, out), (64, ""))
        self.assertRegex(err.splitlines()[-1], f"^pinfault: {state}: .*; without this file its cell begins again$")
        self.assertNotIn("Traceback", err)
        state.write_text(kept)
        code, out, err = self.explore("--resume", str(self.out))
        meta = json.loads((self.out / "run.json").read_text())
        cell = meta["explore"]["cells"]["native/xfs/store"]
        self.assertEqual((code, cell["finished"], meta["complete"]), (0, True, True), out + err)
        self.assertEqual(cell["ran"], sum(c["run"] for c in meta["explore"]["counts"]))
        self.assertLess(before, cell["ran"])

    def test_a_budget_and_more_of_it(self) -> None:
        """What was seen in the first part and not confirmed is confirmed in the second, and nothing is run twice."""
        alphabet = Path(self.dir.name) / "planted.alphabet"
        alphabet.write_text("# planted\nfile A 16K written pinned\nstep write A 0,4K 8K\nstep punch A 0 4K\n"
                            "step store A 0 64\nstep fsync A\nstep evict A\nstep sabotage-swap A\n"
                            "step read A 0 whole direct\n")
        began = time.monotonic()
        code, out, meta = self.native("--depth", "5", "--alphabet", str(alphabet), "--repeats", "3", "--budget", "5s")
        self.assertLess(time.monotonic() - began, 60)
        cell = meta["explore"]["cells"]["native/xfs/store"]  # type: ignore[index]
        self.assertEqual((code, cell["finished"], meta["complete"]), (1, False, True), out)
        told = [f["steps"] for f in [*cell["findings"], *cell["seen"]]]
        self.assertIn([["sabotage-swap", [0]]], told)
        code, out, err = self.explore("--resume", str(self.out), "--budget", "10s")
        after = json.loads((self.out / "run.json").read_text())["explore"]["cells"]["native/xfs/store"]
        self.assertEqual(code, 1, out + err)
        self.assertGreater(after["ran"], cell["ran"])
        self.assertEqual([(f["steps"], f["shown"], f["tries"]) for f in after["findings"]],
                         [([["sabotage-swap", [0]]], 3, 3)])
        place = after["index"] - after["left"] + sum(
            c["run"] for c in meta["explore"]["counts"] if c["depth"] < after["depth"])  # type: ignore[index]
        self.assertEqual(after["ran"], place)


if __name__ == "__main__":
    unittest.main()
