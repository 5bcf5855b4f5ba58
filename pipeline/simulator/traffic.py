"""What arrived: how many requests, how fast, how many at once, and which faults they met.

Knows no clock; the caller says what time it is.
"""

from __future__ import annotations

from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOW_S = 1.0


class SlidingWindow:
    """The events of the last second, the newest included, one exactly a second old not."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def count(self, now: float) -> int:
        """How many events lie in the second that ends now."""
        while self._times and self._times[0] <= now - WINDOW_S:
            self._times.popleft()
        return len(self._times)

    def add(self, now: float) -> None:
        """Record an event; a time before the newest one is taken as that one's."""
        self._times.append(max(now, self._times[-1]) if self._times else now)


class Traffic:
    """Counters over the whole life of a simulator; `own` are the vendor's, from 0."""

    def __init__(self, *own: str) -> None:
        self.own = dict.fromkeys(own, 0)
        self.requests = 0
        self.rejected_signatures = 0
        self.max_items = 0
        self.faults: Counter[str] = Counter()
        self._arrivals = SlidingWindow()
        self._peak_in_window = 0
        self._open = 0
        self._peak_open = 0

    def arrive(self, now: float) -> int:
        """Count a request to the vendor's API; returns its number, from 1."""
        self.requests += 1
        self._arrivals.add(now)
        self._peak_in_window = max(self._peak_in_window, self._arrivals.count(now))
        return self.requests

    @contextmanager
    def open_request(self) -> Iterator[None]:
        """Count a request as open while the block runs: also while it queues, hangs or is read."""
        self._open += 1
        self._peak_open = max(self._peak_open, self._open)
        try:
            yield
        finally:
            self._open -= 1

    def as_json(self) -> dict[str, object]:
        """Return what `GET /_simulator/requests` answers."""
        return {
            "requests": self.requests,
            "rejected_signatures": self.rejected_signatures,
            "faults": dict(self.faults),
            "max_items": self.max_items,
            "peak_requests_in_one_second": self._peak_in_window,
            "peak_concurrency": self._peak_open,
            **self.own,
        }
