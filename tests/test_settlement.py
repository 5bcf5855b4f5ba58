"""A decision as the ledger keeps it: only rows that need a word of their own, and those complete."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st
from ledger_making import batch_of, key_of

from pipeline.model import (
    STILL_OPEN,
    Again,
    Batch,
    Completion,
    Decision,
    Exceptional,
    Fault,
    FaultKind,
    Final,
    Ruling,
    Setback,
    Settlement,
    Status,
    Verdict,
    Verdicts,
)
from pipeline.settlement import completion_of, settlement_of

NO = Final(Status.REFUSED, "failed", "no such apn")


def again(*indices: int, in_doubt: bool = False, sends: int = 1) -> Again:
    return Again(indices, wait_s=1, in_doubt=in_doubt, sends=sends, tries=1, code="busy", reason="later")


def test_a_batch_of_plain_first_successes_needs_no_rows() -> None:
    assert settlement_of(batch_of([5, 6, 7], id=3), Decision()) == Settlement(3)


def test_a_void_decision_undoes_the_claim_and_says_nothing_of_its_rows() -> None:
    decision = Decision(again=(again(0, 1),), void=True)
    assert settlement_of(batch_of([5, 6], id=3), decision) == Settlement(3, void=True)


def test_a_batch_that_is_in_doubt_as_a_whole_at_its_first_send_needs_no_rows() -> None:
    decision = Decision(again=(again(0, 1, 2, in_doubt=True),))
    assert settlement_of(batch_of([5, 6, 7], id=3), decision) == Settlement(3, lost=True)


def test_a_batch_in_doubt_for_what_its_answer_said_keeps_those_words() -> None:
    decision = Decision(again=(again(0, 1, in_doubt=True),))
    short = Verdict(Ruling.OPEN, "busy", "later")
    settlement = settlement_of(batch_of([5, 6], id=3), decision, Verdicts({0: short, 1: short}))
    assert settlement == Settlement(3, lost=True, fault=Fault(FaultKind.LOST, "busy", "later"))


@pytest.mark.parametrize(
    ("batch", "decision"),
    [
        (batch_of([5, 6], id=3), Decision(again=(again(0, 1),))),
        (batch_of([5, 6, 7], id=3), Decision(again=(again(0, 2, in_doubt=True),))),
        (batch_of([5, 7], id=3), Decision(again=(again(0, 1, in_doubt=True),))),
        (batch_of([5, 6], id=3, sends=1), Decision(again=(again(0, 1, in_doubt=True, sends=2),))),
        (batch_of([5, 6], id=3, recorded=True), Decision(again=(again(0, 1, in_doubt=True),))),
    ],
    ids=["not in doubt", "not all of it", "with gaps", "sent before", "with rows of its own"],
)
def test_any_other_batch_has_a_row_for_each_item_that_goes_again(batch: Batch, decision: Decision) -> None:
    settlement = settlement_of(batch, decision)
    assert not settlement.lost
    assert [row.position for row in settlement.exceptional if row.status is None] == batch.of_items(
        "position", decision.again[0].indices
    ).to_pylist()


def test_a_refused_row_keeps_its_words_and_its_source_cells() -> None:
    (row,) = settlement_of(batch_of([5, 6, 7], id=3), Decision(final={1: NO})).exceptional
    assert row == Exceptional(
        6, key_of(6), Status.REFUSED, "failed", "no such apn", sends=1, batch=3, cells=(key_of(6),)
    )


def test_a_row_that_goes_again_is_open_and_bears_its_doubt() -> None:
    decision = Decision(again=(again(0, in_doubt=True), again(2)))
    rows = settlement_of(batch_of([5, 6, 7], id=3), decision).exceptional
    assert [(row.position, row.status, row.in_doubt) for row in rows] == [(5, None, True), (7, None, False)]
    assert {(row.sends, row.code, row.reason) for row in rows} == {(1, "busy", "later")}


def test_a_success_at_a_repeat_has_a_record_of_its_own() -> None:
    rows = settlement_of(batch_of([5, 6], id=3, sends=1, in_doubt=True), Decision()).exceptional
    assert [(row.position, row.status, row.sends) for row in rows] == [
        (5, Status.SUCCEEDED, 2),
        (6, Status.SUCCEEDED, 2),
    ]


def test_a_confirmed_row_has_a_record_but_no_cells() -> None:
    decision = Decision(final={0: Final(Status.CONFIRMED, "exists", "is exist in db")})
    (row,) = settlement_of(batch_of([5], id=3, sends=1, in_doubt=True), decision).exceptional
    assert (row.status, row.sends, row.cells) == (Status.CONFIRMED, 2, ())


def test_a_promised_row_is_open_and_holds_its_ticket_and_its_call() -> None:
    decision = Decision(promised={1: "t1"}, call="call")
    (row,) = settlement_of(batch_of([5, 6], id=3), decision).exceptional
    assert row == Exceptional(6, key_of(6), None, "", "", sends=1, batch=3, ticket="t1", call="call")


# ---------------------------------------------------------------- what is kept of an attempt

BUSY = Verdict(Ruling.PASSING, "busy", "system busy")
ODD = Verdict(Ruling.OPEN, "reply_short", "no word on it")


def test_a_batch_without_an_answer_keeps_why_and_the_name_of_its_call() -> None:
    fault = Fault(FaultKind.LOST, "timeout", "no answer")
    for void in (True, False):
        decision = Decision(again=(again(0, 1),), void=void)
        settlement = settlement_of(batch_of([5, 6], id=3), decision, fault, "r1")
        assert (settlement.fault, settlement.request_id, settlement.setbacks) == (fault, "r1", ())


def test_what_was_said_of_items_that_go_again_is_kept_once_for_all_of_them() -> None:
    said = {
        0: BUSY,
        1: ODD,
        2: Verdict(Ruling.PASSING, "busy", "system busy"),
        3: Verdict(Ruling.REFUSED, "no"),
    }
    decision = Decision(again=(again(0, 2), again(1)), final={3: NO})
    settlement = settlement_of(batch_of([5, 6, 7, 8], id=3), decision, Verdicts(4, said), "r1")
    assert settlement.setbacks == (
        Setback((5, 7), Ruling.PASSING, "busy", "system busy"),
        Setback((6,), Ruling.OPEN, "reply_short", "no word on it"),
    )
    assert settlement.fault is None


def test_a_clean_batch_keeps_nothing_but_the_name_of_its_call() -> None:
    settlement = settlement_of(batch_of([5, 6], id=3), Decision(), Verdicts(2), "r1")
    assert settlement == Settlement(3, request_id="r1")


def test_what_a_question_told_of_items_that_go_again_is_kept() -> None:
    forgotten = Verdict(Ruling.UNKNOWN, "GLOBAL_1003", "no such call", ticket="t")
    completion = completion_of(batch_of([5], id=3), Decision(again=(again(0),)), {0: forgotten})
    assert completion.setbacks == (Setback((5,), Ruling.UNKNOWN, "GLOBAL_1003", "no such call"),)
    fault = Fault(FaultKind.LOST, "timeout", "no answer")
    assert completion_of(batch_of([5], id=3), Decision(), fault) == Completion(3)


# ---------------------------------------------------------------- what a question brought

DONE = Final(Status.SUCCEEDED)


def test_a_kept_promise_of_a_first_send_needs_no_row_any_more() -> None:
    completion = completion_of(batch_of([5, 6, 7], id=3), Decision(final={0: DONE, 2: DONE}))
    assert completion == Completion(3, plain=(5, 7))


def test_a_kept_promise_of_a_repeat_has_a_record_of_its_own() -> None:
    for history in ({"sends": 1}, {"recorded": True}):
        completion = completion_of(batch_of([5], id=3, **history), Decision(final={0: DONE}))
        (row,) = completion.exceptional
        assert not completion.plain
        assert (row.status, row.sends, row.ticket) == (Status.SUCCEEDED, history.get("sends", 0) + 1, "")


def test_a_success_with_words_of_its_own_keeps_them() -> None:
    decision = Decision(final={0: Final(Status.SUCCEEDED, "warned", "stored without its alias")})
    completion = completion_of(batch_of([5], id=3), decision)
    assert not completion.plain
    assert [row.code for row in completion.exceptional] == ["warned"]


def test_a_broken_promise_keeps_its_words_and_its_source_cells() -> None:
    (row,) = completion_of(batch_of([5, 6], id=3), Decision(final={1: NO})).exceptional
    assert row == Exceptional(
        6, key_of(6), Status.REFUSED, "failed", "no such apn", sends=1, batch=3, cells=(key_of(6),)
    )


def test_what_goes_again_after_a_promise_is_open_without_a_ticket() -> None:
    decision = Decision(again=(again(0, in_doubt=True),))
    (row,) = completion_of(batch_of([5], id=3), decision).exceptional
    assert (row.status, row.ticket, row.call, row.in_doubt, row.code) == (None, "", "", True, "busy")


def test_a_row_in_doubt_because_it_was_never_finished_keeps_its_ticket_and_its_call() -> None:
    end = Final(Status.IN_DOUBT, STILL_OPEN, "not finished")
    decision = Decision(final={0: end}, promised={0: "t0"}, call="call")
    (row,) = completion_of(batch_of([5], id=3), decision).exceptional
    assert (row.status, row.code, row.ticket, row.call) == (Status.IN_DOUBT, STILL_OPEN, "t0", "call")
    assert row.cells


def test_what_a_question_left_as_it_was_is_not_written() -> None:
    assert completion_of(batch_of([5, 6], id=3), Decision(hold_s=1)) == Completion(3)


@st.composite
def decisions(draw: st.DrawFn, count: int) -> Decision:
    kinds = ("plain", "final", "again", "promised")
    fates = draw(st.lists(st.sampled_from(kinds), min_size=count, max_size=count))
    chosen = {fate: tuple(i for i, one in enumerate(fates) if one == fate) for fate in kinds}
    ends = st.sampled_from([Status.REFUSED, Status.GAVE_UP, Status.IN_DOUBT, Status.CONFIRMED])
    final = {index: Final(draw(ends), f"c{index}", "r") for index in chosen["final"]}
    promised = {index: f"t{index}" for index in chosen["promised"]}
    going = (again(*chosen["again"]),) if chosen["again"] else ()
    return Decision(final=final, again=going, promised=promised, call="call")


@settings(max_examples=150, deadline=None)
@given(places=st.sets(st.integers(1, 99), min_size=1, max_size=9), sends=st.integers(0, 3), data=st.data())
def test_every_item_has_exactly_the_record_its_decision_asks_for(
    places: set[int], sends: int, data: st.DataObject
) -> None:
    batch = batch_of(sorted(places), id=9, sends=sends)
    decision = data.draw(decisions(len(batch)))
    rows = settlement_of(batch, decision).exceptional
    assert [row.position for row in rows] == sorted(row.position for row in rows)
    by_position = {row.position: row for row in rows}
    assert len(by_position) == len(rows)
    going = {index for one in decision.again for index in one.indices}
    for index, position in enumerate(sorted(places)):
        row = by_position.get(position)
        if index in decision.final:
            assert row is not None
            assert (row.status, row.code) == (decision.final[index].status, f"c{index}")
            assert bool(row.cells) is not row.status.good
        elif index in going:
            assert row is not None
            assert row.status is None
        elif index in decision.promised:
            assert row is not None
            assert (row.status, row.ticket, row.call) == (None, f"t{index}", "call")
        elif sends:
            assert row is not None
            assert row.status is Status.SUCCEEDED
        else:
            assert row is None
        if row is not None:
            assert (row.key, row.sends, row.batch) == (key_of(position), sends + 1, 9)
