"""CSV inventories: any delimiter of four, plain or compressed, read a block of rows at a time with pyarrow.

Most rows become columns untouched; a ragged, undecodable or endless one becomes a BrokenRow and harms no
other. Key material (DESIGN invariant 8) and the columns of an earlier failures.csv are dropped here.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from pipeline.errors import InventoryError
from pipeline.headers import is_key_material, kept_columns, quoted
from pipeline.model import BrokenRow, Chunk
from pipeline.sources.byte_stream import Block, ByteStream, read_blocks
from pipeline.sources.csv_layout import escaped, is_utf8, parse, read_layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pipeline.files import InventoryFile
    from pipeline.model import Finding
    from pipeline.settings import Input

_RAW_SHOWN = 1_000
_WITHHELD = "(withheld: the file has key columns)"


class CsvSource:
    """Text in columns: comma, semicolon, tab or bar between them, plain or compressed.

    Holds a few times `block_bytes` + `row_bytes`, whatever the file's length. A row longer than
    `row_bytes` is broken. Raises InventoryError when the file cannot be opened or has no readable header;
    a header without rows is none.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".txt")

    findings: tuple[Finding, ...] = ()

    def __init__(
        self,
        file: InventoryFile,
        settings: Input,
        /,
        *,
        block_bytes: int = 2_500_000,
        row_bytes: int = 1_000_000,
    ) -> None:
        self._file, self._encoding = file, settings.encoding
        self._bounds = {"block_bytes": block_bytes, "row_bytes": row_bytes}
        with ByteStream(file, settings.encoding) as stream:
            self._layout = read_layout(file.name, stream, settings.needed, row_bytes)
            self.bytes_total = stream.bytes_total
        names = self._layout.names
        self._has_keys = any(map(is_key_material, names))
        self._kept = kept_columns(names)
        self.header = tuple(names[i] for i in self._kept)
        if not self.header:
            raise InventoryError(f"{file.name}: has only columns that are never kept (keys); add the others")

    @classmethod
    def recognises(cls, _beginning: bytes) -> bool:
        """Claim no file: text in columns is what is left when no other format knows it."""
        return False

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows in order, reading in the caller's thread; closing the iterator closes the file.

        Raises InventoryError when the file cannot be read on, after all the rows before that.
        """
        rows = 0
        with ByteStream(self._file, self._encoding) as stream:
            try:
                stream.skip(self._layout.rows_from)
                blocks = read_blocks(stream, self._layout.delimiter, self._layout.columns, **self._bounds)
                for block in blocks:
                    chunk = self._chunk(block, rows, stream.bytes_read)
                    rows = chunk.rows_read
                    yield chunk
            except InventoryError as error:
                raise InventoryError(f"{error} (after row {rows:,})") from None

    def _chunk(self, block: Block, before: int, bytes_read: int) -> Chunk:
        broken = self._flawed(block, before) | self._undecodable(block, before)
        intact = np.ones(len(block), np.bool_)
        intact[list(broken)] = False
        readable = np.flatnonzero(intact)
        layout = self._layout
        rows, ragged = parse(block.without(broken), layout.delimiter, layout.columns, self._kept)
        if rows.num_rows + len(ragged) != len(readable):
            # row_ends and pyarrow would have to disagree; a stop is better than a wrong position.
            raise InventoryError(
                f"{self._file.name}: rows cannot be told apart; double the quotes within cells"
            )
        evened: dict[int, bytes] = {}
        for order, cells in ragged.items():
            index = int(readable[order])
            intact[index] = False
            if line := layout.evened(block.row(index), cells):
                evened[index] = line
            else:
                broken[index] = self._ragged(before + index + 1, cells, block.row(index))
        indices = np.flatnonzero(intact)
        if evened:
            rows, indices = self._merged(rows, indices, evened)
        positions = pa.array(indices + before + 1, pa.int64())
        in_order = tuple(broken[index] for index in sorted(broken))
        return Chunk(rows, positions, in_order, before + len(block), bytes_read)

    def _merged(
        self, rows: pa.RecordBatch, indices: NDArray[np.int64], evened: dict[int, bytes]
    ) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
        """Put rows that had to be evened among the others, whose indices in the block are given."""
        lines = b"\n".join(evened.values())
        more, _ = parse(lines, self._layout.delimiter, self._layout.columns, self._kept)
        together = np.append(indices, np.array(list(evened), np.int64))
        order = np.argsort(together)
        return pa.concat_batches([rows, more]).take(pa.array(order)), together[order]

    def _flawed(self, block: Block, before: int) -> dict[int, BrokenRow]:
        """Report the rows whose quotes or length make them none; the text is cut, it may be a whole file."""
        broken = {}
        for index, flaw in block.flaws.items():
            line = block.row(index)
            raw = self._raw(line[: 4 * _RAW_SHOWN])
            if not self._has_keys and (len(raw) > _RAW_SHOWN or len(line) > 4 * _RAW_SHOWN):
                raw = raw[:_RAW_SHOWN] + "…"
            broken[index] = BrokenRow(before + index + 1, flaw, raw)
        return broken

    def _undecodable(self, block: Block, before: int) -> dict[int, BrokenRow]:
        """Report the rows with bytes that are no UTF-8, by index in the block."""
        if is_utf8(block.text):
            return {}
        foreign = np.flatnonzero(np.frombuffer(block.text, np.uint8) >= 0x80)  # noqa: PLR2004 - the end of ASCII
        suspects = np.unique(np.searchsorted(block.starts, foreign, side="right") - 1)
        indices = [i for i in suspects.tolist() if i not in block.flaws and not is_utf8(block.row(i))]
        # Byte by byte as Latin-1 any line parses, and each cell still gives its own bytes back.
        lines = b"\n".join(block.row(i) for i in indices).decode("latin-1").encode()
        columns = self._layout.columns
        rows, ragged = parse(lines, self._layout.delimiter, columns, range(columns))
        of_rows = zip(*(column.to_pylist() for column in rows.columns), strict=True)
        broken = {}
        for order, index in enumerate(indices):
            position, raw = before + index + 1, block.row(index)
            if order in ragged:
                broken[index] = self._ragged(position, ragged[order], raw)
            else:
                cells = [cell.encode("latin-1") for cell in next(of_rows)]
                broken[index] = self._not_text(position, cells, raw)
        return broken

    def _not_text(self, position: int, cells: Sequence[bytes], line: bytes) -> BrokenRow:
        names = (name for name, cell in zip(self._layout.names, cells, strict=True) if not is_utf8(cell))
        where = "".join(f"column {quoted(name)}: " for name in islice(names, 1))
        reason = f"{where}not UTF-8 text"
        return BrokenRow(position, reason, self._raw(line), tuple(escaped(cells[i]) for i in self._kept))

    def _ragged(self, position: int, cells: int, line: bytes) -> BrokenRow:
        columns = self._layout.columns
        has = "1 cell" if cells == 1 else f"{cells} cells"
        reason = f"has {has} where the header has {columns}"
        return BrokenRow(position, reason, self._raw(line))

    def _raw(self, line: bytes) -> str:
        return _WITHHELD if self._has_keys else escaped(line)
