# SPDX-License-Identifier: GPL-2.0
"""The harness tests itself: what it breaks on purpose must be found and named, and nothing else may be.

The cases are workloads/sequences/selftest/*.seq. A sequence's header says what must come of it:
`# must: corrupt|coherent|crashed|hung`, and `# kind: NAME`, the kind of violation it must be called.
"""

import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import store
from .errors import EXIT_BROKEN, EXIT_DIFFERS, EXIT_EXPECTED
from .plan import Filters, Sequence, flags_of, parse_sequence
from .selftest_rules import found, is_right, kind, must

if TYPE_CHECKING:
    from .agent import FaultInfo
    from .main import Options

FILESYSTEMS = ["xfs", "ext4", "btrfs", "tmpfs", "xfs-dax", "xfs-quota", "ext4-quota"]
CHANNELS = ["store"]
KERNELS = ["6.12"]


def run(options: "Options", argv: list[str]) -> int:
    """Some filesystems, one channel and one kernel unless others are asked for; `run`'s own judgement is
    replaced."""
    from . import main
    options.selftest = True
    options.filters.fs = options.filters.fs or FILESYSTEMS
    options.filters.channels = options.filters.channels or CHANNELS
    options.kernels = options.kernels or KERNELS
    folder = options.out or main.ROOT / "results" / store.new_run_name()
    options.out = folder
    main.run(options, argv)
    return judge_run(folder)


def _line(mark: str, case_id: str, text: str) -> str:
    return f"{mark:6} {case_id:44} {text}"


def selected(sequences: dict[str, Sequence], filters: Filters, faults: "dict[str, FaultInfo]") -> dict[str, Any]:
    """For run.json: the sequences that were asked for, and where they do not belong."""
    chosen = [s for s in sequences.values() if s.selftest
              and (not filters.sequences or any(fnmatch.fnmatchcase(s.name, g) for g in filters.sequences))]
    return {s.name: {"kind": kind(s), "fs": list(s.filesystems),
                     "guest": bool(s.needs) or "guest-only" in flags_of(s, faults)} for s in chosen}


def _not_planned(meta: dict[str, Any], results: list[store.CaseResult]) -> list[str]:
    """What was asked for and does not belong on one of the run's filesystems, with the reason."""
    there = {(r.kernel, r.fs, r.sequence) for r in results}
    lines = []
    for kernel in meta.get("kernels_wanted", []):
        for fs, config in meta.get("filesystems", {}).items():
            if not config.get("default", True):
                continue  # all that it is there for was planned
            for name, where in meta.get("selftests", {}).items():
                off = where["fs"] and not any(fnmatch.fnmatchcase(fs, g) for g in where["fs"])
                if (kernel, fs, name) not in there and (off or kernel == "native" and where["guest"]):
                    why = f"only on {' '.join(where['fs'])}" if off else "runs in guests only"
                    lines.append(_line("-", f"{kernel}/{fs}/{name}", f"{where['kind']}: not covered: {why}"))
    return lines


def judge_run(folder: Path) -> int:
    meta, results = store.load_run(folder)
    wrong = right = skipped = 0
    for result in results:
        path = folder / "cases" / result.id / "sequence.seq"
        if result.verdict == "skipped" or not path.exists():
            skipped += 1
            print(_line("-", result.id, f"not covered: {result.why}"))
            continue
        sequence = parse_sequence(path)
        kinds = found(result.kinds, result.findings)
        ok = is_right(sequence, result.verdict, kinds)
        right, wrong = right + ok, wrong + (not ok)
        text = f"{kind(sequence) or must(sequence)}: {result.verdict}, {' '.join(sorted(kinds)) or 'nothing found'}"
        print(_line("ok" if ok else "NOT OK", result.id, text + (f" ({result.why})" if result.why else "")))
    for line in _not_planned(meta, results):
        skipped += 1
        print(line)
    missing = meta.get("planned", 0) - len(results)
    print(f"selftest: {right} of {right + wrong} as they must be, {skipped} not covered"
          + (f", {missing} not run" if missing else "") + f"; results in {folder}")
    for note in meta.get("notes", []):
        if not note.get("expected"):
            print(f"selftest: {note['kind']}: {note['text']}")
    if not right + wrong or missing:
        return EXIT_BROKEN
    return EXIT_DIFFERS if wrong else EXIT_EXPECTED
