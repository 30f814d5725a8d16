# SPDX-License-Identifier: GPL-2.0
"""A machine under test: a guest, or this machine. Both look the same from execute.py."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from .errors import AgentDied, AgentTimeout, EnvironmentFailed
from .native import NativeSetup, kill_neighbour
from .proc import run

if TYPE_CHECKING:
    from ..guest import Guest, Kernel

Result = TypeVar("Result")


class Machine(Protocol):
    kernel: str        # the name it goes by
    version: str       # uname -r, as far as it is known before hello
    pmem_dev: str      # "" if there is none
    work_dir: str      # a folder inside the machine, not on a filesystem under test
    guest: bool
    emulated: bool     # by software: to change address spaces is then what costs most
    boot_s: float
    judge_path: Path   # the judge of races, as the machine sees it

    @property
    def disk_dev(self) -> str: ...
    def start(self, same_disks: bool = False) -> None: ...
    def cut_power(self) -> list[str]: ...
    def keep_images(self) -> None: ...
    def send(self, line: str) -> None: ...
    def recv(self, timeout_s: float) -> str: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


class NativeMachine:
    """The executor as a child of ours over pipes."""

    guest = False
    emulated = False
    kernel = "native"

    def __init__(self, setup: NativeSetup, agent: Path) -> None:
        self.setup = setup
        self.agent_path = agent
        self.judge_path = agent.parent / "pinfault-judge"
        self.version = os.uname().release
        self.pmem_dev = setup.pmem_dev
        self.work_dir = setup.ledger.folder
        self.boot_s = 0.0
        self.child: subprocess.Popen[bytes] | None = None
        self.buffer = b""

    @property
    def disk_dev(self) -> str:
        """EnvironmentFailed when it is not our image any more: somebody detached it, and the number may be theirs."""
        return self.setup.proven_disk()

    def start(self, same_disks: bool = False) -> None:
        began = time.monotonic()
        self.kill()
        self.buffer = b""
        log = open(Path(self.work_dir) / "agent.stderr", "ab")
        with log:
            self.child = self.setup.agent([str(self.agent_path), "--stdio"], stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, stderr=log)
        self.boot_s = time.monotonic() - began

    def _died(self) -> AgentDied | EnvironmentFailed:
        if self.setup.over:
            return EnvironmentFailed("the run is over")  # we killed it: no case did
        code = self.child.poll() if self.child else None
        try:
            tail = (Path(self.work_dir) / "agent.stderr").read_text(errors="replace")[-2000:]
        except OSError:
            tail = ""
        return AgentDied(f"the executor ended (exit {code})", tail)

    def send(self, line: str) -> None:
        if not self.child or not self.child.stdin:
            raise self._died()
        try:
            self.child.stdin.write(line.encode("utf-8", "surrogateescape") + b"\n")
            self.child.stdin.flush()
        except OSError:
            raise self._died() from None

    def recv(self, timeout_s: float) -> str:
        until = time.monotonic() + timeout_s
        assert self.child and self.child.stdout
        fd = self.child.stdout.fileno()
        while b"\n" not in self.buffer:
            ready = select.select([fd], [], [], max(0.0, until - time.monotonic()))[0]
            if not ready:
                raise AgentTimeout("the executor is silent")
            data = os.read(fd, 1 << 16)
            if not data:
                raise self._died()
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode("utf-8", "surrogateescape")

    def kill(self) -> None:
        """SIGKILL to the executor's session. A task stuck in the kernel may outlive it."""
        if not self.child:
            return
        kill_neighbour(self.work_dir)
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            # It may sleep in a filesystem that its case froze.
            run("fsfreeze", "-u", f"{self.work_dir}/mnt", timeout_s=30)
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                raise EnvironmentFailed(f"the executor (pid {self.child.pid}) is stuck in the kernel "
                                        "and cannot be killed: this machine needs a reboot") from None
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe:
                try:
                    pipe.close()
                except OSError:
                    pass
        self.child = None

    def cut_power(self) -> list[str]:
        raise EnvironmentFailed("nobody cuts the power of this machine")

    def keep_images(self) -> None:
        raise EnvironmentFailed("this machine's disks are its own")

    def close(self) -> None:
        self.kill()


class GuestMachine:
    """harness.guest.Guest behind the interface above; a new Guest for every boot."""

    guest = True
    work_dir = "/run/pinfault"

    def __init__(self, kernel: "Kernel", agent: Path, work: Path, log: Callable[[str], None]) -> None:
        from .. import guest  # only here: native needs no QEMU
        self.module = guest
        self.obtained = kernel
        self.kernel: str = kernel.name
        self.version: str = kernel.version
        self.agent_path, self.work, self.log = agent, work, log
        # Its folder is all that the guest sees of this machine's /var/tmp, under the same name.
        self.judge_path = agent.parent / "pinfault-judge"
        self.pmem_dev = self.disk_dev = ""
        self.boot_s = 0.0
        self.emulated = True  # until a guest says which it is
        self.inner: Guest | None = None

    def start(self, same_disks: bool = False) -> None:
        """same_disks: on what the guest whose power was cut has left."""
        inner = self.inner if same_disks else None
        self.inner = None if inner else self.inner
        self.kill()
        fresh = inner is None
        inner = inner or self.module.Guest(self.obtained, self.agent_path, self.work, self.log)
        try:
            inner.start(fresh=fresh)
        except self.module.GuestError as err:
            inner.close()
            raise EnvironmentFailed(f"kernel {self.kernel} does not boot: {err}") from None
        self.inner = inner
        self.pmem_dev, self.disk_dev = inner.pmem_dev or "", inner.disk_dev or ""
        self.boot_s = float(inner.boot_s)
        self.emulated = inner.accel == "tcg"

    def _call(self, what: Callable[..., Result], *args: object) -> Result:
        try:
            return what(*args)
        except self.module.GuestTimeout as err:
            raise AgentTimeout(str(err) or "the guest is silent") from None
        except self.module.GuestDied as err:
            tail = getattr(err, "console_tail", "")
            raise AgentDied(err.reason, tail) from None
        except self.module.GuestError as err:
            raise EnvironmentFailed(f"kernel {self.kernel}: {err}") from None

    def send(self, line: str) -> None:
        if not self.inner:
            raise AgentDied("the guest is not running")
        self._call(self.inner.send, line)

    def recv(self, timeout_s: float) -> str:
        assert self.inner
        return self._call(self.inner.recv, timeout_s)

    def cut_power(self) -> list[str]:
        """Kill the guest; its disks stay for start(same_disks=True). Returns the lines of its second
        port. AgentDied when it was dead before."""
        if not self.inner:
            raise AgentDied("the guest is not running")
        return self._call(self.inner.cut_power)

    def keep_images(self) -> None:
        """What is written from now on is gone after cut_power()."""
        if not self.inner:
            raise AgentDied("the guest is not running")
        self._call(self.inner.keep_images)

    def kill(self) -> None:
        self.close()

    def close(self) -> None:
        if self.inner:
            self.inner.close()
            self.inner = None
