"""One file driven through simlift as an import would, and held to what every source promises.

Rows, rejections or one clear error: all else is a Breach, or an exception that should not be.
"""

from __future__ import annotations

import csv
import gc
import hashlib
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from promises import (
    alike,
    is_unshowable,
    require,
    require_clear,
    require_sound_chunk,
    require_sound_inventory,
)

from pipeline.errors import SimliftError
from pipeline.examination import examine
from pipeline.inventory import open_inventory
from pipeline.screening import needed_names
from pipeline.settings import Input, job_from
from pipeline.work import open_target, produce

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from pipeline.contracts import Target
    from pipeline.inventory import Inventory
    from pipeline.settings import Job

_REASONS_TOLD = 20
_LONG_S = 0.03  # small blocks of a long file would take their square
_TARGETS: dict[str, dict[str, Any]] = {
    "sim-express": {"access_code": "env:A", "secret_code": "env:S"},
    "bulk-subscriber": {"token": "env:T"},
}


@dataclass(frozen=True, slots=True)
class Case:
    """How a file is driven: the [input] table, and what is done beyond reading it twice.

    `block_bytes` (0: not) is the size of the blocks it is read in once more; `target` whose columns are
    needed ("": not known); `screened` by its rules; `examined`: its failures are written and read again;
    `left` after its first chunk.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    block_bytes: int = 0
    target: str = ""
    screened: bool = False
    examined: bool = False
    left: bool = False


@dataclass(slots=True)
class Read:
    """What came of reading a file: how it is called in statistics, its rows and its error."""

    rows: int = 0
    broken: int = 0
    error: str = ""
    reasons: set[str] = field(default_factory=set)
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Say in a few words how it ended; equal for what ends alike."""
        found = "rows, broken rows" * bool(self.broken) or "rows" * bool(self.rows) or "no rows"
        return f"{found}, {alike(self.error)}" * bool(self.error) or found


def drive(path: Path, case: Case) -> Read:
    """Do with a file all that the case says. Raises Breach, and whatever should not be raised."""
    job, target = _told(case) if case.target else (None, None)
    settings = job.input if job else Input(**case.settings)
    if target:
        settings = settings.needing(needed_names(target.rules, settings))
    open_before = _open_files()
    began_s = time.process_time()
    first = read(path, settings)
    is_long = time.process_time() - began_s > _LONG_S
    require(first == (again := read(path, settings)), f"read twice it differs: {first} {again}")
    if case.block_bytes and not is_long:
        _require_same_in_blocks(first, path, settings, case.block_bytes)
    if case.left:
        _leave(path, settings)
    if job and target and case.screened:
        _screen(first, path, job, target)
    if job and target and case.examined:
        _examine(path, job, target)
    if _open_files() > open_before:
        gc.collect()
        require(_open_files() <= open_before, "files are left open")
    return first


def read(path: Path, settings: Input, block_bytes: int = 0) -> Read:
    """Open an inventory and read all of it. Raises Breach."""
    found = Read()
    try:
        inventory = open_inventory([str(path)], settings)
        require_sound_inventory(inventory)
        for number, source in enumerate(_sources(inventory, settings, block_bytes)):
            _read_source(source, found, number)
    except SimliftError as error:
        found.error = str(error)
        require_clear(found.error, path)
    return found


def _sources(inventory: Inventory, settings: Input, block_bytes: int) -> Iterator[Any]:
    source: Any
    for file, source in zip(inventory.files, inventory.sources, strict=True):
        can = block_bytes and type(source).__name__ in ("CsvSource", "JsonSource", "OutSource")
        yield type(source)(file, settings, block_bytes=block_bytes) if can else source


def _read_source(source: Any, found: Read, number: int) -> None:
    digests: dict[str, Any] = {}

    def add(what: str, content: Any) -> None:
        digests.setdefault(what, hashlib.blake2b(digest_size=8)).update(content)

    add("header", repr((source.header, source.findings)).encode())
    rows = bytes_read = 0
    try:
        for chunk in source.chunks():
            require_sound_chunk(chunk, source, rows, bytes_read)
            rows, bytes_read = chunk.rows_read, chunk.bytes_read
            found.broken += len(chunk.broken)
            add("positions", np.ascontiguousarray(chunk.positions))
            for index, column in enumerate(chunk.rows.columns):
                lengths, text = _bare(column)
                marks = chunk.numbers.get(index)
                add(f"{index} lengths", lengths)
                add(f"{index} text", text)
                add(f"{index} numbers", bytes(len(column)) if marks is None else bytes(marks.to_pylist()))
            add("broken", "".join(map(repr, chunk.broken)).encode())
            found.reasons.update(alike(row.reason) for row in chunk.broken[:_REASONS_TOLD])
    finally:
        found.rows += rows
        found.digests |= {f"{number} {what}": digest.hexdigest() for what, digest in digests.items()}


def _bare(column: pa.StringArray) -> tuple[Any, Any]:
    """Give the lengths of a column's cells, and their text back to back."""
    if not len(column):
        return b"", b""
    _, offsets, text = column.buffers()
    ends = np.frombuffer(offsets, np.int32, len(column) + 1, 4 * column.offset)
    return np.diff(ends), memoryview(text or b"")[int(ends[0]) : int(ends[-1])]


def _require_same_in_blocks(first: Read, path: Path, settings: Input, block_bytes: int) -> None:
    small = read(path, settings, block_bytes)
    if any(reason.startswith("longer than") for reason in first.reasons | small.reasons):
        return  # what else is wrong with such a row depends on how much of it was looked at
    same = (first.rows, first.broken, first.digests, alike(first.error)) == (
        *(small.rows, small.broken, small.digests, alike(small.error)),
    )
    require(same, f"read in blocks of {block_bytes} bytes it differs: {first} {small}")


def _leave(path: Path, settings: Input) -> None:
    """Read the first chunk alone, as who stops early does."""
    try:
        for source in open_inventory([str(path)], settings).sources:
            chunks: Any = source.chunks()
            next(chunks, None)
            chunks.close()
    except SimliftError:
        return


def _told(case: Case) -> tuple[Job, Target]:
    table = {"kind": case.target, "base_url": "https://vendor.example", **_TARGETS[case.target]}
    job = job_from({"target": table, "input": case.settings}, where="job")
    return job, open_target(job, resolve_secrets=False)[0]


def _screen(first: Read, path: Path, job: Job, target: Target) -> None:
    """Screen as a run does; every row must come out once."""
    positions: list[int] = []
    rows = 0
    try:
        inventory = open_inventory([str(path)], job.input, target.rules)
        inventory.fingerprint()
        for portion in produce(inventory, job, target):
            rows = portion.rows_read
            for batch in portion.batches:
                positions += batch.items.column("position").to_pylist()
                bytes(batch.payload()).decode()
            for row in portion.exceptional:
                positions.append(row.position)
                "".join((row.key, row.reason, row.raw, *row.cells)).encode()
                require(not is_unshowable(row.reason), f"a reason of several lines: {row.reason!r}")
    except SimliftError as error:
        require_clear(str(error), path)
        return
    require(not first.error, f"screened without the error of reading: {first.error}")
    require(rows == first.rows, f"{rows} rows screened, {first.rows} read")
    require(sorted(positions) == list(range(1, rows + 1)), "each row comes out of screening once")


def _examine(path: Path, job: Job, target: Target) -> None:
    """Write what fails, and read that again: it is an inventory too."""
    out = path.with_name("examined")
    try:
        inventory = open_inventory([str(path)], job.input, target.rules)
        found = examine(inventory, job, target, out)
    except SimliftError as error:
        require_clear(str(error), path)
        return
    if any(map(is_unshowable, inventory.header)):
        return  # such a header is none in CSV
    failures = read(out / "failures.csv", Input(format="csv"))
    expected = found.rows - found.items
    require(not failures.error, f"its failures cannot be read: {failures.error}")
    with (out / "failures.csv").open(encoding="utf-8", newline="") as file:
        csv.field_size_limit(1 << 30)
        _, *rows = csv.reader(file)
    require(len(rows) == expected, f"{len(rows)} failures written for {expected}")
    # A cell of several lines that look like rows is not always believed to be one (quoted_rows).
    if not any("\n" in cell or "\r" in cell for row in rows for cell in row):
        require(failures.rows == expected, f"of {expected} failures {failures.rows} are read")


def _open_files() -> int:
    """Count the open files: no pipes and sockets, a process that reads Parquet may be kept for the next."""
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208 - it is no folder of files
        with suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{descriptor}").startswith("/")  # noqa: PTH115 - likewise
    return count
