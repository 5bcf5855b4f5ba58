"""The way to the vendor: what http_client does, on connections that exist in virtual time only."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from world import EPOCH_S

from pipeline.errors import NoReply
from pipeline.model import Fault, FaultKind
from pipeline.simulator.exchange import Delivery
from pipeline.wire import Request, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from life import Life
    from vendor import VendorInProcess
    from world import Sent, World

    from pipeline.pace import Pace
    from pipeline.settings import Limits
    from pipeline.simulator.exchange import Plan as Judgement, Response as VendorsResponse

#: The points at which a life may end, before and behind the vendor.
_POINTS = {
    "send": ("sent", "answered"),
    "poll": ("asked", "told"),
    "login": ("login-sent", "login-answered"),
}
_TURNED_AWAY = 401


class SimulatedHttp:
    """contracts.Http to a VendorInProcess."""

    def __init__(self, vendor: VendorInProcess, world: World, life: Life, pace: Pace, limits: Limits) -> None:
        self._vendor, self._world, self._life = vendor, world, life
        self._pace, self._limits = pace, limits
        self._journal = life.journal
        self._in_flight = 0
        self.requests = 0

    async def exchange(self, make_request: Callable[[], Request]) -> Response:
        """Send one request when the pace permits. Raises NoReply."""
        await self._pace.permit()
        await self._life.point("permit")
        request = make_request()
        self._in_flight += 1
        try:
            return await self._send(request)
        finally:
            self._in_flight -= 1

    async def _send(self, request: Request) -> Response:
        life, vendor, loop = self._life, self._vendor, asyncio.get_running_loop()
        began = loop.time()
        stand = life.snapshot()
        self._journal.permitted(
            life.record,
            began,
            in_flight=self._in_flight,
            waiting=stand.waiting,
            open_tickets=stand.open_tickets,
        )
        away = vendor.away(began)
        if away is not None and away.manner != "silent":
            self._journal.seen[f"fault away {away.manner}"] += 1
            await asyncio.sleep(vendor.way_s)
            raise NoReply(Fault(FaultKind.NOT_CARRIED_OUT, "connect", "no connection", reached=False))
        self.requests += 1
        sent = self._world.read(request)
        self._journal.left(life.record, sent)
        self._journal.say(began, str(sent))
        arrived: asyncio.Future[tuple[VendorsResponse | None, Judgement | None]] = loop.create_future()
        vendor.submit(began, request, partial(_hand_over, life, arrived))
        left, answered = _POINTS[sent.call]
        await life.point(left)
        try:
            async with asyncio.timeout(self._limits.reply_timeout_s):
                reply, judgement = await arrived
        except TimeoutError:
            self._journal.say(loop.time(), f"no answer to {sent}")
            raise NoReply(Fault(FaultKind.LOST, "timeout", "no complete answer in time")) from None
        await life.point(answered)
        return self._received(reply, judgement, sent, loop.time())

    def _received(
        self, reply: VendorsResponse | None, judgement: Judgement | None, sent: Sent, now: float
    ) -> Response:
        faults = [hit.kind for hit in judgement.hits] if judgement else []
        self._journal.say(now, f"answer to {sent}: {reply and (reply.status, reply.delivery.name)} {faults}")
        if reply is None or judgement is None or reply.delivery is Delivery.NONE:
            raise NoReply(Fault(FaultKind.LOST, "connection_lost", "the connection broke before the answer"))
        if reply.delivery is Delivery.HALF:
            raise NoReply(Fault(FaultKind.LOST, "reply_cut_off", "the reply broke off"))
        headers = {name.lower(): value for name, value in reply.headers.items()}
        headers["content-type"] = reply.content_type
        record = self._life.record
        if headers.get("retry-after", "").isdigit() and reply.status in (429, 503):
            wish_s = float(headers["retry-after"])
            self._journal.asked_for_peace(record, now, 2 * self._life.disk_s + 1e-5, wish_s)
        if reply.status == _TURNED_AWAY:
            self._journal.turned_away(record, sent)
        self._journal.told(record, self._world.told(sent, reply, judgement))
        return Response(reply.status, headers, reply.body, EPOCH_S + now)


def _hand_over(life: Life, arrived: asyncio.Future[Any], *reply: Any) -> None:
    if not life.dead and not arrived.done():
        arrived.set_result(reply)


def connecting(vendor: VendorInProcess, world: World, life: Life) -> Any:
    """Give the `connect` of an Import."""

    @asynccontextmanager
    async def connect(_base_url: str, pace: Pace, limits: Limits) -> AsyncIterator[SimulatedHttp]:
        yield SimulatedHttp(vendor, world, life, pace, limits)

    return connect
