# SPDX-License-Identifier: GPL-2.0
"""One kernel: its machine, kept up through whatever the cases do to it, and the judging of results."""

import re
import threading
import time
from collections.abc import Callable, Sequence as Sequence_
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import native
from .agent import Agent, Hello, late_histories
from .batch import FsRun, Running
from .errors import AgentDied, AgentTimeout, EnvironmentFailed
from .expect import Expectation, Expectations, outcome, sleepers
from .findings import headed
from .fsconfig import FsConfig
from .fsops import NotCovered
from .judge import Judge, Judgement
from .klog import Finding, KernelLog, classify_console
from .machines import Machine
from .plan import Asked, Case, Sequence
from .store import CaseResult, Store, utc_now

# Whole-case outcomes that are a kind of violation themselves.
KIND_OF_VERDICT = {"hung": "hang", "crashed": "kernel-fault"}
BOOTS_WITHOUT_PROGRESS_MAX = 3
_DISK_FULL = re.compile(r"critical space allocation error, dev (\w+)")


@dataclass
class RunContext:
    """What all kernels of a run share. Read-only, but for the store, which locks."""

    store: Store
    expectations: Expectations
    klog: KernelLog
    sequences: dict[str, Sequence]
    configs: dict[str, FsConfig]
    judge_program: Path
    fio_job: Path
    nonce: int
    say: Callable[[str], None]
    done: Callable[[CaseResult], None]
    asked: Asked = Asked()
    controls: tuple[str, ...] = ()  # sequences that every kernel and filesystem runs first (controls.py)


class KernelRun:
    """All cases of one kernel, in one thread."""

    def __init__(self, machine: Machine, context: RunContext) -> None:
        self.machine = machine
        self.context = context
        self.store, self.klog, self.sequences = context.store, context.klog, context.sequences
        self.fio_job, self.nonce = context.fio_job, context.nonce
        self.name = machine.kernel
        self.mnt = f"{machine.work_dir}/mnt"
        self.scratch = f"{machine.work_dir}/scratch"
        # An emulated machine is ten times slower; "asleep" must not mean "slow".
        self.deadline_ms, self.grace_ms = (6000, 120) if machine.guest else (3000, 120)
        self.judge = Judge(context.judge_program)
        self.agent = Agent(machine)
        self.hello = Hello()
        self.up = False
        self.boots_idle = 0
        self.boots = 0
        self.warned = False  # the kernel, since it was booted
        self.no_zeros = False  # its page of zeros is overwritten
        self.made = 0        # filesystems, since then
        self.may_keep: set[str] = set()  # kinds of warnings that are known of what ran since then
        self.noted: set[str] = set()

    def say(self, text: str) -> None:
        self.context.say(f"{self.name}: {text}")

    # --- the machine ------------------------------------------------------------------------

    def ensure_up(self) -> None:
        """Boot if it is not up. EnvironmentFailed after too many boots without a finished case."""
        while not self.up:
            if self.boots_idle >= BOOTS_WITHOUT_PROGRESS_MAX:
                raise EnvironmentFailed(f"kernel {self.name}: {self.boots_idle} boots in a row without one "
                                        "finished case")
            self.boots_idle += 1
            self._boot()
        if self.boots == 1:
            self.store.set_kernel(self.name, version=self.version, boot_s=round(self.machine.boot_s, 1),
                                  guest=self.machine.guest, env=self.hello.env, error="")

    def _boot(self, same_disks: bool = False) -> None:
        self.boots += 1
        self.warned, self.no_zeros, self.made, self.may_keep = False, False, 0, set()
        self.machine.start(same_disks)
        self.agent = Agent(self.machine, self._asked)
        try:
            self.hello = self.agent.hello()
            self.agent.sh("mkdir", "-p", self.mnt, self.scratch)
            self.up = True
        except (AgentDied, AgentTimeout) as err:
            self.say(f"died before the first case ({err}); booting again")
            self.machine.kill()

    def _asked(self, what: str) -> None:
        """A case cannot do this itself."""
        if what == "forget":
            self.machine.keep_images()

    def power_cut(self, after_s: float) -> tuple[dict[int, list[str]], list[str]]:
        """Kill the machine after that time and boot another on its disks. Returns what its cases said
        since they were replied to, by number, and its kernel log since. AgentDied when it died by itself."""
        self.agent.watch(after_s)
        log = [text for _, _, text in self.kmsg()] if after_s else []
        late = late_histories(self.machine.cut_power())
        self.up = False
        self._boot(same_disks=True)
        if not self.up:
            raise EnvironmentFailed(f"kernel {self.name}: no answer from the machine that was booted after a "
                                    "power cut")
        return late, log

    @property
    def version(self) -> str:
        return self.machine.version or self.hello.env.get("kernel", "")

    def down(self, why: str) -> None:
        """The machine is gone, or must go: kill it. The next ensure_up boots it again. EnvironmentFailed where there
        is no space for its images: an emulator stops at that, or dies."""
        if self.up:
            self.say(why)
        self.up = False
        full = native.is_full(native.state_dir())
        self.machine.kill()
        if full:
            raise EnvironmentFailed(f"{self.machine.disk_dev or 'the machine'}: {native.FULL}")

    def kmsg(self) -> list[tuple[float, int, str]]:
        """The kernel log since the last call. EnvironmentFailed where the device under test had no space for what it
        was given to write: whatever came of that says nothing of a kernel."""
        log = self.agent.kmsg()
        for name in {m[1] for m in map(_DISK_FULL.search, (text for _, _, text in log)) if m}:
            if f"/dev/{name}" in (self.machine.disk_dev, self.machine.pmem_dev):
                raise EnvironmentFailed(f"/dev/{name}: {native.FULL}")
        return log

    def grade(self, lines: list[str]) -> list[Finding]:
        """What the kernel says in lines of its log."""
        found = self.klog.grade(lines)
        self.warned = self.warned or any(f.kind.startswith("kernel-warning") for f in found)
        self.no_zeros = self.no_zeros or any(f.kind == "zero-page" for f in found)
        return found

    def may_warn(self, expected: Expectation) -> None:
        """Something runs of which that is expected."""
        self.may_keep |= {r[1:] for r in expected.resolutions if r.startswith("+kernel-warning")}

    def may_be_kept(self, kinds: set[str]) -> bool:
        """Are these warnings that something since the boot is known for? See fresh()."""
        return self.machine.guest and all({kind, kind.partition(":")[0]} & self.may_keep for kind in kinds)

    @property
    def boots_next(self) -> bool:
        """Is it to be booted before the next filesystem is made?"""
        return not self.up or (self.warned or self.no_zeros) and self.machine.guest

    def fresh(self) -> None:
        """What a kernel has warned of, it may keep something of, and no new filesystem takes that away: the struct pages
        of 6.1 keep that they were shared (xfs-dax). A guest is booted again. EnvironmentFailed where this machine has
        lost its page of zeros."""
        if self.no_zeros and not self.machine.guest:
            raise EnvironmentFailed("the kernel's page of zeros is overwritten: nothing that runs on this machine can be "
                                    "believed until it is booted again")
        if self.up and self.boots_next:
            self.down("the kernel's page of zeros is overwritten: a fresh machine" if self.no_zeros else
                      "the kernel has warned, and may keep something of it: a fresh machine")
            self.boots_idle = 0  # it was good: a batch that warns is redone by halves, and no case of it finished before

    def unmount_leftovers(self) -> None:
        """On this machine a mount outlives the executor that made it."""
        done = self.agent.sh("sh", "-c", 'fsfreeze -u "$1" 2>/dev/null; i=0; while mountpoint -q "$1"; do '
                             'umount "$1" && continue; i=$((i+1)); [ $i -ge 100 ] && exit 1; sleep 0.1; done',
                             "sh", self.mnt, timeout_s=60)
        if not done.ok and self.machine.guest:
            raise AgentTimeout(f"{self.mnt} cannot be unmounted")
        if not done.ok:
            raise EnvironmentFailed(f"{self.mnt} cannot be unmounted: {done.out.strip() or done.how}; the next "
                                    "start tries again, or this machine needs a reboot")

    def device_for(self, config: FsConfig) -> str:
        """NotCovered when this machine has no such device."""
        if config.requires == "pmem":
            if not self.machine.pmem_dev:
                raise NotCovered("needs persistent memory (natively: --device with DAX support)")
            return self.machine.pmem_dev
        return "" if config.requires == "none" else self.machine.disk_dev

    # --- results ----------------------------------------------------------------------------

    def is_done(self, case: Case) -> bool:
        return case.id in self.store.results

    def note_once(self, kind: str, text: str) -> None:
        if text not in self.noted:
            self.noted.add(text)
            self.say(text)

    def expected(self, case: Case) -> Expectation:
        config, sequence = self.context.configs[case.fs], self.sequences[case.sequence]
        return self.context.expectations.of(self.version, {config.name, config.kind}, case.channel, "",
                                            sequence.names | case.also, sequence.steps)

    def count_findings(self, kind: str, cases: list[Case]) -> int:
        results = [self.store.results.get(c.id) for c in cases]
        return sum(any(f["kind"] == kind for f in r.findings) for r in results if r)

    def lost(self, case: Case, err: Exception, running: Running | None = None) -> Running:
        """What is known of a case in which the machine went down."""
        running = running or Running(case, time.monotonic(), utc_now())
        if isinstance(err, AgentDied):
            title = classify_console(err.console) or err.reason
            running.forced = Judgement(verdict="crashed", resolution="crashed", why=title)
            running.log += err.console.splitlines()[-200:]
        else:
            running.forced = Judgement(verdict="hung", resolution="hung", why=str(err))
        running.ended = time.monotonic()
        return running

    def record_skip(self, case: Case, why: str) -> None:
        self.conclude(Running(case, time.monotonic(), utc_now(), forced=Judgement(verdict="skipped", why=why)),
                      on_disk=False)

    def conclude(self, running: Running, on_disk: bool = True) -> None:
        """Judge a case whose history is complete, compare, store."""
        case = running.case
        judgement = running.forced
        if running.history:
            path = self.store.write_history(case.id, running.history)
            if judgement is None:
                judgement = self.judge.judge(path)
            elif judgement.verdict in ("hung", "crashed"):
                judgement.evidence += self.judge.judge(path).evidence
        if running.answer:
            self.store.write_answer(case.id, running.answer)
        if judgement is None:
            judgement = Judgement(why="the executor sent no history")
        crash = [f for f in running.findings if f["kind"] in ("crash", "hang")]
        if crash and judgement.verdict not in ("hung", "crashed"):
            word = "crashed" if crash[0]["kind"] == "crash" else "hung"
            judgement.verdict = judgement.resolution = word
            judgement.why = crash[0]["text"]
        violations = [k for k in judgement.kinds if k not in KIND_OF_VERDICT.values()]
        if judgement.verdict in KIND_OF_VERDICT:
            judgement.kinds = list(dict.fromkeys([*judgement.kinds, KIND_OF_VERDICT[judgement.verdict]]))
        findings = [f for f in running.findings if f not in crash]
        expected = self.expected(case)
        kinds = sorted({f["kind"] for f in findings})
        result = CaseResult(
            id=case.id, nr=case.nr, kernel=case.kernel, kernel_version=self.version, fs=case.fs,
            channel=case.channel, sequence=case.sequence, resolution=judgement.resolution,
            detail=judgement.detail, verdict=judgement.verdict, why=judgement.why, errno=judgement.errno,
            kinds=judgement.kinds, evidence=judgement.evidence, findings=findings,
            checked_cells=judgement.checked, blocked_ns=judgement.blocked_ns,
            expected=expected.dump(),
            outcome=outcome(expected, judgement.verdict, judgement.resolution, judgement.errno, kinds,
                            violations, sleepers(judgement.why)),
            exclusive=case.exclusive,
            started=running.started, took_s=round((running.ended or time.monotonic()) - running.began, 3),
            repeat=case.repeat(self.context.asked))
        self.store.finish(result, headed(case.sequence, self.sequences[case.sequence].text), running.log, on_disk)
        self.boots_idle = 0
        self.context.done(result)

    # --- all of it --------------------------------------------------------------------------

    def run(self, cases: list[Case]) -> None:
        """Run what is not done yet. EnvironmentFailed when this kernel cannot go on."""
        todo = [c for c in cases if not self.is_done(c)]
        try:
            if todo:
                self.ensure_up()
            for fs in dict.fromkeys(c.fs for c in todo):
                mine = []
                for case in (c for c in todo if c.fs == fs):
                    channel = self.hello.channels.get(case.channel)
                    if channel is None or not channel.available:
                        self.record_skip(case, f"{case.channel}: "
                                         f"{channel.why if channel else 'unknown to this executor'}")
                    else:
                        mine.append(case)
                if mine:
                    self.say(f"{fs}: {len(mine)} cases")
                    FsRun(self, self.context.configs[fs]).run(mine)
        finally:
            self.judge.close()
            self.machine.close()


def run_kernels(makers: dict[str, Callable[[], Machine]], cases: Sequence_[Any], context: RunContext, jobs: int,
                make: Callable[[Machine, RunContext], KernelRun] = KernelRun) -> dict[str, str]:
    """Every kernel in a thread of its own, `jobs` at once: what `make` makes runs its part of `cases`, which
    have a `kernel`. Returns the kernels that failed, with why."""
    gate = threading.Semaphore(jobs)
    failed: dict[str, str] = {}

    def one(name: str) -> None:
        with gate:
            try:
                make(makers[name](), context).run([c for c in cases if c.kernel == name])
            except EnvironmentFailed as err:
                failed[name] = str(err)
            except Exception as err:  # pylint: disable=broad-except  # a bug of ours: one kernel's loss
                failed[name] = f"the runner failed: {type(err).__name__}: {err}"
                context.say(traceback_of(err))
            if name in failed:
                context.store.set_kernel(name, error=failed[name])

    threads = [threading.Thread(target=one, args=(name,), name=name, daemon=True) for name in makers]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(1.0)
    return failed


def traceback_of(err: Exception) -> str:
    import traceback
    return "".join(traceback.format_exception(err)).rstrip()
