"""How many calls, how long, and whether it fits."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from pipeline.errors import UsageError
from pipeline.plan import Plan, seconds_of, span_of
from pipeline.settings import Limits


@pytest.mark.parametrize(
    ("span", "seconds"),
    [("90m", 5_400), ("6h", 21_600), ("2h30m", 9_000), ("1d", 86_400), (" 1D2h ", 93_600), ("45s", 45)],
)
def test_a_window_is_read_as_people_write_it(span: str, seconds: int) -> None:
    assert seconds_of(span) == seconds


@pytest.mark.parametrize("span", ["", "6", "h", "0m", "6 h", "30m2h", "-1h", "1.5h", "\u0666h"])
def test_what_is_no_time_span_is_an_error_that_says_what_is(span: str) -> None:
    with pytest.raises(UsageError, match="2h30m"):
        seconds_of(span)


@given(st.integers(1, 10**7))
def test_a_span_that_is_written_reads_the_same(seconds: int) -> None:
    assert seconds_of(span_of(seconds)) == seconds


def test_the_rate_binds_where_calls_are_quick_enough() -> None:
    plan = Plan(100_000, Limits(requests_per_second=10, concurrency=16))
    assert (plan.binding, plan.duration_s) == ("requests_per_second", 10_000)
    assert plan.text()[0] == "plan: 100,000 batches in as many calls: 2h46m40s at 10 requests/s"
    assert plan.text()[1].startswith("  [limits] requests_per_second binds")


def test_concurrency_binds_where_the_rate_allows_more_calls_than_can_be_open() -> None:
    plan = Plan(1_000, Limits(requests_per_second=100, concurrency=4))
    assert (plan.binding, plan.duration_s, plan.at_rate_s) == ("concurrency", 250, 10)
    assert "4m10s with 4 in flight" in plan.text()[0]
    assert "10s at 100 requests/s" in plan.text()[1]


@pytest.mark.parametrize(
    ("within_s", "fits", "line"), [(10, True, "  fits in 10s: yes"), (9, False, "  fits in 9s: no, by 1s")]
)
def test_a_window_fits_or_not(within_s: int, fits: bool, line: str) -> None:  # noqa: FBT001 - a case
    plan = Plan(100, Limits(requests_per_second=10), within_s=within_s)
    assert plan.fits is fits
    assert plan.text()[-1] == line
    assert plan.data()["fits"] is fits


def test_without_a_window_everything_fits() -> None:
    assert Plan(10**9, Limits()).fits
    assert "fits" not in Plan(1, Limits()).data()


def test_questions_on_top_are_told() -> None:
    plan = Plan(1, Limits(), asks_later=True)
    assert plan.data()["questions_on_top"] is True
    assert any("on top" in line for line in plan.text())
    assert not any("on top" in line for line in Plan(1, Limits()).text())


def test_the_data_is_plain() -> None:
    data = Plan(3, Limits(), within_s=60).data()
    assert json.loads(json.dumps(data)) == data
    assert (data["batches"], data["calls"], data["binding"]) == (3, 3, "requests_per_second")
