"""Numbers in sorted runs, as many as the disk holds: the newest in memory, the others in files.

Half a million entries become a run in a file, sixteen runs of a size one of the next size. The files have no
name (O_TMPFILE): they are gone when the process is, however it ends.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Numbers = NDArray[np.uint64]
    #: Columns are entries, ascending by the first row.
    Entries = NDArray[np.uint64]

IN_MEMORY = 1 << 19
PART = 1 << 17  # entries that are looked through at a time
_FAN = 16  # runs of a size that become one
_PAGE = 512  # numbers to a page of 4,096 bytes
_LOOKS = 64  # looks into a file at a time
_MOST_FRESH = 64  # runs in memory: with more, each look would cost more than putting them together


@dataclass(frozen=True, slots=True)
class Run:
    """Sorted entries: in memory, or mapped from a file. `fences` are the numbers that begin its pages."""

    entries: Entries
    mapping: mmap.mmap | None = None
    fences: Numbers | None = None

    def lower_bounds(self, asked: Numbers) -> Iterator[tuple[slice, NDArray[np.intp]]]:
        """Yield where ascending numbers would go, as searchsorted tells it, some at a time.

        With every page of a file that is looked at, the kernel maps those around it: let go of after each.
        """
        if self.fences is None:
            yield slice(None), np.searchsorted(self.entries[0], asked)
            return
        numbers, size = self.entries[0], self.entries.shape[1]
        for start in range(0, len(asked), _LOOKS):
            some = asked[start : start + _LOOKS]
            low = np.maximum(np.searchsorted(self.fences, some) - 1, 0) * _PAGE
            up = np.minimum(low + _PAGE, size)
            for _ in range(_PAGE.bit_length()):
                middle = (low + up) >> 1
                less = (low < up) & (numbers[np.minimum(middle, size - 1)] < some)
                low, up = np.where(less, middle + 1, low), np.where(less, up, np.minimum(middle, up))
            yield slice(start, start + _LOOKS), low
            self.let_go()

    def cuts(self, bounds: Numbers) -> list[int]:
        """Give where the ranges begin and end that ascending bounds make."""
        inner = [int(place) for _, places in self.lower_bounds(bounds) for place in places]
        return [0, *inner, self.entries.shape[1]]

    def let_go(self) -> None:
        """Give back the memory of the pages looked at; they stay in the kernel's cache."""
        if self.mapping is not None:
            self.mapping.madvise(mmap.MADV_DONTNEED)


class SortedRuns:
    """Entries of `rows` numbers each. Not safe to share between threads.

    `folder` takes the files (made when it is not there; None: the system's folder for such), `in_memory` is
    how many entries stay in memory.
    """

    def __init__(self, rows: int, folder: Path | None, in_memory: int) -> None:
        self._rows, self._folder, self._in_memory = rows, folder, in_memory
        self._fresh: list[Run] = []
        self._levels: list[list[Run]] = []
        self._fresh_count = self.count = 0

    def add(self, entries: Entries) -> None:
        """Take sorted entries in. Raises LedgerError when they cannot be written."""
        self._fresh.append(Run(entries))
        self._fresh_count += entries.shape[1]
        self.count += entries.shape[1]
        if self._fresh_count >= self._in_memory:
            fresh, self._fresh, self._fresh_count = self._fresh, [], 0
            self._put(0, self._merged(fresh))
        elif len(self._fresh) == _MOST_FRESH:
            self._fresh = [Run(_sorted([run.entries for run in self._fresh]))]

    def __iter__(self) -> Iterator[Run]:
        """Yield the runs, what was added first in the first ones."""
        for level in reversed(self._levels):
            yield from level
        yield from self._fresh

    def _put(self, level: int, run: Run) -> None:
        if level == len(self._levels):
            self._levels.append([])
        runs = self._levels[level]
        runs.append(run)
        if len(runs) == _FAN:
            self._levels[level] = []
            self._put(level + 1, self._merged(runs))

    def _merged(self, runs: Sequence[Run]) -> Run:
        """Make one run in a file of many; equal entries stay in their order."""
        total = sum(run.entries.shape[1] for run in runs)
        done, fences = 0, []
        try:
            if self._folder is not None:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder, buffering=0) as file:
                for slices in in_ranges(runs, total):
                    entries = _sorted(slices)
                    for row, numbers in enumerate(entries):
                        _write_at(file.fileno(), numbers, (row * total + done) * 8)
                    fences.append(entries[0, -done % _PAGE :: _PAGE].copy())
                    done += entries.shape[1]
                mapping = mmap.mmap(file.fileno(), self._rows * total * 8)
        except OSError as error:
            raise LedgerError(
                f"spill to {self._folder or tempfile.gettempdir()}: {error.strerror or error}; "
                "free some space there and begin again; what was settled stays settled"
            ) from None
        whole = np.frombuffer(mapping, np.uint64).reshape(self._rows, total)
        return Run(whole, mapping, np.concatenate(fences))


def in_ranges(runs: Sequence[Run], total: int) -> Iterator[list[Entries]]:
    """Yield what the runs hold of one range of numbers after the other: even ones, of about PART entries."""
    parts = -(-total // PART)
    bounds = np.array([part * 2**64 // parts for part in range(1, parts)], np.uint64)
    cuts = [run.cuts(bounds) for run in runs]
    for part in range(parts):
        both = zip(runs, cuts, strict=True)
        yield [run.entries[:, cut[part] : cut[part + 1]] for run, cut in both]
        for run in runs:
            run.let_go()


def _sorted(slices: Sequence[Entries]) -> Entries:
    """Put entries in one order; equal ones stay in theirs."""
    entries = np.concatenate(slices, axis=1)
    return entries[:, np.argsort(entries[0], kind="stable")]


def _write_at(file: int, numbers: Numbers, offset: int) -> None:
    data: Any = np.ascontiguousarray(numbers).data.cast("B")
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
