"""Every send of an item: what was said of those that were sent again is written down and read back.

A batch keeps what was said of it as a whole; what was said of items stands apart, once for all of them.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.ledgers.packing import pack_positions, positions_set
from pipeline.ledgers.rows import text
from pipeline.ledgers.run_folder import SQL
from pipeline.model import Attempt

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from pipeline.model import Fault, Setback

_SETBACKS_PER_STATEMENT = 500
_ENDS = ("under_way", "answered", "void", "died")  # by state of the batch


def told(request_id: str, fault: Fault | None) -> tuple[str, str, str, str]:
    """Give what the batch keeps of its call: request id, kind of fault, code, reason."""
    if fault is None:
        return text(request_id), "", "", ""
    return text(request_id), str(fault.kind), text(fault.code), text(fault.reason)


def set_back(batch: int, setbacks: Sequence[Setback], connection: sqlite3.Connection) -> None:
    """Write down what was said of items that are sent again; many in one statement, see rows."""
    for start in range(0, len(setbacks), _SETBACKS_PER_STATEMENT):
        part = [_values(batch, setback) for setback in setbacks[start : start + _SETBACKS_PER_STATEMENT]]
        places = ",".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * len(part))
        connection.execute(SQL["write setbacks"].format(rows=places), list(chain.from_iterable(part)))


def _values(batch: int, setback: Setback) -> tuple[Any, ...]:
    positions = np.sort(np.asarray(setback.positions, np.int64))
    span = int(positions[0]), int(positions[-1])
    words = str(setback.ruling), text(setback.code), text(setback.reason)
    return batch, *span, len(positions), pack_positions(positions), *words


def attempts(position: int, connection: sqlite3.Connection) -> list[Attempt]:
    """Give every send of the item at a position, in the order of the sends."""
    found = []
    for first, last, positions, state, *facts in connection.execute(SQL["attempts"], (position, position)):
        if position not in positions_set(first, last, positions):
            continue
        batch, at, items, request_id, ended_at, completed_at, fault, code, reason = facts
        words = fault or _ENDS[state], code, reason
        for *span, ruling, item_code, item_reason in connection.execute(
            SQL["setbacks"], (batch, position, position)
        ):
            if position in positions_set(*span):
                words = ruling, item_code, item_reason
        found.append(Attempt(batch, at, items, *words, request_id, ended_at, completed_at))
    return found
