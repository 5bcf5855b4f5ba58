"""contracts.Http with a stop-watch: how long the vendor took, permission and queueing of ours left out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pipeline.wire import request_id_of, secrets_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.contracts import Http
    from pipeline.wire import Request, Response


class TimedHttp:
    """Times the last exchange of one send, in seconds, from the moment its request may leave.

    `opened` is told that moment of the first exchange; `sent` says whether it came. `request_id` names
    the last exchange in the words it was sent with, `answer_id` in the vendor's, where its answer has some.
    `secrets` are those that the requests bore in their headers: a vendor may say them back.
    """

    def __init__(self, http: Http, opened: Callable[[float], None]) -> None:
        self._http = http
        self._opened = opened
        self.sent = False
        self.round_trip_s = 0.0
        self.request_id = self.answer_id = ""
        self.secrets: tuple[str, ...] = ()

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
            request = make_request()
            self.request_id, self.answer_id = request_id_of(request.headers), ""
            self.secrets += secrets_in(request.headers)
            return request

        try:
            response = await self._http.exchange(stamped)
            self.answer_id = request_id_of(response.headers)
            return response
        finally:
            self.round_trip_s = loop.time() - began
