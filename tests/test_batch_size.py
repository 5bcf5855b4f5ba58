"""The bound learned from what a vendor refuses."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pipeline.batch_size import BatchSize


def calls(size: BatchSize, limit: int, *, words: str = "") -> int:
    """Send full batches to a vendor that takes `limit`, until the bound rests; count the refused ones."""
    refused = 0
    for _ in range(100):
        if size.bound > limit:
            size.refused(size.bound, words)
            refused += 1
        else:
            size.accepted(size.bound)
    return refused


def test_nothing_is_learned_from_a_vendor_that_takes_all() -> None:
    size = BatchSize(1000)
    assert calls(size, 1000) == 0
    assert size.bound == 1000


def test_a_bound_meant_exclusively_costs_one_refusal() -> None:
    size = BatchSize(1000)
    assert calls(size, 999) == 1
    assert size.bound == 999


def test_a_bound_named_in_the_vendors_words_costs_one_refusal() -> None:
    size = BatchSize(1000)
    assert calls(size, 250, words="profileItems is more than 250") == 1
    assert size.bound == 250


def test_a_bound_named_exclusively_is_found_all_the_same() -> None:
    size = BatchSize(1000)
    assert calls(size, 249, words="Less than 250 Profiles") <= 4
    assert size.bound >= 240


@pytest.mark.parametrize("limit", [1, 2, 7, 100, 250, 500, 640, 998, 999, 1000])
def test_an_unnamed_bound_is_found_within_a_hundredth(limit: int) -> None:
    size = BatchSize(1000)
    refused = calls(size, limit)
    assert 0.99 * limit - 1 <= size.bound <= limit
    assert refused <= 12


@given(st.integers(1, 1000), st.lists(st.tuples(st.integers(1, 1000), st.booleans()), max_size=60))
def test_the_bound_stays_between_one_and_the_jobs_own_whatever_the_vendor_says(
    most: int, story: list[tuple[int, bool]]
) -> None:
    size = BatchSize(most)
    for items, taken in story:
        if taken:
            size.accepted(min(items, most))
        else:
            size.refused(min(items, most), f"at most {items}")
        assert 1 <= size.bound <= most


@given(st.integers(2, 1000), st.lists(st.tuples(st.integers(1, 1000), st.booleans()), max_size=60))
def test_a_refused_size_is_not_tried_again_at_once(items: int, story: list[tuple[int, bool]]) -> None:
    size = BatchSize(1000)
    for other, taken in story:
        (size.accepted if taken else size.refused)(other)
    size.refused(items)
    assert size.bound < items


def test_two_halves_that_pass_mean_that_the_whole_was_too_large() -> None:
    size = BatchSize(1000)
    size.suspect(1000)
    size.accepted(500)
    assert size.bound == 1000
    size.accepted(500)
    assert size.bound == 999


def test_a_culprit_found_alone_clears_the_size() -> None:
    size = BatchSize(1000)
    size.suspect(1000)
    size.accepted(500)
    size.culprit()
    size.accepted(500)
    assert size.bound == 1000
