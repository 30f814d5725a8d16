# SPDX-License-Identifier: GPL-2.0
"""`repro RESULT`: a recorded case again, as often as asked for; or written out as a program of its own.

What it runs is what is recorded: kernel, filesystem (with the options it was made and mounted with then), channel,
the case's own copy of its sequence, seed, with fio beside it or alone; of a race, what its command line said.
"""

import os
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import main as runs
from .agent import decode
from .errors import EXIT_BROKEN, EXIT_DIFFERS, EXIT_EXPECTED, EnvironmentFailed, UsageError, nearest
from .expect import same_place, sleepers
from .findings import EXPLORED
from .fsconfig import FsConfig
from .plan import Filters
from .race import SEQUENCE
from .store import CaseResult, load_run, write_atomic

EXPORTS = ("c", "xfstests")
STDOUT = Path("-")  # as --out of --export c
FAILING = ("corrupt", "hung", "crashed")
CONCLUDED = (*FAILING, "coherent")
EPILOG = """exit: 0 it did not fail once; 1 it failed at least once, in this way or another; 2 the harness or its
      environment failed, or no run came to a conclusion; 64 usage: also a result of another schema, a folder that
      is no case, a kernel that is not here, a case that cannot be exported
      --check: 0 it can be repeated; 64
      --export: 0 written; 2 could not be written; 64 cannot be exported
      the exported program: 0 all is as it must be; 1 FAIL lines say what is not; 2 it cannot run there"""


@dataclass(frozen=True)
class Found:
    """A recorded case."""

    folder: Path
    meta: dict[str, Any]
    result: CaseResult

    @property
    def race(self) -> bool:
        return self.result.sequence == SEQUENCE


def _split(text: str, path: Path) -> tuple[Path, str]:
    """The run's folder and the case's id, of a case's folder or RUN:ID."""
    if (path / "case.json").exists():
        above = [p for p in path.parents if (p / "run.json").exists()]
        if not above:
            raise UsageError(f"{path}: no run.json above it")
        return above[0], str(path.relative_to(above[0] / "cases"))
    for whole, folder in ((str(path), Path()), (text, runs.ROOT / "results")):
        for colon in (at for at, letter in enumerate(whole) if letter == ":"):
            if (folder / whole[:colon] / "run.json").exists():
                return folder / whole[:colon], whole[colon + 1:].strip("/")
    if path.is_dir():
        raise UsageError(f"{path}: holds no recorded case (no case.json)")
    raise UsageError(f"{text}: is neither a case's folder nor RUN:KERNEL/FS/CHANNEL/SEQUENCE")


def find(text: str, path: Path) -> Found:
    """`path` is `text` seen from where the caller stands. Raises UsageError."""
    try:
        run_dir, case_id = _split(text, path)
    except OSError as err:  # somebody else's
        raise UsageError(f"{err.filename}: {err.strerror}") from None
    meta, results = load_run(run_dir)
    known = {r.id: r for r in results}
    if case_id not in known:
        raise UsageError(nearest(case_id, list(known), "case"))
    found = Found(run_dir / "cases" / case_id, meta, known[case_id])
    if not (found.folder / "sequence.seq").exists():
        raise UsageError(f"{case_id}: was not run ({found.result.verdict}: {found.result.why or 'no reason given'}), "
                         "so there is nothing to repeat")
    return found


def filesystem(found: Found) -> FsConfig:
    """As it was then: the configuration of that name may have changed, or be a section of somebody's file."""
    said = found.meta.get("filesystems", {}).get(found.result.fs)
    try:
        return FsConfig(name=found.result.fs, fstype=said["fstype"], mkfs_options=tuple(said["mkfs_options"].split()),
                        mount_options=tuple(said["mount_options"].split()), requires=said["requires"],
                        proves=dict(said["proves"]))
    except (TypeError, KeyError, AttributeError):
        raise UsageError(f"{found.folder}: its run.json does not say how {found.result.fs} was made") from None


def exclusive(result: CaseResult) -> bool:
    """Was it alone on the filesystem? Explored cases were, also before that was recorded."""
    return result.sequence.startswith(EXPLORED) if result.exclusive is None else result.exclusive


def aim(options: runs.Options, found: Found, kernels: list[str]) -> None:
    """Point `options` at the recorded case. `kernels`: instead of the recorded one. Raises UsageError."""
    result = found.result
    if not kernels and result.kernel != "native":
        from ..guest import GuestError, is_version, load_kernels
        try:
            there = load_kernels(runs.ROOT / "harness" / "guest" / "kernels")
        except GuestError as err:
            raise UsageError(str(err)) from None
        if result.kernel not in there and not is_version(result.kernel):
            raise UsageError(f"the recorded kernel {result.kernel} ({result.kernel_version}) is not here; give it with "
                             "--kernel BZIMAGE --modules DIR, or another by its name")
    options.kernels = kernels or [result.kernel]
    options.fs_recorded = filesystem(found)
    if not found.race:
        options.filters = Filters([result.fs], [result.channel], [result.sequence])
        options.sequence_file = found.folder / "sequence.seq"
        options.sequence_name = result.sequence
        options.seed = found.meta["seed"] if options.seed is None else options.seed
        options.exclusive = exclusive(result)


def fails(result: CaseResult) -> bool:
    return result.verdict in FAILING or bool(result.findings)


def asleep(result: CaseResult) -> list[str]:
    """The functions that a hang slept in, each once."""
    return list(dict.fromkeys(sleepers(result.why))) if result.verdict == "hung" else []


def way(result: CaseResult) -> str:
    """"lost (lost-write)", "hung in ext4_wait_dax_page (hang)": how it ended, in words."""
    kinds = list(dict.fromkeys([*result.kinds, *(f["kind"] for f in result.findings)]))
    word = result.resolution or result.verdict
    where = asleep(result)
    word += f" in {', '.join(where)}" if where else ""
    return f"{word} ({', '.join(kinds)})" if kinds else word


def same_way(result: CaseResult, recorded: CaseResult) -> bool:
    """A race may show more of a failure, or less of it, the next time: one common kind is enough. A hang in another
    function is another."""
    def kinds(r: CaseResult) -> set[str]:
        return {*r.kinds, *(f["kind"] for f in r.findings)}
    if not fails(result) or result.verdict != recorded.verdict:
        return False
    where, then = asleep(result), asleep(recorded)
    if where and then and not any(same_place(a, b) for a in where for b in then):
        return False
    if recorded.sequence == SEQUENCE and kinds(recorded):
        return bool(kinds(result) & kinds(recorded))
    return result.resolution == recorded.resolution and kinds(result) == kinds(recorded)


def summary(recorded: CaseResult, results: list[CaseResult]) -> list[str]:
    """"failed 5 of 5: lost (lost-write)", and what else came out."""
    same = [r for r in results if same_way(r, recorded)]
    out = [f"failed {len(same)} of {len(results)}: {way(recorded)}" if fails(recorded) else
           f"failed {sum(map(fails, results))} of {len(results)} (and did not when it was recorded: {way(recorded)})"]
    others = Counter(("failed otherwise: " if fails(r) else "") + way(r) + (f": {r.why}" if r.why else "")
                     for r in results if r not in same)
    return out + [f"  {count} of {len(results)} {text}" for text, count in others.most_common()]


def stack(history: Path) -> str:
    """"INNER < OUTER < ...", of the first step in a stored history that has not come back; "" where none is said."""
    try:
        lines = history.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    said: list[str] = next((line.split(" ") for line in lines if line.startswith("hung ")), [])
    return " < ".join(re.findall(r"\] ([\w.]+)\+0x", decode(said[5]))) if said[5:] else ""


def told(recorded: CaseResult, results: list[CaseResult], folder: Path) -> list[str]:
    """How often it failed on one kernel, and what the first that failed shows. `folder` has the cases."""
    out = []
    if results and results[0].kernel_version not in ("", recorded.kernel_version):
        out.append(f"note: this is {results[0].kernel_version}, it was recorded on {recorded.kernel_version}")
    out += summary(recorded, results) if results else ["nothing was run"]
    first = next((r for r in results if fails(r)), None)
    if first:
        where = stack(folder / first.id / "history") if first.verdict == "hung" else ""
        out += [f"  {first.why}: {where}"] * bool(where)
        out += [f"  {line}" for line in first.evidence[:6]]
    return out


def exit_code(results: list[CaseResult], trouble: bool) -> int:
    if any(fails(r) for r in results):
        return EXIT_DIFFERS
    if trouble or not any(r.verdict in CONCLUDED for r in results):
        return EXIT_BROKEN
    return EXIT_EXPECTED


def repeat(options: runs.Options, found: Found, argv: list[str]) -> int:
    """Run it options.times times; on stdout how often it failed."""
    recorded = found.result
    print(f"recorded: {way(recorded)} on {recorded.kernel_version}, {recorded.fs}, {recorded.channel}, "
          f"{recorded.sequence}", file=sys.stderr)
    ended = runs.execute(options, argv)
    if options.json:
        sys.stdout.write((ended.folder / "run.json").read_text())
    else:
        kernels = ended.meta["kernels_wanted"]
        for name in kernels:
            mine = [r for r in ended.outcomes if r.kernel == name]
            for line in told(recorded, mine, ended.folder / "cases"):
                print(f"{name}: {line}" if kernels[1:] and not line.startswith(" ") else line)
    if ended.broken_controls:
        return EXIT_BROKEN
    return exit_code(ended.outcomes, bool(ended.failed))


def _place(form: str, name: str, out: Path | None) -> Path:
    """Where the export goes. UsageError for what is there and must stay: only a regular file may be overwritten."""
    here = Path(os.environ.get("PINFAULT_CALLER_DIR", "."))
    if form == "xfstests":
        path = out or here / f"pinfault-{name}"
        if out == STDOUT or path.exists() and not path.is_dir():
            raise UsageError(f"{path}: is no folder; a test of xfstests is three files, --out wants a folder")
        return path
    path = out or here / f"{name}.c"
    if path == STDOUT:
        return path
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no regular file"
        raise UsageError(f"{path}: is {what}; --export c wants --out FILE, or - for stdout")
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def export(found: Found, form: str, out: Path | None, judge: Path) -> int:
    """Write the program, or the test around it. Raises UsageError for what cannot be exported."""
    from ..export import CannotExport, check_whole, find_checks, read_case, write_program, write_xfstests
    name = re.sub(r"(\.\d+)+$", "", found.result.sequence) if found.result.sequence.startswith(EXPLORED) else \
        found.result.sequence
    text = ""
    try:
        path = _place(form, name, out)
        if found.race:
            raise CannotExport("a race cannot be exported: only what runs in one order can be written down; make a "
                               "sequence of it first")
        if not fails(found.result):
            raise CannotExport(f"this case did not fail ({found.result.verdict}): there is nothing to show")
        fs = filesystem(found)
        if found.result.verdict not in ("hung", "crashed") and (found.folder / "history").exists():
            check_whole(judge, found.folder / "history")
        recorded = read_case(found.folder, found.result,
                             {"fstype": fs.fstype, "mkfs_options": " ".join(fs.mkfs_options),
                              "mount_options": " ".join(fs.mount_options), "requires": fs.requires})
        checks = find_checks(judge, recorded)
        if form == "xfstests":
            paths = write_xfstests(recorded, checks, name, path)
        else:
            text = write_program(recorded, checks, name)
            paths = [] if path == STDOUT else [path]
            for path in paths:
                write_atomic(path, text, "")
    except CannotExport as err:
        raise UsageError(f"{found.result.id}: {err}") from None
    except OSError as err:
        raise EnvironmentFailed(str(err)) from None
    if path == STDOUT:
        sys.stdout.write(text)
    for path in paths:
        print(path)
    return EXIT_EXPECTED
