"""What a call tells is told without the secrets that it bore, whoever's target made the words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from ledger_making import batch_of
from structlog.testing import capture_logs

from pipeline.calls import send
from pipeline.errors import NoReply
from pipeline.logs import Redactor
from pipeline.model import Answer, Fault, FaultKind, Reply, Ruling, Verdict, Verdicts
from pipeline.timed_http import TimedHttp
from pipeline.wire import Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.contracts import Http, Target
    from pipeline.model import Batch

CODE, TOKEN = "acc3ss-c0de", "t0ken-of-today"
SAID = f"no: {CODE.upper()}, {TOKEN}"


class Vendor:
    """An Http that says nothing."""

    requests = 0

    async def exchange(self, make_request: Callable[[], Request]) -> Response:
        make_request()
        return Response(200, {}, b"")


class Says:
    """A target that says what it is told to, or raises it."""

    def __init__(self, said: Reply | Fault | NoReply) -> None:
        self._said = said

    async def send(self, _batch: Batch, http: Http) -> Reply | Fault:
        await http.exchange(lambda: Request("POST", "/", {"Authorization": f"Bearer {TOKEN}"}))
        if isinstance(self._said, NoReply):
            raise self._said
        return self._said


async def outcome(said: Reply | Fault | NoReply, items: int = 2) -> Any:
    timed = TimedHttp(Vendor(), lambda _: None)
    batch = batch_of(range(1, items + 1))
    return await send(cast("Target", Says(said)), batch, timed, Redactor([CODE]).hidden)


@pytest.mark.parametrize("raised", [False, True])
async def test_a_fault_is_told_without_them(*, raised: bool) -> None:
    fault = Fault(FaultKind.STOP, f"x_{TOKEN}", SAID)
    found = await outcome(NoReply(fault) if raised else fault)
    assert found == Fault(FaultKind.STOP, "x_***", "no: ***, ***")


async def test_verdicts_are_told_without_them() -> None:
    answer = Answer(Verdict(Ruling.REFUSED, CODE, SAID))
    found = await outcome(Reply([answer, answer]))
    hidden = Verdict(Ruling.REFUSED, "***", "no: ***, ***")
    assert found == Verdicts(2, {0: hidden, 1: hidden})


async def test_a_ticket_that_is_our_own_token_is_none() -> None:
    answers = [Answer(Verdict(Ruling.PROMISED, ticket=ticket)) for ticket in (TOKEN, "4711")]
    found = await outcome(Reply(answers, call=f"call-{TOKEN}"))
    assert found.exceptions[0].code == "ticket_strange"
    assert found.exceptions[0].ruling is Ruling.OPEN
    assert found.exceptions[1] == Verdict(Ruling.PROMISED, ticket="4711")
    assert found.call == ""


async def test_what_never_left_is_no_warning_and_is_not_said_to_have_no_answer() -> None:
    with capture_logs() as said:
        await outcome(NoReply(Fault(FaultKind.WITHDRAWN, "held", "nothing may leave", reached=False)))
        await outcome(Fault(FaultKind.LOST, "timeout", "no complete answer"))
    assert [(line["event"], line["log_level"]) for line in said] == [
        ("not sent", "info"),
        ("no answer for the items", "warning"),
    ]
