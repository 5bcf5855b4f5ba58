"""The breaker: waits and probes while everything fails in a passing way."""

from __future__ import annotations

import asyncio
import random

import virtual_clock

from pipeline.breaker import TRIPS_AFTER, Breaker
from pipeline.settings import Retry

POLICY = Retry(attempts=6, first_wait_s=1, longest_wait_s=8)


def tripped() -> Breaker:
    breaker = Breaker(POLICY, random.Random(3))
    for _ in range(TRIPS_AFTER):
        breaker.fault(None, probe=False)
    return breaker


async def probe(breaker: Breaker, *, fails: bool) -> float | None:
    """Take a turn; give the time at which it came, or None when it was no probe."""
    async with breaker.turn() as probing:
        at = virtual_clock.now()
        if fails:
            breaker.fault(None, probe=probing)
        else:
            breaker.close()
        return at if probing else None


def test_it_opens_after_faults_in_a_row_and_not_when_something_is_answered_in_between() -> None:
    async def story() -> None:
        breaker = Breaker(POLICY, random.Random(3))
        for _ in range(5):
            for _ in range(TRIPS_AFTER - 1):
                breaker.fault(None, probe=False)
            breaker.close()
        assert not breaker.open
        assert tripped().open

    virtual_clock.run(story())


def test_it_opens_before_a_batch_can_have_used_up_its_attempts() -> None:
    async def story() -> None:
        breaker = Breaker(Retry(attempts=2), random.Random(3))
        breaker.fault(None, probe=False)
        assert not breaker.open
        breaker.fault(None, probe=False)
        assert breaker.open

    virtual_clock.run(story())


def test_a_closed_breaker_lets_everybody_pass_at_once() -> None:
    async def story() -> None:
        breaker = Breaker(POLICY, random.Random(3))
        assert await asyncio.gather(*(probe(breaker, fails=False) for _ in range(5))) == [None] * 5
        assert virtual_clock.now() < 0.001

    virtual_clock.run(story())


def test_an_open_breaker_lets_one_probe_through_at_a_time_ever_more_rarely() -> None:
    async def story() -> list[float | None]:
        breaker = tripped()
        return await asyncio.gather(*(probe(breaker, fails=True) for _ in range(4)))

    times = virtual_clock.run(story())
    waits = [after - before for before, after in zip([0.0, *times], times, strict=False)]  # type: ignore[misc]
    for number, wait in enumerate(waits):
        assert 0.5 * 2**number <= wait <= min(8, 2**number) + 0.01


def test_when_a_probe_is_answered_all_the_others_pass_as_ordinary_work() -> None:
    async def story() -> list[float | None]:
        breaker = tripped()
        return await asyncio.gather(*(probe(breaker, fails=False) for _ in range(4)))

    assert [at is None for at in virtual_clock.run(story())] == [False, True, True, True]


def test_the_vendors_wish_prolongs_the_wait_for_the_next_probe() -> None:
    async def story() -> float | None:
        breaker = tripped()
        async with breaker.turn() as probing:
            breaker.fault(100, probe=probing)
        return await probe(breaker, fails=False)

    assert (virtual_clock.run(story()) or 0) >= 100


def test_what_was_in_flight_when_it_opened_does_not_exhaust_it() -> None:
    async def story() -> None:
        breaker = tripped()
        for _ in range(50):
            breaker.fault(None, probe=False)
        assert not breaker.exhausted

    virtual_clock.run(story())


def test_it_is_exhausted_when_as_many_probes_failed_as_a_batch_has_attempts() -> None:
    async def story() -> None:
        breaker = tripped()
        for _ in range(POLICY.attempts):
            assert not breaker.exhausted
            await probe(breaker, fails=True)
        assert breaker.exhausted

    virtual_clock.run(story())


def test_closing_frees_whoever_waits_for_its_turn() -> None:
    async def story() -> list[float | None]:
        breaker = tripped()
        waiting = [asyncio.create_task(probe(breaker, fails=False)) for _ in range(3)]
        await asyncio.sleep(0.1)
        breaker.close()
        return await asyncio.gather(*waiting)

    assert virtual_clock.run(story()) == [None] * 3
