"""The limits hold in every window, not even the first second excepted; a hold holds everybody."""

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

RATES = [0.3, 1.0, 7.5, 10.0, 50.0, 250.5]
A_SECOND = 1 - 1e-6  # a window is half open: a permit exactly a second later is in the next one


async def permits(pace: Pace, takers: int, until_s: float) -> list[float]:
    """Let many takers ask for permits until a time; give the times of all that were granted."""
    times: list[float] = []

    async def take() -> None:
        while now() < until_s:
            await pace.permit()
            times.append(now())

    await asyncio.gather(*(take() for _ in range(takers)))
    return times


def most_in_a_second(times: list[float]) -> int:
    return max(bisect_left(times, begin + A_SECOND) - at for at, begin in enumerate(times))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("takers", [1, 3, 100])
def test_no_window_of_a_second_holds_more_than_the_rate_rounded_up(rate: float, takers: int) -> None:
    times = run(permits(Pace(rate), takers, 20))
    assert most_in_a_second(times) <= math.ceil(rate)


@pytest.mark.parametrize("rate", RATES)
def test_the_first_second_is_like_any_other(rate: float) -> None:
    times = run(permits(Pace(rate), 100, 3))
    assert times[0] < 0.001
    assert bisect_left(times, A_SECOND) <= math.ceil(rate)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("takers", [1, 100])
def test_the_rate_allowed_is_used(rate: float, takers: int) -> None:
    times = run(permits(Pace(rate), takers, 60))
    in_time = bisect_left(times, 60.0)
    assert in_time >= 0.98 * 60 * rate


@pytest.mark.parametrize("rate", RATES)
def test_an_idle_time_is_not_made_up_for_by_a_burst(rate: float) -> None:
    async def story() -> list[float]:
        pace = Pace(rate)
        await permits(pace, 5, 2)
        await asyncio.sleep(60)
        return await permits(pace, 50, now() + 5)

    assert most_in_a_second(run(story())) <= math.ceil(rate)


@pytest.mark.parametrize("rate", RATES)
def test_a_hold_holds_all_and_is_not_followed_by_a_burst(rate: float) -> None:
    async def story() -> list[float]:
        pace = Pace(rate)
        loop = asyncio.get_running_loop()
        loop.call_at(4, pace.hold, 10, "the vendor pushed back")
        return await permits(pace, 100, 30)

    times = run(story())
    assert not [time for time in times if 4 < time < 14 - 1e-6]
    assert [time for time in times if 14 <= time < 14 + 1 / rate + 0.001]
    assert most_in_a_second(times) <= math.ceil(rate)


def test_a_longer_hold_in_force_stays() -> None:
    async def story() -> float:
        pace = Pace(10)
        pace.hold(30, "longer")
        pace.hold(5, "shorter")
        assert pace.holding() == "longer, 30 s left"
        await pace.permit()
        return now()

    assert run(story()) == pytest.approx(30, abs=0.11)


def test_a_hold_that_is_prolonged_while_it_lasts_holds_those_who_wait_already() -> None:
    async def story() -> list[float]:
        pace = Pace(10)
        pace.hold(5, "first")
        asyncio.get_running_loop().call_at(3, pace.hold, 10, "second")
        return await permits(pace, 20, 20)

    assert min(run(story())) >= 13 - 1e-6


def test_a_hold_ends_and_says_so() -> None:
    async def story() -> None:
        pace = Pace(10)
        assert pace.holding() == ""
        pace.hold(2, "the vendor pushed back")
        assert pace.holding() == "the vendor pushed back, 2 s left"
        await asyncio.sleep(2.001)
        assert pace.holding() == ""

    run(story())


@pytest.mark.parametrize("held", [False, True])
def test_closing_turns_away_everybody_who_waits(held: bool) -> None:  # noqa: FBT001 - a case
    async def story() -> tuple[list[object], float]:
        pace = Pace(0.1)
        await pace.permit()
        if held:
            pace.hold(1000, "the vendor pushed back")
        waiting = [asyncio.ensure_future(pace.permit()) for _ in range(20)]
        await asyncio.sleep(1)
        pace.close()
        return list(await asyncio.gather(*waiting, return_exceptions=True)), now()

    ends, at = run(story())
    assert at < 1.001
    for end in ends:
        assert isinstance(end, NoReply)
        assert (end.fault.kind, end.fault.reached) == (FaultKind.WITHDRAWN, False)


def test_a_closed_pace_turns_away_whoever_would_have_to_wait() -> None:
    async def story() -> None:
        pace = Pace(0.1)
        await pace.permit()
        pace.close()
        with pytest.raises(NoReply):
            await pace.permit()
        assert now() < 0.001

    run(story())


def test_a_closed_pace_gives_no_permission_at_all() -> None:
    async def story() -> None:
        pace = Pace(10)
        pace.close()
        with pytest.raises(NoReply):
            await pace.permit()

    run(story())


def test_closing_twice_in_a_row_is_the_same_as_once() -> None:
    # Two workers read a 401 within the same turn of the loop: each stops the run, and so closes the pace.
    async def story() -> list[object]:
        pace = Pace(0.1)
        await pace.permit()
        waiting = [asyncio.ensure_future(pace.permit()) for _ in range(3)]
        await asyncio.sleep(1)
        pace.close()
        await asyncio.sleep(0)
        try:
            pace.close()
        finally:
            ends = await asyncio.gather(*waiting, return_exceptions=True)
        return list(ends)

    assert {type(end) for end in run(story())} == {NoReply}


def test_a_cancelled_waiter_does_not_hold_up_the_others() -> None:
    async def story() -> list[float]:
        pace = Pace(1)
        await pace.permit()
        waiting = [asyncio.ensure_future(pace.permit()) for _ in range(5)]
        await asyncio.sleep(0.5)
        for waiter in waiting:
            waiter.cancel()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(end) for end in ends} == {asyncio.CancelledError}
        return await permits(pace, 3, 4)

    times = run(story())
    assert times[0] == pytest.approx(1, abs=0.01)
    assert most_in_a_second(times) == 1


@settings(max_examples=40, deadline=None)
@given(
    rate=st.floats(0.2, 80) | st.integers(1, 40) | st.sampled_from([199.0, 200.0, 450.0, 1000.0]),
    takers=st.integers(1, 30),
    holds=st.lists(st.tuples(st.floats(0, 8), st.floats(0, 4)), max_size=4),
)
def test_whatever_is_held_when_the_limit_and_the_holds_are_kept(
    rate: float, takers: int, holds: list[tuple[float, float]]
) -> None:
    async def story() -> list[float]:
        pace = Pace(rate)
        for at, seconds in holds:
            asyncio.get_running_loop().call_at(at, pace.hold, seconds, "held")
        return await permits(pace, takers, 5 if rate > 100 else 10)

    times = run(story())
    assert most_in_a_second(times) <= math.ceil(rate)
    for at, seconds in holds:
        assert not [time for time in times if at + 1e-6 < time < at + seconds - 1e-6]
