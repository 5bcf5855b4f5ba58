"""Observers hear of each request that leaves, once, and of how it ended; never at the exchange's cost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pipeline.errors import NoReply
from pipeline.model import Fault, FaultKind
from pipeline.observed_http import ObservedHttp
from pipeline.wire import Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST = Request("POST", "/v1/profile", {"Authorization": "Bearer x"}, b"secret")


class Ear:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def left(self, request: Request) -> object:
        self.heard.append(("left", request.method))
        return len(self.heard)

    def ended(self, token: object, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.heard.append(("ended", token, outcome))


class Wire:
    """An Http that answers, faults or waits for ever."""

    def __init__(self, end: Response | NoReply | None) -> None:
        self.requests = 7
        self._end = end

    async def exchange(self, make_request: Callable[[], Request]) -> Response:
        make_request()
        if self._end is None:
            await asyncio.Event().wait()
        if isinstance(self._end, Response):
            return self._end
        raise self._end or AssertionError


def observed(end: Response | NoReply | None, *ears: Ear) -> ObservedHttp:
    return ObservedHttp(Wire(end), ears)


async def test_each_observer_hears_of_the_request_and_of_the_status_it_ended_with() -> None:
    one, other, answer = Ear(), Ear(), Response(503, {}, b"")
    http = observed(answer, one, other)
    assert await http.exchange(lambda: REQUEST) is answer
    assert one.heard == other.heard == [("left", "POST"), ("ended", 1, "503")]
    assert http.requests == 7


async def test_a_request_without_an_answer_ends_with_the_code_of_its_fault() -> None:
    ear = Ear()
    with pytest.raises(NoReply):
        await observed(NoReply(Fault(FaultKind.LOST, "timeout", "late")), ear).exchange(lambda: REQUEST)
    assert ear.heard[-1] == ("ended", 1, "timeout")


async def test_a_request_that_is_given_up_ends_as_cancelled() -> None:
    ear = Ear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await observed(None, ear).exchange(lambda: REQUEST)
    assert ear.heard == [("left", "POST"), ("ended", 1, "cancelled")]


async def test_what_could_not_be_made_never_left() -> None:
    ear = Ear()

    def fail() -> Request:
        raise ValueError("no signature")

    with pytest.raises(ValueError, match="no signature"):
        await observed(Response(200, {}, b""), ear).exchange(fail)
    assert ear.heard == []
