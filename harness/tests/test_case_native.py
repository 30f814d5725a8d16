# SPDX-License-Identifier: GPL-2.0
"""What the executor says of a step that sleeps, on a filesystem of its own. Root."""

import contextlib
import fcntl
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from harness.runner.agent import decode, encode
from harness.runner.proc import run
from harness.tests.mounts import unmount

BUILD = Path(os.environ.get("PINFAULT_BUILD", "build")).resolve()
FROZEN = "file A 64K written\npin A\nfreeze A\nhold w1 A 0 8K\nthaw A\nland w1\n"
HOLDING = ("pvm-writev", "dio-read", "uring-read")
WRITING = (*HOLDING, "dio-read/loop", "copyout", "proc-mem", "pwrite", "store")
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
TRIES = 20  # every other one is in time


def cannot() -> str:
    """"" or why these tests cannot run here."""
    if os.getuid() != 0:
        return "needs root"
    return "" if Path("/dev/loop-control").exists() else "no loop devices here"


@unittest.skipIf(cannot(), cannot())
class OnLoop(unittest.TestCase):
    """A filesystem on a loop device, and cases on it."""

    MKFS = ("mkfs.xfs", "-q")

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(folder.cleanup)
        self.cases = 0
        self.root = Path(folder.name)
        self.mnt = self.root / "mnt"
        self.mnt.mkdir()
        with open(self.root / "image", "wb") as f:
            f.truncate(512 << 20)
        run(*self.MKFS, str(self.root / "image"), timeout_s=60, check=True)
        run("mount", "-o", "loop", str(self.root / "image"), str(self.mnt), check=True)
        self.addCleanup(unmount, self.mnt)

    def start(self, channel: str, text: str, deadline_ms: int = 3000, flushes: int = 0) -> subprocess.Popen[str]:
        self.cases += 1
        request = (f"case nr={self.cases} run=7 dir={self.mnt}/c{self.cases} mnt={self.mnt} scratch={self.root} "
                   f"channel={channel} seq={encode(text)} deadline_ms={deadline_ms} grace_ms=100 flushes={flushes}\nquit\n")
        done = subprocess.Popen([str(BUILD / "pinfault-exec"), "--stdio"], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)
        assert done.stdin
        done.stdin.write(request)
        done.stdin.close()
        return done

    def said(self, channel: str, text: str, **more: int) -> str:
        with self.start(channel, text, **more) as done:
            assert done.stdout
            return done.stdout.read()

    def history(self, channel: str, text: str, **more: int) -> list[list[str]]:
        return self.history_of(channel, self.said(channel, text, **more))

    def history_of(self, channel: str, out: str) -> list[list[str]]:
        self.assertIn("\nok ran\n", out, channel)
        return [decode(line[2:]).split(" ") for line in out.splitlines() if line.startswith("h ")]

    def judged(self, history: list[list[str]]) -> str:
        path = self.root / "history"
        path.write_text("".join(" ".join(line) + "\n" for line in history))
        said = run(str(BUILD / "pinfault-judge"), str(path), timeout_s=60).out
        return next(line for line in said.splitlines() if line.startswith("verdict "))


class Sleepers(OnLoop):
    def test_where_a_held_write_sleeps(self) -> None:
        """Its page fault waits for the thaw in a thread of the channel's; the step only looks how far that one is."""
        for channel in HOLDING:
            history = self.history(channel, FROZEN)
            held = next(line[1] for line in history if line[0] == "inv" and line[3] == "write")
            blocked = [line for line in history if line[0] == "blocked"]
            self.assertEqual([line[1] for line in blocked], [held], channel)
            self.assertNotIn("poll", blocked[0][4], channel)
            self.assertIn(["ok", "8192"], [line[3:] for line in history if line[:2] == ["ret", held]], channel)

    def test_more_asleep_than_there_are_threads(self) -> None:
        """The filesystem is thawed at the end all the same, or those that sleep for it keep the process."""
        for nr, end in ((8, "ok ran"), (10, "ok skip more%20than%208%20steps%20asleep%20at%20once")):
            stores = "".join(f"store A {4 * i}K 4K\n" for i in range(nr))
            said = self.said("store", f"file A 64K hole\npin A\nfreeze A\n{stores}thaw A\nwrite A 0 4K\n")
            self.assertIn(f"\n{end}\n", said)

    def test_the_end_thaws(self) -> None:
        """What a frozen filesystem holds up is let go, and landed when it is held, before anything is looked at."""
        for channel, steps in (*((c, "freeze A\nhold w1 A 0 8K\n") for c in HOLDING),
                               ("store", "hold w1 A 0 8K\nfreeze A\n"),
                               ("pvm-writev", "hold w1 A 16K 8K\nfreeze A\nhold w2 A 0 8K\n")):
            history = self.history(channel, "file A 64K written\npin A\n" + steps)
            written = {line[1] for line in history if line[0] == "inv" and line[3] == "write"}
            back = {line[1] for line in history if line[0] == "ret" and line[3:] == ["ok", "8192"]}
            self.assertEqual(written, written & back, f"{channel}: {steps}")
            self.assertEqual(len(written), steps.count("hold"), f"{channel}: {steps}")

    def test_holds_that_sleep_together(self) -> None:
        """Each sleeps in its page fault, which it can only get to without memory to be mapped, and is held after it."""
        for channel in HOLDING:
            self.check_together(channel, ["hold w1 A 0 8K", "hold w2 A 16K 8K", "hold w3 A 32K 8K"])

    def check_together(self, channel: str, steps: list[str]) -> None:
        """Each of @steps, of 8K, sleeps in its page fault; all come back with their own data where it belongs."""
        text = "\n".join(["file A 64K written", "pin A", "freeze A", *steps, "thaw A", ""])
        history = self.history(channel, text)
        blocked = [line for line in history if line[0] == "blocked"]
        self.assertEqual(len(blocked), len(steps), f"{channel}: {steps}")
        # Or before it, on a busy machine: a hold counts pins, for which every CPU has something to do.
        self.assertLessEqual({line[4] for line in blocked}, {"percpu_rwsem_wait", "__flush_work"}, f"{channel}: {steps}")
        back = [line[3:] for line in history if line[0] == "ret" and line[1] in {line[1] for line in blocked}]
        self.assertEqual(back, [["ok", "8192"]] * len(steps), f"{channel}: {steps}")
        self.assertEqual(self.judged(history), "verdict coherent", f"{channel}: {steps}")

    def test_writes_that_sleep_together(self) -> None:
        """What one writes from, and with, is its own: that of another must not come in between."""
        for channel in WRITING:
            self.check_together(channel, [f"write A {off}K 8K" for off in (0, 16, 32, 48)])
        for channel in HOLDING:
            self.check_together(channel, ["write A 0 8K", "hold w1 A 16K 8K", "hold w2 A 32K 8K", "write A 48K 8K"])

    def test_what_sleeps_on_for_a_hold(self) -> None:
        """A write that slept for the thaw, and then finds the file locked by a held one, is blocked until that lands."""
        text = "file A 64K written\npin A\nfreeze A\nwrite A 0 4K\nhold w1 A 32K 8K\nthaw A\nland w1\n"
        for _ in range(TRIES):  # the held one is first in every fifth
            history = self.history("pwrite", text)
            written = {line[1] for line in history if line[0] == "inv" and line[3] == "write"}
            back = {line[1] for line in history if line[0] == "ret" and line[3] == "ok"}
            self.assertEqual((len(written), written - back), (2, set()))

    def test_what_lands_after_its_deadline(self) -> None:
        """The last page of 1025 is pinned when the others are written. Its fault sleeps for longer than any step may
        that is not held up: it has not returned before the thaw, and does after it."""
        stores = "".join(f"store A {4 * i}K 4K\n" for i in range(1028, 1034))
        text = f"file A 8M hole\npin A\nhold w1 A 64 4M\nfreeze A\nland w1\n{stores}read A 4M 4K buffered\nthaw A\n"
        history = self.history("pvm-writev", text, deadline_ms=600)
        held = next(line[1] for line in history if line[0] == "inv" and line[3] == "write")
        thaw = next(i for i, line in enumerate(history) if line[0] == "inv" and line[4] == "thaw")
        self.assertEqual([line[3:] for line in history[thaw:] if line[:2] == ["ret", held]], [["ok", str(4 << 20)]])
        self.assertEqual(self.judged(history), "verdict coherent")

    def test_what_is_held_after_its_deadline(self) -> None:
        for channel in HOLDING:
            stores = "".join(f"store A {4 * i}K 4K\n" for i in range(4, 10))
            text = f"file A 64K hole\npin A\nfreeze A\nhold w1 A 0 8K\n{stores}read A 0 8K buffered\nthaw A\nland w1\n"
            for _ in range(TRIES):  # a busy machine takes that long for the hold alone
                if "\nok ran\n" in (said := self.said(channel, text, deadline_ms=300)):
                    break
            history = self.history_of(channel, said)
            held = next(line[1] for line in history if line[0] == "inv" and line[3] == "write")
            thaw = next(i for i, line in enumerate(history) if line[0] == "inv" and line[4] == "thaw")
            self.assertEqual([line[3] for line in history[thaw:] if line[:2] == ["ret", held]], ["err"], channel)
            self.assertNotEqual(self.judged(history), "verdict corrupt", channel)

    def refrozen(self, channel: str) -> str:
        """What is said of a sequence with its filesystem frozen again, if there is time, while its holds go on."""
        holds = "".join(f"hold w{i} A {4 * i}M 4M\n" for i in range(4))  # to last, a freeze takes its time
        with self.start(channel, f"file A 16M hole\npin A\nfreeze A\n{holds}pwrite A 0 4K\nthaw A\n") as done:
            assert done.stdout
            out = ""
            while "h blocked" not in out and not out.endswith("ok\n"):
                out += done.stdout.readline()
            fd = os.open(self.mnt, os.O_RDONLY)
            while done.poll() is None:
                with contextlib.suppress(OSError):
                    fcntl.ioctl(fd, FIFREEZE, 0)
                    break
            out += done.stdout.read()
            with contextlib.suppress(OSError):
                fcntl.ioctl(fd, FITHAW, 0)  # where nobody was held up
            os.close(fd)
            return decode(out)

    def test_what_sleeps_on_after_the_thaw_hangs(self) -> None:
        for channel in HOLDING:
            for _ in range(TRIES):
                out = self.refrozen(channel)
                if "\nok hung" in out and " in S " not in out:  # (uring-read) then the ring's own thread sleeps for it
                    break
            self.assertRegex(out, r"\nok hung line \d of the sequence, in D \w+\n", channel)
            # In its page fault, or behind the mmap lock that one of the others holds in its own.
            self.assertRegex(out, r"\nh hung \d+ \d+ D \w+ .*(page_mkwrite|gup)", channel)


class FlushTrace(OnLoop):
    def test_a_sequence_that_nothing_is_looked_at_of(self) -> None:
        """What is there for its flushes alone, and syncs by no step: not covered, wherever it is run."""
        for steps, end in (("", "skip"), ("dsync A 0 4K\n", "skip"), ("fsync A\n", "ran"), ("syncfs A\n", "ran")):
            said = self.said("store", f"file A 16K written\npin A\nwrite A 0 4K\n{steps}", flushes=1)
            self.assertRegex(decode(said), rf"\nok {end}( flush-trace wants a step that syncs.*)?\n", steps)


class HeldReads(OnLoop):
    def test_behind_the_end(self) -> None:
        """What a store left behind the end, in its page, is nobody's; and the pages behind that one are not there."""
        for steps, seen in (("truncate A 2K\nstore A 2K 2K\nhold-read r1 A 0 4K", [["0", "2048"]]),
                            ("hold-read r1 A 0 4K\ntruncate A 2K\nstore A 2K 2K", [["0", "2048"]]),
                            ("truncate A 4K\nhold-read r1 A 0 8K", [["0", "4096"]]),
                            ("truncate A 64\nhold-read r1 A 1K 1K", [["1024", "0"]]),
                            ("hold-read r1 A 0 12K\ntruncate A 2K", [["0", "2048"], ["4096", "8192"]])):
            history = self.history("store", f"file A 12K written\npin A\nwrite A 0 4K\n{steps}\nland r1\n")
            self.assertEqual([line[5:7] for line in history if line[0] == "see" and line[3] == "gup"], seen, steps)
            self.assertEqual(self.judged(history), "verdict coherent", steps)


class Names(OnLoop):
    def test_a_name_that_is_another_files_by_now(self) -> None:
        """What it leads to is not touched in the name of the file that was made with it."""
        for steps, errors in (("rename A B\nunlink B", ["ENOENT"]), ("rename A B\nrename B C", ["ENOENT"]),
                              ("rename A B\nrename C B", ["ENOENT"]), ("rename A B\nunlink A", ["ENOENT"]),
                              ("rename A B\nunlink C", []), ("rename A B", [])):
            files = "".join(f"file {name} 8K written\n" for name in "ABC")
            history = self.history("store", f"{files}pin A\nwrite A 0 4K\n{steps}\n")
            self.assertEqual([line[4] for line in history if line[0] == "ret" and line[3] == "err"], errors, steps)
            views = f"views nr={self.cases} run=7 dir={self.mnt}/c{self.cases} label=remount files=A,B,C\nquit\n"
            said = subprocess.run([str(BUILD / "pinfault-exec"), "--stdio"], input=views, text=True, timeout=60,
                                  stdout=subprocess.PIPE, check=True).stdout
            history += [decode(line[2:]).split(" ") for line in said.splitlines() if line.startswith("h ")]
            self.assertEqual(self.judged(history), "verdict coherent", steps)


class Mtime(OnLoop):
    def test_a_sync_of_a_range_ends_no_interval(self) -> None:
        """The page of the stores is dirty and writable all the time, so that the second one marks nothing."""
        history = self.history("store", "file A 4M hole\npin A\nwrite A 3M 4K\ndsync A 0 4K\nwrite A 3M 4K\nfsync A\n")
        said = [line[1].split("%20")[:3] for line in history if line[0] == "note" and line[1].startswith("mtime")]
        self.assertEqual(said, [["mtime", "5", "yes"]])

    def test_a_pin_is_of_the_interval_in_which_it_was_made(self) -> None:
        """The write after the sync gets EFAULT, so that nothing but the pin's data follows that sync."""
        history = self.history("dio-read", "file A 16K written\npin A\nhold w1 A 0 8K\nwrite A 0 8K\ntruncate A 4K\n"
                                           "fsync A\nwrite A 4K 4K\nland w1\n")
        self.assertEqual([line[4] for line in history if line[0] == "ret" and line[3] == "err"], ["EFAULT"])
        said = [line[1].split("%20")[:3] for line in history if line[0] == "note" and line[1].startswith("mtime")]
        self.assertEqual(said, [["mtime", "4", "yes"]])


class FullTmpfs(OnLoop):
    def test_a_hole_that_no_page_is_left_for(self) -> None:
        """A load through a mapping needs one; that it gets SIGBUS says nothing of the data, which other views show."""
        run("mount", "-t", "tmpfs", "-o", "size=16M", "tmpfs", str(self.mnt), check=True)
        self.addCleanup(unmount, self.mnt)
        history = self.history("store", "file A 64K written\nfile C 16K hole\npin A\nwrite A 0 4K\nfill A\n")
        self.assertIn(["C", "buffered", "16384", "0", "16384", "0*256"], [line[2:] for line in history if line[0] == "see"])
        self.assertEqual(self.judged(history), "verdict coherent")


class SleepersOnExt4(OnLoop):
    """What reads, asks for extents and the like waits for the inode's lock there, and takes no other before."""

    MKFS = ("mkfs.ext4", "-q", "-F")

    def test_what_a_freeze_under_way_holds_up(self) -> None:
        """The punch sleeps for the held write, and when that has landed for the freeze that came in between."""
        history = self.history("pwrite", "file A 16K written\npin A\nhold w1 A 0 8K\npunch A 8K 4K\nfreeze A\nthaw A\n")
        self.assertEqual([line[4] for line in history if line[0] == "inv" and line[3] == "fault"],
                         ["freeze", "thaw", "punch"])
        self.assertEqual(self.judged(history), "verdict coherent")

    def test_dsync_beside_others(self) -> None:
        """It writes what it has read, and must not be said to have changed nothing when it slept in between."""
        for channel, steps, why in (
                ("pwrite", "hold w1 A 0 8K\ndsync A 0 8K\nland w1", "slept"),
                ("store", "freeze A\ndsync A 0 8K\nstore A 0 4K\nthaw A", "slept"),
                ("store", "freeze A\nstore A 0 4K\ndsync A 0 8K\nthaw A", "beside")):
            out = self.said(channel, f"file A 16K written\npin A\nwrite A 8K 4K\n{steps}\n")
            self.assertRegex(decode(out), rf"\nok skip dsync {why} ", steps)
        history = self.history("pvm-writev", "file A 16K written\npin A\nhold w1 A 0 8K\ndsync A 0 8K\nland w1\n")
        self.assertEqual(self.judged(history), "verdict coherent")


if __name__ == "__main__":
    unittest.main()
