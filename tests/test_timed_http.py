"""The name of a call: the vendor's where it gives one, else the one it was sent with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.errors import NoReply
from pipeline.model import Fault, FaultKind
from pipeline.timed_http import TimedHttp
from pipeline.wire import Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable

LOST = Fault(FaultKind.LOST, "timeout", "no answer")


class Vendor:
    """Answers each exchange with the next of these headers; None: not at all."""

    requests = 0

    def __init__(self, *answers: dict[str, str] | None) -> None:
        self._answers = list(answers)

    async def exchange(self, make_request: Callable[[], Request]) -> Response:
        make_request()
        headers = self._answers.pop(0)
        if headers is None:
            raise NoReply(LOST)
        return Response(200, headers, b"")


def request() -> Request:
    return Request("POST", "/", {"RT-RequestID": "ours"})


@pytest.mark.parametrize(
    ("answer", "name"), [({"x-request-id": "theirs"}, "theirs"), ({"date": "today"}, "")]
)
async def test_a_call_bears_our_name_and_the_vendors_where_it_gives_one(
    answer: dict[str, str], name: str
) -> None:
    timed = TimedHttp(Vendor(answer), lambda _: None)
    await timed.exchange(request)
    assert (timed.request_id, timed.answer_id) == ("ours", name)


async def test_a_call_without_an_answer_bears_our_name() -> None:
    timed = TimedHttp(Vendor({"request-id": "of-the-login"}, None), lambda _: None)
    await timed.exchange(lambda: Request("POST", "/login"))
    assert timed.answer_id == "of-the-login"
    with pytest.raises(NoReply):
        await timed.exchange(request)
    assert (timed.request_id, timed.answer_id) == ("ours", "")


async def test_what_the_requests_bore_to_be_known_by_is_kept_as_secrets() -> None:
    http = TimedHttp(Vendor({}, {}), lambda _: None)
    headers = {
        "Authorization": "Bearer abc",
        "RT-Signature": "7EB7",
        "Content-Type": "text/plain",
        "X-Key": "",
    }
    await http.exchange(lambda: Request("GET", "/", headers))
    await http.exchange(lambda: Request("GET", "/", {"authorization": "Bearer def"}))
    assert http.secrets == ("abc", "7EB7", "def")
