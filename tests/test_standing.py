"""How a run stands: rates of the last half minute, an honest time left, and what holds the pace in words."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from snapshots import snapshot

from pipeline.model import Status
from pipeline.standing import JUDGED_OVER_S, SHOWN_OVER_S, Gauge, Standing, standing_from


def read(gauge: Gauge, settled: int, elapsed_s: float, **more: Any) -> Standing:
    return gauge.read(snapshot(settled, elapsed_s, **more), elapsed_s)


# ---------------------------------------------------------------- rates


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    gauge = Gauge()
    slow = [read(gauge, 10 * second, second) for second in range(100)][-1]
    fast = [read(gauge, 990 + 1000 * second, 99 + second) for second in range(1, 61)][-1]
    assert slow.rows_per_s == pytest.approx(10)
    assert fast.rows_per_s == pytest.approx(1000)


def test_a_standstill_shows_within_the_window() -> None:
    gauge = Gauge()
    for second in range(10):
        read(gauge, 100 * second, second)
    rates = [read(gauge, 900, 10 + second).rows_per_s for second in range(int(SHOWN_OVER_S) + 2)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0


def test_requests_are_counted_like_rows() -> None:
    gauge = Gauge()
    standing = [read(gauge, 0, second, requests=7 * second) for second in range(60)][-1]
    assert standing.requests_per_s == pytest.approx(7)


def test_what_an_earlier_process_settled_is_not_this_ones_speed() -> None:
    gauge = Gauge()
    read(gauge, 900_000, 0)
    assert read(gauge, 900_050, 5).rows_per_s == pytest.approx(10)


def test_a_single_look_gives_no_rate_and_no_time_left() -> None:
    standing = read(Gauge(), 500, 0)
    assert (standing.rows_per_s, standing.eta_s) == (0, None)


# ---------------------------------------------------------------- the time left


def eta(settled_per_s: int = 100, seconds: int = 5, gauge: Gauge | None = None, **more: Any) -> float | None:
    gauge = gauge or Gauge()
    return [read(gauge, settled_per_s * second, second, **more) for second in range(seconds + 1)][-1].eta_s


def test_the_time_left_counts_what_has_not_been_read_yet() -> None:
    assert eta() == pytest.approx((2000 - 500) / 100)
    assert eta(reading_done=True) == pytest.approx(5)


def test_no_time_left_is_given_on_a_guess() -> None:
    assert eta(rows_read=0, bytes_read=0) is None
    assert eta(settled_per_s=0) is None


def test_the_time_left_is_never_negative() -> None:
    assert eta(settled_per_s=600) == 0


def test_no_time_left_is_given_where_the_rest_is_the_vendors_to_finish() -> None:
    assert eta(reading_done=True, rows_read=600, open_tickets=100) is None


def test_what_is_held_does_not_count_as_slowness() -> None:
    gauge = Gauge()
    for second in range(10):
        read(gauge, 100 * second, second, rows_read=10_000, reading_done=True)
    for second in range(10, 500):
        held = read(gauge, 900, second, rows_read=10_000, reading_done=True, holding="held by anna")
    assert held.eta_s == pytest.approx((10_000 - 900) / 100, rel=0.02)


def test_what_is_settled_while_all_is_held_is_no_speed() -> None:
    gauge = Gauge()
    for second in range(11):
        read(gauge, 100 * (second >= 5), second, holding="the canary: 100 of the first 100 items are out")
    assert read(gauge, 100, 11, holding="the canary").eta_s is None
    assert read(gauge, 110, 12).eta_s == pytest.approx((2000 - 110) / 10)


def test_once_all_is_read_only_rows_that_are_sent_tell_the_time_left() -> None:
    def at(second: int, sent: int, duplicates: int) -> Standing:
        counts = dict.fromkeys(Status, 0) | {Status.SUCCEEDED: sent, Status.DUPLICATE: duplicates}
        return gauge.read(snapshot(0, second, counts=counts, reading_done=True), second)

    gauge = Gauge()
    at(0, 0, 0)
    assert at(10, 10, 900).eta_s == pytest.approx(90)


def test_a_long_hold_is_not_remembered_look_by_look() -> None:
    gauge = Gauge()
    [read(gauge, 100 * second, second) for second in range(200)]
    tracemalloc.start()
    try:
        for look in range(40_000):
            held = read(gauge, 20_000, 200 + look / 4, holding="held by anna", reading_done=True)
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 200_000
    assert held.rows_per_s == 0
    again = read(gauge, 20_100, 200 + 10_001, reading_done=True, rows_read=40_000)
    assert again.eta_s == pytest.approx(199, rel=0.02)


def test_a_hold_with_a_known_end_is_waited_for_first() -> None:
    gauge = Gauge()
    eta(gauge=gauge, reading_done=True)
    held = read(gauge, 500, 6, reading_done=True, holding="the vendor pushed back", hold_left_s=40.0)
    assert held.eta_s == pytest.approx(40 + 5)


def test_hours_at_which_nothing_leaves_are_counted_in() -> None:
    assert eta(gauge=Gauge(reach=lambda work_s: 3600 + work_s), reading_done=True) == pytest.approx(3605)


@settings(deadline=None, max_examples=30)
@given(rate=st.integers(1, 5000), looks_per_s=st.integers(1, 20))
def test_the_time_left_is_judged_by_the_last_minutes_however_often_one_looks(
    rate: int, looks_per_s: int
) -> None:
    gauge, total = Gauge(), 10_000_000
    for look in range(100 * looks_per_s):
        read(gauge, 9 * look // looks_per_s, look / looks_per_s, rows_read=total, reading_done=True)
    for look in range(int(JUDGED_OVER_S + 5) * looks_per_s):
        settled = 900 + rate * look // looks_per_s
        last = read(gauge, settled, 100 + look / looks_per_s, rows_read=total, reading_done=True)
    assert last.eta_s == pytest.approx((total - settled) / rate, rel=0.02)


# ---------------------------------------------------------------- what holds the pace


LIMITS = {"rate_per_s": 10.0, "limit_per_s": 10.0, "concurrency": 16, "ceiling": 16}


def bound_by(requests_per_s: float = 1.0, **more: Any) -> str:
    return Standing(0.0, snapshot(**(LIMITS | more)), requests_per_s=requests_per_s).bound_by


def test_what_holds_a_run_altogether_comes_first() -> None:
    assert bound_by(9.9, holding="held by anna") == "held by anna"


def test_a_run_at_its_rate_is_bound_by_that_limit() -> None:
    assert bound_by(9.5) == "the limit of 10 requests/s"


def test_a_run_at_a_rate_below_its_limit_is_bound_by_what_the_vendor_allows() -> None:
    assert bound_by(3.9, rate_per_s=4.0) == "what the vendor was found to allow, 4 requests/s"


def test_a_run_whose_slots_are_taken_is_bound_by_them() -> None:
    assert bound_by(in_flight=16) == "the limit of 16 requests at once"
    assert bound_by(in_flight=5, concurrency=5) == "the vendor's answers: 5 requests at once serve it best"


def test_a_run_whose_requests_wait_for_their_turn_is_bound_by_the_rate() -> None:
    assert bound_by(in_flight=1, queued=3, concurrency=4, requests_per_s=4) == "the limit of 10 requests/s"


def test_a_run_with_free_slots_waits_for_its_inventory() -> None:
    assert bound_by(in_flight=2) == "the reading of the inventory"
    assert bound_by(in_flight=2, reading_done=True) == ""


def test_a_standing_comes_back_from_its_data() -> None:
    standing = Standing(1.5, snapshot(480, 12.0, holding="held by anna", paused=True), 40.0, 4.0, 30.0)
    assert standing_from(json.loads(json.dumps(standing.data()))) == standing


def test_what_a_later_version_says_besides_is_left_out() -> None:
    data = Standing(1.0, snapshot(7)).data()
    later = data | {"mood": "fine", "snapshot": data["snapshot"] | {"lanes": 3}}
    assert standing_from(later) == Standing(1.0, snapshot(7))
