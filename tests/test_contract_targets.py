"""Our own targets, held to the contract that a stranger's is held to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.targets.bulk_subscriber import CALL_PATH, TICKET_PATH, BulkSubscriber
from pipeline.targets.sim_express import SimExpress
from pipeline.wire import Response
from simlift_contract import CompletingTargetContract, TargetContract

if TYPE_CHECKING:
    from pipeline.wire import Request


def said(body: dict[str, Any], **headers: str) -> Response:
    return Response(200, headers, json.dumps(body).encode())


class TestSimExpress(TargetContract):
    kind = SimExpress
    table: ClassVar = {
        "kind": "sim-express",
        "access_code": "env:CONTRACT_ACCESS_CODE",
        "secret_code": "env:CONTRACT_SECRET_CODE",
    }
    environment: ClassVar = {"CONTRACT_ACCESS_CODE": "access-4711", "CONTRACT_SECRET_CODE": "secret-0815"}
    rows: ClassVar = {
        "iccid": [f"8935711001000000{index:03}" for index in range(1, 5)],
        "eid": ["35203000100100000000000000287435"] * 4,
        "imei": ["861111111111115"] * 4,
        "ac": [f"LPA:1$smdp.example$MATCHING-{index:03}" for index in range(1, 5)],
        "cc": ["", "confirm-1", "", "confirm-3"],
        "apn": ["iot.example"] * 4,
    }

    def answer(self, request: Request) -> Response:
        items = json.loads(request.body)["profileItems"]
        return said({"errorCode": "0", "resultList": [{"result": "SUCCEED", "reason": None} for _ in items]})

    def refusal(self, request: Request, words: str) -> Response:
        items = json.loads(request.body)["profileItems"]
        return said({"resultList": [{"result": "FAILED", "reason": words} for _ in items]})


class TestSimExpressWithAnEcho(TestSimExpress):
    """The page's example: the items come back beside the results."""

    def answer(self, request: Request) -> Response:
        body = json.loads(super().answer(request).body)
        return said({**body, "profileItems": json.loads(request.body)["profileItems"]})


class TestBulkSubscriber(CompletingTargetContract):
    kind = BulkSubscriber
    table: ClassVar = {
        "kind": "bulk-subscriber",
        "base_url": "https://vendor.example",
        "token": "env:CONTRACT_TOKEN",
    }
    environment: ClassVar = {"CONTRACT_TOKEN": "a-token-given-ready"}
    rows: ClassVar = {
        "type": ["ICCID", "ICCID", "MSISDN", "IMSI"],
        "value": ["8935711001000000007", "8935711001000000015", "4915112345678", "262011234567890"],
        "alias": ["truck 7", 'the "blue" one', "<null>", "Österreich"],
    }

    calls: dict[str, list[str]]

    def setup_method(self) -> None:
        self.calls = {}

    def answer(self, request: Request) -> Response:
        """Accept a bulk, and know the tickets of each call from then on."""
        if request.method == "GET":
            return self.states(request, "SUCCESS")
        entries = json.loads(request.body)["bulk"]
        nodes = [
            {**entry, "errorCode": "", "errorMessage": "", "requestId": f"ticket-{self.name(entry)}"}
            for entry in entries
        ]
        call = f"call-{len(self.calls)}"
        self.calls[call] = [node["requestId"] for node in nodes]
        return said({"errorCode": "", "errorMessage": "", "bulk": nodes}, **{"request-id": call})

    def refusal(self, request: Request, words: str) -> Response:
        failed = {"errorCode": "SUBSCRIBER_1003", "errorMessage": words, "requestId": ""}
        nodes = [{**entry, **failed} for entry in json.loads(request.body)["bulk"]]
        return said({"errorCode": "", "errorMessage": "", "bulk": nodes})

    def not_yet(self, request: Request) -> Response:
        return self.states(request, "OPEN")

    def states(self, request: Request, status: str) -> Response:
        if request.path.startswith(CALL_PATH):
            tickets = self.calls[request.path.removeprefix(CALL_PATH)]
            content = [{"requestId": ticket, "status": status} for ticket in tickets]
        else:
            assert request.path.startswith(TICKET_PATH)
            content = [{"status": status}]
        return said({"errorCode": "", "errorMessage": "", "content": content})

    @staticmethod
    def name(entry: dict[str, Any]) -> str:
        return "-".join(entry["subscriberIdentifiers"].values())


class TestBulkSubscriberWithALogin(TestBulkSubscriber):
    """Every send and every question begins with a login."""

    table: ClassVar = {
        "kind": "bulk-subscriber",
        "base_url": "https://vendor.example",
        "username": "env:CONTRACT_USERNAME",
        "password": "env:CONTRACT_PASSWORD",
    }
    environment: ClassVar = {"CONTRACT_USERNAME": "the-username", "CONTRACT_PASSWORD": "the-password"}

    def answer(self, request: Request) -> Response:
        if request.path == "/api/v2/auth/token":
            return said({"errorCode": "", "errorMessage": "", "content": [{"token": "a-token-fetched"}]})
        return super().answer(request)
