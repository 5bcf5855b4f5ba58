"""Where a fingerprint was first seen: as a plain dict would tell it, in memory and on disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pipeline import sightings as module, sorted_runs
from pipeline.errors import LedgerError
from pipeline.sightings import Sightings

if TYPE_CHECKING:
    from pathlib import Path

# Numbers that share one half or the other; the lower 32 bits of the second half do not count.
HALVES = st.sampled_from([0, 1, 7 << 60, (7 << 60) + 1, 2**64 - 1])
PRINTS = st.tuples(HALVES, HALVES.map(lambda half: half & ~0xFFFFFFFF))
CALLS = st.lists(st.lists(PRINTS, unique=True, max_size=8), max_size=8)


def as_prints(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.array(pairs, np.uint64).reshape(-1, 2).T.copy()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(CALLS, st.integers(1, 9), st.lists(st.booleans(), min_size=8, max_size=8))
def test_it_answers_as_a_plain_dict_would_whoever_is_told_what_is_new(
    tmp_path: Path, calls: list[list[tuple[int, int]]], in_memory: int, knowing: list[bool]
) -> None:
    sightings, plain = Sightings(tmp_path, in_memory=in_memory), {}
    position = 0
    for pairs, told in zip(calls, knowing, strict=False):
        surely_new = np.array([pair not in plain for pair in pairs], np.bool_)
        found, tags = sightings.find(as_prints(pairs), surely_new if told else None)
        expected = [plain.get(pair, (-1, 0)) for pair in pairs]
        assert list(zip(found.tolist(), tags.tolist(), strict=True)) == expected
        new = sorted(pair for pair in pairs if pair not in plain)
        places = np.arange(position, position + len(new))
        sightings.add(as_prints(new), places, places.astype(np.uint64) + 5)
        plain |= {pair: (int(place), int(place) + 5) for pair, place in zip(new, places, strict=True)}
        position += len(new)


def random_prints(rng: np.random.Generator, count: int) -> np.ndarray:
    prints = rng.integers(0, 2**64, (2, count), dtype=np.uint64)
    return prints[:, np.argsort(prints[0])]


def fill(sightings: Sightings, calls: int, per_call: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    taken = []
    for call in range(calls):
        prints = random_prints(rng, per_call)
        places = np.arange(call * per_call, (call + 1) * per_call)
        sightings.add(prints, places, np.zeros(per_call, np.uint64))
        taken.append(prints)
    return np.concatenate(taken, axis=1), np.arange(calls * per_call)


def test_runs_are_merged_and_every_one_is_still_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorted_runs, "PART", 700)
    monkeypatch.setattr(sorted_runs, "_PAGE", 40)
    monkeypatch.setattr(sorted_runs, "_PAGES", 50)
    sightings = Sightings(tmp_path, in_memory=1_000)
    early, places = fill(sightings, 36, 500)
    assert (sightings.find(early)[0] == places).all()
    late, places = fill(sightings, 8, 500, seed=2)
    assert [len(level) for level in sightings._runs._levels] == [4, 1]
    assert (sightings.find(early)[0] == np.arange(18_000)).all()
    assert (sightings.find(late)[0] == places).all()
    others = random_prints(np.random.default_rng(3), 5_000)
    assert (sightings.find(others, np.zeros(5_000, np.bool_))[0] == -1).all()


def test_runs_stay_as_they_are_until_somebody_looks_into_them(tmp_path: Path) -> None:
    sightings = Sightings(tmp_path, in_memory=100)
    prints, places = fill(sightings, 30, 100)
    assert [len(level) for level in sightings._runs._levels] == [30]
    sightings.find(prints, np.ones(3_000, np.bool_))
    assert [len(level) for level in sightings._runs._levels] == [30]
    assert (sightings.find(prints)[0] == places).all()
    assert [len(level) for level in sightings._runs._levels] == [0, 1]


def test_the_sieve_grows_and_lets_nothing_slip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SIEVE_WORDS", (64, 1000))
    sightings = Sightings(tmp_path, in_memory=900)
    sightings.find(random_prints(np.random.default_rng(2), 1))
    prints, places = fill(sightings, 30, 300)
    assert len(sightings._sieve) == 1000
    assert (sightings.find(prints)[0] == places).all()


def test_there_is_no_sieve_while_it_is_told_what_is_new(tmp_path: Path) -> None:
    sightings = Sightings(tmp_path)
    prints, places = fill(sightings, 3, 300)
    sightings.find(prints, np.ones(900, np.bool_))
    assert len(sightings._sieve) == 0
    assert (sightings.find(prints)[0] == places).all()


def test_its_files_have_no_name_and_belong_to_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    sightings = Sightings(folder, in_memory=10)
    fill(sightings, 4, 10)
    assert sightings._runs._levels
    assert list(folder.iterdir()) == []
    assert folder.stat().st_mode & 0o777 == 0o700


def test_nothing_is_written_before_memory_is_full(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    fill(Sightings(folder, in_memory=41), 4, 10)
    assert not folder.exists()


def test_a_full_disk_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(LedgerError, match="No space left on device; free some space"):
        fill(Sightings(tmp_path, in_memory=10), 1, 10)
