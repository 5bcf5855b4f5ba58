"""Fingerprints that stand in several rows: every row but the first is told, with the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pipeline import repeats as module, sorted_runs
from pipeline.repeats import Repeats

if TYPE_CHECKING:
    from pathlib import Path

# Numbers that share one half or the other; the lower 32 bits of the second half do not count.
HALVES = st.sampled_from([0, 1, 7 << 60, 2**63, 2**64 - 1])
PRINTS = st.tuples(HALVES, HALVES.map(lambda half: half & ~0xFFFFFFFF))
CALLS = st.lists(st.lists(PRINTS, max_size=12), max_size=8)


def told(calls: list[list[tuple[int, int]]], in_memory: int, folder: Path | None = None) -> dict[int, int]:
    repeats, position = Repeats(folder, in_memory=in_memory), 0
    for pairs in calls:
        prints = np.array(pairs, np.uint64).reshape(-1, 2).T.copy()
        repeats.add(prints, np.arange(position, position + len(pairs)))
        position += len(pairs)
    found: dict[int, int] = {}
    for again, first in repeats.found():
        assert (np.diff(again) > 0).all()
        assert not found.keys() & set(again.tolist())
        found |= dict(zip(again.tolist(), first.tolist(), strict=True))
    return found


def expected(calls: list[list[tuple[int, int]]]) -> dict[int, int]:
    first: dict[tuple[int, int], int] = {}
    found = {}
    for position, pair in enumerate(pair for pairs in calls for pair in pairs):
        if first.setdefault(pair, position) != position:
            found[position] = first[pair]
    return found


@settings(max_examples=200, deadline=None)
@given(CALLS, st.integers(1, 20), st.integers(1, 9))
def test_it_tells_what_a_plain_dict_would(
    calls: list[list[tuple[int, int]]], in_memory: int, part: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for place in (module, sorted_runs):
            patch.setattr(place, "PART", part)
        assert told(calls, in_memory) == expected(calls)


def test_runs_that_are_merged_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (module, sorted_runs):
        monkeypatch.setattr(place, "PART", 100)
    rng = np.random.default_rng(1)
    numbers = rng.integers(0, 2**64, (300, 2), dtype=np.uint64)
    numbers[:, 1] &= np.uint64(0xFFFFFFFF00000000)
    pairs = [tuple(pair) for pair in numbers[np.r_[rng.integers(0, 300, 3_000), [7] * 3_000]].tolist()]
    calls = [pairs[start : start + 40] for start in range(0, len(pairs), 40)]
    assert told(calls, 150, tmp_path) == expected(calls)
    assert list(tmp_path.iterdir()) == []
