"""What writes the rows of a sample in one format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.samples.clean_rows import Bytes, Layout
    from pipeline.samples.defects import Cells


@dataclass(frozen=True, slots=True)
class Asked:
    """What a file is to hold: columns `names`, `rows` of them, and what is odd about the file as a whole."""

    names: tuple[str, ...]
    rows: int
    seed: int
    with_mark: bool = False
    wrong_quantity: bool = False


class Writer(Protocol):
    """Takes the rows of a sample, some at a time."""

    def layout(self, cells: Sequence[str]) -> Layout:
        """Lay out the line of a clean row, given one row's cells; those of a column are of one length."""

    def write(self, lines: Bytes, odd: Mapping[int, Cells]) -> None:
        """Write rows: clean lines as laid out, but for the `odd` ones, given by index in ascending order.

        May write into `lines`. Raises OSError.
        """
