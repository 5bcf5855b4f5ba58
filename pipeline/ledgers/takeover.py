"""Taking over: what a dead process left claimed becomes open and in doubt, and what is left to do is told.

Plain successes are handled as sets of positions; only the rows of the few batches that were in flight,
and rows that have a record already, are looked at one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyroaring import BitMap

from pipeline.ledgers.packing import positions_set, unpack_keys, unpack_positions
from pipeline.ledgers.rows import insert
from pipeline.ledgers.run_folder import SQL
from pipeline.model import OpenRow, ResumePoint

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from pipeline.ledgers.rows import Values

_NOTHING = (None, None, None, None)  # cells, raw, ticket, call
_WHY_OPEN = "sent, and the process ended before the answer was written down"


def take_over(connection: sqlite3.Connection) -> ResumePoint:
    """Lose every claim and give the resume point; runs within the caller's transaction."""
    done = _done(connection)
    insert(connection, SQL["lost rows"], list(_lost(connection, done)))
    connection.execute(SQL["lose claims"])
    calls: dict[str, str] = {}  # one string a call, not one a ticket
    left = {
        position: OpenRow(sends, bool(in_doubt), ticket, calls.setdefault(call, call), batch)
        for position, sends, in_doubt, ticket, call, batch in connection.execute(SQL["open rows"])
    }
    return ResumePoint(done, left)


def _done(connection: sqlite3.Connection) -> BitMap:
    """Collect the positions that need no further send."""
    done = BitMap()
    for first, last, positions in connection.execute(SQL["plain positions"]):
        if positions is None:
            done.add_range(first, last + 1)
        else:
            done |= positions_set(first, last, positions)
    done -= BitMap(position for position, *_ in connection.execute(SQL["open rows"]))
    done |= BitMap(position for (position,) in connection.execute(SQL["final positions"]))
    return done


def _lost(connection: sqlite3.Connection, done: BitMap) -> Iterator[Values]:
    """Yield an open, in-doubt row for each item that a dead process had claimed."""
    for batch, sends, items, first, last, positions, keys in connection.execute(SQL["claimed batches"]):
        pairs = zip(
            unpack_positions(first, last, positions).tolist(),
            unpack_keys(keys, items).to_pylist(),
            strict=True,
        )
        for position, key in pairs:
            if position not in done:
                yield (position, key, None, "", _WHY_OPEN, sends + 1, batch, 1, *_NOTHING)
