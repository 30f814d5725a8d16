# SPDX-License-Identifier: GPL-2.0
"""The harness tests itself: what it breaks on purpose must be found, and nothing else may be.

The cases are workloads/sequences/selftest/*.seq. A sequence's header says what must come of it:
`# must: corrupt|coherent|crashed|hung`.
"""

import re
from pathlib import Path

from . import main, store
from .errors import EXIT_BROKEN, EXIT_DIFFERS, EXIT_EXPECTED
from .plan import Sequence, parse_sequence

_MUST = re.compile(r"^#\s*must:\s*(\w+)", re.MULTILINE)
_BY_STEP = (("panic", "crashed"), ("hang", "hung"), ("sabotage", "corrupt"))


def must(sequence: Sequence) -> str:
    """The verdict this sequence has to get."""
    said = _MUST.search(sequence.text)
    if said:
        return said[1]
    for prefix, verdict in _BY_STEP:
        if any(verb.startswith(prefix) for verb in sequence.verbs):
            return verdict
    return "coherent"


def run(options: main.Options, argv: list[str]) -> int:
    """One channel and filesystem unless others are asked for; `run`'s own judgement is replaced."""
    options.selftest = True
    options.filters.fs = options.filters.fs or ["xfs"]
    options.filters.channels = options.filters.channels or ["store"]
    options.kernels = options.kernels or ["6.12"]
    folder = options.out or main.ROOT / "results" / store.new_run_name()
    options.out = folder
    main.run(options, argv)
    return judge_run(folder)


def judge_run(folder: Path) -> int:
    meta, results = store.load_run(folder)
    wrong = 0
    for result in results:
        wanted = must(parse_sequence(folder / "cases" / result.id / "sequence.seq"))
        ok = result.verdict == wanted and (wanted != "corrupt" or bool(result.kinds or result.evidence))
        wrong += not ok
        print(f"{'ok    ' if ok else 'NOT OK'} {result.id}: must be {wanted}, is {result.verdict}"
              + (f" ({result.why})" if result.why and not ok else ""))
    missing = meta.get("planned", 0) - len(results)
    print(f"selftest: {len(results) - wrong} of {meta.get('planned', len(results))} as they must be"
          + (f", {missing} not run" if missing else "") + f"; results in {folder}")
    if not results or missing:
        return EXIT_BROKEN
    return EXIT_DIFFERS if wrong else EXIT_EXPECTED
