"""Slow start, trials that must pay, and push-back: one decision each. Whole vendors: test_pace_scenarios."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings, strategies as st

from pipeline.concurrency import Concurrency


class Rounds:
    """Sends `limit` requests at once, again and again, and closes them all after the same round trip."""

    def __init__(self, ceiling: int) -> None:
        self.concurrency = Concurrency(ceiling)
        self.now = 0.0

    @property
    def limit(self) -> int:
        return self.concurrency.limit

    def round(self, round_trip_s: float = 0.1, *, pushed_back: int = 0, most: int = 10_000) -> int:
        """Give the limit after a round; its first `pushed_back` requests are pushed back."""
        count = min(most, self.limit)
        for _ in range(count):
            self.concurrency.opened(self.now)
        self.now += round_trip_s
        for number in range(count):
            refused = number < pushed_back
            self.concurrency.closed(
                self.now, round_trip_s=None if refused else round_trip_s, pushed_back=refused, over_rate=False
            )
        return self.limit

    def rounds(self, count: int, round_trip_s: float = 0.1) -> list[int]:
        return [self.round(round_trip_s) for _ in range(count)]


def started(limit: int) -> Rounds:
    rounds = Rounds(limit)
    rounds.rounds(20)
    assert rounds.limit == limit
    return rounds


def test_one_request_opens_the_run() -> None:
    assert Concurrency(16).limit == 1


def test_slow_start_doubles_up_to_the_ceiling() -> None:
    seen = Rounds(50).rounds(20)
    assert list(dict.fromkeys(seen)) == [2, 4, 8, 16, 32, 50]


def test_a_ceiling_of_one_stays_one() -> None:
    assert set(Rounds(1).rounds(20)) == {1}


def test_the_limit_is_not_raised_where_it_is_not_reached() -> None:
    rounds = Rounds(64)
    while rounds.limit < 8:
        rounds.round()
    for _ in range(50):
        rounds.round(most=4)
    assert rounds.limit == 8


def test_a_raise_that_brings_no_throughput_is_taken_back() -> None:
    rounds = Rounds(64)
    while rounds.limit < 32:
        rounds.round()
    seen = rounds.rounds(3, 0.25)
    assert max(seen) == 32
    assert seen[-1] < 32


def test_a_round_trip_far_above_its_average_is_answered_by_nine_tenths() -> None:
    rounds = started(40)
    rounds.round(0.2)
    assert rounds.limit == 36


def test_nine_tenths_that_cost_throughput_are_taken_back() -> None:
    rounds = started(40)
    rounds.round(0.2)
    assert rounds.rounds(3, 0.2)[-1] == 40


def test_a_little_noise_changes_nothing() -> None:
    rounds = started(40)
    for number in range(30):
        rounds.round(0.1 + 0.002 * (number % 3 - 1))
    assert rounds.limit == 40


def test_push_back_lowers_at_once_to_nine_tenths() -> None:
    rounds = started(40)
    assert rounds.round(pushed_back=1) == 36


def test_many_push_backs_of_one_round_count_once() -> None:
    rounds = started(40)
    assert rounds.round(pushed_back=30) == 36


def test_push_back_of_a_raise_takes_the_raise_back() -> None:
    rounds = Rounds(64)
    while rounds.limit < 32:
        rounds.round()
    assert rounds.round(pushed_back=3) == 16


def test_where_it_was_pushed_back_it_does_not_return_soon() -> None:
    rounds = started(40)
    rounds.round(pushed_back=1)
    assert max(rounds.rounds(2)) < 40
    assert max(rounds.rounds(50)) >= 39


def test_the_place_of_push_back_is_tried_ever_more_rarely() -> None:
    rounds = started(40)
    pushed_back_at = []
    for number in range(600):
        if rounds.limit >= 30:
            pushed_back_at.append(number)
        rounds.round(pushed_back=1 if rounds.limit >= 30 else 0)
    gaps = [later - earlier for earlier, later in pairwise(pushed_back_at)]
    assert len(pushed_back_at) < 12
    assert gaps[-1] > 50
    assert rounds.limit in (28, 29)


def test_silence_lowers_the_limit_once_only() -> None:
    rounds = started(40)
    for _ in range(10):
        rounds.round(10.0, pushed_back=40)
    assert rounds.limit == 36


def test_after_silence_the_limit_comes_back() -> None:
    rounds = started(40)
    for _ in range(10):
        rounds.round(10.0, pushed_back=40)
    assert max(rounds.rounds(30)) >= 39


def test_push_back_found_inside_a_reply_counts_too() -> None:
    within, afterwards = started(40), started(40)
    for rounds in (within, afterwards):
        for _ in range(40):
            rounds.concurrency.opened(rounds.now)
        rounds.now += 0.1
        rounds.concurrency.closed(rounds.now, round_trip_s=0.1, pushed_back=rounds is within)
    afterwards.concurrency.pushed_back(afterwards.now)
    assert within.limit == afterwards.limit == 36


def test_load_teaches_no_rate_and_429_does() -> None:
    rounds = started(40)
    rounds.round(pushed_back=3)
    assert rounds.concurrency.rate_per_s is None
    rounds.concurrency.pushed_back(rounds.now + 0.05, over_rate=True)
    assert rounds.concurrency.rate_per_s is not None


@settings(max_examples=100)
@given(st.integers(1, 20), st.lists(st.tuples(st.floats(0, 5), st.booleans(), st.booleans()), max_size=150))
def test_whatever_comes_the_limit_stays_between_one_and_the_ceiling(
    ceiling: int, events: list[tuple[float, bool, bool]]
) -> None:
    concurrency, now, opened = Concurrency(ceiling), 0.0, []
    for wait_s, is_good, pushed_back in events:
        while len(opened) < concurrency.limit:
            opened.append(now)
            concurrency.opened(now)
        now += wait_s
        began = opened.pop(0)
        concurrency.closed(now, round_trip_s=now - began if is_good else None, pushed_back=pushed_back)
        assert 1 <= concurrency.limit <= ceiling
        assert concurrency.rate_per_s is None or concurrency.rate_per_s > 0
