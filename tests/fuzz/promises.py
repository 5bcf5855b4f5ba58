"""What every source promises of what it gives, whatever the file: held to, a column at a time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.headers import OUR_COLUMNS, is_key_material

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.inventory import Inventory
    from pipeline.model import Chunk

_MOST_ERROR_CHARACTERS = 10_000
_UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Breach(AssertionError):  # noqa: N818 - it is a source's, not ours
    """A source did what no source may."""


def alike(words: str) -> str:
    """Leave out of a message what differs from file to file."""
    words = re.sub(r'"[^"]*"|\S*/case\S*', "_", words)
    return re.sub(r"[0-9][0-9,]*", "0", words)[:160]


def is_unshowable(words: str) -> bool:
    """Tell whether words cannot be shown on one line as they are."""
    return _UNSHOWABLE.search(words) is not None


def require(holds: bool, words: str) -> None:  # noqa: FBT001 - it reads as a sentence
    """Raise Breach unless it holds."""
    if not holds:
        raise Breach(words)


def require_sound_inventory(inventory: Inventory) -> None:
    header = inventory.header
    require(bool(header), "no column")
    require(all(isinstance(name, str) for name in header), "a column name that is no text")
    "".join(header).encode()
    for source in inventory.sources:
        if type(source).__name__ == "SpooledSource":
            continue  # it says what its source said, which was held to this
        require(not any(map(is_key_material, header)), f"a key column is kept: {header}")
        require(not set(header) & set(OUR_COLUMNS), f"a column of a report is kept: {header}")
        for finding in source.findings:
            require(not is_unshowable(finding.words), f"a finding of several lines: {finding.words!r}")


def require_sound_chunk(chunk: Chunk, source: Any, rows_before: int, bytes_before: int) -> None:
    """Require what the contract's _require_in_order does, a column at a time."""
    rows, numbers = chunk.rows, chunk.numbers
    names = [str(index) for index in range(len(source.header))]
    require(rows.schema.names == names, f"columns {rows.schema.names} for {len(names)}")
    rows.validate(full=True)
    for column in rows.columns:
        require(column.type == pa.string() and not column.null_count, f"cells of type {column.type}")
    require(chunk.positions.type == pa.int64() and not chunk.positions.null_count, "positions are int64")
    whole = np.asarray(chunk.positions)
    broken = np.array([row.position for row in chunk.broken], np.int64)
    require(len(whole) == rows.num_rows, "a position for each row")
    require(bool((np.diff(whole) > 0).all() and (np.diff(broken) > 0).all()), "positions ascend")
    places = np.sort(np.concatenate((whole, broken)))
    require(len(places) > 0, "a chunk without rows")
    require(
        np.array_equal(places, np.arange(rows_before + 1, chunk.rows_read + 1)),
        f"each position once: {places}",
    )
    for row in chunk.broken:
        "".join((row.reason, row.raw, *row.cells)).encode()
        if type(source).__name__ == "SpooledSource":
            continue  # as above
        require(bool(row.reason) and not is_unshowable(row.reason), f"an unclear reason: {row.reason!r}")
        require(len(row.cells) in (0, len(names)), "cells of a broken row")
    require(set(numbers) <= set(range(len(names))), "numbers are told by column")
    for marks in numbers.values():
        require(
            marks.type == pa.bool_() and not marks.null_count and len(marks) == rows.num_rows,
            "marks of numbers",
        )
    require(bytes_before <= chunk.bytes_read <= (source.bytes_total or chunk.bytes_read), "bytes read")


def require_clear(error: str, path: Path) -> None:
    require(not is_unshowable(error), f"an error that is not one line: {error!r}")
    require(len(error) < _MOST_ERROR_CHARACTERS + len(str(path)), f"an error of {len(error)} characters")
