# SPDX-License-Identifier: GPL-2.0
"""One guest: boot it, talk to its agent, learn how it died.

    with Guest(kernel, Path("build/pinfault-exec"), Path("/tmp"), log) as guest:
        guest.start()
        guest.send("pins")
        while not (line := guest.recv(10)).startswith(("ok", "err")):
            print(line)

A Guest belongs to one thread.
"""

import fcntl
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from .cache import Log, need_space, plain_errors
from .console import classify_console, console_tail
from .errors import BootError, GuestDied, GuestError, GuestTimeout
from .images import prepared_pmem, sparse_copy, sparse_file
from .kernel import Kernel
from .qemu import DISK_MIB, Machine, choose_accel, launch

BOOT_TIMEOUT_S = 120.0
BOOT_TRIES = 3
EXIT_WAIT_S = 10.0  # between a closed port and the end of QEMU
GUEST_BYTES = 300 << 20
PREFIX = "pinfault-guest-"
STALE_S = 60.0


def _lock_folder(folder: Path) -> int | None:
    """Lock a folder for as long as this process lives; None if somebody else holds it."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fd
    except BlockingIOError:
        os.close(fd)
        return None


def sweep_stale(folder: Path) -> None:
    """Remove what guests of killed runs left in folder: their folders that nobody holds locked.

    One made within the last STALE_S seconds may not be locked yet, and is left alone.
    """
    for path in Path(folder).glob(PREFIX + "*"):
        try:
            if path.stat().st_uid != os.getuid() or time.time() - path.stat().st_mtime < STALE_S:
                continue
            fd = _lock_folder(path)
        except OSError:
            continue
        if fd is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(fd)


class Guest:
    """A QEMU guest with a private copy of the NVDIMM and an empty scratch disk.

    pmem_dev and disk_dev are those two in the guest, pmem_path and disk_path on the host, to be
    read after the guest was killed. boot_s is the time from QEMU's start to the agent's first
    line, hello what it answered to `hello`, without the last line.
    """

    pmem_dev = "/dev/pmem0"
    disk_dev = "/dev/vda"

    def __init__(self, kernel: Kernel, agent_path: Path | None, workdir: Path, log: Log,
                 parameters: dict[str, str] | None = None, pmem_image: Path | None = None):
        """Nothing is started and nothing is made yet.

        workdir is an existing folder on the host in which a temporary folder of the guest's own
        is made by start() and removed by close(). parameters go to init (see there); pmem_image
        is used as the NVDIMM itself instead of a copy of the prepared one.
        """
        self.kernel = kernel
        self.agent_path = agent_path and Path(agent_path).resolve()
        self.workdir = Path(workdir)
        self.log = log
        self.parameters = dict(parameters or {})
        self.pmem_image = pmem_image
        self.dir: Path | None = None
        self._lock: int | None = None
        self._started_s = 0.0
        self.boot_s = 0.0
        self.accel = ""
        self.hello: list[str] = []
        self._process: subprocess.Popen | None = None
        self._socket: socket.socket | None = None
        self._buffer = bytearray()

    def __enter__(self) -> "Guest":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # Paths of the guest's own folder.

    @property
    def disk_path(self) -> Path:
        """The image behind disk_dev. Gone after close()."""
        return self._own() / "disk.img"

    @property
    def pmem_path(self) -> Path:
        """The image behind pmem_dev (with the namespace's own 2 MiB or so in front)."""
        return self.pmem_image or self._own() / "pmem.img"

    def _own(self) -> Path:
        if self.dir is None:
            raise GuestError("the guest was not started")
        return self.dir

    # Life.

    def start(self, timeout_s: float = BOOT_TIMEOUT_S, fresh: bool = True) -> None:
        """Boot, until the agent has answered `hello`. fresh: as for power_on.

        Trouble before that is the emulator's or the machine's, not a finding: it is tried again
        up to BOOT_TRIES times, timeout_s seconds each. Raises BootError, or GuestError when it
        makes no sense to try again.
        """
        if self.agent_path is None or not os.access(self.agent_path, os.X_OK):
            raise GuestError(f"{self.agent_path}: no such program (make builds it)")
        for attempt in range(1, BOOT_TRIES + 1):
            try:
                # A QEMU that cannot enter the plain image must not make the kernel unusable.
                self.power_on(plain=attempt == 1, fresh=fresh)
                self._greet(timeout_s)
                return
            except (GuestDied, GuestTimeout) as err:
                self.kill()
                reason = err.reason if isinstance(err, GuestDied) else \
                    f"no answer from the agent within {timeout_s:.0f} s"
                tail = console_tail(self.console())
                if attempt == BOOT_TRIES:
                    raise BootError(f"kernel {self.kernel.name} did not come up in {BOOT_TRIES} "
                                    f"tries: {reason}", tail) from None
                self.log(f"kernel {self.kernel.name} did not come up ({reason}); trying again")

    def power_on(self, plain: bool = True, fresh: bool = True) -> None:
        """Start QEMU and return at once. Raises GuestError.

        plain: boot the decompressed image where the kernel has one. fresh: on new images; else on
        those that the last one left, as it left them.
        """
        self.kill()
        if not fresh:
            with plain_errors(f"guest of kernel {self.kernel.name}"):
                (self._own() / "console").unlink(missing_ok=True)
                self._launch(plain)
            return
        self.accel = self.accel or choose_accel(self.kernel, self.log)
        pmem = self.pmem_image or prepared_pmem(self._run_once, self.log)
        with plain_errors(f"guest of kernel {self.kernel.name}"):
            if self.dir is None:
                need_space(self.workdir, GUEST_BYTES)
                sweep_stale(self.workdir)
                self.dir = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self.workdir))
                self._lock = _lock_folder(self.dir)
            if not self.pmem_image:
                sparse_copy(pmem, self.pmem_path)
            sparse_file(self.disk_path, DISK_MIB)
            for kept in self._kept():
                kept.unlink(missing_ok=True)
            (self.dir / "console").unlink(missing_ok=True)
            self._launch(plain)

    def _launch(self, plain: bool) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            machine = Machine(self.kernel, self._init_parameters(), self.pmem_path,
                              self.disk_path, self._own() / "console", theirs.fileno(), self.accel,
                              self._own() / "late", plain)
            self._socket, self._buffer = ours, bytearray()
            self._started_s = time.monotonic()
            self._process = launch(machine, self._own() / "qemu.err")

    def _init_parameters(self) -> dict[str, str]:
        out = dict(self.parameters)
        if self.agent_path:
            out["agent"] = str(self.agent_path)
        keep = [str(self.agent_path.parent)] if self.agent_path else []
        keep += out["keep"].split("\0") if "keep" in out else []
        keep += [out["cwd"]] if "cwd" in out else []
        if self.kernel.modules:
            out["modules"] = str(self.kernel.modules / "lib/modules")
            keep.append(out["modules"])
        hidden = [path for path in keep if path.startswith(("/tmp/", "/run/"))]
        out.pop("keep", None)
        if hidden:
            out["keep"] = "\0".join(dict.fromkeys(hidden))
        return out

    def _greet(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        self.send("hello")
        self.hello = []
        while True:
            line = self.recv(deadline - time.monotonic())
            if not self.hello:
                self.boot_s = time.monotonic() - self._started_s
            if re.match(r"(ok|err)\b", line):
                break
            self.hello.append(line)
        if line.startswith("err"):
            raise GuestError(f"the agent does not greet: {line}")

    def _run_once(self, image: Path, command: str) -> tuple[int, str]:
        """Boot this kernel with image as its NVDIMM for one command."""
        with Guest(self.kernel, None, image.parent, self.log, {"run": command}, image) as guest:
            guest.accel = self.accel
            return guest.run(BOOT_TIMEOUT_S)

    # Talk.

    def send(self, line: str) -> None:
        """Send a line to the agent. Raises GuestDied."""
        self._socket_or_died().settimeout(EXIT_WAIT_S)
        try:
            self._socket_or_died().sendall(line.encode() + b"\n")
        except (OSError, TimeoutError):
            raise self._died("the guest takes no more requests") from None

    def recv(self, timeout_s: float) -> str:
        """The agent's next line without its end. Raises GuestTimeout after timeout_s, GuestDied."""
        deadline = time.monotonic() + timeout_s
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                line = self._buffer[:end].decode(errors="replace")
                del self._buffer[:end + 1]
                return line
            if not self._fill(deadline):
                raise self._died("the guest ended")

    def _fill(self, deadline: float) -> bool:
        """Add to the buffer what has come; False at the end. Raises GuestTimeout."""
        sock = self._socket_or_died()
        ready, _, _ = select.select([sock], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise GuestTimeout("nothing came from the guest")
        try:
            data = sock.recv(65536)
        except ConnectionResetError:
            data = b""
        self._buffer += data
        return bool(data)

    def read_output(self, timeout_s: float) -> bytes:
        """Some bytes from the port, b"" at the end. Raises GuestTimeout."""
        if self._buffer or self._fill(time.monotonic() + timeout_s):
            data = bytes(self._buffer)
            self._buffer.clear()
            return data
        return b""

    def fileno(self) -> int:
        """The port's socket, for select."""
        return self._socket_or_died().fileno()

    def run(self, timeout_s: float) -> tuple[int, str]:
        """Boot with parameters["run"] to its end: (exit status, output).

        Raises BootError when the guest ended without a status, GuestTimeout after timeout_s.
        """
        deadline = time.monotonic() + timeout_s
        self.power_on()
        out = bytearray()
        while data := self.read_output(deadline - time.monotonic()):
            out += data
        return self.exit_status(), out.decode(errors="replace")

    def exit_status(self) -> int:
        """What the command or agent ended with, once the guest is off. Raises BootError."""
        self._wait_exit()
        found = re.findall(r"^pinfault-init: exit (\d+)", self.console(), re.M)
        if found:
            return int(found[-1])
        died = self._died("the guest ended")
        raise BootError(died.reason, died.console_tail)

    # Death.

    def console(self) -> str:
        """All text the serial console has given since the last power_on."""
        try:
            data = (self._own() / "console").read_bytes()
        except OSError:
            return ""
        return data.decode(errors="replace").replace("\r", "")

    def alive(self) -> bool:
        """Whether QEMU runs."""
        return self._process is not None and self._process.poll() is None

    def _wait_exit(self) -> None:
        if self._process is not None:
            try:
                self._process.wait(timeout=EXIT_WAIT_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def _died(self, otherwise: str) -> GuestDied:
        """The exception that says why the guest ended."""
        self._wait_exit()
        text = self.console()
        crash = classify_console(text)
        if crash:
            return GuestDied(crash[0], crash[1], crashed=True)
        failed = re.findall(r"^pinfault-init: failed: (.*)", text, re.M)
        if failed:
            return GuestDied(f"init: {failed[-1]}", console_tail(text))
        ended = re.findall(r"^pinfault-init: exit (\d+)", text, re.M)
        if ended and self.agent_path:
            return GuestDied(f"the agent ended with status {ended[-1]}", console_tail(text))
        said = self._qemu_error()
        return GuestDied(f"QEMU: {said}" if said else otherwise, console_tail(text))

    def _qemu_error(self) -> str:
        try:
            text = (self._own() / "qemu.err").read_text(errors="replace")
        except OSError:
            return ""
        lines = [line for line in text.splitlines() if "warning:" not in line and line.strip()]
        return lines[-1].removeprefix("qemu-system-x86_64: ") if lines else ""

    def _socket_or_died(self) -> socket.socket:
        if self._socket is None:
            raise GuestDied("the guest is not running")
        return self._socket

    def cut_power(self) -> list[str]:
        """Kill a running QEMU at once; power_on(fresh=False) goes on with its images. Returns the
        whole lines that came through the second port, of which none is lost: what the guest did
        after it wrote a line was done with the line outside. Raises GuestDied if it was dead already.

        A write that QEMU was making finishes in the host's kernel before this returns. What
        keep_images() kept is put back.
        """
        process = self._process
        if process is None or process.poll() is not None:
            raise self._died("the guest was dead before its power was cut")
        self.kill()
        with plain_errors(f"guest of kernel {self.kernel.name}"):
            text = (self._own() / "late").read_text(errors="replace")
        for kept in self._kept():
            if kept.exists():
                kept.replace(kept.with_suffix(".img"))
        return text.split("\n")[:-1]

    def keep_images(self) -> None:
        """Copy both images while the guest stands still, for cut_power() to put back: what is
        written from now on will not have been. Raises GuestDied, GuestError.
        """
        process = self._process
        if process is None or process.poll() is not None:
            raise self._died("the guest is not running")
        process.send_signal(signal.SIGSTOP)
        try:
            # Stopped is stopped: all threads, none of them in the middle of a write.
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            for kept in self._kept():
                sparse_copy(kept.with_suffix(".img"), kept)
        finally:
            process.send_signal(signal.SIGCONT)

    def _kept(self) -> list[Path]:
        """Where keep_images() puts its copies: beside disk.img and pmem.img."""
        return [self._own() / "disk.kept", self._own() / "pmem.kept"]

    def kill(self) -> None:
        """End QEMU at once, as if power had failed; images and console stay. May be repeated."""
        if self._process is not None:
            self._process.kill()
            try:
                self._process.wait(timeout=EXIT_WAIT_S)
            except subprocess.TimeoutExpired:
                self.log(f"QEMU (process {self._process.pid}) does not die")
        self._process = None
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def close(self) -> None:
        """kill() and remove the guest's folder. May be repeated."""
        self.kill()
        if self.dir is not None:
            shutil.rmtree(self.dir, ignore_errors=True)
        self.dir = None
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None
