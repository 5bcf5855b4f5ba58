"""When the next request may leave: the rate limit, and holds that the vendor asks for.

One Pace serves all workers, so a push-back holds them all. Time is the event loop's, never the wall's.
"""

from __future__ import annotations

import asyncio
import math

from aiolimiter import AsyncLimiter

from pipeline.errors import NoReply
from pipeline.model import Fault, FaultKind

_WINDOW_S = 1.0
_JITTER = 0.004  # of a second: what leaves evenly may arrive closer together, and the vendor counts arrivals
_SHUT = Fault(FaultKind.WITHDRAWN, "held", "nothing may leave just now", reached=False)
_STOPPING = Fault(FaultKind.WITHDRAWN, "stopping", "the run is stopping", reached=False)


class Pace:
    """Permission to send, at most `requests_per_second` (rounded up) in any window of one second.

    A limiter of capacity 1 that drains in 1/rate seconds spaces permissions evenly; one of capacity n
    would let 2n - 1 through in its first second. Where the spacing would be finer than a timer, a burst of
    a hundredth is allowed and taken off the rate at which it drains, so that the window still holds.
    """

    def __init__(self, requests_per_second: float) -> None:
        self.requests_per_second = requests_per_second
        self._limiter = _limiter(requests_per_second)
        self._learned_per_s: float | None = None
        self._next = self._held_until = self._permitted_at = -math.inf
        self._why = ""
        self._shut: dict[str, str] = {}
        self._closed = False
        self._waiting: set[asyncio.Timeout] = set()

    @property
    def allowed_per_s(self) -> float:
        """Requests per second that may leave just now: what the job allows or, if less, the vendor."""
        return min(self.requests_per_second, self._learned_per_s or math.inf)

    async def permit(self) -> float:
        """Wait until one request may leave; give the loop time of it.

        Raises NoReply (nothing sent) at a shut gate, and at the end.
        """
        while not self._closed:
            if self._shut:
                raise NoReply(_SHUT)
            try:
                async with asyncio.timeout(None) as wait:
                    self._waiting.add(wait)
                    try:
                        await self._turn()
                    finally:
                        self._waiting.discard(wait)
            except TimeoutError:
                continue  # closed, shut, or the rate is another one: look again
            return self._permitted_at
        raise NoReply(_STOPPING)

    async def permit_anew(self, given_at: float) -> None:
        """Permit now what was permitted at `given_at` and took its time since. Raises NoReply, as `permit`.

        At no more than one request in a window the last one permitted need not queue again: it would wait for
        longer than a call may take, or than a new connection is kept open for it.
        """
        is_last = self._permitted_at == given_at and self.allowed_per_s <= 1 / _WINDOW_S
        if not is_last or self._shut or self._closed or self.hold_left_s > 0:
            await self.permit()
            return
        self._limiter = _limiter(self.requests_per_second)
        await self._limiter.acquire()  # it is new: at once
        self._permitted_at = asyncio.get_running_loop().time()
        self._line_up_anew()

    @property
    def queue(self) -> int:
        """How many requests wait for their permission."""
        return len(self._waiting)

    @property
    def is_shut(self) -> bool:
        """True while a gate is shut."""
        return bool(self._shut)

    def is_shut_by(self, gate: str) -> bool:
        """Tell whether this gate is shut."""
        return gate in self._shut

    @property
    def hold_left_s(self) -> float:
        """For how many seconds a hold is yet to last; gates have no time of their own."""
        return max(0.0, self._held_until - asyncio.get_running_loop().time())

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        if self._learned_per_s is not None:
            at = max(loop.time(), self._next)
            self._next = at + 1 / self._learned_per_s
            await asyncio.sleep(at - loop.time())
        # The limiter comes last: whatever waited after it could catch up with its neighbours.
        await self._limiter.acquire()
        # A hold may begin while others wait for the limiter, or be prolonged while it lasts.
        while (wait_s := self._held_until - loop.time()) > 0:
            await asyncio.sleep(wait_s)
            await self._limiter.acquire()
        self._permitted_at = loop.time()

    def tune(self, requests_per_second: float) -> None:
        """Permit at another rate from now on.

        Nothing leaves within a second of the last one: so no window of a second holds permissions of both.
        """
        if requests_per_second == self.requests_per_second:
            return
        self.requests_per_second = requests_per_second
        self._limiter = _limiter(requests_per_second)
        wait_s = self._permitted_at + _WINDOW_S - asyncio.get_running_loop().time()
        if wait_s > 0:
            self.hold(wait_s, "the rate was changed")
        self._line_up_anew()

    def shut(self, gate: str, why: str) -> None:
        """Let nothing leave until this gate is opened, for the reason given; other gates stay as they are.

        Whoever waits for a permission is turned away: what is claimed should not wait out a night.
        """
        self._shut[gate] = why
        self._line_up_anew()

    def open(self, gate: str) -> None:
        """Open a gate; once none is shut, permissions are given again."""
        self._shut.pop(gate, None)

    def learn(self, requests_per_second: float | None) -> None:
        """Space permissions no closer than the vendor was found to allow; None: it never pushed back."""
        self._learned_per_s = requests_per_second

    def hold(self, seconds: float, why: str) -> None:
        """Let nothing leave for `seconds` from now; a longer hold in force stays."""
        until = asyncio.get_running_loop().time() + seconds
        if until > self._held_until:
            self._held_until, self._why = until, why

    def holding(self) -> str:
        """Say in words what holds the pace now, or nothing."""
        left_s = self.hold_left_s
        held = [f"{self._why}, {left_s:.0f} s left"] if left_s > 0 else []
        return "; ".join([*self._shut.values(), *held])

    def close(self) -> None:
        """Give no more permissions; whoever waits for one is turned away."""
        if self._closed:
            return
        self._closed = True
        self._line_up_anew()

    def _line_up_anew(self) -> None:
        while self._waiting:  # each once: a wait that is over already cannot be cut short
            self._waiting.pop().reschedule(asyncio.get_running_loop().time())
        if self._learned_per_s is not None:  # the turns that they had taken in advance are free again
            self._next = self._permitted_at + 1 / self._learned_per_s


def _limiter(requests_per_second: float) -> AsyncLimiter:
    burst = max(1, int(requests_per_second / 100))
    spaced_per_s = requests_per_second / (1 + _JITTER) + (1 - burst)  # the sum of a tiny rate is no 0
    return AsyncLimiter(burst, burst / spaced_per_s)
