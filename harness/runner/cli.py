# SPDX-License-Identifier: GPL-2.0
"""The commands and their options. Every way out ends in one clear line and one of four exit codes."""

import argparse
import errno
import os
import re
import shlex
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from . import bisect, deps, explore, main as runs, reduce, report, repro, selftest
from .errors import EXIT_BROKEN, EXIT_DIFFERS, EXIT_EXPECTED, EXIT_USAGE, EnvironmentFailed, UsageError, nearest
from .plan import Filters
from .race import SECONDS, Race
from .store import load_run

COMMANDS = {
    "run": "run the named sequences over the matrix (the default command)",
    "seq": "run one sequence file over the matrix",
    "race": "threads of channel writes, faults and reads run free, recorded and judged while they run",
    "explore": "every sequence of so many steps over an alphabet, shortest first",
    "repro": "run one recorded case again and say how often it fails, or export it as a program of its own",
    "reduce": "cut a race that showed a violation down to a smaller one, and to a sequence that always shows it",
    "bisect": "between two kernels, the first that can be had as a package on which a recorded case turns",
    "list": "what there is: kernels, filesystems, channels, faults, sequences",
    "report": "print a run's tables again",
    "compare": "what changed between two runs",
    "selftest": "break things on purpose and see whether the harness notices",
}
GIT_SKIP, GIT_STOP = 125, 255  # to `git bisect run`: try a neighbour; end the bisection
EPILOG = """exit: 0 everything as expected; 1 something differed from what was expected (a fix too);
      2 the harness or its environment failed, or nothing was tested; 64 usage"""


_OPTIONS = ("kernel modules fs channel fault sequence seed out json resume no-install jobs device "
            "overwrite-device local-config section markdown help ops seconds threads files size record depth alphabet "
            "budget shard repeats times export verb view kind git-bisect check good bad kernels-available")


# Options that all commands which run something know, and these have no use for: refused, and not in their help.
NO_USE = {
    "seq": ("sequence fault all", "FILE is the sequence"),
    "race": ("sequence all", "a race follows no sequence; --fault chooses what runs in it"),
    "explore": ("sequence fault all", "an exploration makes its own sequences; --alphabet says of which steps"),
    "repro": ("fs channel fault sequence all jobs local-config section", "it runs the case as it was recorded"),
    "list": ("kernel modules fs channel fault sequence all seed out json resume jobs device overwrite-device "
             "local-config section", "it lists all there is"),
}


class Parser(argparse.ArgumentParser):
    """argparse that raises instead of exiting with 2, which means something else here."""

    def error(self, message: str):
        unknown = re.match(r"unrecognized arguments: (--[^ =]+)", message)
        if unknown:
            known = ["--" + o for o in _OPTIONS.split()]
            if unknown[1] in known:
                raise UsageError(f"this command takes no {unknown[1]}")
            raise UsageError(nearest(unknown[1], known, "option"))
        raise UsageError(f"{message} (./run.sh {self.prog.split()[-1]} --help)"
                         if " " in self.prog else f"{message} (./run.sh --help)")


def _path(text: str) -> Path:
    """Relative to where the caller stood: run.sh went to the checkout."""
    return Path(os.path.normpath(Path(os.environ.get("PINFAULT_CALLER_DIR", "."), text)))


def _out(text: str) -> Path:
    return repro.STDOUT if text == "-" else _path(text)


def _device(text: str) -> str:
    return str(_path(text))


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None


def _size(text: str) -> int:
    """A number of bytes, also as 256K or 1M."""
    match = re.fullmatch(r"(\d+)([KM]?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size (a number, then nothing, K or M)")
    return int(match[1]) << {"": 0, "K": 10, "M": 20}[match[2]]


def _duration(text: str) -> float:
    try:
        return explore.duration(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a time (90s, 10m, 2h, 1d)") from None


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"'{text}' is not I/N, with I from 1 to N")
    return int(match[1]) - 1, int(match[2])


def _common(parser: argparse.ArgumentParser, hidden: list[str]) -> None:
    def add(name: str, **how: object) -> None:
        if name[2:] in hidden:
            how["help"] = argparse.SUPPRESS
        parser.add_argument(name, **how)  # type: ignore[arg-type]
    add("--kernel", action="append", default=[], metavar="NAME",
        help="6.1, 6.12, newest, ..., native, a version (6.12.107, 6.12.107-1), the path of a bzImage; may be repeated")
    add("--modules", type=_path, metavar="DIR", help="lib/modules/RELEASE (or its parents) for --kernel PATH")
    add("--fs", action="append", default=[], metavar="NAME", help="a filesystem configuration, or a glob")
    add("--channel", action="append", default=[], metavar="NAME", help="a channel or channel/variant, or a glob")
    add("--fault", action="append", default=[], metavar="NAME",
        help="only sequences that use this fault; of a race: these faults only")
    add("--sequence", action="append", default=[], metavar="NAME", help="a named sequence, or a glob")
    add("--all", action="store_true", help="every named sequence, also those outside the default run")
    add("--seed", type=_number, help="of the run; printed, and random by default")
    add("--out", type=_out, metavar="DIR", help="results folder (default: results/<time>)")
    add("--json", action="store_true", help="run.json on stdout instead of the tables")
    add("--resume", type=_path, metavar="DIR", help="go on with a run that was stopped")
    add("--no-install", action="store_true", help="never install packages")
    add("--jobs", type=int, default=runs.JOBS, metavar="N",
        help=f"guests at once (default {runs.JOBS}: one more than there are CPUs, for guests also wait)")
    add("--device", type=_device, metavar="DEV", help="native: make filesystems on this block device")
    add("--overwrite-device", type=_device, metavar="DEV", help="the same name again: what DEV holds may be destroyed")
    add("--local-config", type=_path, metavar="FILE", help="a filesystem from an xfstests local.config")
    add("--section", metavar="NAME", help="its section")


def _reduce_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("result", metavar="RESULT", help="the folder of a race with its stream, or RUN:KERNEL/FS/CHANNEL/race-SEED")
    add("--budget", type=_duration, default=reduce.BUDGET_S, metavar="TIME", help="of all of it, as 90s, 10m, 2h "
        "(default 10m)")
    add("--repeats", type=int, default=reduce.TIMES, metavar="K", help="races that a rate is measured with, and how "
        f"often a sequence is run again (default {reduce.TIMES})")
    add("--depth", type=int, default=reduce.DEPTH, metavar="N", help=f"steps of the longest sequences (default "
        f"{reduce.DEPTH})")
    add("--kind", action="append", default=[], metavar="NAME", help="of the race's kinds of violation, this one; may "
        "be repeated (default: any of them)")
    add("--kernel", action="append", default=[], metavar="NAME", help="instead of the recorded one")
    add("--modules", type=_path, metavar="DIR", help="lib/modules/RELEASE (or its parents) for --kernel PATH")
    add("--seed", type=_number, help="of the run; printed, and random by default")
    add("--out", type=_path, metavar="DIR", help="results folder (default: results/<time>)")
    add("--json", action="store_true", help="reduce.json on stdout")
    add("--no-install", action="store_true", help="never install packages")
    add("--device", type=_device, metavar="DEV", help="native: make filesystems on this block device")
    add("--overwrite-device", type=_device, metavar="DEV", help="the same name again: what DEV holds may be destroyed")


def parser() -> Parser:
    top = Parser(prog="run.sh", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
                 description="pinfault: who loses when pinned pages of a file meet a truncate?")
    sub = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    epilogs = {"repro": repro.EPILOG, "reduce": reduce.EPILOG, "bisect": bisect.EPILOG}
    made = {name: sub.add_parser(name, help=text, description=text, epilog=epilogs.get(name, EPILOG),
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
            for name, text in COMMANDS.items()}
    for name in ("run", "seq", "race", "explore", "repro", "selftest", "list"):
        _common(made[name], NO_USE.get(name, ("",))[0].split())
    add = made["explore"].add_argument
    add("--depth", type=int, metavar="N",
        help="steps of the longest sequences; must be given; with --resume: more than before, to go on from there")
    add("--alphabet", default="core", metavar="NAME|FILE|VERBS",
        help="workloads/alphabets/NAME.alphabet (core, wide, huge), such a file, or verbs: 'punch write hold land'")
    add("--budget", type=_duration, default=0.0, metavar="TIME",
        help="of the whole run, as 90s, 10m, 2h: likeliest first, as far as it goes; with --resume: of what is left")
    add("--shard", type=_shard, default=(0, 1), metavar="I/N",
        help="of sequences of four and more steps only every Nth, from the Ith on")
    add("--repeats", type=int, default=explore.TIMES, metavar="K",
        help=f"how often each finding is run again (default {explore.TIMES})")
    add = made["race"].add_argument
    add("--ops", type=int, default=0, metavar="N", help="operations of each race")
    add("--seconds", type=float, default=0.0, metavar="S", help=f"of each race (default {SECONDS:g}, without --ops)")
    add("--threads", type=int, default=Race.threads, metavar="N", help=f"1 to 16 (default {Race.threads})")
    add("--files", type=int, default=Race.files, metavar="N", help=f"1 to 8 (default {Race.files})")
    add("--size", type=_size, default=Race.size, metavar="BYTES", help="of each file at the start (default 256K)")
    add("--verb", action="append", default=[], metavar="NAME",
        help="only these: write (the channel), store, pwrite, look, fault; may be repeated")
    add("--view", action="append", default=[], metavar="NAME", help="looks only through mmap, buffered, direct")
    add("--record", action="store_true", help="keep every race's stream, not only those that show something")
    made["seq"].add_argument("file", nargs="?", type=_path, metavar="FILE")
    add = made["repro"].add_argument
    add("result", nargs="?", metavar="RESULT", help="a case's folder, or RUN:KERNEL/FS/CHANNEL/SEQUENCE")
    add("--times", type=int, metavar="N", help="run it so often (default 1), in one boot")
    add("--export", choices=repro.EXPORTS, help="run nothing; write a standalone C file (--out FILE, or - for "
        "stdout), or a test in xfstests' form (--out DIR)")
    add("--check", action="store_true", help="run nothing: 0 when RESULT can be repeated as these options say, else 64")
    _reduce_options(made["reduce"])
    add("--git-bisect", action="store_true", help="the exit code as `git bisect run` wants it: 0 it never failed, 1 it "
        "failed, 125 nothing was concluded, 255 (git stops) for everything else")
    _bisect(made["bisect"])
    made["list"].add_argument("--kernels-available", action="store_true",
                              help="instead: every kernel package the mirror has, for --kernel VERSION")
    made["report"].add_argument("run", type=_path, metavar="RUN")
    made["report"].add_argument("--markdown", action="store_true", help="as results/reference wants it")
    made["report"].add_argument("--json", action="store_true")
    made["compare"].add_argument("a", type=_path, metavar="A")
    made["compare"].add_argument("b", type=_path, metavar="B")
    made["compare"].add_argument("--json", action="store_true")
    return top


def _bisect(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("result", nargs="?", metavar="RESULT", help="a case's folder, or RUN:KERNEL/FS/CHANNEL/SEQUENCE")
    add("--good", metavar="KERNEL", help="on which it does not fail: 6.1, newest, ..., or a version")
    add("--bad", metavar="KERNEL", help="on which it fails; older than the good one: the fix is looked for")
    add("--times", type=int, default=bisect.TIMES, metavar="N",
        help=f"runs on each kernel (default {bisect.TIMES}): bad is a kernel on which one fails")
    add("--seed", type=_number, help="instead of the recorded one")
    add("--out", type=_path, metavar="DIR", help="results folder (default: results/<time>)")
    add("--json", action="store_true", help="bisect.json on stdout, the lines on stderr")
    add("--resume", type=_path, metavar="DIR", help="go on with one that was stopped")
    add("--no-install", action="store_true", help="never install packages")
    parser.set_defaults(kernel=[], modules=None, fs=[], channel=[], fault=[], sequence=[], all=False, jobs=1,
                        device=None, overwrite_device=None, local_config=None, section=None)


def _refuse_useless(args: argparse.Namespace) -> None:
    names, why = NO_USE.get(args.command, ("", ""))
    for name in names.split():
        if getattr(args, name.replace("-", "_")) not in (None, False, [], runs.JOBS):
            raise UsageError(f"{args.command} takes no --{name}: {why}")


def _check_device(args: argparse.Namespace) -> None:
    if args.overwrite_device and not args.device:
        raise UsageError("--overwrite-device confirms a --device, and there is none")


def _options(args: argparse.Namespace) -> runs.Options:
    if args.jobs < 1:
        raise UsageError("--jobs wants a number from 1 up")
    _check_device(args)
    if args.section and not args.local_config:
        raise UsageError("--section belongs to --local-config FILE")
    _refuse_useless(args)
    race = None
    if args.command == "race":
        race = Race(ops=args.ops, seconds=args.seconds, threads=args.threads, files=args.files, size=args.size,
                    record=args.record, verbs=tuple(dict.fromkeys(args.verb)), views=tuple(dict.fromkeys(args.view)))
        race.check()
        if args.fault and race.verbs and "fault" not in race.verbs:
            raise UsageError("--fault chooses what runs beside the writes, and --verb leaves fault out")
    if args.out == repro.STDOUT and not getattr(args, "export", None):
        raise UsageError("--out - is where repro --export c writes to stdout; results want a folder")
    return runs.Options(
        race=race,
        kernels=list(dict.fromkeys(args.kernel)), modules=args.modules,
        filters=Filters(args.fs, args.channel, args.sequence, args.fault, args.all), seed=args.seed, out=args.out,
        json=args.json, resume=args.resume, install=not args.no_install, jobs=args.jobs, device=args.device,
        overwrite_device=args.overwrite_device, local_config=args.local_config, section=args.section)


def _repro(args: argparse.Namespace, options: runs.Options, argv: list[str]) -> int:
    """RESULT is a case's folder, or RUN:ID."""
    if not args.result:
        raise UsageError("repro wants RESULT, a case's folder or RUN:KERNEL/FS/CHANNEL/SEQUENCE")
    if args.times is not None and args.times < 1:
        raise UsageError("--times wants a number from 1 up")
    if args.git_bisect and (args.export or len(args.kernel) != 1):
        raise UsageError("--git-bisect says of one --kernel, the one just built, whether the case fails on it")
    for name in ("times", "kernel", "modules", "seed", "json", "device", "check") if args.export else ():
        if getattr(args, name) not in (None, [], False):
            raise UsageError(f"--export writes a program and runs nothing: it takes no --{name}")
    found = repro.find(args.result, _path(args.result))
    if args.export:
        deps.ensure(False, options.install)
        deps.build(runs.ROOT)
        return repro.export(found, args.export, options.out, runs.JUDGE)
    options = _as_recorded(options, found)
    options.times = args.times or 1
    repro.aim(options, found, args.kernel)
    return EXIT_EXPECTED if args.check else repro.repeat(options, found, argv)


def _reduce(args: argparse.Namespace, argv: list[str]) -> int:
    if args.repeats < 1:
        raise UsageError("--repeats wants a number from 1 up")
    if not 1 <= args.depth <= explore.DEPTH_MAX:
        raise UsageError(f"--depth wants 1 to {explore.DEPTH_MAX} steps, not {args.depth}")
    if len(args.kernel) > 1:
        raise UsageError("a race is reduced on one kernel")
    _check_device(args)
    found = repro.find(args.result, _path(args.result))
    kinds = reduce.check(found, args.kind)
    options = _options(parser().parse_args(shlex.split(found.result.repeat)[1:]))
    assert options.race
    asked = replace(options.race, seed=options.seed or 0, faults=tuple(options.filters.faults))
    options = replace(options, seed=args.seed, out=args.out, json=args.json, install=not args.no_install, race=None,
                      modules=args.modules, device=args.device, overwrite_device=args.overwrite_device)
    repro.aim(options, found, args.kernel)
    what = reduce.Reduce(found, asked, asked, kinds, args.budget, args.repeats, args.depth)
    return reduce.run(options, what, argv)


def _as_recorded(options: runs.Options, found: repro.Found) -> runs.Options:
    """What a race was asked for stands in the line that repeats it."""
    if not found.race:
        return options
    return replace(_options(parser().parse_args(shlex.split(found.result.repeat)[1:])), out=options.out,
                   device=options.device, overwrite_device=options.overwrite_device, modules=options.modules,
                   json=options.json, resume=options.resume, install=options.install)


def _run_bisect(args: argparse.Namespace, options: runs.Options, argv: list[str]) -> int:
    for name in ("result", "good", "bad"):
        if not getattr(args, name):
            raise UsageError(f"bisect wants RESULT, --good KERNEL and --bad KERNEL ({name} is missing)")
    if args.times < 1:
        raise UsageError("--times wants a number from 1 up")
    found = repro.find(args.result, _path(args.result))
    options = _as_recorded(options, found)
    options.times = args.times
    return bisect.run(options, found, args.good, args.bad, argv)


def _list(options: runs.Options) -> int:
    deps.ensure(False, options.install)
    deps.build(runs.ROOT)
    everything = runs.world(options)

    def section(title: str, rows: list[tuple[str, str]]) -> None:
        print(title)
        for name, text in rows:
            print(f"  {name:24} {text}"[:130])
    section("kernels", [(n, "default run" if c.default else "by name only")
                        for n, c in everything.kernels.items()] + [("native", f"{os.uname().release}, root only")])
    section("filesystems", [(n, c.summary or c.fstype) for n, c in everything.configs.items()])
    section("channels (name/variant, class, hold; here: can it run on this machine)",
            [(n, f"{c.cls:10} {c.hold:9} " + ("runs here" if c.available else f"not here: {c.why}"))
             for n, c in everything.hello.channels.items()])
    section("faults", [(n, f"{f.args:11} {f.summary}" + (f" [{' '.join(sorted(f.flags))}]" if f.flags else ""))
                       for n, f in everything.hello.faults.items()])
    section("sequences", [(n, s.title + (" [selftest]" if s.selftest else ""))
                          for n, s in everything.sequences.items()])
    return EXIT_EXPECTED


def _list_available() -> int:
    """One line a package version: needs the mirror, or shows what is in the cache."""
    from ..guest import GuestError, available, load_kernels
    try:
        among = available.everything(list(load_kernels().values()), runs.tell)
    except GuestError as err:
        raise EnvironmentFailed(str(err)) from None
    for one in among:
        print(f"{one.package_version:26} {one.version:10} {one.release:28} "
              f"{' '.join(one.suites) or 'not on the mirror any more'}{'  in the cache' if one.folder else ''}")
    return EXIT_EXPECTED


def _resumed(args: argparse.Namespace) -> argparse.Namespace:
    """What the run was asked for is what it goes on with, from where that was said; only how it runs may be said
    again."""
    meta = load_run(args.resume)[0]
    if not meta.get("argv"):
        raise UsageError(f"{args.resume}: run.json does not say what the run was asked for (argv)")
    os.environ["PINFAULT_CALLER_DIR"] = str(meta.get("cwd") or os.environ.get("PINFAULT_CALLER_DIR", "."))
    resumed = parser().parse_args(meta["argv"])
    if args.command not in ("run", resumed.command):
        raise UsageError(f"{args.resume}: was made by `{resumed.command}`, not by `{args.command}`")
    plain = parser().parse_args([args.command])
    for name, value in vars(args).items():
        if name in ("resume", "jobs", "no_install", "json") or name in ("overwrite_device", "budget") and value:
            setattr(resumed, name, value)
        elif name == "depth" and value and value > (resumed.depth or 0):
            resumed.depth = value
        elif name != "command" and value not in (getattr(plain, name), getattr(resumed, name, None)):
            what = {"file": "FILE", "result": "RESULT"}.get(name, "--" + name.replace("_", "-"))
            raise UsageError(f"--resume goes on with what {args.resume} was asked for: no other {what} can be given")
    return resumed


def dispatch(argv: list[str]) -> int:
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = ["run", *argv]
    if not argv[0].startswith("-") and argv[0] not in COMMANDS:
        raise UsageError(nearest(argv[0], list(COMMANDS), "command"))
    args = parser().parse_args(argv)
    if getattr(args, "resume", None):
        args = _resumed(args)
    if args.command == "report":
        return report.report(args.run, args.markdown, args.json)
    if args.command == "compare":
        return report.compare(args.a, args.b, args.json)
    if args.command == "reduce":
        return _reduce(args, argv)
    options = _options(args)
    if args.command == "list":
        return _list_available() if args.kernels_available else _list(options)
    if args.command == "bisect":
        return _run_bisect(args, options, argv)
    if args.command == "explore":
        if args.depth is None:
            raise UsageError("explore wants --depth N, the number of steps of the longest sequences")
        what = explore.Explore(args.depth, args.alphabet, args.budget, args.shard[0], args.shard[1], args.repeats)
        return explore.run(options, what, argv)
    if args.command == "selftest":
        return selftest.run(options, argv)
    if args.command == "repro":
        return _repro(args, options, argv)
    if args.command == "seq":
        if not args.file:
            raise UsageError("seq wants the FILE of a sequence")
        options.sequence_file = args.file
    return runs.run(options, argv)


def main(argv: list[str]) -> int:
    # argparse takes what an option begins with for the option.
    if argv[:1] == ["repro"] and any(a.startswith("--g") and "--git-bisect".startswith(a) for a in argv):
        return for_git(lambda: ends(argv))
    try:
        return ends(argv)
    except KeyboardInterrupt as stop:
        print("; ".join(["pinfault: stopped", *stop.args]), file=sys.stderr)
    except Exception as err:  # pylint: disable=broad-except  # a bug of ours would be 1, which is "differs"
        if isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT) and err.filename is None:
            print(f"pinfault: standard output: {err.strerror}", file=sys.stderr)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left in its buffer
            return EXIT_BROKEN
        if isinstance(err, OSError) and err.filename is not None:
            print(f"pinfault: {os.fsdecode(err.filename)}: {err.strerror}", file=sys.stderr)
            return EXIT_BROKEN
        traceback.print_exc()
        print(f"pinfault: the runner failed: {type(err).__name__}: {err}", file=sys.stderr)
    return EXIT_BROKEN


def for_git(command: Callable[[], int]) -> int:
    """The exit code as `git bisect run` wants it. To git most codes say that this revision is bad: what is no
    answer of the kernel must skip the revision, or stop git."""
    try:
        code = command()
    except (KeyboardInterrupt, SystemExit):
        print("pinfault: stopped", file=sys.stderr)
        return GIT_STOP
    except Exception:  # pylint: disable=broad-except  # a bug of ours would be 1, which is "bad"
        traceback.print_exc()
        return GIT_STOP
    return {EXIT_EXPECTED: 0, EXIT_DIFFERS: 1, EXIT_BROKEN: GIT_SKIP}.get(code, GIT_STOP)


def _hung_up(terminals: list[int]) -> Callable[..., None]:
    """A handler: stop as for Ctrl-C, and say nothing more to a terminal that is gone."""
    def stop(*_: object) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        for fd in terminals:
            os.dup2(null, fd)
        raise KeyboardInterrupt
    return stop


def ends(argv: list[str]) -> int:
    """The exit code of a command that may fail in all the known ways."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that finally blocks run
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # who began it with nohup wants it to go on
        signal.signal(signal.SIGHUP, _hung_up([fd for fd in (1, 2) if os.isatty(fd)]))
    try:
        code = dispatch(argv)
        sys.stdout.flush()
        return code
    except UsageError as err:
        print(f"pinfault: {err}", file=sys.stderr)
        return EXIT_USAGE
    except EnvironmentFailed as err:
        print(f"pinfault: {err}", file=sys.stderr)
        return EXIT_BROKEN
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN
