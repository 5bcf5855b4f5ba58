"""contracts.Http under observation: each request is told to whoever counts or traces them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from pipeline.errors import NoReply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.contracts import Http
    from pipeline.wire import Request, Response


class RequestObserver(Protocol):
    """Hears of every request; must not fail, and not take long."""

    def left(self, request: Request) -> object:
        """Note that a request leaves now; what is given back comes with its end."""
        ...

    def ended(self, token: object, outcome: str, seconds: float) -> None:
        """Note how it ended: an HTTP status ("200"), or the code of the Fault ("timeout")."""
        ...


class ObservedHttp:
    """Passes exchanges on and tells observers of those that left."""

    def __init__(self, http: Http, observers: Sequence[RequestObserver]) -> None:
        self._http, self._observers = http, observers

    @property
    def requests(self) -> int:
        """Count the requests of the run."""
        return self._http.requests

    async def exchange(self, make_request: Callable[[], Request]) -> Response:
        """Pass an exchange on. Raises what it raises."""
        tokens: list[object] = []
        began = time.perf_counter()

        def watched() -> Request:
            nonlocal began
            request = make_request()
            began = time.perf_counter()
            tokens[:] = [observer.left(request) for observer in self._observers]
            return request

        outcome = "cancelled"
        try:
            response = await self._http.exchange(watched)
            outcome = str(response.status)
        except NoReply as error:
            outcome = error.fault.code
            raise
        else:
            return response
        finally:
            seconds = time.perf_counter() - began
            for observer, token in zip(self._observers, tokens, strict=False):
                observer.ended(token, outcome, seconds)
