"""What a worker is to do next: questions in turn with sends, the backlog before what is fresh.

One for all workers, who wait here while there is nothing to do, or nothing may leave.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from pipeline.errors import InventoryError
from pipeline.model import Again, Batch
from pipeline.open_tickets import Question

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.backlog import Backlog
    from pipeline.batch_size import BatchSize
    from pipeline.feed import Feed
    from pipeline.guards import Guards
    from pipeline.open_tickets import OpenTickets
    from pipeline.pace import Pace

log = structlog.get_logger(__name__)


class NextWork:
    """Chooses among feed, backlog and open tickets; `broke_off` says why the inventory ended too soon."""

    def __init__(
        self,
        *,
        feed: Feed,
        backlog: Backlog,
        tickets: OpenTickets,
        guards: Guards,
        pace: Pace,
        size: BatchSize,
    ) -> None:
        self._feed, self._backlog, self._tickets = feed, backlog, tickets
        self._guards, self._pace, self._size = guards, pace, size
        self._changed = asyncio.Event()
        self._asked_last = self._closed = False
        self._asking = self._busy = 0
        self.broke_off = ""

    async def take(self) -> Batch | Question | None:
        """Give what to do next; None when all is done, or closed."""
        loop = asyncio.get_running_loop()
        while not self._closed:
            if self._pace.is_shut and not self._done:
                await self._reach()
                if self._pace.is_shut and not self._done:
                    await self._change(math.inf)
                continue
            now = loop.time()
            full = self._backlog.full or self._tickets.full
            eager = self._feed.exhausted or full or self._guards.waiting
            work: Batch | Question | None = None if self._asked_last else self._tickets.take(now)
            work = work or self._backlog.take(now, eager=eager)
            if work is None and not eager:
                work = self._cut_to_size(await self._fresh())
            work = work or self._tickets.take(loop.time())
            if isinstance(work, Batch) and work.promise is not None:
                self._tickets.take_up(work, work.promise, loop.time())
                continue
            if work is not None and not self._closed:
                self._asked_last = isinstance(work, Question)
                return work
            if self._done:
                self.pulse()
                return None
            if eager:
                await self._change(min(self._backlog.next_ready(), self._tickets.next_due()))
        return None

    @property
    def _done(self) -> bool:
        left = self._backlog.items or self._tickets.items or self._busy
        return self._feed.exhausted and not left

    async def _reach(self) -> None:
        """Read on though nothing may leave: to learn that nothing is left must not wait for a gate."""
        try:
            await self._feed.reach()
        except InventoryError as error:
            self._breaks_off(error)

    def _breaks_off(self, error: InventoryError) -> None:
        # What was read before is whole: it is sent to its end, and only then the run stops.
        self.broke_off = str(error)
        log.warning("the inventory breaks off", reason=self.broke_off)

    async def _fresh(self) -> Batch | None:
        """Give a fresh batch, unless there is a question to ask before one has been read."""
        try:
            return await self._feed.take(until=self._tickets.next_due())
        except InventoryError as error:
            self._breaks_off(error)
            return None

    def _cut_to_size(self, batch: Batch | None) -> Batch | None:
        """Send no more at once than the vendor takes; the rest goes out as batches of its own."""
        bound = self._size.bound
        if batch is None or batch.promise is not None or len(batch) <= bound:
            return batch
        rest = Again(
            tuple(range(bound, len(batch))),
            wait_s=0.0,
            in_doubt=batch.in_doubt,
            sends=batch.sends,
            tries=batch.tries,
        )
        self._backlog.add(batch, rest, asyncio.get_running_loop().time(), recorded=batch.recorded)
        return replace(batch, items=batch.items.slice(0, bound))

    @contextmanager
    def under_way(self, work: Batch | Question) -> Iterator[None]:
        """Count a piece of work as long as it lasts: what becomes of it may be work again."""
        asks = isinstance(work, Question)
        self._busy, self._asking = self._busy + 1, self._asking + asks
        try:
            yield
        finally:
            self._busy, self._asking = self._busy - 1, self._asking - asks
            self.pulse()

    async def is_read_out(self) -> bool:
        """Tell whether nothing fresh is left."""
        return await self._fresh() is None

    def close(self) -> None:
        """Give nothing more."""
        self._closed = True
        self.pulse()

    def pulse(self) -> None:
        """Let the workers look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def only_waits(self) -> str:
        """Say in words that nothing is left but to wait for the vendor, or nothing."""
        sending = self._backlog.items or self._busy > self._asking
        if not (self._feed.exhausted and self._tickets.items) or sending:
            return ""
        wait_s = self._tickets.next_due() - asyncio.get_running_loop().time()
        when = "asking" if self._asking or wait_s <= 0 else f"next question in {wait_s:.0f} s"
        return f"only waiting for the vendor to finish {self._tickets.items:,} rows, {when}"

    async def _change(self, until: float) -> None:
        """Sleep until something may have changed, or until the given loop time."""
        try:
            async with asyncio.timeout_at(None if math.isinf(until) else until):
                await self._changed.wait()
        except TimeoutError:
            return
