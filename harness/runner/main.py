# SPDX-License-Identifier: GPL-2.0
"""What a run is made of: names, plan, machines, store, tables. cli.py decides which run."""

import hashlib
import os
import secrets
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from . import controls, deps, native, selftest, store, table
from .agent import Agent, Hello
from .errors import (EXIT_BROKEN, EXIT_DIFFERS, EXIT_EXPECTED, AgentDied, AgentTimeout, EnvironmentFailed,
                     UsageError, nearest)
from .execute import RunContext, run_kernels
from .expect import Expectations
from .findings import name_in
from .fsconfig import FsConfig, import_local_config, load_all, plain_name
from .klog import KernelLog
from .machines import GuestMachine, Machine, NativeMachine
from .plan import Asked, Case, Filters, Sequence, again, load_sequences, parse_sequence, plan
from .progress import Progress
from .race import SEQUENCE, Race, choose_faults, left_out, plan as plan_races, sequence as race_sequence

ROOT = Path(__file__).resolve().parents[2]
EXECUTOR = ROOT / "build" / "pinfault-exec"
JUDGE = ROOT / "build" / "pinfault-judge"
JOBS = (os.cpu_count() or 1) + 1  # guests at once: they also wait


@dataclass
class Options:
    """The common options, after the command line was understood."""

    kernels: list[str] = field(default_factory=list)
    modules: Path | None = None
    filters: Filters = field(default_factory=Filters)
    seed: int | None = None
    out: Path | None = None
    json: bool = False
    resume: Path | None = None
    install: bool = True
    jobs: int = JOBS
    device: str | None = None
    overwrite_device: str | None = None
    local_config: Path | None = None
    section: str | None = None
    sequence_file: Path | None = None
    sequence_name: str = ""
    race: Race | None = None
    selftest: bool = False  # run the cases that break things on purpose, and print no tables
    times: int = 1  # each case
    fs_recorded: FsConfig | None = None  # instead of the configuration of its name
    exclusive: bool = False  # no fio beside the cases, whatever their steps


class _Local:
    """The executor on this machine, asked for its names only."""

    def __init__(self) -> None:
        self.child = subprocess.Popen([str(EXECUTOR), "--stdio"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.buffer = b""

    def send(self, line: str) -> None:
        assert self.child.stdin
        self.child.stdin.write(line.encode() + b"\n")
        self.child.stdin.flush()

    def recv(self, timeout_s: float) -> str:
        assert self.child.stdout
        fd = self.child.stdout.fileno()
        while b"\n" not in self.buffer:
            if not select.select([fd], [], [], timeout_s)[0]:
                raise AgentTimeout("the executor is silent")
            data = os.read(fd, 1 << 16)
            if not data:
                raise AgentDied("the executor ended")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()


def local_hello() -> Hello:
    """Names of channels and faults, from the executor's own list."""
    try:
        local = _Local()
        try:
            return Agent(local).hello()
        finally:
            local.child.kill()
            local.child.communicate()
    except (OSError, AgentDied, AgentTimeout) as err:
        raise EnvironmentFailed(f"{EXECUTOR}: {err}") from None


@dataclass
class World:
    """Everything that has a name."""

    hello: Hello
    sequences: dict[str, Sequence]
    configs: dict[str, FsConfig]
    kernels: dict[str, Any]  # harness.guest's KernelConf by name


def check_sequence(path: Path) -> None:
    """By the executor, which alone knows the whole grammar. UsageError with file:line."""
    done = subprocess.run([str(EXECUTOR), "--seq", str(path)], stderr=subprocess.PIPE, text=True, timeout=20)
    if done.returncode:
        raise UsageError(done.stderr.strip() or f"{path}: the executor failed on it ({done.returncode})")


def world(options: Options) -> World:
    hello = local_hello()
    sequences = load_sequences(ROOT / "workloads" / "sequences", hello.faults)
    if options.sequence_file:
        own = parse_sequence(options.sequence_file, hello.faults,
                             options.sequence_name or plain_name(options.sequence_file.stem))
        check_sequence(options.sequence_file)
        taken = sequences.get(own.name)
        if not options.sequence_name and (own.name == SEQUENCE or taken and taken.selftest):
            raise UsageError(f"{options.sequence_file}: the name '{own.name}' is taken by "
                             + (taken.path if taken else "races") + "; give the file another one")
        if own.explored and not name_in(own.explored, own.text):
            tell(f"{options.sequence_file}: its steps are no more those of {own.explored}: no rule for explored "
                 "sequences holds for it")
        sequences[own.name] = own
        options.filters.sequences = [own.name]
    configs = load_all(ROOT / "fs-configs")
    if options.local_config and not options.fs_recorded:
        own_fs = import_local_config(options.local_config, options.section)
        configs[own_fs.name] = own_fs
        options.filters.fs = [*options.filters.fs, own_fs.name]
    if options.fs_recorded:
        then, now = options.fs_recorded, configs.get(options.fs_recorded.name)
        configs[then.name] = replace(then, race_without=now.race_without, summary=now.summary) if now else then
    from ..guest import GuestError, load_kernels
    try:
        kernels = load_kernels(ROOT / "harness" / "guest" / "kernels")
    except GuestError as err:
        raise UsageError(str(err)) from None
    return World(hello, sequences, configs, kernels)


def tell(text: str) -> None:
    """Progress that is no part of a run."""
    print(text, file=sys.stderr, flush=True)


def choose_kernels(names: list[str], known: dict[str, Any], modules: Path | None) -> dict[str, Any]:
    """Name -> KernelConf (None for native). The default ones when none is named."""
    names = names or [n for n, c in known.items() if c.default]
    from ..guest import GuestError, check_by_hand, handmade, image_release, is_version
    chosen: dict[str, Any] = {}
    for name in names:
        path = caller_dir() / name
        if name == "native":
            chosen[name] = None
        elif name in known:
            chosen[name] = known[name]
        elif "/" in name or path.is_file():
            if not path.is_file():
                raise UsageError(f"--kernel {name}: no such file")
            conf = handmade(path, modules)
            try:
                image_release(path)
            except GuestError as err:
                raise UsageError(f"--kernel: {err}") from None
            try:
                check_by_hand(conf)  # so that it is said before anything is fetched or booted
            except GuestError as err:
                raise UsageError(str(err)) from None
            if conf.name in chosen:
                raise UsageError(f"--kernel {name}: another one is called {conf.name}, too, and results are kept by it")
            chosen[conf.name] = conf
        elif is_version(name):
            conf = kernel_of_version(name, known)
            chosen[conf.name] = conf
        else:
            raise UsageError(nearest(name, [*known, "native"], "kernel"))
    if modules and not any(conf and conf.path for conf in chosen.values()):
        raise UsageError("--modules belongs to --kernel PATH; the other kernels have their own")
    return chosen


def kernel_of_version(name: str, known: dict[str, Any]) -> Any:
    """The KernelConf of a Debian package's version, or of an upstream version that only one package has."""
    from ..guest import GuestError, available, of_version
    confs = list(known.values())
    try:
        return of_version(available.find(name, confs, tell).package_version)
    except available.Unknown as err:
        raise UsageError(f"--kernel: {err}") from None
    except GuestError as err:
        raise EnvironmentFailed(str(err)) from None


def nonce_of(seed: int) -> int:
    """The run's number in every cell: from the seed's stream of that name, never 0."""
    digest = hashlib.sha256(f"{seed}:run-nonce".encode()).digest()
    return int.from_bytes(digest[:4], "little") or 1


def environment() -> dict[str, Any]:
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True,
                            timeout=20).stdout.strip() if (ROOT / ".git").exists() else ""
    return {"host_kernel": os.uname().release, "machine": os.uname().machine, "cpus": os.cpu_count(),
            "python": sys.version.split()[0], "commit": commit}


def stage_programs(stack: ExitStack) -> Path:
    """The executor, with the judge beside it, where guests can be made: machines that boot later must run
    the same one, whatever is built meanwhile."""
    work = native.private_dir(native.guest_dir())
    stack.callback(shutil.rmtree, work, True)
    shutil.copy2(JUDGE, work)
    return Path(shutil.copy2(EXECUTOR, work))


def guest_maker(conf: Any, executor: Path, say: Callable[[str], None]) -> Callable[[], Machine]:
    """Fetches the kernel, if it is not there. EnvironmentFailed when it cannot be had."""
    from ..guest import GuestError, obtain
    try:
        kernel = obtain(conf, say)
    except GuestError as err:
        raise EnvironmentFailed(f"kernel {conf.name}: {err}") from None
    return partial(GuestMachine, kernel, executor, executor.parent, say)


def goes_on(results: store.Store, command: str) -> str:
    return f"finished cases are kept; ./run.sh {command} --resume {shlex.quote(relative(results.folder))} goes on"


def stage(options: Options, names: dict[str, Any], run_name: str, say: Callable[[str], None],
          stack: ExitStack) -> dict[str, Callable[[], Machine]]:
    """A maker for each kernel's machine. Kernels are fetched here, so that a run that cannot have one
    says so before anything else."""
    makers: dict[str, Callable[[], Machine]] = {}
    executor = stage_programs(stack)
    if "native" in names:
        setup = stack.enter_context(native.NativeSetup(run_name, say, options.device))
        makers["native"] = lambda: NativeMachine(setup, executor)
    for name, conf in names.items():
        if conf is not None:
            makers[name] = guest_maker(conf, executor, say)
    return makers


def prepare(options: Options) -> tuple[World, dict[str, Any], list[Case]]:
    """Dependencies, build, names, plan."""
    everything = ready(options)
    names = choose_kernels(options.kernels, everything.kernels, options.modules)
    return everything, names, plan_cases(options, everything, list(names))


def ready(options: Options) -> World:
    """Dependencies, build, names. Says so when something cannot be had."""
    if options.device and "native" not in options.kernels:
        raise UsageError("--device is for --kernel native; guests have devices of their own")
    if "native" in options.kernels and os.getuid() != 0:
        raise EnvironmentFailed("--kernel native mounts filesystems and needs root; without it, use a guest")
    if options.device:
        native.check_device(options.device, options.overwrite_device)
    deps.ensure(options.kernels != ["native"], options.install)
    deps.build(ROOT)
    return world(options)


def plan_cases(options: Options, everything: World, kernels: list[str]) -> list[Case]:
    """What the options ask for on these kernels. UsageError when that is nothing."""
    if options.race:
        return again(_races(options, everything, kernels), options.times)
    cases = plan(kernels, everything.configs, everything.hello.channels, everything.hello.faults,
                 everything.sequences, options.filters, options.selftest)
    if not cases:
        raise UsageError("no case is left by these options: the sequences do not belong on these channels "
                         "or filesystems")
    if options.exclusive:
        cases = [replace(case, exclusive=True) for case in cases]
    return again(cases, options.times)


def _races(options: Options, everything: World, kernels: list[str]) -> list[Case]:
    """The seed is in every race's name, so it is settled here and not when the store is made."""
    assert options.race
    if options.seed is None and options.resume:
        options.seed = store.load_run(options.resume)[0]["seed"]
    if options.seed is None:
        options.seed = secrets.randbits(32)
    race = replace(options.race, seed=options.seed,
                   faults=choose_faults(options.filters.faults, everything.hello.faults, options.race.files))
    options.race = race
    everything.sequences = {SEQUENCE: race_sequence(race)}
    return list(plan_races(kernels, everything.configs, everything.hello.channels, options.filters, race))


@dataclass
class Ended:
    """A run that is over: what became of its cases, and what went wrong around them."""

    folder: Path
    meta: dict[str, Any]
    outcomes: list[store.CaseResult]
    failed: dict[str, str]  # kernels (or "run") that could not go on, with why
    broken_controls: list[str]


def asked_of(options: Options, names: dict[str, Any], folder: str = "") -> Asked:
    """For the lines that repeat cases. `folder`: the run's."""
    images = {name: conf.path for name, conf in names.items() if conf is not None and conf.path}
    modules = next((names[n].modules for n in images), None)
    section_of = ""
    if options.fs_recorded:
        section_of = options.fs_recorded.name
    elif options.local_config:
        section_of = import_local_config(options.local_config, options.section).name
    return Asked(images, modules, section_of, options.local_config, options.section, options.device,
                 "" if options.sequence_name or not options.sequence_file else plain_name(options.sequence_file.stem),
                 options.sequence_file, folder if options.fs_recorded else "")


def context_of(options: Options, names: dict[str, Any], results: store.Store, everything: World,
               say: Callable[[str], None], done: Callable[[store.CaseResult], None]) -> RunContext:
    """What all kernels of a run have in common."""
    return RunContext(
        store=results, expectations=Expectations.load(ROOT / "harness" / "expected"),
        klog=KernelLog.load(ROOT / "harness" / "expected" / "klog.allow"),
        sequences=everything.sequences, configs=everything.configs, judge_program=JUDGE,
        fio_job=ROOT / "workloads" / "fio" / "neighbour.fio", nonce=nonce_of(results.meta["seed"]),
        say=say, done=done, asked=asked_of(options, names, relative(results.folder)), controls=controls.SEQUENCES)


def execute(options: Options, argv: list[str]) -> Ended:
    """Plan and run; what failed around the cases is said on stderr."""
    state = native.private_dir(native.state_dir())
    native.cleanup_guests(state)
    if os.getuid() == 0:
        native.cleanup_stale(tell, state)
    everything, names, cases = prepare(options)
    results = _open_store(options, argv, everything, names, cases)
    progress = Progress(len(cases), news=not options.selftest)
    progress.finished = sum(c.id in results.results for c in cases)
    progress.say(f"{len(cases)} cases on {', '.join(names)}; seed {results.meta['seed']}; "
                 f"results in {relative(results.folder)}")
    failed: dict[str, str] = {}
    to_the_end = False
    try:
        with store.when_stopped(goes_on(results, argv[0])), ExitStack() as stack:
            # Not the folder's name: two runs may have chosen the same one with --out.
            makers = stage(options, names, store.new_run_name(), progress.say, stack)
            context = context_of(options, names, results, everything, progress.say, progress.done)
            if options.selftest:
                context.controls = ()
            failed = run_kernels(makers, cases, context, options.jobs)
            to_the_end = True
    except EnvironmentFailed as err:
        failed["run"] = str(err)
    finally:
        progress.end()
        results.write_run(complete=to_the_end and not failed)
    meta, outcomes = store.load_run(results.folder)
    for name, why in failed.items():
        tell(f"pinfault: {why}" if name in why or name == "run" else f"pinfault: {name}: {why}")
    wrong = controls.failures(meta.get("controls", []))
    for text in wrong:
        tell(f"pinfault: broken: a control failed, so nothing this run says holds: {text}")
    return Ended(results.folder, meta, outcomes, failed, wrong)


def run(options: Options, argv: list[str]) -> int:
    """Plan, run, report. Returns the exit code."""
    ended = execute(options, argv)
    if options.selftest:
        pass
    elif options.json:
        sys.stdout.write((ended.folder / "run.json").read_text())
    else:
        sys.stdout.write(table.render(ended.meta, ended.outcomes, relative(ended.folder)))
    return EXIT_BROKEN if ended.broken_controls else exit_code(
        ended.outcomes, bool(ended.failed), any(not n.get("expected") for n in ended.meta["notes"]))


def exit_code(outcomes: list[store.CaseResult], failed: bool, notes: bool) -> int:
    """1 is news and goes before 2; a run in which nothing was concluded is 2."""
    words = {r.outcome for r in outcomes}
    if words & {"differs", "fixed"} or notes:
        return EXIT_DIFFERS
    if failed or "broken" in words or "expected" not in words:
        return EXIT_BROKEN
    return EXIT_EXPECTED


def caller_dir() -> Path:
    """Where the caller stood: run.sh went to the checkout."""
    return Path(os.environ.get("PINFAULT_CALLER_DIR", "."))


def relative(path: Path) -> str:
    try:
        return str(path.relative_to(ROOT))
    except ValueError:
        return str(path)


def _open_store(options: Options, argv: list[str], everything: World, names: dict[str, Any],
                cases: list[Case]) -> store.Store:
    if options.resume:
        return store.Store.resume(options.resume)
    folder = options.out or ROOT / "results" / store.new_run_name()
    seed = options.seed if options.seed is not None else secrets.randbits(32)
    used = list(dict.fromkeys(c.fs for c in cases))
    return store.Store.create(folder, {
        **facts(everything, names, used, argv, seed), "planned": len(cases),
        "left_out": left_out(cases, everything.configs),
        "sequences": {s.name: s.title for s in everything.sequences.values()
                      if s.name in {c.sequence for c in cases}},
        "selftests": selftest.selected(everything.sequences, options.filters, everything.hello.faults)
        if options.selftest else {}})


def facts(everything: World, names: dict[str, Any], used: list[str], argv: list[str], seed: int) -> dict[str, Any]:
    """What run.json says of any run, whatever ran in it."""
    return {
        "tool": "pinfault", "argv": argv, "cwd": os.path.abspath(caller_dir()), "seed": seed,
        "environment": environment(), "kernels_wanted": list(names),
        "filesystems": {n: {"fstype": everything.configs[n].fstype,
                            "mkfs_options": " ".join(everything.configs[n].mkfs_options),
                            "mount_options": " ".join(everything.configs[n].mount_options),
                            "requires": everything.configs[n].requires, "default": everything.configs[n].default,
                            "proves": everything.configs[n].proves} for n in used},
        "channels": {c.name: {"class": c.cls, "hold": c.hold} for c in everything.hello.channels.values()},
        "time_ns": time.time_ns()}
