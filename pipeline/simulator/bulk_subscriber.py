"""The bulk subscriber API as its public page describes it: token, bulk modify, and the polls for its end.

Pure: no network, no clock. `handle` judges a request and changes no subscriber, `carry_out` does.
"""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.simulator.bulk_subscriber_faults import (
    BulkSubscriberFaults,
    ErrorEnvelope,
    NoV3,
    RevokeToken,
)
from pipeline.simulator.bulk_subscriber_modify import BulkModify
from pipeline.simulator.bulk_subscriber_nodes import MALFORMED
from pipeline.simulator.bulk_subscriber_polls import Polls
from pipeline.simulator.bulk_subscriber_replies import content_reply, error_reply
from pipeline.simulator.bulk_subscriber_tokens import Tokens
from pipeline.simulator.bulk_subscriber_witness import answer
from pipeline.simulator.exchange import HTML, PAGE, Plan, RateGate, Response, disturbed
from pipeline.simulator.fault_kinds import Slow, TooLarge
from pipeline.simulator.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.simulator.bulk_subscriber_store import SubscriberStore
    from pipeline.simulator.fault_kinds import Call, Fault

TOKEN_PATH = "/api/v2/auth/token"  # noqa: S105 - a path
BULK_PATH = "/api/v2/bulk/subscriber"
V2_PATH = "/api/v2/global/call/"
V3_PATH = "/api/v3/global/call/"

_COUNTED = {"send": "sends", "poll": "polls", "login": "logins"}


class _Route(NamedTuple):
    call: Call
    method: str
    asked_id: str = ""


class BulkSubscriber:
    """The vendor's platform. `token` is one that is valid beforehand; `token_uses` None is any number."""

    name = "bulk-subscriber"

    def __init__(
        self,
        store: SubscriberStore,
        *,
        username: str = "demo-user",
        password: str = "demo-password",  # noqa: S107 - opens nothing but this simulator
        token: str | None = None,
        token_life_s: float = 86_400.0,
        token_uses: int | None = None,
        faults: BulkSubscriberFaults | None = None,
        max_items: int = 200,
    ) -> None:
        self.store = store
        self.faults = faults or BulkSubscriberFaults()
        self.traffic = Traffic(*_COUNTED.values(), "unauthorized")
        self._credentials = json.dumps([username, password]).encode()
        self._tokens = Tokens(seed=self.faults.seed, life_s=token_life_s, uses=token_uses, ready=token)
        self._max_items = max_items
        self._gate = RateGate(self.faults.rate_limits, self.traffic.faults)
        self._modify = BulkModify(store, self.faults, self.traffic)
        self._polls = Polls(store, self.faults, self.traffic)

    def handle(
        self,
        now: float,
        headers: Mapping[str, str],
        body: bytes,
        *,
        method: str = "PATCH",
        path: str = BULK_PATH,
    ) -> Plan:
        """Judge a request that arrived at `now` (seconds since 1970). Changes no subscriber."""
        route = _route(path)
        if route is None:
            return Plan(now, refusal=Response(404, PAGE, HTML))
        if method != route.method:
            return Plan(now, refusal=Response(405, PAGE, HTML, {"Allow": route.method}))
        number = self.traffic.arrive(now)
        self.traffic.own[_COUNTED[route.call]] += 1
        hits = self.faults.hits(number, route.call, self.traffic.own[_COUNTED[route.call]])
        self._count(hits, Slow)
        items: tuple[dict[str, Any], ...] = ()
        refusal = self._unauthorized(now, headers, hits, route.call) or self._gate.refuses(now, route.call)
        if refusal is None and route.call == "send":
            items, refusal = self._items(body, hits)
        elif refusal is None and route.call == "login":
            refusal = self._unknown_user(body)
        elif refusal is None and path.startswith(V3_PATH) and self._count(hits, NoV3):
            refusal = Response(404, PAGE, HTML)
        wait_s = self.faults.wait_s(number, hits)
        return Plan(now, wait_s, refusal, items, hits, number, route.call, route.asked_id)

    def carry_out(self, plan: Plan) -> Response:
        """Accept what is to be accepted, durable on return, and say what the client gets. Once for a plan."""
        if plan.refusal is not None:
            return plan.refusal
        ending = plan.ending
        if ending is None:
            return self._reply(plan)
        self.traffic.faults[ending.kind] += 1
        reply = self._reply(plan) if ending.commits else Response()
        if isinstance(ending, ErrorEnvelope):
            return error_reply(ending.code, ending.words)
        return disturbed(ending, reply, plan.now)

    def witness(self, now: float, method: str, path: str, body: bytes) -> Response:
        """Answer a test's question about the subscribers."""
        return answer(self.store, now, method, path, body)

    def _reply(self, plan: Plan) -> Response:
        if plan.call == "login":
            return content_reply([{"token": self._tokens.issue(plan.due_at)}])
        return self._modify.reply(plan) if plan.call == "send" else self._polls.reply(plan)

    def _unauthorized(
        self, now: float, headers: Mapping[str, str], hits: tuple[Fault, ...], call: Call
    ) -> Response | None:
        if call == "login":
            return None
        withdraw = self._count(hits, RevokeToken)
        if self._tokens.admits(now, headers, withdraw=withdraw):
            return None
        return self._refused_401("AUTH_1001", "The token is missing, unknown or expired")

    def _unknown_user(self, body: bytes) -> Response | None:
        document = _document(body)
        if document is None:
            return error_reply(MALFORMED, "The request body is no JSON object", 400)
        given = json.dumps([document.get("username"), document.get("password")]).encode()
        if hmac.compare_digest(given, self._credentials):
            return None
        return self._refused_401("AUTH_1002", "User name or password is wrong")

    def _refused_401(self, code: str, message: str) -> Response:
        self.traffic.own["unauthorized"] += 1
        return error_reply(code, message, 401, {"WWW-Authenticate": "Bearer"})

    def _items(
        self, body: bytes, hits: tuple[Fault, ...]
    ) -> tuple[tuple[dict[str, Any], ...], Response | None]:
        """Return the entries of a bulk call, or the refusal of a call that is malformed or too large."""
        document = _document(body)
        if document is None:
            return (), error_reply(MALFORMED, "The request body is no JSON object", 400)
        entries = document.get("bulk")
        if not isinstance(entries, list) or not entries:
            return (), error_reply(MALFORMED, "bulk is missing, empty or no array", 400)
        if not all(isinstance(entry, dict) for entry in entries):
            return (), error_reply(MALFORMED, "An element of bulk is no object", 400)
        self.traffic.max_items = max(self.traffic.max_items, len(entries))
        if any(isinstance(fault, TooLarge) and len(entries) > fault.items for fault in hits):
            self.traffic.faults["too_large"] += 1
            return (), Response(413, PAGE, HTML)
        if len(entries) > self._max_items:
            return (), error_reply(MALFORMED, f"bulk has more than {self._max_items} elements", 400)
        return tuple(entries), None

    def _count(self, hits: tuple[Fault, ...], kind: type[Fault]) -> bool:
        found = [fault for fault in hits if isinstance(fault, kind)]
        for fault in found:
            self.traffic.faults[fault.kind] += 1
        return bool(found)


def _route(path: str) -> _Route | None:
    if path == BULK_PATH:
        return _Route("send", "PATCH")
    if path == TOKEN_PATH:
        return _Route("login", "POST")
    for version, prefix in (("v2", V2_PATH), ("v3", V3_PATH)):
        asked_id = path.removeprefix(prefix)
        if path.startswith(prefix) and asked_id and "/" not in asked_id:
            return _Route("poll", "GET", f"{version} {asked_id}")
    return None


def _document(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a body, None when it is none."""
    try:
        document = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
        if b"\\u" in body:
            json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
