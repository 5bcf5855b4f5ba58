"""Batches whose answer was lost, or had no trustworthy word on some items, and how those items ended."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.ledgers.packing import positions_set
from pipeline.ledgers.run_folder import SQL
from pipeline.model import Doubt, Doubts, Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from pyroaring import BitMap

_DIED = 3
_DIED_WORDS = ("process_ended", "the process ended before the answer was written down")


def doubts(most: int, connection: sqlite3.Connection) -> Doubts:
    """Give the first `most` of these batches one by one, and all of them in numbers."""
    found: dict[int, tuple[Doubt, BitMap]] = {}
    for batch, at, items, state, code, reason, *span in connection.execute(SQL["lost batches"], (most,)):
        words = _DIED_WORDS if state == _DIED and not code else (code, reason)
        found[batch] = Doubt(batch, at, items, words[0], words[1], {}), positions_set(*span)
    for batch, at, items, code, reason, *span in connection.execute(SQL["batches with open items"]):
        if batch in found:
            doubt, positions = found[batch]
            found[batch] = replace(doubt, items=doubt.items + items), positions | positions_set(*span)
        elif len(found) < 2 * most:  # of either kind there may be so many among the first
            found[batch] = Doubt(batch, at, items, code, reason, {}), positions_set(*span)
    first = [_ended(*found[batch], connection) for batch in sorted(found)[:most]]
    batches, items = (
        sum(counts)
        for counts in zip(
            *(connection.execute(SQL[name]).fetchone() for name in ("count lost", "count with open items")),
            strict=True,
        )
    )
    counted = dict(connection.execute(SQL["ends of doubts"]).fetchall())
    ((without_rows,),) = connection.execute(SQL["count lost without rows"])
    return Doubts(first, batches, items, _ends(counted.items()), counted.get(None, 0) + without_rows)


def _ended(doubt: Doubt, positions: BitMap, connection: sqlite3.Connection) -> Doubt:
    ended = _ends(connection.execute(SQL["ends of positions"], (json.dumps(list(positions)),)))
    return replace(doubt, ended=ended, open=len(positions) - sum(ended.values()))


def _ends(counted: Iterable[tuple[str | None, int]]) -> dict[Status, int]:
    """Give the counts by final status; what is still open has none, or no row at all."""
    return {Status(status): rows for status, rows in counted if status is not None}
