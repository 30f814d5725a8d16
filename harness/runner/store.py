# SPDX-License-Identifier: GPL-2.0
"""results/<run>/: every finished case on the disk at once, and run.json over all of them.

results/README.md describes the schema. A case is finished when its case.json exists, which is
written last and atomically; so a run that was killed can be reported and resumed.
"""

import errno
import json
import os
import secrets
import shlex
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import EnvironmentFailed, UsageError

SCHEMA = 1
REWRITE_S = 20.0
GOES_ON = "every case finished before is kept, and --resume goes on from there"


def utc_now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@contextmanager
def when_stopped(advice: str) -> Iterator[None]:
    """Who stops what is done in here is told what is left of it."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(advice) from None


def new_run_name() -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + "-" + secrets.token_hex(2)


@dataclass
class CaseResult:
    """What became of one case. Everything a report says about it is in here."""

    id: str
    nr: int
    kernel: str
    kernel_version: str
    fs: str
    channel: str
    sequence: str
    resolution: str = ""
    detail: str = ""
    verdict: str = "broken"
    why: str = ""
    errno: str = ""
    kinds: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    findings: list[dict[str, str]] = field(default_factory=list)  # kind, text
    checked_cells: int = 0
    blocked_ns: int = 0
    expected: dict[str, Any] = field(default_factory=dict)  # class, resolutions, reference, rule
    outcome: str = ""
    exclusive: bool | None = None  # alone on the filesystem; None: of before this was recorded
    started: str = ""
    took_s: float = 0.0
    repeat: str = ""


def unwritten(path: Path, err: OSError, advice: str = GOES_ON) -> EnvironmentFailed:
    """What is said when `path` could not be written; `advice` when its disk is full."""
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return EnvironmentFailed("; ".join([f"the disk of {path.parent} is full", *[advice] * bool(advice)]))
    return EnvironmentFailed(f"{path}: {err.strerror}")


def write_atomic(path: Path, text: str, advice: str = GOES_ON, sync: bool = False) -> None:
    """Whole or not at all; `sync`: also when this machine crashes (a native run's own kernel may), for which the data
    must be on the disk before the name. EnvironmentFailed with one line when the disk is full."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
        if sync:
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as err:
        try:
            temporary.unlink(missing_ok=True)
        except OSError:
            pass
        raise unwritten(path, err, advice) from None


def seal_history(lines: list[str]) -> str:
    """The executor's lines as a file of version 2: each carries the CRC-32 of all up to it, and the last
    says how many there are, so that whatever is damaged or missing shows, and where."""
    if lines[:1] != ["pinfault-history 1"]:
        return "".join(line + "\n" for line in lines)
    out = ["pinfault-history 2\n"]
    total = zlib.crc32(out[0].encode())
    for line in [*lines[1:], f"last {len(lines) + 1}"]:
        total = zlib.crc32((line + "\n").encode("utf-8", "surrogateescape"), total)
        out.append(f"{line} ~{total:08x}\n")
    return "".join(out)


class Store:
    """The folder of one run. Threads may call finish, add_note and set_kernel at the same time."""

    advice = GOES_ON  # to who has filled its disk

    def __init__(self, folder: Path, meta: dict[str, Any]) -> None:
        self.folder = folder
        self.meta = meta
        self.results: dict[str, CaseResult] = {}
        self.lock = threading.Lock()
        self.written = time.monotonic()

    @classmethod
    def create(cls, folder: Path, meta: dict[str, Any], advice: str = GOES_ON) -> "Store":
        if (folder / "run.json").exists():
            raise UsageError(f"{folder}: holds a run already; --resume {shlex.quote(str(folder))} goes on with it")
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise UsageError(f"{folder}: is there already, and is no empty folder; --out wants a new one")
        store = cls(folder, {"schema": SCHEMA, "run": folder.name, "started": utc_now(), "finished": None,
                             "complete": False, **meta, "kernels": {}, "notes": [],
                             "controls": []})
        store.advice = ""  # there is nothing yet to go on with
        store.write_run()
        store.advice = advice
        return store

    @classmethod
    def resume(cls, folder: Path) -> "Store":
        meta, results = load_run(folder)
        store = cls(folder, meta)
        store.results = {r.id: r for r in results}
        store.meta.update(complete=False, finished=None)
        return store

    def case_dir(self, case_id: str) -> Path:
        return self.folder / "cases" / case_id

    def write(self, path: Path, text: str, sync: bool = False) -> None:
        """A file of this run, as write_atomic does it."""
        write_atomic(path, text, self.advice, sync)

    def history_path(self, case_id: str) -> Path:
        return self.case_dir(case_id) / "history"

    def write_history(self, case_id: str, lines: list[str]) -> Path:
        path = self.history_path(case_id)
        self.write(path, seal_history(lines))
        return path

    def stream_path(self, case_id: str) -> Path:
        """Of a race: what happened, as harness/core/racelog.h has it."""
        return self.case_dir(case_id) / "stream"

    def room_for_stream(self, case_id: str) -> Path:
        """stream_path, in a folder that is there. EnvironmentFailed."""
        path = self.stream_path(case_id)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise unwritten(path, err, self.advice) from None
        return path

    def write_answer(self, case_id: str, lines: list[str]) -> None:
        self.write(self.case_dir(case_id) / "answer", "".join(line + "\n" for line in lines))

    def finish(self, result: CaseResult, sequence: str, kernel_log: list[str], on_disk: bool = True) -> None:
        """Record a case. One that was never sent (on_disk False) stands in run.json only."""
        folder = self.case_dir(result.id)
        if on_disk:
            self.write(folder / "sequence.seq", sequence)
            if kernel_log:
                self.write(folder / "kernel.log", "".join(line + "\n" for line in kernel_log))
            self.write(folder / "case.json", json.dumps(asdict(result), indent=1) + "\n")
        with self.lock:
            self.results[result.id] = result
            due = time.monotonic() - self.written > REWRITE_S
            if due:
                self.written = time.monotonic()
        if due:
            self.write_run()

    def add_note(self, kind: str, text: str, cases: list[str], expected: bool = False) -> None:
        """A finding that no single case can be blamed for."""
        with self.lock:
            self.meta["notes"].append({"kind": kind, "text": text, "cases": cases, "expected": expected})

    def add_control(self, control: dict[str, Any]) -> None:
        """What came of a sabotage or clean case that every run makes (controls.py)."""
        with self.lock:
            self.meta.setdefault("controls", []).append(control)

    def set_kernel(self, name: str, **facts: Any) -> None:
        with self.lock:
            self.meta["kernels"].setdefault(name, {}).update(facts)

    def set_section(self, section: str, key: str, value: dict[str, Any]) -> None:
        """One entry under meta[section]["cells"]; run.json is rewritten now and then."""
        with self.lock:
            self.meta[section]["cells"][key] = value
            due = time.monotonic() - self.written > REWRITE_S
            if due:
                self.written = time.monotonic()
        if due:
            self.write_run()

    def write_run(self, complete: bool = False) -> None:
        with self.lock:
            if complete:
                self.meta.update(complete=True, finished=utc_now())
            cases = [asdict(r) for r in sorted(self.results.values(), key=lambda r: (r.kernel, r.nr))]
            self.write(self.folder / "run.json", json.dumps({**self.meta, "cases": cases}, indent=1) + "\n", True)


_EMPTY: set[Path] = set()  # that somebody was told of


def _finished(path: Path) -> CaseResult | None:
    """Of a case.json. None, with a line on stderr, for one that a machine which crashed has left without its content:
    only run.json may know of it. UsageError for one of another make."""
    try:
        text = path.read_bytes().strip(b"\0")
        if not text:
            if path not in _EMPTY:
                print(f"pinfault: {path}: is empty, left so by a crash of this machine", file=sys.stderr)
            _EMPTY.add(path)
            return None
        return CaseResult(**json.loads(text))
    except OSError as err:
        raise UsageError(f"{path}: {err.strerror}") from None
    except (ValueError, TypeError) as err:
        raise UsageError(f"{path}: {err}") from None


def load_run(folder: Path) -> tuple[dict[str, Any], list[CaseResult]]:
    """A run's facts and results, also of a run that was killed: the case.json files are what counts
    when run.json has fewer. Raises UsageError."""
    if folder.name == "run.json":
        folder = folder.parent
    try:
        meta = json.loads((folder / "run.json").read_text())
    except FileNotFoundError:
        raise UsageError(f"{folder}: is not a run (no run.json)") from None
    except NotADirectoryError:
        raise UsageError(f"{folder}: is not a run (a run is a folder with a run.json)") from None
    except OSError as err:
        raise UsageError(f"{folder / 'run.json'}: {err.strerror}") from None
    except ValueError as err:
        raise UsageError(f"{folder / 'run.json'}: {err}") from None
    if not isinstance(meta, dict) or meta.get("schema") != SCHEMA:
        raise UsageError(f"{folder}: run.json has schema {meta.get('schema') if isinstance(meta, dict) else '?'}, this program reads {SCHEMA}")
    try:
        results = {c["id"]: CaseResult(**c) for c in meta.pop("cases", [])}
    except (TypeError, KeyError) as err:
        raise UsageError(f"{folder / 'run.json'}: a case is not as schema {SCHEMA} has it: {err}") from None
    if not meta.get("complete"):
        for path in sorted((folder / "cases").rglob("case.json")):
            case = _finished(path)
            if case:
                results[case.id] = case
    return meta, sorted(results.values(), key=lambda r: (r.kernel, r.nr))
