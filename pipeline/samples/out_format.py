"""Samples as SIM factories deliver them: OUT files in three dialects, with keys that nobody may keep."""

from __future__ import annotations

import random
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pipeline.samples.noise import stream
from pipeline.samples.text_formats import TextWriter, begin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

    from pipeline.samples.clean_rows import Bytes, Layout
    from pipeline.samples.defects import Cells
    from pipeline.samples.writer import Asked

_RULE = "*" * 39
_STARRED = f"""\
*HEADER DESCRIPTION
{_RULE}
Customer        : Footel
Quantity        : {{}}
Batch No        : 2019092901
{_RULE}
*OUTPUT VARIABLES
{_RULE}
var_Out: {{}}
"""
_BARE = """\
HEADER DESCRIPTION
Customer:        FooTel Inc.
Quantity:        {}
Batch:           00000001
Transport_key:   11
OUTPUT VARIABLES
var_out:{}
"""
# Most rows have none, and blanks between cells cannot show an empty one: such codes come by another way.
_LEFT_OUT = "cc"
_KEYS = (("KI", 32, 16), ("PIN1", 4, 10), ("PUK1", 8, 10))  # name, digits, base
_DIGITS = "0123456789ABCDEF"


class OutWriter(TextWriter):
    """Writes rows, each with keys of its own behind its first cell."""

    def __init__(self, file: BinaryIO, asked: Asked, delimiter: str) -> None:
        self._delimiter = delimiter
        self._kept = [at for at, name in enumerate(asked.names) if name != _LEFT_OUT]
        self._drawn = np.random.default_rng(stream(asked.seed, "keys"))
        self._drawn_for_odd = random.Random(stream(asked.seed, "keys of odd rows"))  # noqa: S311 - no secrets
        blank = delimiter.join("0" * digits for _, digits, _ in _KEYS)
        around = ["" if name == _LEFT_OUT else delimiter for name in asked.names]
        around[1] = f"{delimiter}{blank}{around[1]}"
        super().__init__(file, "\n", ["", *around[1:], ""], self._line_of)

    def layout(self, cells: Sequence[str]) -> Layout:
        """Lay out the line of a clean row."""
        layout = super().layout(cells)
        self._keys_from = layout.places[0].stop + 1
        return layout

    def write(self, lines: Bytes, odd: Mapping[int, Cells]) -> None:
        """Write rows."""
        at = self._keys_from
        for _, digits, base in _KEYS:
            drawn = self._drawn.integers(0, base, (len(lines), digits), np.uint8)
            lines[:, at : at + digits] = np.frombuffer(_DIGITS.encode("ascii"), np.uint8)[drawn]
            at += digits + 1
        super().write(lines, odd)

    def _line_of(self, cells: Cells) -> str:
        keys = ("".join(self._drawn_for_odd.choices(_DIGITS[:base], k=digits)) for _, digits, base in _KEYS)
        own = [cell for at, cell in enumerate(cells) if at in self._kept or at >= self._kept[-1]]
        return self._delimiter.join([own[0], *keys, *own[1:]])


@contextmanager
def _opened(file: BinaryIO, asked: Asked, *, header: str, delimiter: str) -> Iterator[OutWriter]:
    names = [name.upper() for name in asked.names if name != _LEFT_OUT]
    columns = "/".join([names[0], *(name for name, _, _ in _KEYS), *names[1:]])
    begin(file, asked, header.format(asked.rows + asked.wrong_quantity, columns))
    writer = OutWriter(file, asked, delimiter)
    yield writer
    file.write(b"\n" if writer.rows else b"")


#: The dialects: with stars, without, and with commas between the cells.
opened_out = partial(_opened, header=_STARRED, delimiter=" ")
opened_out_bare = partial(_opened, header=_BARE, delimiter=" ")
opened_out_comma = partial(_opened, header=_STARRED, delimiter=",")
