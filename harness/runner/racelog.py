# SPDX-License-Identifier: GPL-2.0
"""The history of a race (harness/core/racelog.h), read by a second reader that shares nothing with the writer.

read() takes all of a stream and checks what every stream must keep to: a test of the format. It is slow (sums in
Python). Window reads only what happened between two times, of a stream of any length, and checks no sums: the judge
has done that.
"""

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

HEADER = struct.Struct("<8sIIIIII48sQ128sQ")
CHUNK = struct.Struct("<IIIIQQ")
RECORD = struct.Struct("<QQIBBBBIIiIII")
RUN = struct.Struct("<QII")
FILE = struct.Struct("<IIII")
CHUNK_MAGIC, CHUNK_MAX = 0x4B434650, 1 << 20
NEVER = (1 << 64) - 1
NO_SIZE = (1 << 32) - 1
VERBS = ("write", "store", "pwrite", "look", "fault")
VIEWS = ("mmap", "buffered", "direct")
PRIMS = ("none", "zero", "resize", "collapse", "insert", "copy", "sync", "syncfs", "unlink", "rename", "crash")
KINDS = ("zero", "cells", "foreign", "torn", "error")

_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5, _M = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5, (1 << 64) - 1


class Defect(Exception):
    """The stream is not what racelog.h says."""


def _round(acc: int, lane: int) -> int:
    acc = (acc + lane * _P2) & _M
    return ((acc << 31 | acc >> 33) * _P1) & _M


def xxh64(data: bytes, seed: int = 0) -> int:
    """XXH64 as its specification has it (github.com/Cyan4973/xxHash, doc/xxhash_spec.md)."""
    at, size = 0, len(data)
    if size >= 32:
        a, b = (seed + _P1 + _P2) & _M, (seed + _P2) & _M
        c, d = seed, (seed - _P1) & _M
        for w0, w1, w2, w3 in struct.iter_unpack("<4Q", data[:size // 32 * 32]):
            a, b, c, d = _round(a, w0), _round(b, w1), _round(c, w2), _round(d, w3)
        at = size // 32 * 32
        h = sum((x << r | x >> (64 - r)) & _M for x, r in ((a, 1), (b, 7), (c, 12), (d, 18))) & _M
        for x in (a, b, c, d):
            h = ((h ^ _round(0, x)) * _P1 + _P4) & _M
    else:
        h = (seed + _P5) & _M
    h = (h + size) & _M
    while at + 8 <= size:
        h ^= _round(0, int.from_bytes(data[at:at + 8], "little"))
        h = ((h << 27 | h >> 37) * _P1 + _P4) & _M
        at += 8
    if at + 4 <= size:
        h ^= int.from_bytes(data[at:at + 4], "little") * _P1 & _M
        h = ((h << 23 | h >> 41) * _P2 + _P3) & _M
        at += 4
    for byte in data[at:]:
        h ^= byte * _P5 & _M
        h = ((h << 11 | h >> 53) & _M) * _P1 & _M
    h = ((h ^ h >> 33) * _P2) & _M
    h = ((h ^ h >> 29) * _P3) & _M
    return h ^ h >> 32


@dataclass
class Record:
    thread: int
    inv: int
    ret: int
    op: int
    verb: int
    what: int
    file: int
    file2: int
    first: int
    cells: int
    result: int
    size: int
    fault: int
    runs: list[tuple[int, int, int]] = field(default_factory=list)  # value, count, kind

    @property
    def returned(self) -> bool:
        return self.ret != NEVER

    def __str__(self) -> str:
        what = {"look": VIEWS, "fault": PRIMS}.get(VERBS[self.verb], ("",) * 256)[self.what]
        text = (f"{self.inv} {self.ret - self.inv if self.returned else '-'} t{self.thread} #{self.op} "
                f"{VERBS[self.verb]} {what} {self.file}>{self.file2} {self.first}+{self.cells} = {self.result}")
        if VERBS[self.verb] == "look":
            text += f" size {self.size}:" + "".join(
                f" {KINDS[k]}:{v >> 32}:{v >> 24 & 255}:{v & 0xFFFFFF}*{n}" for v, n, k in self.runs)
        return text


@dataclass
class Stream:
    """A whole stream, checked while it was read."""

    run: int
    case: int
    nr_threads: int
    cls: int
    channel: str
    seed: int
    files: list[tuple[int, int, int]]  # id, cells, op
    records: list[Record] = field(default_factory=list)
    chunks: int = 0
    ended: bool = False  # every thread said that there is no more

    def counts(self) -> Counter[str]:
        return Counter(VERBS[r.verb] for r in self.records)


def _need(ok: object, what: str, at: int) -> None:
    if not ok:
        raise Defect(f"offset {at}: {what}")


def _header(data: bytes, sums: bool) -> Stream:
    _need(len(data) >= HEADER.size, "shorter than a header", 0)
    magic, size, run, case, threads, files, cls, channel, seed, table, total = HEADER.unpack_from(data)
    _need(magic == b"pfrace01", "another magic", 0)
    _need(size == HEADER.size, f"a header of {size} bytes", 8)
    _need(not sums or xxh64(data[:HEADER.size - 8]) == total, "the header's sum", HEADER.size - 8)
    _need(1 <= threads <= 16 and 1 <= files <= 8 and cls < 4, "numbers in the header", 20)
    listed: list[tuple[int, int, int]] = []
    for i in range(files):
        number, cells, op, _ = FILE.unpack_from(table, i * FILE.size)
        listed.append((number, cells, op))
    _need(len({f[0] for f in listed}) == files and all(1 <= f[0] <= 255 for f in listed), "file ids", 0)
    return Stream(run, case, threads, cls, channel.rstrip(b"\0").decode(), seed, listed)


def _records(thread: int, body: bytes, number: int, at: int) -> Iterator[Record]:
    pos = 0
    for _ in range(number):
        _need(pos + RECORD.size <= len(body), "a record is cut off", at + pos)
        (inv, ret, op, verb, what, file, file2, first, cells, result, size, nr_runs,
         fault) = RECORD.unpack_from(body, pos)
        record = Record(thread, inv, ret, op, verb, what, file, file2, first, cells, result, size, fault)
        pos += RECORD.size
        _need(pos + nr_runs * RUN.size <= len(body), "runs are cut off", at + pos)
        record.runs = [(v, n, k) for v, n, k in RUN.iter_unpack(body[pos:pos + nr_runs * RUN.size])]
        yield record
        pos += nr_runs * RUN.size
    _need(pos == len(body), f"{len(body) - pos} bytes after the last record", at + pos)


def _check(stream: Stream, r: Record, at: int) -> None:
    _need(r.verb < len(VERBS), f"verb {r.verb}", at)
    _need(r.op > 0, "operation 0", at)
    _need(r.file < len(stream.files) and r.file2 < len(stream.files), "a file that is not in the header", at)
    _need(r.ret >= r.inv, "returned before it began", at)
    verb = VERBS[r.verb]
    if verb in ("write", "store", "pwrite"):
        _need(r.cells > 0 and r.result <= r.cells and not r.runs and r.size == NO_SIZE, f"a {verb}", at)
        _need(r.result >= 0 or r.result > -4096, f"result {r.result}", at)
    elif verb == "fault":
        _need(r.what < len(PRIMS) and r.result <= 0 and not r.runs, "a fault", at)
        _need((PRIMS[r.what] == "copy") <= (r.file != r.file2), "a copy onto itself", at)
    else:
        _need(r.what < len(VIEWS), f"view {r.what}", at)
        seen = sum(n for _, n, _ in r.runs)
        _need(seen <= r.cells, f"{seen} cells seen of {r.cells}", at)
        _need(r.returned or not r.runs, "a look that never returned saw something", at)
        _need(not (r.returned and r.result == 0) or r.size != NO_SIZE, "a look without a size", at)
        _need(all(n > 0 and k < len(KINDS) for _, n, k in r.runs), "a run", at)
        _need(all((v == 0) == (KINDS[k] == "zero") for v, _, k in r.runs), "the value of a run", at)


def read(data: bytes, sums: bool = True) -> Stream:
    """Read and check all of a stream. Raises Defect with the offset."""
    stream = _header(data, sums)
    promised = [0] * stream.nr_threads
    ops = {f[2] for f in stream.files}
    at = HEADER.size
    while at < len(data):
        _need(at + CHUNK.size <= len(data), "a chunk's head is cut off", at)
        magic, thread, size, number, promise, total = CHUNK.unpack_from(data, at)
        _need(magic == CHUNK_MAGIC, "no chunk", at)
        _need(thread < stream.nr_threads and size % 8 == 0 and size <= CHUNK_MAX, "a chunk's numbers", at)
        body = data[at + CHUNK.size:at + CHUNK.size + size]
        _need(len(body) == size, "a chunk is cut off", at)
        _need(not sums or xxh64(body, xxh64(data[at:at + CHUNK.size - 8])) == total, "a chunk's sum", at)
        _need(promised[thread] != NEVER, "a chunk after the last", at)
        before = promised[thread]
        for record in _records(thread, body, number, at + CHUNK.size):
            _check(stream, record, at)
            _need(record.inv >= before, f"operation {record.op} breaks a promise or the order", at)
            _need(record.op not in ops, f"operation {record.op} twice", at)
            _need(record.returned or promise == NEVER, "an operation goes on and the thread too", at)
            ops.add(record.op)
            before = record.ret if record.returned else NEVER
            stream.records.append(record)
        _need(promise >= (before if before != NEVER else 0), "a promise that is broken already", at)
        promised[thread] = promise
        stream.chunks += 1
        at += CHUNK.size + size
    stream.ended = all(p == NEVER for p in promised)
    return stream


@dataclass
class _Chunk:
    at: int      # of its records in the file
    thread: int
    size: int
    number: int
    first: int   # when its first record begins
    promise: int


class Window:
    """What happened in a stream between two times, without reading the rest. Times count from the first operation,
    as the judge's evidence has them."""

    def __init__(self, path: Path) -> None:
        """Reads the heads of all chunks. Defect, OSError."""
        self.path = path
        self.chunks: list[_Chunk] = []
        with path.open("rb") as stream:
            self.about = _header(stream.read(HEADER.size), sums=False)
            self._heads(stream, path.stat().st_size)
        self.began = min((c.first for c in self.chunks), default=0)

    def _heads(self, stream: BinaryIO, size: int) -> None:
        at = HEADER.size
        while at + CHUNK.size <= size:
            stream.seek(at)
            head = stream.read(CHUNK.size + 8)
            magic, thread, body, number, promise, _ = CHUNK.unpack_from(head)
            _need(magic == CHUNK_MAGIC, "no chunk", at)
            if at + CHUNK.size + body > size:
                return  # the stream was cut off: what is before it stands
            if number:
                first = int.from_bytes(head[CHUNK.size:], "little")
                self.chunks.append(_Chunk(at + CHUNK.size, thread, body, number, first, promise))
            at += CHUNK.size + body

    def records(self, low: int, high: int) -> list[Record]:
        """Those that were under way at any time of [low, high], by their beginning. Their times count from the first
        operation."""
        out = []
        with self.path.open("rb") as stream:
            for chunk in self.chunks:
                if chunk.first - self.began > high or chunk.promise - self.began < low:
                    continue
                stream.seek(chunk.at)
                for record in _records(chunk.thread, stream.read(chunk.size), chunk.number, chunk.at):
                    record.inv -= self.began
                    record.ret -= self.began if record.returned else 0
                    if record.inv <= high and record.ret >= low:
                        out.append(record)
        return sorted(out, key=lambda r: (r.inv, r.thread))

    def find(self, op: int, from_ns: int = -1) -> Record | None:
        """One operation; quickly where it is known when it began."""
        if from_ns >= 0:
            near = [r for r in self.records(from_ns, from_ns) if r.op == op]
            if near:
                return near[0]
        for chunk in self.chunks:
            low, high = chunk.first - self.began, chunk.promise - self.began
            found = [r for r in self.records(low, high) if r.op == op] if low <= high else []
            if found:
                return found[0]
        return None

    @property
    def operations(self) -> int:
        return sum(c.number for c in self.chunks)
