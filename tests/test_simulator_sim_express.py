"""The simulated SIM Express: its logic without a network, then the real process over real HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import random
import re
import signal
import socket
import stat
import sys
import time
from contextlib import contextmanager
from itertools import count
from subprocess import PIPE, Popen, run
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from pipeline.simulator.exchange import Delivery, Response
from pipeline.simulator.faults import parse
from pipeline.simulator.server import _loopback_only
from pipeline.simulator.sim_express import SimExpress
from pipeline.simulator.sim_express_signature import signature
from pipeline.simulator.store import Profile, Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_700_000_000.0
IMPORT = "/v1/profile/importProfileList"
SERIAL = count(1)

Json = dict[str, Any]


def item(number: int, **changes: object) -> Json:
    return {
        "iccid": f"8935711{number:013d}",
        "eid": "35203000100100000000000000287435",
        "imei": "861111111111115",
        "ac": "1",
        "cc": "",
        "apn": "1",
    } | changes


def iccid(number: int) -> str:
    return str(item(number)["iccid"])


def body_of(*items: object) -> bytes:
    return json.dumps({"profileItems": items}).encode()


def signed(body: bytes, now: float = NOW, changes: dict[str, str] | None = None) -> dict[str, str]:
    headers = {
        "RT-AccessCode": "demo-access",
        "RT-Timestamp": str(int(now)),
        "RT-RequestID": f"{next(SERIAL):032x}",
    } | (changes or {})
    text = headers["RT-Timestamp"] + headers["RT-RequestID"] + headers["RT-AccessCode"]
    digest = hmac.new(b"demo-secret", text.encode() + body, hashlib.sha256).hexdigest()
    return {"RT-Signature": digest} | headers


def vendor_with(faults: str = "", **options: Any) -> SimExpress:
    return SimExpress(Store(), faults=parse(faults), **options)


def send(vendor: SimExpress, *items: object, now: float = NOW) -> Response:
    body = body_of(*items)
    return vendor.carry_out(vendor.handle(now, signed(body, now), body))


def told(response: Response) -> Json:
    document = json.loads(response.body)
    assert isinstance(document, dict)
    return document


def results(response: Response) -> list[str]:
    return [entry["result"] for entry in told(response)["resultList"]]


def test_the_signature_meets_the_published_vector() -> None:
    found = signature(
        "1111", "1628670421", "4ce9d9cdac9e4e17b3a2c66c358c1ce2", "11111", b'{"imsi":"326543826"}'
    )
    assert found.upper() == "7EB765E27DF5373DEA2DBC8C41A7D9557743E46C8054750F3D851B3FD01D0835"


def test_new_profiles_succeed_without_a_reason_and_are_stored_once() -> None:
    vendor = vendor_with()
    reply = told(send(vendor, item(1), item(2)))
    assert reply["errorCode"] == "0"
    assert reply["errorMsg"] is None
    assert reply["resultList"] == [{"result": "SUCCEED", "reason": None}] * 2
    assert vendor.store.count == 2
    assert vendor.store.find(iccid(1)) == item(1) | {"imports": 1}


def test_the_pages_example_is_answered_as_the_page_does_when_all_are_known() -> None:
    numbers = ["12345678912345678919", "12345678912345678912", "12345678912345678915"]
    vendor = vendor_with()
    vendor.store.add([Profile(number) for number in numbers], planted=True)
    reply = told(send(vendor, *(item(0, iccid=number) for number in numbers)))
    assert [list(echo) for echo in reply["profileItems"]] == [
        ["Iccid", "Eid", "Imei", "Ac", "cc", "Apn"],
        ["Iccid", "Eid", "Imei", "ac", "cc", "apn"],
        ["iccid", "eid", "imei", "ac", "cc", "apn"],
    ]
    assert list(reply) == ["errorCode", "errorMsg", "profileItems", "resultList"]
    assert reply["resultList"] == [
        {"result": "FAILED", "reason": f"the iccid is exist in db, iccid:[{number}]"} for number in numbers
    ]


def test_a_profile_sent_again_exists_and_keeps_what_it_had() -> None:
    vendor = vendor_with()
    send(vendor, item(1))
    assert results(send(vendor, item(1, apn="other"), item(2))) == ["FAILED", "SUCCEED"]
    assert vendor.store.find(iccid(1)) == item(1) | {"imports": 1}


def test_of_two_equal_iccids_in_one_request_the_second_exists() -> None:
    vendor = vendor_with()
    reply = told(send(vendor, item(1), item(1)))
    assert [entry["result"] for entry in reply["resultList"]] == ["SUCCEED", "FAILED"]
    assert reply["resultList"][1]["reason"] == f"the iccid is exist in db, iccid:[{iccid(1)}]"
    assert vendor.store.count == 1


def test_iccids_that_differ_in_the_last_digit_only_are_different_profiles() -> None:
    assert results(send(vendor_with(), item(11), item(12), item(13))) == ["SUCCEED"] * 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iccid": "893571100000000001"}, "the iccid must be 19-20 digit, iccid:[893571100000000001]"),
        ({"iccid": "893571100000000000012"}, "the iccid must be 19-20 digit"),
        ({"iccid": "898600B5000000000001"}, "the iccid must be 19-20 digit"),
        ({"iccid": "٨٩٣٥٧١١٠٠٠٠٠٠٠٠٠٠٠٠٠"}, "the iccid must be 19-20 digit"),
        ({"iccid": 8935711000000000000}, "the iccid is null"),
        ({"iccid": None}, "the iccid is null"),
        ({"eid": "3520300010010000000000000028743"}, f"the eid must be 32-digit, iccid:[{iccid(1)}]"),
        ({"eid": None}, "the eid must be 32-digit"),
        ({"imei": "86111111111111"}, "the imei must be 15-digit"),
        ({"imei": "861111111111115\n"}, "the imei must be 15-digit"),
        ({"ac": ""}, "the ac is null"),
        ({"apn": ""}, "the apn is null"),
        ({"cc": 7}, "the cc must be String"),
    ],
)
def test_an_item_that_breaks_a_field_rule_fails_alone(changes: Json, reason: str) -> None:
    vendor = vendor_with()
    reply = told(send(vendor, item(1, **changes), item(2)))
    assert reply["resultList"][0]["result"] == "FAILED"
    assert reply["resultList"][0]["reason"].startswith(reason)
    assert reply["resultList"][1] == {"result": "SUCCEED", "reason": None}
    assert vendor.store.count == 1


def test_the_confirmation_code_may_be_left_out_and_keys_count_only_as_the_example_spells_them() -> None:
    without_cc = item(1)
    del without_cc["cc"]
    misspelt = {key.upper(): value for key, value in item(2).items()}
    assert results(send(vendor_with(), without_cc, misspelt)) == ["SUCCEED", "FAILED"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "000101"),
        (b"{", "000101"),
        (b'{"profileItems":[NaN]}', "000101"),
        (b'{"profileItems":[{"iccid":"\\ud800"}]}', "000101"),
        (b"\xff", "000101"),
        (b"[" * 100_000, "000101"),
        (b"[]", "000102"),
        (b'{"prfileItems":[]}', "000102"),
        (b'{"profileItems":"[]"}', "000103"),
        (b'{"profileItems":[]}', "000104"),
        (b'{"profileItems":["8935711"]}', "000105"),
    ],
)
def test_a_malformed_request_is_refused_by_its_envelope(body: bytes, code: str) -> None:
    vendor = vendor_with()
    response = vendor.carry_out(vendor.handle(NOW, signed(body), body))
    assert response.status == 200
    assert told(response)["errorCode"] == code
    assert told(response)["errorMsg"]
    assert "resultList" not in told(response)


def test_more_items_than_the_limit_are_refused_as_a_whole_and_the_limit_itself_is_not() -> None:
    vendor = vendor_with(max_items=3)
    reply = told(send(vendor, *map(item, range(4))))
    assert (reply["errorCode"], reply["errorMsg"]) == ("000107", "profileItems is more than 3")
    assert vendor.store.count == 0
    assert results(send(vendor, *map(item, range(3)))) == ["SUCCEED"] * 3
    assert vendor.traffic.max_items == 4


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"RT-Timestamp": str(int(NOW) - 601)}, "101001"),
        ({"RT-Timestamp": str(int(NOW) + 601)}, "101001"),
        ({"RT-Timestamp": str(int(NOW) * 1000)}, "101001"),
        ({"RT-Timestamp": "now"}, "101001"),
        ({"RT-AccessCode": "someone"}, "101002"),
        ({"RT-Signature": "0" * 64}, "101003"),
        ({"RT-Signature": "\udcff"}, "101003"),
        ({"RT-RequestID": "abc"}, "101004"),
    ],
)
def test_a_request_that_is_not_proven_is_refused_and_counted(changes: dict[str, str], code: str) -> None:
    vendor = vendor_with()
    body = body_of(item(1))
    reply = told(vendor.carry_out(vendor.handle(NOW, signed(body, changes=changes), body)))
    assert reply["errorCode"] == code
    assert reply["errorMsg"]
    assert vendor.traffic.rejected_signatures == 1
    assert vendor.store.count == 0


def test_a_request_without_any_header_is_refused() -> None:
    vendor = vendor_with()
    assert told(vendor.carry_out(vendor.handle(NOW, {}, body_of(item(1)))))["errorCode"] == "101001"


def test_the_body_is_part_of_what_is_signed() -> None:
    vendor = vendor_with()
    plan = vendor.handle(NOW, signed(body_of(item(1))), body_of(item(2)))
    assert told(vendor.carry_out(plan))["errorCode"] == "101003"


def test_header_names_and_signature_may_have_any_case() -> None:
    vendor = vendor_with()
    body = body_of(item(1))
    headers = {name.lower(): value for name, value in signed(body).items()}
    headers["rt-signature"] = headers["rt-signature"].upper()
    assert results(vendor.carry_out(vendor.handle(NOW, headers, body))) == ["SUCCEED"]


def test_a_timestamp_ten_minutes_off_is_still_valid() -> None:
    vendor = vendor_with()
    body = body_of(item(1))
    plan = vendor.handle(NOW, signed(body, NOW - 600), body)
    assert results(vendor.carry_out(plan)) == ["SUCCEED"]


def test_a_timestamp_in_milliseconds_is_an_option() -> None:
    vendor = vendor_with(timestamp_unit_s=0.001)
    body = body_of(item(1))
    plan = vendor.handle(NOW, signed(body, NOW * 1000), body)
    assert results(vendor.carry_out(plan)) == ["SUCCEED"]


def test_a_request_id_is_good_once_even_when_its_first_use_was_lost() -> None:
    vendor = vendor_with('[[fault]]\nkind = "cut_before_commit"\nfirst = 1')
    body = body_of(item(1))
    headers = signed(body)
    assert vendor.carry_out(vendor.handle(NOW, headers, body)).delivery is Delivery.NONE
    assert told(vendor.carry_out(vendor.handle(NOW, headers, body)))["errorCode"] == "101004"
    assert vendor.store.count == 0


def test_another_path_is_not_found_and_another_method_not_allowed() -> None:
    vendor = vendor_with()
    assert vendor.carry_out(vendor.handle(NOW, {}, b"", path="/v1/profile")).status == 404
    assert vendor.carry_out(vendor.handle(NOW, {}, b"", method="GET")).status == 405
    assert vendor.traffic.requests == 0


def test_nothing_is_stored_before_the_plan_is_carried_out() -> None:
    vendor = vendor_with()
    body = body_of(item(1))
    plan = vendor.handle(NOW, signed(body), body)
    assert vendor.store.count == 0
    vendor.carry_out(plan)
    assert vendor.store.count == 1


@pytest.mark.parametrize(
    ("fault", "stored", "delivery", "status"),
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
        ('kind = "html"\ncommit = true', 3, Delivery.WHOLE, 200),
        ('kind = "empty"', 0, Delivery.WHOLE, 200),
        ('kind = "truncated_json"', 3, Delivery.WHOLE, 200),
        ('kind = "error_envelope"', 0, Delivery.WHOLE, 200),
        ('kind = "error_envelope"\ncommit = true', 3, Delivery.WHOLE, 200),
        ('kind = "busy"', 0, Delivery.WHOLE, 200),
    ],
)
def test_a_lost_or_false_reply_stores_just_what_its_fault_says(
    fault: str, stored: int, delivery: Delivery, status: int
) -> None:
    vendor = vendor_with(f"[[fault]]\n{fault}\nfirst = 1")
    response = send(vendor, item(1), item(2), item(3))
    assert (vendor.store.count, response.delivery, response.status) == (stored, delivery, status)
    assert sum(vendor.traffic.faults.values()) == 1
    repeat = send(vendor, item(1), item(2), item(3))
    assert results(repeat) == ["FAILED"] * stored + ["SUCCEED"] * (3 - stored)


def test_replies_that_are_no_json_are_none() -> None:
    html = send(vendor_with('[[fault]]\nkind = "html"'), item(1))
    assert html.content_type.startswith("text/html")
    assert html.body.startswith(b"<!DOCTYPE html>")
    assert send(vendor_with('[[fault]]\nkind = "empty"'), item(1)).body == b""
    truncated = send(vendor_with('[[fault]]\nkind = "truncated_json"'), item(1)).body
    assert truncated.startswith(b'{"errorCode":"0"')
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(truncated)


def test_error_envelopes_carry_their_code_and_no_results() -> None:
    assert told(send(vendor_with('[[fault]]\nkind = "busy"'), item(1)))["errorCode"] == "900001"
    reply = told(
        send(vendor_with('[[fault]]\nkind = "error_envelope"\ncode = "000777"\nmessage = "no"'), item(1))
    )
    assert reply == {"errorCode": "000777", "errorMsg": "no"}


def test_a_status_fault_says_when_to_come_back() -> None:
    fault = '[[fault]]\nkind = "status"\nstatus = 429\nretry_after_s = 2\n'
    assert send(vendor_with(fault), item(1)).headers == {"Retry-After": "2"}
    dated = send(vendor_with(fault + "retry_after_date = true"), item(1)).headers
    assert dated == {"Retry-After": "Tue, 14 Nov 2023 22:13:22 GMT"}


def test_the_first_of_several_endings_counts() -> None:
    vendor = vendor_with('[[fault]]\nkind = "busy"\n[[fault]]\nkind = "cut_after_commit"')
    assert told(send(vendor, item(1)))["errorCode"] == "900001"
    assert vendor.traffic.faults == {"busy": 1}


def test_a_short_list_lacks_its_last_results_but_not_their_echo() -> None:
    reply = told(send(vendor_with('[[fault]]\nkind = "short_list"\nmissing = 2'), *map(item, range(5))))
    assert (len(reply["profileItems"]), len(reply["resultList"])) == (5, 3)


def lower(echo: Json) -> Json:
    return {key.lower(): value for key, value in echo.items()}


@pytest.mark.parametrize("number_of_items", [2, 7, 50])
def test_a_reordered_echo_keeps_every_result_at_its_item(number_of_items: int) -> None:
    vendor = vendor_with('[[fault]]\nkind = "reorder_echo"')
    items = [item(number) for number in range(number_of_items)]
    vendor.store.add([Profile(iccid(number)) for number in range(0, number_of_items, 2)], planted=True)
    reply = told(send(vendor, *items))
    echo = [lower(entry) for entry in reply["profileItems"]]
    assert echo != items
    assert sorted(echo, key=str) == sorted(items, key=str)
    for entry, result in zip(echo, reply["resultList"], strict=True):
        assert (result["result"] == "FAILED") == (int(entry["iccid"][-6:]) % 2 == 0)


def test_two_items_always_change_places() -> None:
    vendor = vendor_with('[[fault]]\nkind = "reorder_echo"')
    for _ in range(12):
        echo = told(send(vendor, item(1), item(2)))["profileItems"]
        assert [lower(entry)["iccid"] for entry in echo] == [iccid(2), iccid(1)]


def test_shuffled_results_no_longer_stand_at_their_items() -> None:
    vendor = vendor_with('[[fault]]\nkind = "results_shuffled"')
    items = [item(number) for number in range(20)]
    vendor.store.add([Profile(entry["iccid"]) for entry in items], planted=True)
    reply = told(send(vendor, *items))
    named = [re.findall(r"iccid:\[(\d+)\]", entry["reason"])[0] for entry in reply["resultList"]]
    assert [lower(entry) for entry in reply["profileItems"]] == items
    assert named != [entry["iccid"] for entry in items]
    assert sorted(named) == sorted(entry["iccid"] for entry in items)


def test_the_echo_can_be_left_out() -> None:
    reply = told(send(vendor_with('[[fault]]\nkind = "no_echo"'), item(1)))
    assert list(reply) == ["errorCode", "errorMsg", "resultList"]


def test_the_reply_can_be_spelt_as_in_the_parameter_table() -> None:
    vendor = vendor_with('[[fault]]\nkind = "spelling"\nspelling = "parameter-table"')
    reply = told(send(vendor, item(1), item(2)))
    assert list(reply) == ["code", "errorMsg", "profileItems", "resultItems"]
    assert reply["profileItems"] == [item(1), item(2)]
    assert told(send(vendor))["code"] == "000104"


def test_items_can_be_refused_for_good_with_a_reason_of_choice() -> None:
    vendor = vendor_with(
        f'[[fault]]\nkind = "refuse_items"\niccids = ["{iccid(2)}"]\nreason = "blocked, iccid:[{{iccid}}]"'
    )
    for _ in range(2):
        reply = told(send(vendor, item(2)))
        assert reply["resultList"] == [{"result": "FAILED", "reason": f"blocked, iccid:[{iccid(2)}]"}]
    assert results(send(vendor, item(1), item(2), item(3))) == ["SUCCEED", "FAILED", "SUCCEED"]
    assert vendor.store.count == 2


def test_one_bad_item_can_sink_its_batch_without_being_named() -> None:
    vendor = vendor_with(f'[[fault]]\nkind = "refuse_batch"\npattern = "{iccid(2)}"')
    reply = told(send(vendor, item(1), item(2)))
    assert reply == {"errorCode": "000106", "errorMsg": "parameter error"}
    assert vendor.store.count == 0
    assert results(send(vendor, item(1))) == ["SUCCEED"]


def test_too_many_items_can_be_a_413() -> None:
    vendor = vendor_with('[[fault]]\nkind = "too_large"\nitems = 2')
    assert send(vendor, item(1), item(2), item(3)).status == 413
    assert send(vendor, item(1), item(2)).status == 200
    assert vendor.traffic.faults == {"too_large": 1}


def test_the_hidden_rate_limit_admits_so_many_in_any_second() -> None:
    vendor = vendor_with('[[fault]]\nkind = "rate_limit"\nrequests_per_s = 2\nretry_after_s = 1')
    times = (0.0, 0.5, 0.9, 1.0, 1.2, 1.5)
    responses = [send(vendor, item(at), now=NOW + time_s) for at, time_s in enumerate(times)]
    assert [response.status for response in responses] == [200, 200, 429, 200, 429, 200]
    assert responses[2].headers == {"Retry-After": "1"}
    assert vendor.store.count == 4
    assert vendor.traffic.faults == {"rate_limit": 2}


def test_two_vendors_with_one_seed_answer_alike_byte_for_byte() -> None:
    faults = "seed = 3\n" + "".join(
        f'[[fault]]\nkind = "{kind}"\nshare = 0.3\n'
        for kind in ("reorder_echo", "short_list", "results_shuffled", "truncated_json", "busy")
    )
    one, other = vendor_with(faults), vendor_with(faults)
    chosen = random.Random(1)
    for _ in range(20):
        items = [item(chosen.randrange(60)) for _ in range(5)]
        assert send(one, *items) == send(other, *items)
    assert one.traffic.faults == other.traffic.faults
    assert len(one.traffic.faults) == 5


def test_a_store_file_keeps_its_profiles_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "vendor.sqlite"
    store = Store(path)
    assert store.add([Profile("1"), Profile("2")]) == set()
    store.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    store = Store(path)
    assert store.add([Profile("2"), Profile("3")]) == {"2"}
    assert store.count == 3
    store.close()


@pytest.mark.parametrize(
    ("path", "remote", "status"),
    [
        ("/_simulator/requests", "192.0.2.1", 403),
        ("/_simulator/requests", "127.0.0.1", 204),
        ("/_simulator/requests", "::1", 204),
        (IMPORT, "192.0.2.1", 204),
    ],
)
async def test_the_witness_answers_this_machine_only(path: str, remote: str, status: int) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=204)

    request = make_mocked_request("GET", path).clone(remote=remote)
    assert (await _loopback_only(request, answer)).status == status


# From here on: the real process, real HTTP.


@contextmanager
def simulator(*options: str, env: dict[str, str] | None = None) -> Iterator[tuple[str, Popen[str]]]:
    """Start the process; yields its base URL. It must leave nothing else on its outputs."""
    command = [sys.executable, "-m", "pipeline.simulator", "sim-express", *options]
    ours = {"SIM_EXPRESS_ACCESS_CODE": "", "SIM_EXPRESS_SECRET_CODE": ""} | (env or {})
    with Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=os.environ | ours) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            started = re.fullmatch(r"simulator sim-express listening on (http://127\.0\.0\.1:\d+)\n", line)
            assert started, line or process.communicate()[1]
            yield started[1], process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.communicate(timeout=5) == ("", "")
                assert process.returncode == 0
        finally:
            process.kill()


SCRIPT = """
[[fault]]
kind = "cut_before_commit"
requests = [1]
[[fault]]
kind = "cut_after_commit"
requests = [2]
[[fault]]
kind = "cut_in_reply"
requests = [3]
[[fault]]
kind = "hang"
requests = [4, 7]
[[fault]]
kind = "status"
status = 503
retry_after_s = 1
requests = [5]
[[fault]]
kind = "slow"
seconds = 0.3
requests = [6]
[[fault]]
kind = "capacity"
concurrent = 1
"""


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with simulator() as (url, _):
        yield url


async def post(session: aiohttp.ClientSession, url: str, *items: object, timeout_s: float = 5) -> Json:
    body = body_of(*items)
    async with session.post(
        url + IMPORT,
        data=body,
        headers=signed(body, time.time()),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
    ) as reply:
        reply.raise_for_status()
        document = await reply.json()
    assert isinstance(document, dict)
    return document


async def get(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url) as reply:
        return await reply.json()


async def test_over_http_a_profile_is_imported_once_and_the_witness_knows_it(base_url: str) -> None:
    async with aiohttp.ClientSession() as session:
        before = (await get(session, base_url + "/_simulator/profiles/count"))["count"]
        first = await post(session, base_url, item(100), item(101))
        again = await post(session, base_url, item(100))
        assert [entry["result"] for entry in first["resultList"]] == ["SUCCEED", "SUCCEED"]
        assert "exist in db" in again["resultList"][0]["reason"]
        assert (await get(session, base_url + "/_simulator/profiles/count")) == {"count": before + 2}
        found = await get(session, f"{base_url}/_simulator/profiles/{iccid(100)}")
        assert found == item(100) | {"imports": 1}
        async with session.get(f"{base_url}/_simulator/profiles/{iccid(999)}") as unknown:
            assert unknown.status == 404


async def test_over_http_planted_profiles_exist_and_were_never_imported(base_url: str) -> None:
    async with aiohttp.ClientSession() as session:
        url = base_url + "/_simulator/profiles"
        async with session.post(url, json={"iccids": [iccid(200), iccid(200)]}) as reply:
            assert await reply.json() == {"planted": 1}
        async with session.post(url, json={"profiles": [{"iccid": iccid(201), "apn": "a"}]}) as reply:
            assert await reply.json() == {"planted": 1}
        answer = await post(session, base_url, item(200), item(201), item(202))
        assert [entry["result"] for entry in answer["resultList"]] == ["FAILED", "FAILED", "SUCCEED"]
        assert (await get(session, f"{url}/{iccid(200)}"))["imports"] == 0


@pytest.mark.parametrize("document", ["[]", "{", "{}", '{"iccids":[7]}', '{"profiles":[{"name":"x"}]}'])
async def test_over_http_what_is_no_profile_is_not_planted(base_url: str, document: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(base_url + "/_simulator/profiles", data=document) as reply,
    ):
        assert reply.status == 400
        assert "nothing planted" in (await reply.json())["error"]


async def test_over_http_a_wrong_signature_is_an_envelope_and_counted(base_url: str) -> None:
    async with aiohttp.ClientSession() as session:
        before = await get(session, base_url + "/_simulator/requests")
        headers = signed(b"{}", time.time(), {"RT-Signature": "0" * 64})
        async with session.post(base_url + IMPORT, data=b"{}", headers=headers) as reply:
            assert reply.status == 200
            assert (await reply.json())["errorCode"] == "101003"
        after = await get(session, base_url + "/_simulator/requests")
        assert after["rejected_signatures"] == before["rejected_signatures"] + 1
        assert after["requests"] == before["requests"] + 1


async def test_over_http_the_environment_gives_the_credentials() -> None:
    with simulator(env={"SIM_EXPRESS_ACCESS_CODE": "other"}) as (url, _):
        async with aiohttp.ClientSession() as session:
            assert (await post(session, url, item(1)))["errorCode"] == "101002"


async def test_over_http_paths_of_nobody_are_not_found(base_url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for path in ("/", "/v1/profile", "/_simulator/nothing"):
            async with session.get(base_url + path) as reply:
                assert reply.status == 404


async def test_over_http_every_connection_fault_is_what_it_says(tmp_path: Path) -> None:
    script = tmp_path / "faults.toml"
    script.write_text(SCRIPT)
    with simulator("--faults", str(script)) as (url, _):
        async with aiohttp.ClientSession() as session:
            witness = url + "/_simulator/profiles/count"
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await post(session, url, item(1))
            assert await get(session, witness) == {"count": 0}
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await post(session, url, item(2))
            assert await get(session, witness) == {"count": 1}
            with pytest.raises(aiohttp.ClientPayloadError):
                await post(session, url, item(3))
            assert await get(session, witness) == {"count": 2}
            with pytest.raises(TimeoutError):
                await post(session, url, item(4), timeout_s=0.1)
            assert await get(session, witness) == {"count": 2}
            with pytest.raises(aiohttp.ClientResponseError, match="503") as refused:
                await post(session, url, item(5))
            assert refused.value.headers is not None
            assert refused.value.headers["Retry-After"] == "1"
            with pytest.raises(TimeoutError):
                await post(session, url, item(6), timeout_s=0.1)
            assert await get(session, witness) == {"count": 2}
            hanging = asyncio.create_task(post(session, url, item(7)))
            # Queues behind the slow one (capacity 1), so the late commit is done when it is answered.
            while (await get(session, url + "/_simulator/requests"))["requests"] < 7:
                pass
            await post(session, url, item(8))
            assert await get(session, witness) == {"count": 4}
            counters = await get(session, url + "/_simulator/requests")
            assert counters["faults"] == {
                "cut_before_commit": 1,
                "cut_after_commit": 1,
                "cut_in_reply": 1,
                "hang": 2,
                "status": 1,
                "slow": 1,
                "capacity": 2,
            }
            assert counters["peak_concurrency"] == 2
            assert counters["max_items"] == 1
            hanging.cancel()


async def test_a_signal_ends_the_process_even_while_a_request_hangs(tmp_path: Path) -> None:
    script = tmp_path / "faults.toml"
    script.write_text('[[fault]]\nkind = "hang"')
    with simulator("--faults", str(script)) as (url, process):
        async with aiohttp.ClientSession() as session:
            hanging = asyncio.create_task(post(session, url, item(1), timeout_s=20))
            while not (await get(session, url + "/_simulator/requests"))["faults"]:
                pass
            process.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(process.wait, 5) == 0
            with pytest.raises(aiohttp.ClientError):
                await hanging


async def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    store = str(tmp_path / "vendor.sqlite")
    with simulator("--store", store) as (url, process):
        async with aiohttp.ClientSession() as session:
            await post(session, url, item(1), item(2))
        process.kill()
        process.wait()
    with simulator("--store", store) as (url, _):
        async with aiohttp.ClientSession() as session:
            assert await get(session, url + "/_simulator/profiles/count") == {"count": 2}


def refusal_to_start(*options: str) -> str:
    ended = run(
        [sys.executable, "-m", "pipeline.simulator", "sim-express", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    return ended.stderr


def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refusal_to_start("--port", str(port))


def test_a_faults_file_with_an_unknown_kind_is_said_in_one_line(tmp_path: Path) -> None:
    script = tmp_path / "faults.toml"
    script.write_text('[[fault]]\nkind = "gremlin"')
    assert "fault 1: Input tag 'gremlin'" in refusal_to_start("--faults", str(script))
