"""One key among millions: which rows bear it, and how they stand.

What was sent is found through the keys of the batches, what never was through filters over stretches of
rows: an index of all keys would cost more than the rows themselves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.ledgers import rows
from pipeline.ledgers.key_filter import Sought, filter_of, lie_apart
from pipeline.ledgers.packing import places_of_key, unpack_positions
from pipeline.ledgers.run_folder import SQL
from pipeline.model import Exceptional, Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

_CLAIMED, _SETTLED = 0, 1
_ROWS_A_FILTER = 4_000


@dataclass(frozen=True, slots=True)
class _Sent:
    """A batch in which a key was found, and at which position."""

    key: str
    position: int
    batch: int
    state: int
    sends: int
    code: str
    reason: str

    def row(self) -> Exceptional:
        """Give what this send alone says of a row that has no record of its own."""
        if self.state == _SETTLED:
            return Exceptional(self.position, self.key, Status.SUCCEEDED, "", "", 1, self.batch)
        if self.state == _CLAIMED:
            return Exceptional(
                self.position, self.key, None, "", "", self.sends + 1, self.batch, in_doubt=True
            )
        return Exceptional(self.position, self.key, None, self.code, self.reason, self.sends, self.batch)


def filter_batch(
    batch: int, keys: pa.StringArray, low: str, high: str, connection: sqlite3.Connection
) -> None:
    """Make the keys of a batch easy to search, where their order does not."""
    if lie_apart(low, high, len(keys)):
        connection.execute(SQL["filter batch"], (batch, filter_of(keys)))


def filter_rows(never_sent: Sequence[Exceptional], connection: sqlite3.Connection) -> None:
    """Make the keys of rows that were never sent easy to search."""
    for start in range(0, len(never_sent), _ROWS_A_FILTER):
        part = never_sent[start : start + _ROWS_A_FILTER]
        positions = [row.position for row in part]
        keys = pa.array([rows.text(row.key) for row in part], pa.string())
        connection.execute(SQL["filter rows"], (min(positions), max(positions), filter_of(keys)))


def trace(keys: Sequence[str], connection: sqlite3.Connection) -> list[Exceptional]:
    """Give what became of these keys, one entry per row that bears one, in inventory order."""
    sought = [Sought(key) for key in keys]
    connection.create_function(
        "may_hold", 2, lambda bits, number: sought[number].may_be_in(bits), deterministic=True
    )
    wanted = json.dumps(keys)
    found = {
        values[0]: rows.row_of(values)
        for first, last in connection.execute(SQL["stretches of keys"], (wanted,))
        for values in connection.execute(SQL["rows of keys"], (first, last, wanted))
    }
    sent: dict[int, _Sent] = {}
    for each in _sent(wanted, connection):
        if each.position not in sent or sent[each.position].state != _SETTLED:
            sent[each.position] = each
    for position, last_sent in sent.items():
        own = connection.execute(SQL["rows of keys"], (position, position, wanted)).fetchone()
        found[position] = rows.row_of(own) if own else last_sent.row()
    return [found[position] for position in sorted(found)]


def _sent(wanted: str, connection: sqlite3.Connection) -> Iterator[_Sent]:
    """Yield every batch that holds one of the keys, in the order they were claimed."""
    for key, batch, state, sends, items, first, last, positions, packed, code, reason in connection.execute(
        SQL["batches of keys"], (wanted,)
    ):
        for index in places_of_key(packed, items, key):
            position = int(unpack_positions(first, last, positions)[index])
            yield _Sent(key, position, batch, state, sends, code, reason)
