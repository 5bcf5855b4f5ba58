"""Permission for one open request, for at most as many at once as the limit says just now."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Slots:
    """A gate for `limit` requests at once, first come, first served.

    A lower limit takes effect as slots are given back: nobody is thrown out.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """How many slots may be taken at once."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._admit()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot, as soon as one is free."""
        await self._enter()
        try:
            yield
        finally:
            self._leave()

    async def _enter(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            # Who is cancelled after it was admitted has a slot to give back all the same.
            if not turn.cancelled():
                self._leave()
            raise

    def _leave(self) -> None:
        self.taken -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.taken < self._limit:
            turn = self._waiting.popleft()
            if not turn.done():  # who was cancelled while waiting left its turn behind
                self.taken += 1
                turn.set_result(None)
