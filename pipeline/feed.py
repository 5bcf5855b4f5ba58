"""The bounded feed between the producer's thread and the event loop.

One portion is being used while the next one is being made, never more: a slow vendor slows the reading.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from concurrent.futures import Executor

    from pipeline.model import Batch, Portion


class Feed:
    """Hands out fresh batches one by one, to many takers.

    `absorb` is awaited with each portion before its batches are handed out (it records the rows that will
    never be sent). Reading happens in `executor`. Errors of the producer come out of `take`. `admit` says how
    many items of a batch, from its front, may be handed out now; the rest stays here for later. `taken`
    counts the items handed out.
    """

    def __init__(
        self,
        portions: Iterator[Portion],
        absorb: Callable[[Portion], Awaitable[None]],
        executor: Executor,
        admit: Callable[[Batch], int] = len,
    ) -> None:
        self._portions = portions
        self._absorb = absorb
        self._executor = executor
        self._admit = admit
        self._ready: deque[Batch] = deque()
        self._next: asyncio.Future[Portion | None] | None = None
        self._arrived: Portion | None = None
        self._turn = asyncio.Lock()
        self.exhausted = False
        self.taken = 0

    async def take(self, until: float = math.inf) -> Batch | None:
        """Give the next fresh batch, or None when the inventory has been read to its end.

        None also when nothing was read by `until`, in seconds of the event loop, or nothing is admitted.
        """
        while not self._ready and not self.exhausted:
            if until < math.inf and not await self._read_by(until):
                return None
            async with self._turn:
                if not self._ready and not self.exhausted:
                    await self._refill()
        return self._admitted() if self._ready else None

    def _admitted(self) -> Batch | None:
        batch = self._ready.popleft()
        count = self._admit(batch)
        if count < len(batch):
            self._ready.appendleft(replace(batch, items=batch.items.slice(count)))
            batch = replace(batch, items=batch.items.slice(0, count))
        self.taken += count
        return batch if count else None

    async def reach(self) -> None:
        """Read on until a batch is ready or the end is known; nothing is handed out."""
        while not self._ready and not self.exhausted:
            async with self._turn:
                if not self._ready and not self.exhausted:
                    await self._refill()

    async def close(self) -> None:
        """Wait for the reading under way, then let go of the files."""
        if self._next is not None:
            await asyncio.wait([self._next])
            self._next.exception()
        self.exhausted = True
        close = getattr(self._portions, "close", None)
        if close is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, close)

    async def _read_by(self, until: float) -> bool:
        """Wait for the reading under way, which nobody's turn may hold up; tell whether it came in time."""
        if self._arrived is None:
            self._next = self._next or self._read()
            patience_s = max(0.0, until - asyncio.get_running_loop().time())
            done, _ = await asyncio.wait([self._next], timeout=patience_s)
            return bool(done)
        return True

    async def _refill(self) -> None:
        """Take in one portion. A taker cancelled on the way loses nothing: the next one goes on there."""
        if self._arrived is None:
            self._next = self._next or self._read()
            try:
                self._arrived = await asyncio.shield(self._next)
            except asyncio.CancelledError:
                raise
            except Exception:
                self._next, self.exhausted = None, True
                raise
            if self._arrived is None:
                self._next, self.exhausted = None, True
                return
            self._next = self._read()
        await self._absorb(self._arrived)
        self._ready.extend(self._arrived.batches)
        self._arrived = None

    def _read(self) -> asyncio.Future[Portion | None]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._executor, next, self._portions, None)
