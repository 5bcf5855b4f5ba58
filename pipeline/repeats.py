"""Fingerprints that stand in several rows, told when all rows are known: no sieve, no look on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.sightings import parted, with_position
from pipeline.sorted_runs import IN_MEMORY, PART, SortedRuns, in_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipeline.sorted_runs import Entries, Numbers, Slice


class Repeats:
    """Gathers the fingerprints of all rows. Not safe to share between threads.

    See Sightings for what tells them apart, SortedRuns for the parameters and the error of a full disk.
    """

    def __init__(self, folder: Path | None = None, *, in_memory: int = IN_MEMORY) -> None:
        self._runs = SortedRuns(2, folder, in_memory)

    def add(self, prints: Numbers, positions: NDArray[np.int64]) -> None:
        """Take in the fingerprints of further rows. Raises LedgerError."""
        self._runs.add(prints[0], with_position(prints[1], positions))

    def found(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the positions of rows whose fingerprint stood in an earlier row, and of the first such row.

        Ascending within what is yielded at once, which is not much more than PART.
        """
        for slices in in_ranges(self._runs.runs()):
            first = np.empty((2, 0), np.uint64)  # of each fingerprint in this range: not many more than PART
            for entries in _some_at_a_time(slices):
                # Those known already stand in front, so the first of equal ones is the first of all.
                both = np.concatenate([first, entries], axis=1)
                again, earlier = _repeated(both)
                if len(again):
                    yield _positions(both, again), _positions(both, earlier)
                    both = np.delete(both, again, axis=1)
                first = both


def _repeated(entries: Entries) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give the entries whose fingerprint stood in an earlier row, and the first of each; by index."""
    numbers = np.sort(entries[0])
    if not (numbers[1:] == numbers[:-1]).any():
        nobody = np.empty(0, np.intp)
        return nobody, nobody
    order = np.argsort(entries[0])
    twice = np.flatnonzero(np.diff(entries[0, order]) == 0)
    order = order[np.union1d(twice, twice + 1)]
    rest, positions = parted(entries[1, order])
    order = order[np.lexsort((positions, rest, entries[0, order]))]
    rest, positions = parted(entries[1, order])
    new = np.r_[True, (np.diff(entries[0, order]) != 0) | (np.diff(rest) != 0)]
    first = order[new][np.cumsum(new) - 1]
    ascending = np.argsort(positions[~new])
    return order[~new][ascending], first[~new][ascending]


def _positions(entries: Entries, indices: NDArray[np.intp]) -> NDArray[np.int64]:
    return parted(entries[1, indices])[1]


def _some_at_a_time(slices: Sequence[Slice]) -> Iterator[Entries]:
    """Read small slices together, large ones in parts, in order: what all rows share is a large one."""
    waiting: list[Entries] = []
    count = 0
    for run, begin, end in slices:
        for start in range(begin, end, PART):
            stop = min(start + PART, end)
            waiting.append(run.between(start, stop))
            count += stop - start
            if count >= 2 * PART:  # more than all slices of an even range have together
                yield np.concatenate(waiting, axis=1)
                waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting, axis=1)
