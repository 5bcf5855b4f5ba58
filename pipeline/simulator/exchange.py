"""What a vendor's logic and the thing that drives it say to each other, and the faults any vendor can have.

The driver is the real server, or a simulation with its own clock: handle(), wait, carry_out(), deliver.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.simulator.fault_kinds import Cut, CutInReply, Empty, Ending, Hang, Html, Status, TruncatedJson
from pipeline.simulator.traffic import SlidingWindow

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from pipeline.simulator.fault_kinds import Call, Fault, RateLimit
    from pipeline.simulator.faults import FaultsFile
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
    stored, or `asked_id` is to be looked up, `wait_s` seconds from now, under the faults that hit this
    request. A driver that let it wait longer says so by replacing `wait_s`.
    """

    now: float
    wait_s: float = 0.0
    refusal: Response | None = None
    items: tuple[dict[str, Any], ...] = ()
    hits: tuple[Fault, ...] = ()
    number: int = 0
    call: Call = "send"
    asked_id: str = ""

    @property
    def due_at(self) -> float:
        """The time at which it is carried out."""
        return self.now + self.wait_s

    @property
    def ending(self) -> Ending | None:
        """The first fault that stands in the way of the reply."""
        return next((fault for fault in self.hits if isinstance(fault, Ending)), None)


class Books(Protocol):
    """What a vendor keeps on disk."""

    def close(self) -> None:
        """Close the file; a temporary one is gone then."""


class Vendor(Protocol):
    """One vendor's platform, without network and without clock. Not reentrant; one thread."""

    name: str
    traffic: Traffic

    @property
    def store(self) -> Books:
        """The vendor's own database."""

    @property
    def faults(self) -> FaultsFile:
        """What goes wrong."""

    def handle(
        self, now: float, headers: Mapping[str, str], body: bytes, *, method: str = ..., path: str = ...
    ) -> Plan:
        """Judge a request that arrived at `now` (seconds since 1970). Stores nothing."""

    def carry_out(self, plan: Plan) -> Response:
        """Store what is to be stored, durable on return, and say what the client gets. Once for a plan."""

    def witness(self, now: float, method: str, path: str, body: bytes) -> Response:
        """Answer a test's question past the API; `path` is what follows `/_simulator`. Meets no fault."""


class RateGate:
    """The hidden rate limits: each admits so many requests in any second, of all or of one sort."""

    def __init__(self, limits: Sequence[RateLimit], met: Counter[str]) -> None:
        self._limits = [(limit, SlidingWindow()) for limit in limits]
        self._met = met

    def refuses(self, now: float, call: Call = "send") -> Response | None:
        """Return the 429, or None and take the request as admitted."""
        limits = [(limit, admitted) for limit, admitted in self._limits if limit.on in (None, call)]
        for limit, admitted in limits:
            if admitted.count(now) >= limit.requests_per_s:
                self._met[limit.kind] += 1
                header = retry_after(now, limit.retry_after_s, as_date=limit.retry_after_date)
                return Response(429, PAGE, HTML, header)
        for _, admitted in limits:
            admitted.add(now)
        return None


def in_json(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return the document as a response."""
    return Response(status, json.dumps(document, separators=(",", ":")).encode(), headers=headers or {})


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
