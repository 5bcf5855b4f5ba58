"""How many calls, how long, and whether it fits."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pipeline.errors import UsageError
from pipeline.plan import Plan, seconds_of, span_of
from pipeline.settings import Limits, Window
from pipeline.window import Schedule

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()  # a Sunday, 13:00 in Berlin


def scheduled(calls: int, within_s: int | None = None, limits: Limits | None = None, **window: Any) -> Plan:
    """A plan that begins at noon and keeps to a window in Berlin, 70 s of which are left to drain."""
    schedule = Schedule(Window(zone="Europe/Berlin", **window), 70)
    return Plan(calls, limits or Limits(), within_s=within_s, schedule=schedule, starts_at=NOON)


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


# ---------------------------------------------------------------- with a window


def test_the_end_is_told_with_the_window_counted_in() -> None:
    plan = scheduled(700_000, open="22:00-06:00")
    assert plan.duration_s == 70_000  # two nights of eight hours but 70 s, and 3h29m of the third
    assert plan.text()[-1] == "  begun now it ends Wed 01:29 (Europe/Berlin), in window 3 from now"
    data = plan.data()
    assert (data["duration_s"], data["windows"]) == (70_000, 3)
    assert data["starts_at"] == "2026-11-22T13:00:00+01:00"
    assert data["ends_at"] == "2026-11-25T01:29:00+01:00"
    assert data["takes_s"] == 60 * 3600 + 29 * 60
    assert json.loads(json.dumps(data)) == data


def test_a_share_slows_the_rate_but_not_what_concurrency_allows() -> None:
    by_day = {"shares": {"06:00-22:00": 0.1}}
    assert scheduled(36_000, **by_day).ends_at == NOON + 9 * 3600 + (36_000 - 32_400) / 10
    few_open = Limits(requests_per_second=100.0, concurrency=5)
    assert scheduled(36_000, limits=few_open, **by_day).ends_at == NOON + 7_200
    assert scheduled(10, **by_day).text()[-1] == "  begun now it ends 13:01 (Europe/Berlin)"


@pytest.mark.parametrize(
    ("within_s", "line"),
    [
        (10 * 3600, "  fits in 10h: yes"),
        (9 * 3600, "  fits in 9h: no, by 10s"),
        (60, "  fits in 1m: no, by 8h59m10s"),
    ],
)
def test_the_time_there_is_runs_on_while_the_window_is_closed(within_s: int, line: str) -> None:
    plan = scheduled(100, within_s, open="22:00-06:00")
    assert plan.fits is (within_s == 10 * 3600)
    assert plan.text()[-1] == line


def test_what_takes_more_than_a_year_has_no_end() -> None:
    plan = scheduled(10**10, 60, open="22:00-06:00")
    assert not plan.fits
    assert plan.text()[-2:] == ["  begun now it is not through within a year", "  fits in 1m: no"]
    assert (plan.data()["ends_at"], plan.data()["takes_s"], plan.data()["windows"]) == (None, None, None)


def test_no_calls_are_through_at_once() -> None:
    assert scheduled(0, open="22:00-06:00").ends_at == NOON
    assert scheduled(0, open="22:00-06:00").data()["windows"] == 0
