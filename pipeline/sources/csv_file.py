"""CSV inventories: any delimiter of four, plain or compressed, read a block of rows at a time with pyarrow.

Most rows become columns untouched; a ragged, undecodable or endless one becomes a BrokenRow and harms no
other. Key material (DESIGN invariant 8) and the columns of an earlier failures.csv are dropped here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from pipeline.errors import InventoryError
from pipeline.headers import is_key_material, kept_columns, quoted
from pipeline.model import BrokenRow, Chunk
from pipeline.sources.byte_stream import Block, ByteStream, block_of, has_stray_quotes, read_blocks, row_ends

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.files import InventoryFile
    from pipeline.model import Finding
    from pipeline.settings import Input

_BOM = b"\xef\xbb\xbf"
_DELIMITERS = (b",", b";", b"\t", b"|")
_NO_DELIMITER = b"\x1f"  # a file of one column: a character that text does not hold
_JUNK = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_SAMPLE_ROWS = 50
_SAMPLE_BYTES = 64_000
_MOST_COLUMNS = 10_000  # every column costs memory, whatever it holds
_RAW_SHOWN = 1_000
_WITHHELD = "(withheld: the file has key columns)"


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the beginning of a file tells: delimiter, column names, and where its rows begin (bytes)."""

    delimiter: bytes
    names: tuple[str, ...]
    rows_from: int


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
            self._layout = _read_layout(file.name, stream, row_bytes)
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
                for block in read_blocks(stream, self._layout.delimiter, **self._bounds):
                    chunk = self._chunk(block, rows, stream.bytes_read)
                    rows = chunk.rows_read
                    yield chunk
            except InventoryError as error:
                raise InventoryError(f"{error} (after row {rows:,})") from None

    def _chunk(self, block: Block, before: int, bytes_read: int) -> Chunk:
        broken = self._flawed(block, before) if block.flaw else self._undecodable(block, before)
        intact = np.ones(len(block), np.bool_)
        intact[list(broken)] = False
        readable = np.flatnonzero(intact)
        layout = self._layout
        rows, ragged = _parse(block.without(broken), layout.delimiter, len(layout.names), self._kept)
        if rows.num_rows + len(ragged) != len(readable):
            # row_ends and pyarrow would have to disagree; a stop is better than a wrong position.
            raise InventoryError(
                f"{self._file.name}: rows cannot be told apart; double the quotes within cells"
            )
        for order, cells in ragged.items():
            index = int(readable[order])
            broken[index] = self._ragged(before + index + 1, cells, block.row(index))
            intact[index] = False
        positions = pa.array(np.flatnonzero(intact) + before + 1, pa.int64())
        in_order = tuple(broken[index] for index in sorted(broken))
        return Chunk(rows, positions, in_order, before + len(block), bytes_read)

    def _flawed(self, block: Block, before: int) -> dict[int, BrokenRow]:
        """Report the one line of a flawed block; its text is cut, it may be a whole file."""
        raw = self._raw(block.text[: 4 * _RAW_SHOWN])
        if not self._has_keys and (len(raw) > _RAW_SHOWN or len(block.text) > 4 * _RAW_SHOWN):
            raw = raw[:_RAW_SHOWN] + "…"
        return {0: BrokenRow(before + 1, str(block.flaw), raw)}

    def _undecodable(self, block: Block, before: int) -> dict[int, BrokenRow]:
        """Report the rows with bytes that are no UTF-8, by index in the block."""
        if _is_utf8(block.text):
            return {}
        foreign = np.flatnonzero(np.frombuffer(block.text, np.uint8) >= 0x80)  # noqa: PLR2004 - the end of ASCII
        suspects = np.unique(np.searchsorted(block.starts, foreign, side="right") - 1)
        indices = [i for i in suspects.tolist() if not _is_utf8(block.row(i))]
        # Byte by byte as Latin-1 any line parses, and each cell still gives its own bytes back.
        lines = b"\n".join(block.row(i) for i in indices).decode("latin-1").encode()
        columns = len(self._layout.names)
        rows, ragged = _parse(lines, self._layout.delimiter, columns, range(columns))
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
        names = (name for name, cell in zip(self._layout.names, cells, strict=True) if not _is_utf8(cell))
        where = "".join(f"column {quoted(name)}: " for name in islice(names, 1))
        reason = f"{where}not UTF-8 text"
        return BrokenRow(position, reason, self._raw(line), tuple(_escaped(cells[i]) for i in self._kept))

    def _ragged(self, position: int, cells: int, line: bytes) -> BrokenRow:
        columns = len(self._layout.names)
        has = "1 cell" if cells == 1 else f"{cells} cells"
        reason = f"has {has} where the header has {columns}"
        return BrokenRow(position, reason, self._raw(line))

    def _raw(self, line: bytes) -> str:
        return _WITHHELD if self._has_keys else _escaped(line)


def _parse(
    text: bytes, delimiter: bytes, columns: int, keep: Sequence[int]
) -> tuple[pa.RecordBatch, dict[int, int]]:
    """Read UTF-8 rows of `columns` cells; give the columns to `keep`, named "0", "1" and so on.

    With it how many cells each ragged row has, by its index among the rows that are not blank.
    """
    ragged: dict[int, int] = {}

    def note(row: Any) -> str:
        ragged[row.number - 1] = row.actual_columns
        return "skip"

    names = [f"dropped {i}" for i in range(columns)]
    kept = [str(order) for order in range(len(keep))]
    for name, column in zip(kept, keep, strict=True):
        names[column] = name
    if text.startswith(_BOM):
        text = b"\n" + text  # pyarrow would drop it as a mark of the file, here it is part of a cell
    table = pa_csv.read_csv(
        pa.BufferReader(text),
        pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 1),
        pa_csv.ParseOptions(
            delimiter=delimiter.decode(),
            newlines_in_values=True,
            ignore_empty_lines=True,
            invalid_row_handler=note,
        ),
        pa_csv.ConvertOptions(
            column_types=dict.fromkeys(kept, pa.string()), strings_can_be_null=False, include_columns=kept
        ),
    )
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema), ragged


def _is_utf8(text: bytes) -> bool:
    try:
        return text.isascii() or bool(text.decode())
    except UnicodeDecodeError:
        return False


def _escaped(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")


def _read_layout(path: str, stream: ByteStream, row_bytes: int) -> _Layout:
    """Read the header. Raises InventoryError when the file begins with none that can be read."""
    text, failure = _beginning(stream, row_bytes + _SAMPLE_BYTES)
    mark = len(_BOM) if text.startswith(_BOM) else 0
    text = text[mark:]
    first_line = re.split(rb"[\r\n]", text.lstrip(), maxsplit=1)[0]
    if not first_line:
        raise failure or InventoryError(f"{path}: holds only blank lines; a header and rows are expected")
    if _JUNK.search(first_line):
        raise InventoryError(f"{path}: is not a text table; export it as CSV")
    present = [delimiter for delimiter in _DELIMITERS if delimiter in text]
    guesses = [guess for delimiter in present if (guess := _guess(path, text, delimiter, row_bytes))]
    best = max(guesses, key=lambda guess: guess.likeness, default=None)
    if best is None or not best.likely:
        best = _guess(path, text, _NO_DELIMITER, row_bytes)
    if best is None:
        raise failure or InventoryError(
            f"{path}: the header is longer than {row_bytes:,} bytes or has an unclosed quote; mend it"
        )
    try:
        names = tuple(cell.decode().strip().strip("\ufeff").strip() for cell in best.names)
    except UnicodeDecodeError:
        raise InventoryError(
            f"{path}: the header is not UTF-8 text; save the file as UTF-8, "
            'or say [input] encoding = "latin-1" if it is that'
        ) from None
    if not any(names):
        raise InventoryError(f"{path}: is not a text table: its first line names no column; add a header")
    return _Layout(best.delimiter, names, mark + best.rows_from)


def _beginning(stream: ByteStream, size: int) -> tuple[bytes, InventoryError | None]:
    """Read about `size` bytes; what stands before a damage is given along with the error."""
    text = b""
    try:
        while len(text) < size:
            piece = stream.read(size)
            if not piece:
                return text + b"\n", None  # the last row may lack its line break
            text += piece
    except InventoryError as error:
        return text, error
    return text, None


@dataclass(frozen=True, slots=True)
class _Guess:
    """How the beginning of a file reads with one delimiter."""

    delimiter: bytes
    names: tuple[bytes, ...]
    rows_from: int
    fitting: int  # rows with as many cells as the header
    split: int  # rows with more than one cell
    rows: int
    tidy: bool

    @property
    def likeness(self) -> tuple[int, bool, int]:
        """Compare guesses: the rows decide, then the quotes (`"Doe, John"`), then who finds more columns."""
        return self.fitting, self.tidy, len(self.names)

    @property
    def likely(self) -> bool:
        """False when no row holds the delimiter of the header: then it stands within a name.

        Not so if that would hide a key column in the name.
        """
        return self.split > 0 or not self.rows or any(is_key_material(_escaped(name)) for name in self.names)


def _guess(path: str, text: bytes, delimiter: bytes, row_bytes: int) -> _Guess | None:
    """Read the first rows with a delimiter; None when it does not split the header, or that never ends."""
    block = block_of(text, row_ends(text, delimiter), delimiter)
    if not len(block) or len(block.row(0)) > row_bytes:
        return None
    sample_end = int(block.ends[:_SAMPLE_ROWS][-1])
    # As Latin-1 every byte parses; the names are decoded for good by the caller.
    header = block.row(0).decode("latin-1").encode()
    _, ragged = _parse(header, delimiter, 1, (0,))
    columns = ragged.get(0, 1)
    if columns == 1 and delimiter != _NO_DELIMITER:
        return None
    if columns > _MOST_COLUMNS:
        raise InventoryError(f"{path}: has {columns:,} columns; at most {_MOST_COLUMNS:,} are read")
    sample = block.text[:sample_end].decode("latin-1").encode()
    rows, ragged = _parse(sample, delimiter, columns, range(columns))
    names = tuple(column[0].as_py().encode("latin-1") for column in rows.columns)
    fitting = rows.num_rows - 1
    split = sum(cells > 1 for cells in ragged.values()) + (fitting if columns > 1 else 0)
    return _Guess(
        delimiter,
        names,
        int(block.ends[0]) + 1,
        fitting,
        split,
        fitting + len(ragged),
        not has_stray_quotes(block.text[:sample_end], delimiter),
    )
