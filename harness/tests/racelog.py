# SPDX-License-Identifier: GPL-2.0
"""The history of a race (harness/core/racelog.h), checked and dumped by harness/runner/racelog.py.

    python3 -m harness.tests.racelog FILE [--dump [N]] [--no-sums]

Checks structure, sums, that operation numbers are unique and of their thread, that times make sense
and promises are kept, and that looks cover what they say. Prints counts; exit 1 on the first defect.
It does not judge the data.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from harness.runner.racelog import (CHUNK, CHUNK_MAGIC, FILE, HEADER, KINDS, NEVER, NO_SIZE, PRIMS, RECORD, RUN, VERBS,
                                    VIEWS, Defect, Record, Stream, read, xxh64)

__all__ = ["CHUNK", "CHUNK_MAGIC", "FILE", "HEADER", "KINDS", "NEVER", "NO_SIZE", "PRIMS", "RECORD", "RUN", "VERBS",
           "VIEWS", "Defect", "Record", "Stream", "read", "xxh64"]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--dump", type=int, nargs="?", const=1 << 60, default=0, metavar="N",
                        help="print the first N records by time")
    parser.add_argument("--no-sums", action="store_true", help="the sums are slow in Python")
    args = parser.parse_args(argv)
    try:
        stream = read(args.file.read_bytes(), not args.no_sums)
    except Defect as err:
        print(f"{args.file}: {err}")
        return 1
    stream.records.sort(key=lambda r: r.inv)
    for record in stream.records[:args.dump]:
        print(record)
    runs = Counter(KINDS[k] for r in stream.records for _, _, k in r.runs)
    print(f"{stream.channel}: {stream.nr_threads} threads, {len(stream.files)} files, {stream.chunks} chunks, "
          f"{len(stream.records)} operations {dict(stream.counts())}, runs {dict(runs)}, "
          f"{sum(not r.returned for r in stream.records)} never returned, "
          f"{'ended' if stream.ended else 'NOT ENDED'}")
    return 0 if stream.ended else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
