"""Which rows go together, and which kind of defect comes next: what has to be remembered from row to row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.samples.noise import noise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.samples.defects import Can, Cells, Defect
    from pipeline.samples.noise import Integers

_ORIGINS_KEPT = 65_536


class Origins:
    """The positions of good rows, which later ones may repeat: all at first, then an even choice of them."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._positions, self._stride = np.empty(0, np.int64), 1

    def __len__(self) -> int:
        return len(self._positions)

    def add(self, positions: Integers) -> None:
        """Take in positions that come after all others."""
        self._positions = np.concatenate([self._positions, positions[:: self._stride]])

    def before(self, positions: Integers) -> Integers:
        """Draw a position before each of these; 0 where there is none."""
        earlier = np.searchsorted(self._positions, positions)
        drawn = noise(positions, self._seed, "origin") % np.maximum(earlier, 1).astype(np.uint64)
        known = np.append(self._positions, 0)
        return np.where(earlier > 0, known[drawn.astype(np.int64)], 0)

    def thin_out(self) -> None:
        """Forget every second position when there are many."""
        if len(self._positions) > _ORIGINS_KEPT:
            self._positions, self._stride = self._positions[::2], 2 * self._stride


class Turns:
    """Defects that a format can express, one after the other."""

    def __init__(self, defects: Sequence[Defect], can: frozenset[Can]) -> None:
        self._defects = [defect for defect in defects if defect.needs <= can]
        self._next = 0
        self._spent: set[int] = set()  # no more than Origins ever drew

    def make(self, cells: Cells, earlier: int, cells_before: Callable[[], Cells]) -> tuple[Defect, Cells]:
        """Make a row with the next defect that can be made of these cells and those of the row `earlier`."""
        while True:
            defect = self._defects[self._next]
            self._next = (self._next + 1) % len(self._defects)
            if defect.once and earlier in self._spent:
                continue
            made = defect.make(cells, cells_before() if defect.with_earlier else [])
            if made is not None:
                if defect.once:
                    self._spent.add(earlier)
                return defect, made
