# SPDX-License-Identifier: GPL-2.0
"""python3 -m harness.guest: run a command, or a shell, in a guest.

	python3 -m harness.guest try --kernel 6.12 -- uname -a
	python3 -m harness.guest try --kernel newest -- bash
	python3 -m harness.guest fetch [--refresh] [NAME...]
	python3 -m harness.guest list
"""

import argparse
import difflib
import os
import select
import shlex
import shutil
import signal
import sys
import tempfile
import termios
import time
import tty
from pathlib import Path

from . import (BootError, Guest, GuestDied, GuestError, GuestTimeout, available, handmade, is_version, load_kernels,
               obtain, of_version)
from .conf import KernelConf


def log(text: str) -> None:
    print(f"guest: {text}", file=sys.stderr, flush=True)


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m harness.guest", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    run = commands.add_parser("try", help="boot a kernel and run a command in it as root")
    run.add_argument("--kernel", default="newest", help="a name of `list`, a version, or a bzImage")
    run.add_argument("--modules", type=Path, help="for a bzImage: the folder with lib/modules")
    run.add_argument("--timeout", type=float, default=600, metavar="S",
                     help="seconds after which the guest is ended (600; a terminal has none)")
    run.add_argument("--console", action="store_true", help="show the serial console at the end")
    run.add_argument("command", nargs="+", metavar="CMD")
    fetch = commands.add_parser("fetch", help="fetch kernels into the cache")
    fetch.add_argument("--refresh", action="store_true", help="ask the mirror for newer ones")
    fetch.add_argument("names", nargs="*")
    commands.add_parser("list", help="the kernels by name")
    return parser.parse_args(argv)


def find_conf(name: str, modules: Path | None) -> KernelConf:
    """The kernel called name, or of that version; a path is one made by hand. Raises GuestError."""
    kernels = load_kernels()
    if name in kernels:
        return kernels[name]
    if is_version(name):
        return of_version(available.find(name, list(kernels.values()), log).package_version)
    if Path(name).is_file():
        return handmade(Path(name), modules)
    near = difflib.get_close_matches(name, kernels) or kernels
    raise GuestError(f"no kernel {name}; there are: {', '.join(near)}")


def command_try(args: argparse.Namespace) -> int:
    kernel = obtain(find_conf(args.kernel, args.modules), log)
    parameters = {"run": shlex.join(args.command), "cwd": os.getcwd()}
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if terminal:
        size = shutil.get_terminal_size()
        parameters["tty"] = f"{size.lines}x{size.columns}"
    with Guest(kernel, None, Path(tempfile.gettempdir()), log, parameters) as guest:
        try:
            guest.power_on()
            if terminal:
                _relay(guest)
            else:
                _stream(guest, time.monotonic() + args.timeout)
            return guest.exit_status()
        except BootError as err:
            print(err.console_tail, file=sys.stderr)
            raise
        finally:
            if args.console:
                sys.stderr.write(guest.console())


def _stream(guest: Guest, deadline: float) -> None:
    while data := guest.read_output(deadline - time.monotonic()):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _relay(guest: Guest) -> None:
    """Connect this terminal with the guest's until the guest ends."""
    stdin = sys.stdin.fileno()
    saved = termios.tcgetattr(stdin)
    try:
        tty.setraw(stdin)
        while True:
            ready, _, _ = select.select([stdin, guest.fileno()], [], [])
            if guest.fileno() in ready:
                data = guest.read_output(0)
                if not data:
                    return
                os.write(sys.stdout.fileno(), data)
            if stdin in ready:
                os.write(guest.fileno(), os.read(stdin, 4096))
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, saved)


def main(argv: list[str]) -> int:
    args = parse(argv)
    # A terminated run must remove the guest's folder as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        if args.what == "try":
            return command_try(args)
        if args.what == "fetch":
            names = args.names or [c.name for c in load_kernels().values() if c.default]
            for name in names:
                kernel = obtain(find_conf(name, None), log, args.refresh)
                print(f"{kernel.name}\t{kernel.version}\t{kernel.release}\t{kernel.origin}")
            return 0
        for conf in load_kernels().values():
            print(f"{conf.name}\t{' '.join(conf.suites)}\t{'default' if conf.default else ''}")
        return 0
    except GuestTimeout:
        log(f"not finished within {args.timeout:.0f} s")
    except (GuestError, GuestDied) as err:
        log(str(err))
    except KeyboardInterrupt:
        log("interrupted")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
