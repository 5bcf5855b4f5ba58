"""What all outcomes together say of the vendor, where sends and questions differ in what they tell."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import virtual_clock
from ledger_making import batch_of

from pipeline.model import Fault, FaultKind, Verdicts
from pipeline.pace import Pace
from pipeline.retry import Vendor
from pipeline.settings import Retry
from pipeline.vendor_state import ALIKE_REFUSALS, LOST_BESIDES, VendorState

if TYPE_CHECKING:
    from collections.abc import Callable

BUSY = Fault(FaultKind.NOT_CARRIED_OUT, "http_503", "HTTP 503")
LOST = Fault(FaultKind.LOST, "timeout", "no answer")
NO = Fault(FaultKind.REFUSED, "000103", "no such tenant")
WITHDRAWN = Fault(FaultKind.WITHDRAWN, "stopping", "the run is stopping", reached=False)
POLICY = Retry(attempts=6)
ONE = batch_of([1])
DONE = Verdicts(1)
MOST_LOST = LOST_BESIDES + 6 * 2


def told(story: Callable[[VendorState], None]) -> None:
    """Tell a story to a fresh state, within a loop."""

    async def tell() -> None:
        story(VendorState(POLICY, random.Random(7), Pace(10), concurrency=2, batch_items=10))

    virtual_clock.run(tell())


def test_enough_passing_faults_in_a_row_are_the_vendors_and_probes_that_fail_send_it_away() -> None:
    def story(state: VendorState) -> None:
        for _ in range(5):
            assert state.health() is Vendor.THERE
            assert not state.asked(BUSY, probe=False)
        assert state.health() is Vendor.FAILING
        for _ in range(6):
            state.asked(BUSY, probe=True)
        assert state.health() is Vendor.AWAY

    told(story)


def test_a_rate_that_was_learned_is_forgotten_when_asked_to() -> None:
    async def story() -> tuple[float, float]:
        pace = Pace(10)
        state = VendorState(POLICY, random.Random(7), pace, concurrency=2, batch_items=10)
        pace.learn(2.0)
        learned = pace.allowed_per_s
        state.forget_rate()
        return learned, pace.allowed_per_s

    assert virtual_clock.run(story()) == (2.0, 10.0)


def test_an_answered_question_makes_good_for_failed_questions() -> None:
    def story(state: VendorState) -> None:
        for _ in range(20):
            state.asked(BUSY, probe=False)
        state.asked(None, probe=True)
        assert state.health() is Vendor.THERE

    told(story)


def test_an_answered_question_does_not_make_good_for_failed_sends() -> None:
    def story(state: VendorState) -> None:
        for _ in range(5):
            state.sent(ONE, BUSY, probe=False)
            state.asked(None, probe=False)
        assert state.health() is Vendor.FAILING
        state.sent(ONE, DONE, probe=True)
        assert state.health() is Vendor.THERE

    told(story)


def test_a_send_that_is_answered_makes_good_for_failed_questions() -> None:
    def story(state: VendorState) -> None:
        for _ in range(20):
            state.asked(BUSY, probe=False)
            state.sent(ONE, DONE, probe=False)
            assert state.health() is Vendor.THERE

    told(story)


def test_sends_without_an_answer_stop_the_run_though_questions_are_answered() -> None:
    def story(state: VendorState) -> None:
        for _ in range(MOST_LOST - 1):
            assert not state.sent(ONE, LOST, probe=False)
            assert not state.asked(None, probe=False)
        assert "answered none of" in state.sent(ONE, LOST, probe=False)

    told(story)


def test_questions_without_an_answer_stop_the_run_unless_a_send_is_answered() -> None:
    def story(state: VendorState) -> None:
        for _ in range(MOST_LOST - 1):
            assert not state.asked(LOST, probe=False)
        state.sent(ONE, DONE, probe=False)
        for _ in range(MOST_LOST - 1):
            assert not state.asked(LOST, probe=False)
        assert "no answer" in state.asked(LOST, probe=False)

    told(story)


def test_our_own_stop_says_nothing_of_the_vendor() -> None:
    def story(state: VendorState) -> None:
        for _ in range(5):
            state.sent(ONE, BUSY, probe=False)
        state.sent(ONE, WITHDRAWN, probe=False)
        state.asked(WITHDRAWN, probe=False)
        assert state.health() is Vendor.FAILING

    told(story)


def test_single_items_refused_alike_stop_the_run_unless_something_was_ever_accepted() -> None:
    def story(state: VendorState) -> None:
        for _ in range(ALIKE_REFUSALS - 1):
            assert not state.sent(ONE, NO, probe=False)
        assert "no such tenant" in state.sent(ONE, NO, probe=False)
        state.accepted = True
        assert not state.sent(ONE, NO, probe=False)

    told(story)


def test_questions_teach_no_batch_size() -> None:
    def story(state: VendorState) -> None:
        state.asked(NO, probe=False)
        state.asked(Fault(FaultKind.TOO_LARGE, "http_413", "at most 3"), probe=False)
        assert state.size.bound == 10

    told(story)


def test_once_closed_nobody_is_held_back_any_more() -> None:
    def story(state: VendorState) -> None:
        for _ in range(5):
            state.sent(ONE, BUSY, probe=False)
        state.close()
        assert state.health() is Vendor.THERE
        assert state.slots.limit == 2

    told(story)
