"""contracts.Http with a stop-watch: how long the vendor took, permission and queueing of ours left out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.contracts import Http
    from pipeline.wire import Request, Response


class TimedHttp:
    """Times the last exchange of one send, in seconds, from the moment its request may leave.

    `opened` is told that moment of the first exchange; `sent` says whether it came.
    """

    def __init__(self, http: Http, opened: Callable[[float], None]) -> None:
        self._http = http
        self._opened = opened
        self.sent = False
        self.round_trip_s = 0.0

    @property
    def requests(self) -> int:
        """Count the requests of the run."""
        return self._http.requests

    async def exchange(self, make_request: Callable[[], Request]) -> Response:
        """Pass an exchange on. Raises what it raises."""
        loop = asyncio.get_running_loop()
        began = loop.time()

        def stamped() -> Request:
            nonlocal began
            began = loop.time()
            if not self.sent:
                self.sent = True
                self._opened(began)
            return make_request()

        try:
            return await self._http.exchange(stamped)
        finally:
            self.round_trip_s = loop.time() - began
