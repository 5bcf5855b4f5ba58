"""What a vendor's logic and the thing that drives it say to each other, and the faults any vendor can have.

The driver is the real server, or a simulation with its own clock: handle(), wait, carry_out(), deliver.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.simulator.fault_kinds import Cut, CutInReply, Empty, Ending, Hang, Html, Status, TruncatedJson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.simulator.fault_kinds import AnyFault
    from pipeline.simulator.faults import Faults
    from pipeline.simulator.store import Store
    from pipeline.simulator.traffic import Traffic

JSON = "application/json;charset=UTF-8"
HTML = "text/html;charset=UTF-8"
PAGE = b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body>We will be back.</body></html>"


class Delivery(Enum):
    """How much of a response reaches the client."""

    WHOLE = "whole"
    HALF = "half of the body, then the connection is closed"
    NONE = "the connection is closed without a byte"


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response and its fate: delivered after `hold_s` seconds, wholly or not."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: Delivery = Delivery.WHOLE
    hold_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What will become of one request; nothing is stored yet.

    `refusal` is the response when the request is not carried out at all. Otherwise `items` are to be
    stored, `wait_s` seconds from now, under the faults that hit this request.
    """

    now: float
    wait_s: float = 0.0
    refusal: Response | None = None
    items: tuple[dict[str, Any], ...] = ()
    hits: tuple[AnyFault, ...] = ()
    number: int = 0

    @property
    def ending(self) -> Ending | None:
        """The first fault that stands in the way of the reply."""
        return next((fault for fault in self.hits if isinstance(fault, Ending)), None)


class Vendor(Protocol):
    """One vendor's platform, without network and without clock. Not reentrant; one thread."""

    name: str
    store: Store
    traffic: Traffic
    faults: Faults

    def handle(
        self, now: float, headers: Mapping[str, str], body: bytes, *, method: str = ..., path: str = ...
    ) -> Plan:
        """Judge a request that arrived at `now` (seconds since 1970). Stores nothing."""

    def carry_out(self, plan: Plan) -> Response:
        """Store what is to be stored, durable on return, and say what the client gets. Once for a plan."""


def retry_after(now: float, wait_s: float | None, *, as_date: bool) -> dict[str, str]:
    """Return the Retry-After header, rounded up to seconds, or no header without a wait."""
    if wait_s is None:
        return {}
    return {
        "Retry-After": formatdate(math.ceil(now + wait_s), usegmt=True) if as_date else f"{math.ceil(wait_s)}"
    }


def disturbed(fault: Ending, reply: Response, now: float) -> Response:
    """Return what the fault leaves of the reply; an ending that only one vendor knows leaves it whole."""
    match fault:
        case Status(status=status, retry_after_s=wait_s, retry_after_date=as_date):
            return Response(status, PAGE, HTML, retry_after(now, wait_s, as_date=as_date))
        case Cut():
            return replace(reply, delivery=Delivery.NONE)
        case CutInReply():
            return replace(reply, delivery=Delivery.HALF)
        case Hang(seconds=hold_s):
            return replace(reply, delivery=Delivery.NONE, hold_s=hold_s)
        case Html():
            return Response(200, PAGE, HTML)
        case Empty():
            return replace(reply, body=b"")
        case TruncatedJson():
            return replace(reply, body=reply.body[: len(reply.body) // 2])
    return reply
