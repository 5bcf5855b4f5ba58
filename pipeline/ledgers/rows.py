"""Rows with a word of their own, between the model and the `row` table.

Many rows go into one statement: the interpreter lock is let go and fought for once per statement, and
with a busy event loop beside it row by row would be twenty times slower.
"""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.model import Exceptional, Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

_ROWS_PER_STATEMENT = 500  # of 12 values each at most, well below SQLite's 32,766

_STATUSES: dict[str | None, Status | None] = {None: None} | {str(status): status for status in Status}
_CELLS = msgspec.json.Decoder(tuple[str, ...])


def columns_of(rows: Sequence[Exceptional], batch: int = 0) -> list[Sequence[Any]]:
    """Give rows as the columns of the table; `batch` stands in where a row names none."""
    return [
        [row.position for row in rows],
        _each(text, [row.key for row in rows]),
        _each(_name_of, [row.status for row in rows]),
        _each(text, [row.code for row in rows]),
        _each(text, [row.reason for row in rows]),
        [row.sends for row in rows],
        [row.batch or batch for row in rows],
        _each(int, [row.in_doubt for row in rows]),
        _each(_json, [row.cells for row in rows]),
        _each(_text_or_none, [row.raw for row in rows]),
        _each(_text_or_none, [row.ticket for row in rows]),
        _each(_text_or_none, [row.call for row in rows]),
    ]


def insert(connection: sqlite3.Connection, statement: str, columns: Sequence[Sequence[Any]]) -> None:
    """Run an INSERT whose text has {rows} where the values go. What all rows share is handed over once."""
    alike = tuple(map(_alike, columns))
    shared = [column[0] for column, same in zip(columns, alike, strict=True) if same]
    rows = list(zip(*(column for column, same in zip(columns, alike, strict=True) if not same), strict=True))
    for start in range(0, len(columns[0]), _ROWS_PER_STATEMENT):
        part = rows[start : start + _ROWS_PER_STATEMENT]
        values = [*shared, *chain.from_iterable(part)]
        connection.execute(_with_places(statement, len(part) or 1, alike), values)


@lru_cache(16)
def _with_places(statement: str, rows: int, alike: tuple[bool, ...]) -> str:
    """Put in the places of the values: the shared ones come first, then row by row those of its own."""
    own = count(sum(alike) + 1)
    lines = []
    for _ in range(rows):
        shared = count(1)
        lines.append(f"({', '.join(f'?{next(shared if same else own)}' for same in alike)})")
    return statement.format(rows=",".join(lines))


def _alike(column: Sequence[Any]) -> bool:
    return bool(column) and column.count(column[0]) == len(column)


def _each(convert: Callable[[Any], Any], column: list[Any]) -> list[Any]:
    """Convert a column, once where all of it is the same."""
    return [convert(column[0])] * len(column) if _alike(column) else list(map(convert, column))


def row_of(values: tuple[Any, ...]) -> Exceptional:
    """Give the row back from its column values."""
    position, key, status, code, reason, sends, batch, in_doubt, cells, raw, ticket, call = values
    return Exceptional(
        position,
        key,
        _STATUSES[status],
        code,
        reason,
        sends,
        batch,
        bool(in_doubt),
        _from_json(cells) if cells else (),
        raw or "",
        ticket or "",
        call or "",
    )


def _name_of(status: Status | None) -> str | None:
    return None if status is None else str(status)


def _text_or_none(words: str) -> str | None:
    return text(words) if words else None


def text(words: str) -> str:
    """Replace lone surrogates, which a vendor's JSON may hold and UTF-8 may not."""
    return words if words.isascii() else words.encode("utf-8", "replace").decode("utf-8")


def _json(cells: tuple[str, ...]) -> str | None:
    """Give cells as JSON, None where there are none."""
    try:
        return msgspec.json.encode(cells).decode() if cells else None
    except UnicodeEncodeError:
        return json.dumps(cells)  # which writes a lone surrogate as an escape


def _from_json(cells: str) -> tuple[str, ...]:
    return tuple(json.loads(cells)) if r"\ud" in cells else _CELLS.decode(cells)
