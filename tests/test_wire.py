"""What an HTTP status means for a batch, and what a vendor wishes with Retry-After."""

from __future__ import annotations

import time
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from pipeline.model import FaultKind
from pipeline.wire import (
    LONGEST_WISH_S,
    Response,
    fault_of,
    rate_limit_hold,
    request_id_of,
    retry_after,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

EIGHT_OCLOCK = "Wed, 21 Oct 2026 08:00:00 GMT"
TWO_MINUTES_LATER = "Wed, 21 Oct 2026 08:02:00 GMT"
UTC_EIGHT_OCLOCK = 1_792_569_600.0


def response(status: int = 503, body: bytes = b"", *, received_at: float = 0.0, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, named, body, received_at)


# ---------------------------------------------------------------- status


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success_is_no_fault(status: int) -> None:
    assert fault_of(response(status)) is None


@pytest.mark.parametrize(
    ("kind", "among"),
    [
        (FaultKind.NOT_CARRIED_OUT, [429, 503]),
        (FaultKind.LOST, [500, 501, 502, 504, 505, 507, 520, 524, 599]),
        (FaultKind.STOP, [401, 403, 404, 405, 407, 301, 302, 303, 307, 308]),
        (FaultKind.TOO_LARGE, [413]),
        (FaultKind.REFUSED, [400, 402, 406, 409, 410, 415, 422, 451]),
    ],
)
def test_every_status_has_its_meaning(kind: FaultKind, among: list[int]) -> None:
    for status in among:
        fault = fault_of(response(status))
        assert fault is not None
        assert (fault.kind, fault.code, fault.reached) == (kind, f"http_{status}", True)


@given(status=st.integers(100, 999).filter(lambda status: not 200 <= status < 300))
def test_no_status_but_2xx_passes_for_success(status: int) -> None:
    assert fault_of(response(status)) is not None


@pytest.mark.parametrize("status", [429, 503, 500])
def test_a_fault_that_may_pass_bears_the_vendors_wish(status: int) -> None:
    fault = fault_of(response(status, retry_after="7"))
    assert fault is not None
    assert fault.retry_after_s == 7


def test_a_fault_bears_the_vendors_words() -> None:
    fault = fault_of(response(400, b"no\r\nsuch   apn\x00"))
    assert fault is not None
    assert fault.reason == "HTTP 400: no such apn"


def test_a_fault_without_words_says_the_status() -> None:
    fault = fault_of(response(500))
    assert fault is not None
    assert fault.reason == "HTTP 500"


def test_where_a_redirect_leads_to_is_shown_printable_and_bounded() -> None:
    fault = fault_of(response(302, location="/\x1b[31m\udcff" + "y" * 9000))
    assert fault is not None
    assert fault.reason.isprintable()
    assert len(fault.reason) < 300


def test_a_redirect_says_where_to_and_what_to_do() -> None:
    fault = fault_of(response(301, location="https://new.example/"))
    assert fault is not None
    assert "https://new.example/" in fault.reason
    assert "base_url" in fault.reason


@given(body=st.binary(max_size=3000) | st.text(max_size=1000).map(str.encode))
def test_words_are_one_short_printable_line(body: bytes) -> None:
    words = words_of(body)
    assert words.isprintable()
    assert words == words.strip()
    assert len(words) <= 200


# ---------------------------------------------------------------- Retry-After


@pytest.mark.parametrize(("value", "seconds"), [("0", 0), ("120", 120), (" 5 ", 5)])
def test_a_wish_in_seconds(value: str, seconds: float) -> None:
    assert retry_after(response(retry_after=value)) == seconds


def test_a_wish_as_a_date_is_told_by_the_vendors_own_clock() -> None:
    found = retry_after(response(retry_after=TWO_MINUTES_LATER, date=EIGHT_OCLOCK, received_at=5.0))
    assert found == 120


def test_a_wish_as_a_date_without_a_date_header_is_told_by_the_time_of_receipt() -> None:
    assert retry_after(response(retry_after=TWO_MINUTES_LATER, received_at=UTC_EIGHT_OCLOCK)) == 120


def test_a_date_header_that_is_none_is_passed_over() -> None:
    found = retry_after(response(retry_after=TWO_MINUTES_LATER, date="soon", received_at=UTC_EIGHT_OCLOCK))
    assert found == 120


@pytest.mark.parametrize(
    "value",
    ["Wednesday, 21-Oct-26 08:02:00 GMT", "Wed Oct 21 08:02:00 2026", "Wed, 21 Oct 2026 10:02:00 +0200"],
)
def test_old_forms_of_a_date_are_understood(value: str) -> None:
    assert retry_after(response(retry_after=value, date=EIGHT_OCLOCK)) == 120


def test_a_date_in_the_past_is_no_wait() -> None:
    assert retry_after(response(retry_after=EIGHT_OCLOCK, date=TWO_MINUTES_LATER)) == 0


@pytest.mark.parametrize(
    "value", ["", "soon", "-5", "1.5", "1e3", "٣", "5s", "5, 6", "Wed, 99 Oct 2026 08:00:00 GMT"]
)
def test_junk_is_no_wish(value: str) -> None:
    assert retry_after(response(retry_after=value, date=EIGHT_OCLOCK)) is None


@pytest.mark.parametrize("value", ["99999999999", "9" * 500, "Wed, 21 Oct 2999 08:00:00 GMT"])
def test_a_wish_beyond_reason_is_cut_to_the_longest(value: str) -> None:
    assert retry_after(response(retry_after=value, date=EIGHT_OCLOCK)) == LONGEST_WISH_S


HUGE_YEAR = "Fri, 31 Dec 99999999999999999999 23:59:59 GMT"


@pytest.mark.parametrize(
    "headers",
    [{"retry_after": HUGE_YEAR, "date": EIGHT_OCLOCK}, {"retry_after": EIGHT_OCLOCK, "date": HUGE_YEAR}],
)
def test_a_year_that_fits_no_integer_is_junk(headers: dict[str, str]) -> None:
    assert retry_after(response(**headers)) in (None, 0.0)


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("date", ["Wed Oct 21 08:00:00 2026", "Wed, 21 Oct 2026 08:00:00 -0000"])
@pytest.mark.usefixtures("far_from_greenwich")
def test_a_date_header_without_a_zone_is_utc_wherever_we_are(date: str) -> None:
    assert retry_after(response(retry_after=TWO_MINUTES_LATER, date=date)) == 120


@settings(max_examples=300)
@given(
    value=st.text(st.characters(max_codepoint=255), max_size=40)
    | st.datetimes().map(format_datetime)
    | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,3} (Jan|Oct) [0-9]{1,6} [0-9:]{1,9} ?[A-Z+\-0-9]{0,6}"),
    date=st.text(st.characters(max_codepoint=255), max_size=30) | st.datetimes().map(format_datetime),
)
def test_whatever_stands_there_the_wish_is_none_or_within_bounds(value: str, date: str) -> None:
    found = retry_after(response(retry_after=value, date=date))
    assert found is None or 0 <= found <= LONGEST_WISH_S


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"ratelimit": '"default";r=0;t=5'}, 5),
        ({"ratelimit": "limit=100, remaining=0, reset=7"}, 7),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "3"}, 3),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9"}, 9),
        (
            {
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": "1790000010",
                "date": "Mon, 21 Sep 2026 14:13:20 GMT",
            },
            10,
        ),
        ({"ratelimit": '"default";r=3;t=5'}, 0),
        ({"ratelimit-remaining": "0"}, 0),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "soon"}, 0),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "9" * 400}, 0),
        ({}, 0),
    ],
)
def test_rate_limit_headers_ask_for_silence_only_when_nothing_is_left(
    headers: dict[str, str], seconds: float
) -> None:
    assert rate_limit_hold(Response(200, headers, b"")) == seconds


# ---------------------------------------------------------------- the name of a call


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"request-id": "c-1", "x-request-id": "g-1"}, "c-1"),
        ({"X-Request-ID": " g-1 "}, "g-1"),
        ({"RT-RequestID": "4ce9d9cdac9e4e17b3a2c66c", "RT-AccessCode": "11111"}, "4ce9d9cdac9e4e17b3a2c66c"),
        ({"authorization": "Bearer secret", "date": TWO_MINUTES_LATER}, ""),
        ({"request-id": "two words", "x-trace-id": "t"}, "t"),
        ({"x-request-id": "x" * 129}, ""),
        ({"x-request-id": "\x1b[2J"}, ""),
    ],
)  # fmt: skip
def test_a_call_is_named_by_the_headers_vendors_use(headers: dict[str, str], name: str) -> None:
    assert request_id_of(headers) == name
