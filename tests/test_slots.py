"""At most so many at once, first come, first served, and nobody is forgotten."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings, strategies as st
from virtual_clock import now, run

from pipeline.slots import Slots


async def stay(slots: Slots, seconds: float, entered: list[tuple[int, float]], number: int = 0) -> None:
    async with slots.slot():
        entered.append((number, now()))
        await asyncio.sleep(seconds)


def test_no_more_than_the_limit_are_inside() -> None:
    async def story() -> list[float]:
        slots, entered = Slots(3), []
        await asyncio.gather(*(stay(slots, 1, entered) for _ in range(7)))
        assert slots.taken == 0
        return [round(time) for _, time in entered]

    assert run(story()) == [0, 0, 0, 1, 1, 1, 2]


def test_who_came_first_enters_first() -> None:
    async def story() -> list[int]:
        slots, entered = Slots(2), []
        await asyncio.gather(*(stay(slots, 1, entered, number) for number in range(10)))
        return [number for number, _ in entered]

    assert run(story()) == list(range(10))


def test_a_higher_limit_admits_at_once() -> None:
    async def story() -> list[float]:
        slots, entered = Slots(1), []
        asyncio.get_running_loop().call_at(2, setattr, slots, "limit", 3)
        await asyncio.gather(*(stay(slots, 10, entered) for _ in range(4)))
        return [round(time) for _, time in entered]

    assert run(story()) == [0, 2, 2, 10]


def test_a_lower_limit_throws_nobody_out_and_holds_from_the_next_on() -> None:
    async def story() -> list[float]:
        slots, entered = Slots(3), []
        asyncio.get_running_loop().call_at(1, setattr, slots, "limit", 1)
        await asyncio.gather(*(stay(slots, 2, entered) for _ in range(5)))
        return [round(time) for _, time in entered]

    assert run(story()) == [0, 0, 0, 2, 4]


def test_a_failure_inside_gives_the_slot_back() -> None:
    async def story() -> int:
        slots = Slots(1)
        with pytest.raises(ZeroDivisionError):
            async with slots.slot():
                raise ZeroDivisionError
        return slots.taken

    assert run(story()) == 0


def test_who_is_cancelled_while_waiting_leaves_no_gap() -> None:
    async def story() -> list[int]:
        slots, entered = Slots(1), []
        tasks = [asyncio.create_task(stay(slots, 1, entered, number)) for number in range(4)]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert slots.taken == 0
        return [number for number, _ in entered]

    assert run(story()) == [0, 2, 3]


def test_who_is_cancelled_in_the_moment_of_admission_gives_the_slot_on() -> None:
    async def story() -> list[int]:
        slots, entered = Slots(1), []
        async with slots.slot():
            unlucky = asyncio.create_task(stay(slots, 1, entered, 1))
            lucky = asyncio.create_task(stay(slots, 1, entered, 2))
            await asyncio.sleep(0.5)
        unlucky.cancel()  # admitted by the line above, but it has not run yet
        await asyncio.gather(unlucky, lucky, return_exceptions=True)
        assert slots.taken == 0
        return [number for number, _ in entered]

    assert run(story()) == [2]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 3), st.none() | st.floats(0, 6)), max_size=25),
    st.lists(st.tuples(st.floats(0, 6), st.integers(1, 6)), max_size=6),
)
def test_whatever_happens_all_slots_come_back(
    guests: list[tuple[float, float, float | None]], limits: list[tuple[float, int]]
) -> None:
    async def story() -> None:
        slots, inside = Slots(2), 0

        async def visit(comes_s: float, stays_s: float) -> None:
            nonlocal inside
            await asyncio.sleep(comes_s)
            async with slots.slot():
                inside += 1
                assert inside <= max(2, *(limit for _, limit in [*limits, (0, 1)]))
                try:
                    await asyncio.sleep(stays_s)
                finally:
                    inside -= 1

        loop = asyncio.get_running_loop()
        for at, limit in limits:
            loop.call_at(at, setattr, slots, "limit", limit)
        tasks = [asyncio.create_task(visit(comes_s, stays_s)) for comes_s, stays_s, _ in guests]
        for task, (_, _, cancelled_at) in zip(tasks, guests, strict=True):
            if cancelled_at is not None:
                loop.call_at(cancelled_at, task.cancel)
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            assert ended is None or isinstance(ended, asyncio.CancelledError)
        assert slots.taken == 0

    run(story())
