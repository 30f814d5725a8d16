# SPDX-License-Identifier: GPL-2.0
"""The executor's races on real filesystems of this machine: what is recorded, passed on, refused, cut off."""

import fcntl
import os
import signal
import struct
import subprocess
import tempfile
import time
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import racelog
from harness.runner.agent import decode
from harness.runner.proc import run
from harness.tests.mounts import unmount
from harness.runner.racelog import Window

ROOT = Path(__file__).resolve().parents[2]
EXECUTOR = Path(os.environ.get("PINFAULT_BUILD", ROOT / "build")).resolve() / "pinfault-exec"
SHUTDOWN = 0x8004587d  # FS_IOC_SHUTDOWN, of a uint32: 1 with the log flushed, 2 without
QUIET = "punch,truncate,zero-range,evict,fsync"  # no walk over the whole machine's memory
JUDGE = """#!/bin/sh
[ "$1 $2" = "--race -" ] || exit 64
cat > "$(dirname "$0")/got"
echo "verdict coherent"
echo "evidence two%20words"
echo end
"""


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
        self.judge = [r[1:] for r in rows if r[0] == "j"]


class OnAFilesystem(unittest.TestCase):
    FSTYPE = "tmpfs"

    def setUp(self) -> None:
        self.dir = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(self.dir.cleanup)
        self.root = Path(self.dir.name)
        self.mnt = self.root / "mnt"
        self.mnt.mkdir()
        self.number = 0
        if self.FSTYPE == "tmpfs":
            run("mount", "-t", "tmpfs", "race-test", str(self.mnt), check=True)
        else:
            image = self.root / "image"
            with open(image, "wb") as f:
                f.truncate(512 << 20)
            run(f"mkfs.{self.FSTYPE}", "-q", str(image), timeout_s=60, check=True)
            run("mount", "-o", "loop", str(image), str(self.mnt), check=True)
        self.addCleanup(unmount, self.mnt)

    @contextmanager
    def begun(self, **keys: object) -> Iterator["subprocess.Popen[str]"]:
        """A race under way, asked for but not waited for."""
        self.number += 1
        words = {"nr": self.number, "run": 7, "dir": self.mnt / f"d{self.number}", "mnt": self.mnt,
                 "scratch": self.root, "channel": "store", "seed": 1, "faults": QUIET, **keys}
        with subprocess.Popen([str(EXECUTOR), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as child:
            try:
                assert child.stdin
                child.stdin.write("race " + " ".join(f"{k}={v}" for k, v in words.items()) + "\nquit\n")
                child.stdin.flush()
                yield child
            finally:
                child.kill()

    def until_it_races(self, stream: Path) -> None:
        deadline = time.monotonic() + 20
        while not stream.exists() or stream.stat().st_size < 100000:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def race(self, **keys: object) -> Reply:
        with self.begun(**keys) as child:
            return Reply(child.communicate(timeout=120)[0])

    def recorded(self, **keys: object) -> tuple[Reply, racelog.Stream]:
        path = self.root / "stream"
        reply = self.race(record=path, **keys)
        stream = racelog.read(path.read_bytes())
        path.unlink()
        return reply, stream


@unittest.skipIf(cannot(), cannot())
class Tmpfs(OnAFilesystem):
    def test_what_is_recorded_is_what_ran(self) -> None:
        reply, stream = self.recorded(ops=6000, threads=3, files=3, faults="punch,truncate,evict")
        self.assertEqual(reply.last, ["ok", "ran"])
        self.assertTrue(stream.ended)
        self.assertEqual((stream.run, stream.case, stream.nr_threads, len(stream.files), stream.channel, stream.seed),
                         (7, 1, 3, 3, "store", 1))
        self.assertEqual(len(stream.records), int(reply.env["ops"]))
        self.assertGreaterEqual(len(stream.records), 6000)
        counts = stream.counts()
        for verb in racelog.VERBS:
            failed = sum(int(n) for k, n in reply.env.items() if k.startswith(verb + ":") and verb != "fault")
            if verb != "fault":
                self.assertEqual(counts[verb], int(reply.env[verb]) + failed, verb)
            self.assertGreater(counts[verb], 0, verb)
        self.assertEqual({r.thread for r in stream.records}, {0, 1, 2})
        # At the end every file was looked at, all of it, by nothing but the looks themselves.
        last = max(r.ret for r in stream.records if r.thread)
        final = [r for r in stream.records if r.inv > last and racelog.VERBS[r.verb] == "look"]
        whole = [(r.file, racelog.VIEWS[r.what]) for r in final if r.first == 0 and r.size == sum(n for _, n, _ in r.runs)]
        for file in (0, 1, 2):
            # Through every view there is, and once more after its pages were dropped.
            for view, times in (("mmap", 1), ("buffered", 2)):
                self.assertGreaterEqual(whole.count((file, view)), times, (file, view))

    def test_a_seed_gives_the_same_choices(self) -> None:
        def choices(seed: int) -> list[tuple[int, ...]]:
            _, stream = self.recorded(ops=2000, threads=1, seed=seed, faults="punch,truncate")
            return [(r.op, r.verb, r.what, r.file, r.first, r.cells) for r in stream.records]
        self.assertEqual(choices(5), choices(5))
        self.assertNotEqual(choices(5), choices(6))

    def test_only_these_verbs_and_views(self) -> None:
        reply, stream = self.recorded(ops=3000, verbs="pwrite,look,fault", views="mmap", faults="punch")
        self.assertEqual((reply.env["write"], reply.env["store"]), ("0", "0"))
        counts = stream.counts()
        self.assertEqual((counts["write"], counts["store"]), (0, 0))
        for verb in ("pwrite", "look", "fault"):
            self.assertGreater(counts[verb], 0, verb)
        looks = [r for r in stream.records if racelog.VERBS[r.verb] == "look" and r.thread]  # thread 0 has the last ones
        self.assertEqual({racelog.VIEWS[r.what] for r in looks}, {"mmap"})

    def test_a_part_of_a_stream(self) -> None:
        path = self.root / "stream"
        self.race(ops=20000, record=path)
        stream, window = racelog.read(path.read_bytes(), sums=False), Window(path)
        began = min(r.inv for r in stream.records)
        end = max(r.ret for r in stream.records) - began
        self.assertEqual(window.operations, len(stream.records))
        self.assertGreater(len(window.chunks), 20)
        for low, high in ((0, end), (end // 3, end // 3), (end // 2, end // 2 + 1000000), (end - 1000, 2 * end)):
            want = {r.op for r in stream.records if r.inv - began <= high and r.ret - began >= low}
            self.assertEqual({r.op for r in window.records(low, high)}, want)
        some = stream.records[len(stream.records) // 2]
        for found in (window.find(some.op), window.find(some.op, some.inv - began)):
            assert found
            self.assertEqual((found.op, found.inv, found.runs), (some.op, some.inv - began, some.runs))
        self.assertIsNone(window.find(1 << 31))
        with open(path, "r+b") as file:  # cut off: what is before it stands
            file.truncate(path.stat().st_size - 7)
        self.assertLess(Window(path).operations, len(stream.records))

    def test_the_judge_gets_the_stream_and_is_passed_on(self) -> None:
        judge = self.root / "judge"
        judge.write_text(JUDGE)
        judge.chmod(0o700)
        reply = self.race(ops=2000, judge=judge)
        self.assertEqual(reply.last, ["ok", "ran"])
        self.assertEqual(reply.judge, [["verdict", "coherent"], ["evidence", "two words"], ["end"]])
        self.assertEqual(reply.env["judge"], "exit 0")
        stream = racelog.read((self.root / "got").read_bytes())
        self.assertTrue(stream.ended)
        self.assertEqual(len(stream.records), int(reply.env["ops"]))

    def test_a_judge_that_ends_ends_the_race(self) -> None:
        judge = self.root / "judge"
        judge.write_text("#!/bin/sh\nexit 3\n")
        judge.chmod(0o700)
        reply = self.race(ms=20000, judge=judge)
        self.assertEqual(reply.last, ["err", "5", "the judge ended before the race"])
        self.assertEqual(reply.env["judge"], "exit 3")

    def test_unchecked(self) -> None:
        path = self.root / "stream"
        reply = self.race(ops=3000, check=0, record=path)
        self.assertEqual((reply.last, reply.env["cells_seen"], reply.env["stream_bytes"]), (["ok", "ran"], "0", "0"))
        self.assertFalse(path.exists())

    def test_time(self) -> None:
        reply, stream = self.recorded(ms=300)
        self.assertEqual(reply.last, ["ok", "ran"])
        self.assertTrue(0.3 <= float(reply.env["seconds"]) < 5, reply.env["seconds"])
        self.assertTrue(stream.ended)

    def test_what_tmpfs_does_not_know_is_dropped_and_named_once(self) -> None:
        reply, stream = self.recorded(ops=4000, faults="zero-range,punch")
        self.assertEqual(reply.env["dropped:zero-range"], "EOPNOTSUPP")
        self.assertNotIn("dropped:punch", reply.env)
        asked = sum(r.result == -95 for r in stream.records if racelog.VERBS[r.verb] == "fault")
        self.assertTrue(1 <= asked <= stream.nr_threads, asked)

    def test_wrong_requests(self) -> None:
        for keys, says in (({"ops": 1, "faults": "punsh"}, "fault 'punsh' does not exist"),
                           ({"ops": 1, "faults": "crash"}, "fault 'crash' cannot be raced"),
                           ({"ops": 1, "channel": "stor"}, "no channel 'stor'"),
                           ({"ops": 1, "size": 5}, "size: a multiple of"),
                           ({"ops": 1, "files": 9}, "threads 1..16, files 1..8"),
                           ({"ops": 1, "verbs": "look,fault"}, "verbs: look, and one that writes"),
                           ({"ops": 1, "verbs": "look,wirte"}, "verbs: write, store, pwrite, look, fault"),
                           ({"ops": 1, "judge": "/nowhere"}, "/nowhere: ENOENT"),
                           ({}, "race needs")):
            with self.subTest(keys):
                reply = self.race(**keys)
                self.assertEqual(reply.last[0], "err")
                self.assertIn(says, " ".join(reply.last))

    def test_what_can_be_raced_is_said_before(self) -> None:
        said = subprocess.run([str(EXECUTOR), "--stdio"], input="hello\nquit\n", stdout=subprocess.PIPE, text=True,
                              timeout=20).stdout
        rows = [line.split(" ") for line in said.splitlines()]
        faults = {row[1]: row[3].split(",") for row in rows if row[0] == "fault"}
        self.assertGreater(len(faults), 30)
        for name, flags in faults.items():
            reply = self.race(ops=4, faults=name)
            self.assertEqual("cannot be raced" in " ".join(reply.last), "unraced" in flags, (name, flags, reply.last))

    def test_every_flipped_bit_of_a_stream_is_refused(self) -> None:
        path = self.root / "stream"
        self.race(ops=200, record=path, faults="none")
        data = path.read_bytes()
        for at in range(0, len(data), 97):
            broken = bytearray(data)
            broken[at] ^= 1 << at % 8
            with self.assertRaises(racelog.Defect, msg=f"byte {at}"):
                racelog.read(bytes(broken))


@unittest.skipIf(cannot(), cannot())
class Ext4(OnAFilesystem):
    FSTYPE = "ext4"

    def test_faults_that_move_blocks(self) -> None:
        reply, stream = self.recorded(ops=3000, faults="collapse,insert,truncate,punch,zero-range,fsync")
        self.assertEqual(reply.last, ["ok", "ran"])
        half = stream.files[0][1] // 2
        sizes = [r.size for r in stream.records if racelog.VERBS[r.verb] == "look"]
        self.assertGreaterEqual(min(sizes), half)
        self.assertEqual({size % 64 for size in sizes}, {0})
        done = {racelog.PRIMS[r.what] for r in stream.records if racelog.VERBS[r.verb] == "fault" and not r.result}
        self.assertLessEqual({"collapse", "insert", "resize", "zero", "sync"}, done)

    def test_files_do_not_get_too_small(self) -> None:
        _, stream = self.recorded(ops=6000, faults="collapse", size=32768)
        collapsed = sum(r.result == 0 for r in stream.records if racelog.VERBS[r.verb] == "fault")
        self.assertGreater(collapsed, 10)
        smallest = min(r.size for r in stream.records if racelog.VERBS[r.verb] == "look")
        self.assertTrue(stream.files[0][1] // 2 <= smallest < stream.files[0][1], smallest)

    def test_a_refused_pin_is_an_answer(self) -> None:
        reply = self.race(ops=100, channel="uring-fixed")
        self.assertEqual(reply.last[:2], ["ok", "refused"])
        self.assertRegex(reply.last[2], "^(EFAULT|EOPNOTSUPP) ")

    def test_an_operation_that_does_not_return(self) -> None:
        path = self.root / "stream"
        with self.begun(ms=60000, deadline_ms=1500, record=path) as child:
            self.until_it_races(path)
            run("fsfreeze", "-f", str(self.mnt), check=True)  # what writes now sleeps
            try:
                reply = Reply(child.communicate(timeout=60)[0])
            finally:
                run("fsfreeze", "-u", str(self.mnt))
        self.assertEqual(reply.last[:2], ["ok", "hung"])
        self.assertRegex(reply.last[2], r"^thread \d+, in [SD] ")
        stream = racelog.read(path.read_bytes())
        self.assertTrue(stream.ended)
        lost = [r for r in stream.records if not r.returned]
        self.assertTrue(1 <= len(lost) <= 4, len(lost))

    def test_a_filesystem_that_was_shut_down_ends_it(self) -> None:
        for channel in ("store", "pvm-writev"):
            path = self.root / f"stream-{channel}"
            with self.begun(ms=60000, channel=channel, record=path) as child:
                self.until_it_races(path)
                began = time.monotonic()
                folder = os.open(self.mnt, os.O_RDONLY)
                fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", 2))
                os.close(folder)
                reply = Reply(child.communicate(timeout=120)[0])
            self.assertLess(time.monotonic() - began, 20)
            self.assertEqual(reply.last, ["ok", "ran"])
            self.assertIn(reply.env["dead"], ("EIO", "EROFS", "ESHUTDOWN"))
            self.assertTrue(racelog.read(path.read_bytes()).ended)
            run("umount", str(self.mnt), timeout_s=60, check=True)
            run("mount", "-o", "loop", str(self.root / "image"), str(self.mnt), check=True)
        self.assertNotIn("dead", self.race(ops=3000).env)

    def test_the_agent_survives_its_child(self) -> None:
        with self.begun(ms=60000) as child:
            deadline = time.monotonic() + 20
            pid = ""
            while not pid:
                self.assertLess(time.monotonic(), deadline)
                pid = run("pgrep", "-P", str(child.pid)).out.strip()
                time.sleep(0.02)
            os.kill(int(pid), signal.SIGKILL)
            reply = Reply(child.communicate(timeout=60)[0])
        self.assertEqual(reply.last, ["ok", "died", "9"])


if __name__ == "__main__":
    unittest.main()
