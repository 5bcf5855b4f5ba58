"""A pace that is tuned and shut while it lasts: no window of a second holds more than one of its rates."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left

import pytest
from hypothesis import given, settings, strategies as st
from virtual_clock import now, run

from pipeline.errors import NoReply
from pipeline.model import FaultKind
from pipeline.pace import Pace

A_SECOND = 1 - 1e-6


async def permits(pace: Pace, takers: int, until_s: float) -> list[float]:
    times: list[float] = []

    async def take() -> None:
        while now() < until_s:
            try:
                await pace.permit()
            except NoReply:
                await asyncio.sleep(0.05)  # as a worker does, which is told when a gate opens
                continue
            times.append(now())

    tasks = [asyncio.ensure_future(take()) for _ in range(takers)]
    await asyncio.wait(tasks, timeout=until_s + 1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return times


def within_a_second_of(times: list[float], at: float) -> int:
    return bisect_left(times, at + A_SECOND) - bisect_left(times, at)


def test_a_higher_rate_holds_at_once_for_those_who_wait_already() -> None:
    async def story() -> list[float]:
        pace = Pace(0.01)
        asyncio.get_running_loop().call_at(5, pace.tune, 10.0)
        return await permits(pace, 3, 7)

    times = run(story())
    assert [time for time in times if time < 5] == pytest.approx([0], abs=0.001)
    assert len([time for time in times if 5 <= time < 7]) >= 19


def test_a_lower_rate_holds_at_once_for_those_who_wait_already() -> None:
    async def story() -> list[float]:
        pace = Pace(10)
        asyncio.get_running_loop().call_at(5, pace.tune, 0.5)
        return await permits(pace, 30, 20)

    times = run(story())
    assert len([time for time in times if time >= 5]) <= 8


@settings(max_examples=60, deadline=None)
@given(
    first=st.floats(0.3, 60),
    tunes=st.lists(
        st.tuples(st.floats(0, 8), st.floats(0.3, 60)), max_size=5, unique_by=lambda tune: round(tune[0], 3)
    ),
    takers=st.integers(1, 20),
)
def test_in_any_second_no_more_leave_than_the_rate_in_force_at_its_first_permission_allows(
    first: float, tunes: list[tuple[float, float]], takers: int
) -> None:
    async def story() -> list[float]:
        pace = Pace(first)
        for at, rate in tunes:
            asyncio.get_running_loop().call_at(at, pace.tune, rate)
        return await permits(pace, takers, 10)

    times = run(story())
    changes = sorted([(-math.inf, first), *tunes], key=lambda change: change[0])
    for time in times:
        in_force = max([rate for at, rate in changes if at <= time + near][-1] for near in (-1e-6, 1e-6))
        assert within_a_second_of(times, time) <= math.ceil(in_force)


def test_tuning_to_the_same_rate_changes_nothing() -> None:
    async def story() -> list[float]:
        pace = Pace(10)
        for at in range(1, 5):
            asyncio.get_running_loop().call_at(at, pace.tune, 10.0)
        return await permits(pace, 3, 5)

    assert len(run(story())) >= 50


def test_a_pace_not_yet_used_is_tuned_without_a_wait() -> None:
    async def story() -> float:
        pace = Pace(0.1)
        pace.tune(10)
        await pace.permit()
        return now()

    assert run(story()) < 0.001


def test_nothing_leaves_while_a_gate_is_shut_and_no_burst_follows() -> None:
    async def story() -> list[float]:
        pace = Pace(10)
        loop = asyncio.get_running_loop()
        loop.call_at(2, pace.shut, "hold", "held by anna")
        loop.call_at(6, pace.open, "hold")
        return await permits(pace, 40, 9)

    times = run(story())
    assert not [time for time in times if 2 < time < 6]
    assert [time for time in times if 6 <= time <= 6.2]
    assert max(within_a_second_of(times, time) for time in times) <= 10


def test_only_the_last_gate_to_be_opened_lets_through() -> None:
    async def story() -> list[float]:
        pace = Pace(10)
        pace.shut("hold", "held by anna")
        pace.shut("window", "the window is closed")
        assert pace.holding() == "held by anna; the window is closed"
        loop = asyncio.get_running_loop()
        loop.call_at(3, pace.open, "hold")
        loop.call_at(5, pace.open, "window")
        return await permits(pace, 1, 6)

    assert min(run(story())) == pytest.approx(5, abs=0.11)


def test_opening_a_gate_that_was_never_shut_is_no_matter() -> None:
    async def story() -> None:
        pace = Pace(10)
        pace.open("hold")
        await pace.permit()

    run(story())


def test_who_waits_for_a_permission_is_turned_away_when_a_gate_is_shut() -> None:
    async def story() -> float:
        pace = Pace(0.01)
        await pace.permit()
        asyncio.get_running_loop().call_at(4, pace.shut, "hold", "held by anna")
        with pytest.raises(NoReply) as turned_away:
            await pace.permit()
        assert turned_away.value.fault.kind is FaultKind.WITHDRAWN
        assert not turned_away.value.fault.reached
        return now()

    assert run(story()) == pytest.approx(4, abs=0.001)


def test_what_the_vendor_allows_bounds_what_is_allowed() -> None:
    pace = Pace(10)
    assert pace.allowed_per_s == 10
    pace.learn(4.0)
    assert pace.allowed_per_s == 4
    pace.learn(40.0)
    assert pace.allowed_per_s == 10


@pytest.mark.parametrize("turns", range(4))
def test_a_second_gate_may_be_shut_while_those_the_first_turned_away_are_still_leaving(turns: int) -> None:
    async def story() -> None:
        pace = Pace(0.01)
        waiting = [asyncio.ensure_future(pace.permit()) for _ in range(3)]
        await asyncio.sleep(1)
        pace.shut("hold", "held by anna")
        for _ in range(turns):
            await asyncio.sleep(0)
        pace.shut("window", "the window is closed")
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [float, NoReply, NoReply]

    run(story())


def test_many_tunes_do_not_use_up_the_turns_of_a_learned_rate() -> None:
    async def story() -> list[float]:
        pace = Pace(10)
        pace.learn(0.5)
        for number in range(20):
            asyncio.get_running_loop().call_at(10 + number / 2, pace.tune, 11.0 + number % 2)
        return await permits(pace, 10, 100)

    assert len(run(story())) == pytest.approx(50, abs=2)


def test_the_last_one_permitted_at_a_low_rate_need_not_queue_again_and_the_next_keeps_its_distance() -> None:
    async def story() -> list[float]:
        pace = Pace(0.01)
        others = asyncio.ensure_future(permits(pace, 3, 250))
        await asyncio.sleep(0)
        given_at = await pace.permit()
        await asyncio.sleep(3)
        await pace.permit_anew(given_at)
        assert now() - given_at == pytest.approx(3, abs=0.001)
        return [time for time in await others if time > given_at]

    later = run(story())
    assert later == sorted(later)
    assert not later or later[0] >= 100


def test_who_was_overtaken_queues_again() -> None:
    async def story() -> float:
        pace = Pace(0.5)
        given_at = await pace.permit()
        await pace.permit()
        await pace.permit_anew(given_at)
        return now()

    assert run(story()) == pytest.approx(4, abs=0.05)
