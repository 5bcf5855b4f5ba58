"""Numbers in sorted runs, as many as the disk holds: the newest in memory, the others in files.

The files have no name (O_TMPFILE): they are gone when the process is, however it ends. They are read and
not mapped: how much of a mapped file counts as our memory is the kernel's choice (since Linux 6.18 up to
2 MB around every number looked at).
"""

from __future__ import annotations

import errno
import os
import tempfile
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from numpy.typing import NDArray

    Numbers = NDArray[np.uint64]
    Entries = NDArray[np.uint64]  # a column for each, ascending by the first row
    Lines = NDArray[np.uint64]  # the same with a line for each, as they lie in the files
    Run: TypeAlias = "RunInMemory | RunInFile"
    Slice = tuple[Run, int, int]

IN_MEMORY = 1 << 18
PART = 1 << 17  # entries that are looked through at a time
_FAN = 16  # runs of a size that become one when somebody looks for single numbers
_PAGE = 512  # entries between fences
_PAGES = 64  # looked through at a time
_AT_ONCE = 1 << 14  # entries that are copied at a time, little enough for a processor's cache
_MOST_FRESH = 64  # runs in memory: with more, each look would cost more than sorting them together
_BYTES = 8


@dataclass(frozen=True, slots=True)
class RunInMemory:
    """Sorted entries."""

    entries: Entries

    @property
    def size(self) -> int:
        """How many entries there are."""
        return int(self.entries.shape[1])

    def between(self, start: int, stop: int) -> Entries:
        """Give the entries from one place to before another."""
        return self.entries[:, start:stop]

    def at(self, places: NDArray[np.intp]) -> Entries:
        """Give the entries at ascending places."""
        return self.entries[:, places]

    def lower_bounds(self, asked: Numbers) -> NDArray[np.intp]:
        """Say where ascending numbers would go, as searchsorted tells it."""
        places: NDArray[np.intp] = np.searchsorted(self.entries[0], asked)
        return places


class _File:
    """A file without a name, open for as long as somebody refers to it. Raises OSError."""

    def __init__(self, folder: Path | None) -> None:
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            self.number = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.number)

    def size(self) -> int:
        return os.fstat(self.number).st_size

    def read_into(self, lines: Lines, offset: int) -> None:
        room = _bytes_of(lines)
        while room:
            read = os.preadv(self.number, [room], offset)
            if not read:
                raise OSError(errno.EIO, "the file is shorter than it was")
            room, offset = room[read:], offset + read

    def append(self, lines: Lines) -> None:
        left, offset = _bytes_of(lines), self.size()
        while left:
            written = os.pwrite(self.number, left, offset)
            left, offset = left[written:], offset + written


@dataclass(frozen=True, slots=True)
class RunInFile:
    """The same in a file, from byte `begin` on, entry by entry. `fences`: the numbers that begin pages."""

    file: _File
    begin: int
    size: int
    rows: int
    fences: Numbers

    def between(self, start: int, stop: int) -> Entries:
        """Give the entries from one place to before another. Raises LedgerError."""
        lines = np.empty((stop - start, self.rows), np.uint64)
        try:
            self.file.read_into(lines, self.begin + start * self.rows * _BYTES)
        except OSError as error:
            raise LedgerError(f"what was spilt cannot be read again: {error.strerror or error}") from None
        return lines.T

    def at(self, places: NDArray[np.intp]) -> Entries:
        """Give the entries at ascending places. Raises LedgerError."""
        entries = np.empty((self.rows, len(places)), np.uint64)
        for some, shift, lines in self._in_pages(places // _PAGE):
            entries[:, some] = lines[places[some] - shift].T
        return entries

    def lower_bounds(self, asked: Numbers) -> NDArray[np.intp]:
        """Say where ascending numbers would go, as searchsorted tells it. Raises LedgerError."""
        places = np.empty(len(asked), np.intp)
        pages = np.maximum(np.searchsorted(self.fences, asked) - 1, 0)
        for some, shift, lines in self._in_pages(pages):
            # Pages of a sorted run, one behind the other, are in order too.
            places[some] = np.searchsorted(lines[:, 0], asked[some]) + shift
        return places

    def _in_pages(self, wanted: NDArray[np.intp]) -> Iterator[tuple[slice, NDArray[np.intp], Lines]]:
        """Read pages, each once, some at a time. Wanted are ascending numbers, that may come again.

        Yield which of them these are, for each by how much its lines stand too early, and the lines.
        """
        pages, page_of = np.unique(wanted, return_inverse=True)
        for first in range(0, len(pages), _PAGES):
            some = pages[first : first + _PAGES]
            begins = (some * _PAGE).tolist()
            lines = np.concatenate([self.between(at, min(at + _PAGE, self.size)).T for at in begins])
            start, stop = np.searchsorted(page_of, [first, first + len(some)])
            slots = page_of[start:stop] - first
            yield slice(start, stop), (some[slots] - slots) * _PAGE, lines


class SortedRuns:
    """Entries of `rows` numbers each. Not safe to share between threads.

    `folder` takes the files (made when it is not there; None: the system's folder for such), `in_memory` is
    how many entries stay in memory.
    """

    def __init__(self, rows: int, folder: Path | None, in_memory: int) -> None:
        self._rows, self._folder, self._in_memory = rows, folder, in_memory
        self._fresh = np.empty((0, rows), np.uint64)
        self._filled = 0
        self._sorted_to = [0]  # where the runs in memory end; what comes after the last is in no order
        self._levels: list[list[RunInFile]] = []
        self._files: dict[int, _File] = {}
        self.count = 0

    def add(self, *numbers: Numbers) -> None:
        """Take entries in, in any order: of each its first number, its second … Raises LedgerError."""
        if not len(self._fresh):
            self._fresh = np.empty((self._in_memory, self._rows), np.uint64)
        taken, total = 0, len(numbers[0])
        while taken < total:
            room = min(total - taken, self._in_memory - self._filled)
            for row, of_all in enumerate(numbers):
                self._fresh[self._filled : self._filled + room, row] = of_all[taken : taken + room]
            taken, self._filled = taken + room, self._filled + room
            if self._filled == self._in_memory:
                self._spill()
        self.count += total

    def runs(self) -> list[Run]:
        """Give the runs, what was added first in the first ones."""
        fresh = self._fresh
        if self._filled > self._sorted_to[-1]:
            if len(self._sorted_to) > _MOST_FRESH:
                self._sorted_to = [0]
            added = fresh[self._sorted_to[-1] : self._filled]
            added[:] = np.concatenate([*_in_order(added)])
            self._sorted_to.append(self._filled)
        ends = zip(self._sorted_to, self._sorted_to[1:], strict=False)
        in_files = [run for level in reversed(self._levels) for run in level]
        return [*in_files, *(RunInMemory(fresh[start:stop].T) for start, stop in ends)]

    def runs_to_look_into(self) -> list[Run]:
        """Give the runs to look for single numbers in; that costs by their count: fewer are made first.

        As long as nobody does, none is written a second time. Raises LedgerError.
        """
        for level, runs in enumerate(self._levels):  # which may grow on the way
            if len(runs) >= _FAN:
                self._put(level + 1, self._written(level + 1, _merged(runs)))
                self._levels[level] = []
                del self._files[level]
        return self.runs()

    def _spill(self) -> None:
        run = self._written(0, _in_order(self._fresh))
        self._filled, self._sorted_to = 0, [0]
        self._put(0, run)

    def _put(self, level: int, run: RunInFile) -> None:
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(run)

    def _written(self, level: int, parts: Iterable[Lines]) -> RunInFile:
        """Write a run behind the others of its level."""
        size, fences = 0, []
        try:
            if level not in self._files:
                self._files[level] = _File(self._folder)
            file = self._files[level]
            begin = file.size()
            for lines in parts:
                file.append(lines)
                fences.append(lines[-size % _PAGE :: _PAGE, 0].copy())
                size += len(lines)
        except OSError as error:
            raise LedgerError(
                f"spill to {self._folder or tempfile.gettempdir()}: {error.strerror or error}; "
                "free some space there and begin again; what was settled stays settled"
            ) from None
        return RunInFile(file, begin, size, self._rows, np.concatenate(fences))


def in_ranges(runs: Sequence[Run]) -> Iterator[list[Slice]]:
    """Yield where the runs hold one range of numbers after the other: even ones, of about PART entries.

    Of numbers that are not spread evenly a range may hold any count. Raises LedgerError.
    """
    parts = -(-sum(run.size for run in runs) // PART)
    bounds = np.array([part * 2**64 // parts for part in range(1, parts)], np.uint64)
    cuts = [np.concatenate([[0], run.lower_bounds(bounds), [run.size]]) for run in runs]
    for part in range(parts):
        both = zip(runs, cuts, strict=True)
        yield [(run, int(cut[part]), int(cut[part + 1])) for run, cut in both]


def _merged(runs: Sequence[Run]) -> Iterator[Lines]:
    """Put sorted runs of numbers that are spread evenly together, some at a time."""
    for slices in in_ranges(runs):
        lines = np.concatenate([run.between(start, stop).T for run, start, stop in slices])
        yield from _in_order(lines)


def _in_order(lines: Lines) -> Iterator[Lines]:
    """Yield entries sorted, some at a time; those of one number stay in their order."""
    numbers = lines[:, 0].copy()
    order = np.argsort(numbers)
    ascending = numbers[order]
    if (ascending[1:] == ascending[:-1]).any():
        order = np.argsort(numbers, kind="stable")
    for start in range(0, len(lines), _AT_ONCE):
        yield np.take(lines, order[start : start + _AT_ONCE], axis=0)


def _bytes_of(lines: Lines) -> memoryview:
    return lines.reshape(-1).view(np.uint8).data
