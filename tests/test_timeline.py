"""Samples become lines: rates are right, gaps stay gaps, and neither a night nor a year makes them longer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from told_runs import BEGAN, HOUR, night

from pipeline.chronicle import Event, EventKind, Sample
from pipeline.reports.local_time import LocalTime
from pipeline.reports.timeline import FEWEST_SAMPLES, MOST_POINTS, Held, holds, lives, marks, points, shaded

STILL = Sample(0.0, 0, 0, 0, 16, 10.0, 0.0, 0)


def at(moment: float, rows: int = 0, requests: int = 0, **more: object) -> Sample:
    return replace(STILL, at=moment, rows=rows, requests=requests, **more)


def event(moment: float, kind: EventKind = EventKind.STARTED, by: str = "") -> Event:
    return Event(moment, kind, "words", by)


def test_totals_become_rates_over_the_time_between() -> None:
    ((first, second),) = points([[at(0), at(2, rows=2_000, requests=2), at(6, rows=2_000, requests=10)]])
    assert (first.rows_per_s, first.requests_per_s) == (1_000, 1)
    assert (second.rows_per_s, second.requests_per_s) == (0, 2)


def test_push_backs_are_requests_per_second_too() -> None:
    ((point,),) = points([[at(0), at(4, pushed_back=2)]])
    assert point.pushed_back_per_s == 0.5


def test_without_an_answer_there_is_no_round_trip() -> None:
    ((none, some),) = points([[at(0), at(1), at(2, round_trip_s=0.5)]])
    assert (none.round_trip_s, some.round_trip_s) == (None, 0.5)


def test_a_night_makes_no_more_points_than_there_is_room_for_and_loses_no_row() -> None:
    samples = [at(float(second), rows=second * 7, requests=second) for second in range(36_001)]
    (line,) = points([samples])
    assert MOST_POINTS - 2 <= len(line) <= MOST_POINTS + 1
    assert {round(point.rows_per_s, 6) for point in line} == {7}
    assert line[-1].at == 36_000


def test_a_last_sample_right_after_another_makes_no_rate_of_its_own() -> None:
    samples = [at(0), at(1, 1_000), at(2, 2_000, concurrency=4), at(2.01, 3_000, concurrency=16)]
    ((first, second),) = points([samples])
    assert (first.rows_per_s, round(second.rows_per_s)) == (1_000, 1_980)
    assert second.concurrency == 4


def test_a_run_of_a_moment_is_one_point_and_no_line() -> None:
    ((point,),) = points([[at(0), at(0.1, 10), at(0.2, 20)]])
    assert point.rows_per_s == 100


def test_between_two_processes_nobody_was_there() -> None:
    samples = [at(0), at(1, 10), at(100), at(101, 30)]
    parts = lives(samples, [event(0), event(99.5)])
    assert [len(part) for part in parts] == [2, 2]
    assert [[point.rows_per_s for point in line] for line in points(parts)] == [[10], [30]]


def test_totals_and_clocks_that_jump_back_never_make_a_rate_below_nothing() -> None:
    ((point,),) = points([[at(5, 100, 10), at(3, 50, 5), at(6, 40, 4)]])
    assert (point.rows_per_s, point.requests_per_s) == (0, 0)


@pytest.mark.parametrize("samples", [[], [at(0)]])
def test_too_few_samples_make_no_point(samples: list[Sample]) -> None:
    assert points(lives(samples, [])) == []
    assert len(samples) < FEWEST_SAMPLES


# ---------------------------------------------------------------- what held it


def test_a_hold_lasts_until_the_next_sample_that_says_nothing_of_it() -> None:
    samples = [at(0), at(1, holding="held by anna"), at(2, holding="held by anna"), at(3), at(4)]
    assert holds([samples]) == [Held("held by anna", ((1, 3),))]


def test_a_countdown_is_one_reason_and_the_longest_comes_first() -> None:
    words = [
        "the vendor pushed back, 12 s left",
        "the vendor pushed back, 2 s left",
        "held by bert: room 112",
        "",
    ]
    samples = [at(float(n), holding=holding) for n, holding in enumerate(words)]
    assert [(one.why, one.seconds) for one in holds([samples])] == [
        ("the vendor pushed back", 2), ("held by bert: room 112", 1)
    ]  # fmt: skip


def test_waiting_for_the_vendor_to_finish_is_one_reason_too() -> None:
    words = [
        "only waiting for the vendor to finish 1,200 rows, next question in 7 s",
        "only waiting for the vendor to finish 900 rows, asking",
    ]
    samples = [at(float(n), holding=holding) for n, holding in enumerate([*words, ""])]
    assert [one.why for one in holds([samples])] == ["only waiting for the vendor to finish rows"]


def test_held_stretches_are_drawn_within_the_picture_and_no_more_than_can_be_told_apart() -> None:
    often = [Held("a", tuple((n / 10, n / 10 + 0.05) for n in range(100_000)))]
    assert len(shaded(often, 0, 10_000)) <= MOST_POINTS
    assert shaded([Held("a", ((0, 4),)), Held("b", ((90, 99),))], 2, 100) == [(2, 4), (90, 99)]
    assert shaded([Held("a", ((10, 20),)), Held("b", ((15, 40),))], 0, 100) == [(10, 40)]


# ---------------------------------------------------------------- what is marked


def test_changes_are_marked_with_their_numbers_in_the_log_and_beginning_and_end_are_not() -> None:
    chosen, more = marks(night().events())
    assert [number for number, _ in chosen] == [2, 3, 4, 5, 6, 7]
    assert more == 0


def test_where_there_are_too_many_marks_those_of_persons_stay() -> None:
    events = [event(n, EventKind.WINDOW) for n in range(100)] + [event(101, EventKind.TUNE, "anna")]
    chosen, more = marks(events)
    assert (len(chosen), more) == (40, 61)
    assert chosen[-1][1].by == "anna"


# ---------------------------------------------------------------- the clock on the wall


def test_times_are_those_of_the_windows_zone_on_both_sides_of_a_change_of_the_clocks() -> None:
    berlin = LocalTime({"window": {"zone": "Europe/Berlin"}})
    assert berlin.moment(BEGAN) == "2026-01-01 23:00:00 +01:00"
    assert berlin.moment(BEGAN + 200 * 24 * HOUR) == "2026-07-21 00:00:00 +02:00"


@pytest.mark.parametrize(
    "job", [{}, {"window": {"zone": "Mars/Olympus"}}, {"window": {"zone": "../etc/passwd"}}]
)
def test_a_zone_that_is_not_known_here_is_utc(job: dict[str, object]) -> None:
    assert LocalTime(job).moment(BEGAN) == "2026-01-01 22:00:00 +00:00"
