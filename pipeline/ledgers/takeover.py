"""Taking over: what a dead process left claimed becomes open and in doubt, and what is left to do is told.

Plain successes are handled as sets of positions; only the rows of the few batches that were in flight,
and rows that have a record already, are looked at one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyroaring import BitMap

from pipeline.ledgers.packing import positions_set, unpack_keys, unpack_positions
from pipeline.ledgers.rows import insert
from pipeline.ledgers.run_folder import SQL
from pipeline.model import OpenRow, ResumePoint

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator


_NOTHING = (None, None, None, None)  # cells, raw, ticket, call
_WHY_OPEN = "sent, and the process ended before the answer was written down"
_WHY_IN_DOUBT = "sent, and the answer was lost"


def take_over(connection: sqlite3.Connection) -> ResumePoint:
    """Lose every claim and give the resume point; runs within the caller's transaction."""
    waiting = BitMap(position for position, *_ in connection.execute(SQL["open rows"]))
    done = _done(connection, waiting)
    lost = {values[0]: values for values in _lost(connection, done, waiting)}  # the last claim's word holds
    if lost:
        insert(connection, SQL["lost rows"], list(zip(*lost.values(), strict=True)))
    connection.execute(SQL["lose claims"])
    calls: dict[str, str] = {}  # one string a call, not one a ticket
    left = {
        position: OpenRow(sends, bool(in_doubt), ticket, calls.setdefault(call, call), batch)
        for position, sends, in_doubt, ticket, call, batch in connection.execute(SQL["open rows"])
    }
    return ResumePoint(done, left)


def _done(connection: sqlite3.Connection, waiting: BitMap) -> BitMap:
    """Collect the positions that need no further send."""
    done = BitMap()
    for first, last, positions in connection.execute(SQL["plain positions"]):
        if positions is None:
            done.add_range(first, last + 1)
        else:
            done |= positions_set(first, last, positions)
    done -= waiting
    done |= BitMap(position for (position,) in connection.execute(SQL["final positions"]))
    return done


def _lost(connection: sqlite3.Connection, done: BitMap, waiting: BitMap) -> Iterator[tuple[Any, ...]]:
    """Yield an open, in-doubt row for each item that a dead process had claimed, or had no answer for."""
    known = done | waiting
    for batch, sends, items, first, last, positions, keys, lost in connection.execute(SQL["claimed batches"]):
        spoken_of, why = (known, _WHY_IN_DOUBT) if lost else (done, _WHY_OPEN)
        if positions_set(first, last, positions) <= spoken_of:
            continue
        pairs = zip(
            unpack_positions(first, last, positions).tolist(),
            unpack_keys(keys, items).to_pylist(),
            strict=True,
        )
        for position, key in pairs:
            if position not in spoken_of:
                yield (position, key, None, "", why, sends + 1, batch, 1, *_NOTHING)
