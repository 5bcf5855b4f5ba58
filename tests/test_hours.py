"""Hours as people write them, and the [window] table: every mistake is one line that names the key."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from pipeline.errors import UsageError
from pipeline.hours import DAY_MIN, Hours, read_hours, require_apart, require_zone
from pipeline.settings import Job, job_from


def window(limits: dict[str, Any] | None = None, **table: Any) -> Job:
    data = {"target": {"kind": "x"}, "limits": limits or {}, "window": table}
    return job_from(data, where="job file x")


@pytest.mark.parametrize(
    ("text", "begins_min", "ends_min"),
    [
        ("06:00-22:00", 360, 1320),
        ("22:00-06:00", 1320, 1800),
        ("22:00-24:00", 1320, 1440),
        ("22:00-00:00", 1320, 1440),
        ("00:00-24:00", 0, 1440),
        ("00:01-00:00", 1, 1440),
    ],
)
def test_an_end_that_is_not_after_its_begin_is_one_of_the_next_day(
    text: str, begins_min: int, ends_min: int
) -> None:
    assert read_hours(text) == Hours(begins_min, ends_min)


@given(st.integers(0, DAY_MIN - 1), st.integers(1, DAY_MIN))
def test_hours_that_are_written_read_the_same(begins_min: int, length_min: int) -> None:
    hours = Hours(begins_min, begins_min + length_min)
    if length_min < DAY_MIN or begins_min == 0:
        assert read_hours(str(hours)) == hours
        assert hours.length_s == 60 * length_min


@pytest.mark.parametrize(
    "text",
    [
        "",
        "22-06",
        "22:00",
        "22:00-06:00 ",
        "24:00-06:00",
        "22:00-24:30",
        "25:00-06:00",
        "22:60-23:00",
        "٢2:00-06:00",
    ],
)
def test_what_is_no_hours_is_an_error_that_shows_how_they_are_written(text: str) -> None:
    with pytest.raises(ValueError, match='are written "22:00-06:00"'):
        read_hours(text)


@pytest.mark.parametrize(
    ("first", "second"),
    [("22:00-06:00", "05:59-07:00"), ("05:59-07:00", "22:00-06:00"), ("01:00-02:00", "01:30-01:40")],
)
def test_hours_that_overlap_are_named(first: str, second: str) -> None:
    with pytest.raises(ValueError, match="overlap") as raised:
        require_apart([read_hours(first), read_hours(second)])
    assert first in str(raised.value)
    assert second in str(raised.value)


@pytest.mark.parametrize(
    "entries", [[], ["00:00-24:00"], ["22:00-06:00", "06:00-22:00"], ["20:00-24:00", "00:00-05:00"]]
)
def test_hours_may_touch(entries: list[str]) -> None:
    require_apart(map(read_hours, entries))


@pytest.mark.parametrize(
    "name", ["", "Europe", "../UTC", "/etc/passwd", "x\0y", "Nowhere/At All", "zone.tab"]
)
def test_what_is_no_zone_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="no time zone is called"):
        require_zone(name)


def test_a_window_is_read_as_written_and_can_be_kept_in_a_ledger() -> None:
    table = {"open": ["22:00-24:00", "00:00-06:00"], "days": ["mon"], "zone": "Europe/Berlin"}
    job = window(**table, shares={"06:00-22:00": 0.1})
    assert job.window.hours == [Hours(0, 360), Hours(1320, 1440)]
    assert job_from(job.data(), where="the ledger").window == job.window


def test_without_a_window_it_is_always_open() -> None:
    assert window().window.hours == []
    assert window(open=[], zone="Asia/Kathmandu").window.hours == []


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"open": 22}, 'window.open: must be hours such as "22:00-06:00", or a list of them'),
        ({"open": ["22:00-06:00", 5]}, "window.open: must be hours such as"),
        ({"open": "22-6"}, "window.open: '22-6': hours are written"),
        ({"open": "22:00-22:00"}, "window.open: 22:00-22:00 lasts no time; for the whole day write"),
        ({"open": ["22:00-06:00", "05:00-07:00"]}, "window.open: 22:00-06:00 and 05:00-07:00 overlap"),
        ({"shares": {"6-22": 0.5}}, "window.shares: '6-22': hours are written"),
        ({"shares": {"06:00-22:00": 0.0}}, "window.shares.06:00-22:00: "),
        ({"shares": {"06:00-22:00": 0.1, "21:00-23:00": 0.2}}, "window.shares: 06:00-22:00 and 21:00-23:00"),
        (
            {"zone": "Europe/Berln"},
            "window.zone: no time zone is called 'Europe/Berln'; did you mean Europe/Berlin?",
        ),
        ({"zone": "?"}, "window.zone: no time zone is called '?'; give one such as Europe/Berlin"),
        ({"days": ["mon"]}, "window: days are those on which the hours of open begin; give open too"),
        ({"open": "22:00-06:00", "days": ["monday"]}, "window.days.0: "),
        ({"opens": "22:00-06:00"}, "window.opens: unknown key; did you mean open?"),
        (
            {"open": "22:00-22:01"},
            "window: 22:00-22:01 is over before a call need be answered (70 s, [limits]",
        ),
    ],
)
def test_a_mistake_in_the_window_is_one_line(table: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as raised:
        window(**table)
    assert str(raised.value).startswith(f"job file x: {line}")
    assert "\n" not in str(raised.value)


def test_a_short_opening_does_where_calls_are_answered_sooner() -> None:
    quick = {"connect_timeout_s": 5.0, "reply_timeout_s": 20.0}
    assert window(quick, open="22:00-22:01").window.hours == [Hours(1320, 1321)]
