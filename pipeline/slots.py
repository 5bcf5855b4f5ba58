"""Permission for one open request, for at most as many at once as the limit says just now."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pipeline.errors import NoReply
from pipeline.model import Fault, FaultKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_STOPPING = Fault(FaultKind.WITHDRAWN, "stopping", "the run is stopping", reached=False)


class Slots:
    """A gate for `limit` requests at once, first come, first served.

    A lower limit takes effect as slots are given back: nobody is thrown out.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.taken = 0
        self._closed = False
        self._waiting: deque[asyncio.Future[bool]] = deque()

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
        """Hold a slot, as soon as one is free. Raises NoReply (nothing sent) once the gate is closed."""
        await self._enter()
        try:
            yield
        finally:
            self._leave()

    def close(self) -> None:
        """Admit nobody any more; whoever waits is turned away. Slots held stay held."""
        self._closed = True
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(False)

    async def _enter(self) -> None:
        if self._closed:
            raise NoReply(_STOPPING)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            admitted = await turn
        except asyncio.CancelledError:
            # Who is cancelled after it was admitted has a slot to give back all the same.
            if not turn.cancelled() and turn.result():
                self._leave()
            raise
        if not admitted:
            raise NoReply(_STOPPING)

    def _leave(self) -> None:
        self.taken -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.taken < self._limit:
            turn = self._waiting.popleft()
            if not turn.done():  # who was cancelled while waiting left its turn behind
                self.taken += 1
                turn.set_result(True)
