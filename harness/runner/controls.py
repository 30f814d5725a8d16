# SPDX-License-Identifier: GPL-2.0
"""The selftest in short, in every run: before the first case of each kernel and filesystem a few
sabotages, which must be caught and named, and one clean case, which must come out silent.

They go the way of every case: the same executor, filesystem and judge. A run whose controls fail says
nothing about a kernel (exit 2), whatever its cases came out as.
"""

import fnmatch
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from . import selftest_rules as rules
from .errors import AgentDied, AgentTimeout
from .judge import Judgement

if TYPE_CHECKING:
    from .batch import FsRun
    from .plan import Sequence

SEQUENCES = ("control", "sabotage-swap", "sabotage-drop", "sabotage-split")
CHANNEL = "store"
FIRST_NR = 0x70000000  # case numbers beyond those of any matrix
TRIES = 2              # an emulator that dies is not a control that failed
TIMEOUT_S = 60.0


def run(fs_run: "FsRun") -> None:
    """Run those that belong on this filesystem, once per run, and keep what came of them in the store's
    `controls`. Raises what preparing the filesystem raises."""
    kernel, fs = fs_run.k, fs_run.config.name
    done = {(c["kernel"], c["fs"], c["sequence"]) for c in kernel.store.meta.get("controls", [])}
    for at, name in enumerate(kernel.context.controls):
        sequence = kernel.sequences.get(name)
        if sequence is None or (kernel.name, fs, name) in done:
            continue
        if sequence.filesystems and not any(fnmatch.fnmatchcase(fs, g) for g in sequence.filesystems):
            continue
        kernel.store.add_control(_one(fs_run, sequence, FIRST_NR + at))


def _one(fs_run: "FsRun", sequence: "Sequence", nr: int) -> dict[str, Any]:
    kernel = fs_run.k
    result: dict[str, Any] = {"kernel": kernel.name, "fs": fs_run.config.name, "sequence": sequence.name,
                              "must": rules.must(sequence), "kind": rules.kind(sequence)}
    for _ in range(TRIES):
        fs_run.prepare()
        began = time.monotonic()  # the filesystem would have been made anyway
        try:
            judged, kinds = _judged(fs_run, sequence, nr)
            break
        except (AgentDied, AgentTimeout) as err:
            kernel.down(f"{fs_run.config.name}: in the control {sequence.name}: {err}")
            fs_run.dirty = True
            judged, kinds = Judgement(why=f"the machine went down: {err}"), set()
    covered = judged.verdict != "skipped"
    ok = not covered or rules.is_right(sequence, judged.verdict, kinds)
    result.update(verdict=judged.verdict, found=sorted(kinds), why=judged.why, covered=covered, ok=ok,
                  took_s=round(time.monotonic() - began, 3))
    if not ok:
        kernel.say(f"{fs_run.config.name}: CONTROL FAILED: {describe(result)}")
    return result


def _judged(fs_run: "FsRun", sequence: "Sequence", nr: int) -> tuple[Judgement, set[str]]:
    from .batch import unnoticed
    kernel = fs_run.k
    reply = kernel.agent.case(TIMEOUT_S, nr=nr, run=kernel.nonce, dir=f"{kernel.mnt}/c{nr}", mnt=kernel.mnt,
                              scratch=kernel.scratch, channel=CHANNEL, seq=sequence.text,
                              deadline_ms=kernel.deadline_ms, grace_ms=kernel.grace_ms)
    kernel.agent.sh("rm", "-rf", f"{kernel.mnt}/c{nr}")
    history, how = reply.history(), reply.last[1:2]
    if reply.last[:1] == ["ok"] and how == ["skip"]:
        return Judgement(verdict="skipped", why=" ".join(reply.last[2:])), set()
    if reply.last[:1] != ["ok"] or how != ["ran"]:
        return Judgement(why="executor: " + " ".join(reply.last)), set()
    path = kernel.store.folder / "controls" / kernel.name / fs_run.config.name / sequence.name / "history"
    kernel.store.write(path, "".join(line + "\n" for line in history))
    judged = kernel.judge.judge(path)
    return judged, rules.found(judged.kinds, unnoticed(history))


def describe(control: dict[str, Any]) -> str:
    what = f"{control['kernel']}/{control['fs']}/{control['sequence']}"
    got = " ".join(control["found"]) or "nothing found"
    return (f"{what} must be {control['kind'] or control['must']}, is {control['verdict']} ({got})"
            + (f": {control['why']}" if control["why"] else ""))


def failures(controls: Iterable[dict[str, Any]]) -> list[str]:
    return [describe(c) for c in controls if not c["ok"]]


def summary(controls: list[dict[str, Any]]) -> str:
    """One line for the report, "" for a run that has none."""
    counted = [c for c in controls if c["covered"]]
    if not counted:
        return ""
    clean = [c for c in counted if c["must"] == "coherent"]
    sabotages = [c for c in counted if c["must"] != "coherent"]

    def part(some: list[dict[str, Any]], what: str, word: str) -> str:
        right = sum(c["ok"] for c in some)
        return f"{right} {what} {word}" if right == len(some) else f"only {right} of {len(some)} {what} {word}"
    return f"controls: {part(sabotages, 'sabotages', 'caught')}, {part(clean, 'clean runs', 'silent')}"
