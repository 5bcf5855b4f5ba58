"""SIM Express as its public API page describes it: the batch import.

Pure: no network, no clock. `handle` judges a request and stores nothing; `carry_out` stores and replies.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pipeline.simulator.exchange import HTML, PAGE, Plan, RateGate, Response, disturbed
from pipeline.simulator.fault_kinds import (
    Busy,
    CutAfterCommit,
    ErrorEnvelope,
    NoEcho,
    RefuseBatch,
    RefuseItems,
    ReorderEcho,
    ResultsShuffled,
    ShortList,
    Slow,
    Spelling,
    TooLarge,
)  # fmt: skip
from pipeline.simulator.faults import Faults
from pipeline.simulator.sim_express_signature import Doorkeeper
from pipeline.simulator.sim_express_witness import answer
from pipeline.simulator.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.simulator.fault_kinds import Fault
    from pipeline.simulator.store import Store

IMPORT_PATH = "/v1/profile/importProfileList"
KEYS = ("iccid", "eid", "imei", "ac", "cc", "apn")
# The echo's key case varies within one reply in the page's example; so it does here, by position.
ECHO_KEYS = (("Iccid", "Eid", "Imei", "Ac", "cc", "Apn"), ("Iccid", "Eid", "Imei", "ac", "cc", "apn"), KEYS)

_ICCID = re.compile(r"[0-9]{19,20}")
_EID = re.compile(r"[0-9]{32}")
_IMEI = re.compile(r"[0-9]{15}")

Row = tuple[Any, ...]


def refused_by_rule(row: Row) -> str | None:
    """Return the reason why an item can't be imported (the page's item table), None if it can."""
    iccid, eid, imei, ac, cc, apn = row
    if not isinstance(iccid, str) or not iccid:
        return "the iccid is null"
    if not _ICCID.fullmatch(iccid):
        return f"the iccid must be 19-20 digit, iccid:[{iccid}]"
    if not isinstance(eid, str) or not _EID.fullmatch(eid):
        return f"the eid must be 32-digit, iccid:[{iccid}]"
    if not isinstance(imei, str) or not _IMEI.fullmatch(imei):
        return "the imei must be 15-digit"
    if not isinstance(ac, str) or not ac:
        return f"the ac is null, iccid:[{iccid}]"
    if not isinstance(apn, str) or not apn:
        return "the apn is null"
    if cc is not None and not isinstance(cc, str):
        return "the cc must be String"
    return None


class SimExpress:
    """The vendor's platform. `timestamp_unit_s` is 1 for seconds, 0.001 for milliseconds."""

    name = "sim-express"

    def __init__(
        self,
        store: Store,
        *,
        access_code: str = "demo-access",
        secret_code: str = "demo-secret",  # noqa: S107 - opens nothing but this simulator
        faults: Faults | None = None,
        max_items: int = 1000,
        timestamp_unit_s: float = 1.0,
    ) -> None:
        self.store = store
        self.faults = faults or Faults()
        self.traffic = Traffic()
        self._doorkeeper = Doorkeeper(access_code, secret_code, timestamp_unit_s)
        self._max_items = max_items
        self._gate = RateGate(self.faults.rate_limits, self.traffic.faults)

    def handle(
        self,
        now: float,
        headers: Mapping[str, str],
        body: bytes,
        *,
        method: str = "POST",
        path: str = IMPORT_PATH,
    ) -> Plan:
        """Judge a request that arrived at `now` (seconds since 1970). Stores nothing."""
        if path != IMPORT_PATH:
            return Plan(now, refusal=Response(404, PAGE, HTML))
        if method != "POST":
            return Plan(now, refusal=Response(405, PAGE, HTML, {"Allow": "POST"}))
        number = self.traffic.arrive(now)
        hits = self.faults.hits(number)
        self._count(hits, Slow)
        unproven = self._doorkeeper.refuses(now, headers, body)
        if unproven is not None:
            self.traffic.rejected_signatures += 1
            return Plan(now, refusal=_envelope(*unproven, hits), number=number)
        refusal = self._gate.refuses(now)
        items: tuple[dict[str, Any], ...] = ()
        if refusal is None:
            items, refusal = self._items(body, hits)
        return Plan(now, self.faults.wait_s(number), refusal, items, hits, number)

    def carry_out(self, plan: Plan) -> Response:
        """Store what is to be stored, durable on return, and say what the client gets. Once for a plan."""
        if plan.refusal is not None:
            return plan.refusal
        ending = plan.ending
        if ending is None:
            return self._import(plan)
        self.traffic.faults[ending.kind] += 1
        reply = self._import(plan) if ending.commits else Response()
        if isinstance(ending, ErrorEnvelope):
            return _envelope(ending.code, ending.message, plan.hits)
        if isinstance(ending, Busy):
            return _envelope("900001", "system busy", plan.hits)
        return disturbed(ending, reply, plan.now)

    def witness(self, now: float, method: str, path: str, body: bytes) -> Response:  # noqa: ARG002 - a Vendor's
        """Answer a test's question about the profiles."""
        return answer(self.store, method, path, body)

    def _items(
        self, body: bytes, hits: Sequence[Fault]
    ) -> tuple[tuple[dict[str, Any], ...], Response | None]:
        """Return the items of the request, or the refusal of a request that is malformed or too large."""
        try:
            document = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
            if b"\\u" in body:
                json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError):
            return (), _envelope("000101", "the request body is not JSON", hits)
        if not isinstance(document, dict) or "profileItems" not in document:
            return (), _envelope("000102", "profileItems is missing", hits)
        items = document["profileItems"]
        if not isinstance(items, list):
            return (), _envelope("000103", "profileItems is not a list", hits)
        if not items:
            return (), _envelope("000104", "profileItems is empty", hits)
        if not all(isinstance(item, dict) for item in items):
            return (), _envelope("000105", "an element of profileItems is not an object", hits)
        self.traffic.max_items = max(self.traffic.max_items, len(items))
        return tuple(items), self._refused_whole(items, hits)

    def _refused_whole(self, items: list[dict[str, Any]], hits: Sequence[Fault]) -> Response | None:
        for fault in hits:
            if isinstance(fault, TooLarge) and len(items) > fault.items:
                self.traffic.faults[fault.kind] += 1
                return Response(413, PAGE, HTML)
        if len(items) > self._max_items:
            return _envelope("000107", f"profileItems is more than {self._max_items}", hits)
        for fault in hits:
            if isinstance(fault, RefuseBatch) and any(
                fault.concerns(item.get("iccid"), self.faults.seed) for item in items
            ):
                self.traffic.faults[fault.kind] += 1
                return _envelope(fault.code, fault.message, hits)
        return None

    def _import(self, plan: Plan) -> Response:
        """Store the items of the plan that can be stored; return the reply as the vendor means it."""
        rows: list[Row] = [tuple([item.get(key) for key in KEYS]) for item in plan.items]
        if isinstance(plan.ending, CutAfterCommit):
            rows = rows[: plan.ending.commit_items]
        reasons = [refused_by_rule(row) for row in rows]
        for fault in plan.hits:
            if isinstance(fault, RefuseItems):
                self._refuse(fault, rows, reasons)
        fresh: dict[str, Row] = {}
        for place, row in enumerate(rows):
            if reasons[place] is None and fresh.setdefault(row[0], row) is not row:
                reasons[place] = _exists(row[0])
        known = self.store.add(list(fresh.values()))
        if known:
            for place, row in enumerate(rows):
                if reasons[place] is None and row[0] in known:
                    reasons[place] = _exists(row[0])
        return self._reply(plan, rows, reasons)

    def _refuse(self, fault: RefuseItems, rows: list[Row], reasons: list[str | None]) -> None:
        seed = self.faults.seed
        for place, row in enumerate(rows):
            if reasons[place] is None and fault.concerns(row[0], seed):
                reasons[place] = fault.reason.replace("{iccid}", row[0])

    def _reply(self, plan: Plan, rows: list[Row], reasons: list[str | None]) -> Response:
        hits = plan.hits
        self._count(hits, RefuseItems | NoEcho | ShortList | ReorderEcho | ResultsShuffled | Spelling)
        by_table = any(isinstance(fault, Spelling) for fault in hits)
        styles = (KEYS,) if by_table else ECHO_KEYS
        echo: list[Any] = [
            dict(zip(styles[place % len(styles)], row, strict=True)) for place, row in enumerate(rows)
        ]
        results = [{"result": "FAILED" if reason else "SUCCEED", "reason": reason} for reason in reasons]
        for place, fault in enumerate(hits):
            if isinstance(fault, ReorderEcho | ResultsShuffled):
                order = _other_order(len(results), self.faults, plan.number, place)
                results = [results[at] for at in order]
                if isinstance(fault, ReorderEcho):
                    echo = [echo[at] for at in order]
        for fault in hits:
            if isinstance(fault, ShortList):
                results = results[: -fault.missing]
        document: dict[str, Any] = {"code" if by_table else "errorCode": "0", "errorMsg": None}
        if not any(isinstance(fault, NoEcho) for fault in hits):
            document["profileItems"] = echo
        document["resultItems" if by_table else "resultList"] = results
        return Response(body=_encoded(document))

    def _count(self, hits: Sequence[Fault], kinds: Any) -> None:
        for fault in hits:
            if isinstance(fault, kinds):
                self.traffic.faults[fault.kind] += 1


def _envelope(code: str, message: str, hits: Sequence[Fault]) -> Response:
    key = "code" if any(isinstance(fault, Spelling) for fault in hits) else "errorCode"
    return Response(body=_encoded({key: code, "errorMsg": message}))


def _encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _exists(iccid: str) -> str:
    return f"the iccid is exist in db, iccid:[{iccid}]"


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _other_order(count: int, faults: Faults, number: int, place: int) -> list[int]:
    """Return a permutation drawn for this request, never the identity when there is another."""
    order = list(range(count))
    faults.draw(number, f"order {place}").shuffle(order)
    return order if order != list(range(count)) else order[1:] + order[:1]
