"""Items that go out again: waiting for their time, then gathered, like with like, into new batches.

Bounded: when it is full the worker pool reads nothing new until it has drained.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import defaultdict
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.model import Batch

if TYPE_CHECKING:
    from pipeline.model import Again

GATHER_S = 30.0  # how long a ready item waits for company while there is fresh work to do


class History(NamedTuple):
    """What items must have in common to travel together."""

    sends: int
    tries: int
    in_doubt: bool
    most_items: int
    recorded: bool
    forgotten: bool


@dataclass(slots=True)
class _Piece:
    ready_at: float
    items: pa.RecordBatch


class Backlog:
    """The shared retry backlog. Times are the event loop's seconds."""

    def __init__(self, *, batch_items: int, batch_bytes: int, most_items: int) -> None:
        self.batch_items, self._batch_bytes = batch_items, batch_bytes
        self._most_items = most_items
        self._pieces: defaultdict[History, list[_Piece]] = defaultdict(list)
        self.items = 0

    @property
    def full(self) -> bool:
        """True when nothing new may be read until this has drained."""
        return self.items >= self._most_items

    def add(self, batch: Batch, again: Again, now: float, *, recorded: bool) -> None:
        """Take in the items of `batch` that go out again. They are copied, so the rest of it can be freed.

        `recorded` says that they have rows of their own in the ledger.
        """
        items = batch.items.take(pa.array(again.indices, pa.int64()))
        history = History(
            again.sends, again.tries, again.in_doubt, again.most_items, recorded, again.forgotten
        )
        insort(self._pieces[history], _Piece(now + again.wait_s, items), key=_ready_at)
        self.items += items.num_rows

    def take(self, now: float, *, eager: bool) -> Batch | None:
        """Give a batch whose items' time has come, the one waiting longest first.

        Not `eager`, a batch that is not full waits up to GATHER_S for company.
        """
        ripe = [
            (pieces[0].ready_at, history)
            for history, pieces in self._pieces.items()
            if self._is_ripe(history, pieces, now, eager=eager)
        ]
        return self._gather(min(ripe)[1], now) if ripe else None

    def next_ready(self) -> float:
        """Give the time at which the next item becomes ready; infinity when there is none."""
        return min((pieces[0].ready_at for pieces in self._pieces.values()), default=math.inf)

    def _is_ripe(self, history: History, pieces: list[_Piece], now: float, *, eager: bool) -> bool:
        if pieces[0].ready_at > now:
            return False
        if eager or pieces[0].ready_at + GATHER_S <= now:
            return True
        missing = self._bound(history)
        for piece in takewhile(lambda piece: piece.ready_at <= now, pieces):
            missing -= piece.items.num_rows
            if missing <= 0:
                return True
        return False

    def _bound(self, history: History) -> int:
        return min(history.most_items or self.batch_items, self.batch_items)

    def _gather(self, history: History, now: float) -> Batch:
        """Fill one batch with ready items, first come first served; what does not fit stays in front."""
        pieces = self._pieces[history]
        room, room_bytes = self._bound(history), self._batch_bytes
        chosen: list[pa.RecordBatch] = []
        used = 0
        for piece in takewhile(lambda piece: piece.ready_at <= now, pieces):
            count = _fitting(piece.items, room, room_bytes, first=not chosen)
            if count:
                part = piece.items.slice(0, count)
                chosen.append(part)
                room -= count
                room_bytes -= _payload_bytes(part)
            if count < piece.items.num_rows:
                piece.items = piece.items.slice(count)
                break
            used += 1
        del pieces[:used]
        if not pieces:
            del self._pieces[history]
        items = in_order(pa.concat_batches(chosen))
        self.items -= items.num_rows
        return Batch(items, 0, *history)


def _ready_at(piece: _Piece) -> float:
    return piece.ready_at


def in_order(items: pa.RecordBatch) -> pa.RecordBatch:
    """Sort items by position, as the ledger expects a batch."""
    positions = np.asarray(items.column("position"))
    return (
        items if bool(np.all(positions[1:] > positions[:-1])) else items.take(pa.array(np.argsort(positions)))
    )


def _payload_bytes(items: pa.RecordBatch) -> int:
    return len(Batch(items).payload())


def _fitting(items: pa.RecordBatch, room: int, room_bytes: int, *, first: bool) -> int:
    """Count how many items from the front fit; at least one when the batch is still empty."""
    count = min(room, int(items.num_rows))
    while count > 1 and _payload_bytes(items.slice(0, count)) > room_bytes:
        count //= 2
    if count == 1 and not first and _payload_bytes(items.slice(0, 1)) > room_bytes:
        return 0
    return count
