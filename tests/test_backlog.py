"""Items that go out again: in time, like with like, within their bounds, none lost and none doubled."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.backlog import GATHER_S, Backlog
from pipeline.model import ITEM_COLUMNS, Again, Batch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def batch(positions: Iterable[int], payload_bytes: int = 10) -> Batch:
    places = list(positions)
    names = pa.array([f"k{place}" for place in places], pa.string())
    payload = pa.array(["x" * payload_bytes for _ in places], pa.string())
    cells = pa.StructArray.from_arrays([names], names=["0"])
    columns = [pa.array(places, pa.int64()), names, payload, cells]
    return Batch(pa.RecordBatch.from_arrays(columns, names=list(ITEM_COLUMNS)))


def again(
    indices: Sequence[int],
    wait_s: float = 0.0,
    *,
    in_doubt: bool = False,
    sends: int = 1,
    tries: int = 1,
    most_items: int = 0,
    forgotten: bool = False,
) -> Again:
    return Again(tuple(indices), wait_s, in_doubt, sends, tries, most_items, forgotten=forgotten)


def backlog(batch_items: int = 10, batch_bytes: int = 10_000, most_items: int = 50) -> Backlog:
    return Backlog(batch_items=batch_items, batch_bytes=batch_bytes, most_items=most_items)


def places(found: Batch | None) -> list[int]:
    assert found is not None
    positions: list[int] = found.items.column("position").to_pylist()
    return positions


def test_an_item_comes_out_when_its_time_has_come_and_not_before() -> None:
    waiting = backlog()
    waiting.add(batch([1, 2, 3]), again([1], wait_s=4.0), now=10.0, recorded=False)
    assert waiting.next_ready() == 14.0
    assert waiting.take(13.999, eager=True) is None
    assert places(waiting.take(14.0, eager=True)) == [2]
    assert (waiting.items, waiting.next_ready()) == (0, math.inf)


def test_a_batch_comes_out_with_the_history_of_its_items_and_no_claim() -> None:
    waiting = backlog()
    waiting.add(
        batch([1]),
        again([0], in_doubt=True, sends=4, tries=2, most_items=3, forgotten=True),
        now=0.0,
        recorded=True,
    )
    found = waiting.take(0.0, eager=True)
    assert found is not None
    assert (found.id, found.sends, found.tries, found.in_doubt, found.most_items) == (0, 4, 2, True, 3)
    assert (found.recorded, found.forgotten, found.promise) == (True, True, None)


@pytest.mark.parametrize(
    "other", [{"in_doubt": True}, {"sends": 2}, {"tries": 2}, {"most_items": 5}, {"forgotten": True}]
)
def test_only_like_travels_with_like(other: dict[str, int]) -> None:
    waiting = backlog()
    waiting.add(batch([1]), again([0]), now=0.0, recorded=False)
    waiting.add(batch([2]), again([0], **other), now=1.0, recorded=False)
    assert places(waiting.take(2.0, eager=True)) == [1]
    assert places(waiting.take(2.0, eager=True)) == [2]


def test_like_items_of_many_batches_gather_in_ascending_position() -> None:
    waiting = backlog()
    waiting.add(batch([7, 8, 9]), again([0, 2]), now=0.0, recorded=False)
    waiting.add(batch([1, 2, 3]), again([1]), now=1.0, recorded=False)
    assert places(waiting.take(2.0, eager=True)) == [2, 7, 9]


def test_the_longest_waiting_comes_out_first() -> None:
    waiting = backlog()
    waiting.add(batch([1]), again([0], wait_s=3.0), now=0.0, recorded=False)
    waiting.add(batch([2]), again([0], wait_s=1.0, tries=2), now=0.0, recorded=False)
    assert places(waiting.take(5.0, eager=True)) == [2]


def test_a_part_of_a_batch_waits_for_company_while_there_is_fresh_work() -> None:
    waiting = backlog()
    waiting.add(batch([1]), again([0]), now=0.0, recorded=False)
    assert waiting.take(GATHER_S - 0.01, eager=False) is None
    assert places(waiting.take(GATHER_S, eager=False)) == [1]


def test_a_full_batch_waits_for_nobody() -> None:
    waiting = backlog(batch_items=2)
    waiting.add(batch([1]), again([0]), now=0.0, recorded=False)
    waiting.add(batch([2]), again([0]), now=0.0, recorded=False)
    assert places(waiting.take(0.0, eager=False)) == [1, 2]


def test_a_bound_of_the_items_own_fills_a_batch_too() -> None:
    waiting = backlog(batch_items=10)
    waiting.add(batch(range(1, 6)), again(range(5), most_items=2), now=0.0, recorded=False)
    assert [places(waiting.take(0.0, eager=False)) for _ in range(2)] == [[1, 2], [3, 4]]
    assert waiting.take(0.0, eager=False) is None
    assert places(waiting.take(0.0, eager=True)) == [5]


def test_items_that_are_not_ready_do_not_count_as_company() -> None:
    waiting = backlog(batch_items=2)
    waiting.add(batch([1]), again([0]), now=0.0, recorded=False)
    waiting.add(batch([2]), again([0], wait_s=3.0), now=0.0, recorded=False)
    assert waiting.take(1.0, eager=False) is None
    assert places(waiting.take(1.0, eager=True)) == [1]


def test_an_item_larger_than_all_bounds_travels_alone() -> None:
    waiting = backlog(batch_bytes=100)
    waiting.add(batch([1, 2, 3], payload_bytes=500), again([0, 1, 2]), now=0.0, recorded=False)
    assert [places(waiting.take(0.0, eager=True)) for _ in range(3)] == [[1], [2], [3]]


def test_a_full_backlog_says_so_until_it_has_drained() -> None:
    waiting = backlog(most_items=3)
    assert not waiting.full
    waiting.add(batch([1, 2, 3]), again([0, 1, 2]), now=0.0, recorded=False)
    assert waiting.full
    waiting.take(0.0, eager=True)
    assert not waiting.full


def test_the_rest_of_a_batch_is_not_kept_in_memory() -> None:
    waiting = backlog()
    before = pa.total_allocated_bytes()
    waiting.add(batch(range(1, 1001), payload_bytes=1000), again([3]), now=0.0, recorded=False)
    assert pa.total_allocated_bytes() - before < 20_000


@st.composite
def pieces(draw: st.DrawFn) -> list[tuple[int, float, int, bool, int, int, float]]:
    """Items · wait · tries · in doubt · most_items · payload bytes · seconds until the next."""
    piece = st.tuples(
        st.integers(1, 8),
        st.floats(0, 20),
        st.integers(0, 1),
        st.booleans(),
        st.sampled_from([0, 0, 1, 3]),
        st.sampled_from([10, 60, 300]),
        st.floats(0, 5),
    )
    return draw(st.lists(piece, min_size=1, max_size=12))


@settings(max_examples=150, deadline=None)
@given(made=pieces(), eager=st.booleans(), batch_items=st.integers(1, 9))
def test_nothing_is_lost_doubled_early_or_beyond_its_bounds(
    made: list[tuple[int, float, int, bool, int, int, float]],
    eager: bool,  # noqa: FBT001 - a case
    batch_items: int,
) -> None:
    waiting = backlog(batch_items=batch_items, batch_bytes=200)
    now, next_place, came = 0.0, 1, Counter[int]()
    facts: dict[int, tuple[float, int, bool, int]] = {}

    def drain(until: float, *, eager: bool) -> None:
        while (found := waiting.take(until, eager=eager)) is not None:
            positions = places(found)
            came.update(positions)
            assert positions == sorted(set(positions))
            assert 0 < len(found) <= min(found.most_items or batch_items, batch_items)
            assert len(found) == 1 or len(found.payload()) <= 200
            for place in positions:
                assert facts[place][0] <= until
                assert facts[place][1:] == (found.tries, found.in_doubt, found.most_items)
            assert found.items.column("key").to_pylist() == [f"k{place}" for place in positions]

    for count, wait_s, tries, in_doubt, most_items, size, pause_s in made:
        taken = range(next_place, next_place + count)
        waiting.add(
            batch(taken, size),
            again(range(count), wait_s, in_doubt=in_doubt, tries=tries, most_items=most_items),
            now,
            recorded=False,
        )
        facts |= dict.fromkeys(taken, (now + wait_s, tries, in_doubt, most_items))
        next_place += count
        now += pause_s
        drain(now, eager=eager)
        assert waiting.items == len(facts) - came.total()
    while waiting.items:
        now = max(now, waiting.next_ready())
        drain(now, eager=True)
    assert came == Counter(facts.keys())
