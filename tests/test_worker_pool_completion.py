"""The worker pool and a vendor that finishes later: real ledger, feed and pace, virtual time."""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pytest
import virtual_clock
from hypothesis import given, settings, strategies as st
from ledger_making import batch_of, key_of
from test_worker_pool import Call, Ended, portions_of, work

from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import (
    PLAIN_SUCCESS,
    STILL_OPEN,
    Answer,
    Batch,
    Fault,
    FaultKind,
    Portion,
    Promise,
    Reply,
    Ruling,
    State,
    Status,
    Verdict,
)
from pipeline.settings import Completion, Retry
from pipeline.worker_pool import CALLS_LOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipeline.worker_pool import WorkerPool

POLICY = Retry(attempts=4, first_wait_s=1, longest_wait_s=8, settle_s=5)
POLLS = Completion(first_poll_s=2, longest_poll_s=20, give_up_s=300)

DONE = Verdict(Ruling.SUCCEEDED)
WAIT = Verdict(Ruling.PROMISED)
FAILED = Verdict(Ruling.REFUSED, "FAILURE", "the vendor says that it failed")
AGAIN = Verdict(Ruling.PASSING, "INTERNAL_ERROR", "internal error")
UNKNOWN = Verdict(Ruling.UNKNOWN, "GLOBAL_1003", "no such request")
BAD = Verdict(Ruling.REFUSED, "SUBSCRIBER_1002", "does not exist")
NO_WORD = Verdict(Ruling.OPEN, "reply_short", "no word")
UNTOUCHED = Verdict(Ruling.UNTOUCHED)

BUSY = Fault(FaultKind.NOT_CARRIED_OUT, "http_503", "HTTP 503")
SLOW_DOWN = Fault(FaultKind.NOT_CARRIED_OUT, "http_429", "HTTP 429")
LOST = Fault(FaultKind.LOST, "http_500", "HTTP 500")
NO = Fault(FaultKind.REFUSED, "http_404", "HTTP 404")
STOP = Fault(FaultKind.STOP, "http_401", "who are you")


@dataclass
class Held:
    """A ticket as the vendor holds it: of which item, given when, at the how manieth send of it."""

    key: str
    given_at: float
    sends: int


def keys_of(batch: Batch) -> list[str]:
    return batch.keys()


def after(seconds: float) -> Callable[[Held], Verdict]:
    """Finish each item so long after its send."""
    return lambda held: DONE if virtual_clock.now() >= held.given_at + seconds else WAIT


@dataclass
class Finisher:
    """A vendor that accepts now and finishes later, unless its script has a mishap.

    `state` says how an item stands; None leaves its ticket out of an answer. `of_send` may answer a send in
    its own way, `of_poll` a question. Without `calls` there is no question for a whole call.
    """

    name: ClassVar[str] = "finisher"
    most_batch_items: ClassVar[int] = 1000
    rules: ClassVar[Any] = None
    settings: ClassVar[Any] = None

    state: Callable[[Held], Verdict | None] = field(default_factory=lambda: after(10))
    of_send: Callable[[Finisher, Batch], Fault | Reply | None] = lambda _vendor, _batch: None
    of_poll: Callable[[str, Sequence[str]], Fault | None] = lambda _call, _tickets: None
    calls: bool = True
    latency_s: float = 0.1
    sends: list[tuple[float, Batch]] = field(default_factory=list)
    polls: list[tuple[float, str, tuple[str, ...]]] = field(default_factory=list)
    held: dict[str, Held] = field(default_factory=dict)
    promises: int = 0

    def key(self, fields: Any) -> Any:
        raise NotImplementedError

    def encode(self, fields: Any) -> Any:
        raise NotImplementedError

    async def send(self, batch: Batch, http: Any) -> Any:
        return (await http.exchange(lambda: Call(self._answer_send(batch)))).said

    async def poll(self, call: str, tickets: Sequence[str], http: Any) -> Any:
        return (await http.exchange(lambda: Call(self._answer_poll(call, tuple(tickets))))).said

    async def _answer_send(self, batch: Batch) -> Fault | Reply:
        self.sends.append((virtual_clock.now(), batch))
        await asyncio.sleep(self.latency_s)
        return self.of_send(self, batch) or self.promise(batch)

    async def _answer_poll(self, call: str, tickets: tuple[str, ...]) -> Fault | dict[str, Verdict]:
        self.polls.append((virtual_clock.now(), call, tickets))
        await asyncio.sleep(self.latency_s)
        if fault := self.of_poll(call, tickets):
            return fault
        states = {ticket: self.state(self.held[ticket]) for ticket in tickets}
        return {ticket: state for ticket, state in states.items() if state is not None}

    def promise(self, batch: Batch) -> Reply:
        self.promises += 1
        call = f"call {self.promises}"
        answers = []
        for key in keys_of(batch):
            ticket = f"{call}, {key}, {len(self.held)}"
            self.held[ticket] = Held(key, virtual_clock.now(), batch.sends + 1)
            answers.append(Answer(Verdict(Ruling.PROMISED, ticket=ticket), key))
        return Reply(answers, rest=NO_WORD, call=call if self.calls else "")

    def sends_of(self, key: str) -> int:
        return sum(key in keys_of(batch) for _, batch in self.sends)


def finish(folder: Path, vendor: Finisher, sizes: Sequence[int] = (10,), **how: Any) -> Ended:
    """Run a pool against the vendor, with polls quick enough for a test unless told otherwise."""
    return work(folder, vendor, sizes, **({"completion": POLLS, "policy": POLICY} | how))


def still_open(folder: Path) -> int:
    return SqliteLedger.open(folder / "run", read_only=True).open_tickets()


# ---------------------------------------------------------------- the usual way


def test_what_is_promised_is_asked_after_by_call_and_succeeds_at_its_first_send(tmp_path: Path) -> None:
    vendor = Finisher()
    ended = finish(tmp_path, vendor, [10] * 5)
    assert ended.state is State.FINISHED
    assert set(ended.outcomes.values()) == {("succeeded", 1)}
    assert len(ended.outcomes) == 50
    assert len(vendor.sends) == 5
    assert {len(tickets) for _, _, tickets in vendor.polls} == {10}
    assert ended.ledger.open_tickets() == ended.ledger.open_rows() == 0
    assert not list(ended.ledger.exceptional(Status.SUCCEEDED)), "plain successes need no rows"


def test_the_first_question_comes_after_first_poll_s_and_the_waits_double(tmp_path: Path) -> None:
    vendor = Finisher(after(100))
    finish(tmp_path, vendor, [10])
    times = [at for at, _, _ in vendor.polls]
    answered_at = vendor.sends[0][0] + vendor.latency_s
    assert times[0] - answered_at == pytest.approx(2)
    waits = [later - earlier - vendor.latency_s for earlier, later in pairwise(times)]
    assert waits == pytest.approx([4, 8, 16, 20, 20, 20, 20])


def test_tickets_are_durable_before_the_first_question(tmp_path: Path) -> None:
    seen: list[int] = []

    def look(_call: str, _tickets: Sequence[str]) -> None:
        seen.append(still_open(tmp_path))

    finish(tmp_path, Finisher(of_poll=look), [7])
    assert seen[0] == 7


def test_without_a_question_for_a_call_each_ticket_is_asked_after(tmp_path: Path) -> None:
    vendor = Finisher(calls=False)
    ended = finish(tmp_path, vendor, [10])
    assert ended.counts[Status.SUCCEEDED] == 10
    assert {(call, len(tickets)) for _, call, tickets in vendor.polls} == {("", 1)}


def test_where_the_question_for_a_call_is_refused_its_tickets_are_asked_after_from_then_on(
    tmp_path: Path,
) -> None:
    vendor = Finisher(of_poll=lambda call, _: NO if call else None)
    ended = finish(tmp_path, vendor, [10])
    assert ended.counts[Status.SUCCEEDED] == 10
    assert [call for _, call, _ in vendor.polls].count("call 1") == 1
    assert vendor.polls[1][0] - vendor.polls[0][0] < 1


def test_what_the_answer_for_a_call_leaves_out_is_asked_after_by_itself(tmp_path: Path) -> None:
    vendor = Finisher()

    def leave_out(held: Held) -> Verdict | None:
        by_call = bool(vendor.polls[-1][1])
        return None if by_call and held.key == key_of(3) else after(10)(held)

    vendor.state = leave_out
    ended = finish(tmp_path, vendor, [10])
    assert ended.counts[Status.SUCCEEDED] == 10
    singles = [tickets for _, call, tickets in vendor.polls if not call]
    assert singles
    assert all(key_of(3) in ticket for (ticket,) in singles)


def test_a_call_whose_question_is_never_answered_is_asked_after_one_by_one_at_the_last(
    tmp_path: Path,
) -> None:
    vendor = Finisher(of_poll=lambda call, _: LOST if call else None)
    ended = finish(tmp_path, vendor, [10])
    assert ended.counts[Status.SUCCEEDED] == 10
    assert len([call for _, call, _ in vendor.polls if not call]) == 10


def test_many_calls_whose_questions_are_never_answered_are_asked_after_one_by_one(tmp_path: Path) -> None:
    vendor = Finisher(of_poll=lambda call, _: LOST if call else None)
    ended = finish(tmp_path, vendor, [2] * 300, completion=Completion())
    assert (ended.state, ended.counts[Status.SUCCEEDED]) == (State.FINISHED, 600)


def test_a_call_without_an_answer_now_and_then_is_not_asked_after_one_by_one(tmp_path: Path) -> None:
    number = count(1)
    vendor = Finisher(of_poll=lambda _call, _tickets: LOST if next(number) % CALLS_LOST else None)
    ended = finish(tmp_path, vendor, [2] * 50, completion=Completion())
    assert ended.counts[Status.SUCCEEDED] == 100
    assert all(call for _, call, _ in vendor.polls)


def test_a_ticket_given_to_items_of_two_calls_is_the_end_of_neither(tmp_path: Path) -> None:
    def same_ticket(vendor: Finisher, batch: Batch) -> Reply:
        given = vendor.promise(batch)
        vendor.held["the same"] = Held("", virtual_clock.now(), 1)
        first = Answer(Verdict(Ruling.PROMISED, ticket="the same"), batch.keys()[0])
        return Reply([first, *given.answers[1:]], rest=NO_WORD, call=given.call)

    ended = finish(tmp_path, Finisher(of_send=same_ticket), [5, 5])
    assert ended.counts[Status.SUCCEEDED] == 8
    assert [ended.outcomes[position] for position in (1, 6)] == [("in_doubt", 1)] * 2


# ---------------------------------------------------------------- how it ends


def test_each_item_ends_as_the_vendor_says(tmp_path: Path) -> None:
    ends = {key_of(1): FAILED, key_of(2): AGAIN, key_of(3): UNKNOWN, key_of(4): WAIT}
    vendor = Finisher(lambda held: ends.get(held.key, DONE))
    ended = finish(tmp_path, vendor, [6])
    assert ended.state is State.FINISHED
    rows = {row.position: row for row in ended.ledger.exceptional(*Status)}
    assert {position: (row.status, row.code, row.sends) for position, row in rows.items()} == {
        1: (Status.REFUSED, "FAILURE", 1),
        2: (Status.GAVE_UP, "INTERNAL_ERROR", POLICY.attempts),
        3: (Status.IN_DOUBT, "GLOBAL_1003", 2),
        4: (Status.IN_DOUBT, STILL_OPEN, 1),
    }
    assert [bool(rows[position].ticket) for position in (1, 2, 3, 4)] == [False, False, False, True]
    assert rows[4].call == "call 1"
    assert all(row.cells for row in rows.values())
    assert [vendor.sends_of(key_of(position)) for position in range(1, 7)] == [1, POLICY.attempts, 2, 1, 1, 1]


def test_what_was_internally_wrong_once_succeeds_at_its_next_send(tmp_path: Path) -> None:
    ended = finish(tmp_path, Finisher(lambda held: AGAIN if held.sends == 1 else DONE), [5])
    assert set(ended.outcomes.values()) == {("succeeded", 2)}


def test_what_was_forgotten_once_succeeds_at_its_next_send(tmp_path: Path) -> None:
    ended = finish(tmp_path, Finisher(lambda held: UNKNOWN if held.sends == 1 else DONE), [5])
    assert set(ended.outcomes.values()) == {("succeeded", 2)}


def test_what_is_still_open_is_in_doubt_just_when_the_time_is_over(tmp_path: Path) -> None:
    vendor = Finisher(lambda _: WAIT)
    ended = finish(tmp_path, vendor, [5])
    given_at = vendor.sends[0][0] + vendor.latency_s
    assert ended.counts[Status.IN_DOUBT] == 5
    assert ended.at_s - given_at == pytest.approx(POLLS.give_up_s + vendor.latency_s)
    assert ended.ledger.open_tickets() == 0
    assert ended.ledger.ask_again() == 5 == ended.ledger.open_tickets()


def test_a_mixed_reply_is_promised_refused_and_sent_again_in_parts(tmp_path: Path) -> None:
    def mixed(vendor: Finisher, batch: Batch) -> Reply | None:
        if len(batch) < 10:
            return None
        given = vendor.promise(Batch(batch.items.slice(0, 3)))
        return Reply([*given.answers, Answer(BAD, key_of(5))], rest=UNTOUCHED, call=given.call)

    vendor = Finisher(of_send=mixed)
    ended = finish(tmp_path, vendor, [10])
    assert (ended.counts[Status.REFUSED], ended.counts[Status.SUCCEEDED]) == (1, 9)
    assert ended.outcomes[1] == ("succeeded", 1)
    assert ended.outcomes[5] == ("refused", 1)
    assert ended.outcomes[4] == ended.outcomes[10] == ("succeeded", 2)
    assert vendor.sends[1][0] - vendor.sends[0][0] < 1, "untouched items go again at once"


# ---------------------------------------------------------------- faults of questions


@pytest.mark.parametrize("fault", [LOST, SLOW_DOWN, BUSY, NO])
def test_questions_that_fail_make_no_item_final_and_what_comes_after_them_does(
    tmp_path: Path, fault: Fault
) -> None:
    patient = Retry(attempts=50, first_wait_s=1, longest_wait_s=8)
    vendor = Finisher(of_poll=lambda _call, _tickets: fault if virtual_clock.now() < 100 else None)
    ended = finish(tmp_path, vendor, [5] * 3, policy=patient)
    assert set(ended.outcomes.values()) == {("succeeded", 1)}
    assert ended.at_s > 100


def test_questions_that_are_never_answered_end_in_doubt_only_when_the_time_is_over(tmp_path: Path) -> None:
    ended = finish(tmp_path, Finisher(of_poll=lambda _call, _tickets: LOST), [5])
    assert ended.state is State.FINISHED
    assert ended.counts[Status.IN_DOUBT] == 5
    assert ended.at_s >= POLLS.give_up_s


def test_a_question_that_stops_the_run_leaves_the_tickets_to_a_resume(tmp_path: Path) -> None:
    ended = finish(tmp_path, Finisher(of_poll=lambda _call, _tickets: STOP), [5] * 4)
    assert (ended.state, ended.reason) == (State.STOPPED, "http_401: who are you")
    assert ended.ledger.open_tickets() == 20
    assert sum(ended.counts.values()) == 0


@pytest.mark.parametrize("calls", [True, False])
def test_a_vendor_that_pushes_all_questions_back_stops_the_run_with_its_tickets_open(
    tmp_path: Path,
    calls: bool,  # noqa: FBT001 - a case
) -> None:
    vendor = Finisher(of_poll=lambda _call, _tickets: BUSY, calls=calls)
    ended = finish(tmp_path, vendor, [5] * 4, completion=Completion())
    assert ended.state is State.STOPPED
    assert "http_503" in ended.reason
    assert ended.ledger.open_tickets() == 20
    assert len(vendor.polls) <= 5 + 4 + POLICY.attempts


def test_questions_pushed_back_do_not_hinder_the_sends_for_good(tmp_path: Path) -> None:
    vendor = Finisher(of_poll=lambda _call, _tickets: BUSY)
    ended = finish(tmp_path, vendor, [5] * 200, rate=10)
    assert len(vendor.sends) == 200
    assert ended.state is State.STOPPED
    assert ended.ledger.open_tickets() == 1000


def test_questions_that_go_well_do_not_make_a_vendor_that_takes_nothing_give_rows_up(tmp_path: Path) -> None:
    """Sends pushed back for good stop a run with its rows unsent, however well the questions are answered."""
    vendor = Finisher(
        after(1000), of_send=lambda vendor, _batch: BUSY if len(vendor.sends) > 20 else None, calls=False
    )
    quick = Completion(first_poll_s=1, longest_poll_s=1, give_up_s=3600)
    ended = finish(tmp_path, vendor, [5] * 500, rate=10, completion=quick)
    assert ended.state is State.STOPPED
    assert ended.counts[Status.GAVE_UP] == 0
    assert ended.at_s < 300


# ---------------------------------------------------------------- side by side


@pytest.mark.parametrize("concurrency", [1, 4])
def test_neither_sends_nor_questions_starve_at_a_tight_rate(tmp_path: Path, concurrency: int) -> None:
    def promise_the_first(vendor: Finisher, batch: Batch) -> Reply | None:
        first = batch.items.column("position")[0].as_py() <= 50
        return vendor.promise(batch) if first else Reply([Answer(PLAIN_SUCCESS)] * len(batch))

    vendor = Finisher(after(100), of_send=promise_the_first, calls=False)
    eager = Completion(first_poll_s=0.5, longest_poll_s=0.5, give_up_s=3600)
    ended = finish(tmp_path, vendor, [50, *[10] * 300], rate=2, concurrency=concurrency, completion=eager)
    assert ended.counts[Status.SUCCEEDED] == 3050
    sends = [at for at, _ in vendor.sends]
    both_until = min(sends[-1], vendor.polls[-1][0])
    order = sorted([(at, "send") for at in sends] + [(at, "poll") for at, _, _ in vendor.polls])
    kinds = [kind for at, kind in order if 10 < at < both_until]
    assert len(kinds) > 100
    for start in range(len(kinds) - 12):
        stretch = kinds[start : start + 12]
        assert 4 <= stretch.count("send") <= 8
    assert all(later - earlier >= 0.499 for (earlier, _), (later, _) in pairwise(order)), "one rate for both"


def test_questions_are_asked_while_the_inventory_is_being_read(tmp_path: Path) -> None:
    asked = threading.Event()
    in_time: list[bool] = []
    vendor = Finisher(latency_s=0)

    def slowly() -> Iterator[Portion]:
        first, second = portions_of([5, 5])
        yield first
        in_time.append(asked.wait(timeout=5))
        yield second

    def at_the_third(_held: Held) -> Verdict:
        if len(vendor.polls) < 3:
            return WAIT
        asked.set()
        return DONE

    # Time stands still while a thread reads, so whatever is to happen meanwhile may take none.
    vendor.state = at_the_third
    at_once = Completion(first_poll_s=1e-30)
    ended = finish(tmp_path, vendor, [5], portions=slowly(), completion=at_once)
    assert in_time == [True]
    assert ended.counts[Status.SUCCEEDED] == 10


def test_nothing_new_is_read_while_too_many_promises_are_open(tmp_path: Path) -> None:
    read: list[int] = []
    sizes = [10] * 100
    seen: list[int] = []

    async def look(pool: WorkerPool) -> None:
        await asyncio.sleep(90)
        seen.extend([pool.open_tickets, len(read)])

    ended = finish(
        tmp_path,
        Finisher(after(100)),
        sizes,
        completion=POLLS.model_copy(update={"most_open": 50}),
        portions=portions_of(sizes, read),
        meanwhile=look,
    )
    assert 50 <= seen[0] <= 50 + 4 * 10
    assert seen[1] <= 5 + 4 + 2
    assert ended.counts[Status.SUCCEEDED] == 1000


def test_a_run_that_only_waits_says_so_also_while_it_asks(tmp_path: Path) -> None:
    said: dict[float, str] = {}

    async def look(pool: WorkerPool) -> None:
        while pool.state is State.RUNNING and virtual_clock.now() < 15:
            said[virtual_clock.now()] = pool.holding()
            await asyncio.sleep(0.05)

    vendor = Finisher(after(30), latency_s=1)
    finish(tmp_path, vendor, [10], meanwhile=look)
    sent = vendor.sends[0][0] + vendor.latency_s
    words = list(said.items())
    assert not any(text for at, text in words if at < sent)
    later = [text for at, text in words if at > sent + 0.1]
    assert all("waiting for the vendor to finish 10 rows" in text for text in later)
    assert any("next question in 2 s" in text for text in later)
    assert any("asking" in text for text in later)
    assert not any("inf" in text for text in later)


# ---------------------------------------------------------------- stopped, abandoned, taken up


def test_a_run_that_only_waits_ends_at_once_when_stopped(tmp_path: Path) -> None:
    async def stop_later(pool: WorkerPool) -> None:
        await asyncio.sleep(33.3)
        pool.stop(State.INTERRUPTED, "asked to")

    ended = finish(tmp_path, Finisher(lambda _: WAIT), [10] * 3, meanwhile=stop_later)
    assert ended.state is State.INTERRUPTED
    assert ended.at_s == pytest.approx(33.3, abs=0.01)
    assert ended.ledger.open_tickets() == 30


def test_a_question_abandoned_half_way_leaves_its_tickets_to_a_resume(tmp_path: Path) -> None:
    async def abandon_soon(pool: WorkerPool) -> None:
        await asyncio.sleep(110)
        pool.stop(State.INTERRUPTED, "asked to")
        pool.abandon()

    ended = finish(tmp_path, Finisher(after(0), latency_s=100), [10], meanwhile=abandon_soon)
    left = ended.ledger.take_over().open
    assert len(left) == 10
    assert {(row.sends, row.in_doubt, row.call, row.batch) for row in left.values()} == {
        (1, False, "call 1", 1)
    }
    assert all(row.ticket for row in left.values())


def taken_up(ledger: SqliteLedger) -> Iterator[Portion]:
    """Cut what a ledger still has open into the batches a resumed producer makes of it: one a call here."""
    left = ledger.take_over().open
    calls: dict[tuple[str, int], list[int]] = {}
    for position, row in left.items():
        calls.setdefault((row.call, row.batch), []).append(position)
    batches = []
    for (call, _), positions in calls.items():
        row = left[positions[0]]
        promise = Promise(pa.array([left[position].ticket for position in positions]), call)
        history = {
            "id": row.batch,
            "sends": row.sends - 1,
            "recorded": row.sends > 1,
            "in_doubt": row.in_doubt,
        }
        batches.append(batch_of(positions, promise=promise, **history))
    yield Portion(tuple(batches), (), max(left), 0)


def test_a_resumed_run_asks_after_what_an_earlier_process_was_promised_and_sends_nothing(
    tmp_path: Path,
) -> None:
    async def stop_soon(pool: WorkerPool) -> None:
        await asyncio.sleep(5)
        pool.stop(State.INTERRUPTED, "asked to")

    vendor = Finisher(lambda _: WAIT)
    first = finish(tmp_path, vendor, [10] * 3, meanwhile=stop_soon)
    vendor.sends.clear()
    vendor.polls.clear()
    vendor.state = lambda held: FAILED if held.key == key_of(7) else DONE
    ended = finish(tmp_path, vendor, [10], ledger=first.ledger, portions=taken_up(first.ledger))
    assert ended.state is State.FINISHED
    assert not vendor.sends
    assert sorted(call for _, call, _ in vendor.polls) == ["call 1", "call 2", "call 3"]
    assert vendor.polls[0][0] < 1
    assert (ended.counts[Status.SUCCEEDED], ended.counts[Status.REFUSED]) == (29, 1)
    assert set(ended.outcomes.values()) == {("succeeded", 1), ("refused", 1)}


@pytest.mark.parametrize("calls", [True, False])
def test_a_resumed_run_that_only_waits_asks_more_than_one_question_at_a_time(
    tmp_path: Path,
    calls: bool,  # noqa: FBT001 - a case
) -> None:
    async def stop_soon(pool: WorkerPool) -> None:
        await asyncio.sleep(3)
        pool.stop(State.INTERRUPTED, "asked to")

    vendor = Finisher(lambda _: WAIT, calls=calls)
    first = finish(tmp_path, vendor, [2] * 20, meanwhile=stop_soon)
    vendor.polls.clear()
    vendor.latency_s, vendor.state = 1, after(0)
    ended = finish(tmp_path, vendor, ledger=first.ledger, portions=taken_up(first.ledger))
    assert ended.counts[Status.SUCCEEDED] == 40
    assert ended.at_s < 0.5 * len(vendor.polls) * vendor.latency_s


def test_what_ended_in_doubt_with_its_ticket_can_be_asked_after_again(tmp_path: Path) -> None:
    vendor = Finisher(lambda _: WAIT)
    first = finish(tmp_path, vendor, [10])
    assert first.counts[Status.IN_DOUBT] == 10 == first.ledger.ask_again()
    vendor.state = lambda held: AGAIN if held.sends == 1 and held.key == key_of(4) else DONE
    ended = finish(tmp_path, vendor, [10], ledger=first.ledger, portions=taken_up(first.ledger))
    assert ended.counts[Status.SUCCEEDED] == 10
    assert ended.outcomes[4] == ("succeeded", 2)
    assert len(vendor.sends) == 2


def test_a_resumed_run_takes_up_no_more_promises_than_may_be_open_at_once(tmp_path: Path) -> None:
    vendor = Finisher(lambda _: WAIT)

    async def stop_soon(pool: WorkerPool) -> None:
        await asyncio.sleep(5)
        pool.stop(State.INTERRUPTED, "asked to")

    first = finish(tmp_path, vendor, [10] * 20, meanwhile=stop_soon)
    most: list[int] = []

    async def look(pool: WorkerPool) -> None:
        for _ in range(100):
            most.append(pool.open_tickets)
            await asyncio.sleep(0.1)

    vendor.state = after(10)
    bounded = POLLS.model_copy(update={"most_open": 30})
    ended = finish(
        tmp_path,
        vendor,
        ledger=first.ledger,
        portions=taken_up(first.ledger),
        completion=bounded,
        meanwhile=look,
    )
    assert ended.counts[Status.SUCCEEDED] == 200
    assert max(most) <= 30 + 10


# ---------------------------------------------------------------- storms


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    bad_share=st.sampled_from([0.1, 0.5, 1.0]),
    one_at_a_time=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_a_storm_of_refusals_ends_with_every_item_final(
    sizes: list[int],
    bad_share: float,
    one_at_a_time: bool,  # noqa: FBT001 - a case
    seed: int,
) -> None:
    rng = random.Random(seed)
    total = sum(sizes)
    bad = {key_of(position) for position in range(1, total + 1) if rng.random() < bad_share}
    words = {key: rng.choice([BAD, AGAIN]) for key in sorted(bad)}

    def refuse(_vendor: Finisher, batch: Batch) -> Reply | None:
        here = [key for key in keys_of(batch) if key in bad]
        named = here[:1] if one_at_a_time else rng.sample(here, rng.randint(min(1, len(here)), len(here)))
        return Reply([Answer(words[key], key) for key in named], rest=UNTOUCHED) if here else None

    ends = {
        key_of(position): rng.choice([DONE, FAILED, AGAIN, UNKNOWN, WAIT]) for position in range(1, total + 1)
    }
    vendor = Finisher(lambda held: ends[held.key], of_send=refuse, calls=rng.random() < 0.5)
    with tempfile.TemporaryDirectory() as folder:
        ended = finish(Path(folder), vendor, sizes)
        ended.ledger.close()
    assert ended.state is State.FINISHED
    assert sum(ended.counts.values()) == total
    assert len(vendor.sends) <= 2 * total * POLICY.attempts
    statuses = {key_of(position): status for position, (status, _) in ended.outcomes.items()}
    for key, status in statuses.items():
        if key in bad:
            assert status == ("refused" if words[key] is BAD else "gave_up")
        else:
            assert (status == "succeeded") == (ends[key] is DONE)


def test_of_a_hundred_bad_ones_named_one_at_a_time_each_costs_one_send(tmp_path: Path) -> None:
    bad = {key_of(position) for position in range(1, 101)}

    def name_one(_vendor: Finisher, batch: Batch) -> Reply | None:
        here = [key for key in keys_of(batch) if key in bad]
        return Reply([Answer(BAD, here[0])], rest=UNTOUCHED) if here else None

    vendor = Finisher(of_send=name_one)
    ended = finish(tmp_path, vendor, [200])
    assert (ended.counts[Status.REFUSED], ended.counts[Status.SUCCEEDED]) == (100, 100)
    assert len(vendor.sends) == 101


def test_refusals_that_name_only_strangers_end_in_doubt(tmp_path: Path) -> None:
    reply = Reply([Answer(BAD, key_of(999))], rest=UNTOUCHED)
    vendor = Finisher(of_send=lambda _vendor, _batch: reply)
    ended = finish(tmp_path, vendor, [8])
    assert ended.counts[Status.IN_DOUBT] == 8
    assert len(vendor.sends) <= 1 + 2 + 4 + 8 * POLICY.attempts
