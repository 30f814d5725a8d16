# SPDX-License-Identifier: GPL-2.0
"""A machine made of Python, for the runner's tests: answers the executor's protocol in memory and
breaks where it is told to."""

import base64
import gzip
import random
from collections.abc import Callable
from pathlib import Path

from harness.runner.agent import decode, encode
from harness.runner.errors import AgentDied, AgentTimeout, EnvironmentFailed

NO_ZEROS = "the kernel's page of zeros has 17 bytes that are not"
HELLO = ["env kernel 6.1.0-test", "channel store pte trivial full yes %-", "channel dio-read short-pin inflight full yes %-",
         "channel rdma-odp faulting trivial full no no%20device", "fault punch file-range - x",
         "fault crash file exclusive,last x", "ok"]


class FakeMachine:
    """`on_case(nr, machine)` returns the last line of a case's reply, "die" or "silent".
    `fsck_bad(set of case numbers on the disk)` and `umount_dies` break what follows a batch."""

    guest = True
    emulated = True
    work_dir = "/run/fake"
    pmem_dev = ""
    disk_dev = "/dev/fake"

    def __init__(self, on_case: Callable[[int, "FakeMachine"], str] | None = None,
                 fsck_bad: Callable[[set[int]], bool] = lambda _: False, kernel: str = "6.1") -> None:
        self.kernel = kernel
        self.version = "6.1.0-test"
        self.on_case = on_case or (lambda nr, machine: "ok ran")
        self.fsck_bad = fsck_bad
        self.umount_dies: Callable[[set[int]], bool] = lambda _: False
        self.history_of: Callable[[int], list[str]] = lambda nr: []  # more lines of a case's history
        self.commands: list[str] = []  # what `sh` was asked to run, without arguments
        self.boot_s = 1.0
        self.judge_path = Path("/fake/pinfault-judge")
        self.races: list[dict[str, str]] = []  # what was asked for
        self.race_reply = ["j verdict coherent", "j checked 9", "j end", "env ops 15", "env write 5", "env look 5", "env fault 5",
                           "env judge exit%200", "ok ran"]
        self.on_race: Callable[[dict[str, str]], bool] = lambda keys: False  # does it show a lost write?
        self.stream = random.Random(1).randbytes(100000)  # more than one answer of `sh` can hold
        self.following: list[str] = []  # further lines of a request
        # Of an exploration: what a sequence's text comes out as ("coherent", "corrupt", "skipped WHY", "hung",
        # "died", "unjudged", "die": the machine does), and all that were run.
        self.on_explore: Callable[[str], str] = lambda text: "coherent"
        self.explored: list[str] = []
        self.hears = False  # does it say what the kernel says while sequences are under way?
        self.chunks: list[dict[str, str]] = []
        self.dying: list[str] = []
        self.boots = 0
        self.mkfs = 0
        self.mkfs_fails: Callable[[int], bool] = lambda nr: False
        self.on_disk: set[int] = set()
        self.ran: list[int] = []
        self.flushes: list[str] = []  # what each of them was asked with
        self.kmsg: list[str] = []
        self.no_zeros = False  # its page of zeros is overwritten, until it is booted again
        self.leak = 0
        self.crashed = False
        self.cuts = 0
        self.kept = 0
        self.dead_after_cut = False
        self.said_late: list[str] = []  # the second port
        self.added: list[str] = []
        self.replies: list[str] = []
        self.alive = False
        self.console = "Kernel panic - not syncing: test"

    def start(self, same_disks: bool = False) -> None:
        self.boots += 1
        if same_disks and self.dead_after_cut:
            raise EnvironmentFailed("does not boot")
        if not same_disks:
            self.on_disk = set()
        self.alive, self.no_zeros = True, False
        self.replies = []
        self.leak = 0

    def cut_power(self) -> list[str]:
        if not self.alive:
            raise AgentDied("gone", self.console)
        self.alive = False
        self.cuts += 1
        said, self.said_late = self.said_late, []
        return said

    def keep_images(self) -> None:
        self.kept += 1

    def kill(self) -> None:
        self.alive = False

    def close(self) -> None:
        self.kill()

    def recv(self, timeout_s: float) -> str:
        if self.dying:
            return self.dying.pop(0)
        if not self.alive:
            raise AgentDied("gone", self.console)
        if not self.replies:
            raise AgentTimeout("silent")
        return self.replies.pop(0)

    def send(self, line: str) -> None:
        if not self.alive:
            raise AgentDied("gone", self.console)
        line, *self.following = line.split("\n")
        words = [decode(w) for w in line.split(" ")]
        keys = dict(w.partition("=")[::2] for w in words[1:])
        self.replies = getattr(self, "do_" + words[0].replace("-", "_"))(words[1:], keys)

    def do_hello(self, *_: object) -> list[str]:
        return list(HELLO)

    def do_kmsg(self, *_: object) -> list[str]:
        lines, self.kmsg = self.kmsg, []
        return [f"k 1.0 4 {encode(text)}" for text in [*lines, *[NO_ZEROS] * self.no_zeros]] + ["ok"]

    def do_pins(self, *_: object) -> list[str]:
        return [f"env nr_foll_pin_acquired {10 + self.leak}", "env nr_foll_pin_released 10", "ok"]

    def do_quota(self, *_: object) -> list[str]:
        return ["env files_bytes 8192", "err 3 ESRCH"]

    def do_statx(self, *_: object) -> list[str]:
        return ["env dax 0", "env fstype xfs", "ok"]

    def do_sh(self, words: list[str], _: object) -> list[str]:
        argv = words[1:]
        self.commands.append(argv[0])
        if argv[:2] == ["sh", "-c"] and argv[2].startswith("gzip"):
            return [f"out {len(gzip.compress(self.stream, mtime=0))}", "ok exit 0"]
        if argv[:2] == ["sh", "-c"] and argv[2].startswith("dd "):
            size, nr = int(argv[5]), int(argv[6])
            piece = gzip.compress(self.stream, mtime=0)[size * nr:size * (nr + 1)]
            return ["out " + base64.b64encode(piece).decode(), "ok exit 0"]
        if argv[0].startswith("mkfs"):
            self.mkfs += 1
            self.on_disk = set()
            if self.mkfs_fails(self.mkfs):
                return ["out busy", "ok exit 1"]
        if argv[0] == "xfs_repair" and self.fsck_bad(self.on_disk):
            return ["out agno%200%20is%20bad", "ok exit 1"]
        if "umount" in (argv[0], *argv[2:3]) and self.umount_dies(self.on_disk):
            self.alive = False
        return ["ok exit 0"]

    def do_case(self, _: object, keys: dict[str, str]) -> list[str]:
        nr = int(keys["nr"])
        self.ran.append(nr)
        self.flushes += [keys["flushes"]] if "flushes" in keys else []
        self.on_disk.add(nr)
        last = self.on_case(nr, self)
        if last == "die":
            self.alive = False
        history = ["case " + keys["nr"]] + ["inv 2 9 fault crash crash A"] * self.crashed \
            + self.history_of(nr)
        if last == "ok power":
            history.append("inv 3 70 fault power-cut crash A")
        return [] if last in ("die", "silent") else [*(f"h {encode(h)}" for h in history), last]

    def do_race(self, _: object, keys: dict[str, str]) -> list[str]:
        self.races.append(keys)
        self.on_disk.add(int(keys["nr"]))
        if self.on_race(keys):
            return ["j verdict corrupt", "j resolution lost", "j kind lost-write", "j operations 1000", "j violations 2",
                    *self.race_reply[1:]]
        return ["j operations 1000", "j violations 0", *self.race_reply]

    def do_views(self, _: object, keys: dict[str, str]) -> list[str]:
        self.added.append(keys.get("add_ns", ""))
        if int(keys["nr"]) not in self.on_disk:
            return ["err 2 gone"]
        return [f"h {encode('view ' + keys['label'])}", "ok"]

    def do_explore(self, _: object, keys: dict[str, str]) -> list[str]:
        self.chunks.append(keys)
        assert keys["judge"] == "-"  # a guest
        out: list[str] = []
        skipped = 0
        rows = [row.split(" ") for row in self.following if row.startswith("seq ")]
        for at, (_, nr, token) in enumerate(rows):
            text = decode(token)
            before, sound = len(self.kmsg), self.no_zeros
            how, _, why = self.on_explore(text).partition(" ")
            if self.hears:
                out += [f"w {other} {encode(said)}" for said in [*self.kmsg[before:], *[NO_ZEROS] * (self.no_zeros - sound)]
                        for _, other, _ in rows[max(0, at + 1 - int(keys["jobs"])):at + 1]]
            if keys["mark"] == "1":
                out.append(f"at {nr}")
            if how == "die":
                self.dying = out  # what was said is still to be read
                self.alive = False
                return []
            if how == "unjudged":
                return [*out, "err 5 the%20judge%20failed"]
            if how in ("hung", "died"):
                return [*out, f"ok {how} {nr} {'D somewhere' if how == 'hung' else '11'}"]
            self.explored.append(text)
            if how == "skipped":
                skipped += 1
                out.append(f"x {nr} skipped - - - {encode(why)}")
                continue
            # What the tests' judge makes of it: lines of an answer, in two pieces.
            said = {"refused": "verdict coherent\nresolution refused\n",
                    "corrupt": f"verdict corrupt\nresolution lost\nkind lost-write\n{why and f'kind {why}' + chr(10)}"
                               f"evidence {encode('must be op 3, saw op 1')}\n",
                    "inconclusive": f"verdict inconclusive\nresolution landed\nwhy {encode(why)}\n",
                    }.get(how, "verdict coherent\nresolution landed\n")
            out += [f"y {nr} more {encode(said[:20])}", f"y {nr} end {encode(said[20:])}"]
        self.on_disk |= {int(nr) for _, nr, _ in rows}
        return [*out, "env coherent 0", f"env not_coherent {skipped}", "env wall_us 1000", "env cpu_us 900", "ok ran"]

    def do_explore_views(self, *_: object) -> list[str]:
        return [f"env looked {len(self.on_disk)}", "ok"]
