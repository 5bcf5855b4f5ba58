"""Outcomes: the ledger read back in inventory order, window by window, a column at a time.

Batches overlap and interleave, and rows of their own override them. Within a window every row is put
into the slot of its position, so that order, gaps and overriding cost one assignment each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.ledgers.packing import unpack_keys, unpack_positions
from pipeline.ledgers.run_folder import SQL
from pipeline.model import OUTCOME_COLUMNS, Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from numpy.typing import NDArray

WINDOW_POSITIONS = 16_384

_TYPES = (pa.int64(), pa.string(), pa.string(), pa.string(), pa.string(), pa.int64(), pa.int64())
_SCHEMA = pa.schema(list(zip(OUTCOME_COLUMNS, _TYPES, strict=True)))
_ROW = pa.struct(_SCHEMA)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Items of one settled batch: ascending positions, and their keys."""

    batch: int
    positions: NDArray[np.int64]
    keys: pa.StringArray

    def cut(self, at: int) -> tuple[_Stretch, _Stretch]:
        """Part it into what stands before a position, and the rest."""
        items = int(np.searchsorted(self.positions, at))
        return (
            _Stretch(self.batch, self.positions[:items], self.keys.slice(0, items)),
            _Stretch(self.batch, self.positions[items:], self.keys.slice(items)),
        )


class _Stretches:
    """The settled batches in the order of their first positions, each unpacked once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._batches = (
            _Stretch(number, unpack_positions(first, last, positions), unpack_keys(keys, items))
            for number, items, first, last, positions, keys in connection.execute(SQL["plain batches"])
        )
        self._next = next(self._batches, None)
        self._begun: list[_Stretch] = []  # reach beyond the windows seen so far

    def first(self) -> int | None:
        """Give the first position not yet taken."""
        left = self._begun if self._next is None else [*self._begun, self._next]
        return min((int(stretch.positions[0]) for stretch in left), default=None)

    def before(self, end: int) -> list[_Stretch]:
        """Take what stands before a position."""
        while self._next is not None and self._next.positions[0] < end:
            self._begun.append(self._next)
            self._next = next(self._batches, None)
        parts = [stretch.cut(end) for stretch in self._begun]
        self._begun = [rest for _, rest in parts if len(rest.keys)]
        return [taken for taken, _ in parts if len(taken.keys)]


def outcomes(connection: sqlite3.Connection) -> Iterator[pa.RecordBatch]:
    """Yield every row that has a final status, in inventory order, with OUTCOME_COLUMNS."""
    stretches = _Stretches(connection)
    end = 0
    while True:
        ((row_first,),) = connection.execute(SQL["next row"], (end,))
        starts = [first for first in (row_first, stretches.first()) if first is not None]
        if not starts:
            return
        start, end = min(starts), min(starts) + WINDOW_POSITIONS
        rows = connection.execute(SQL["rows between"], (start, end)).fetchall()
        merged = _merge(start, stretches.before(end), rows)
        if merged.num_rows:
            yield merged


def _merge(start: int, stretches: list[_Stretch], rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    """Lay the plain successes and the rows of one window into one order."""
    nothing = np.empty(0, np.int64)
    plain = np.concatenate([nothing, *(stretch.positions for stretch in stretches)])
    row_positions, row_keys, statuses, codes, reasons, sends, batches = pa.array(rows, _ROW).flatten()
    final = np.asarray(statuses.is_valid())

    slots = np.full(WINDOW_POSITIONS, -1, np.int64)
    slots[plain - start] = np.arange(len(plain))
    slots[np.asarray(row_positions) - start] = np.where(final, len(plain) + np.arange(len(rows)), -1)
    taken = np.flatnonzero(slots >= 0)
    order = slots[taken]

    def text(plain_values: list[pa.StringArray], row_values: pa.StringArray) -> pa.StringArray:
        return pa.concat_arrays([*plain_values, row_values]).take(pa.array(order))

    def number(plain_values: NDArray[np.int64], row_values: pa.Int64Array) -> pa.Int64Array:
        return pa.array(np.concatenate([plain_values, np.asarray(row_values)])[order])

    no_words = [pa.repeat(pa.scalar(""), len(plain))]
    plain_batches = [np.full(len(stretch.keys), stretch.batch, np.int64) for stretch in stretches]
    columns = [
        pa.array(taken + start),
        text([stretch.keys for stretch in stretches], row_keys),
        text([pa.repeat(pa.scalar(Status.SUCCEEDED.value), len(plain))], statuses),
        text(no_words, codes),
        text(no_words, reasons),
        number(np.ones(len(plain), np.int64), sends),
        number(np.concatenate([nothing, *plain_batches]), batches),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)
