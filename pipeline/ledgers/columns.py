"""Rows with a word of their own, read a column at a time.

SQLite makes a JSON array of each column of some thousands of rows, with the interpreter lock let go, and
msgspec makes a list of each: half of what as many tuples cost.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from pipeline.ledgers.run_folder import SQL
from pipeline.model import OUTCOME_COLUMNS, SOURCE_COLUMNS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

    from pipeline.model import Status

_CELLS = pa.list_(pa.string())
_TYPES = (pa.int64(), *(pa.string(),) * 4, pa.int64(), pa.int64(), _CELLS, pa.string())
_DECODERS: dict[pa.DataType, msgspec.json.Decoder[list[Any]]] = {
    pa.int64(): msgspec.json.Decoder(list[int]),
    pa.string(): msgspec.json.Decoder(list[str | None]),
    _CELLS: msgspec.json.Decoder(list[list[str]]),
}

SCHEMA = pa.schema(list(zip((*OUTCOME_COLUMNS, *SOURCE_COLUMNS), _TYPES, strict=True)))


def rows_between(
    connection: sqlite3.Connection, start: int, end: int, with_source: Collection[Status]
) -> pa.RecordBatch:
    """Read the rows of the positions from `start` to before `end`, in any order, open ones with no status.

    Those of the statuses `with_source` come with their cells and their raw line.
    """
    statement = SQL["rows between"].format(statuses=", ".join("?" * len(with_source)))
    (columns,) = connection.execute(statement, (*with_source, start, end))
    return pa.record_batch([_array(*both) for both in zip(columns, _TYPES, strict=True)], schema=SCHEMA)


def _array(column: str, kind: pa.DataType) -> pa.Array:
    # msgspec knows no lone surrogate. One in a source cell stands there as an escape.
    if r"\ud" not in column:
        return pa.array(_DECODERS[kind].decode(column), kind)
    values = json.loads(column)
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        shown = [[cell.encode(errors="backslashreplace").decode() for cell in cells] for cells in values]
        return pa.array(shown, kind)
