"""What becomes of promised items when the vendor is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st
from ledger_making import batch_of

from pipeline.completion import decide_promised, to_ask_singly
from pipeline.model import STILL_OPEN, Decision, Fault, FaultKind, Final, Ruling, Status, Verdict
from pipeline.retry import Vendor
from pipeline.settings import Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.model import Batch

POLICY = Retry(attempts=3, first_wait_s=1, longest_wait_s=8, settle_s=5)
DONE = Verdict(Ruling.SUCCEEDED)
FAILED = Verdict(Ruling.REFUSED, "FAILURE", "the vendor says that it failed")
AGAIN = Verdict(Ruling.PASSING, "INTERNAL_ERROR", "internal error")
UNKNOWN = Verdict(Ruling.UNKNOWN, "GLOBAL_1003", "no such request")
WAIT = Verdict(Ruling.PROMISED, ticket="t0")
BUSY = Fault(FaultKind.NOT_CARRIED_OUT, "http_503", "HTTP 503")
LOST = Fault(FaultKind.LOST, "timeout", "no answer")
NO = Fault(FaultKind.REFUSED, "http_404", "HTTP 404")
TOO_LARGE = Fault(FaultKind.TOO_LARGE, "http_413", "HTTP 413")
WITHDRAWN = Fault(FaultKind.WITHDRAWN, "stopping", "the run is stopping", reached=False)
STOP = Fault(FaultKind.STOP, "http_401", "HTTP 401")


def asked(
    outcome: Mapping[int, Verdict] | Fault,
    batch: Batch | None = None,
    *,
    vendor: Vendor = Vendor.THERE,
    last: bool = False,
) -> Decision:
    """Decide on a question after every item of a batch (of one item, unless given)."""
    batch = batch or batch_of([1], id=1)
    tickets = {index: f"t{index}" for index in range(len(batch))}
    return decide_promised(
        batch, outcome, POLICY, tickets=tickets, call="call", chance=0.5, vendor=vendor, last=last
    )


# ---------------------------------------------------------------- what an answer says


def test_done_is_succeeded_and_failed_is_refused_in_the_vendors_words() -> None:
    decision = asked({0: DONE, 1: FAILED}, batch_of([1, 2], id=1))
    assert decision.final == {
        0: Final(Status.SUCCEEDED),
        1: Final(Status.REFUSED, "FAILURE", "the vendor says that it failed"),
    }
    assert not decision.again
    assert not decision.promised


def test_what_is_not_yet_done_stays_promised_without_a_word() -> None:
    assert asked({0: WAIT}) == asked({}) == Decision(call="call")


def test_an_internal_error_is_sent_again_after_a_wait_as_a_try() -> None:
    (again,) = asked({0: AGAIN}, batch_of([1], id=1, sends=1, tries=1)).again
    assert (again.sends, again.tries, again.wait_s, again.in_doubt) == (2, 2, 1.0, False)


@pytest.mark.parametrize(("in_doubt", "status"), [(False, Status.GAVE_UP), (True, Status.IN_DOUBT)])
def test_an_internal_error_to_the_end_gives_up(in_doubt: bool, status: Status) -> None:  # noqa: FBT001 - a case
    decision = asked({0: AGAIN}, batch_of([1], id=1, sends=2, tries=2, in_doubt=in_doubt))
    assert decision.final == {0: Final(status, "INTERNAL_ERROR", "internal error")}


def test_an_unknown_ticket_is_sent_again_once_after_settling_in_doubt_and_that_is_no_try() -> None:
    (again,) = asked({0: UNKNOWN}, batch_of([1], id=1, tries=2)).again
    assert (again.forgotten, again.in_doubt, again.tries, again.sends) == (True, True, 2, 1)
    assert again.wait_s >= POLICY.settle_s


def test_a_ticket_unknown_for_the_second_time_is_in_doubt_and_is_not_kept() -> None:
    decision = asked({0: UNKNOWN}, batch_of([1], id=1, sends=1, forgotten=True, in_doubt=True))
    assert decision.final == {0: Final(Status.IN_DOUBT, "GLOBAL_1003", "no such request")}
    assert not decision.promised


def test_every_item_ends_with_the_words_said_of_itself() -> None:
    said = {i: Verdict(Ruling.PASSING, f"c{i}", f"r{i}") for i in range(2)}
    decision = asked(said, batch_of([1, 2], id=1, tries=2))
    assert decision.final == {i: Final(Status.GAVE_UP, f"c{i}", f"r{i}") for i in range(2)}


# ---------------------------------------------------------------- no answer


@pytest.mark.parametrize("fault", [BUSY, LOST, NO, TOO_LARGE, WITHDRAWN])
def test_a_question_without_an_answer_makes_no_item_final_before_its_time_is_over(fault: Fault) -> None:
    decision = asked(fault, batch_of([1, 2], id=1, tries=2))
    assert (decision.final, decision.again, decision.stop) == ({}, (), None)


def test_a_push_back_holds_the_shared_pace_and_a_lost_answer_does_not() -> None:
    assert (asked(BUSY).hold_s, asked(BUSY).pushed_back) == (0.5, True)
    assert (asked(LOST).hold_s, asked(LOST).pushed_back) == (0, False)


def test_a_vendors_wish_to_wait_is_never_cut_short() -> None:
    wish = Fault(FaultKind.NOT_CARRIED_OUT, "http_429", "slow down", retry_after_s=30)
    assert asked(wish).hold_s == 30
    assert asked(Fault(FaultKind.LOST, "http_500", "HTTP 500", retry_after_s=20)).hold_s == 20


@pytest.mark.parametrize("last", [False, True])
def test_a_push_back_or_our_own_stop_never_makes_an_item_final(last: bool) -> None:  # noqa: FBT001 - a case
    for fault in (BUSY, WITHDRAWN):
        assert not asked(fault, last=last).final


@pytest.mark.parametrize("last", [False, True])
def test_what_stops_the_run_leaves_the_promises_as_they_are(last: bool) -> None:  # noqa: FBT001 - a case
    assert asked(STOP, last=last) == Decision(stop=STOP)
    assert asked(BUSY, vendor=Vendor.AWAY, last=last) == Decision(stop=BUSY)


# ---------------------------------------------------------------- the time is over


@pytest.mark.parametrize("outcome", [{0: WAIT}, {}, LOST, NO])
def test_what_is_not_done_when_the_time_is_over_is_in_doubt_and_keeps_its_ticket(
    outcome: Mapping[int, Verdict] | Fault,
) -> None:
    decision = asked(outcome, last=True)
    assert {end.status for end in decision.final.values()} == {Status.IN_DOUBT}
    assert {end.code for end in decision.final.values()} == {STILL_OPEN}
    assert (decision.promised, decision.call) == ({0: "t0"}, "call")


def test_at_the_last_question_an_answer_still_counts() -> None:
    said = {0: DONE, 1: AGAIN, 2: UNKNOWN, 3: FAILED}
    decision = asked(said, batch_of(range(1, 6), id=1), last=True)
    assert {index: end.status for index, end in decision.final.items()} == {
        0: Status.SUCCEEDED,
        3: Status.REFUSED,
        4: Status.IN_DOUBT,
    }
    assert sorted(index for again in decision.again for index in again.indices) == [1, 2]
    assert decision.promised == {4: "t4"}


# ---------------------------------------------------------------- by call, or one by one


@pytest.mark.parametrize("fault", [NO, TOO_LARGE])
def test_where_the_question_for_a_call_is_refused_all_are_asked_one_by_one(fault: Fault) -> None:
    assert to_ask_singly([0, 1], fault, call="call", last=False) == {0, 1}


def test_what_the_answer_for_a_call_leaves_out_is_asked_one_by_one() -> None:
    assert to_ask_singly([0, 1, 2], {1: DONE}, call="call", last=False) == {0, 2}


def test_a_call_that_is_never_answered_is_asked_one_by_one_only_when_its_time_is_over() -> None:
    assert to_ask_singly([0, 1], LOST, call="call", last=False) == set()
    assert to_ask_singly([0, 1], LOST, call="call", last=True) == {0, 1}


@pytest.mark.parametrize("fault", [BUSY, WITHDRAWN, STOP])
def test_a_call_is_not_asked_one_by_one_for_what_one_by_one_would_meet_as_well(fault: Fault) -> None:
    assert to_ask_singly([0, 1], fault, call="call", last=True) == set()


@pytest.mark.parametrize("outcome", [{}, NO, LOST])
def test_a_single_ticket_is_asked_no_other_way(outcome: Mapping[int, Verdict] | Fault) -> None:
    assert to_ask_singly([0], outcome, call="", last=True) == set()


# ---------------------------------------------------------------- for any answer at all


@st.composite
def outcomes(draw: st.DrawFn, count: int) -> dict[int, Verdict] | Fault:
    if draw(st.booleans()):
        return Fault(draw(st.sampled_from(FaultKind)), "c", "r", draw(st.none() | st.floats(0, 1e4)))
    rulings = draw(st.dictionaries(st.integers(0, count - 1), st.sampled_from(Ruling)))
    return {index: Verdict(ruling, "c", "r") for index, ruling in rulings.items()}


@settings(max_examples=300, deadline=None)
@given(
    count=st.integers(1, 6),
    history=st.fixed_dictionaries(
        {"sends": st.integers(2, 5), "tries": st.integers(0, 2), "forgotten": st.booleans()}
    ),
    vendor=st.sampled_from(Vendor),
    last=st.booleans(),
    data=st.data(),
)
def test_every_promised_item_is_final_once_or_goes_again_or_stays_promised(
    count: int,
    history: dict[str, int],
    vendor: Vendor,
    last: bool,  # noqa: FBT001 - a case
    data: st.DataObject,
) -> None:
    outcome = data.draw(outcomes(count))
    decision = asked(outcome, batch_of(range(1, count + 1), id=1, **history), vendor=vendor, last=last)
    going = [index for again in decision.again for index in again.indices]
    assert len(going) == len({*going})
    assert not {*going} & {*decision.final}
    assert not decision.void
    kept = {index for index, end in decision.final.items() if end.code == STILL_OPEN}
    assert set(decision.promised) == kept
    assert last or not kept
    for index, end in decision.final.items():
        said = Ruling.OPEN if isinstance(outcome, Fault) or index not in outcome else outcome[index].ruling
        assert (end.status is Status.SUCCEEDED) == (said is Ruling.SUCCEEDED)
        assert (end.status is Status.REFUSED) == (said is Ruling.REFUSED)
    if last and not isinstance(outcome, Fault):
        assert sorted([*going, *decision.final]) == list(range(count))
