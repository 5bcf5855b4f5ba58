"""When may be sent: by examples at both changes of the clock, and against an oracle that counts minutes."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from pipeline.settings import Window, job_from
from pipeline.window import FORESEEN_S, Schedule, schedule_of

if TYPE_CHECKING:
    from collections.abc import Iterator

BERLIN = "Europe/Berlin"
ZONES = (BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOUR_S = 3600


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def schedule(open_: str | list[str] = "", drain_s: float = 0, zone: str = BERLIN, **more: Any) -> Schedule:
    return Schedule(Window.model_validate({"open": open_, "zone": zone, **more}), drain_s)


def openings(which: Schedule, moment: str, number: int = 1) -> list[tuple[str, str]]:
    """The next openings, as UTC to the minute."""
    found = islice(which.openings(utc(moment)), number)
    return [(_minute(opening.begins), _minute(opening.ends)) for opening in found]


def _minute(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M}"


# ---------------------------------------------------------------- ordinary days


def test_without_hours_it_is_always_open_at_the_whole_rate() -> None:
    stretch = schedule().at(utc("2026-11-22"))
    assert (stretch.share, stretch.until, stretch.opening.closes) == (1.0, math.inf, math.inf)
    assert schedule().always
    assert schedule().even


def test_without_a_window_no_zone_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ZoneInfo:
        raise AssertionError(name)

    monkeypatch.setattr("pipeline.window.ZoneInfo", missing)
    assert Schedule(Window(), 70).ends_at(0, 100) == 100


def test_a_night_is_open_over_midnight_and_closed_by_day() -> None:
    night = schedule("22:00-06:00", drain_s=70)
    inside = night.at(utc("2026-11-22T23:00"))
    assert (inside.share, inside.until) == (1.0, utc("2026-11-23T05:00") - 70)
    assert inside.opening.ends == utc("2026-11-23T05:00")
    outside = night.at(utc("2026-11-23T05:00"))
    assert (outside.share, outside.until) == (0.0, utc("2026-11-23T21:00"))


def test_before_the_end_nothing_is_sent_that_might_not_be_answered_in_it() -> None:
    night = schedule("22:00-06:00", drain_s=70)
    closes = utc("2026-11-23T05:00") - 70
    assert night.at(closes - 1).share == 1.0
    draining = night.at(closes)
    assert (draining.share, draining.until) == (0.0, utc("2026-11-23T21:00"))


def test_days_are_those_on_which_an_opening_begins() -> None:
    weekend = schedule("22:00-06:00", days=["fri", "sat"])
    assert openings(weekend, "2026-11-23T12:00", 3) == [
        ("2026-11-27T21:00", "2026-11-28T05:00"),
        ("2026-11-28T21:00", "2026-11-29T05:00"),
        ("2026-12-04T21:00", "2026-12-05T05:00"),
    ]


def test_openings_that_touch_are_one_and_not_drained_in_between() -> None:
    halves = schedule(["00:00-06:00", "22:00-24:00"], drain_s=70)
    assert openings(halves, "2026-11-23T12:00") == [("2026-11-23T21:00", "2026-11-24T05:00")]
    working_week = schedule("00:00-24:00", days=["mon", "tue", "wed", "thu", "fri"])
    assert openings(working_week, "2026-11-22T12:00") == [("2026-11-22T23:00", "2026-11-27T23:00")]


def test_hours_that_fill_every_day_are_no_window() -> None:
    assert schedule(["06:00-22:00", "22:00-06:00"], drain_s=70).always


def test_a_share_holds_at_its_hours_and_the_whole_rate_elsewhere() -> None:
    slow_by_day = schedule(shares={"06:00-22:00": 0.1})
    by_day = slow_by_day.at(utc("2026-11-23T12:00"))
    assert (by_day.share, by_day.until) == (0.1, utc("2026-11-23T21:00"))
    by_night = slow_by_day.at(by_day.until)
    assert (by_night.share, by_night.until) == (1.0, utc("2026-11-24T05:00"))


def test_whatever_comes_first_ends_a_stretch() -> None:
    evening = schedule("20:00-06:00", drain_s=70, shares={"18:00-22:00": 0.5})
    first = evening.at(utc("2026-11-23T20:00"))
    assert (first.share, first.until) == (0.5, utc("2026-11-23T21:00"))
    second = evening.at(first.until)
    assert (second.share, second.until) == (1.0, utc("2026-11-24T05:00") - 70)


def test_an_opening_as_short_as_an_answer_may_take_is_no_schedule() -> None:
    with pytest.raises(ValueError, match="over within 70 s"):
        schedule("22:00-22:01", drain_s=70)


# ---------------------------------------------------------------- the clock is changed


@pytest.mark.parametrize(
    ("hours", "begins", "ends"),
    [
        ("22:00-06:00", "2026-03-28T21:00", "2026-03-29T04:00"),  # seven hours
        ("22:00-02:30", "2026-03-28T21:00", "2026-03-29T01:00"),  # the end is never shown
        ("02:30-06:00", "2026-03-29T01:00", "2026-03-29T04:00"),  # the begin is never shown
        ("02:00-02:30", "2026-03-30T00:00", "2026-03-30T00:30"),  # none of it is ever shown: on the next day
        ("01:59-03:00", "2026-03-29T00:59", "2026-03-29T01:00"),  # a minute is left of it
    ],
)
def test_the_clock_is_put_forward(hours: str, begins: str, ends: str) -> None:
    assert openings(schedule(hours), "2026-03-28T12:00") == [(begins, ends)]


@pytest.mark.parametrize(
    ("hours", "begins", "ends"),
    [
        ("22:00-06:00", "2026-10-24T20:00", "2026-10-25T05:00"),  # nine hours
        ("22:00-02:30", "2026-10-24T20:00", "2026-10-25T00:30"),  # the end is shown twice: the first time
        ("02:30-06:00", "2026-10-25T00:30", "2026-10-25T05:00"),  # the begin is shown twice: the first time
        ("02:15-02:45", "2026-10-25T00:15", "2026-10-25T00:45"),  # all of it twice
    ],
)
def test_the_clock_is_put_back(hours: str, begins: str, ends: str) -> None:
    assert openings(schedule(hours), "2026-10-24T12:00") == [(begins, ends)]


def test_an_opening_that_a_change_leaves_too_short_is_not_sent_in() -> None:
    which = schedule("01:59-03:00", drain_s=70)
    stretch = which.at(utc("2026-03-28T12:00"))
    assert (stretch.share, stretch.until) == (0.0, utc("2026-03-29T23:59"))
    assert which.windows(utc("2026-03-28T12:00"), utc("2026-03-30T12:00")) == 1


def test_a_day_that_never_was_has_no_opening() -> None:
    apia = schedule("08:00-18:00", zone="Pacific/Apia")
    assert openings(apia, "2011-12-29T18:00", 2) == [
        ("2011-12-29T18:00", "2011-12-30T04:00"),
        ("2011-12-30T18:00", "2011-12-31T04:00"),
    ]


# ---------------------------------------------------------------- when work is done


def test_work_goes_on_in_the_next_window_and_at_the_rate_of_the_hour() -> None:
    nights = schedule("22:00-06:00", drain_s=HOUR_S, zone="UTC", shares={"00:00-02:00": 0.5})
    start = utc("2026-11-22T12:00")
    # Six hours' worth a night: two whole, two at half the rate, three whole, one to drain.
    assert nights.ends_at(start, HOUR_S) == utc("2026-11-22T23:00")
    assert nights.ends_at(start, 2.5 * HOUR_S) == utc("2026-11-23T01:00")
    assert nights.ends_at(start, 6 * HOUR_S) == utc("2026-11-23T05:00")
    assert nights.ends_at(start, 7 * HOUR_S) == utc("2026-11-23T23:00")
    assert nights.windows(start, utc("2026-11-23T23:00")) == 2


def test_what_binds_besides_the_rate_is_not_slowed_by_a_share_that_leaves_it_enough() -> None:
    by_day = schedule(zone="UTC", shares={"06:00-22:00": 0.5})
    assert by_day.ends_at(utc("2026-11-22T12:00"), 0.25 * HOUR_S, most=0.25) == utc("2026-11-22T13:00")


def test_no_work_is_done_at_once_and_what_takes_for_ever_has_no_end() -> None:
    closed = schedule("22:00-06:00", zone="UTC")
    start = utc("2026-11-22T12:00")
    assert closed.ends_at(start, 0) == start
    assert closed.ends_at(start, FORESEEN_S) == math.inf
    assert schedule().ends_at(0, 2 * FORESEEN_S) == math.inf


# ---------------------------------------------------------------- how moments are written


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("2026-11-22T21:00", "22:00 (Europe/Berlin)"),
        ("2026-11-23T21:00", "Mon 22:00 (Europe/Berlin)"),
        ("2026-11-29T21:00", "Sun 29 Nov 2026 22:00 (Europe/Berlin)"),
    ],
)
def test_a_moment_is_written_with_as_much_of_its_date_as_it_takes(moment: str, words: str) -> None:
    assert schedule("22:00-06:00").clock(utc(moment), utc("2026-11-22T12:00")) == words


def test_a_job_drains_as_long_as_a_call_may_take() -> None:
    data = {"target": {"kind": "x"}, "limits": {"connect_timeout_s": 5.0, "reply_timeout_s": 20.0}}
    job = job_from({**data, "window": {"open": "22:00-06:00"}}, where="job file x")
    assert schedule_of(job).drain_s == 25


# ---------------------------------------------------------------- the oracle


class Minutes:
    """The window minute by minute: what is open is told by how far the zone's clock has ever come."""

    def __init__(self, window: Window, start: float, minutes: int, drain_min: int) -> None:
        self._window = window
        farthest = datetime.min  # noqa: DTZ901 - as shown by a clock
        zone, before = ZoneInfo(window.zone), 2 * 24 * 60
        is_open, self.share = [], []
        for minute in range(-before, minutes + drain_min):
            shown = datetime.fromtimestamp(start + 60 * minute, zone).replace(tzinfo=None)
            farthest = max(farthest, shown)
            if minute >= 0:
                is_open.append(not window.open or any(self._open_at(farthest)))
                self.share.append(self._share_at(farthest))
        self.sends = [all(is_open[minute : minute + drain_min + 1]) for minute in range(minutes)]

    def _open_at(self, shown: datetime) -> Iterator[bool]:
        entries = [self._window.open] if isinstance(self._window.open, str) else self._window.open
        days = self._window.days or DAYS
        for day in (shown.date(), shown.date() - timedelta(days=1)):
            yield DAYS[day.weekday()] in days and any(_within(text, day, shown) for text in entries)

    def _share_at(self, shown: datetime) -> float:
        for text, share in self._window.shares.items():
            if any(_within(text, shown.date() - timedelta(days=back), shown) for back in (0, 1)):
                return share
        return 1.0

    def ends_at(self, start: float, work_s: float) -> float:
        left_s = work_s
        for minute, (sends, share) in enumerate(zip(self.sends, self.share, strict=False)):
            if not sends:
                continue
            if 60 * share >= left_s:
                return start + 60 * minute + left_s / share
            left_s -= 60 * share
        return math.inf


def _within(text: str, day: date, shown: datetime) -> bool:
    """Tell whether a clock shows a time within hours that began on a day."""
    begins, ends = (timedelta(hours=int(time[:2]), minutes=int(time[3:])) for time in text.split("-"))
    midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - as shown by a clock
    return midnight + begins <= shown < midnight + ends + timedelta(days=ends <= begins)


@st.composite
def hours(draw: st.DrawFn, most: int) -> list[str]:
    """Some hours of the day that do not overlap; times around the changes of the clock are likely."""
    likely = st.one_of(st.integers(0, 4 * 60), st.integers(0, 24 * 60 - 1))
    marks = sorted(draw(st.sets(likely, min_size=2, max_size=2 * most)))
    turn = draw(st.booleans())  # else the last ones would never reach over midnight
    marks = marks[1:] + marks[:1] if turn else marks
    pairs = zip(marks[::2], marks[1::2], strict=False)
    return ["-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in pair) for pair in pairs]


@st.composite
def windows(draw: st.DrawFn) -> Window:
    entries = draw(hours(3))
    shares = draw(st.one_of(st.just([]), hours(2)))
    return Window(
        open=entries[0] if len(entries) == 1 else entries,
        days=draw(st.one_of(st.just([]), st.lists(st.sampled_from(DAYS), min_size=1, unique=True))),
        zone=draw(st.sampled_from(ZONES)),
        shares={text: draw(st.sampled_from([0.1, 0.25, 0.5, 1.0])) for text in shares},
    )


@st.composite
def starts(draw: st.DrawFn, zone: str) -> float:
    """A minute within a few days of a change of the clock, or anywhere in half a century."""
    year = draw(st.integers(1990, 2036))
    days = [datetime(year, 1, 1, 12, tzinfo=UTC) + timedelta(days=number) for number in range(365)]
    offsets = [day.astimezone(ZoneInfo(zone)).utcoffset() for day in days]
    changes = [number for number in range(1, len(days)) if offsets[number] != offsets[number - 1]]
    number = draw(st.one_of(st.sampled_from(changes or [0]), st.integers(0, 364)))
    return days[number].timestamp() - 60 * draw(st.integers(0, 3 * 24 * 60))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_every_minute_of_four_days_is_as_the_oracle_says(data: st.DataObject) -> None:
    window = data.draw(windows())
    start = data.draw(starts(window.zone))
    shortest = min(entry.length_s // 60 for entry in window.hours)
    drain_min = data.draw(st.integers(0, min(shortest - 1, 90)))
    minutes = 4 * 24 * 60
    oracle = Minutes(window, start, minutes, drain_min)
    which = Schedule(window, 60.0 * drain_min)

    at, found = start, []
    while at < start + 60 * minutes:
        stretch = which.at(at)
        assert stretch.until > at
        until = min(stretch.until, start + 60 * minutes)
        found += [stretch.share] * round((until - at) / 60)
        at = until
    assert found == [s if sends else 0.0 for sends, s in zip(oracle.sends, oracle.share, strict=False)]

    work_s = data.draw(st.integers(1, 36 * HOUR_S))
    expected = oracle.ends_at(start, work_s)
    if expected < math.inf:
        assert which.ends_at(start, work_s) == pytest.approx(expected, abs=0.01)
    else:
        assert which.ends_at(start, work_s) >= start + 60 * minutes - 0.01
