"""The worker pool: real ledger, real feed and pace, a scripted vendor, virtual time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import virtual_clock
from ledger_making import RECORD, batch_of, key_of, row

from pipeline.errors import InventoryError, LedgerError, NoReply
from pipeline.feed import Feed
from pipeline.guards import Guards, Trip
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import (
    PLAIN_SUCCESS,
    Answer,
    Batch,
    Fault,
    FaultKind,
    Portion,
    Reply,
    Ruling,
    State,
    Status,
    Verdict,
)
from pipeline.pace import Pace
from pipeline.settings import Completion, Guards as GuardSettings, Limits, Retry
from pipeline.vendor_state import ALIKE_REFUSALS
from pipeline.worker_pool import BACKLOG_BATCHES, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

POLICY = Retry(attempts=4, first_wait_s=1, longest_wait_s=8, settle_s=5)
EXISTS = Verdict(Ruling.EXISTS, "exists", "the iccid is exist in db")
BUSY = Fault(FaultKind.NOT_CARRIED_OUT, "900001", "system busy")
LOST = Fault(FaultKind.LOST, "timeout", "no answer")

#: What befalls a call: None for nothing, a Fault before anything is stored, or a changed reply.
Mishap = "Callable[[Vendor, Batch], Fault | Reply | None]"


@dataclass
class Vendor:
    """A vendor that stores what it is sent and answers truthfully, unless its script has a mishap."""

    mishap: Callable[[Vendor, Batch], Fault | Reply | None] = lambda _vendor, _batch: None
    latency_s: float = 0.1
    stored: Counter[str] = field(default_factory=Counter)
    calls: list[tuple[float, Batch]] = field(default_factory=list)
    open_calls: int = 0
    most_open: int = 0

    async def send(self, batch: Batch, http: Any) -> Reply | Fault:
        said: Reply | Fault = (await http.exchange(lambda: Call(self._answer(batch)))).said
        return said

    async def _answer(self, batch: Batch) -> Reply | Fault:
        self.calls.append((virtual_clock.now(), batch))
        self.open_calls += 1
        self.most_open = max(self.most_open, self.open_calls)
        try:
            await asyncio.sleep(self.latency_s)
            said = self.mishap(self, batch)
            return said if said is not None else self.store(batch)
        finally:
            self.open_calls -= 1

    def store(self, batch: Batch) -> Reply:
        keys = batch.keys()
        known = [key in self.stored for key in keys]
        self.stored.update(key for key, old in zip(keys, known, strict=True) if not old)
        return Reply([Answer(EXISTS) if old else Answer(PLAIN_SUCCESS) for old in known])


@dataclass
class Call:
    """A request, and its response once the vendor has answered it."""

    answer: Awaitable[Any]
    said: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class PacedHttp:
    """Waits for permission, then lets the vendor answer."""

    pace: Pace
    requests: int = 0

    async def exchange(self, make_request: Callable[[], Any]) -> Any:
        await self.pace.permit()
        self.requests += 1
        call = make_request()
        call.said = await call.answer
        return call


@dataclass
class Ended:
    state: State
    reason: str
    outcomes: dict[int, tuple[str, int]]
    counts: dict[Status, int]
    ledger: SqliteLedger
    pool: WorkerPool
    at_s: float
    trips: list[Trip]


def portions_of(sizes: Sequence[int], read: list[int] | None = None) -> Iterator[Portion]:
    start = 1
    for size in sizes:
        if read is not None:
            read.append(size)
        yield Portion((batch_of(range(start, start + size)),), (), start + size - 1, 0)
        start += size


def work(
    folder: Path,
    vendor: Any,
    sizes: Sequence[int] = (10,),
    *,
    concurrency: int = 4,
    policy: Retry = POLICY,
    portions: Iterator[Portion] | None = None,
    rate: float = 1000.0,
    meanwhile: Callable[[WorkerPool], Any] | None = None,
    completion: Completion = Completion(),  # noqa: B008 - it is frozen
    ledger: SqliteLedger | None = None,
    guards: GuardSettings = GuardSettings(),  # noqa: B008 - it is frozen
) -> Ended:
    """Run a pool over portions of the given sizes, to its end, in virtual time.

    A trip that is to hold the run shuts a gate for a minute.
    """
    ledger = ledger or SqliteLedger.create(folder / "run", RECORD, inline=True)

    async def story() -> Ended:
        pace = Pace(rate)
        watching, trips = Guards(guards), []

        async def note(trip: Trip) -> None:
            trips.append(trip)
            if trip.holds:
                pace.shut("hold", trip.words)
                asyncio.get_running_loop().call_later(60, release)

        def release() -> None:
            pace.open("hold")
            pool.gates_changed()

        with ThreadPoolExecutor(1) as executor:
            feed = Feed(portions or portions_of(sizes), _absorbing(ledger), executor, watching.admit)
            pool = WorkerPool(
                feed=feed,
                target=vendor,  # type: ignore[arg-type]
                http=PacedHttp(pace),  # type: ignore[arg-type]
                ledger=ledger,
                pace=pace,
                limits=Limits(concurrency=concurrency),
                batch_items=max(sizes),
                policy=policy,
                completion=completion,
                rng=random.Random(7),
                guards=watching,
                on_trip=note,
            )
            side = asyncio.create_task(meanwhile(pool)) if meanwhile else None
            try:
                state = await pool.run()
            finally:
                await feed.close()
                if side is not None:
                    await side
        counts, at = dict(ledger.counts()), virtual_clock.now()
        return Ended(state, pool.stop_reason, _outcomes(ledger), counts, ledger, pool, at, trips)

    return virtual_clock.run(story())


def _absorbing(ledger: SqliteLedger) -> Any:
    async def absorb(portion: Portion) -> None:
        await ledger.record(portion.exceptional)

    return absorb


def _outcomes(ledger: SqliteLedger) -> dict[int, tuple[str, int]]:
    return {
        line["position"]: (line["status"], line["attempts"])
        for piece in ledger.outcomes()
        for line in piece.to_pylist()
    }


def once(answer: Fault, *, when: Callable[[Batch], bool] = lambda _: True, store: bool = False) -> Any:
    """Let the first call that fits fail in this way; its items are stored or not."""
    spent: list[bool] = []

    def mishap(vendor: Vendor, batch: Batch) -> Fault | None:
        if spent or not when(batch):
            return None
        spent.append(True)
        if store:
            vendor.store(batch)
        return answer

    return mishap


def test_every_item_is_sent_once_and_settled(tmp_path: Path) -> None:
    vendor = Vendor()
    ended = work(tmp_path, vendor, [10] * 20)
    assert ended.state is State.FINISHED
    assert ended.counts[Status.SUCCEEDED] == 200 == len(vendor.stored)
    assert len(vendor.calls) == 20
    assert set(ended.outcomes.values()) == {("succeeded", 1)}


def test_no_more_calls_are_open_than_concurrency_allows(tmp_path: Path) -> None:
    vendor = Vendor()
    work(tmp_path, vendor, [1] * 50, concurrency=3)
    assert vendor.most_open == 3


def test_a_batch_is_claimed_in_the_ledger_before_it_is_sent(tmp_path: Path) -> None:
    claimed: list[bool] = []

    def look(_vendor: Vendor, batch: Batch) -> None:
        reader = SqliteLedger.open(tmp_path / "run", read_only=True)
        claimed.append(bool(batch.id) and bool(reader.trace(batch.keys()[0])))

    work(tmp_path, Vendor(look), [5] * 4)
    assert claimed == [True] * 4


def test_a_lost_answer_is_asked_again_after_settling_and_then_exists_means_confirmed(tmp_path: Path) -> None:
    vendor = Vendor(once(LOST, store=True))
    ended = work(tmp_path, vendor, [10])
    assert ended.counts[Status.CONFIRMED] == 10
    assert set(ended.outcomes.values()) == {("confirmed", 2)}
    assert vendor.calls[1][0] - vendor.calls[0][0] >= POLICY.settle_s
    assert [len(batch) for _, batch in vendor.calls] == [10, 5, 5]
    assert max(vendor.stored.values()) == 1


def test_what_the_pool_counts_after_a_lost_answer_is_what_the_ledger_holds(tmp_path: Path) -> None:
    ended = work(tmp_path, Vendor(once(LOST, store=True)), [10, 10])
    assert {status: ended.pool.settled[status] for status in Status} == ended.counts


def test_a_lost_answer_that_was_not_carried_out_succeeds_at_the_second_send(tmp_path: Path) -> None:
    ended = work(tmp_path, Vendor(once(LOST)), [10])
    assert set(ended.outcomes.values()) == {("succeeded", 2)}


def test_a_push_back_holds_every_worker_for_as_long_as_the_vendor_wishes(tmp_path: Path) -> None:
    wish = Fault(FaultKind.NOT_CARRIED_OUT, "http_429", "slow down", retry_after_s=30)
    vendor = Vendor(once(wish))
    ended = work(tmp_path, vendor, [10] * 40, concurrency=4)
    first_answer = vendor.calls[0][0] + vendor.latency_s
    assert not [at for at, _ in vendor.calls if first_answer + 0.001 < at < first_answer + 30]
    assert ended.counts[Status.SUCCEEDED] == 400


def test_one_bad_item_never_sinks_its_neighbours(tmp_path: Path) -> None:
    bad = {key_of(17), key_of(900)}

    def refuse(_vendor: Vendor, batch: Batch) -> Fault | None:
        return Fault(FaultKind.REFUSED, "000106", "parameter error") if bad & set(batch.keys()) else None

    vendor = Vendor(refuse)
    ended = work(tmp_path, vendor, [1000])
    assert {position for position, (status, _) in ended.outcomes.items() if status == "refused"} == {17, 900}
    assert ended.counts[Status.SUCCEEDED] == 998
    assert len(vendor.calls) <= 1 + 2 * 2 * 10


def test_only_the_items_left_open_by_a_reply_are_sent_again(tmp_path: Path) -> None:
    def answer_in_part(vendor: Vendor, batch: Batch) -> Reply | None:
        if len(batch) < 10:
            return None
        vendor.store(batch)
        named = [Answer(PLAIN_SUCCESS, names=key) for key in batch.keys()[:7]]
        return Reply(named)

    vendor = Vendor(answer_in_part)
    ended = work(tmp_path, vendor, [10])
    again = [position for _, b in vendor.calls[1:] for position in b.items.column("position").to_pylist()]
    assert again == [8, 9, 10]
    assert ended.counts[Status.SUCCEEDED] == 7
    assert ended.counts[Status.CONFIRMED] == 3


def test_a_fault_that_stays_with_one_item_is_given_up_while_others_go_on(tmp_path: Path) -> None:
    def always_busy(vendor: Vendor, batch: Batch) -> Reply:
        busy = Verdict(Ruling.PASSING, "busy", "system busy")
        keys = batch.keys()
        vendor.stored.update(key for key in keys if key != key_of(3))
        return Reply([Answer(busy) if key == key_of(3) else Answer(PLAIN_SUCCESS) for key in keys])

    ended = work(tmp_path, Vendor(always_busy), [10])
    assert ended.outcomes[3] == ("gave_up", POLICY.attempts)
    assert ended.counts[Status.SUCCEEDED] == 9


def test_an_item_in_doubt_is_never_called_given_up(tmp_path: Path) -> None:
    def lost_then_busy(_vendor: Vendor, batch: Batch) -> Fault | Reply:
        if batch.sends == 0:
            return LOST
        return Reply([Answer(Verdict(Ruling.PASSING, "busy", "system busy"))] * len(batch))

    ended = work(tmp_path, Vendor(lost_then_busy), [2])
    assert ended.counts[Status.IN_DOUBT] == 2


def test_a_vendor_that_is_away_stops_the_run_and_nothing_is_given_up(tmp_path: Path) -> None:
    away = Fault(FaultKind.NOT_CARRIED_OUT, "connect", "no connection", reached=False)
    ended = work(tmp_path, Vendor(lambda _v, _b: away), [10] * 30)
    assert ended.state is State.STOPPED
    assert "no connection" in ended.reason
    assert sum(ended.counts.values()) == 0


def test_a_stop_leaves_every_row_to_a_resume(tmp_path: Path) -> None:
    denied = Fault(FaultKind.STOP, "http_401", "who are you")
    vendor = Vendor(lambda _v, b: denied if b.items.column("position")[0].as_py() > 100 else None)
    ended = work(tmp_path, vendor, [10] * 50, concurrency=2)
    assert (ended.state, ended.reason) == (State.STOPPED, "http_401: who are you")
    assert ended.counts[Status.SUCCEEDED] == 100
    assert sum(ended.counts.values()) == 100
    assert len(ended.ledger.take_over().done) == 100


def test_items_refused_alike_with_nothing_ever_accepted_stop_the_run(tmp_path: Path) -> None:
    refusal = Fault(FaultKind.REFUSED, "000103", "no such tenant")
    vendor = Vendor(lambda _v, _b: refusal)
    ended = work(tmp_path, vendor, [100] * 100)
    assert ended.state is State.STOPPED
    assert "no such tenant" in ended.reason
    assert ended.counts[Status.REFUSED] <= ALIKE_REFUSALS + 4


def test_who_waits_for_the_rate_is_not_in_flight(tmp_path: Path) -> None:
    seen: list[int] = []

    async def look(pool: WorkerPool) -> None:
        await asyncio.sleep(10.05)  # the last one left at 10, and takes a tenth of a second
        seen.append(pool.in_flight)
        await asyncio.sleep(0.5)
        seen.append(pool.in_flight)

    work(tmp_path, Vendor(), [10] * 30, concurrency=4, rate=1, meanwhile=look)
    assert seen == [1, 0]


def test_a_stopped_pool_settles_what_is_in_flight_and_takes_nothing_new(tmp_path: Path) -> None:
    async def stop_soon(pool: WorkerPool) -> None:
        await asyncio.sleep(0.25)
        pool.stop(State.INTERRUPTED, "asked to")

    vendor = Vendor()
    ended = work(tmp_path, vendor, [10] * 100, concurrency=2, meanwhile=stop_soon)
    assert ended.state is State.INTERRUPTED
    assert ended.counts[Status.SUCCEEDED] == 10 * len(vendor.calls) == len(vendor.stored)
    assert not ended.ledger.take_over().open


def test_a_pool_that_waits_in_a_hold_can_be_stopped_and_its_claims_are_void(tmp_path: Path) -> None:
    async def stop_soon(pool: WorkerPool) -> None:
        await asyncio.sleep(1)
        pool.stop(State.INTERRUPTED, "asked to")

    wish = Fault(FaultKind.NOT_CARRIED_OUT, "http_503", "later", retry_after_s=3600)
    vendor = Vendor(once(wish))
    ended = work(tmp_path, vendor, [10] * 10, concurrency=1, meanwhile=stop_soon)
    assert len(vendor.calls) == 1
    assert not ended.ledger.take_over().open


def test_an_abandoned_batch_stays_claimed_and_so_in_doubt(tmp_path: Path) -> None:
    async def abandon_soon(pool: WorkerPool) -> None:
        await asyncio.sleep(1)
        pool.stop(State.INTERRUPTED, "asked to")
        pool.abandon()

    ended = work(tmp_path, Vendor(latency_s=100), [10], meanwhile=abandon_soon)
    left = ended.ledger.take_over().open
    assert {(row.sends, row.in_doubt) for row in left.values()} == {(1, True)}
    assert len(left) == 10


def test_a_full_backlog_makes_the_producer_wait(tmp_path: Path) -> None:
    read: list[int] = []
    sizes = [10] * (3 * BACKLOG_BATCHES)
    patient = Retry(attempts=4, first_wait_s=1, settle_s=30)
    vendor = Vendor(lambda _v, b: LOST if b.sends == 0 else None)

    async def look(_pool: WorkerPool) -> None:
        await asyncio.sleep(patient.settle_s - 0.1)
        assert BACKLOG_BATCHES <= len(read) <= BACKLOG_BATCHES + 4 + 2

    portions = portions_of(sizes, read)
    ended = work(tmp_path, vendor, sizes, portions=portions, meanwhile=look, policy=patient)
    assert ended.counts[Status.SUCCEEDED] == 10 * len(sizes)


def test_rows_never_sent_are_recorded_before_their_neighbours_go_out(tmp_path: Path) -> None:
    portion = Portion((batch_of([2]),), (row(1, Status.REJECTED),), 2, 0)
    seen: list[int] = []

    def look(_vendor: Vendor, _batch: Batch) -> None:
        reader = SqliteLedger.open(tmp_path / "run", read_only=True)
        seen.append(reader.counts()[Status.REJECTED])

    work(tmp_path, Vendor(look), [1], portions=iter([portion]))
    assert seen == [1]


def test_an_inventory_that_breaks_off_stops_the_run_after_what_was_read(tmp_path: Path) -> None:
    def broken() -> Iterator[Portion]:
        yield from portions_of([10, 10])
        raise InventoryError("delivery.csv.gz: cut off (after row 20)")

    ended = work(tmp_path, Vendor(), [10], portions=broken())
    assert ended.state is State.STOPPED
    assert "cut off" in ended.reason
    assert ended.counts[Status.SUCCEEDED] == 20


def test_a_request_that_raises_no_reply_is_judged_by_its_fault(tmp_path: Path) -> None:
    class Unreachable(Vendor):
        async def send(self, batch: Batch, http: Any) -> Reply | Fault:
            if not self.calls:
                self.calls.append((virtual_clock.now(), batch))
                raise NoReply(BUSY)
            return await super().send(batch, http)

    ended = work(tmp_path, Unreachable(), [10])
    assert set(ended.outcomes.values()) == {("succeeded", 2)}


def test_a_ledger_that_fails_ends_the_run_with_its_error(tmp_path: Path) -> None:
    def cut_the_ledger(pool: WorkerPool) -> Any:
        async def later() -> None:
            await asyncio.sleep(0.05)
            pool._ledger.close()  # type: ignore[attr-defined]

        return later()

    with pytest.raises(ExceptionGroup) as caught:
        work(tmp_path, Vendor(), [10] * 10, meanwhile=cut_the_ledger)
    assert caught.group_contains(LedgerError)


# ---------------------------------------------------------------- what concerns all batches


def limited_to(most: int, *, words: str = "", kind: FaultKind = FaultKind.TOO_LARGE) -> Any:
    def mishap(_vendor: Vendor, batch: Batch) -> Fault | None:
        return Fault(kind, "000107", words) if len(batch) > most else None

    return mishap


@pytest.mark.parametrize(
    ("most", "words", "kind", "allowed"),
    [
        (999, "Less than 1,000 Profiles", FaultKind.TOO_LARGE, 1.02),
        (999, "parameter error", FaultKind.REFUSED, 1.05),
        (250, "more than 250", FaultKind.TOO_LARGE, 1.10),
        (250, "too many", FaultKind.TOO_LARGE, 1.10),
    ],
)
def test_the_size_a_vendor_takes_is_learned_at_little_cost(
    tmp_path: Path, most: int, words: str, kind: FaultKind, allowed: float
) -> None:
    vendor = Vendor(limited_to(most, words=words, kind=kind))
    ended = work(tmp_path, vendor, [1000] * 200, concurrency=1)
    assert ended.counts[Status.SUCCEEDED] == 200_000
    assert 0.99 * most <= ended.pool._vendor.size.bound <= most
    assert len(vendor.calls) <= allowed * 200_000 / most + 1


def test_everything_failing_in_a_passing_way_is_waited_out_and_uses_up_no_attempts(tmp_path: Path) -> None:
    back_at = 20.0

    def away(_vendor: Vendor, _batch: Batch) -> Fault | None:
        return BUSY if virtual_clock.now() < back_at else None

    vendor = Vendor(away)
    ended = work(tmp_path, vendor, [10] * 100, policy=Retry(attempts=6, first_wait_s=1, longest_wait_s=8))
    assert ended.counts[Status.SUCCEEDED] == 1000
    assert len([at for at, _ in vendor.calls if at < back_at]) <= 20
    assert not [at for at, _ in vendor.calls if at > back_at + 30]


def test_while_the_vendor_is_away_only_one_batch_asks_at_a_time(tmp_path: Path) -> None:
    vendor = Vendor(lambda _v, _b: BUSY, latency_s=1)
    work(tmp_path, vendor, [10] * 100, concurrency=4)
    later = [at for at, _ in vendor.calls][8:]
    assert all(after - before >= 1 for before, after in pairwise(later))


def test_a_vendor_that_loses_every_answer_stops_a_long_run_within_a_budget(tmp_path: Path) -> None:
    vendor = Vendor(lambda _v, _b: LOST)
    ended = work(tmp_path, vendor, [100] * 500)
    assert ended.state is State.STOPPED
    assert "answered none of" in ended.reason
    assert len(vendor.calls) <= BACKLOG_BATCHES + 4 * POLICY.attempts + 4
    assert sum(ended.counts.values()) == 0


def test_a_vendor_that_loses_every_answer_of_a_few_rows_leaves_them_in_doubt(tmp_path: Path) -> None:
    ended = work(tmp_path, Vendor(lambda _v, _b: LOST), [3])
    assert ended.state is State.FINISHED
    assert ended.counts[Status.IN_DOUBT] == 3


def test_items_beyond_the_size_a_vendor_takes_keep_their_doubt(tmp_path: Path) -> None:
    """Found by seed 72: what was cut off an in-doubt batch went out as if never sent."""
    vendor = Vendor(limited_to(7, words="more than 7"))
    doubtful = replace(batch_of(range(1, 9)), sends=1, in_doubt=True, recorded=True)
    vendor.stored.update(doubtful.keys())
    ended = work(
        tmp_path,
        vendor,
        [14],
        concurrency=1,
        portions=iter([Portion((batch_of(range(9, 23)), doubtful), (), 22, 0)]),
    )
    assert ended.counts[Status.CONFIRMED] == 8
    assert ended.counts[Status.SUCCEEDED] == 14


def test_a_row_given_up_before_it_ever_left_is_closed_when_it_succeeds_after_all(tmp_path: Path) -> None:
    """Found by seed 65: its open row had no send to its name, and its success left it open."""
    opened = replace(batch_of([1]), recorded=True)
    ended = work(tmp_path, Vendor(), [1], portions=iter([Portion((opened,), (), 1, 0)]))
    assert ended.outcomes == {1: ("succeeded", 1)}
    assert list(ended.ledger.exceptional(Status.SUCCEEDED))
