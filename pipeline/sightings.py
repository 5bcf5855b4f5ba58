"""Where every fingerprint was first seen, exactly and in little memory: sorted runs behind a sieve.

The sieve (a Bloom filter, an entry's bits in one word) spares nearly all that was never seen the look into
the runs. It is made once somebody asks without knowing what is new anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.sorted_runs import IN_MEMORY, PART, SortedRuns

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pipeline.sorted_runs import Entries, Numbers

MOST_POSITIONS = 1 << 32
_SIEVE_WORDS = (125_000, 5_000_000)  # at first, at most: 1 MB, 40 MB
_ENTRIES_PER_WORD = 5  # beyond, the sieve grows
_SIX_BITS, _HALF = np.uint64(63), np.uint64(32)
_UPPER, _LOWER = np.uint64(0xFFFFFFFF00000000), np.uint64(0xFFFFFFFF)


class Sightings:
    """The first sighting of every fingerprint. Not safe to share between threads.

    Fingerprints are told apart by 96 of their bits: that any two of 2 * 10^8 meet happens once in 10^12 runs.
    Positions are below MOST_POSITIONS. See SortedRuns for `folder`, `in_memory` and the error of a full disk.
    """

    def __init__(self, folder: Path | None = None, *, in_memory: int = IN_MEMORY) -> None:
        self._runs = SortedRuns(3, folder, in_memory)
        self._sieve = np.empty(0, np.uint64)

    def __len__(self) -> int:
        return self._runs.count

    def find(
        self, prints: Numbers, new: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], Numbers]:
        """Give for each fingerprint its position and tag; position -1 for those never seen.

        `new` are known to be among those.
        """
        found = np.full(prints.shape[1], -1, np.int64), np.zeros(prints.shape[1], np.uint64)
        if new is None:
            if not len(self._sieve):
                self._make_sieve()
            words, bits = self._places(prints)
            new = (self._sieve[words] & bits) != bits
        suspects = np.flatnonzero(~new)
        if not len(suspects):
            return found
        suspects = suspects[np.argsort(prints[0, suspects])]
        asked = prints[:, suspects]
        for run in self._runs:
            for some, places in run.lower_bounds(asked[0]):
                _look(run.entries, places, asked[:, some], suspects[some], found)
        return found

    def add(self, prints: Numbers, positions: NDArray[np.int64], tags: Numbers) -> None:
        """Take in fingerprints that were never seen, each once, ascending by their first row."""
        entries = with_positions(prints, positions, tags)
        self._runs.add(entries)
        if not len(self._sieve):
            return
        if len(self) > len(self._sieve) * _ENTRIES_PER_WORD and len(self._sieve) < _SIEVE_WORDS[1]:
            self._make_sieve()
        else:
            self._mark(entries)

    def _places(self, prints: Numbers) -> tuple[NDArray[np.intp], Numbers]:
        """Give the word of the sieve that is a fingerprint's, and its four bits in it."""
        bits = np.uint64(1) << (prints[0] & _SIX_BITS)
        for shift in (6, 12, 18):
            bits |= np.uint64(1) << ((prints[0] >> np.uint64(shift)) & _SIX_BITS)
        words = ((prints[0] >> _HALF) * np.uint64(len(self._sieve))) >> _HALF
        return words.astype(np.intp), bits

    def _mark(self, prints: Numbers) -> None:
        words, bits = self._places(prints)
        np.bitwise_or.at(self._sieve, words, bits)

    def _make_sieve(self) -> None:
        """Make a sieve that will do until there are twice as many."""
        self._sieve = np.empty(0, np.uint64)  # gone before there is another one
        size = 2 * len(self) // _ENTRIES_PER_WORD
        self._sieve = np.zeros(min(max(size, _SIEVE_WORDS[0]), _SIEVE_WORDS[1]), np.uint64)
        for run in self._runs:
            for start in range(0, run.entries.shape[1], PART):
                self._mark(run.entries[:1, start : start + PART])
                run.let_go()


def with_positions(prints: Numbers, positions: NDArray[np.int64], *more: Numbers) -> Entries:
    """Make entries: 64 bits of a fingerprint; 32 more of them and the position; whatever more there is."""
    second = prints[1] & _UPPER
    second |= positions.view(np.uint64)
    return np.stack([prints[0], second, *more])


def parted(second: Numbers) -> tuple[Numbers, NDArray[np.int64]]:
    """Take the second row of entries apart again: its bits of the fingerprint, the positions."""
    return second & _UPPER, (second & _LOWER).view(np.int64)


def _look(
    entries: Entries,
    places: NDArray[np.intp],
    asked: Numbers,
    rows: NDArray[np.intp],
    found: tuple[NDArray[np.int64], Numbers],
) -> None:
    """Write down what these entries know of fingerprints whose first rows would go at `places`."""
    positions, tags = found
    left = np.flatnonzero(places < entries.shape[1])
    while len(left := left[entries[0, places[left]] == asked[0, left]]):
        rest, at = parted(entries[1, places[left]])
        same = rest == asked[1, left] & _UPPER
        positions[rows[left[same]]] = at[same]
        tags[rows[left[same]]] = entries[2, places[left[same]]]
        left = left[~same]
        places[left] += 1
        left = left[places[left] < entries.shape[1]]
