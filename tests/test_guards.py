"""The guards by themselves: what trips them, when, and what they say of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from ledger_making import batch_of, row

from pipeline.errors import UsageError
from pipeline.guards import Guards, Trip
from pipeline.model import Batch, Completion, Exceptional, Promise, Settlement, Status
from pipeline.settings import Guards as GuardSettings, job_from

S = Status.SUCCEEDED
NO = Status.REFUSED


def guards(*, seen: tuple[str, ...] = (), **table: Any) -> Guards:
    return Guards(GuardSettings(**table), seen)


@dataclass
class Stream:
    """Feeds guards with items one after another, as they end."""

    guards: Guards
    next: int = 1

    def end(self, *statuses: Status | None, code: str = "c") -> Trip | None:
        """Settle a batch of items that end so; None: still open."""
        batch = batch_of(range(self.next, self.next + len(statuses)), id=1)
        self.next += len(statuses)
        rows = [
            row(position, status, code=code)
            for position, status in zip(batch.items.column("position").to_pylist(), statuses, strict=True)
            if status is not S
        ]
        return self.guards.settled(batch, Settlement(1, tuple(rows)))


def taken(guards: Guards, *positions: int) -> Batch:
    batch = batch_of(positions)
    admitted = guards.admit(batch)
    return replace(batch, items=batch.items.slice(0, admitted))


# ---------------------------------------------------------------- canary


def test_without_a_canary_everything_may_be_taken_up() -> None:
    watch = guards()
    assert watch.admit(batch_of(range(1, 1001))) == 1000
    assert (watch.waiting, watch.waits_for()) == (False, "")


def test_a_canary_is_cut_off_the_front_of_the_first_batch_and_nothing_follows_until_it_is_final() -> None:
    watch = guards(canary_items=3)
    assert watch.admit(batch_of(range(1, 11))) == 3
    assert watch.waiting
    assert watch.waits_for() == "the canary: 3 of the first 3 items are out"
    assert watch.admit(batch_of(range(4, 11))) == 0
    assert watch.settled(batch_of([1, 2, 3]), Settlement(1, (row(2, None),))) is None
    assert watch.admit(batch_of(range(4, 11))) == 0
    assert watch.settled(batch_of([2]), Settlement(2)) is None
    assert not watch.waiting
    assert watch.admit(batch_of(range(4, 11))) == 7


def test_a_canary_of_several_batches_goes_one_batch_after_another() -> None:
    watch = guards(canary_items=5)
    for first, size in ((1, 2), (3, 2), (5, 1)):
        batch = taken(watch, first, first + 1)
        assert len(batch) == size
        assert watch.admit(batch_of([99])) == 0
        watch.settled(batch, Settlement(1))
    assert watch.admit(batch_of(range(6, 100))) == 94


def test_a_canary_trips_as_soon_as_more_than_its_share_is_not_good() -> None:
    watch = guards(canary_items=100, canary_share=0.02)
    stream = Stream(watch)
    assert watch.admit(batch_of(range(1, 101))) == 100
    assert stream.end(S, S, NO, Status.IN_DOUBT) is None
    trip = stream.end(S, Status.GAVE_UP, code="http_503")
    assert trip is not None
    assert trip.data == {"guard": "canary", "bad": 3, "of": 6, "allowed": 2, "codes": {"c": 2, "http_503": 1}}
    assert trip.words == (
        "3 of the first 6 items were not good, [guards] canary_share allows 2 % of 100; most often c: r; "
        "look at failures.csv; then `simlift resume` goes on and counts anew, "
        "or allow more in the job file and repeat `simlift run --run-id`"
    )
    assert not trip.holds


def test_a_canary_with_exactly_its_share_lets_the_run_go_on() -> None:
    watch = guards(canary_items=100, canary_share=0.29)
    watch.admit(batch_of(range(1, 101)))
    assert Stream(watch).end(*[NO] * 29, *[S] * 71) is None
    assert not watch.waiting


def test_a_canary_that_allows_nothing_trips_at_the_first() -> None:
    watch = guards(canary_items=10, canary_share=0.0)
    watch.admit(batch_of(range(1, 11)))
    assert Stream(watch).end(S, NO) is not None


def test_after_the_canary_nothing_trips_it() -> None:
    watch = guards(canary_items=2, canary_share=0.0)
    watch.admit(batch_of([1, 2]))
    stream = Stream(watch)
    assert stream.end(S, S) is None
    assert stream.end(*[NO] * 100) is None


def test_what_an_earlier_process_was_promised_is_neither_held_back_nor_counted() -> None:
    watch = guards(canary_items=2, canary_share=0.0)
    watch.admit(batch_of([5, 6]))
    assert watch.admit(batch_of([1, 2, 3], promise=Promise(pa.array(["a", "b", "c"])))) == 3
    assert watch.completed(Completion(1, (), (row(1, NO), row(2, NO)))) is None
    assert watch.completed(Completion(1, (5,), (row(6, NO),))) is not None


def test_a_promised_canary_is_out_until_its_promises_are_kept_or_given_up() -> None:
    watch = guards(canary_items=2, canary_share=0.5)
    batch = taken(watch, 1, 2)
    open_rows = (row(1, None, ticket="a"), row(2, None, ticket="b"))
    watch.settled(batch, Settlement(1, open_rows))
    assert watch.waits_for() == "the canary: 2 of the first 2 items are out"
    watch.completed(Completion(1, (2,)))
    assert watch.waits_for() == "the canary: 1 of the first 2 items are out"
    watch.completed(Completion(1, (), (row(1, Status.IN_DOUBT, ticket="a"),)))
    assert not watch.waiting


def test_a_void_settlement_says_nothing_of_its_items() -> None:
    watch = guards(canary_items=2, budget_items=1)
    batch = taken(watch, 1, 2)
    assert watch.settled(batch, Settlement(1, void=True)) is None
    assert watch.waiting


# ---------------------------------------------------------------- error budget


def test_a_budget_is_of_the_last_items_not_of_the_run() -> None:
    stream = Stream(guards(budget_items=2, budget_over_items=10))
    for _ in range(50):
        assert stream.end(NO, *[S] * 4) is None
    trip = stream.end(NO, NO)
    assert trip is not None
    assert trip.data == {"guard": "budget", "bad": 3, "of": 7, "allowed": 2, "codes": {"c": 3}}
    assert trip.words.startswith(
        "3 of the last 7 items were not good, [guards] budget_items allows 2 of 10; most often c: r; "
    )


def test_a_share_is_of_the_whole_window_so_that_one_bad_row_of_three_does_not_trip() -> None:
    stream = Stream(guards(budget_share=0.02, budget_over_items=1000))
    assert stream.end(S, NO, S) is None
    assert stream.end(*[NO] * 19) is None
    trip = stream.end(NO)
    assert trip is not None
    assert "21 of the last 22 items were not good, [guards] budget_share allows 2 % of 1,000" in trip.words


@pytest.mark.parametrize(
    ("table", "rule", "most"),
    [
        ({"budget_items": 5, "budget_share": 0.5}, "budget_items allows 5 of 100", 5),
        ({"budget_items": 50, "budget_share": 0.05}, "budget_share allows 5 % of 100", 5),
    ],
)
def test_of_two_budgets_the_narrower_one_holds(table: dict[str, Any], rule: str, most: int) -> None:
    trip = Stream(guards(budget_over_items=100, **table)).end(*[NO] * 100)
    assert trip is not None
    assert rule in trip.words
    assert trip.data["allowed"] == most


def test_where_the_bad_items_stand_in_a_batch_counts() -> None:
    spread, together = [S] * 100, [S] * 100
    for place in (0, 30, 60, 90):
        spread[place] = NO
    together[50:54] = [NO] * 4
    assert Stream(guards(budget_items=1, budget_over_items=30)).end(*spread) is None
    assert Stream(guards(budget_items=1, budget_over_items=30)).end(*together) is not None


def test_an_item_still_open_is_no_item_of_the_window_yet() -> None:
    stream = Stream(guards(budget_items=1, budget_over_items=4))
    assert stream.end(NO, None, None, None, None, S, S, S) is None
    assert stream.end(NO) is None
    assert stream.end(None, None, None, NO) is not None


@settings(max_examples=300)
@given(
    over=st.integers(1, 30),
    most=st.integers(0, 8),
    share=st.integers(0, 100),
    batches=st.lists(
        st.lists(st.sampled_from([S, S, S, S, NO, None, Status.CONFIRMED]), max_size=12), max_size=20
    ),
)
def test_the_budget_trips_when_a_list_of_all_that_ended_says_so(
    over: int, most: int, share: int, batches: list[list[Status | None]]
) -> None:
    most = min(most, over - 1)
    limits = [limit for limit, on in ((most, most), (share * over // 100, share)) if on]
    stream = Stream(guards(budget_items=most, budget_share=share / 100, budget_over_items=over))
    ended: list[bool] = []
    for batch in batches:
        expected = False
        for status in batch:
            if status is not None:
                ended.append(not status.good)
                expected |= bool(limits) and ended[-1] and sum(ended[-over:]) > min(limits)
        trip = stream.end(*batch)
        assert (trip is not None) is expected
        if trip is not None:
            assert trip.data["bad"] == min(limits) + 1
            assert trip.data["of"] <= over
            return


@settings(max_examples=300)
@given(
    items=st.integers(1, 20),
    share=st.integers(0, 100),
    batches=st.lists(st.lists(st.sampled_from([S, S, NO]), min_size=1, max_size=8), max_size=10),
)
def test_the_canary_admits_and_trips_as_a_list_of_the_first_items_says(
    items: int, share: int, batches: list[list[Status]]
) -> None:
    watch = guards(canary_items=items, canary_share=share / 100)
    first: list[bool] = []
    for batch in batches:
        start = 1 + len(first)
        admitted = watch.admit(batch_of(range(start, start + len(batch))))
        assert admitted == (min(len(batch), items - len(first)) if len(first) < items else len(batch))
        bad = [status is NO for status in batch[:admitted]]
        if len(first) < items:
            first += bad
        sent = batch_of(range(start, start + admitted))
        rows = [row(start + at, NO) for at, is_bad in enumerate(bad) if is_bad]
        trip = watch.settled(sent, Settlement(1, tuple(rows)))
        assert (trip is not None) is (
            len(first) <= items and start <= items and sum(first) > share * items // 100
        )
        if trip is not None:
            return


# ---------------------------------------------------------------- a code never seen before


def test_a_new_code_is_told_once_and_holds_or_stops() -> None:
    for how, holds in (("hold", True), ("stop", False)):
        stream = Stream(guards(new_code=how, known_codes=["exists"], seen=("000106",)))
        assert stream.end(NO, code="exists") is None
        assert stream.end(NO, code="000106") is None
        trip = stream.end(S, NO, NO, code="000777")
        assert trip is not None
        assert (trip.holds, trip.data) == (holds, {"guard": "new_code", "codes": {"000777": 2}})
        assert trip.words.startswith("a code never seen before in this run: 000777: r; ")
        assert ("`simlift release`" in trip.words) is holds
        assert stream.end(NO, code="000777") is None


def test_a_code_of_what_was_not_refused_is_none_of_the_vendors_final_words() -> None:
    stream = Stream(guards(new_code="stop"))
    assert stream.end(Status.GAVE_UP, Status.IN_DOUBT, None, Status.CONFIRMED) is None
    assert stream.end(NO) is not None


def test_a_stop_goes_before_a_hold() -> None:
    trip = Stream(guards(new_code="hold", budget_items=1, budget_over_items=9)).end(NO, NO)
    assert trip is not None
    assert not trip.holds


# ---------------------------------------------------------------- what is said


def test_the_commonest_code_is_told_with_an_example_whose_identifiers_are_masked() -> None:
    def refused(position: int, code: str, reason: str) -> Exceptional:
        return row(position, NO, code=code, reason=reason)

    rows = (
        refused(1, "other", "other words"),
        refused(2, "failed", "not allowed, iccid:[8935711001000000007]"),
        refused(3, "failed", "not allowed, iccid:[8935711001000000015]"),
    )
    trip = guards(budget_items=2).settled(batch_of([1, 2, 3]), Settlement(1, rows))
    assert trip is not None
    assert "most often failed: not allowed, iccid:[893571…0007]; " in trip.words


def test_guards_that_are_off_never_trip() -> None:
    assert Stream(guards()).end(*[NO] * 5000) is None


def test_a_budget_that_could_never_trip_is_a_mistake_in_the_job_file() -> None:
    data = {"target": {"kind": "x"}, "guards": {"budget_items": 100, "budget_over_items": 100}}
    with pytest.raises(UsageError, match=r"guards: budget_items must be less than budget_over_items"):
        job_from(data, where="job.toml")
