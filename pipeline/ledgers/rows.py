"""Rows with a word of their own, between the model and the `row` table.

Many rows go into one statement: the interpreter lock is let go and fought for once per statement, and
with a busy event loop beside it row by row would be twenty times slower.
"""

from __future__ import annotations

import json
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.model import Exceptional, Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

_ROWS_PER_STATEMENT = 500  # of 12 values each, well below SQLite's 32,766
_PLACES = f"({', '.join('?' * 12)})"

_STATUSES: dict[str | None, Status | None] = {None: None} | {str(status): status for status in Status}
_CELLS = msgspec.json.Decoder(tuple[str, ...])

Values = tuple[int, str, str | None, str, str, int, int, int, str | None, str | None, str | None, str | None]


def values_of(rows: Sequence[Exceptional], batch: int = 0) -> list[Values]:
    """Give the column values of rows; `batch` stands in where a row names none."""
    return [
        (
            row.position,
            text(row.key),
            str(row.status) if row.status else None,
            text(row.code),
            text(row.reason),
            row.sends,
            row.batch or batch,
            int(row.in_doubt),
            _json(row.cells),
            text(row.raw) if row.raw else None,
            text(row.ticket) if row.ticket else None,
            text(row.call) if row.call else None,
        )
        for row in rows
    ]


def insert(connection: sqlite3.Connection, statement: str, rows: Iterable[Values]) -> None:
    """Run an INSERT whose text has {rows} where the values go."""
    left = iter(rows)
    while part := list(islice(left, _ROWS_PER_STATEMENT)):
        places = ",".join([_PLACES] * len(part))
        connection.execute(statement.format(rows=places), list(chain.from_iterable(part)))


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
