"""How a row is named to people: by its number, and where there are several files by its file's name too."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class RowNames:
    """Names the rows of an inventory whose files (`files`, by name) are read one after another.

    A row is `row 7` of an only file, and `b.csv:3` among several.
    """

    def __init__(self, files: Sequence[str] = ()) -> None:
        short = [PurePath(name.rpartition("!")[2]).name for name in files]
        self._files = short if len(set(short)) == len(short) else list(files)
        self._starts: list[int] = []

    @property
    def rows_before(self) -> int:
        """Count the rows of the files before the one that is read now."""
        return self._starts[-1] if self._starts else 0

    @property
    def starts(self) -> tuple[int, ...]:
        """For each file begun so far: how many rows there are in those before it."""
        return tuple(self._starts)

    def file(self, index: int) -> str:
        """Name a file by where it stands among them; "" where the names are not known."""
        return self._files[index] if self._files else ""

    def begin_file(self, rows_before: int) -> None:
        """Note that the next file begins, after so many rows."""
        self._starts.append(rows_before)

    def __call__(self, position: int) -> str:
        """Name the row at a position of the whole inventory, counted from 1, in a file that has begun."""
        if len(self._files) <= 1:
            return f"row {position}"
        file = bisect_left(self._starts, position) - 1
        return f"{self._files[file]}:{position - self._starts[file]}"
