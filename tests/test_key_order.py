"""Keys in order: what is called new must be new, whatever the keys; ordered keys are all called new."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, strategies as st

from pipeline.key_order import KeyOrder

KEYS = st.one_of(
    st.integers(8_935_711_000_000_000_000, 8_935_711_000_000_003_000).map(str),
    st.integers(8_935_711_000_000_000_000, 8_935_711_000_000_000_040).map(str),
    st.text(max_size=12),
)


@given(st.lists(st.lists(KEYS, max_size=40).flatmap(lambda keys: st.sampled_from([keys, sorted(keys)]))))
def test_no_key_that_stood_before_is_called_new(chunks: list[list[str]]) -> None:
    order, seen = KeyOrder(), set[str]()
    for keys in chunks:
        new = order.new(pa.array(keys, pa.string()))
        for key, is_new in zip(keys, new if new is not None else (), strict=False):
            assert not is_new or key not in seen
            seen.add(key)
        seen.update(keys)


def test_every_key_is_called_new_where_they_ascend_from_chunk_to_chunk() -> None:
    order = KeyOrder()
    for start in (0, 950, 2_000, 77_777):
        new = order.new(pa.array([f"8935711{number:012d}" for number in range(start, start + 900)]))
        assert new is not None
        assert new.all()


def test_a_key_that_comes_again_is_the_only_one_not_called_new() -> None:
    order = KeyOrder()
    order.new(pa.array([f"8935711{number:012d}" for number in range(5_000)]))

    new = order.new(pa.array([f"8935711{number:012d}" for number in [*range(5_000, 9_000), 17]]))

    assert new is not None
    assert np.flatnonzero(~new).tolist() == [4_000]


def test_keys_without_order_are_given_up_for_good() -> None:
    order = KeyOrder()
    rng = np.random.default_rng(1)
    assert order.new(pa.array([f"8935711{number:012d}" for number in rng.integers(0, 10**12, 5_000)])) is None

    assert order.new(pa.array([f"8935711{number:012d}" for number in range(5_000)])) is None


def test_keys_are_called_new_where_two_lots_take_turns_within_a_chunk() -> None:
    lots = [range(start, start + 30) for start in (10_000, 770_000, 10_030, 770_030, 10_060)]

    new = KeyOrder().new(pa.array([f"8935711{number:012d}" for lot in lots for number in lot]))

    assert new is not None
    assert new.all()


def test_a_key_that_comes_twice_in_a_chunk_is_new_once() -> None:
    new = KeyOrder().new(pa.array([f"8935711{number:012d}" for number in (1, 2, 3, 3, 4, 2, 5)]))

    assert new is not None
    assert new.tolist() == [True, True, True, False, True, False, True]
