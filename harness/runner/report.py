# SPDX-License-Identifier: GPL-2.0
"""`report RUN` and `compare A B`, from run.json and the case files alone."""

import json
import sys
from pathlib import Path

from . import explore_report, reduce_report, store, table
from .errors import EXIT_DIFFERS, EXIT_EXPECTED, EnvironmentFailed
from .expect import sleepers
from .findings import more_of


def report(folder: Path, markdown: bool, as_json: bool) -> int:
    meta, results = store.load_run(folder)
    if as_json:
        from dataclasses import asdict
        json.dump({**meta, "cases": [asdict(r) for r in results]}, sys.stdout, indent=1)
        print()
    elif "explore" in meta:
        sys.stdout.write(explore_report.render(meta, results, str(folder), markdown))
    elif meta.get("reduce"):
        sys.stdout.write(reduce_report.render(meta["reduce"], str(folder)))
    else:
        sys.stdout.write(table.render(meta, results, str(folder), markdown))
    return EXIT_EXPECTED


def _told(result: store.CaseResult) -> tuple[str, str, str, str]:
    """What it came to: resolution with errno or with the functions that a hang sleeps in, verdict, kinds, class. Of lost
    data, in which view and with which old data in its place differs from run to run: only what is graver is a kind. So
    does whether it can be told where something runs."""
    hung = (place.partition(":")[0] for place in sleepers(result.why) if result.verdict == "hung")
    where = [result.errno] if result.errno else list(dict.fromkeys(hung))
    kinds = more_of(result.kinds) | {f["kind"] for f in result.findings}
    return ":".join([result.resolution, *where]), result.verdict, ",".join(sorted(kinds)), result.outcome


def _text(told: tuple[str, str, str, str]) -> str:
    resolution, verdict, kinds, outcome = told
    return " ".join(w for w in (resolution or verdict, f"({verdict})" if resolution else "",
                                f"+{kinds}" if kinds else "", outcome) if w)


def compare(old: Path, new: Path, as_json: bool) -> int:
    """What changed from `old` to `new`. 1 when a case that both have came out differently. EnvironmentFailed when there
    is none."""
    before = {r.id: r for r in store.load_run(old)[1]}
    after = {r.id: r for r in store.load_run(new)[1]}
    both = [i for i in before if i in after]
    if not both:
        raise EnvironmentFailed(f"{old} and {new} have no case in common ({len(before)} and {len(after)} cases): "
                                "nothing was compared")
    changed = [i for i in both if _told(before[i]) != _told(after[i])]
    if as_json:
        json.dump({"changed": [{"id": i, "before": _told(before[i]), "after": _told(after[i])} for i in changed],
                   "only_before": sorted(set(before) - set(after)),
                   "only_after": sorted(set(after) - set(before)), "same": len(both) - len(changed)},
                  sys.stdout, indent=1)
        print()
        return EXIT_DIFFERS if changed else EXIT_EXPECTED
    for case_id in changed:
        print(f"{case_id}: {_text(_told(before[case_id]))} -> {_text(_told(after[case_id]))}"
              f" - repeat: {table.again(new, case_id)}")
    print(f"{len(both)} cases in both, {len(changed)} changed; {len(before) - len(both)} only in {old}, "
          f"{len(after) - len(both)} only in {new}")
    return EXIT_DIFFERS if changed else EXIT_EXPECTED
