"""Everything fails in a passing way: wait, and ask with one batch at a time until the vendor is back.

While it is open no attempts are used up; when as many probes as a batch has attempts have failed in a row,
the vendor stays away, and the run stops with its rows unsent.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from pipeline.retry import backoff_s

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

    from pipeline.settings import Retry

TRIPS_AFTER = 5  # passing faults in a row, with nothing answered in between; fewer where attempts are fewer


class Breaker:
    """One for all workers. Times are the event loop's."""

    def __init__(self, policy: Retry, rng: random.Random) -> None:
        self._policy, self._rng = policy, rng
        self._trips_after = min(TRIPS_AFTER, policy.attempts)
        self._faults = self._failed_probes = 0
        self._probe_at = 0.0
        self._probing = asyncio.Lock()
        self._closed = asyncio.Event()

    @property
    def open(self) -> bool:
        """True while the vendor is taken to be away."""
        return self._faults >= self._trips_after

    @property
    def exhausted(self) -> bool:
        """True when as many probes as a batch has attempts have failed in a row."""
        return self._failed_probes >= self._policy.attempts

    def holding(self) -> str:
        """Say in words that the vendor is taken to be away, or nothing."""
        if not self.open:
            return ""
        left_s = max(0.0, self._probe_at - asyncio.get_running_loop().time())
        return f"the vendor carries nothing out; it is asked with one batch at a time, next in {left_s:.0f} s"

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """Pass at once while closed; while open, wait to be the one that probes. Yields whether it is."""
        if self.open:
            async with self._probing:
                await self._wait()
                if self.open:
                    yield True
                    return
        yield False

    def fault(self, retry_after_s: float | None, *, probe: bool) -> None:
        """Note a passing fault; what was in flight when the breaker opened is no probe."""
        self._faults += 1
        if not self.open:
            return
        self._failed_probes += probe
        if probe or self._faults == self._trips_after:
            chance = self._rng.uniform(0.5, 1.0)  # never at once: the vendor is away
            wait_s = max(backoff_s(self._policy, self._failed_probes, chance), retry_after_s or 0.0)
            self._probe_at = asyncio.get_running_loop().time() + wait_s
            self._closed.clear()

    def close(self) -> None:
        """Let all go on: the vendor answered, or the run stops."""
        self._faults = self._failed_probes = 0
        self._closed.set()

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._probe_at):
                if self.open:
                    await self._closed.wait()
