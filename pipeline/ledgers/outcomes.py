"""Outcomes: the ledger read back in inventory order, window by window, a column at a time.

Batches overlap and interleave, and rows of their own override them. Within a window every row is put
into the slot of its position, so that order, gaps and overriding cost one assignment each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.ledgers.columns import SCHEMA, rows_between
from pipeline.ledgers.packing import unpack_keys, unpack_positions
from pipeline.ledgers.run_folder import SQL
from pipeline.model import OUTCOME_COLUMNS, Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from numpy.typing import NDArray

WINDOW_POSITIONS = 16_384
WINDOW_ROWS = 4_000  # of their own, at most

_NOT_GOOD = [status for status in Status if not status.good]


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


def outcomes(connection: sqlite3.Connection, *, with_source: bool = False) -> Iterator[pa.RecordBatch]:
    """Yield every row that has a final status, in inventory order: OUTCOME_COLUMNS, SOURCE_COLUMNS."""
    stretches = _Stretches(connection)
    end = 0
    while True:
        ((row_first,),) = connection.execute(SQL["next row"], (end,))
        starts = [first for first in (row_first, stretches.first()) if first is not None]
        if not starts:
            return
        start, end = min(starts), min(starts) + WINDOW_POSITIONS
        for (row_after,) in connection.execute(SQL["row after"], (start, end, WINDOW_ROWS)):
            end = row_after
        rows = rows_between(connection, start, end, _NOT_GOOD if with_source else ())
        merged = _merge(start, stretches.before(end), rows)
        if merged.num_rows:
            yield merged if with_source else merged.select(OUTCOME_COLUMNS)


def _merge(start: int, stretches: list[_Stretch], rows: pa.RecordBatch) -> pa.RecordBatch:
    """Lay the plain successes and the rows of one window into one order."""
    nothing = np.empty(0, np.int64)
    plain = np.concatenate([nothing, *(stretch.positions for stretch in stretches)])
    items = len(plain)
    final = np.asarray(rows.column("status").is_valid())

    slots = np.full(WINDOW_POSITIONS, -1, np.int64)
    slots[plain - start] = np.arange(items)
    slots[np.asarray(rows.column("position")) - start] = np.where(final, items + np.arange(len(final)), -1)
    taken = np.flatnonzero(slots >= 0)
    order = slots[taken]
    # As a rule batches lie end to end, and so do rows where none is a success.
    ordered = len(order) == items + len(final) and bool((order == np.arange(len(order))).all())

    batches = [np.full(len(stretch.keys), stretch.batch, np.int64) for stretch in stretches]
    plain_columns = {
        "key": [stretch.keys for stretch in stretches],
        "status": [pa.repeat(pa.scalar(Status.SUCCEEDED.value), items)],
        "attempts": [pa.array(np.ones(items, np.int64))],
        "batch": [pa.array(np.concatenate([nothing, *batches]))],
        "cells": [pa.nulls(items, SCHEMA.field("cells").type)],
    }
    no_words = [pa.repeat(pa.scalar(""), items)]
    columns = [pa.array(taken + start)]
    for name in SCHEMA.names[1:]:
        whole = pa.concat_arrays([*plain_columns.get(name, no_words), rows.column(name)])
        columns.append(whole if ordered else whole.take(pa.array(order)))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
