# SPDX-License-Identifier: GPL-2.0
"""QEMU's command line, and whether a guest really makes progress under KVM here."""

import functools
import hashlib
import json
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from .cache import Log, cache_dir, locked
from .errors import GuestError
from .kernel import Kernel

QEMU = "qemu-system-x86_64"
RAM_MIB = 2048
CPUS = int(os.environ.get("PINFAULT_CPUS", "1"))
PMEM_MIB = 640  # XFS wants 300 MiB; memory sections are 128 MiB
DISK_MIB = 640
COMMAND_LINE_MAX = 2000  # x86 keeps 2048 bytes
KVM_PROBE_S = 20.0
# Under emulation a lesser CPU is the faster one: where a CPU claims fast string instructions (erms,
# fsrm) Linux copies with `rep movsb`, which is emulated byte by byte; SMAP and five-level page
# tables cost as well. SSE4.2, which this one has, is what filesystem checksums want. Measured with
# mkfs, a DAX copy and a hundred programs started: 17 s of CPU time, 25 s with Haswell, more
# with `max`; and booting is a second or two shorter.
TCG_CPU = "Nehalem,+rdrand"

# A device's requests are taken in the guest's own exit, and its interrupt raised by whoever has the answer. With an
# ioeventfd each is a wake-up of QEMU's main loop, twice an I/O, which then polls all it has: 64 of a port with room
# for 31. Measured with a quarter of `explore --depth 4` on ext4, dio-read: a sixth less CPU time, start included.
SERVED = ",ioeventfd=off"

# The death signal of a child follows the *thread* that made it, so QEMU is always started from
# this one, which lives as long as the process.
_LAUNCHER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qemu-launcher")


@dataclass(frozen=True)
class Machine:
    """What one QEMU is given. fd is the guest's port: a connected socket of the caller."""

    kernel: Kernel
    parameters: dict[str, str]  # pinfault.KEY=VALUE for init; keep may hold several lines
    pmem: Path | None
    disk: Path | None
    console: Path
    port_fd: int | None
    accel: str  # "tcg" or "kvm"
    late: Path | None = None  # a file that a second port is written through to
    plain: bool = True  # boot the decompressed image if the kernel has one


def qemu_path() -> str:
    """Raises GuestError if there is no QEMU."""
    found = shutil.which(QEMU)
    if not found:
        raise GuestError(f"{QEMU} is not installed (Debian's package qemu-system-x86)")
    return found


def kernel_command_line(parameters: dict[str, str]) -> str:
    """The kernel's command line. Raises GuestError if it would be cut off."""
    # lsm=: selinux=0 and apparmor=0 leave their hooks, and those of six others, in every call. What
    # stays is lockdown, capability and, from 6.12 on, ima and evm without a policy (seen in
    # /sys/kernel/security/lsm of 6.1, 6.12 and 7.3).
    words = ["console=ttyS0", "loglevel=5", "panic=-1", "oops=panic", "mitigations=off",
             "rdinit=/init", "no_timer_check", "tsc=reliable", "cryptomgr.notests", "nokaslr",
             "audit=0", "lsm=capability", "random.trust_cpu=on", "net.ifnames=0"]
    for key, value in parameters.items():
        for one in value.split("\0"):
            words.append(f"pinfault.{key}={quote(one, safe='/')}")
    line = " ".join(words)
    if len(line) > COMMAND_LINE_MAX:
        raise GuestError(f"the command is {len(line) - COMMAND_LINE_MAX} bytes too long for the "
                         "kernel's command line: put it in a script")
    return line


def qemu_argv(machine: Machine) -> list[str]:
    """The command that runs machine."""
    # Two memory nodes: pages can then be told to move (move_pages), not only asked.
    ram = ["-m", f"{RAM_MIB}M,slots=2,maxmem={RAM_MIB + 2048}M"]
    for node in range(2):
        ram += ["-object", f"memory-backend-ram,id=node{node},size={RAM_MIB // 2}M",
                "-numa", f"node,nodeid={node},memdev=node{node}" + (f",cpus={node}" if node < CPUS else "")]
    cpu = ["-accel", "kvm", "-cpu", "host"] if machine.accel == "kvm" else \
        ["-accel", "tcg,thread=multi", "-cpu", TCG_CPU]
    image = (machine.plain and machine.kernel.plain_image) or machine.kernel.image
    argv = [qemu_path(), "-machine", "q35,nvdimm=on", *cpu, "-smp", str(CPUS), *ram,
            "-display", "none", "-nodefaults", "-no-user-config", "-no-reboot",
            "-kernel", str(image), "-initrd", str(machine.kernel.initramfs),
            "-append", kernel_command_line(machine.parameters),
            "-chardev", f"file,id=console,path={_comma(machine.console)}",
            "-serial", "chardev:console",
            "-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
            "-device", f"virtio-rng-pci{SERVED}"]
    if machine.port_fd is not None:
        argv += ["-chardev", f"socket,id=port,fd={machine.port_fd}", "-device",
                 f"virtio-serial-pci{SERVED},max_ports=2", "-device",
                 "virtserialport,chardev=port,name=pinfault"]
    if machine.late:
        # No ioeventfd, and a file, not a socket: the port is served in the write's own exit, and never
        # waits for a reader. What the guest has written is in the file when its write(2) returns.
        argv += ["-chardev", f"file,id=late,path={_comma(machine.late)}", "-device",
                 f"virtio-serial-pci,id=latebus{SERVED},max_ports=2", "-device",
                 "virtserialport,bus=latebus.0,chardev=late,name=pinfault-late"]
    if machine.pmem:
        argv += ["-object", f"memory-backend-file,id=pmem,share=on,size={PMEM_MIB}M,"
                 f"mem-path={_comma(machine.pmem)}", "-device", "nvdimm,id=nvdimm,memdev=pmem"]
    if machine.disk:
        argv += ["-drive", f"if=none,id=scratch,format=raw,cache=unsafe,discard=unmap,"
                 f"file={_comma(machine.disk)}",
                 "-device", f"virtio-blk-pci,drive=scratch,serial=scratch{SERVED}"]
    return argv


def _comma(path: Path) -> str:
    """QEMU's options are separated by commas; one inside a value is written twice."""
    return str(path).replace(",", ",,")


def launch(machine: Machine, errors: Path) -> subprocess.Popen:
    """Start QEMU so that it dies with this process, -9 included. Its stderr goes to errors."""
    setpriv = shutil.which("setpriv")
    if not setpriv:
        raise GuestError("setpriv is not installed (Debian's package util-linux)")
    argv = [setpriv, "--pdeathsig", "KILL", *qemu_argv(machine)]
    fds = () if machine.port_fd is None else (machine.port_fd,)

    def start() -> subprocess.Popen:
        with open(errors, "wb") as err:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                    pass_fds=fds, start_new_session=True)

    return _LAUNCHER.submit(start).result()


def choose_accel(kernel: Kernel, log: Log) -> str:
    """ "kvm" where a guest makes progress under it, else "tcg". PINFAULT_ACCEL overrides.

    /dev/kvm can exist and accept a virtual machine that then never runs: so a kernel is booted
    once, up to init's first line, and the answer is kept for this host kernel, CPU and QEMU.
    """
    wanted = os.environ.get("PINFAULT_ACCEL", "")
    if wanted in ("tcg", "kvm"):
        return wanted
    if wanted:
        raise GuestError(f"PINFAULT_ACCEL is tcg or kvm, not {wanted}")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    answer = cache_dir() / "kvm" / _host_key()
    with locked("kvm", log):
        try:
            return json.loads(answer.read_text())["accel"]
        except (OSError, ValueError, KeyError):
            pass
        log(f"trying whether a guest runs under KVM here (once, at most {KVM_PROBE_S:.0f} s)")
        accel = "kvm" if _probe_kvm(kernel, answer.parent) else "tcg"
        answer.write_text(json.dumps({"accel": accel}) + "\n")
    log("guests run under KVM" if accel == "kvm"
        else "KVM makes no progress here: guests are emulated (TCG)")
    return accel


def _host_key() -> str:
    return hashlib.sha256("\n".join((os.uname().release, _cpu_model(), qemu_version())).encode()
                          ).hexdigest()[:16]


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


@functools.cache
def qemu_version() -> str:
    """QEMU's version line. Raises GuestError."""
    try:
        done = subprocess.run([qemu_path(), "--version"], capture_output=True, text=True,
                              timeout=30)
    except subprocess.TimeoutExpired:
        raise GuestError(f"{QEMU} --version took longer than 30 s") from None
    return done.stdout.splitlines()[0] if done.stdout else "unknown"


def _probe_kvm(kernel: Kernel, folder: Path) -> bool:
    folder.mkdir(exist_ok=True)
    console = folder / f"console.{os.getpid()}"
    errors = folder / f"errors.{os.getpid()}"
    process = launch(Machine(kernel, {}, None, None, console, None, "kvm"), errors)
    try:
        deadline = time.monotonic() + KVM_PROBE_S
        while time.monotonic() < deadline:
            if console.exists() and b"pinfault-init: up" in console.read_bytes():
                return True
            try:
                process.wait(timeout=0.1)
                return False
            except subprocess.TimeoutExpired:
                continue
        return False
    finally:
        process.kill()
        process.wait(timeout=30)
        console.unlink(missing_ok=True)
        errors.unlink(missing_ok=True)
