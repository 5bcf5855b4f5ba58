"""The report's first sentence: one for every way a run can stand, and good news only where it is true."""

from __future__ import annotations

from typing import Any

import pytest
from ledger_in_memory import LedgerInMemory, row

from pipeline.model import State, Status
from pipeline.reports.summary import summary
from pipeline.reports.verdict import Verdict, advice, verdict

BAD = [status for status in Status if not status.good]


def said(*statuses: Status | None, **facts: Any) -> Verdict:
    ledger = LedgerInMemory(*(row(n, status) for n, status in enumerate(statuses, start=1)), **facts)
    return verdict(ledger.run(), summary(ledger))


def many(good: int, bad: int = 0, of: Status = Status.REFUSED) -> list[Status]:
    return [Status.SUCCEEDED] * good + [of] * bad


def test_a_run_without_a_bad_row_is_good_and_done() -> None:
    assert said(*many(1_200)) == Verdict(
        "good", "All 1,200 rows are in the vendor's platform; nothing is left to do."
    )


def test_what_was_confirmed_is_as_good() -> None:
    assert said(Status.SUCCEEDED, Status.CONFIRMED).word == "good"


def test_a_single_row_is_told_in_good_english() -> None:
    assert said(*many(1)).sentence == "The only row is in the vendor's platform; nothing is left to do."
    assert said(*many(0, 1)).sentence.startswith("0 of 1 row are good; 1 needs a look: ")
    assert said(*many(1, 1)).sentence.startswith("1 of 2 rows is good; 1 needs a look: ")


@pytest.mark.parametrize("status", BAD)
def test_one_row_of_any_other_status_needs_a_look(status: Status) -> None:
    assert said(*many(1_199, 1, status)).word == "look"


@pytest.mark.parametrize("status", [Status.REFUSED, Status.REJECTED, Status.DUPLICATE])
def test_what_only_a_person_can_mend_is_to_be_mended(status: Status) -> None:
    assert said(*many(1_199, 2, status)).sentence == (
        "1,199 of 1,201 rows are good; 2 need a look: mend `failures.csv` and run it as it is."
    )


@pytest.mark.parametrize("status", [Status.GAVE_UP, Status.IN_DOUBT])
def test_what_may_fare_better_is_sent_again(status: Status) -> None:
    assert said(*many(5, 2, status)).sentence == (
        "5 of 7 rows are good; 2 need a look: `simlift retry nightly` sends them again."
    )
    assert said(*many(5, 1, status)).sentence.endswith("`simlift retry nightly` sends it again.")


def test_of_both_kinds_the_retry_comes_first() -> None:
    assert said(Status.REFUSED, Status.GAVE_UP).sentence == (
        "0 of 2 rows are good; 2 need a look: "
        "first `simlift retry nightly`, then mend what is left in `failures.csv` and run that."
    )


def test_a_stopped_run_says_why_and_how_to_go_on() -> None:
    assert said(Status.SUCCEEDED, None, state=State.STOPPED, stop_reason="101003: mismatch") == Verdict(
        "stopped",
        "The run was stopped before its end (101003: mismatch): 1 of 1 row settled so far is good; "
        "see to what stopped it, then `simlift resume nightly` goes on from there.",
    )


def test_an_interrupted_run_says_only_once_how_to_go_on() -> None:
    reason = "interrupted by a signal; `simlift resume` goes on from here"
    assert said(*many(2), state=State.INTERRUPTED, stop_reason=reason).sentence == (
        "The run was interrupted before its end (interrupted by a signal): "
        "2 of 2 rows settled so far are good; "
        "`simlift resume nightly` goes on from there."
    )


def test_a_stop_without_a_reason_is_told_without_one() -> None:
    assert said(state=State.STOPPED).sentence.startswith(
        "The run was stopped before its end: 0 of 0 rows settled so far are good; "
    )


def test_a_run_that_is_not_at_its_end_promises_nothing() -> None:
    assert said(*many(2), state=State.RUNNING, rows_read=None) == Verdict(
        "open",
        "The run is not at its end: 2 of 2 rows settled so far are good; "
        "`simlift status nightly` says whether it is under way.",
    )


@pytest.mark.parametrize(
    ("rows_read", "read"), [(4, "4 rows"), (1, "1 row"), (None, "an unknown number of rows")]
)
def test_a_run_that_does_not_balance_is_a_fault_however_good_its_rows(
    rows_read: int | None, read: str
) -> None:
    assert said(*many(3), rows_read=rows_read) == Verdict(
        "fault",
        f"The run does not balance: {read} read, 3 accounted for; keep the run folder and report this fault.",
    )


def test_an_empty_inventory_is_worth_a_look() -> None:
    assert said() == Verdict(
        "look", "The inventory holds no rows; nothing was sent: look whether it is the right one."
    )


def test_identifiers_and_secrets_in_the_reason_are_not_passed_on() -> None:
    reason = "item 8935711111111111119 with LPA:1$smdp.example$SECRET at https://me:hunter2@sim.express"
    sentence = said(state=State.STOPPED, stop_reason=reason).sentence
    assert "893571…1119" in sentence
    assert not [secret for secret in ("8935711111111111119", "SECRET", "hunter2") if secret in sentence]


def test_a_reason_without_end_is_cut() -> None:
    assert len(said(state=State.STOPPED, stop_reason="no " * 10_000).sentence) < 700


def test_there_is_advice_for_each_status_that_is_not_good() -> None:
    ledger = LedgerInMemory(*(row(n, status) for n, status in enumerate(BAD, start=1)))
    assert len(advice(summary(ledger))) == len(BAD) + 2


def test_of_a_good_run_nothing_is_left_to_do() -> None:
    assert advice(summary(LedgerInMemory(row(1))))[0] == "Nothing is left to do."
