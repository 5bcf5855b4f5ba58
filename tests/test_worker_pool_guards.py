"""The worker pool under guards: real ledger, feed and pace, a scripted vendor, virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from ledger_making import batch_of, row
from test_worker_pool import LOST, POLICY, Vendor, once, portions_of, work
from test_worker_pool_completion import Finisher, after, finish

from pipeline.errors import InventoryError
from pipeline.model import Answer, Batch, Portion, Reply, Ruling, State, Status, Verdict
from pipeline.settings import Guards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.worker_pool import WorkerPool

NO = Verdict(Ruling.REFUSED, "000106", "parameter error")
CANARY = Guards(canary_items=100, canary_share=0.05)


def refusing(bad: Callable[[int], bool], verdict: Verdict = NO) -> Vendor:
    """Give a vendor that refuses the items whose positions are bad."""

    def answer(vendor: Vendor, batch: Batch) -> Reply:
        positions = batch.items.column("position").to_pylist()
        vendor.stored.update(key for key, at in zip(batch.keys(), positions, strict=True) if not bad(at))
        return Reply([Answer(verdict if bad(at) else Verdict(Ruling.SUCCEEDED)) for at in positions])

    return Vendor(answer)


def sizes(vendor: Vendor) -> list[int]:
    return [len(batch) for _, batch in vendor.calls]


# ---------------------------------------------------------------- canary


def test_the_canary_goes_alone_and_the_rest_of_its_batch_follows(tmp_path: Path) -> None:
    vendor = Vendor()
    ended = work(tmp_path, vendor, [300] * 5, guards=CANARY)
    assert (ended.state, ended.trips) == (State.FINISHED, [])
    assert ended.counts[Status.SUCCEEDED] == 1500
    assert sizes(vendor) == [100, 200, 300, 300, 300, 300]
    canary, *rest = [at for at, _ in vendor.calls]
    assert min(rest) >= canary + vendor.latency_s


def test_a_canary_of_small_batches_goes_one_by_one(tmp_path: Path) -> None:
    vendor = Vendor()
    work(tmp_path, vendor, [40] * 20, guards=CANARY)
    assert sizes(vendor)[:4] == [40, 40, 20, 20]
    times = [at for at, _ in vendor.calls]
    assert times[:4] == pytest.approx([0, 0.1, 0.2, 0.3], abs=0.03)
    assert vendor.most_open > 1


def test_nothing_follows_while_the_canary_waits_to_be_sent_again(tmp_path: Path) -> None:
    vendor = Vendor(once(LOST, store=True))
    ended = work(tmp_path, vendor, [100] * 5, guards=CANARY)
    assert ended.counts == ended.counts | {Status.CONFIRMED: 100, Status.SUCCEEDED: 400}
    assert sizes(vendor) == [100, 50, 50, 100, 100, 100, 100]
    assert vendor.calls[3][0] >= POLICY.settle_s + 0.2


def test_a_canary_that_is_refused_stops_the_run_after_one_batch(tmp_path: Path) -> None:
    vendor = refusing(lambda _: True)
    ended = work(tmp_path, vendor, [100] * 50, guards=CANARY)
    assert ended.state is State.STOPPED
    assert sizes(vendor) == [100]
    assert ended.counts[Status.REFUSED] == 100 == sum(ended.counts.values())
    (trip,) = ended.trips
    assert ended.reason == trip.words
    assert trip.data == {"guard": "canary", "bad": 100, "of": 100, "allowed": 5, "codes": {"000106": 100}}


def test_a_canary_with_few_bad_items_lets_the_run_go_on(tmp_path: Path) -> None:
    ended = work(tmp_path, refusing(lambda at: at <= 5 or at > 200), [100] * 5, guards=CANARY)
    assert (ended.state, ended.trips) == (State.FINISHED, [])
    assert ended.counts[Status.REFUSED] == 305


def test_rows_that_are_never_sent_are_none_of_the_canarys(tmp_path: Path) -> None:
    rejected = tuple(row(at, Status.REJECTED) for at in range(1, 200))
    portion = Portion((batch_of(range(200, 400)),), rejected, 399, 0)
    ended = work(tmp_path, Vendor(), [200], portions=iter([portion]), guards=CANARY)
    assert (ended.state, ended.trips) == (State.FINISHED, [])


def test_an_inventory_that_is_smaller_than_its_canary_is_imported_whole(tmp_path: Path) -> None:
    ended = work(tmp_path, refusing(lambda at: at == 7), [10] * 5, guards=CANARY)
    assert ended.state is State.FINISHED
    assert sum(ended.counts.values()) == 50


@pytest.mark.parametrize("table", [{"canary_items": 100}, {"budget_items": 3}])
def test_a_run_whose_every_row_is_final_is_finished_though_a_guard_tripped(
    tmp_path: Path, table: dict[str, int]
) -> None:
    ended = work(tmp_path, refusing(lambda _: True), [50], guards=Guards(**table))
    assert (ended.state, ended.reason) == (State.FINISHED, "")
    assert ended.counts[Status.REFUSED] == 50
    assert len(ended.trips) == 1


def test_an_inventory_that_breaks_off_is_not_finished_because_a_guard_tripped_at_its_end(
    tmp_path: Path,
) -> None:
    def broken() -> Iterator[Portion]:
        yield from portions_of([50])
        raise InventoryError("delivery.csv.gz: cut off (after row 50)")

    ended = work(tmp_path, refusing(lambda _: True), [50], portions=broken(), guards=CANARY)
    assert ended.state is State.STOPPED
    assert "cut off" in ended.reason


def test_the_canary_of_a_vendor_that_finishes_later_is_waited_for(tmp_path: Path) -> None:
    vendor = Finisher(after(30))
    told: list[str] = []

    async def look(pool: WorkerPool) -> None:
        await asyncio.sleep(20)
        told.append(pool.holding())

    ended = finish(tmp_path, vendor, [100] * 4, guards=CANARY, meanwhile=look)
    assert ended.counts[Status.SUCCEEDED] == 400
    first, *rest = [at for at, _ in vendor.sends]
    assert min(rest) > first + 30
    assert told == ["the canary: 100 of the first 100 items are out"]


def test_a_canary_that_fails_at_the_end_of_its_promises_stops_the_run(tmp_path: Path) -> None:
    failed = Verdict(Ruling.REFUSED, "FAILURE", "it failed")
    done = after(10)
    vendor = Finisher(lambda held: failed if done(held).ruling is Ruling.SUCCEEDED else done(held))
    ended = finish(tmp_path, vendor, [100] * 4, guards=CANARY)
    assert ended.state is State.STOPPED
    assert len(vendor.sends) == 1
    assert ended.counts[Status.REFUSED] == 100 == sum(ended.counts.values())


def test_a_canary_that_is_never_finished_counts_as_not_good(tmp_path: Path) -> None:
    never = Verdict(Ruling.PROMISED)
    ended = finish(tmp_path, Finisher(lambda _: never), [100] * 4, guards=CANARY)
    assert ended.state is State.STOPPED
    assert ended.counts[Status.IN_DOUBT] == 100 == sum(ended.counts.values())
    assert ended.trips[0].data["codes"] == {"still_open": 100}


# ---------------------------------------------------------------- error budget


def test_what_is_in_flight_when_the_budget_is_spent_is_answered_and_settled(tmp_path: Path) -> None:
    vendor = refusing(lambda at: at > 1000 and at % 10 == 0)
    budget = Guards(budget_share=0.05, budget_over_items=200)
    ended = work(tmp_path, vendor, [20] * 200, guards=budget)
    assert ended.state is State.STOPPED
    assert ended.trips[0].data["guard"] == "budget"
    sent = sum(sizes(vendor))
    assert 1000 < sent < 1400
    assert sum(ended.counts.values()) == sent
    assert not ended.ledger.take_over().open


def test_repeats_that_wait_when_a_guard_trips_are_left_to_a_resume(tmp_path: Path) -> None:
    def answer(_vendor: Vendor, batch: Batch) -> Reply:
        busy = Verdict(Ruling.PASSING, "busy", "system busy")
        positions = batch.items.column("position").to_pylist()
        return Reply([Answer(NO if at <= 10 else busy) for at in positions])

    vendor = Vendor(answer)
    ended = work(tmp_path, vendor, [100] * 3, guards=CANARY, concurrency=1)
    assert ended.state is State.STOPPED
    assert sizes(vendor) == [100]
    left = ended.ledger.take_over()
    assert (len(left.done), len(left.open)) == (10, 90)


# ---------------------------------------------------------------- a code never seen before


def test_a_new_code_holds_the_run_until_it_is_released_and_then_all_goes_on(tmp_path: Path) -> None:
    vendor = refusing(lambda at: at in (205, 650))
    ended = work(tmp_path, vendor, [100] * 10, guards=Guards(new_code="hold"), concurrency=2)
    assert ended.state is State.FINISHED
    assert ended.counts[Status.REFUSED] == 2
    (trip,) = ended.trips
    assert trip.holds
    held_at = next(at for at, batch in vendor.calls if 205 in batch.items.column("position").to_pylist())
    gap = [at for at, _ in vendor.calls if held_at + 0.15 < at < held_at + 60]
    assert gap == []
    assert ended.at_s > 60


def test_a_run_held_by_a_guard_can_be_stopped(tmp_path: Path) -> None:
    async def stop_soon(pool: WorkerPool) -> None:
        await asyncio.sleep(10)
        pool.stop(State.INTERRUPTED, "asked to")

    vendor = refusing(lambda at: at == 5)
    guard = Guards(new_code="hold")
    ended = work(tmp_path, vendor, [100] * 10, guards=guard, concurrency=1, meanwhile=stop_soon)
    assert ended.state is State.INTERRUPTED
    assert sizes(vendor) == [100]


def test_a_new_code_that_is_heard_while_the_run_drains_holds_it_for_when_it_goes_on(tmp_path: Path) -> None:
    async def stop_soon(pool: WorkerPool) -> None:
        await asyncio.sleep(0.05)
        pool.stop(State.INTERRUPTED, "asked to")

    vendor = refusing(lambda at: at == 5)
    guard = Guards(new_code="hold")
    ended = work(tmp_path, vendor, [100] * 10, guards=guard, concurrency=1, meanwhile=stop_soon)
    assert (ended.state, ended.reason) == (State.INTERRUPTED, "asked to")
    assert [trip.holds for trip in ended.trips] == [True]
