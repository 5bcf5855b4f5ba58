from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from pydantic import SecretStr

from pipeline.contracts import CompletingTarget
from pipeline.errors import NoReply, UsageError
from pipeline.model import Batch, Chunk, Fault, FaultKind, Reply, Ruling, Verdict
from pipeline.reconciler import reconcile
from pipeline.screening import Screen
from pipeline.secret_references import WITHOUT_SECRETS
from pipeline.settings import Input, read_table
from pipeline.targets.bulk_subscriber import BulkSubscriber, Settings, Subscriber
from pipeline.targets.bulk_subscriber_reply import name_of
from pipeline.wire import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.screening import Screened
    from pipeline.wire import Request

ROWS = [
    {"type": "IMSI", "value": "222013090961859", "alias": "Camera1"},
    {"type": "ICCID", "value": "8935711001000034535", "alias": "Camera1"},
    {"type": "MSISDN", "value": "4915112345678", "alias": "Meter 7"},
]
KEYS = ["IMSI:222013090961859", "ICCID:8935711001000034535", "MSISDN:4915112345678"]
IDS = [f"ff74dca6-8e7f-4b85-a42b-13860913b37{index}" for index in range(3)]
TOKEN = "eyJhbGciOiJIUzI1NiJ9.our-token"


class Vendor:
    """contracts.Http in memory: keeps the requests, answers each with what `reply` makes of it."""

    def __init__(self, reply: Callable[[Request], Response]) -> None:
        self._reply = reply
        self.sent: list[Request] = []
        self.requests = 0

    async def exchange(self, make_request: Callable[[], Request]) -> Response:
        await asyncio.sleep(0)
        request = make_request()
        self.sent.append(request)
        self.requests += 1
        await asyncio.sleep(0)
        return self._reply(request)


def target(**more: Any) -> BulkSubscriber:
    table: dict[str, Any] = {"kind": "bulk-subscriber", "base_url": "https://vendor.example", **more}
    if "username" not in table:
        table.setdefault("token", SecretStr(TOKEN))
    return BulkSubscriber(Settings(**table))


def fields_of(rows: Sequence[dict[str, str]]) -> pa.RecordBatch:
    names = ("value", "type", "alias")
    return pa.record_batch({name: pa.array([row[name] for row in rows], pa.string()) for name in names})


def batch_of(rows: Sequence[dict[str, str]]) -> Batch:
    fields = fields_of(rows)
    columns = {"position": pa.array(range(1, len(rows) + 1)), "key": target().key(fields)}
    columns |= {"payload": target().encode(fields), "cells": pa.array([{"0": ""}] * len(rows))}
    return Batch(pa.record_batch(columns))


def response_of(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, headers or {}, raw)


def node(index: int, **more: Any) -> dict[str, Any]:
    """Give the node of a success for one of the ROWS, but for what is told otherwise."""
    row = ROWS[index]
    return {
        "errorCode": "",
        "errorMessage": "",
        "requestId": IDS[index],
        "subscriberIdentifiers": {"type": row["type"], "value": row["value"]},
        "content": {"alias": row["alias"]},
        **more,
    }


def failed(index: int, code: Any = "AUTH_1013", message: Any = "You are not allowed", **more: Any) -> Any:
    return node(index, errorCode=code, errorMessage=message, **{"requestId": "", **more})


ACK = {"bulk": [node(0), node(1), node(2)], "pageable": {"page": 0, "size": 10, "totalElements": 1}}


def read(body: Any, status: int = 200, headers: dict[str, str] | None = None, **more: Any) -> Reply | Fault:
    vendor = Vendor(lambda _: response_of(body, status, headers))
    return asyncio.run(target(**more).send(batch_of(ROWS), vendor))


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None, **more: Any) -> Reply:
    found = read(body, status, headers, **more)
    assert isinstance(found, Reply)
    return found


def fault(body: Any, status: int = 200, headers: dict[str, str] | None = None, **more: Any) -> Fault:
    found = read(body, status, headers, **more)
    assert isinstance(found, Fault)
    return found


def verdict(of_node: Any, **more: Any) -> Verdict:
    return reply({"bulk": [of_node]}, **more).answers[0].verdict


# ---------------------------------------------------------------- the request


def test_it_is_a_target_that_finishes_later() -> None:
    found = target()
    assert isinstance(found, CompletingTarget)
    assert (found.name, found.most_batch_items, found.rules) == ("bulk-subscriber", 200, Subscriber)


def test_the_example_request_of_the_page_is_what_we_send_for_its_rows() -> None:
    vendor = Vendor(lambda _: response_of(ACK))
    asyncio.run(target().send(batch_of(ROWS[:2]), vendor))
    (request,) = vendor.sent
    assert (request.method, request.path) == ("PATCH", "/api/v2/bulk/subscriber")
    assert request.headers == {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    assert json.loads(request.body) == {
        "bulk": [
            {
                "subscriberIdentifiers": {"type": "IMSI", "value": "222013090961859"},
                "content": {"alias": "Camera1"},
            },
            {
                "subscriberIdentifiers": {"type": "ICCID", "value": "8935711001000034535"},
                "content": {"alias": "Camera1"},
            },
        ]
    }


def test_a_slice_of_a_longer_batch_is_sent_alone() -> None:
    vendor = Vendor(lambda _: response_of(ACK))
    asyncio.run(target().send(Batch(batch_of(ROWS).items.slice(1, 1)), vendor))
    (sent,) = json.loads(vendor.sent[0].body)["bulk"]
    assert sent["subscriberIdentifiers"]["value"] == ROWS[1]["value"]


def test_a_key_is_type_and_value() -> None:
    assert target().key(fields_of(ROWS)).to_pylist() == KEYS


def contents(*aliases: str, **more: Any) -> list[Any]:
    pieces = target(**more).encode(fields_of([{**ROWS[0], "alias": alias} for alias in aliases]))
    return [json.loads(piece.removesuffix(","))["content"] for piece in pieces.to_pylist()]


def test_a_blank_alias_leaves_the_key_out() -> None:
    assert contents("a", "", "b") == [{"alias": "a"}, {}, {"alias": "b"}]


def test_the_null_marker_clears_what_is_stored() -> None:
    assert contents("a", "<null>", "<NULL>") == [{"alias": "a"}, {"alias": ""}, {"alias": "<NULL>"}]


def test_the_job_chooses_the_null_marker() -> None:
    assert contents("-", "<null>", null_marker="-") == [{"alias": ""}, {"alias": "<null>"}]
    assert contents('"', "a", null_marker='"') == [{"alias": ""}, {"alias": "a"}]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=5))
def test_every_row_is_encoded_as_json_that_reads_back_as_the_row(aliases: list[str]) -> None:
    marker = "\ue000 marks nothing else"
    assert contents(*aliases, null_marker=marker) == [{"alias": alias} if alias else {} for alias in aliases]


# ---------------------------------------------------------------- row rules


def screened(header: tuple[str, ...], *rows: tuple[str, ...], **inputs: Any) -> Screened:
    cells = {str(at): pa.array(column) for at, column in enumerate(zip(*rows, strict=True))}
    chunk = Chunk(pa.record_batch(cells), pa.array(range(1, len(rows) + 1)), (), len(rows), 0)
    return Screen(Subscriber, header, Input(**inputs))(chunk)


def test_every_type_has_its_form_and_is_sent_as_the_page_spells_it() -> None:
    found = screened(
        ("Type", "Value", "Label"),
        ("imsi", "222013090961859", "a"),
        ("Iccid", "8935711001000034535F", "a"),
        ("MSISDN", "+4915112345678", "a"),
        ("imei", "490154203237518", "a"),
        ("ImeiSV", "4901542032375181", "a"),
        ("IMSI", "222013090961859", "<null>"),
    )
    assert found.rejected == []
    assert target().key(found.fields).to_pylist() == [
        "IMSI:222013090961859",
        "ICCID:8935711001000034535",
        "MSISDN:4915112345678",
        "IMEI:490154203237518",
        "IMEISV:4901542032375181",
        "IMSI:222013090961859",
    ]
    assert target().encode(found.fields)[5].as_py() == (
        '{"subscriberIdentifiers":{"type":"IMSI","value":"222013090961859"},"content":{"alias":""}},'
    )


def test_a_column_named_by_a_type_stands_for_type_and_value() -> None:
    for name, type_, value in (
        ("ICCID", "ICCID", "8935711001000034535"),
        ("SIM Number", "ICCID", "8935711001000034535"),
        ("imsi", "IMSI", "222013090961859"),
    ):
        found = screened((name, "Name"), (value, "a"))
        assert target().key(found.fields).to_pylist() == [f"{type_}:{value}"]


@pytest.mark.parametrize(
    ("type_", "value", "alias", "code"),
    [
        ("ICCID", "893571100100003453", "a", "iccid_format"),
        ("ICCID", "898600B5100100003453", "a", "iccid_hex"),
        ("IMSI", "2220130909618590", "a", "imsi_format"),
        ("MSISDN", "1234567890123456", "a", "msisdn_format"),
        ("IMEI", "49015420323751", "a", "imei_format"),
        ("IMEISV", "490154203237518", "a", "imeisv_format"),
        ("EID", "35203000100100000000000000287435", "a", "type_format"),
        ("IMSI", "222013090961859", "", "nothing_to_change"),
        ("IMSI", "222013090961859", "  ", "nothing_to_change"),
    ],
)
def test_a_row_that_cannot_be_sent_is_rejected(type_: str, value: str, alias: str, code: str) -> None:
    (rejected,) = screened(("type", "value", "alias"), (type_, value, alias)).rejected
    assert rejected.code == code


def test_check_digits_are_counted_and_only_reported() -> None:
    found = screened(("type", "value", "alias"), ("ICCID", "8935711001000034535", "a"))
    assert found.rejected == []
    assert found.check_digits["iccid"] in ((0, 1), (1, 0))


# ---------------------------------------------------------------- nodes


def test_a_full_success_is_promised_with_a_ticket_each() -> None:
    found = reply(ACK, headers={"request-id": "0c0ffee0-call"})
    assert [answer.names for answer in found.answers] == KEYS
    assert [answer.verdict for answer in found.answers] == [Verdict(Ruling.PROMISED, ticket=i) for i in IDS]
    assert found.call == "0c0ffee0-call"
    assert found.rest is not None
    assert (found.rest.ruling, found.rest.code) == (Ruling.OPEN, "reply_short")


def test_nodes_belong_to_what_they_name_in_whatever_order() -> None:
    verdicts = reconcile(KEYS, reply({"bulk": [node(2), node(0), node(1)]}))
    assert [verdicts.exceptions[index].ticket for index in range(3)] == IDS
    assert verdicts.evidence == ()


def test_a_refusal_lists_the_failed_and_leaves_the_others_untouched() -> None:
    verdicts = reconcile(KEYS, reply({"bulk": [failed(1, "SUBSCRIBER_1002", "Subscriber does not exist")]}))
    assert verdicts.exceptions[1] == Verdict(Ruling.REFUSED, "SUBSCRIBER_1002", "Subscriber does not exist")
    assert verdicts.exceptions[0].ruling is verdicts.exceptions[2].ruling is Ruling.UNTOUCHED


def test_beside_a_promised_node_a_missing_one_is_open_though_another_failed() -> None:
    verdicts = reconcile(KEYS, reply({"bulk": [failed(1), node(2)]}))
    assert [verdicts.exceptions[index].ruling for index in range(3)] == [
        Ruling.OPEN,
        Ruling.REFUSED,
        Ruling.PROMISED,
    ]


def test_a_short_success_leaves_the_rest_in_doubt() -> None:
    verdicts = reconcile(KEYS, reply({"bulk": [node(0), node(2)]}))
    assert (verdicts.exceptions[1].ruling, verdicts.exceptions[1].code) == (Ruling.OPEN, "reply_short")


def test_a_failed_node_that_names_no_item_leaves_nobody_untouched() -> None:
    nameless = failed(1, subscriberIdentifiers={"type": "ICCID", "value": 8935711001000034535})
    verdicts = reconcile(KEYS, reply({"bulk": [nameless]}))
    assert {v.ruling for v in verdicts.exceptions.values()} == {Ruling.OPEN}
    assert verdicts.exceptions[0].code == "reply_contradicts"


def test_a_value_that_was_never_sent_leaves_nobody_untouched() -> None:
    stranger = failed(1, subscriberIdentifiers={"type": "IMSI", "value": "222013090961963"})
    verdicts = reconcile(KEYS, reply({"bulk": [stranger]}))
    assert {v.ruling for v in verdicts.exceptions.values()} == {Ruling.OPEN}
    assert verdicts.evidence


@pytest.mark.parametrize("code", ["GLOBAL_1001", "INTERNAL_ERROR"])
def test_a_failure_that_passes_with_time_is_tried_again(code: str) -> None:
    assert verdict(failed(0, code, "Try again")) == Verdict(Ruling.PASSING, code, "Try again")


@pytest.mark.parametrize("code", ["SUBSCRIBER_1002", "SUBSCRIBER_1003", "AUTH_1013", "GLOBAL_1002", "4711"])
def test_any_other_failure_of_a_node_is_final(code: str) -> None:
    assert verdict(failed(0, code, "No")) == Verdict(Ruling.REFUSED, code, "No")


def test_the_job_file_overrides_what_a_code_means() -> None:
    codes = {"SUBSCRIBER_1003": "passing", "GLOBAL_1001": "refused", "AUTH_1": "refused"}
    assert verdict(failed(0, "SUBSCRIBER_1003"), codes=codes).ruling is Ruling.PASSING
    assert verdict(failed(0, "GLOBAL_1001"), codes=codes).ruling is Ruling.REFUSED
    assert verdict(failed(0, "INTERNAL_ERROR"), codes=codes).ruling is Ruling.PASSING
    assert fault({"errorCode": "GLOBAL_1001"}, codes=codes).kind is FaultKind.REFUSED
    assert fault({"errorCode": "SUBSCRIBER_1003"}, codes=codes).kind is FaultKind.NOT_CARRIED_OUT
    assert fault({"errorCode": "AUTH_1"}, codes=codes).kind is FaultKind.REFUSED


@pytest.mark.parametrize("message", ["", None, "  "])
def test_a_failure_without_words_says_so(message: Any) -> None:
    assert verdict(failed(0, message=message)).reason == "the vendor gave no reason"


@pytest.mark.parametrize("none", ["", None, "  "])
def test_a_node_with_neither_code_nor_ticket_stays_open(none: Any) -> None:
    assert verdict(node(0, errorCode=none, requestId=none)).code == "node_empty"
    assert verdict({"subscriberIdentifiers": {}}).ruling is Ruling.OPEN


@pytest.mark.parametrize("code", ["GLOBAL_1001", "AUTH_1", "0", 0, False])
def test_a_node_with_both_code_and_ticket_stays_open(code: Any) -> None:
    found = verdict(node(0, errorCode=code))
    assert (found.ruling, found.code) == (Ruling.OPEN, "node_contradicts")


@pytest.mark.parametrize("ticket", [1, True, ["a"], {"a": 1}, "..", "a/b", "a b", "a" * 129, "é", "a?b"])
def test_a_ticket_that_cannot_be_asked_after_is_none(ticket: Any) -> None:
    assert verdict(node(0, requestId=ticket)).ruling is Ruling.OPEN
    assert verdict(failed(0, requestId=ticket)).ruling is Ruling.OPEN


@pytest.mark.parametrize("spelt", ["imsi", "Imsi", " IMSI "])
def test_a_type_is_read_in_any_letter_case(spelt: str) -> None:
    named = {"type": spelt, "value": " 222013090961859 "}
    assert reply({"bulk": [node(0, subscriberIdentifiers=named)]}).answers[0].names == KEYS[0]


@pytest.mark.parametrize(
    "identifiers",
    [
        None,
        "",
        [],
        {},
        "IMSI:222013090961859",
        {"type": "IMSI"},
        {"type": "IMSI", "value": ""},
        {"type": "IMSI", "value": 222013090961859},
        {"type": "IMSI", "value": None},
        {"type": "EID", "value": "222013090961859"},
        {"type": None, "value": "222013090961859"},
        {"type": 1, "value": "222013090961859"},
    ],
)
def test_a_node_that_does_not_say_whose_it_is_is_nobodys(identifiers: Any) -> None:
    found = reply({"bulk": [node(0, subscriberIdentifiers=identifiers)]})
    assert found.answers[0].names is None
    assert {v.ruling for v in reconcile(KEYS, found).exceptions.values()} == {Ruling.OPEN}


@pytest.mark.parametrize("content", ["", None, [], {}, 1, {"alias": 1}])
def test_what_a_node_echoes_does_not_matter(content: Any) -> None:
    assert verdict(node(0, content=content)).ruling is Ruling.PROMISED


@pytest.mark.parametrize("strange", [None, "text", 1, [], [{}]])
def test_a_node_of_a_strange_shape_stays_open(strange: Any) -> None:
    found = reply({"bulk": [node(0), strange]})
    assert [answer.verdict.ruling for answer in found.answers] == [Ruling.PROMISED, Ruling.OPEN]
    assert reconcile(KEYS, found).exceptions[1].ruling is Ruling.OPEN


@pytest.mark.parametrize("pageable", [None, "", {"totalElements": 0}, {"totalPages": 9}, 1])
def test_pageable_is_never_counted_with(pageable: Any) -> None:
    assert reply({**ACK, "pageable": pageable}).answers == reply(ACK).answers


@pytest.mark.parametrize("call", ["", " ", "a b", "../x", "a/b", "x" * 129, "<html>", "é"])
def test_a_header_that_is_no_id_names_no_call(call: str) -> None:
    assert reply(ACK, headers={"request-id": call}).call == ""
    assert reply(ACK).call == ""


def test_the_nodes_are_believed_before_the_envelope() -> None:
    assert reply({**ACK, "errorCode": "GLOBAL_1001"}).answers == reply(ACK).answers


# ---------------------------------------------------------------- replies without nodes


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "reply_empty"),
        (b" \r\n", "reply_empty"),
        (json.dumps(ACK).encode()[:300], "reply_unreadable"),
        (b"<html>Bad gateway</html>", "reply_unreadable"),
        (b"\xff\xfe\x00", "reply_unreadable"),
        (b"[" * 100_000, "reply_unreadable"),
        ([], "reply_unreadable"),
        (None, "reply_unreadable"),
        ("SUCCESS", "reply_unreadable"),
        ({}, "reply_without_items"),
        ({"bulk": []}, "reply_without_items"),
        ({"bulk": ""}, "reply_without_items"),
        ({"bulk": {"0": "x"}}, "reply_without_items"),
        ({"bulk": None, "errorCode": "", "errorMessage": ""}, "reply_without_items"),
    ],
)
def test_a_reply_that_cannot_be_read_is_lost(body: Any, code: str) -> None:
    found = fault(body)
    assert (found.kind, found.code) == (FaultKind.LOST, code)


@pytest.mark.parametrize("status", [200, 400, 422])
@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("GLOBAL_1001", "Service unavailable. Please try again", FaultKind.NOT_CARRIED_OUT),
        ("GLOBAL_1001", None, FaultKind.NOT_CARRIED_OUT),
        ("INTERNAL_ERROR", "oops", FaultKind.LOST),
        ("AUTH_1001", "You are not allowed to do this", FaultKind.STOP),
        ("AUTH_1001", "Please try again", FaultKind.STOP),
        ("GLOBAL_1002", "Bad request", FaultKind.REFUSED),
        ("SUBSCRIBER_1003", "Failed to update subscriber details", FaultKind.REFUSED),
        (4711, {"odd": 1}, FaultKind.REFUSED),
        ("GLOBAL_1010", "bulk exceeds the maximum of 200 elements", FaultKind.TOO_LARGE),
        ("GLOBAL_1010", "Too many entries", FaultKind.TOO_LARGE),
        ("GLOBAL_1010", "alias too long: at most 50 characters of the list", FaultKind.REFUSED),
        ("GLOBAL_1010", "too many requests", FaultKind.NOT_CARRIED_OUT),
        ("GLOBAL_1010", "internal server error", FaultKind.LOST),
    ],
)
def test_an_error_of_the_whole_call_is_classified(
    code: Any, message: Any, kind: FaultKind, status: int
) -> None:
    assert fault({"errorCode": code, "errorMessage": message, "bulk": ""}, status).kind is kind


def test_a_fault_carries_the_vendors_code_words_and_wish() -> None:
    found = fault({"errorCode": "GLOBAL_1001", "errorMessage": "Wait"}, headers={"retry-after": "7"})
    assert (found.code, found.reason, found.retry_after_s) == ("GLOBAL_1001", "Wait", 7.0)
    found = fault({"errorCode": "GLOBAL_1002"})
    assert (found.code, found.reason) == ("GLOBAL_1002", "the vendor gave no reason")


# ---------------------------------------------------------------- HTTP statuses


def test_the_http_status_is_believed_before_the_body() -> None:
    assert fault(ACK, 500).kind is FaultKind.LOST
    assert fault(ACK, 503).kind is FaultKind.NOT_CARRIED_OUT
    assert fault(ACK, 429, {"retry-after": "3"}).retry_after_s == 3.0
    assert fault({"bulk": [failed(0)]}, 500).kind is FaultKind.LOST
    assert fault({"errorCode": "GLOBAL_1001"}, 502).kind is FaultKind.LOST
    assert fault({"errorCode": "GLOBAL_1002"}, 413).kind is FaultKind.TOO_LARGE
    assert fault({"errorCode": "GLOBAL_1001"}, 403).kind is FaultKind.STOP
    assert fault(b"<html>", 404).kind is FaultKind.STOP
    assert fault(b"", 302, {"location": "/login"}).kind is FaultKind.STOP
    assert fault(b"<html>no</html>", 400).reason == "HTTP 400: <html>no</html>"


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_a_refusing_status_with_failed_nodes_is_a_refusal_of_those(status: int) -> None:
    verdicts = reconcile(KEYS, reply({"bulk": [failed(1)]}, status))
    assert [verdicts.exceptions[index].ruling for index in range(3)] == [
        Ruling.UNTOUCHED,
        Ruling.REFUSED,
        Ruling.UNTOUCHED,
    ]


@pytest.mark.parametrize("status", [400, 404])
def test_request_ids_beside_a_refusing_status_are_lost(status: int) -> None:
    assert fault(ACK, status).kind is FaultKind.LOST


def test_a_refusing_status_with_nodes_that_say_nothing_is_a_refusal() -> None:
    assert fault({"bulk": [node(0, requestId="")]}, 400).kind is FaultKind.REFUSED


# ---------------------------------------------------------------- asking after tickets


def ask(
    body: Any, *tickets: str, call: str = "", status: int = 200, **more: Any
) -> Mapping[str, Verdict] | Fault:
    vendor = Vendor(lambda _: response_of(body, status))
    return asyncio.run(target(**more).poll(call, tickets or IDS[:1], vendor))


def state(status: Any, **more: Any) -> Mapping[str, Verdict] | Fault:
    return ask({"errorCode": "", "errorMessage": "", "content": [{"status": status, **more}]})


def states(*entries: Any, **more: Any) -> Mapping[str, Verdict] | Fault:
    return ask({"errorCode": "", "content": list(entries), **more}, *IDS, call="call")


def asked(call: str, ticket: str) -> Request:
    vendor = Vendor(lambda _: response_of({}))
    asyncio.run(target().poll(call, [ticket], vendor))
    return vendor.sent[0]


def test_a_call_is_asked_after_as_a_whole_and_a_ticket_alone() -> None:
    whole, alone = asked("call-1", IDS[0]), asked("", IDS[0])
    assert (whole.method, whole.path) == ("GET", "/api/v3/global/call/call-1")
    assert (alone.method, alone.path) == ("GET", f"/api/v2/global/call/{IDS[0]}")
    assert whole.headers["Authorization"] == f"Bearer {TOKEN}"
    assert asked("a/b?c", "x").path == "/api/v3/global/call/a%2Fb%3Fc"
    assert asked("", "a/b?c").path == "/api/v2/global/call/a%2Fb%3Fc"


@pytest.mark.parametrize("spell", [str.upper, str.lower, str.title])
def test_the_four_states_of_a_ticket(spell: Callable[[str], str]) -> None:
    assert state(spell("SUCCESS")) == {IDS[0]: Verdict(Ruling.SUCCEEDED)}
    assert state(spell("OPEN")) == {IDS[0]: Verdict(Ruling.PROMISED, ticket=IDS[0])}
    none = "the vendor gave no reason"
    assert state(spell("FAILURE")) == {IDS[0]: Verdict(Ruling.REFUSED, "FAILURE", none)}
    assert state(spell("INTERNAL_ERROR")) == {IDS[0]: Verdict(Ruling.PASSING, "INTERNAL_ERROR", none)}


def test_a_failure_keeps_the_vendors_words() -> None:
    found = state("FAILURE", errorCode="SUBSCRIBER_1003", errorMessage="Failed to update")
    assert found == {IDS[0]: Verdict(Ruling.REFUSED, "FAILURE", "SUBSCRIBER_1003: Failed to update")}
    found = ask({"errorCode": "X", "errorMessage": "Why", "content": [{"status": "FAILURE"}]})
    assert found == {IDS[0]: Verdict(Ruling.REFUSED, "FAILURE", "Why")}


@pytest.mark.parametrize(
    "status", ["DONE", "", None, 1, ["SUCCESS"], {"status": "SUCCESS"}, True, "NO SUCCESS"]
)
def test_an_unknown_state_is_no_word(status: Any) -> None:
    assert state(status) == {}


@pytest.mark.parametrize("content", ["", None, [], {}, "SUCCESS", [None], ["SUCCESS"], [[]], 1])
def test_content_of_a_strange_shape_is_no_word(content: Any) -> None:
    assert ask({"errorCode": "", "content": content}) == {}
    assert ask({"errorCode": "", "content": content}, *IDS, call="call") == {}


def test_a_whole_call_is_read_entry_by_entry() -> None:
    found = states(
        {"requestId": IDS[2], "status": "OPEN"},
        {"requestId": IDS[0], "status": "SUCCESS"},
        {"requestId": IDS[1], "status": "FAILURE", "errorMessage": "No"},
        {"requestId": "somebody-elses", "status": "SUCCESS"},
        {"status": "FAILURE"},
        {"requestId": 1, "status": "SUCCESS"},
    )
    assert found == {
        IDS[0]: Verdict(Ruling.SUCCEEDED),
        IDS[1]: Verdict(Ruling.REFUSED, "FAILURE", "No"),
        IDS[2]: Verdict(Ruling.PROMISED, ticket=IDS[2]),
    }


@pytest.mark.parametrize("other", ["FAILURE", "OPEN", "DONE", None])
def test_entries_that_contradict_one_another_are_no_word(other: Any) -> None:
    success = {"requestId": IDS[0], "status": "SUCCESS"}
    contradiction = {"requestId": IDS[0], "status": other}
    for entries in ([success, contradiction], [contradiction, success], [success, contradiction, success]):
        assert states(*entries, {"requestId": IDS[1], "status": "SUCCESS"}) == {
            IDS[1]: Verdict(Ruling.SUCCEEDED)
        }


def test_the_same_entry_twice_is_one_word() -> None:
    assert states(*[{"requestId": IDS[0], "status": "SUCCESS"}] * 2) == {IDS[0]: Verdict(Ruling.SUCCEEDED)}


def test_the_state_of_another_ticket_is_not_the_one_asked_after() -> None:
    assert state("SUCCESS", requestId=IDS[1]) == {}
    assert state("SUCCESS", requestId=IDS[0]) == {IDS[0]: Verdict(Ruling.SUCCEEDED)}


def test_a_success_beside_an_error_is_not_believed() -> None:
    found = ask({"errorCode": "SUBSCRIBER_1003", "errorMessage": "No", "content": [{"status": "SUCCESS"}]})
    assert isinstance(found, Fault)
    assert found.kind is FaultKind.REFUSED


@pytest.mark.parametrize("status", [200, 400, 404])
def test_a_ticket_that_the_vendor_does_not_know_is_unknown(status: int) -> None:
    body = {"errorCode": "GLOBAL_1003", "errorMessage": "No such request", "content": ""}
    assert ask(body, status=status) == {IDS[0]: Verdict(Ruling.UNKNOWN, "GLOBAL_1003", "No such request")}
    found = ask(body, *IDS, call="call", status=status)
    assert found == Fault(FaultKind.REFUSED, "GLOBAL_1003", "No such request")


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_no_ticket_is_unknown_by_the_word_of_a_broken_vendor(status: int) -> None:
    assert isinstance(ask({"errorCode": "GLOBAL_1003"}, status=status), Fault)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
def test_a_vendor_without_the_question_for_a_call_is_asked_otherwise(status: int) -> None:
    found = ask(b"<html>", *IDS, call="call", status=status)
    assert isinstance(found, Fault)
    assert (found.kind, found.code) == (FaultKind.REFUSED, "no_call_status")
    assert found.reason == f"http_{status}: HTTP {status}: <html>"


@pytest.mark.parametrize("status", [404, 410])
def test_a_ticket_that_a_gateway_no_longer_finds_has_no_word_on_it(status: int) -> None:
    assert ask(b"<html>", status=status) == {}


@pytest.mark.parametrize("status", [403, 405])
def test_a_question_for_a_ticket_at_a_wrong_path_stops_the_run(status: int) -> None:
    found = ask(b"<html>", status=status)
    assert isinstance(found, Fault)
    assert found.kind is FaultKind.STOP


@pytest.mark.parametrize("call", ["", "call"])
@pytest.mark.parametrize("status", [200, 400])
def test_a_busy_vendor_is_asked_again(call: str, status: int) -> None:
    body = {"errorCode": "GLOBAL_1001", "errorMessage": "Service unavailable", "content": ""}
    found = ask(body, IDS[0], call=call, status=status)
    assert isinstance(found, Fault)
    assert (found.kind, found.code) == (FaultKind.NOT_CARRIED_OUT, "GLOBAL_1001")


@pytest.mark.parametrize("call", ["", "call"])
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"content":[{"status":"SUCC'])
def test_an_answer_to_a_question_that_cannot_be_read_is_lost(body: bytes, call: str) -> None:
    found = ask(body, IDS[0], call=call)
    assert isinstance(found, Fault)
    assert found.kind is FaultKind.LOST


def test_who_may_not_ask_for_a_ticket_is_stopped_and_for_a_call_asks_otherwise() -> None:
    alone = ask({"errorCode": "AUTH_1", "errorMessage": "No"})
    whole = ask({"errorCode": "AUTH_1", "errorMessage": "No"}, call="call")
    assert alone == Fault(FaultKind.STOP, "AUTH_1", "No")
    assert whole == Fault(FaultKind.REFUSED, "no_call_status", "AUTH_1: No")


# ---------------------------------------------------------------- the token


def with_login(serve: Callable[[Request], Response]) -> tuple[BulkSubscriber, Vendor]:
    """Give a target that logs in, and a vendor that gives tokens t1, t2, …"""
    logins = 0

    def answer(request: Request) -> Response:
        nonlocal logins
        if request.path == "/api/v2/auth/token":
            logins += 1
            return response_of({"errorCode": "", "content": [{"token": f"t{logins}"}]})
        return serve(request)

    return target(username=SecretStr("us"), password=SecretStr("secret-of-ours")), Vendor(answer)


def logins_of(vendor: Vendor) -> int:
    return sum(request.path == "/api/v2/auth/token" for request in vendor.sent)


async def test_sixteen_sends_at_once_log_in_once() -> None:
    sender, vendor = with_login(lambda _: response_of(ACK))
    found = await asyncio.gather(*(sender.send(batch_of(ROWS), vendor) for _ in range(16)))
    assert all(isinstance(reply, Reply) for reply in found)
    assert (logins_of(vendor), vendor.requests) == (1, 17)


async def test_sixteen_sends_and_polls_whose_token_died_log_in_once_more() -> None:
    dead = {"Bearer t1"}

    def serve(request: Request) -> Response:
        if request.headers["Authorization"] in dead:
            return response_of(b"expired", 401)
        return response_of(ACK if request.method == "PATCH" else {"content": [{"status": "SUCCESS"}]})

    sender, vendor = with_login(serve)
    found = await asyncio.gather(
        *(sender.send(batch_of(ROWS), vendor) for _ in range(8)),
        *(sender.poll("", IDS[:1], vendor) for _ in range(8)),
    )
    assert [outcome for outcome in found if isinstance(outcome, Fault)] == []
    assert logins_of(vendor) == 2


async def test_a_new_token_refused_too_stops_the_run() -> None:
    sender, vendor = with_login(lambda _: response_of(b"no", 401))
    for found in (await sender.send(batch_of(ROWS), vendor), await sender.poll("c", IDS, vendor)):
        assert isinstance(found, Fault)
        assert (found.kind, found.code) == (FaultKind.STOP, "http_401")


async def test_a_lost_answer_to_the_batch_is_not_swallowed() -> None:
    def lost(_: Request) -> Response:
        raise NoReply(Fault(FaultKind.LOST, "timeout", "no answer"))

    sender, vendor = with_login(lost)
    with pytest.raises(NoReply):
        await sender.send(batch_of(ROWS), vendor)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 413, 422, 429, 500, 503])
def test_the_token_is_never_shown(status: int) -> None:
    escaped = TOKEN.replace("e", "\\u0065")
    for words in (f"bad token {TOKEN}", f"Authorization: Bearer {TOKEN}", f"cut {TOKEN[:18]}"):
        bodies = [
            words.encode(),
            {"errorCode": "X", "errorMessage": words},
            {"errorCode": words},
            {"errorCode": "AUTH_1", "errorMessage": words},
            {"odd": [{"echo": words}]},
            json.dumps({"odd": words}).replace(TOKEN, escaped).encode(),
        ]
        for body in bodies:
            told = [read(body, status), ask(body, status=status), ask(body, *IDS, call="c", status=status)]
            assert "yJhbG" not in repr(told)
            assert "our-token" not in repr(told)
        nodes = reply({"bulk": [failed(0, words, words), failed(1, "X", words)]}).answers
        assert "yJhbG" not in repr(nodes)


def test_the_token_is_not_shown_where_a_redirect_leads_to_it() -> None:
    assert fault(b"", 302, {"location": f"/login/{TOKEN}"}).reason.startswith(
        "HTTP 302: redirected to /login/…"
    )


# ---------------------------------------------------------------- any JSON whatever


_LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["", *IDS, *(row["value"] for row in ROWS), "IMSI", "imsi", "ICCID", "SUCCESS", "OPEN"]),
    st.sampled_from(["FAILURE", "GLOBAL_1001", "GLOBAL_1003", "AUTH_1"]),
)
_KEY = st.sampled_from(
    [
        "bulk",
        "errorCode",
        "errorMessage",
        "requestId",
        "subscriberIdentifiers",
        "content",
        "type",
        "value",
        "status",
    ]
)
_IDENTIFIERS = st.fixed_dictionaries({"type": _LEAF, "value": _LEAF}) | st.sampled_from(
    [{"type": row["type"], "value": row["value"]} for row in ROWS]
)
_NODE = st.fixed_dictionaries(
    {},
    optional={"errorCode": _LEAF, "requestId": _LEAF, "subscriberIdentifiers": _IDENTIFIERS, "status": _LEAF},
)
_ANY = st.recursive(
    _LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEY, inner, max_size=4)
)
_BODY = st.one_of(
    st.binary(max_size=20),
    _ANY,
    st.fixed_dictionaries({"bulk": st.lists(_NODE | _ANY, max_size=4)}, optional={"errorCode": _LEAF}),
    st.fixed_dictionaries({"content": st.lists(_NODE | _ANY, max_size=4)}, optional={"errorCode": _LEAF}),
)
_STATUS = st.sampled_from([200, 200, 200, 202, 400, 404, 405, 422, 429, 500, 501, 503])


@settings(max_examples=300, deadline=None)
@given(body=_BODY, status=_STATUS)
def test_whatever_comes_back_no_item_is_promised_that_the_reply_does_not_name(body: Any, status: int) -> None:
    found = read(body, status, {"request-id": "call"})
    if isinstance(found, Fault):
        return
    nodes = (json.loads(body) if isinstance(body, bytes) else body)["bulk"]
    named = {
        f"{its['type'].strip().upper()}:{its['value'].strip()}"
        for entry in nodes
        if isinstance(entry, dict)
        and isinstance(its := entry.get("subscriberIdentifiers"), dict)
        and isinstance(its.get("type"), str)
        and isinstance(its.get("value"), str)
    }
    ids = [str(entry.get("requestId")).strip() for entry in nodes if isinstance(entry, dict)]
    for index, verdict in reconcile(KEYS, found).exceptions.items():
        assert verdict.ruling is not Ruling.SUCCEEDED
        assert verdict.ruling is not Ruling.PROMISED or (KEYS[index] in named and verdict.ticket in ids)
    assert len(reconcile(KEYS, found).exceptions) == len(KEYS)


@settings(max_examples=300, deadline=None)
@given(body=_BODY, status=_STATUS, call=st.sampled_from(["", "call"]))
def test_whatever_comes_back_no_ticket_succeeds_that_the_answer_does_not_name(
    body: Any, status: int, call: str
) -> None:
    tickets = IDS if call else IDS[:1]
    found = ask(body, *tickets, call=call, status=status)
    if isinstance(found, Fault):
        return
    text = body.decode(errors="replace") if isinstance(body, bytes) else json.dumps(body)
    assert set(found) <= set(tickets)
    for ticket, verdict in found.items():
        assert verdict.ruling is not Ruling.SUCCEEDED or ("SUCCESS" in text and (not call or ticket in text))


# ---------------------------------------------------------------- settings


TABLE = {"kind": "bulk-subscriber", "base_url": "https://vendor.example"}
LOGIN = {"username": "env:BULK_U", "password": "env:BULK_P"}


@pytest.fixture
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BULK_U", "BULK_P", "BULK_T"):
        monkeypatch.setenv(name, f"{name}-in-the-environment")


@pytest.mark.usefixtures("_secrets")
def test_credentials_are_username_and_password_or_a_token() -> None:
    for way in (LOGIN, {"token": "env:BULK_T"}):
        found = read_table(Settings, {**TABLE, **way}, where="job.toml", table="target")
        assert "in-the-environment" not in repr(found)
        assert (found.null_marker, found.codes) == ("<null>", {})


@pytest.mark.usefixtures("_secrets")
@pytest.mark.parametrize("without", [True, False])
@pytest.mark.parametrize(
    "way",
    [
        {},
        {"username": "env:BULK_U"},
        {"password": "env:BULK_P"},
        {**LOGIN, "token": "env:BULK_T"},
        {"username": "env:BULK_U", "token": "env:BULK_T"},
    ],
)
def test_any_other_way_in_is_one_clear_line(way: dict[str, str], *, without: bool) -> None:
    with pytest.raises(UsageError) as raised:
        read_table(Settings, {**TABLE, **way}, where="job.toml", table="target", resolve_secrets=not without)
    assert str(raised.value) == "job.toml: target: credentials are either username and password, or token"


@pytest.mark.parametrize("way", [LOGIN, {"token": "env:BULK_T"}])
def test_a_check_needs_no_secret(way: dict[str, str]) -> None:
    found = read_table(Settings, {**TABLE, **way}, where="job.toml", resolve_secrets=False)
    assert BulkSubscriber(found).name == "bulk-subscriber"
    assert Settings.model_validate({**TABLE, **way}, context=WITHOUT_SECRETS) == found


@pytest.mark.parametrize("literal", ["secret", "", 1])
def test_credentials_are_references_never_literals(literal: Any) -> None:
    with pytest.raises(UsageError, match=r"target\.password: must be a reference"):
        read_table(
            Settings, {**TABLE, "username": "env:PATH", "password": literal}, where="job.toml", table="target"
        )


def test_a_token_that_cannot_stand_in_a_header_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in ("two words", "line\nbreak", "é"):
        monkeypatch.setenv("BULK_T", bad)
        with pytest.raises(UsageError, match="token must be one line of printable ASCII") as raised:
            read_table(Settings, {**TABLE, "token": "env:BULK_T"}, where="job.toml", table="target")
        assert bad not in str(raised.value)


@pytest.mark.usefixtures("_secrets")
@pytest.mark.parametrize("marker", ["", " ", " x", "x\t"])
def test_a_null_marker_can_stand_in_a_cell(marker: str) -> None:
    with pytest.raises(UsageError, match=r"target\.null_marker: must be text"):
        read_table(Settings, {**TABLE, **LOGIN, "null_marker": marker}, where="job.toml", table="target")


@pytest.mark.usefixtures("_secrets")
def test_a_code_can_only_mean_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"target\.codes\.X"):
        read_table(Settings, {**TABLE, **LOGIN, "codes": {"X": "ignore"}}, where="job.toml", table="target")


@pytest.mark.usefixtures("_secrets")
def test_the_address_has_no_default() -> None:
    with pytest.raises(UsageError, match=r"target\.base_url: is missing"):
        read_table(Settings, {"kind": "bulk-subscriber", **LOGIN}, where="job.toml", table="target")


def test_an_iccid_echoed_with_its_padding_is_the_one_that_was_sent() -> None:
    assert name_of({"type": "iccid", "value": " 8935711001000034535F "}) == "ICCID:8935711001000034535"
