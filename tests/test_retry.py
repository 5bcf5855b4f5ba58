"""What becomes of a batch after a send: DESIGN's invariants 3 and 4 and its table of statuses."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st
from ledger_making import batch_of

from pipeline.model import (
    Again,
    Batch,
    Decision,
    Fault,
    FaultKind,
    Final,
    Ruling,
    Settlement,
    Status,
    Verdict,
    Verdicts,
)
from pipeline.retry import Vendor, backoff_s, decide
from pipeline.settings import Retry
from pipeline.settlement import settlement_of

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = Retry(attempts=3, first_wait_s=1, longest_wait_s=8, settle_s=5)
BUSY = Fault(FaultKind.NOT_CARRIED_OUT, "http_503", "HTTP 503")
LOST = Fault(FaultKind.LOST, "timeout", "no answer")
NO = Fault(FaultKind.REFUSED, "000101", "malformed")
TOO_LARGE = Fault(FaultKind.TOO_LARGE, "http_413", "HTTP 413")
STOP = Fault(FaultKind.STOP, "http_401", "HTTP 401")
CHANCE = 0.5


def items(count: int, **facts: object) -> Batch:
    return batch_of(range(1, count + 1), id=1, **facts)


def the_only(decision: Decision) -> Again:
    (again,) = decision.again
    assert not decision.final
    return again


def statuses(decision: Decision) -> set[Status]:
    return {final.status for final in decision.final.values()}


def said(count: int, ruling: Ruling, reason: str = "so it is") -> Verdicts:
    return Verdicts(count, dict.fromkeys(range(count), Verdict(ruling, "c", reason)))


# ---------------------------------------------------------------- not carried out


def test_what_was_not_carried_out_goes_out_again_as_it_was_and_its_claim_is_void() -> None:
    decision = decide(items(4, most_items=7), BUSY, POLICY, chance=CHANCE)
    again = the_only(decision)
    assert decision.void
    assert again.indices == (0, 1, 2, 3)
    assert (again.sends, again.tries, again.in_doubt, again.most_items) == (1, 1, False, 7)


def test_a_refused_connection_is_no_send_but_a_try() -> None:
    again = the_only(decide(items(2), replace(BUSY, reached=False), POLICY, chance=CHANCE))
    assert (again.sends, again.tries) == (0, 1)


def test_a_push_back_holds_the_shared_pace_as_long_as_the_batch_waits() -> None:
    decision = decide(items(2), BUSY, POLICY, chance=CHANCE)
    assert decision.hold_s == the_only(decision).wait_s == 0.5


def test_a_vendors_wish_is_never_cut_short() -> None:
    decision = decide(items(2), replace(BUSY, retry_after_s=90.0), POLICY, chance=CHANCE)
    assert the_only(decision).wait_s == decision.hold_s == 90


def test_a_shorter_wish_than_our_own_wait_changes_nothing() -> None:
    decision = decide(items(2, tries=1), replace(BUSY, retry_after_s=0.1), POLICY, chance=0.9)
    assert the_only(decision).wait_s == pytest.approx(1.8)


def test_a_passing_fault_still_there_after_the_last_attempt_gives_up() -> None:
    decision = decide(items(2, sends=2, tries=2), BUSY, POLICY, chance=CHANCE)
    assert decision.final == dict.fromkeys((0, 1), Final(Status.GAVE_UP, "http_503", "HTTP 503"))
    assert not decision.again


def test_a_batch_is_sent_exactly_attempts_times_before_it_is_given_up() -> None:
    story = tell(items(1), POLICY, lambda batch: BUSY)
    assert (story.rounds, story.ends) == (3, Counter({Status.GAVE_UP: 1}))


def test_an_item_in_doubt_is_not_given_up_by_a_push_back() -> None:
    decision = decide(items(2, sends=2, tries=2, in_doubt=True), BUSY, POLICY, chance=CHANCE)
    assert statuses(decision) == {Status.IN_DOUBT}


def test_a_vendor_that_stays_away_stops_the_run_with_its_rows_unsent() -> None:
    decision = decide(items(2, sends=2, tries=2), BUSY, POLICY, chance=CHANCE, vendor=Vendor.AWAY)
    assert decision == Decision(void=True, stop=BUSY)


def test_no_attempts_are_used_up_while_everything_fails_in_a_passing_way() -> None:
    decision = decide(items(2, tries=2), BUSY, POLICY, chance=CHANCE, vendor=Vendor.FAILING)
    assert the_only(decision).tries == 2


@pytest.mark.parametrize(("known", "most"), [(0, 500), (999, 999), (250, 250), (1000, 500)])
def test_a_batch_refused_for_its_size_goes_again_at_the_size_that_is_known_to_pass(
    known: int, most: int
) -> None:
    decision = decide(items(1000), TOO_LARGE, POLICY, chance=CHANCE, most_items=known)
    assert the_only(decision).most_items == most
    assert decision.void


def test_the_last_attempts_retry_after_holds_the_shared_pace_too() -> None:
    decision = decide(items(2, tries=2), replace(BUSY, retry_after_s=30.0), POLICY, chance=CHANCE)
    assert decision.hold_s == 30


def test_a_batch_turned_away_because_the_run_stops_is_not_given_up() -> None:
    # Pace.permit raises this at whoever waits when the operator presses Ctrl-C: no attempt was made.
    stopping = Fault(FaultKind.WITHDRAWN, "stopping", "the run is stopping", reached=False)
    decision = decide(items(2, tries=2), stopping, POLICY, chance=CHANCE)
    assert decision.void
    assert not decision.final


def test_a_refused_connection_at_the_last_attempt_is_not_counted_as_a_send() -> None:
    batch = items(1, sends=0, tries=2)
    decision = decide(batch, replace(BUSY, reached=False), POLICY, chance=CHANCE)
    (row,) = settlement_of(batch, decision).exceptional
    assert row.sends == 0


# ---------------------------------------------------------------- lost


def test_a_lost_answer_leaves_all_in_doubt_and_sends_again_after_settling() -> None:
    decision = decide(items(1000), LOST, POLICY, chance=CHANCE)
    again = the_only(decision)
    assert not decision.void
    assert (again.in_doubt, again.sends, again.most_items) == (True, 1, 500)
    assert again.wait_s == 5.5


def test_a_repeat_in_a_smaller_batch_does_not_count_as_a_try() -> None:
    assert the_only(decide(items(2, tries=2), LOST, POLICY, chance=CHANCE)).tries == 2


def test_a_repeat_of_a_single_item_counts_as_a_try() -> None:
    assert the_only(decide(items(1), LOST, POLICY, chance=CHANCE)).tries == 1


def test_a_single_item_without_an_answer_to_the_end_is_in_doubt() -> None:
    decision = decide(items(1, sends=5, tries=2, in_doubt=True), LOST, POLICY, chance=CHANCE)
    assert decision.final == {0: Final(Status.IN_DOUBT, "timeout", "no answer")}


def test_a_lost_answer_with_retry_after_holds_the_shared_pace() -> None:
    assert decide(items(2), replace(LOST, retry_after_s=20.0), POLICY, chance=CHANCE).hold_s == 20
    assert decide(items(2), LOST, POLICY, chance=CHANCE).hold_s == 0


# ---------------------------------------------------------------- refused as a whole


@pytest.mark.parametrize("fault", [NO, TOO_LARGE])
@pytest.mark.parametrize(("count", "half"), [(2, 1), (3, 2), (999, 500), (1000, 500)])
def test_a_batch_refused_as_a_whole_is_halved_at_once_and_that_is_no_try(
    fault: Fault, count: int, half: int
) -> None:
    decision = decide(items(count, tries=1), fault, POLICY, chance=CHANCE)
    again = the_only(decision)
    assert decision.void
    assert (again.most_items, again.tries, again.wait_s, again.in_doubt) == (half, 1, 0, False)
    assert len(again.indices) == count


@pytest.mark.parametrize("fault", [NO, TOO_LARGE])
def test_the_bad_one_that_stands_alone_is_refused_in_the_vendors_words(fault: Fault) -> None:
    decision = decide(items(1), fault, POLICY, chance=CHANCE)
    assert decision.final == {0: Final(Status.REFUSED, fault.code, fault.reason)}


@pytest.mark.parametrize("fault", [NO, TOO_LARGE])
def test_an_envelopes_no_does_not_settle_what_an_unanswered_send_did(fault: Fault) -> None:
    assert the_only(decide(items(2, in_doubt=True), fault, POLICY, chance=CHANCE)).in_doubt
    assert statuses(decide(items(1, in_doubt=True), fault, POLICY, chance=CHANCE)) == {Status.IN_DOUBT}


def test_one_bad_item_sinks_none_of_its_neighbours() -> None:
    story = tell(items(1000), POLICY, lambda batch: NO if 617 in positions(batch) else Verdicts(len(batch)))
    assert story.ends == {Status.SUCCEEDED: 999, Status.REFUSED: 1}
    assert story.refused == [617]


@pytest.mark.parametrize("in_doubt", [False, True])
def test_what_stops_the_run_gives_no_verdict_on_any_item(in_doubt: bool) -> None:  # noqa: FBT001 - a case
    decision = decide(items(3, tries=2, in_doubt=in_doubt), STOP, POLICY, chance=CHANCE)
    assert decision == Decision(void=True, stop=STOP)


# ---------------------------------------------------------------- answers to items


def test_a_reply_of_plain_successes_needs_no_word() -> None:
    assert decide(items(1000), Verdicts(1000), POLICY, chance=CHANCE) == Decision()


@pytest.mark.parametrize(
    ("ruling", "in_doubt", "status"),
    [
        (Ruling.SUCCEEDED, False, Status.SUCCEEDED),
        (Ruling.SUCCEEDED, True, Status.SUCCEEDED),
        (Ruling.EXISTS, False, Status.REFUSED),
        (Ruling.EXISTS, True, Status.CONFIRMED),
        (Ruling.REFUSED, False, Status.REFUSED),
        (Ruling.REFUSED, True, Status.REFUSED),
    ],
)
def test_the_table_of_statuses(ruling: Ruling, in_doubt: bool, status: Status) -> None:  # noqa: FBT001 - a case
    decision = decide(items(1, in_doubt=in_doubt), said(1, ruling), POLICY, chance=CHANCE)
    assert decision.final == {0: Final(status, "c", "so it is")}


def test_already_there_after_clean_answers_only_is_never_confirmed() -> None:
    decision = decide(items(1, sends=4, tries=1), said(1, Ruling.EXISTS), POLICY, chance=CHANCE)
    assert statuses(decision) == {Status.REFUSED}


def test_an_item_that_passes_with_time_goes_out_again_and_its_neighbours_are_settled() -> None:
    verdicts = Verdicts(3, {1: Verdict(Ruling.PASSING, "busy", "try again")})
    decision = decide(items(3), verdicts, POLICY, chance=CHANCE)
    again = the_only(decision)
    assert not decision.void
    assert (again.indices, again.tries, again.in_doubt, again.wait_s) == ((1,), 1, False, 0.5)


def test_a_passing_answer_does_not_take_the_doubt_away() -> None:
    again = the_only(decide(items(1, in_doubt=True), said(1, Ruling.PASSING), POLICY, chance=CHANCE))
    assert again.in_doubt


@pytest.mark.parametrize(("in_doubt", "status"), [(False, Status.GAVE_UP), (True, Status.IN_DOUBT)])
def test_a_passing_answer_to_the_end(in_doubt: bool, status: Status) -> None:  # noqa: FBT001 - a case
    batch = items(1, sends=2, tries=2, in_doubt=in_doubt)
    assert statuses(decide(batch, said(1, Ruling.PASSING), POLICY, chance=CHANCE)) == {status}


def test_an_item_without_a_word_is_in_doubt_and_goes_out_in_a_smaller_batch() -> None:
    verdicts = Verdicts(10, {9: Verdict(Ruling.OPEN, "reply_short", "no word")})
    again = the_only(decide(items(10, tries=2), verdicts, POLICY, chance=CHANCE))
    assert (again.indices, again.in_doubt, again.most_items, again.tries) == ((9,), True, 5, 2)
    assert again.wait_s >= POLICY.settle_s


def test_every_final_word_is_the_items_own() -> None:
    verdicts = Verdicts(2, {i: Verdict(Ruling.PASSING, f"c{i}", f"r{i}") for i in range(2)})
    decision = decide(items(2, tries=2), verdicts, POLICY, chance=CHANCE)
    assert decision.final == {i: Final(Status.GAVE_UP, f"c{i}", f"r{i}") for i in range(2)}


# ---------------------------------------------------------------- promised, untouched


def test_a_promised_item_is_neither_final_nor_sent_again_and_its_ticket_is_kept() -> None:
    verdicts = Verdicts(2, {1: Verdict(Ruling.PROMISED, ticket="t1")}, call="call")
    decision = decide(items(2), verdicts, POLICY, chance=CHANCE)
    assert decision == Decision(promised={1: "t1"}, call="call")


@pytest.mark.parametrize("in_doubt", [False, True])
def test_what_was_untouched_for_its_neighbours_sake_goes_again_at_once_without_them(in_doubt: bool) -> None:  # noqa: FBT001 - a case
    failed = Verdict(Ruling.REFUSED, "SUBSCRIBER_1002", "does not exist")
    verdicts = Verdicts(3, dict.fromkeys((0, 2), Verdict(Ruling.UNTOUCHED)) | {1: failed})
    decision = decide(items(3, tries=2, in_doubt=in_doubt, most_items=7), verdicts, POLICY, chance=CHANCE)
    (again,) = decision.again
    assert (again.indices, again.wait_s, again.tries, again.in_doubt) == ((0, 2), 0, 2, in_doubt)
    assert (again.most_items, again.sends) == (7, 1)
    assert statuses(decision) == {Status.REFUSED}


def test_a_batch_untouched_as_a_whole_would_never_shrink_and_so_is_in_doubt() -> None:
    again = the_only(decide(items(4), said(4, Ruling.UNTOUCHED), POLICY, chance=CHANCE))
    assert (again.in_doubt, again.most_items) == (True, 2)


def test_an_unknown_ticket_in_the_answer_to_a_send_is_no_trustworthy_word() -> None:
    decided = [
        decide(items(4), said(4, ruling), POLICY, chance=CHANCE) for ruling in (Ruling.UNKNOWN, Ruling.OPEN)
    ]
    assert decided[0] == decided[1]


def test_what_goes_again_bears_in_mind_that_its_ticket_was_forgotten() -> None:
    batch = items(2, forgotten=True)
    for ruling in (Ruling.PASSING, Ruling.OPEN):
        assert the_only(decide(batch, said(2, ruling), POLICY, chance=CHANCE)).forgotten
    assert the_only(decide(batch, BUSY, POLICY, chance=CHANCE)).forgotten
    assert the_only(decide(batch, NO, POLICY, chance=CHANCE)).forgotten


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 40), data=st.data())
def test_naks_end_whatever_part_of_the_failed_ones_each_names(count: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(1, count)))

    def vendor(batch: Batch) -> Verdicts:
        here = [index for index, position in enumerate(positions(batch)) if position in bad]
        if not here:
            return Verdicts(len(batch))
        named = data.draw(st.sets(st.sampled_from(here), min_size=1))
        rest = Verdict(Ruling.UNTOUCHED)
        return Verdicts(
            len(batch),
            {i: Verdict(Ruling.REFUSED, "c", "r") if i in named else rest for i in range(len(batch))},
        )

    story = tell(items(count), POLICY, vendor)
    assert story.rounds <= len(bad) + 1
    assert story.refused == sorted(bad)
    assert story.ends[Status.SUCCEEDED] == count - len(bad)


# ---------------------------------------------------------------- waits


def test_waits_double_up_to_the_longest() -> None:
    assert [backoff_s(POLICY, tries, 1.0) for tries in range(5)] == [1, 2, 4, 8, 8]


@pytest.mark.parametrize("tries", [100, 5000])
def test_a_very_late_try_still_has_a_wait(tries: int) -> None:
    assert backoff_s(POLICY, tries, 0.5) == 4


@given(
    tries=st.integers(0, 200),
    chance=st.floats(0, 1, exclude_max=True),
    first=st.floats(0, 1e3),
    longest=st.floats(0, 1e4),
)
def test_a_wait_lies_within_the_bounds_of_full_jitter(
    tries: int, chance: float, first: float, longest: float
) -> None:
    policy = Retry(first_wait_s=first, longest_wait_s=longest)
    assert 0 <= backoff_s(policy, tries, chance) <= min(longest, first * 2.0**tries)


# ---------------------------------------------------------------- properties


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    return Fault(
        draw(st.sampled_from(sorted({*FaultKind} - {FaultKind.WITHDRAWN}))),
        "code",
        "reason",
        draw(st.none() | st.floats(0, 1e4)),
        reached=draw(st.booleans()),
    )


@st.composite
def verdicts_for(draw: st.DrawFn, count: int) -> Verdicts:
    rulings = draw(st.dictionaries(st.integers(0, count - 1), st.sampled_from(Ruling), max_size=count))
    return Verdicts(
        count, {i: Verdict(ruling, "c", "r", f"t{i}") for i, ruling in rulings.items()}, call="call"
    )


@st.composite
def sends(draw: st.DrawFn) -> tuple[Batch, Verdicts | Fault, Retry]:
    policy = Retry(
        attempts=draw(st.integers(1, 7)),
        first_wait_s=draw(st.floats(0, 10)),
        longest_wait_s=draw(st.floats(0, 100)),
        settle_s=draw(st.floats(0, 100)),
    )
    count, tries = draw(st.integers(1, 12)), draw(st.integers(0, policy.attempts - 1))
    batch = items(
        count,
        sends=tries + draw(st.integers(0, 3)),
        tries=tries,
        in_doubt=draw(st.booleans()),
        most_items=draw(st.sampled_from([0, count, count + 5])),
    )
    return batch, draw(faults() | verdicts_for(count)), policy


@settings(max_examples=300, deadline=None)
@given(send=sends(), chance=st.floats(0, 1, exclude_max=True), vendor=st.sampled_from(Vendor))
def test_every_item_is_final_or_goes_again_or_plainly_succeeded(
    send: tuple[Batch, Verdicts | Fault, Retry],
    chance: float,
    vendor: Vendor,
) -> None:
    batch, outcome, policy = send
    decision = decide(batch, outcome, policy, chance=chance, vendor=vendor)
    told = [*decision.final, *decision.promised, *(i for again in decision.again for i in again.indices)]
    assert len(told) == len(set(told))
    plain = set(range(len(batch))) - set(told)
    if decision.stop is not None:
        assert decision.void
        assert not told
    elif isinstance(outcome, Fault):
        assert not plain, "no fault makes a success"
    else:
        assert plain == set(range(len(batch))) - set(outcome.exceptions)
        kept = [i for i, verdict in outcome.exceptions.items() if verdict.ruling is Ruling.PROMISED]
        assert decision.promised == {index: f"t{index}" for index in kept}
        assert decision.call == "call"
    assert not (decision.void and decision.final)


@settings(max_examples=300, deadline=None)
@given(send=sends(), chance=st.floats(0, 1, exclude_max=True), vendor=st.sampled_from(Vendor))
def test_doubt_stays_until_an_answer_to_the_item_itself(
    send: tuple[Batch, Verdicts | Fault, Retry],
    chance: float,
    vendor: Vendor,
) -> None:
    batch, outcome, policy = send
    decision = decide(batch, outcome, policy, chance=chance, vendor=vendor)
    for again in decision.again:
        assert again.in_doubt or not batch.in_doubt
        assert again.sends >= batch.sends
        assert again.tries >= batch.tries
    for index, final in decision.final.items():
        ruling = None if isinstance(outcome, Fault) else outcome.exceptions[index].ruling
        if batch.in_doubt and ruling in (None, Ruling.PASSING, Ruling.OPEN, Ruling.UNKNOWN, Ruling.UNTOUCHED):
            assert final.status is Status.IN_DOUBT
        if final.status.good:
            assert ruling is Ruling.SUCCEEDED or (ruling is Ruling.EXISTS and batch.in_doubt)
        if final.status is Status.CONFIRMED:
            assert batch.in_doubt


@settings(max_examples=300, deadline=None)
@given(send=sends(), chance=st.floats(0, 1, exclude_max=True))
def test_every_wait_is_as_long_as_the_rules_ask(
    send: tuple[Batch, Verdicts | Fault, Retry], chance: float
) -> None:
    batch, outcome, policy = send
    for again in decide(batch, outcome, policy, chance=chance).again:
        split = isinstance(outcome, Fault) and outcome.kind in (FaultKind.REFUSED, FaultKind.TOO_LARGE)
        wish_s = 0.0
        if is_untouched(outcome, again):
            assert (again.wait_s, again.in_doubt, again.tries) == (0, batch.in_doubt, batch.tries)
            continue
        doubted = again.in_doubt and not split and not is_passing(outcome, again)
        jitter = min(policy.longest_wait_s, policy.first_wait_s * 2.0**batch.tries)
        if isinstance(outcome, Fault) and outcome.kind is FaultKind.NOT_CARRIED_OUT:
            wish_s = outcome.retry_after_s or 0.0
        least = policy.settle_s if doubted else wish_s
        most = (policy.settle_s if doubted else 0.0) + jitter
        assert least <= again.wait_s <= max(most, wish_s)


def is_passing(outcome: Verdicts | Fault, again: Again) -> bool:
    if isinstance(outcome, Fault):
        return outcome.kind is FaultKind.NOT_CARRIED_OUT
    return all(outcome.exceptions[index].ruling is Ruling.PASSING for index in again.indices)


def is_untouched(outcome: Verdicts | Fault, again: Again) -> bool:
    """Tell whether these items only have to go without their neighbours; some of those must stay away."""
    if isinstance(outcome, Fault) or len(again.indices) == outcome.items:
        return False
    return all(outcome.exceptions[index].ruling is Ruling.UNTOUCHED for index in again.indices)


# ---------------------------------------------------------------- the whole story


@dataclass
class Story:
    """How it ended for every position, and how many sends it took. A promise ends a story here."""

    ends: Counter[Status]
    refused: list[int]
    rounds: int
    stopped: bool
    promised: int = 0


def positions(batch: Batch) -> list[int]:
    found: list[int] = batch.items.column("position").to_pylist()
    return found


def parts(batch: Batch, again: Again) -> list[Batch]:
    """Send again as the backlog does, each part for itself."""
    size = again.most_items or len(batch)
    return [
        Batch(
            batch.items.take(list(again.indices[start : start + size])),
            1,
            again.sends,
            again.tries,
            again.in_doubt,
            again.most_items,
        )
        for start in range(0, len(again.indices), size)
    ]


def tell(first: Batch, policy: Retry, vendor: Callable[[Batch], Verdicts | Fault]) -> Story:
    """Apply `decide` until nothing goes out again."""
    ends: dict[int, Status] = {}
    promised: set[int] = set()
    waiting, rounds = [first], 0
    # Besides its tries and the halvings, an item may go again for the sake of each of its neighbours.
    bound = (2 * len(first) + 1) * (policy.attempts + 1) * 2 + len(first) ** 2
    while waiting:
        batch = waiting.pop()
        rounds += 1
        assert rounds <= bound, "the story does not end"
        decision = decide(batch, vendor(batch), policy, chance=CHANCE)
        if decision.stop is not None:
            return Story(Counter(ends.values()), [], rounds, stopped=True)
        settled: Settlement = settlement_of(batch, decision)
        named = {row.position: row.status for row in settled.exceptional}
        promised.update(row.position for row in settled.exceptional if row.ticket)
        for position in [] if settled.void or settled.lost else positions(batch):
            status = named.get(position, Status.SUCCEEDED)
            if status is not None:
                assert position not in ends, "no row ends twice"
                ends[position] = status
        for again in decision.again:
            waiting += parts(batch, again)
    assert sorted([*ends, *promised]) == positions(first)
    refused = sorted(position for position, status in ends.items() if status is Status.REFUSED)
    return Story(Counter(ends.values()), refused, rounds, stopped=False, promised=len(promised))


@settings(max_examples=150, deadline=None)
@given(count=st.integers(1, 20), attempts=st.integers(1, 4), data=st.data())
def test_the_story_of_a_batch_always_ends_with_every_row_in_one_status(
    count: int, attempts: int, data: st.DataObject
) -> None:
    def vendor(batch: Batch) -> Verdicts | Fault:
        return data.draw(faults() | verdicts_for(len(batch)))

    story = tell(items(count), POLICY.model_copy(update={"attempts": attempts}), vendor)
    assert story.stopped or sum(story.ends.values()) + story.promised == count


def test_a_vendor_that_never_answers_leaves_every_row_in_doubt() -> None:
    assert tell(items(64), POLICY, lambda batch: LOST).ends == {Status.IN_DOUBT: 64}


def test_a_vendor_that_is_busy_after_a_lost_answer_leaves_every_row_in_doubt() -> None:
    story = tell(items(8), POLICY, lambda batch: BUSY if batch.in_doubt else LOST)
    assert story.ends == {Status.IN_DOUBT: 8}


def test_a_vendor_that_took_all_but_lost_the_answer_confirms_every_row() -> None:
    story = tell(items(8), POLICY, lambda batch: said(len(batch), Ruling.EXISTS) if batch.sends else LOST)
    assert (story.ends, story.rounds) == ({Status.CONFIRMED: 8}, 3)


def test_an_item_that_is_there_already_is_good_where_loads_are_repeated() -> None:
    there = Verdicts(1, {0: Verdict(Ruling.EXISTS, "exists", "the iccid is exist in db")})
    decision = decide(items(1), there, POLICY, chance=CHANCE, exists_is_good=True)
    assert decision.final[0].status is Status.SUCCEEDED
    decision = decide(items(1, in_doubt=True), there, POLICY, chance=CHANCE, exists_is_good=True)
    assert decision.final[0].status is Status.CONFIRMED
