"""Samples as text: CSV and JSON, and what writes any text.

A clean row is a line already; only an odd one is put together from its cells.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.samples.clean_rows import Layout
from pipeline.samples.defects import Numeral

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from pipeline.samples.clean_rows import Bytes
    from pipeline.samples.defects import Cells
    from pipeline.samples.writer import Asked

_MARK = "\ufeff"


class TextWriter:
    """Writes rows as text. `around` stands around a clean row's cells, `line` makes one of odd ones.

    Both begin with `between`, which the first row of all does without.
    """

    def __init__(
        self, file: BinaryIO, between: str, around: Sequence[str], line: Callable[[Cells], str]
    ) -> None:
        self._file, self._around, self._line = file, [between + around[0], *around[1:]], line
        self._between = between.encode("ascii")
        self.rows = 0

    def layout(self, cells: Sequence[str]) -> Layout:
        """Lay out the line of a clean row."""
        return Layout.of(cells, self._around)

    def write(self, lines: Bytes, odd: Mapping[int, Cells]) -> None:
        """Write rows."""
        width = lines.shape[1]
        clean = lines.tobytes()
        pieces: list[bytes] = []
        done = 0
        for row, cells in odd.items():
            pieces.append(clean[done : row * width])
            # What is no text in a cell stands there as half of a surrogate pair.
            pieces.append(self._between + self._line(cells).encode("utf-8", "surrogateescape"))
            done = (row + 1) * width
        pieces.append(clean[done:])
        text = b"".join(pieces)
        self._file.write(text if self.rows else text[len(self._between) :])
        self.rows += len(lines)


def begin(file: BinaryIO, asked: Asked, text: str) -> None:
    """Write what stands before the rows."""
    file.write((_MARK * asked.with_mark + text).encode())


@contextmanager
def opened_csv(file: BinaryIO, asked: Asked) -> Iterator[TextWriter]:
    """Write a header and comma-separated rows; no cell of a sample needs quotes."""
    begin(file, asked, f"{','.join(asked.names)}\n")
    writer = TextWriter(file, "\n", ["", *[","] * (len(asked.names) - 1), ""], ",".join)
    yield writer
    file.write(b"\n" if writer.rows else b"")


# ---------------------------------------------------------------- JSON


@contextmanager
def opened_json_lines(file: BinaryIO, asked: Asked) -> Iterator[TextWriter]:
    """Write an object a line."""
    begin(file, asked, "")
    writer = _json_writer(file, asked.names, "\n")
    yield writer
    file.write(b"\n" if writer.rows else b"")


@contextmanager
def opened_json_array(file: BinaryIO, asked: Asked) -> Iterator[TextWriter]:
    """Write an array of objects."""
    begin(file, asked, "[\n")
    yield _json_writer(file, asked.names, ",\n")
    file.write(b"\n]\n")


@contextmanager
def opened_json_object(file: BinaryIO, asked: Asked) -> Iterator[TextWriter]:
    """Write an object that holds the array, as in the vendor's own request."""
    begin(file, asked, '{"profileItems":[\n')
    yield _json_writer(file, asked.names, ",\n")
    file.write(b"\n]}\n")


def _json_writer(file: BinaryIO, names: Sequence[str], between: str) -> TextWriter:
    keys = [f"{json.dumps(name)}:" for name in names]
    around = [f'{{{keys[0]}"', *(f'",{key}"' for key in keys[1:]), '"}']

    def line(cells: Cells) -> str:
        values = (
            cell if isinstance(cell, Numeral) else json.dumps(cell, ensure_ascii=False) for cell in cells
        )
        return f"{{{','.join(map(str.__add__, keys, values))}}}"

    return TextWriter(file, between, around, line)
