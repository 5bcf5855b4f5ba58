from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from pydantic import SecretStr

from pipeline.errors import UsageError
from pipeline.model import PLAIN_SUCCESS, Answer, Batch, Fault, FaultKind, Reply, Ruling
from pipeline.reconciler import reconcile
from pipeline.settings import read_table
from pipeline.targets.rt_signature import signed_headers
from pipeline.targets.sim_express import Profile, Settings, SimExpress
from pipeline.targets.sim_express_reply import (
    _sense,
    _sense_of,
    _with_equal_results,
    envelope_of,
)
from pipeline.targets.sim_express_words import PIECE, Words, forms_of, line_of
from pipeline.wire import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.wire import Request

DATA = Path(__file__).parent / "data"
EXAMPLE_REQUEST = DATA / "sim_express_example_request.json"
EXAMPLE_REPLY = DATA / "sim_express_example_reply.json"
NOW = 1_767_225_600.0
ROWS = [
    {
        "iccid": f"8935711001000000{index:03d}",
        "eid": "35203000100100000000000000287435",
        "imei": "861111111111115",
        "ac": f"LPA:1$smdp.example$MATCHING-{index:03d}",
        "cc": "secret-cc" if index == 1 else "",
        "apn": "iot.example",
    }
    for index in range(3)
]
KEYS = [row["iccid"] for row in ROWS]
OKAY = {"result": "SUCCEED", "reason": None}


class Vendor:
    """contracts.Http in memory: keeps the requests, answers each with what `reply` makes of it."""

    def __init__(self, reply: Callable[[Request], Response]) -> None:
        self._reply = reply
        self.requests: list[Request] = []

    async def exchange(self, make_request: Callable[[], Request]) -> Response:
        self.requests.append(make_request())
        return self._reply(self.requests[-1])


def target(**more: Any) -> SimExpress:
    table = {
        "kind": "sim-express",
        "access_code": SecretStr("11111"),
        "secret_code": SecretStr("1111"),
        **more,
    }
    return SimExpress(Settings(**table), clock=lambda: NOW)


def fields_of(rows: Sequence[dict[str, str]]) -> pa.RecordBatch:
    return pa.record_batch({name: pa.array([row[name] for row in rows], pa.string()) for name in ROWS[0]})


def batch_of(rows: Sequence[dict[str, str]]) -> Batch:
    fields = fields_of(rows)
    columns = {"position": pa.array(range(1, len(rows) + 1)), "key": target().key(fields)}
    columns |= {"payload": target().encode(fields), "cells": pa.array([{"0": ""}] * len(rows))}
    return Batch(pa.record_batch(columns))


def read(
    body: bytes | dict[str, Any] | list[Any],
    status: int = 200,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Reply | Fault:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    vendor = Vendor(lambda _: Response(status, headers or {}, raw, NOW))
    return asyncio.run(target(**more).send(batch_of(ROWS), vendor))


def reply(body: dict[str, Any], status: int = 200) -> Reply:
    found = read(body, status)
    assert isinstance(found, Reply)
    return found


def fault(body: bytes | dict[str, Any] | list[Any], status: int = 200, **more: Any) -> Fault:
    found = read(body, status, **more)
    assert isinstance(found, Fault)
    return found


def answer(result: Any, reason: Any = None) -> Answer:
    return reply({"resultList": [{"result": result, "reason": reason}]}).answers[0]


# ---------------------------------------------------------------- the request


def test_the_published_vector_is_signed_as_published() -> None:
    headers = signed_headers(
        b'{"imsi":"326543826"}',
        access_code="11111",
        secret_code="1111",
        timestamp=1628670421,
        request_id="4ce9d9cdac9e4e17b3a2c66c358c1ce2",
    )
    assert headers == {
        "RT-AccessCode": "11111",
        "RT-Timestamp": "1628670421",
        "RT-RequestID": "4ce9d9cdac9e4e17b3a2c66c358c1ce2",
        "RT-Signature": "7EB765E27DF5373DEA2DBC8C41A7D9557743E46C8054750F3D851B3FD01D0835",
    }


def send(**more: Any) -> tuple[Request, Request]:
    vendor = Vendor(lambda _: Response(200, {}, b"{}"))
    sender, batch = target(**more), batch_of(ROWS)

    async def twice() -> None:
        await sender.send(batch, vendor)
        await sender.send(batch, vendor)

    asyncio.run(twice())
    return vendor.requests[0], vendor.requests[1]


def test_the_bytes_signed_are_the_bytes_sent() -> None:
    request, _ = send()
    signed = f"{int(NOW)}{request.headers['RT-RequestID']}11111".encode() + request.body
    assert request.headers["RT-Signature"] == hmac.new(b"1111", signed, hashlib.sha256).hexdigest().upper()
    assert (request.method, request.path) == ("POST", "/v1/profile/importProfileList")
    assert request.headers["Content-Type"] == "application/json"


def test_the_timestamp_is_in_seconds_or_where_the_job_says_so_in_milliseconds() -> None:
    assert send()[0].headers["RT-Timestamp"] == "1767225600"
    assert send(timestamp_unit="ms")[0].headers["RT-Timestamp"] == "1767225600000"


def test_no_request_id_is_used_twice() -> None:
    first, second = (request.headers["RT-RequestID"] for request in send())
    assert first != second
    assert all(len(used) == 32 and set(used) <= set("0123456789abcdef") for used in (first, second))


def test_the_request_is_built_when_the_http_client_asks_for_it() -> None:
    times = iter([NOW, NOW + 60])
    sender = SimExpress(
        Settings(kind="sim-express", access_code=SecretStr("1"), secret_code=SecretStr("2")),
        clock=lambda: next(times),
        new_request_id=lambda: "0" * 32,
    )

    class Hesitant:
        async def exchange(self, make_request: Callable[[], Request]) -> Response:
            make_request()
            return Response(200, {}, make_request().headers["RT-Timestamp"].encode())

    found = asyncio.run(sender.send(batch_of(ROWS), Hesitant()))
    assert isinstance(found, Fault)
    assert next(times, "used up") == "used up"


def test_the_example_request_of_the_page_is_what_we_send_for_its_rows() -> None:
    example = json.loads(EXAMPLE_REQUEST.read_bytes())
    vendor = Vendor(lambda _: Response(200, {}, b"{}"))
    asyncio.run(target().send(batch_of(example["profileItems"]), vendor))
    sent = json.loads(vendor.requests[0].body)
    assert sent == example
    assert [list(item) for item in sent["profileItems"]] == [list(item) for item in example["profileItems"]]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(*[st.text(st.characters(codec="utf-8"), max_size=8)] * 3), min_size=1, max_size=5))
def test_every_row_is_encoded_as_json_that_reads_back_as_the_row(texts: list[tuple[str, str, str]]) -> None:
    rows = [{**ROWS[0], "ac": ac, "cc": cc, "apn": apn} for ac, cc, apn in texts]
    assert [
        json.loads(piece.removesuffix(",")) for piece in target().encode(fields_of(rows)).to_pylist()
    ] == rows


def test_quotes_backslashes_and_control_characters_are_escaped() -> None:
    row = {**ROWS[0], "ac": 'a"b\\c', "apn": "x\ny\x00"}
    pieces = target().encode(fields_of([ROWS[0], row, ROWS[1]])).to_pylist()
    assert [json.loads(piece.removesuffix(",")) for piece in pieces] == [ROWS[0], row, ROWS[1]]


def test_a_slice_of_a_longer_batch_is_sent_alone() -> None:
    items = batch_of(ROWS).items.slice(1, 1)
    vendor = Vendor(lambda _: Response(200, {}, b"{}"))
    asyncio.run(target().send(Batch(items), vendor))
    assert json.loads(vendor.requests[0].body) == {"profileItems": [ROWS[1]]}


def test_a_row_of_the_example_holds_by_the_rules() -> None:
    for item in json.loads(EXAMPLE_REQUEST.read_bytes())["profileItems"]:
        assert Profile.model_validate(item).model_dump() == item


# ---------------------------------------------------------------- every spelling of the reply


def test_the_example_reply_of_the_page_says_that_all_three_exist() -> None:
    example = json.loads(EXAMPLE_REQUEST.read_bytes())["profileItems"]
    vendor = Vendor(lambda _: Response(200, {}, EXAMPLE_REPLY.read_bytes()))
    found = asyncio.run(target().send(batch_of(example), vendor))
    assert isinstance(found, Reply)
    keys = [item["iccid"] for item in example]
    assert found.echo == keys
    assert [given.names for given in found.answers] == keys
    verdicts = reconcile(keys, found)
    assert [verdict.ruling for verdict in verdicts.exceptions.values()] == [Ruling.EXISTS] * 3
    assert verdicts.evidence == ()


@pytest.mark.parametrize("name", ["resultList", "resultItems", "ResultList", "RESULTITEMS", "resultlist"])
def test_the_results_are_found_under_every_spelling(name: str) -> None:
    assert reply({"errorCode": "0", name: [OKAY] * 3}).answers == [Answer(PLAIN_SUCCESS)] * 3


def test_two_different_result_lists_are_believed_in_neither() -> None:
    found = reply({"resultList": [OKAY] * 3, "resultItems": [{"result": "FAILED", "reason": "x"}] * 3})
    assert len(reconcile(KEYS, found).exceptions) == 3
    assert {verdict.ruling for verdict in reconcile(KEYS, found).exceptions.values()} == {Ruling.OPEN}


def test_the_same_result_list_under_both_names_is_one() -> None:
    found = reply({"resultList": [OKAY] * 3, "resultItems": [OKAY] * 3})
    assert reconcile(KEYS, found).exceptions == {}


@pytest.mark.parametrize("name", ["errorCode", "code", "ErrorCode", "CODE"])
@pytest.mark.parametrize("code", ["0", 0, "", None, "000000"])
def test_these_codes_are_no_error(name: str, code: Any) -> None:
    assert isinstance(read({name: code, "resultList": [OKAY]}), Reply)
    assert fault({name: code}).code == "reply_without_items"


@pytest.mark.parametrize("name", ["errorCode", "code", "ErrorCode", "CODE"])
def test_an_error_code_is_found_under_every_spelling(name: str) -> None:
    assert fault({name: "101003", "errorMsg": "signature mismatch"}).kind is FaultKind.STOP


def test_an_error_under_one_name_is_not_hidden_by_a_zero_under_the_other() -> None:
    assert fault({"errorCode": "0", "code": "101003"}).kind is FaultKind.STOP


def test_the_envelope_says_nothing_of_the_items() -> None:
    found = reply({"errorCode": "900001", "errorMsg": "system busy", "resultList": [OKAY] * 3})
    assert reconcile(KEYS, found).exceptions == {}


@pytest.mark.parametrize("spell", [str.lower, str.upper, str.capitalize, str.title, str.swapcase])
def test_echo_keys_are_read_in_any_letter_case(spell: Callable[[str], str]) -> None:
    echo = [{spell(name): value for name, value in row.items()} for row in ROWS]
    assert reply({"profileItems": echo, "resultList": [OKAY] * 3}).echo == KEYS


def test_echo_keys_may_be_mixed_within_one_reply() -> None:
    echo = [{"Iccid": KEYS[0]}, {"iccid": KEYS[1]}, {"ICCID": KEYS[2]}]
    assert reply({"ProfileItems": echo, "resultList": [OKAY] * 3}).echo == KEYS


@pytest.mark.parametrize("absent", [None, []])
def test_an_empty_echo_is_no_echo(absent: Any) -> None:
    assert reply({"profileItems": absent, "resultList": [OKAY]}).echo is None


@pytest.mark.parametrize(
    "strange",
    [int(KEYS[1]), None, "", [KEYS[1]], {"iccid": KEYS[1]}],
    ids=["number", "null", "blank", "list", "object"],
)
def test_an_echoed_identifier_that_is_no_text_is_not_believed(strange: Any) -> None:
    echo = [{"iccid": KEYS[0]}, {"iccid": strange}, {"iccid": KEYS[2]}]
    found = reply({"profileItems": echo, "resultList": [OKAY] * 3})
    assert found.echo == [KEYS[0], "", KEYS[2]]
    assert {verdict.ruling for verdict in reconcile(KEYS, found).exceptions.values()} == {Ruling.OPEN}


@pytest.mark.parametrize("strange", ["text", {"iccid": "1"}, [1, 2, 3], [None]])
def test_an_echo_of_a_strange_shape_takes_the_belief_from_positions(strange: Any) -> None:
    found = reply({"profileItems": strange, "resultList": [OKAY] * 3})
    assert len(reconcile(KEYS, found).exceptions) == 3


@pytest.mark.parametrize("result", ["SUCCEED", "succeed", "Succeed", " SUCCEED ", "SUCCEEDED", "Success"])
@pytest.mark.parametrize("more", [{"reason": None}, {"reason": ""}, {}])
def test_success_is_read_in_every_form(result: str, more: dict[str, Any]) -> None:
    assert reply({"resultList": [{"result": result, **more}]}).answers == [Answer(PLAIN_SUCCESS)]


@pytest.mark.parametrize("result", ["OK", "UNSUCCESSFUL", "NOT SUCCEED", "0", "", None, 1, True, ["SUCCEED"]])
def test_a_result_that_is_not_documented_is_not_guessed_at(result: Any) -> None:
    assert answer(result).verdict.ruling is Ruling.OPEN


@pytest.mark.parametrize("entry", [None, "SUCCEED", 1, [], ["result", "SUCCEED"], {}])
def test_an_entry_of_a_strange_shape_stays_open_and_keeps_its_place(entry: Any) -> None:
    found = reply({"resultList": [OKAY, entry, OKAY]})
    assert [given.verdict.ruling for given in found.answers] == [
        Ruling.SUCCEEDED,
        Ruling.OPEN,
        Ruling.SUCCEEDED,
    ]


@pytest.mark.parametrize("keys", [("Result", "Reason"), ("RESULT", "reason"), ("result", "REASON")])
def test_result_and_reason_are_read_in_any_letter_case(keys: tuple[str, str]) -> None:
    words = f"the iccid is exist in db, iccid:[{KEYS[1]}]"
    found = reply(
        {"resultList": [{"result": "FAILED", "reason": ""}, dict(zip(keys, ("failed", words), strict=True))]}
    )
    assert found.answers[0].verdict.ruling is Ruling.REFUSED
    assert (found.answers[1].verdict.ruling, found.answers[1].names) == (Ruling.EXISTS, KEYS[1])


def test_equal_entries_share_one_answer() -> None:
    answers = reply({"resultList": [OKAY] * 3}).answers
    assert answers[0] is answers[1] is answers[2]


def test_a_byte_order_mark_before_the_reply_is_no_damage() -> None:
    assert isinstance(read(b"\xef\xbb\xbf" + json.dumps({"resultList": [OKAY] * 3}).encode()), Reply)


def test_two_echoes_are_believed_in_neither() -> None:
    echo = [{"iccid": key} for key in KEYS]
    found = reply({"profileItems": echo, "ProfileItems": echo[::-1], "resultList": [OKAY] * 3})
    assert len(reconcile(KEYS, found).exceptions) == 3


# ---------------------------------------------------------------- what a reason says


@pytest.mark.parametrize(
    "reason",
    [
        "the iccid is exist in db",
        "The ICCID already exists",
        f"iccid:[{KEYS[0]}] already exist",
        f"import failed: the iccid is exist in db, iccid:[{KEYS[0]}]",
        "this profile has existed in db",
    ],
)
def test_words_that_say_the_profile_is_there(reason: str) -> None:
    assert answer("FAILED", reason).verdict.ruling is Ruling.EXISTS


@pytest.mark.parametrize(
    "reason",
    [
        "the iccid is not exist in db",
        "the iccid doesn't exist",
        f"the eid is exist in db, iccid:[{KEYS[0]}]",
        "the profile with this eid already exists",
        "could not check whether the iccid exists",
        "the iccid is nonexistent",
        "the iccid is null",
        "",
    ],
)
def test_words_that_do_not_say_the_profile_is_there(reason: str) -> None:
    assert answer("FAILED", reason).verdict.ruling is Ruling.REFUSED


def test_a_failed_item_is_refused_in_the_vendors_words() -> None:
    found = answer("FAILED", "the apn is null").verdict
    assert (found.ruling, found.code, found.reason) == (Ruling.REFUSED, "failed", "the apn is null")
    assert answer("FAILED").verdict.reason == "the vendor gave no reason"


def test_a_failed_item_that_met_a_busy_system_is_tried_again() -> None:
    assert answer("FAILED", "system busy").verdict.ruling is Ruling.PASSING


def test_a_failed_item_that_met_a_server_error_is_in_doubt() -> None:
    assert answer("FAILED", "server error, please try again").verdict.ruling is Ruling.OPEN


@pytest.mark.parametrize(
    ("reason", "names"),
    [
        (f"bad, iccid:[{KEYS[1]}]", KEYS[1]),
        (f"bad, ICCID: [ {KEYS[1]} ]", KEYS[1]),
        (f"bad, iccid {KEYS[1]} of the list", KEYS[1]),
        (f"the iccid is exist in db, iccid:[{KEYS[1]}], see iccid:[{KEYS[1]}]", KEYS[1]),
        ("bad, iccid:[]", None),
        ("bad, iccid:[null]", None),
        ("bad, eid:[35203000100100000000000000287435]", None),
    ],
)
def test_the_iccid_in_a_reason_names_the_item(reason: str, names: str | None) -> None:
    assert answer("FAILED", reason).names == names


@pytest.mark.parametrize(
    "reason",
    [f"iccid:[{KEYS[0]}] or iccid:[{KEYS[1]}]", f"iccid:[{KEYS[0]}, {KEYS[1]}]", "iccid:[" + "8" * 500],
)
def test_an_entry_that_names_several_items_is_nobodys(reason: str) -> None:
    named = answer("FAILED", reason).names
    assert named is not None
    assert named not in KEYS


def test_an_entry_with_an_iccid_of_its_own_is_named_by_it() -> None:
    assert reply({"resultList": [{**OKAY, "Iccid": KEYS[2]}]}).answers[0].names == KEYS[2]


PIECES = st.sampled_from(
    [
        "the iccid",
        "iccid:[",
        "ICCID: ",
        "]",
        "profile",
        "is exist",
        "exists",
        "not",
        "server error",
        "busy",
        "at most 999",
        "1,000",
        "matching-",
        "\ud800é\u0663",
        "  ",
        "\n",
        ". ",
        "x",
    ]
)
REASONS = st.lists(st.one_of(PIECES, st.from_regex(r"\A[0-9]{1,40}\Z")), max_size=8).flatmap(
    lambda words: st.sampled_from([" ".join(words), "".join(words), " ".join(words) * 40])
)


@given(REASONS)
def test_which_digits_stand_in_a_reason_does_not_matter_for_what_it_means_and_where(reason: str) -> None:
    assert _sense_of(*forms_of([reason])) == _sense.__wrapped__(reason)


def shown_plainly(text: str, words: Words) -> str:
    """Say again what the docstring of Words says, without a look shared by texts of one form."""
    line = line_of(text[:2_000])
    line = PIECE.sub(lambda piece: "…" if words._is_secret(piece[0]) else piece[0], line)
    return line if len(line) <= 300 else line[:299] + "…"


@given(st.lists(REASONS, max_size=4), st.lists(st.from_regex(r"\A(matching-)?[0-9]{1,40}\Z"), max_size=3))
def test_words_are_shown_as_if_each_were_looked_at_alone(reasons: list[str], codes: list[str]) -> None:
    body = json.dumps({"profileItems": [{**ROWS[0], "ac": code} for code in codes]}).encode()
    words = Words(body, "our-code")
    texts = [*reasons, *(f"{reason} {code}" for reason in reasons for code in codes), *reasons]
    for form in forms_of(texts):
        alike = [text for text in texts if forms_of([text]) == [form]]
        assert words.each(alike) == [shown_plainly(text, words) for text in alike]


def test_a_long_reason_is_cut_and_made_printable() -> None:
    words = answer("FAILED", "a\x00b\n" + "é" * 1000).verdict.reason
    assert words.startswith("a b éé")
    assert len(words) == 300


# ---------------------------------------------------------------- replies without items


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "reply_empty"),
        (b" \r\n", "reply_empty"),
        (EXAMPLE_REPLY.read_bytes()[:700], "reply_unreadable"),
        (b"<html>Bad gateway</html>", "reply_unreadable"),
        (b"\xff\xfe\x00", "reply_unreadable"),
        (b"[]", "reply_unreadable"),
        (b"null", "reply_unreadable"),
        (b'"SUCCEED"', "reply_unreadable"),
        (b"[" * 100_000, "reply_unreadable"),
        (b"{}", "reply_without_items"),
        (b'{"errorCode":"0","resultList":[]}', "reply_without_items"),
        (b'{"errorCode":"0","resultList":"SUCCEED"}', "reply_without_items"),
    ],
)
def test_a_reply_that_cannot_be_read_is_lost(body: bytes, code: str) -> None:
    found = fault(body)
    assert (found.kind, found.code) == (FaultKind.LOST, code)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("000001", "server error", FaultKind.LOST),
        (1, None, FaultKind.LOST),
        ("900001", "system busy", FaultKind.NOT_CARRIED_OUT),
        (101003, "signature mismatch", FaultKind.STOP),
        ("101002", "address blocked", FaultKind.STOP),
        ("101999", "", FaultKind.STOP),
        ("000101", "parameter error", FaultKind.REFUSED),
        ("000107", "malformed", FaultKind.REFUSED),
        ("4711", "unheard of", FaultKind.REFUSED),
        ("E1", None, FaultKind.REFUSED),
        ("000104", "prfileItems: Less than 1,000 Profiles", FaultKind.TOO_LARGE),
        ("4711", "too many items", FaultKind.TOO_LARGE),
        ("4711", "the list exceeds the limit of 1000", FaultKind.TOO_LARGE),
        ("4711", "rate limit exceeded, too many requests", FaultKind.NOT_CARRIED_OUT),
        ("4711", "Internal server error", FaultKind.LOST),
        ("4711", "system error, try again", FaultKind.LOST),
        (None, "system busy", FaultKind.NOT_CARRIED_OUT),
        (None, "success", FaultKind.LOST),
    ],
)
def test_an_envelope_without_items_is_classified(code: Any, message: str | None, kind: FaultKind) -> None:
    assert fault({"errorCode": code, "errorMsg": message}).kind is kind


def test_the_job_file_overrides_what_a_code_means() -> None:
    codes = {"4711": "passing", "101003": "refused", "1": "too_large"}
    assert fault({"code": "4711"}, codes=codes).kind is FaultKind.NOT_CARRIED_OUT
    assert fault({"code": 101003}, codes=codes).kind is FaultKind.REFUSED
    assert fault({"code": "000001"}, codes=codes).kind is FaultKind.TOO_LARGE
    assert fault({"code": "900001"}, codes=codes).kind is FaultKind.NOT_CARRIED_OUT


def test_a_fault_carries_the_vendors_code_words_and_wish() -> None:
    found = fault({"errorCode": "900001", "errorMsg": "system busy"}, headers={"retry-after": "7"})
    assert (found.code, found.reason, found.retry_after_s) == ("900001", "system busy", 7.0)


def test_a_clock_that_is_off_is_recognised_and_said() -> None:
    expired = {"errorCode": "101001", "errorMsg": "timestamp expired"}
    behind = fault(expired, headers={"date": "Thu, 01 Jan 2026 00:20:00 GMT"})
    assert behind.kind is FaultKind.STOP
    assert behind.reason == "timestamp expired; this machine's clock is 1200 s behind the vendor's: set it"
    ahead = fault(expired, headers={"date": "Wed, 31 Dec 2025 23:00:00 GMT"})
    assert "3600 s ahead of the vendor's" in ahead.reason
    assert fault(expired).reason == "timestamp expired; set this machine's clock"
    right = fault(expired, headers={"date": "Thu, 01 Jan 2026 00:00:05 GMT"})
    assert "try another timestamp_unit" in right.reason


# ---------------------------------------------------------------- HTTP statuses


def test_the_http_status_is_believed_before_the_body() -> None:
    succeeded = {"resultList": [OKAY] * 3}
    assert fault(succeeded, 500).kind is FaultKind.LOST
    assert fault(succeeded, 503).kind is FaultKind.NOT_CARRIED_OUT
    assert fault({"errorCode": "900001"}, 502).kind is FaultKind.LOST
    assert fault({"errorCode": "900001"}, 401).kind is FaultKind.STOP
    assert fault({"errorCode": "4711"}, 413).kind is FaultKind.TOO_LARGE


def test_a_refusal_by_status_is_told_apart_by_its_envelope() -> None:
    assert fault({"errorCode": "101003", "errorMsg": "signature mismatch"}, 400).kind is FaultKind.STOP
    assert (
        fault({"errorCode": "104", "errorMsg": "less than 1,000 profiles"}, 400).kind is FaultKind.TOO_LARGE
    )
    assert fault({"oops": "a"}, 400).code == "http_400"
    assert fault(b"<html>no</html>", 400).reason == "HTTP 400: <html>no</html>"


def test_items_beside_a_refusing_status_are_still_heard() -> None:
    assert reply({"resultList": [{"result": "FAILED", "reason": "the apn is null"}] * 3}, 422).answers


def test_a_clock_that_is_off_is_said_for_a_401_too() -> None:
    headers = {"date": "Thu, 01 Jan 2026 00:20:00 GMT"}
    assert "1200 s behind" in fault({"errorCode": "101001"}, 401, headers=headers).reason


# ---------------------------------------------------------------- secrets


SECRET_PIECES = ("MATCHING-001", "matching-001", "secret-cc")


@pytest.mark.parametrize(
    "words",
    [
        "bad ac:[LPA:1$smdp.example$MATCHING-001]",
        "bad ac 1$smdp.example$matching-001.",
        "matching id 'MATCHING-001' is unknown",
        "see /MATCHING-001/ or MATCHING-001?",
        "cc=secret-cc is wrong",
        "CC: SECRET-CC",
    ],
)
def test_an_activation_or_confirmation_code_is_taken_out_of_the_vendors_words(words: str) -> None:
    for shown in (
        answer("FAILED", words).verdict.reason,
        answer(words).verdict.reason,
        fault({"errorCode": "4711", "errorMsg": words}).reason,
        fault({"errorCode": "101001", "errorMsg": words}, 401).reason,
        fault(words.encode(), 500).reason,
        fault({"oops": words}, 400).reason,
    ):
        assert "…" in shown
        assert not any(piece.casefold() in shown.casefold() for piece in SECRET_PIECES)


@pytest.mark.parametrize("status", [200, 400, 401, 413, 429, 500, 503])
@pytest.mark.parametrize("cut", [None, 250, 280, 300, 330])
def test_an_echo_of_the_inventory_in_a_failed_reply_is_not_shown(status: int, cut: int | None) -> None:
    body = json.dumps({"oops": [ROWS[1]]}).replace("$", "\\u0024").encode()[:cut]
    shown = fault(body, status).reason
    assert not any(piece.casefold() in shown.casefold() for piece in SECRET_PIECES)
    assert "MATCHING" not in shown


def test_a_short_matching_id_is_hidden_where_it_stands_alone() -> None:
    rows = [{**ROWS[0], "ac": "LPA:1$smdp.example$Ab12"}]
    vendor = Vendor(lambda _: Response(200, {}, b'{"code":"4711","errorMsg":"no such matching id: AB12"}'))
    found = asyncio.run(target().send(batch_of(rows), vendor))
    assert isinstance(found, Fault)
    assert found.reason == "no such matching id: …"


def test_half_an_activation_code_is_hidden_too() -> None:
    assert answer("FAILED", "bad ac MATCHING-0").verdict.reason == "bad ac …"


def test_our_credentials_are_taken_out_of_the_vendors_words() -> None:
    codes = {"access_code": SecretStr("our-access-code"), "secret_code": SecretStr("our-secret-code")}
    shown = fault(
        {"errorCode": "101003", "errorMsg": "our-access-code our-secret-code unknown"}, **codes
    ).reason
    assert shown == "… … unknown"


def test_the_identifier_in_a_reason_is_kept() -> None:
    words = f"the eid must be 32-digit, iccid:[{KEYS[0]}]"
    assert answer("FAILED", words).verdict.reason == words


# ---------------------------------------------------------------- settings


TABLE = {"kind": "sim-express", "access_code": "env:SIM_EXPRESS_A", "secret_code": "env:SIM_EXPRESS_S"}


@pytest.fixture
def _codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_EXPRESS_A", "access-in-the-environment")
    monkeypatch.setenv("SIM_EXPRESS_S", "secret-in-the-environment")


@pytest.mark.usefixtures("_codes")
def test_the_settings_name_their_secrets_and_never_show_them() -> None:
    found = read_table(Settings, dict(TABLE), where="job.toml", table="target")
    assert found.secret_code.get_secret_value() == "secret-in-the-environment"
    assert "in-the-environment" not in repr(found)
    assert (found.base_url, found.timestamp_unit, found.codes) == ("https://sim.express", "s", {})


@pytest.mark.usefixtures("_codes")
def test_plain_http_goes_to_this_machine_only_unless_allowed() -> None:
    for url in ("http://127.0.0.1:8000", "http://localhost:1", "http://[::1]:1"):
        assert read_table(Settings, {**TABLE, "base_url": url}, where="job.toml").base_url == url
    with pytest.raises(UsageError, match="allow_http"):
        read_table(Settings, {**TABLE, "base_url": "http://sim.express"}, where="job.toml")
    read_table(Settings, {**TABLE, "base_url": "http://sim.express", "allow_http": True}, where="job.toml")


@pytest.mark.usefixtures("_codes")
def test_a_code_can_only_mean_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"target\.codes\.4711"):
        read_table(Settings, {**TABLE, "codes": {"4711": "ignore"}}, where="job.toml", table="target")


# ---------------------------------------------------------------- parser and reconciler together


@st.composite
def told(draw: Any) -> tuple[list[str], list[Ruling], bytes]:
    """A truth, as any vendor who keeps to the page might spell it: keys in any case, echo in any order."""
    count = draw(st.integers(1, 6))
    keys = [f"8935711001000000{index:04d}" for index in range(count)]
    outcomes = {
        Ruling.SUCCEEDED: lambda _: {"result": "SUCCEED", "reason": draw(st.sampled_from([None, ""]))},
        Ruling.EXISTS: lambda key: {"result": "FAILED", "reason": f"the iccid is exist in db, iccid:[{key}]"},
        Ruling.REFUSED: lambda _: {"result": "FAILED", "reason": "the apn is null"},
    }
    truth = [draw(st.sampled_from(list(outcomes))) for _ in keys]
    order = draw(st.permutations(range(count))) if draw(st.booleans()) else None

    def cased(fields: dict[str, Any]) -> dict[str, Any]:
        return {
            draw(st.sampled_from([k, k.lower(), k.upper(), k.capitalize()])): v for k, v in fields.items()
        }

    entries = [cased(outcomes[truth[index]](keys[index])) for index in order or range(count)]
    envelope = {draw(st.sampled_from(["errorCode", "code"])): draw(st.sampled_from(["0", 0, "", None]))}
    if order is not None:
        envelope["profileItems"] = [cased({**ROWS[0], "iccid": keys[index]}) for index in order]
    envelope[draw(st.sampled_from(["resultList", "resultItems"]))] = entries
    return keys, truth, json.dumps(cased(envelope)).encode()


@settings(max_examples=150, deadline=None)
@given(told())
def test_however_it_is_spelled_every_item_gets_its_own_verdict(
    case: tuple[list[str], list[Ruling], bytes],
) -> None:
    keys, truth, body = case
    found = read(body)
    assert isinstance(found, Reply)
    verdicts = reconcile(keys, found)
    assert [verdicts.exceptions.get(i, PLAIN_SUCCESS).ruling for i in range(len(keys))] == truth
    assert verdicts.evidence == ()


# ---------------------------------------------------------------- equal entries are read once

_SAYINGS = st.sampled_from(
    [
        {"result": "SUCCEED", "reason": None},
        {"result": "FAILED", "reason": 'a "quoted" \\ word'},
        {"result": "FAILED", "reason": "braces } { ] [ in words"},
        {"result": "FAILED", "reason": '"resultList":[{"result":"SUCCEED"},'},
        {},
        {"result": "SUCCEED", "more": {"nested": [1]}},
    ]
)
_LISTS = st.one_of(
    st.tuples(_SAYINGS, st.integers(0, 40)).map(lambda drawn: [drawn[0]] * drawn[1]),
    st.lists(_SAYINGS, max_size=40),
)


@given(
    envelope=st.dictionaries(
        st.sampled_from(["resultList", "resultItems", "RESULTLIST", "profileItems", "errorCode", "data"]),
        st.one_of(_LISTS, st.fixed_dictionaries({"resultList": _LISTS})),
    ),
    ascii_only=st.booleans(),
    separators=st.sampled_from([None, (",", ":"), (" , ", " : ")]),
    cut=st.integers(0, 30),
)
def test_a_body_read_with_its_equal_entries_once_is_the_body_read_plainly(
    *, envelope: dict[str, Any], ascii_only: bool, separators: tuple[str, str] | None, cut: int
) -> None:
    whole = json.dumps(envelope, ensure_ascii=ascii_only, separators=separators).encode()
    for body in (
        whole,
        whole[: max(0, len(whole) - cut)],
        whole.replace(b"resultList", rb"resultL\u0069st", 1),
    ):
        try:
            plain = json.loads(body)
        except ValueError:
            plain = None
        assert envelope_of(body) == plain


def test_a_thousand_equal_successes_are_read_by_the_short_way() -> None:
    body = json.dumps({"resultList": [{"result": "SUCCEED"}] * 1000}, separators=(",", ":")).encode()
    assert _with_equal_results(body) == json.loads(body)
