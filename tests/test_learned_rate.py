"""A hidden rate is found from below, kept, and asked for more ever more rarely."""

from __future__ import annotations

import random
from collections import deque

import pytest

from pipeline.learned_rate import LearnedRate


def used(rate: LearnedRate, allowed: float, seconds: float, begin: float = 0.0) -> list[float]:
    """Send as fast as told, or twice what is allowed, against a sliding second; give push-back's times."""
    admitted: deque[float] = deque()
    pushed_back: list[float] = []
    now = begin
    while now < begin + seconds:
        now += 1 / (rate.per_s or 2 * allowed)
        while admitted and admitted[0] <= now - 1:
            admitted.popleft()
        if len(admitted) < allowed:
            admitted.append(now)
            rate.replied(now)
        else:
            pushed_back.append(now)
            rate.pushed_back(now, 2 * allowed)
    return pushed_back


def test_nothing_is_learned_without_push_back() -> None:
    rate = LearnedRate()
    for number in range(1000):
        rate.replied(number / 100)
    assert rate.per_s is None


@pytest.mark.parametrize("allowed", [3, 10, 50, 400])
def test_the_rate_settles_just_below_the_hidden_one(allowed: float) -> None:
    rate = LearnedRate()
    used(rate, allowed, max(60, 6000 / allowed))
    assert rate.per_s is not None
    assert 0.95 * allowed <= rate.per_s <= 1.04 * allowed


def test_the_vendor_is_asked_for_more_ever_more_rarely() -> None:
    rate = LearnedRate()
    used(rate, 50, 100)
    pushed_back = used(rate, 50, 2000, begin=100)
    assert 1 <= len(pushed_back) < 15


def test_a_rate_that_rises_is_found_again() -> None:
    rate = LearnedRate()
    used(rate, 20, 100)
    used(rate, 60, 400, begin=100)
    assert rate.per_s is not None
    assert rate.per_s > 55


def test_a_rate_that_falls_is_found_again() -> None:
    rate = LearnedRate()
    used(rate, 60, 100)
    used(rate, 20, 60, begin=100)
    assert rate.per_s is not None
    assert 15 < rate.per_s <= 21


def test_while_nothing_is_accepted_nothing_is_learned() -> None:
    rate = LearnedRate()
    for number in range(100):
        rate.pushed_back(number / 10, 10.0)
    assert rate.per_s is None


def test_a_rate_that_is_not_used_is_not_raised() -> None:
    rate = LearnedRate()
    used(rate, 50, 60)
    before = rate.per_s
    for number in range(20_000):
        rate.replied(100 + number / 10)
    assert rate.per_s == before


def test_push_back_by_chance_does_not_choke_the_run() -> None:
    rng = random.Random(3)
    rate, now, replies = LearnedRate(), 0.0, 0
    while now < 1000:
        now += 1 / min(100.0, rate.per_s or 100.0)
        if rng.random() < 0.05:
            rate.pushed_back(now, 100.0)
        else:
            rate.replied(now)
            replies += 1
    assert replies > 50_000


def test_the_rate_stays_positive_whatever_comes() -> None:
    rng = random.Random(5)
    rate, now = LearnedRate(), 0.0
    for _ in range(5000):
        now += rng.expovariate(5)
        if rng.random() < 0.3:
            rate.pushed_back(now, rng.uniform(0.1, 100))
        else:
            rate.replied(now)
        assert rate.per_s is None or rate.per_s > 0


def test_a_push_back_after_a_single_reply_does_not_choke_the_run() -> None:
    rate = LearnedRate()
    rate.replied(0.05)
    rate.pushed_back(0.06, 50.0)
    assert rate.per_s is not None
    assert rate.per_s >= 40
