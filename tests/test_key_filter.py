"""A filter never denies a key it was made of, and denies almost every other one."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from ledger_making import key_of

from pipeline.ledgers.key_filter import Sought, filter_of, lie_apart

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)


def strings(keys: list[str]) -> pa.StringArray:
    return pa.array(keys, pa.string())


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=60), st.integers(0, 3))
def test_every_key_of_a_filter_is_let_through(keys: list[str], left_out: int) -> None:
    left_out = min(left_out, len(keys) - 1)
    bits = filter_of(strings(keys).slice(left_out))
    assert all(Sought(key).may_be_in(bits) for key in keys[left_out:])


@pytest.mark.parametrize("prefix", ["", "ICCID:"])
def test_few_other_keys_are_let_through(prefix: str) -> None:
    numbers = random.Random(1).sample(range(50_000_000), 20_000)
    keys = [prefix + key_of(number) for number in numbers]
    filters = [filter_of(strings(keys[at : at + 1_000])) for at in range(0, 10_000, 1_000)]
    assert {len(bits) for bits in filters} == {1_250}
    through = sum(Sought(key).may_be_in(bits) for key in keys[10_000:] for bits in filters)
    assert 0 < through < 0.025 * 10_000 * len(filters)


def test_keys_that_differ_in_one_digit_only_are_told_apart() -> None:
    key = key_of(123)
    others = [
        key[:at] + digit + key[at + 1 :]
        for at in range(len(key))
        for digit in "0123456789"
        if digit != key[at]
    ]
    assert sum(Sought(other).may_be_in(filter_of(strings([key]))) for other in others) < len(others) / 4


@pytest.mark.parametrize(
    ("low", "high", "keys", "apart"),
    [
        (key_of(1), key_of(1_000), 1_000, False),
        (key_of(1), key_of(6_000), 1_000, False),
        (key_of(1), key_of(60_000), 1_000, True),
        (key_of(1), key_of(60_000), 10_000, False),
        (key_of(5), key_of(5), 1, False),
        ("", "", 2, False),
        ("ICCID:8935", "IMSI:00101", 2, True),
        ("898600B5000", "898600C5000", 2, True),
        ("8935", "89351", 2, True),
    ],
)
def test_only_keys_that_do_not_count_upwards_lie_apart(
    low: str, high: str, keys: int, *, apart: bool
) -> None:
    assert lie_apart(low, high, keys) is apart
