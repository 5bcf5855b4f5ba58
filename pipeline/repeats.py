"""Fingerprints that stand in several rows, told when all rows are known: no sieve, no look on the way."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pipeline.sightings import parted, with_positions
from pipeline.sorted_runs import IN_MEMORY, PART, SortedRuns, in_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipeline.sorted_runs import Entries, Numbers


class Repeats:
    """Gathers the fingerprints of all rows. Not safe to share between threads.

    See Sightings for what tells them apart, SortedRuns for the parameters and the error of a full disk.
    """

    def __init__(self, folder: Path | None = None, *, in_memory: int = IN_MEMORY) -> None:
        self._runs = SortedRuns(2, folder, in_memory)

    def add(self, prints: Numbers, positions: NDArray[np.int64]) -> None:
        """Take in the fingerprints of further rows; positions ascend, from call to call too."""
        order = np.argsort(prints[0])
        if (np.diff(prints[0, order]) == 0).any():
            order = np.argsort(prints[0], kind="stable")
        self._runs.add(with_positions(prints[:, order], positions[order]))

    def found(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the positions of rows whose fingerprint stood in an earlier row, and of the first such row.

        Ascending within what is yielded at once, which is not much more than PART.
        """
        for slices in in_ranges(list(self._runs), self._runs.count):
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
    order = np.argsort(entries[0])
    twice = np.flatnonzero(np.diff(entries[0, order]) == 0)
    if not len(twice):
        return twice, twice
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


def _some_at_a_time(slices: Sequence[Entries]) -> Iterator[Entries]:
    """Put small slices together and cut large ones, in their order: what all rows share is a large one."""
    waiting: list[Entries] = []
    count = 0
    for entries in slices:
        for start, stop in pairwise([*range(0, entries.shape[1], PART), entries.shape[1]]):
            waiting.append(entries[:, start:stop])
            count += stop - start
            if count >= PART:
                yield np.concatenate(waiting, axis=1)
                waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting, axis=1)
