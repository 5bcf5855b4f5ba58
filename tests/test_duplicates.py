from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.duplicates import SeenKeys

if TYPE_CHECKING:
    from collections.abc import Iterable

# Few different numbers, so that keys meet often; widths on both sides of 19, leading zeros, prefixes.
NUMBERS = st.builds(
    lambda head, number, width: f"{head}{number:0{width}d}",
    st.sampled_from(["", "", "8", "89", "1234567890123", "ICCID:", "IMSI:", "A1:", "a:b:", ":", "x", "8:9"]),
    st.integers(0, 3) | st.integers(10**18, 10**18 + 3) | st.integers(2**64 - 2, 2**64 + 1),
    st.sampled_from([1, 2, 18, 19, 20, 21, 32]),
)
WORDS = st.sampled_from(
    [
        "",
        "x",
        "898600B5123456789012",
        "898600B5123456789013",
        "ICCID:",
        "ICCID:8x",
        "é1",
        "\u0661",
        "1\x00",
        "\x001:2",
    ]
)
CALLS = st.lists(st.lists(NUMBERS | WORDS, max_size=12), max_size=5)


def seen_in(keys: SeenKeys, *cells: str) -> list[bool]:
    return keys.first_seen(pa.array(cells, type=pa.string())).tolist()


@settings(max_examples=300)
@given(CALLS, st.integers(0, 2))
def test_it_answers_as_a_plain_set_would(calls: list[list[str]], skip: int) -> None:
    keys, plain = SeenKeys(), set()
    for cells in calls:
        expected = []
        for cell in cells:
            expected.append(cell not in plain)
            plain.add(cell)
        sliced = pa.array(["8", "9"][:skip] + cells, type=pa.string()).slice(skip)
        assert keys.first_seen(sliced).tolist() == expected


@settings(max_examples=100)
@given(CALLS, st.lists(st.sampled_from(["7", "07", "ICCID:7", "x", ""]), max_size=5))
def test_asking_what_is_known_answers_as_a_plain_set_would_and_claims_nothing(
    calls: list[list[str]], others: list[str]
) -> None:
    keys, plain = SeenKeys(), set()
    for cells in calls:
        asked = pa.array(cells + others, type=pa.string())
        assert keys.known(asked).tolist() == [cell in plain for cell in cells + others]
        keys.first_seen(pa.array(cells, type=pa.string()))
        plain.update(cells)


def test_the_first_of_equal_keys_in_one_array_is_the_one_that_counts() -> None:
    assert seen_in(SeenKeys(), "20", "10", "20", "10", "30") == [True, True, False, False, True]


def test_keys_that_differ_only_in_the_last_digit_are_different() -> None:
    assert all(seen_in(SeenKeys(), *(f"1234567891234567891{last}" for last in range(10))))


def test_leading_zeros_and_length_make_a_different_key() -> None:
    assert all(seen_in(SeenKeys(), "7", "07", "007", "0" * 19 + "7", "0" * 31 + "7", "ICCID:7", "ICCID:07"))


def test_a_key_of_32_digits_differs_by_its_leading_digits_too() -> None:
    tail = "9" * 19
    assert seen_in(SeenKeys(), "1" * 13 + tail, "2" * 13 + tail, "1" * 13 + tail) == [True, True, False]


def test_the_same_number_of_another_type_is_another_key() -> None:
    keys = SeenKeys()
    assert seen_in(keys, "IMSI:326543826000001", "IMEI:326543826000001", "326543826000001") == [True] * 3
    assert seen_in(keys, "IMEI:326543826000001") == [False]


def test_text_is_never_read_as_a_number() -> None:
    assert all(seen_in(SeenKeys(), "21", "1;", "2a", "a1", "ICCID:21", "ICCID:1;"))  # ";" is "0" + 11


def test_a_key_without_text_is_refused() -> None:
    with pytest.raises(ValueError, match="without a key"):
        SeenKeys().first_seen(pa.array(["1", None]))


def test_an_empty_array_claims_nothing() -> None:
    keys = SeenKeys()
    assert seen_in(keys) == []
    assert seen_in(keys, "") == [True]


def luhn_sequence(count: int) -> list[str]:
    """Give ICCIDs as a factory numbers them: consecutive, each with its own last digit."""
    return [f"89357110{number:010d}{number * 7 % 10}" for number in range(count)]


@pytest.mark.parametrize("order", ["ascending", "shuffled"])
@pytest.mark.parametrize(
    "cells",
    [
        [f"89357110{n:011d}" for n in range(200_000)],
        luhn_sequence(200_000),
        [f"ICCID:8{c}" for c in luhn_sequence(200_000)],
    ],
    ids=["consecutive", "one in ten", "with a prefix, 20 digits"],
)
def test_a_factory_sequence_costs_at_most_two_bytes_a_key(cells: list[str], order: str) -> None:
    if order == "shuffled":
        cells = random.Random(7).sample(cells, len(cells))
    keys = SeenKeys()
    for start in range(0, len(cells), 50_000):
        assert keys.first_seen(pa.array(cells[start : start + 50_000])).all()
    assert not keys._texts
    assert stored_bytes(keys) <= 2 * len(cells)


def stored_bytes(keys: SeenKeys) -> int:
    bitmaps: Iterable = keys._numbers.values()
    return sum(len(bitmap.serialize()) for bitmap in bitmaps)
