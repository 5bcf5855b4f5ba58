"""Open promises: asked after in time, in whole calls where that goes, each until it is kept; and small."""

from __future__ import annotations

import gc
import math
import random
import tracemalloc

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from ledger_making import batch_of, key_of

from pipeline.model import ITEM_COLUMNS, Batch, Promise
from pipeline.open_tickets import OpenTickets, Question
from pipeline.settings import Completion

POLICY = Completion(first_poll_s=2, longest_poll_s=20, give_up_s=100, most_open=5)


def promised(count: int, call: str = "call", *, policy: Completion = POLICY, now: float = 0.0) -> OpenTickets:
    tickets = OpenTickets(policy)
    tickets.add(batch_of(range(1, count + 1), id=1), {i: f"t{i}" for i in range(count)}, call, now)
    return tickets


def next_of(tickets: OpenTickets) -> tuple[float, Question]:
    """Give the next question, and when its time comes."""
    at = tickets.next_due()
    assert tickets.take(math.nextafter(at, -math.inf)) is None
    question = tickets.take(at)
    assert question is not None
    return at, question


def times(tickets: OpenTickets, rounds: int) -> list[float]:
    """Ask in vain so many times; give when each question came."""
    found = []
    for _ in range(rounds):
        at, question = next_of(tickets)
        tickets.answered(question, (), at)
        found.append(at)
    return found


# ---------------------------------------------------------------- when


def test_what_is_asked_ticket_by_ticket_does_not_hold_up_whole_calls() -> None:
    tickets = promised(40, call="")
    first = tickets.take(2.0)
    assert first is not None
    tickets.add(batch_of(range(41, 61), id=2), {i: f"u{i}" for i in range(20)}, "call", 0.0)
    asked = [tickets.take(2.0) for _ in range(3)]
    assert "call" in [question.call for question in asked if question is not None]


def test_the_first_question_comes_after_first_poll_s_and_then_the_wait_doubles_to_the_longest() -> None:
    assert times(promised(3, now=1000.0), 7) == [1002, 1006, 1014, 1030, 1050, 1070, 1090]


def test_there_is_a_question_just_when_the_time_is_over_and_only_that_one_is_the_last() -> None:
    tickets = promised(3)
    assert times(tickets, 7)[-1] == 90
    at, question = next_of(tickets)
    assert (at, question.last) == (100, True)


def test_a_last_question_that_brought_nothing_is_asked_again() -> None:
    tickets = promised(1, policy=Completion(first_poll_s=2, longest_poll_s=20, give_up_s=1))
    for expected in (2, 6, 14):
        at, question = next_of(tickets)
        assert (at, question.last) == (expected, True)
        tickets.answered(question, (), at)


def test_the_wait_is_counted_from_the_answer() -> None:
    tickets = promised(1)
    _, question = next_of(tickets)
    tickets.answered(question, (), 50.0)
    assert tickets.next_due() == 54


def test_nothing_is_asked_while_an_answer_is_awaited() -> None:
    tickets = promised(3)
    next_of(tickets)
    assert tickets.next_due() == math.inf
    assert tickets.take(1e6) is None


def test_what_an_earlier_process_was_promised_is_asked_after_at_once_and_its_time_begins_anew() -> None:
    tickets = OpenTickets(POLICY)
    batch = batch_of([4, 7], id=9, sends=1)
    tickets.take_up(batch, Promise(pa.array(["a", "b"]), "call"), now=1000.0)
    at, question = next_of(tickets)
    assert (at, question.tickets, question.call, question.last) == (1000, {0: "a", 1: "b"}, "call", False)
    assert (question.batch.id, question.batch.sends) == (9, 1)
    tickets.answered(question, (), at)
    assert times(tickets, 7)[-1] == 1100


# ---------------------------------------------------------------- which


def test_only_the_promised_items_of_a_batch_are_kept_and_their_tickets_belong_to_them() -> None:
    tickets = OpenTickets(POLICY)
    tickets.add(batch_of(range(1, 10), id=5), {2: "two", 7: "seven"}, "call", 0.0)
    _, question = next_of(tickets)
    assert question.batch.keys() == [key_of(3), key_of(8)]
    assert question.tickets == {0: "two", 1: "seven"}
    assert question.batch.id == 5


def test_without_a_call_each_ticket_is_a_question_of_its_own() -> None:
    tickets = promised(3, call="")
    found = [tickets.take(2.0) for _ in range(4)]
    assert [question.tickets for question in found if question] == [{0: "t0"}, {1: "t1"}, {2: "t2"}]
    assert found[3] is None


def test_a_round_of_single_questions_is_over_when_all_are_answered() -> None:
    tickets = promised(2, call="")
    first, second = tickets.take(2.0), tickets.take(2.0)
    assert first is not None
    assert second is not None
    tickets.answered(second, (), 3.0)
    assert tickets.next_due() == math.inf
    tickets.answered(first, {0}, 5.0)
    assert tickets.next_due() == 9
    _, question = next_of(tickets)
    assert [*question.tickets.values()] == ["t1"]


def test_what_is_done_is_not_asked_after_again() -> None:
    tickets = promised(3)
    at, question = next_of(tickets)
    tickets.answered(question, {0, 2}, at)
    assert tickets.items == 1
    at, question = next_of(tickets)
    ((index, ticket),) = question.tickets.items()
    assert (ticket, question.batch.keys()[index]) == ("t1", key_of(2))
    tickets.answered(question, {index}, at)
    assert (tickets.items, tickets.next_due()) == (0, math.inf)


def test_what_an_answer_for_a_call_leaves_out_is_asked_one_by_one_in_the_same_round() -> None:
    tickets = promised(4)
    at, question = next_of(tickets)
    tickets.answered(question, {0}, at, singly={1, 3})
    singles = [tickets.take(at), tickets.take(at)]
    assert [(single.tickets, single.call) for single in singles if single] == [
        ({1: "t1"}, ""),
        ({3: "t3"}, ""),
    ]
    assert tickets.take(at) is None
    for single in singles:
        assert single is not None
        tickets.answered(single, (), at)
    at, question = next_of(tickets)
    assert (at, question.call, sorted(question.tickets)) == (6, "call", [1, 2, 3])


def test_a_call_that_cannot_be_asked_after_as_a_whole_is_asked_one_by_one_from_then_on() -> None:
    tickets = promised(2)
    at, question = next_of(tickets)
    tickets.answered(question, (), at, singly={0, 1}, call_refused=True)
    for at in (2.0, 6.0):
        assert tickets.next_due() <= at
        singles = [tickets.take(at), tickets.take(at)]
        assert [single.call for single in singles if single] == ["", ""]
        for single in singles:
            assert single is not None
            tickets.answered(single, (), at)


def test_what_is_asked_one_by_one_at_the_last_is_asked_for_the_last_time() -> None:
    tickets = promised(2, policy=Completion(first_poll_s=2, give_up_s=1))
    at, question = next_of(tickets)
    tickets.answered(question, (), at, singly={0, 1})
    single = tickets.take(at)
    assert single is not None
    assert single.last


def test_after_the_last_round_a_call_that_has_told_all_it_can_is_not_asked_after_again() -> None:
    tickets = promised(2, policy=Completion(first_poll_s=2, longest_poll_s=20, give_up_s=1))
    at, question = next_of(tickets)
    assert (question.call, question.last) == ("call", True)
    tickets.answered(question, (), at, singly={0, 1})
    for _ in range(3):
        for _ in range(2):
            at, question = next_of(tickets) if tickets.next_due() > at else (at, tickets.take(at))
            assert question is not None
            assert (question.call, len(question.tickets), question.last) == ("", 1, True)
            tickets.answered(question, (), at)


def test_the_call_that_waited_longest_is_asked_after_first() -> None:
    tickets = promised(1, call="first")
    tickets.add(batch_of([2], id=2), {0: "t"}, "second", 1.0)
    assert [question.call for question in (tickets.take(9.0), tickets.take(9.0)) if question] == [
        "first",
        "second",
    ]


def test_no_more_is_read_while_as_many_promises_are_open_as_allowed() -> None:
    tickets = promised(5)
    assert tickets.full
    at, question = next_of(tickets)
    tickets.answered(question, {3}, at)
    assert not tickets.full


@settings(max_examples=100, deadline=None)
@given(
    calls=st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=5),
    seed=st.integers(0, 2**32),
)
def test_every_ticket_is_asked_after_until_it_is_done_and_never_twice_at_once(
    calls: list[tuple[int, bool]], seed: int
) -> None:
    rng, now = random.Random(seed), 0.0
    tickets = OpenTickets(POLICY)
    left: set[str] = set()
    for number, (items, whole) in enumerate(calls):
        names = {index: f"{number}.{index}" for index in range(items)}
        left.update(names.values())
        tickets.add(batch_of(range(1, items + 1), id=number), names, str(number) if whole else "", now)
    under_way: list[Question] = []
    for step in range(1000):
        question = tickets.take(now) if rng.random() < 0.7 else None
        if question is not None:
            assert not {*question.tickets.values()} & {
                t for other in under_way for t in other.tickets.values()
            }
            under_way.append(question)
        elif under_way and rng.random() < 0.7:
            question = under_way.pop(rng.randrange(len(under_way)))
            done = {index for index in question.tickets if step > 200 or rng.random() < 0.2}
            rest = {*question.tickets} - done if question.call else set()
            singly = {index for index in rest if rng.random() < 0.3}
            refused = bool(singly) and singly == {*question.tickets}
            tickets.answered(question, done, now, singly=singly, call_refused=refused)
            left -= {question.tickets[index] for index in done}
        else:
            now = max(now, min(tickets.next_due(), now + 500)) + rng.choice([0.0, 5.0])
        assert tickets.items == len(left)
    assert not left


# ---------------------------------------------------------------- small


def wide_batch(items: int) -> Batch:
    """Give a batch as a delivery has it: items of some 120 bytes, source rows of five cells."""
    places = range(1, items + 1)
    head = '{"subscriberIdentifiers":{"type":"ICCID","value":"'
    payload = [f'{head}{key_of(place)}"}},"content":{{"alias":"unit {place}"}}}},' for place in places]
    names = ("ICCID", "unit", "site", "order", "note")
    cells = [pa.array([f"{name} {place:09d}" for place in places]) for name in names]
    columns = [
        pa.array(places, pa.int64()),
        pa.array([f"ICCID:{key_of(place)}" for place in places]),
        pa.array(payload),
        pa.StructArray.from_arrays(cells, names=[str(number) for number in range(5)]),
    ]
    return Batch(pa.RecordBatch.from_arrays(columns, names=list(ITEM_COLUMNS)))


def test_a_hundred_thousand_open_tickets_cost_less_than_100_mb() -> None:
    calls, items = 500, 200
    batch = wide_batch(items)
    gc.collect()
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        tickets = OpenTickets(Completion())
        for call in range(calls):
            given = {index: f"{call:08x}-4a0c-4b6e-9d2f-{index:012x}" for index in range(items)}
            tickets.add(batch, given, f"{call:08x}-4a0c-4b6e-9d2f-000000000000", 0.0)
        python_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tickets.items == calls * items
    assert python_bytes + pa.total_allocated_bytes() - before < 100e6


def test_one_item_that_is_never_finished_does_not_keep_its_whole_call_in_memory() -> None:
    tickets = OpenTickets(Completion())
    before = pa.total_allocated_bytes()
    tickets.add(wide_batch(10_000), {index: f"t{index}" for index in range(10_000)}, "call", 0.0)
    at, question = next_of(tickets)
    slow = question.batch.keys()[7_000]
    tickets.answered(question, {*question.tickets} - {7_000}, at)
    del question
    assert pa.total_allocated_bytes() - before < 20_000
    _, question = next_of(tickets)
    assert ([*question.tickets.values()], question.batch.keys()) == (["t7000"], [slow])


def test_a_ticket_that_several_open_items_held_once_is_shared_for_good() -> None:
    tickets = promised(2)
    tickets.add(batch_of([7], id=2), {0: "t1"}, "other call", 0.0)
    assert [tickets.shared(ticket) for ticket in ("t0", "t1", "never given")] == [False, True, False]
    at, question = next_of(tickets)
    tickets.answered(question, {0, 1}, at)
    assert tickets.shared("t1")
    tickets.add(batch_of([8], id=3), {0: "t0"}, "third call", at)
    assert not tickets.shared("t0")


def test_the_rest_of_a_batch_is_not_kept_in_memory() -> None:
    tickets = OpenTickets(Completion())
    before = pa.total_allocated_bytes()
    tickets.add(wide_batch(10_000), {3: "t"}, "call", 0.0)
    assert pa.total_allocated_bytes() - before < 20_000


@pytest.mark.parametrize("most_open", [1, 4])
def test_a_bound_below_one_batch_still_lets_a_batch_in(most_open: int) -> None:
    tickets = promised(5, policy=Completion(most_open=most_open))
    assert tickets.items == 5
    assert tickets.full
