from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, strategies as st
from ledger_making import key_of

from pipeline.ledgers.packing import pack_keys, pack_positions, unpack_keys, unpack_positions

KEYS = st.one_of(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=30),
    st.lists(st.text("0123456789", min_size=5, max_size=5), min_size=1, max_size=30),
)


@given(KEYS, st.integers(0, 5))
def test_keys_of_any_text_come_back_from_any_slice(keys: list[str], skipped: int) -> None:
    column = pa.array(["skipped"] * skipped + keys, pa.string()).slice(skipped)
    assert unpack_keys(pack_keys(column), len(keys)).to_pylist() == keys


def test_a_thousand_iccids_that_count_upwards_take_less_than_200_bytes() -> None:
    assert len(pack_keys(pa.array([key_of(position) for position in range(5_000, 6_000)]))) < 200


def test_consecutive_positions_take_no_bytes() -> None:
    assert pack_positions(np.arange(7, 1_007)) is None
    assert unpack_positions(7, 9, None).tolist() == [7, 8, 9]


@given(st.sets(st.integers(1, 2**32 - 1), min_size=1, max_size=50))
def test_scattered_positions_come_back_in_order(positions: set[int]) -> None:
    ordered = sorted(positions)
    blob = pack_positions(np.array(ordered, np.int64))
    assert unpack_positions(ordered[0], ordered[-1], blob).tolist() == ordered
