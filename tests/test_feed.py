"""The bounded feed: one portion ahead at most, every batch to exactly one taker, errors come out."""

from __future__ import annotations

import asyncio
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from ledger_making import batch_of
from virtual_clock import now, run

from pipeline.errors import InventoryError
from pipeline.feed import Feed
from pipeline.model import Portion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as one_thread:
        yield one_thread


def portion(*positions: int) -> Portion:
    return Portion(tuple(batch_of([place]) for place in positions), (), len(positions), 0)


class Made:
    """Portions of two batches each, and how many of them have been asked for and let go."""

    def __init__(self, count: int, fails_after: int | None = None) -> None:
        self.count, self.fails_after = count, fails_after
        self.begun = 0
        self.closed = False
        self.gate: threading.Event | None = None

    def portions(self) -> Iterator[Portion]:
        try:
            for number in range(self.count):
                self.begun += 1
                if self.gate is not None:
                    assert self.gate.wait(30)
                if number == self.fails_after:
                    raise InventoryError("cut off")
                yield portion(2 * number + 1, 2 * number + 2)
        finally:
            self.closed = True


async def nothing(_: Portion) -> None:
    return


def feed_of(
    made: Made, executor: ThreadPoolExecutor, absorb: Callable[[Portion], Awaitable[None]] = nothing
) -> Feed:
    return Feed(made.portions(), absorb, executor)


async def taken(feed: Feed) -> list[int]:
    """Take until nothing is left; give the positions."""
    found = []
    while (batch := await feed.take()) is not None:
        found += batch.items.column("position").to_pylist()
    return found


async def until(true: Callable[[], bool]) -> None:
    """Let the other thread get on."""
    for _ in range(3000):
        if true():
            return
        await asyncio.to_thread(threading.Event().wait, 0.001)
    raise AssertionError("never came about")


def test_batches_come_out_in_order_and_then_nothing(executor: ThreadPoolExecutor) -> None:
    async def story() -> None:
        feed = feed_of(Made(3), executor)
        assert not feed.exhausted
        assert await taken(feed) == [1, 2, 3, 4, 5, 6]
        assert feed.exhausted
        assert await feed.take() is None
        await feed.close()

    run(story())


def test_an_inventory_without_batches_is_exhausted_at_once(executor: ThreadPoolExecutor) -> None:
    async def story() -> None:
        feed = Feed(iter([portion(), portion()]), nothing, executor)
        assert await feed.take() is None
        assert feed.exhausted

    run(story())


def test_who_has_something_better_to_do_waits_for_the_reading_no_longer_than_that(
    executor: ThreadPoolExecutor,
) -> None:
    made = Made(2)
    made.gate = threading.Event()

    async def story() -> None:
        feed = feed_of(made, executor)
        for moment in (-math.inf, now(), now()):
            assert await feed.take(until=moment) is None
            assert not feed.exhausted
        assert made.gate is not None
        made.gate.set()
        assert await taken(feed) == [1, 2, 3, 4]
        assert await feed.take(until=now()) is None
        assert feed.exhausted

    run(story())


def test_who_waits_for_ever_holds_up_nobody_who_does_not(executor: ThreadPoolExecutor) -> None:
    made = Made(1)
    made.gate = threading.Event()

    async def story() -> None:
        feed = feed_of(made, executor)
        patient = asyncio.create_task(feed.take())
        await asyncio.sleep(0)
        assert await feed.take(until=now()) is None
        assert made.gate is not None
        made.gate.set()
        assert await patient is not None

    run(story())


def test_one_portion_is_read_ahead_and_never_more(executor: ThreadPoolExecutor) -> None:
    made = Made(9)

    async def story() -> None:
        feed = feed_of(made, executor)
        for used in range(1, 5):
            await feed.take()
            await until(lambda used=used: made.begun == used + 1)
            await feed.take()
            await asyncio.get_running_loop().run_in_executor(executor, int)  # nothing else is queued there
            assert made.begun == used + 1
        await feed.close()

    run(story())


def test_many_takers_get_each_batch_once(executor: ThreadPoolExecutor) -> None:
    async def story() -> list[int]:
        feed = feed_of(Made(50), executor)
        shares = await asyncio.gather(*(taken(feed) for _ in range(16)))
        await feed.close()
        return sorted(place for share in shares for place in share)

    assert run(story()) == list(range(1, 101))


def test_a_portion_is_absorbed_before_its_first_batch_is_handed_out(executor: ThreadPoolExecutor) -> None:
    seen: list[str] = []

    async def absorb(made: Portion) -> None:
        seen.append("begins")
        await asyncio.sleep(5)
        seen.append(f"absorbed {made.batches[0].items.column('position')[0]}")

    async def take(feed: Feed) -> None:
        batch = await feed.take()
        assert batch is not None
        seen.append(f"taken {batch.items.column('position')[0]}")

    async def story() -> None:
        feed = feed_of(Made(1), executor, absorb)
        early = asyncio.ensure_future(take(feed))
        await until(lambda: seen == ["begins"])
        await take(feed)
        await early
        await feed.close()

    run(story())
    assert seen == ["begins", "absorbed 1", "taken 1", "taken 2"]


def test_takers_that_wait_for_the_same_portion_do_not_read_on_for_more(executor: ThreadPoolExecutor) -> None:
    read: list[int] = []

    def portions() -> Iterator[Portion]:
        for number in range(5):
            read.append(number)
            yield portion(*range(10 * number + 1, 10 * number + 11))

    async def story() -> None:
        feed = Feed(portions(), nothing, executor)
        assert all(await asyncio.gather(*(feed.take() for _ in range(8))))
        await asyncio.get_running_loop().run_in_executor(executor, int)  # nothing else is queued there
        assert read == [0, 1]
        await feed.close()

    run(story())


@pytest.mark.parametrize("good", [0, 1])
def test_an_error_of_the_producer_comes_out_of_take_and_no_batch_after_it(
    executor: ThreadPoolExecutor, good: int
) -> None:
    async def story() -> list[object]:
        feed = feed_of(Made(5, fails_after=good), executor)
        for _ in range(2 * good):
            assert await feed.take()
        ends = await asyncio.gather(*(feed.take() for _ in range(3)), return_exceptions=True)
        await feed.close()
        return list(ends)

    ends = run(story())
    assert InventoryError in {type(end) for end in ends}
    assert {type(end) for end in ends} <= {InventoryError, type(None)}


def test_an_error_of_absorbing_comes_out_too(executor: ThreadPoolExecutor) -> None:
    async def absorb(_: Portion) -> None:
        raise OSError("disk full")

    async def story() -> None:
        feed = feed_of(Made(2), executor, absorb)
        with pytest.raises(OSError, match="disk full"):
            await feed.take()
        await feed.close()

    run(story())


@pytest.mark.parametrize("takes", [0, 1, 3])
def test_closing_lets_go_of_the_files(executor: ThreadPoolExecutor, takes: int) -> None:
    made = Made(9)

    async def story() -> None:
        feed = feed_of(made, executor)
        for _ in range(takes):
            await feed.take()
        await feed.close()
        assert feed.exhausted

    run(story())
    assert made.closed is bool(takes)  # a generator that never began has nothing open


def test_closing_waits_for_the_reading_under_way(executor: ThreadPoolExecutor) -> None:
    made = Made(9)

    async def story() -> None:
        feed = feed_of(made, executor)
        await feed.take()
        await until(lambda: made.begun == 2)
        await asyncio.get_running_loop().run_in_executor(executor, int)  # the second portion is made
        made.gate = threading.Event()
        await feed.take()
        await feed.take()
        await until(lambda: made.begun == 3)
        closing = asyncio.ensure_future(feed.close())
        await asyncio.to_thread(int)
        assert not closing.done()
        made.gate.set()
        await closing

    run(story())
    assert made.closed


async def cancel_in_the_middle(feed: Feed, reached: Callable[[], bool], release: Callable[[], None]) -> None:
    taker = asyncio.ensure_future(feed.take())
    await until(reached)
    taker.cancel()
    with suppress(asyncio.CancelledError):
        await taker
    release()


def test_a_taker_cancelled_while_a_later_portion_is_read_loses_nothing(executor: ThreadPoolExecutor) -> None:
    made = Made(3)

    async def story() -> list[int]:
        feed = feed_of(made, executor)
        await feed.take()
        await asyncio.get_running_loop().run_in_executor(executor, int)  # the second portion is made
        made.gate = threading.Event()
        found = [await feed.take(), await feed.take()]
        assert all(found)
        await feed.take()
        await until(lambda: made.begun == 3)
        await cancel_in_the_middle(feed, lambda: True, made.gate.set)
        return await taken(feed)

    assert run(story()) == [5, 6]


def test_a_taker_cancelled_while_the_first_portion_is_read_loses_nothing(
    executor: ThreadPoolExecutor,
) -> None:
    made = Made(3)

    async def story() -> list[int]:
        made.gate = threading.Event()
        feed = feed_of(made, executor)
        await cancel_in_the_middle(feed, lambda: made.begun == 1, made.gate.set)
        return await taken(feed)

    assert run(story()) == [1, 2, 3, 4, 5, 6]


def test_a_taker_cancelled_while_a_portion_is_absorbed_loses_nothing(executor: ThreadPoolExecutor) -> None:
    absorbing, go_on = asyncio.Event(), asyncio.Event()

    async def absorb(_: Portion) -> None:
        absorbing.set()
        await go_on.wait()

    async def story() -> list[int]:
        feed = feed_of(Made(3), executor, absorb)
        await cancel_in_the_middle(feed, absorbing.is_set, go_on.set)
        return await taken(feed)

    assert run(story()) == [1, 2, 3, 4, 5, 6]


def test_what_is_not_admitted_stays_in_front_for_later(executor: ThreadPoolExecutor) -> None:
    admitted = iter([4, 0, 2, 0, 99, 99])

    async def story() -> list[list[int] | None]:
        portions = iter([Portion((batch_of(range(1, 11)), batch_of([11])), (), 11, 0)])
        feed = Feed(portions, nothing, executor, lambda batch: min(len(batch), next(admitted)))
        found = []
        for _ in range(6):
            batch = await feed.take()
            found.append(batch and batch.items.column("position").to_pylist())
            assert feed.exhausted is False
        assert feed.taken == 11
        assert await feed.take() is None
        assert feed.exhausted
        return found

    assert run(story()) == [[1, 2, 3, 4], None, [5, 6], None, [7, 8, 9, 10], [11]]
