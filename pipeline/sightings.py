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

    from pipeline.sorted_runs import Numbers, Run

MOST_POSITIONS = 1 << 32
_SIEVE_WORDS = (125_000, 4_000_000)  # at first, at most: 1 MB, 32 MB
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
        for run in self._runs.runs_to_look_into():
            _look(run, asked, suspects, found)
        return found

    def add(self, prints: Numbers, positions: NDArray[np.int64], tags: Numbers) -> None:
        """Take in fingerprints that were never seen, each once. Raises LedgerError."""
        self._runs.add(prints[0], with_position(prints[1], positions), tags)
        if not len(self._sieve):
            return
        if len(self) > len(self._sieve) * _ENTRIES_PER_WORD and len(self._sieve) < _SIEVE_WORDS[1]:
            self._make_sieve()
        else:
            self._mark(prints)

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
        for run in self._runs.runs():
            for start in range(0, run.size, PART):
                self._mark(run.between(start, min(start + PART, run.size))[:1])


def with_position(second: Numbers, positions: NDArray[np.int64]) -> Numbers:
    """Put 32 more bits of a fingerprint and its position into one number."""
    both: Numbers = second & _UPPER
    both |= positions.view(np.uint64)
    return both


def parted(second: Numbers) -> tuple[Numbers, NDArray[np.int64]]:
    """Take such numbers apart again: bits of the fingerprint, positions."""
    return second & _UPPER, (second & _LOWER).view(np.int64)


def _look(run: Run, asked: Numbers, rows: NDArray[np.intp], found: tuple[NDArray[np.int64], Numbers]) -> None:
    """Write down what a run knows of ascending fingerprints; `rows` are theirs in `found`."""
    positions, tags = found
    places = run.lower_bounds(asked[0])
    left = np.arange(len(rows))
    while len(left := left[places[left] < run.size]):
        first, second, tag = run.at(places[left])
        equal = first == asked[0, left]
        rest, at = parted(second)
        same = equal & (rest == asked[1, left] & _UPPER)
        positions[rows[left[same]]] = at[same]
        tags[rows[left[same]]] = tag[same]
        left = left[equal & ~same]
        places[left] += 1
