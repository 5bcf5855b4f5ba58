"""The simulated bulk subscriber API: its logic in virtual time, then the real process over real HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import sys
import uuid
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen, run
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.simulator.bulk_subscriber import BULK_PATH, TOKEN_PATH, V2_PATH, V3_PATH, BulkSubscriber
from pipeline.simulator.bulk_subscriber_faults import BulkSubscriberFaults
from pipeline.simulator.bulk_subscriber_store import Accepted, SubscriberStore
from pipeline.simulator.exchange import Delivery, Response
from pipeline.simulator.faults import load, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_700_000_000.0
LATER = NOW + 10
READY = {"Authorization": "Bearer ready"}
CONFIG = Path(__file__).parents[1] / "config"

Json = dict[str, Any]


def imsi(number: int) -> str:
    return f"22201{number:010d}"


def entry(number: int, alias: object = "Camera1", **changes: object) -> Json:
    return {
        "subscriberIdentifiers": {"type": "IMSI", "value": imsi(number)},
        "content": {"alias": alias},
    } | changes


def identified(kind: object, value: object) -> Json:
    return entry(0, subscriberIdentifiers={"type": kind, "value": value})


def fault(kind: str, *keys: str) -> str:
    return "\n".join(["[[fault]]", f'kind = "{kind}"', *keys, ""])


def vendor_with(faults: str = "", **options: Any) -> BulkSubscriber:
    options = {"token": "ready"} | options
    return BulkSubscriber(SubscriberStore(), faults=parse(faults, BulkSubscriberFaults), **options)


def ask(
    vendor: BulkSubscriber,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    now: float = NOW,
    headers: dict[str, str] = READY,
) -> Response:
    plan = vendor.handle(now, headers, body, method=method, path=path)
    return vendor.carry_out(plan)


def send(vendor: BulkSubscriber, *entries: object, now: float = NOW) -> Response:
    return ask(vendor, "PATCH", BULK_PATH, json.dumps({"bulk": entries}).encode(), now=now)


def login(vendor: BulkSubscriber, now: float = NOW, **changes: str) -> Response:
    body = json.dumps({"username": "demo-user", "password": "demo-password"} | changes).encode()
    return ask(vendor, "POST", TOKEN_PATH, body, now=now)


def poll(vendor: BulkSubscriber, request_id: str, now: float = LATER) -> Response:
    return ask(vendor, "GET", V2_PATH + request_id, now=now)


def poll_call(vendor: BulkSubscriber, call_id: str, now: float = LATER) -> Response:
    return ask(vendor, "GET", V3_PATH + call_id, now=now)


def told(response: Response) -> Json:
    document = json.loads(response.body)
    assert isinstance(document, dict)
    return document


def nodes(response: Response) -> list[Json]:
    bulk = told(response)["bulk"]
    assert isinstance(bulk, list)
    return bulk


def codes(response: Response) -> list[str]:
    return [node["errorCode"] for node in nodes(response)]


def values(response: Response) -> list[str]:
    return [node["subscriberIdentifiers"]["value"] for node in nodes(response)]


def status(vendor: BulkSubscriber, request_id: str, now: float = LATER) -> str:
    document = told(poll(vendor, request_id, now))
    return str(document["errorCode"] or document["content"][0]["status"])


def held(vendor: BulkSubscriber, number: int, now: float = LATER) -> Json:
    found = vendor.witness(now, "GET", f"/subscribers/IMSI/{imsi(number)}", b"")
    return told(found) if found.status == 200 else {}


# ---------------------------------------------------------------- ACK and NAK


def test_a_good_call_is_acknowledged_node_by_node_each_with_a_request_of_its_own() -> None:
    reply = send(vendor_with(), entry(1), identified("ICCID", "8935711001000034535"))
    assert reply.status == 200
    assert [{**node, "requestId": ""} for node in nodes(reply)] == [
        {"errorCode": "", "errorMessage": "", "requestId": "", **entry(1)},
        {"errorCode": "", "errorMessage": "", "requestId": "", **identified("ICCID", "8935711001000034535")},
    ]
    ids = {node["requestId"] for node in nodes(reply)} | {reply.headers["Request-Id"]}
    assert len(ids) == 3
    assert {uuid.UUID(text).version for text in ids} == {4}
    assert told(reply)["pageable"] == {"page": 0, "size": 10, "totalPages": 1, "totalElements": 1}


def test_a_bad_node_makes_a_nak_that_lists_it_alone_and_carries_out_nothing() -> None:
    vendor = vendor_with(fault("refuse_nodes", f'values = ["{imsi(2)}"]'))
    reply = send(vendor, entry(1), entry(2), entry(3))
    assert nodes(reply) == [
        {
            "errorCode": "SUBSCRIBER_1002",
            "errorMessage": "Subscriber does not exist",
            "requestId": "",
            **entry(2),
        }
    ]
    assert [held(vendor, number) for number in (1, 2, 3)] == [{}, {}, {}]
    assert told(poll_call(vendor, reply.headers["Request-Id"]))["errorCode"] == "GLOBAL_1003"
    assert codes(send(vendor, entry(1), entry(3))) == ["", ""]


@pytest.mark.parametrize(
    "good",
    [
        ("IMSI", "222013090961859"),
        ("ICCID", "8935711001000034535"),
        ("ICCID", "89357110010000345351"),
        ("MSISDN", "3197010200300"),
        ("IMEI", "861111111111115"),
        ("IMEISV", "8611111111111156"),
    ],
)
def test_the_five_types_are_known_with_their_forms(good: tuple[str, str]) -> None:
    assert codes(send(vendor_with(), identified(*good))) == [""]


@pytest.mark.parametrize(
    "bad",
    [
        identified("EID", "35203000100100000000000000287435"),
        identified("imsi", imsi(1)),
        identified(None, imsi(1)),
        identified(["IMSI"], imsi(1)),
        identified("IMSI", "2220130909618590"),
        identified("IMSI", 222013090961859),
        identified("IMSI", ""),
        identified("ICCID", "898600B5000000000001"),
        identified("ICCID", "893571100100003453"),
        identified("MSISDN", "+3197010200300"),
        identified("IMEI", "86111111111111"),
        identified("IMEISV", "861111111111115"),
        identified("IMEI", "٨٦١١١١١١١١١١١١٥"),
        entry(1, subscriberIdentifiers="IMSI"),
        entry(1, content=""),
        entry(1, content=None),
        entry(1, content={"alias": "x", "name": "y"}),
        entry(1, alias=None),
        entry(1, alias=7),
        {},
    ],
)
def test_a_node_that_is_not_as_the_page_says_fails_the_call(bad: Json) -> None:
    vendor = vendor_with()
    reply = send(vendor, entry(5), bad)
    assert codes(reply) == ["GLOBAL_1002"]
    assert nodes(reply)[0]["errorMessage"]
    assert nodes(reply)[0]["requestId"] == ""
    assert held(vendor, 5) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"bulk":{}}',
        b'{"bulk":[]}',
        b'{"bulk":["x"]}',
        b'{"bulk":[{"content":{"alias":NaN}}]}',
        b'{"bulk":[{"content":{"alias":"\\ud800"}}]}',
    ],
)
def test_a_malformed_call_is_an_error_without_nodes(body: bytes) -> None:
    reply = ask(vendor_with(), "PATCH", BULK_PATH, body)
    assert reply.status == 400
    assert told(reply)["errorCode"] == "GLOBAL_1002"
    assert "bulk" not in told(reply)


def test_more_entries_than_the_limit_are_refused_as_a_whole_and_the_limit_itself_is_not() -> None:
    vendor = vendor_with(max_items=3)
    assert send(vendor, *map(entry, range(4))).status == 400
    assert codes(send(vendor, *map(entry, range(3)))) == ["", "", ""]
    assert vendor.traffic.max_items == 4
    assert codes(send(vendor_with(), *map(entry, range(200)))) == [""] * 200
    assert send(vendor_with(), *map(entry, range(201))).status == 400


def test_too_many_entries_can_be_a_413() -> None:
    vendor = vendor_with(fault("too_large", "items = 2"))
    assert send(vendor, entry(1), entry(2), entry(3)).status == 413
    assert send(vendor, entry(1), entry(2)).status == 200


def test_an_unknown_path_is_not_found_and_a_wrong_method_is_said() -> None:
    vendor = vendor_with()
    for path in (
        "/",
        "/api/v2/bulk",
        "/api/v2/global/call/",
        "/api/v2/global/call/a/b",
        "/api/v4/global/call/a",
    ):
        assert ask(vendor, "GET", path).status == 404, path
    assert ask(vendor, "POST", BULK_PATH).headers == {"Allow": "PATCH"}
    assert ask(vendor, "PATCH", TOKEN_PATH).status == 405
    assert ask(vendor, "POST", V2_PATH + "a").status == 405
    assert vendor.traffic.requests == 0


# ---------------------------------------------------------------- tokens


def test_a_token_is_given_for_user_name_and_password_and_lets_in() -> None:
    vendor = vendor_with(token=None)
    reply = told(login(vendor))
    assert reply["errorCode"] == ""
    token = reply["content"][0]["token"]
    assert poll(vendor, "x").status == 401
    for name in ("Authorization", "authorization"):
        assert ask(vendor, "GET", V2_PATH + "x", headers={name: f"Bearer {token}"}).status == 200
    assert vendor.traffic.own == {"sends": 0, "polls": 3, "logins": 1, "unauthorized": 1}


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer other", "Basic ready", "ready", "Bearer ready ready"]
)
def test_without_a_valid_token_every_call_is_a_401_that_changes_nothing(header: str) -> None:
    vendor = vendor_with()
    body = json.dumps({"bulk": [entry(1)]}).encode()
    reply = ask(vendor, "PATCH", BULK_PATH, body, headers={"Authorization": header})
    assert (reply.status, reply.headers) == (401, {"WWW-Authenticate": "Bearer"})
    assert held(vendor, 1) == {}
    assert vendor.traffic.own["unauthorized"] == 1


def test_wrong_credentials_are_a_401_and_no_token() -> None:
    vendor = vendor_with()
    reply = login(vendor, password="guess")
    assert reply.status == 401
    assert told(reply)["content"] == ""
    assert vendor.traffic.own["logins"] == vendor.traffic.own["unauthorized"] == 1


def with_new_token(vendor: BulkSubscriber, now: float) -> dict[str, str]:
    return {"Authorization": f"Bearer {told(login(vendor, now))['content'][0]['token']}"}


def test_a_token_ends_after_its_life_and_a_ready_one_never() -> None:
    vendor = vendor_with(token_life_s=60)
    headers = with_new_token(vendor, NOW)
    assert ask(vendor, "GET", V2_PATH + "x", now=NOW + 59.9, headers=headers).status == 200
    assert ask(vendor, "GET", V2_PATH + "x", now=NOW + 60, headers=headers).status == 401
    assert poll(vendor, "x", NOW + 10**9).status == 200


def test_a_token_ends_after_so_many_uses_and_the_next_one_is_another() -> None:
    vendor = vendor_with(token_uses=2)
    headers = with_new_token(vendor, NOW)
    found = [ask(vendor, "GET", V2_PATH + "x", headers=headers).status for _ in range(3)]
    assert found == [200, 200, 401]
    assert with_new_token(vendor, NOW) != headers
    assert ask(vendor, "GET", V2_PATH + "x", headers=headers).status == 401


def test_a_token_can_be_withdrawn_in_mid_run_a_ready_one_too() -> None:
    vendor = vendor_with(fault("revoke_token", 'on = "send"', "requests = [2]"))
    found = [send(vendor, entry(number)).status for number in range(3)]
    assert found == [200, 401, 401]
    assert poll(vendor, "x").status == 401
    assert ask(vendor, "GET", V2_PATH + "x", headers=with_new_token(vendor, NOW)).status == 200


# ---------------------------------------------------------------- completion and polls

SLOW_END = "[completion]\nmean_s = 5\njitter_s = 2\n"


def test_a_request_is_open_until_its_time_and_only_then_is_the_alias_stored() -> None:
    vendor = vendor_with(SLOW_END)
    request_id = nodes(send(vendor, entry(1, "Gate")))[0]["requestId"]
    assert told(poll(vendor, request_id, NOW)) == {
        "errorCode": "",
        "errorMessage": "",
        "content": [{"status": "OPEN"}],
        "pageable": {"page": 0, "size": 10, "totalPages": 1, "totalElements": 1},
    }
    nothing_yet = {"type": "IMSI", "value": imsi(1), "alias": None, "writes": 0, "accepted": 1, "state": None}
    assert held(vendor, 1, NOW + 2.9) == nothing_yet
    assert status(vendor, request_id, NOW + 2.9) == "OPEN"
    assert status(vendor, request_id, NOW + 7.1) == "SUCCESS"
    assert held(vendor, 1, NOW + 7.1) == nothing_yet | {"alias": "Gate", "writes": 1, "state": "SUCCESS"}


def test_a_request_ends_at_the_time_drawn_from_the_seed() -> None:
    def ends(seed: int) -> list[int]:
        vendor = vendor_with(f"seed = {seed}\n{SLOW_END}")
        ids = [node["requestId"] for node in nodes(send(vendor, *map(entry, range(20))))]
        return [
            next(tenth for tenth in range(100) if status(vendor, one, NOW + tenth / 10) == "SUCCESS")
            for one in ids
        ]

    assert ends(1) == ends(1) != ends(2)
    assert min(ends(1)) >= 30
    assert max(ends(1)) <= 70
    assert len(set(ends(1))) > 10


def test_by_default_a_request_ends_within_half_a_second() -> None:
    vendor = vendor_with()
    ids = [node["requestId"] for node in nodes(send(vendor, *map(entry, range(50))))]
    assert {status(vendor, one, NOW + 0.0499) for one in ids} == {"OPEN"}
    assert {status(vendor, one, NOW + 0.5) for one in ids} == {"SUCCESS"}


def test_time_spent_waiting_for_its_turn_delays_the_acceptance() -> None:
    vendor = vendor_with("latency = { mean_s = 3 }\n[completion]\nmean_s = 1\njitter_s = 0")
    request_id = nodes(send(vendor, entry(1)))[0]["requestId"]
    assert vendor.store.status(NOW + 3.9, request_id) == "OPEN"
    assert vendor.store.status(NOW + 4, request_id) == "SUCCESS"


def test_an_empty_alias_clears_and_a_missing_one_leaves_what_is_there() -> None:
    vendor = vendor_with()
    planted = {"subscribers": [{"type": "IMSI", "value": imsi(1), "alias": "Old"}]}
    assert told(vendor.witness(NOW, "POST", "/subscribers", json.dumps(planted).encode())) == {"planted": 1}
    send(vendor, entry(1, content={}))
    assert held(vendor, 1, NOW + 1)["alias"] == "Old"
    send(vendor, entry(1, ""), now=NOW + 2)
    found = held(vendor, 1)
    assert (found["alias"], found["writes"], found["accepted"]) == (None, 2, 2)


def test_of_two_writes_the_one_that_ends_last_wins() -> None:
    vendor = vendor_with("[completion]\nmean_s = 1\njitter_s = 0")
    send(vendor, entry(1, "first"), entry(1, "second"))
    send(vendor, entry(1, "third"), now=NOW + 0.5)
    assert held(vendor, 1, NOW + 1)["alias"] == "second"
    assert held(vendor, 1, NOW + 1.5) | {"type": "", "value": ""} == {
        "type": "", "value": "", "alias": "third", "writes": 3, "accepted": 3, "state": "SUCCESS",
    }  # fmt: skip


def test_a_failed_item_is_accepted_and_changes_nothing() -> None:
    vendor = vendor_with(fault("fail_items", f'values = ["{imsi(2)}"]'))
    ids = [node["requestId"] for node in nodes(send(vendor, entry(1), entry(2)))]
    assert [status(vendor, one) for one in ids] == ["SUCCESS", "FAILURE"]
    found = held(vendor, 2)
    assert (found["alias"], found["writes"], found["accepted"], found["state"]) == (None, 0, 1, "FAILURE")
    assert told(vendor.witness(LATER, "GET", "/subscribers/count", b"")) == {"count": 1}


def test_an_internal_error_can_pass_so_that_a_repeat_succeeds() -> None:
    vendor = vendor_with(fault("fail_items", 'status = "INTERNAL_ERROR"', 'pattern = ".*"', "times = 2"))
    found = []
    for attempt in range(4):
        ids = [node["requestId"] for node in nodes(send(vendor, entry(1), now=NOW + attempt))]
        found.append(status(vendor, ids[0]))
    assert found == ["INTERNAL_ERROR", "INTERNAL_ERROR", "SUCCESS", "SUCCESS"]
    assert held(vendor, 1)["writes"] == 2
    assert vendor.traffic.faults == {"fail_items": 2}


def test_an_item_can_stay_open_for_ever() -> None:
    vendor = vendor_with(fault("never_finish", f'values = ["{imsi(1)}"]'))
    request_id = nodes(send(vendor, entry(1)))[0]["requestId"]
    assert status(vendor, request_id, NOW + 10**9) == "OPEN"
    assert held(vendor, 1, NOW + 10**9)["writes"] == 0


def test_a_forgotten_request_is_not_known_but_was_carried_out() -> None:
    vendor = vendor_with(fault("forget_items", f'values = ["{imsi(1)}"]'))
    request_id = nodes(send(vendor, entry(1)))[0]["requestId"]
    reply = poll(vendor, request_id, NOW)
    assert (reply.status, told(reply)["errorCode"], told(reply)["content"]) == (200, "GLOBAL_1003", "")
    assert held(vendor, 1)["writes"] == 1


def test_a_request_can_be_forgotten_some_time_after_it_was_accepted() -> None:
    vendor = vendor_with(fault("forget_items", f'values = ["{imsi(1)}"]', "after_s = 2"))
    request_id = nodes(send(vendor, entry(1)))[0]["requestId"]
    assert status(vendor, request_id, NOW + 1.9) == "SUCCESS"
    assert status(vendor, request_id, NOW + 2) == "GLOBAL_1003"


def test_every_request_is_forgotten_when_its_retention_is_over() -> None:
    vendor = vendor_with("[completion]\nmean_s = 1\njitter_s = 0\nretention_s = 60")
    reply = send(vendor, entry(1))
    request_id, call_id = nodes(reply)[0]["requestId"], reply.headers["Request-Id"]
    assert status(vendor, request_id, NOW + 60.9) == "SUCCESS"
    assert status(vendor, request_id, NOW + 61) == "GLOBAL_1003"
    assert told(poll_call(vendor, call_id, NOW + 61))["errorCode"] == "GLOBAL_1003"


def test_an_unknown_request_is_a_code_or_a_status_by_choice() -> None:
    assert poll(vendor_with(), str(uuid.UUID(int=1))).status == 200
    reply = poll(vendor_with(fault("error_status", "status = 404", 'on = "poll"')), str(uuid.UUID(int=1)))
    assert (reply.status, told(reply)["errorCode"]) == (404, "GLOBAL_1003")


def test_the_v3_poll_tells_of_the_whole_call_and_of_no_other() -> None:
    vendor = vendor_with(fault("fail_items", f'values = ["{imsi(2)}"]'))
    send(vendor, entry(7), entry(8))
    reply = send(vendor, entry(1), entry(2), entry(3))
    send(vendor, entry(9))
    ids = [node["requestId"] for node in nodes(reply)]
    call_id = reply.headers["Request-Id"]
    assert {one["status"] for one in told(poll_call(vendor, call_id, NOW))["content"]} == {"OPEN"}
    assert told(poll_call(vendor, call_id))["content"] == [
        {"requestId": ids[0], "status": "SUCCESS"},
        {"requestId": ids[1], "status": "FAILURE"},
        {"requestId": ids[2], "status": "SUCCESS"},
    ]
    assert told(poll_call(vendor, ids[0]))["errorCode"] == "GLOBAL_1003"
    assert told(poll(vendor, call_id))["errorCode"] == "GLOBAL_1003"


def test_a_v3_poll_can_be_unknown_or_lack_nodes_or_list_them_twice_or_in_another_order() -> None:
    def asked(*faults: str) -> tuple[list[str], Response]:
        vendor = vendor_with("".join(faults))
        reply = send(vendor, entry(1), entry(2), entry(3))
        found = poll_call(vendor, reply.headers["Request-Id"])
        return [node["requestId"] for node in nodes(reply)], found

    def found_ids(reply: Response) -> list[str]:
        return [one["requestId"] for one in told(reply)["content"]]

    assert asked(fault("no_v3"))[1].status == 404
    sent, reply = asked(fault("missing_nodes", 'on = "poll"'))
    assert found_ids(reply) == sent[:2]
    sent, reply = asked(fault("duplicate_nodes", 'on = "poll"', "nodes = 2"))
    assert found_ids(reply) == sent + sent[1:]
    sent, reply = asked(fault("shuffle_nodes", 'on = "poll"'))
    assert found_ids(reply) != sent
    assert sorted(found_ids(reply)) == sorted(sent)
    sent, reply = asked(fault("other_values"), fault("empty_content"))
    assert found_ids(reply) == sent


# ---------------------------------------------------------------- false replies to a PATCH


def test_under_mixed_the_good_nodes_are_carried_out_and_listed_beside_the_bad_ones() -> None:
    vendor = vendor_with(
        fault("mixed")
        + fault("refuse_nodes", f'values = ["{imsi(2)}"]', 'code = "AUTH_1013"', 'message = "No"')
    )
    reply = send(vendor, entry(1), entry(2), entry(3))
    assert codes(reply) == ["", "AUTH_1013", ""]
    assert [bool(node["requestId"]) for node in nodes(reply)] == [True, False, True]
    assert [held(vendor, number).get("writes", 0) for number in (1, 2, 3)] == [1, 0, 1]
    assert len(told(poll_call(vendor, reply.headers["Request-Id"]))["content"]) == 2
    assert vendor.traffic.faults == {"mixed": 1, "refuse_nodes": 1}
    assert codes(send(vendor, entry(2))) == ["AUTH_1013"]


def test_other_values_were_never_sent_though_the_neighbours_stand_close() -> None:
    sent = [imsi(number) for number in range(200)]
    reply = send(vendor_with(fault("other_values")), *map(entry, range(200)))
    assert not set(values(reply)) & set(sent)
    assert len(set(values(reply))) == 200
    reply = send(vendor_with(fault("other_values", "nodes = 1")), *map(entry, range(200)))
    assert values(reply)[:-1] == sent[:-1]
    assert values(reply)[-1] not in sent
    pages_own = send(vendor_with(fault("other_values")), identified("IMSI", "222013090961859"))
    assert values(pages_own) == ["222013090961963"]


def test_other_values_leave_alone_what_is_no_number() -> None:
    reply = send(vendor_with(fault("other_values")), identified("IMSI", "x"), {}, identified("IMSI", ["9"]))
    assert codes(reply) == ["GLOBAL_1002"] * 3


def test_failed_nodes_can_come_with_a_text_for_content() -> None:
    vendor = vendor_with(fault("empty_content") + fault("refuse_nodes", f'values = ["{imsi(1)}"]'))
    assert [node["content"] for node in nodes(send(vendor, entry(1)))] == [""]
    assert [node["content"] for node in nodes(send(vendor, entry(2)))] == [{"alias": "Camera1"}]
    assert vendor.traffic.faults["empty_content"] == 1


def test_nodes_can_come_in_another_order() -> None:
    vendor = vendor_with(fault("shuffle_nodes"))
    for _ in range(12):
        assert values(send(vendor, entry(1), entry(2))) == [imsi(2), imsi(1)]


def test_missing_nodes_were_carried_out_all_the_same() -> None:
    vendor = vendor_with(fault("missing_nodes", "missing = 2", 'on = "send"'))
    reply = send(vendor, entry(1), entry(2), entry(3))
    assert values(reply) == [imsi(1)]
    assert held(vendor, 3)["writes"] == 1
    assert len(told(poll_call(vendor, reply.headers["Request-Id"]))["content"]) == 3


def test_a_node_can_stand_twice_and_the_header_can_be_missing() -> None:
    reply = send(vendor_with(fault("duplicate_nodes") + fault("no_request_id")), entry(1), entry(2))
    assert values(reply) == [imsi(1), imsi(2), imsi(2)]
    assert nodes(reply)[1] == nodes(reply)[2]
    assert "Request-Id" not in reply.headers


def test_a_node_error_that_passes_is_gone_at_the_repeat() -> None:
    vendor = vendor_with(
        fault("refuse_nodes", 'code = "GLOBAL_1001"', f'values = ["{imsi(1)}"]', "times = 1")
    )
    first = send(vendor, entry(1), entry(2))
    assert (codes(first), nodes(first)[0]["errorMessage"]) == (
        ["GLOBAL_1001"],
        "Service unavailable. Please try again",
    )
    assert codes(send(vendor, entry(1), entry(2))) == ["", ""]


def test_a_nak_can_have_a_status_of_its_own_and_an_ack_then_has_not() -> None:
    vendor = vendor_with(
        fault("error_status", "status = 422") + fault("refuse_nodes", f'values = ["{imsi(1)}"]')
    )
    reply = send(vendor, entry(1), entry(2))
    assert (reply.status, values(reply)) == (422, [imsi(1)])
    assert send(vendor, entry(2)).status == 200


def test_one_bad_subscriber_can_sink_its_call_without_being_named() -> None:
    vendor = vendor_with(fault("refuse_call", f'values = ["{imsi(2)}"]'))
    reply = send(vendor, entry(1), entry(2))
    assert told(reply)["errorCode"] == "SUBSCRIBER_1003"
    assert "bulk" not in told(reply)
    assert codes(send(vendor, entry(1))) == [""]
    assert held(vendor, 2) == {}


def test_two_shares_do_not_draw_the_same_subscribers() -> None:
    shares = [
        fault("fail_items", f'status = "{word}"', "item_share = 0.3")
        for word in ("FAILURE", "INTERNAL_ERROR")
    ]
    vendor = vendor_with("".join(shares))
    ids = [node["requestId"] for node in nodes(send(vendor, *map(entry, range(200))))]
    found = [status(vendor, one) for one in ids]
    assert 40 < found.count("FAILURE") < 80
    assert 22 < found.count("INTERNAL_ERROR") < 62


# ---------------------------------------------------------------- faults of any vendor


@pytest.mark.parametrize(
    ("words", "accepted", "delivery", "code"),
    [
        ('kind = "status"\nstatus = 503', 0, Delivery.WHOLE, 503),
        ('kind = "status"\nstatus = 500\ncommit = true', 3, Delivery.WHOLE, 500),
        ('kind = "cut_before_commit"', 0, Delivery.NONE, 200),
        ('kind = "cut_after_commit"', 3, Delivery.NONE, 200),
        ('kind = "cut_after_commit"\ncommit_items = 2', 2, Delivery.NONE, 200),
        ('kind = "cut_in_reply"', 3, Delivery.HALF, 200),
        ('kind = "hang"', 0, Delivery.NONE, 200),
        ('kind = "hang"\ncommit = true', 3, Delivery.NONE, 200),
        ('kind = "html"', 0, Delivery.WHOLE, 200),
        ('kind = "empty"\ncommit = true', 3, Delivery.WHOLE, 200),
        ('kind = "truncated_json"', 3, Delivery.WHOLE, 200),
        ('kind = "error_envelope"', 0, Delivery.WHOLE, 200),
        ('kind = "error_envelope"\ncommit = true', 3, Delivery.WHOLE, 200),
    ],
)
def test_a_lost_or_false_reply_accepts_just_what_its_fault_says(
    words: str, accepted: int, delivery: Delivery, code: int
) -> None:
    vendor = vendor_with(f'[[fault]]\n{words}\non = "send"\nfirst = 1')
    response = send(vendor, entry(1), entry(2), entry(3))
    assert (response.delivery, response.status) == (delivery, code)
    assert [held(vendor, number).get("writes", 0) for number in (1, 2, 3)] == [1] * accepted + [0] * (
        3 - accepted
    )
    assert sum(vendor.traffic.faults.values()) == 1
    assert codes(send(vendor, entry(1), entry(2), entry(3))) == ["", "", ""]


@pytest.mark.parametrize("call", ["send", "poll", "login"])
def test_a_fault_on_one_sort_of_call_spares_the_others_and_counts_that_sort_alone(call: str) -> None:
    vendor = vendor_with(fault("status", "status = 503", f'on = "{call}"', "requests = [2]"))
    found = []
    for _ in range(3):
        replies = {"login": login(vendor), "send": send(vendor, entry(1)), "poll": poll(vendor, "x")}
        found.append({name: reply.status for name, reply in replies.items()})
    well = dict.fromkeys(("login", "send", "poll"), 200)
    assert found == [well, well | {call: 503}, well]


def test_without_a_word_a_fault_counts_calls_of_every_sort() -> None:
    vendor = vendor_with(fault("status", "status = 503", "requests = [2, 3]"))
    assert [login(vendor).status, send(vendor, entry(1)).status, poll(vendor, "x").status] == [200, 503, 503]


def test_a_login_whose_reply_is_lost_gave_a_token_all_the_same() -> None:
    vendor = vendor_with(fault("truncated_json", 'on = "login"', "first = 1"))
    assert login(vendor).body.startswith(b'{"errorCode":"","errorMessage"')
    spared = vendor_with()
    given = [told(login(spared))["content"][0]["token"] for _ in range(2)]
    assert told(login(vendor))["content"][0]["token"] == given[1]
    assert ask(vendor, "GET", V2_PATH + "x", headers={"Authorization": f"Bearer {given[0]}"}).status == 200


def test_a_rate_limit_holds_for_all_calls_or_for_one_sort() -> None:
    limit = ("requests_per_s = 2", "retry_after_s = 1")
    vendor = vendor_with(fault("rate_limit", *limit))
    found = [send(vendor, entry(1)).status, poll(vendor, "x", NOW).status, poll(vendor, "x", NOW).status]
    assert found == [200, 200, 429]
    assert poll(vendor, "x", NOW).headers == {"Retry-After": "1"}
    vendor = vendor_with(fault("rate_limit", *limit, 'on = "poll"'))
    assert [send(vendor, entry(1)).status for _ in range(4)] == [200] * 4
    assert [poll(vendor, "x", NOW).status for _ in range(3)] == [200, 200, 429]


def test_two_vendors_with_one_seed_answer_alike_byte_for_byte() -> None:
    faults = "seed = 3\n" + "".join(
        fault(kind, "share = 0.3")
        for kind in ("shuffle_nodes", "missing_nodes", "duplicate_nodes", "no_request_id", "truncated_json")
    )
    one, other = vendor_with(faults), vendor_with(faults)
    for round_number in range(20):
        entries = [entry(round_number * 3 + number) for number in range(5)]
        assert send(one, *entries, now=NOW + round_number) == send(other, *entries, now=NOW + round_number)
        assert login(one) == login(other)
    assert one.traffic.faults == other.traffic.faults
    assert len(one.traffic.faults) == 5
    assert nodes(send(vendor_with("seed = 4"), entry(1))) != nodes(send(vendor_with("seed = 5"), entry(1)))


def test_nothing_is_accepted_before_the_plan_is_carried_out() -> None:
    vendor = vendor_with()
    body = json.dumps({"bulk": [entry(1)]}).encode()
    plan = vendor.handle(NOW, READY, body)
    assert held(vendor, 1) == {}
    vendor.carry_out(plan)
    assert held(vendor, 1)["accepted"] == 1


def test_the_example_of_faults_loads_and_meets_what_it_names() -> None:
    vendor = BulkSubscriber(
        SubscriberStore(),
        token="ready",
        faults=load(CONFIG / "faults-bulk-subscriber.toml", BulkSubscriberFaults),
    )
    for call in range(19):
        send(vendor, *(entry(call * 200 + number) for number in range(200)))
    assert {"refuse_nodes", "fail_items"} <= set(vendor.traffic.faults)
    assert send(vendor, entry(1)).status == 401


# ---------------------------------------------------------------- the store

write = st.tuples(
    st.integers(0, 3),
    st.sampled_from([None, "", "a", "b"]),
    st.integers(0, 9),
    st.sampled_from(["SUCCESS", "FAILURE"]),
)


@settings(max_examples=60)
@given(calls=st.lists(st.lists(write, min_size=1, max_size=4), max_size=6), looks=st.sets(st.integers(0, 20)))
def test_the_store_ends_as_a_plain_dict_whenever_it_is_looked_at(
    calls: list[list[tuple[int, str | None, int, str]]], looks: set[int]
) -> None:
    store = SubscriberStore()
    ended: list[tuple[float, int, int, str | None, str]] = []
    for now, call in enumerate(calls):
        if now in looks:
            store.count(now)
        rows: list[Accepted] = []
        for number, alias, delay_s, state in call:
            serial = store.next_serial + len(rows)
            rows.append(
                Accepted(serial, f"{serial}", "IMSI", f"{number}", alias, now + delay_s, float("inf"), state)
            )
            ended.append((now + delay_s, serial, number, alias, state))
        store.accept(now, f"call {now}", rows)
    expected: dict[int, list[Any]] = {}
    for _, _, number, alias, state in sorted(ended, key=lambda end: end[:2]):
        found = expected.setdefault(number, [None, 0, 0, ""])
        found[2:] = [found[2] + 1, state]
        if state == "SUCCESS":
            found[1] += 1
            found[0] = found[0] if alias is None else alias or None
    for number, (alias, writes, accepted, state) in expected.items():
        assert store.find(100, "IMSI", f"{number}") == {
            "type": "IMSI", "value": f"{number}", "alias": alias, "writes": writes, "accepted": accepted,
            "state": state,
        }  # fmt: skip
    assert store.count(100) == sum(found[1] > 0 for found in expected.values())
    store.close()


def test_a_store_file_keeps_open_requests_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "vendor.sqlite"
    first = BulkSubscriber(SubscriberStore(path), token="ready")
    old = nodes(send(first, entry(1)))[0]["requestId"]
    first.store.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = BulkSubscriber(SubscriberStore(path), token="ready")
    new = nodes(send(second, entry(2)))[0]["requestId"]
    assert new != old
    assert [status(second, one) for one in (old, new)] == ["SUCCESS", "SUCCESS"]
    assert second.store.count(LATER) == 2
    second.store.close()


@pytest.mark.parametrize(
    "document",
    [
        "[]",
        "{",
        "{}",
        '{"subscribers":[7]}',
        '{"subscribers":[{"type":"EID","value":"1"}]}',
        '{"subscribers":[{"type":"IMSI","value":7}]}',
        '{"subscribers":[{"type":"IMSI","value":"1","alias":7}]}',
    ],
)
def test_what_is_no_subscriber_is_not_planted(document: str) -> None:
    reply = vendor_with().witness(NOW, "POST", "/subscribers", document.encode())
    assert reply.status == 400
    assert "nothing planted" in told(reply)["error"]


def test_a_subscriber_is_planted_once_and_the_witness_has_no_other_questions() -> None:
    vendor = vendor_with()
    body = json.dumps({"subscribers": [{"type": "IMSI", "value": imsi(1)}] * 2}).encode()
    assert told(vendor.witness(NOW, "POST", "/subscribers", body)) == {"planted": 1}
    assert told(vendor.witness(NOW, "GET", "/subscribers/count", b"")) == {"count": 0}
    for path in ("/profiles/count", "/subscribers", "/subscribers/IMSI", "/subscribers/IMSI/1"):
        assert vendor.witness(NOW, "GET", path, b"").status == 404, path


# From here on: the real process, real HTTP.


@contextmanager
def simulator(*options: str, env: dict[str, str] | None = None) -> Iterator[tuple[str, Popen[str]]]:
    """Start the process; yields its base URL. It must leave nothing else on its outputs."""
    command = [sys.executable, "-m", "pipeline.simulator", "bulk-subscriber", *options]
    names = ("USERNAME", "PASSWORD", "TOKEN")
    ours = {f"BULK_SUBSCRIBER_{name}": "" for name in names} | (env or {})
    with Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=os.environ | ours) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            started = re.fullmatch(
                r"simulator bulk-subscriber listening on (http://127\.0\.0\.1:\d+)\n", line
            )
            assert started, line or process.communicate()[1]
            yield started[1], process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.communicate(timeout=5) == ("", "")
                assert process.returncode == 0
        finally:
            process.kill()


async def call(
    session: aiohttp.ClientSession, method: str, url: str, document: object = None, *, bearer: str = "ready"
) -> tuple[int, Any, str | None]:
    headers = {"Authorization": f"Bearer {bearer}"}
    timeout = aiohttp.ClientTimeout(total=5)
    async with session.request(method, url, json=document, headers=headers, timeout=timeout) as reply:
        return reply.status, await reply.json(), reply.headers.get("Request-Id")


async def test_over_http_a_login_a_call_its_polls_and_the_witness_agree(tmp_path: Path) -> None:
    script = tmp_path / "faults.toml"
    script.write_text("[completion]\nmean_s = 0.02\njitter_s = 0.01")
    with simulator("--faults", str(script), "--token-life-s", "60") as (url, _):
        async with aiohttp.ClientSession() as session:
            credentials = {"username": "demo-user", "password": "demo-password"}
            assert (await call(session, "PATCH", url + BULK_PATH, {}))[0] == 401
            _, given, _ = await call(session, "POST", url + TOKEN_PATH, credentials)
            token = given["content"][0]["token"]
            bulk = {"bulk": [entry(1, "Gate"), entry(2, "Door")]}
            code, reply, call_id = await call(session, "PATCH", url + BULK_PATH, bulk, bearer=token)
            assert code == 200
            seen: set[str] = set()
            while seen != {"SUCCESS"}:
                _, polled, _ = await call(session, "GET", f"{url}{V3_PATH}{call_id}", bearer=token)
                seen = {one["status"] for one in polled["content"]}
                assert seen <= {"OPEN", "SUCCESS"}
            request_id = reply["bulk"][1]["requestId"]
            _, polled, _ = await call(session, "GET", url + V2_PATH + request_id, bearer=token)
            assert polled["content"] == [{"status": "SUCCESS"}]
            witness = url + "/_simulator"
            assert (await call(session, "GET", witness + "/subscribers/count"))[1] == {"count": 2}
            _, found, _ = await call(session, "GET", f"{witness}/subscribers/IMSI/{imsi(2)}")
            assert (found["alias"], found["writes"]) == ("Door", 1)
            traffic = (await call(session, "GET", witness + "/requests"))[1]
            assert traffic["max_items"] == 2
            assert (traffic["logins"], traffic["sends"], traffic["unauthorized"]) == (1, 2, 1)
            assert traffic["requests"] == traffic["logins"] + traffic["sends"] + traffic["polls"]


async def test_over_http_the_environment_gives_credentials_and_token() -> None:
    given = {"USERNAME": "ann", "PASSWORD": "päss", "TOKEN": "beforehand"}
    with simulator(env={f"BULK_SUBSCRIBER_{name}": value for name, value in given.items()}) as (url, _):
        async with aiohttp.ClientSession() as session:
            for password, code in (("päss", 200), ("demo-password", 401)):
                document = {"username": "ann", "password": password}
                assert (await call(session, "POST", url + TOKEN_PATH, document))[0] == code
            assert (await call(session, "GET", url + V2_PATH + "x", bearer="beforehand"))[0] == 200


async def test_over_http_a_request_that_queued_is_accepted_when_its_turn_comes(tmp_path: Path) -> None:
    script = tmp_path / "faults.toml"
    script.write_text(
        "[completion]\nmean_s = 0\njitter_s = 0\nretention_s = 0.35\n"
        + fault("capacity", "concurrent = 1")
        + fault("slow", "seconds = 0.4", 'on = "send"', "first = 2")
    )
    with simulator("--faults", str(script), "--token", "ready") as (url, _):
        async with aiohttp.ClientSession() as session:
            calls = [
                asyncio.create_task(call(session, "PATCH", url + BULK_PATH, {"bulk": [entry(1, alias)]}))
                for alias in ("a", "b")
            ]
            for one in asyncio.as_completed(calls):
                _, reply, _ = await one
            # Had it been accepted without the queueing, it would have been forgotten before it was answered.
            request_id = reply["bulk"][0]["requestId"]
            _, polled, _ = await call(session, "GET", url + V2_PATH + request_id)
            assert polled["content"] == [{"status": "SUCCESS"}]
            traffic = (await call(session, "GET", url + "/_simulator/requests"))[1]
            assert traffic["faults"] == {"slow": 2, "capacity": 1}


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    store = str(tmp_path / "vendor.sqlite")
    with simulator("--store", store, "--token", "ready") as (url, process):
        async with aiohttp.ClientSession() as session:
            _, reply, _ = await call(session, "PATCH", url + BULK_PATH, {"bulk": [entry(1)]})
        process.kill()
        process.wait()
    with simulator("--store", store, "--token", "ready") as (url, _):
        async with aiohttp.ClientSession() as session:
            request_id = reply["bulk"][0]["requestId"]
            _, polled, _ = await call(session, "GET", url + V2_PATH + request_id)
            assert polled["content"][0]["status"] in {"OPEN", "SUCCESS"}


def test_a_fault_only_another_vendor_knows_is_said_in_one_line(tmp_path: Path) -> None:
    script = tmp_path / "faults.toml"
    script.write_text('[[fault]]\nkind = "short_list"')
    ended = run(
        [sys.executable, "-m", "pipeline.simulator", "bulk-subscriber", "--faults", str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "fault 1: Input tag 'short_list'" in ended.stderr
    assert ended.stderr.count("\n") == 1
