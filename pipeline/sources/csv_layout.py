"""What the beginning of a CSV file tells of the rest: the delimiter, the header, where its rows begin.

A title, a marker or a remark may stand before the header, if it is known which columns are needed.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from pipeline.errors import InventoryError
from pipeline.headers import fold, is_key_material
from pipeline.sources.byte_stream import Block, ByteStream, block_of
from pipeline.sources.quoted_rows import has_stray_quotes, row_ends

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_BOM = b"\xef\xbb\xbf"
_DELIMITERS = (b",", b";", b"\t", b"|")
_NO_DELIMITER = b"\x1f"  # a file of one column: a character that text does not hold
_JUNK = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_EMPTY = b" \t\v\f\r\n,;|"
_SEP_LINE = re.compile(rb'\s*"?sep=[^\r\n]"?[,;|\t]*\r?[\r\n]', re.IGNORECASE)  # of Excel
_SIM = re.compile(rb"[0-9]{15}")
_HEADER_LINES = 20
_SAMPLE_ROWS = 50
_SAMPLE_BYTES = 64_000
_MOST_COLUMNS = 10_000  # every column costs memory, whatever it holds


@dataclass(frozen=True, slots=True)
class Layout:
    """What the beginning of a file tells: delimiter, column names, and where its rows begin (bytes)."""

    delimiter: bytes
    names: tuple[str, ...]
    rows_from: int

    @property
    def columns(self) -> int:
        """How many cells a row has."""
        return len(self.names)

    def evened(self, line: bytes, cells: int) -> bytes:
        """Give a row of so many cells the right number: drop empty last ones, add those without a name.

        Nothing, if that is not all it takes.
        """
        if cells < self.columns:
            missing = self.columns - cells
            return b"" if any(self.names[cells:]) else line + self.delimiter * missing
        kept, *surplus = line.rsplit(self.delimiter, cells - self.columns)
        blanks = b" \t".replace(self.delimiter, b"")
        return b"" if any(cell.strip(blanks) for cell in surplus) else kept


def read_layout(path: str, stream: ByteStream, needed: Collection[str], row_bytes: int) -> Layout:
    """Read the header: of the first lines the one that names most of the `needed` columns, else the first.

    `needed` are folded names. Raises InventoryError when the file begins with none that can be read.
    """
    text, failure = _beginning(stream, row_bytes + _SAMPLE_BYTES)
    before = len(_BOM) if text.startswith(_BOM) else 0
    if sep_line := _SEP_LINE.match(text, before):
        before = sep_line.end()
    text = text[before:]
    first_line = re.split(rb"[\r\n]", text.lstrip(), maxsplit=1)[0]
    if not text.strip(_EMPTY):
        raise failure or InventoryError(f"{path}: holds only blank lines; a header and rows are expected")
    if _JUNK.search(first_line):
        raise InventoryError(f"{path}: is not a text table; export it as CSV")
    present = [delimiter for delimiter in _DELIMITERS if delimiter in text]
    guesses = [guess for mark in present if (guess := _guess(path, text, mark, needed, row_bytes))]
    best = max(guesses, key=lambda guess: guess.likeness, default=None)
    if best is None or not best.likely:
        best = _guess(path, text, _NO_DELIMITER, needed, row_bytes)
    if best is None:
        raise failure or InventoryError(
            f"{path}: the header is longer than {row_bytes:,} bytes or has an unclosed quote; mend it"
        )
    try:
        names = tuple(_name(cell.decode()) for cell in best.names)
    except UnicodeDecodeError:
        raise InventoryError(
            f"{path}: the header is not UTF-8 text; save the file as UTF-8, "
            'or say [input] encoding = "latin-1" if it is that'
        ) from None
    if not any(names):
        raise InventoryError(f"{path}: is not a text table: its first line names no column; add a header")
    return Layout(best.delimiter, names, before + best.rows_from)


def parse(
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
    if not text or text.startswith(_BOM):
        text = b"\n" + text  # pyarrow would drop the mark as the file's, here it is part of a cell
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
            check_utf8=False,  # it is UTF-8
            column_types=dict.fromkeys(kept, pa.string()),
            strings_can_be_null=False,
            include_columns=kept,
        ),
    )
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema), ragged


def is_utf8(text: bytes) -> bool:
    """Tell whether bytes are text."""
    try:
        return text.isascii() or bool(text.decode())
    except UnicodeDecodeError:
        return False


def escaped(text: bytes) -> str:
    """Show bytes as text, those that are none in hexadecimal escapes."""
    return text.decode("utf-8", "backslashreplace")


def _name(cell: str) -> str:
    return cell.strip().strip("\ufeff").strip()


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
    named: int  # needed columns that the header has
    fitting: int  # rows with as many cells as the header
    split: int  # rows with more than one cell
    rows: int
    tidy: bool

    @property
    def likeness(self) -> tuple[int, int, bool, int]:
        """Compare guesses: the header and the rows decide, then quotes (`"Doe, John"`), then more columns."""
        return self.named, self.fitting, self.tidy, len(self.names)

    @property
    def likely(self) -> bool:
        """False when no row holds the delimiter of the header: then it stands within a name.

        Not so if that would hide a key column in the name.
        """
        return self.split > 0 or not self.rows or any(is_key_material(escaped(name)) for name in self.names)


def _guess(
    path: str, text: bytes, delimiter: bytes, needed: Collection[str], row_bytes: int
) -> _Guess | None:
    """Read the first rows with a delimiter; None when it does not split the header, or that never ends."""
    block = block_of(text, row_ends(text, delimiter), delimiter)
    header, named = _header(block, delimiter, needed)
    if header >= len(block) or len(block.row(header)) > row_bytes:
        return None
    names = _cells(block.row(header), delimiter)
    if len(names) == 1 and delimiter != _NO_DELIMITER:
        return None
    if len(names) > _MOST_COLUMNS:
        raise InventoryError(f"{path}: has {len(names):,} columns; at most {_MOST_COLUMNS:,} are read")
    rows_from = int(block.ends[header]) + 1
    # As Latin-1 every byte parses; the names are decoded for good by the caller.
    sample_end = int(block.ends[header : header + _SAMPLE_ROWS][-1])
    sample = block.text[rows_from:sample_end].decode("latin-1").encode()
    rows, ragged = parse(sample, delimiter, len(names), range(len(names)))
    widths = Counter({len(names): rows.num_rows})
    widths.update(ragged.values())
    names = _fitted(names, widths, sample, delimiter)
    return _Guess(
        delimiter,
        names,
        rows_from,
        named,
        widths[len(names)],
        sum(count for cells, count in widths.items() if cells > 1),
        rows.num_rows + len(ragged),
        not has_stray_quotes(block.text[int(block.starts[header]) : sample_end], delimiter),
    )


def _header(block: Block, delimiter: bytes, needed: Collection[str]) -> tuple[int, int]:
    """Say which line is the header, and how many needed columns it names.

    What stands before it is not read, so it is looked for no further than the first line that may be a SIM.
    """
    best = named = 0
    for index in range(min(len(block), _HEADER_LINES) if needed else 0):
        line = block.row(index)[:_SAMPLE_BYTES]
        found = {fold(_name(escaped(cell))) for cell in _cells(line, delimiter)}
        if len(found.intersection(needed)) > named:
            best, named = index, len(found.intersection(needed))
        if _SIM.search(line):
            break
    return best, named


def _cells(line: bytes, delimiter: bytes) -> tuple[bytes, ...]:
    """Read the cells of one row that may be no text."""
    text = line.decode("latin-1").encode()
    _, ragged = parse(text, delimiter, 1, (0,))
    columns = ragged.get(0, 1)
    if columns > _MOST_COLUMNS:
        return (b"",) * columns
    rows, _ = parse(text, delimiter, columns, range(columns))
    return tuple(column[0].as_py().encode("latin-1") for column in rows.columns)


def _fitted(
    names: tuple[bytes, ...], widths: Counter[int], sample: bytes, delimiter: bytes
) -> tuple[bytes, ...]:
    """Give the header as many columns as most rows have, if it is empty ones that are missing or too many."""
    columns = len(names)
    most, count = max(widths.items(), key=lambda width: width[1])
    if count <= widths[columns] or most > _MOST_COLUMNS:
        return names
    if most < columns:
        return names if any(name.strip() for name in names[most:]) else names[:most]
    rows, _ = parse(sample, delimiter, most, range(columns, most))
    empty = all(not cell.strip() for column in rows.columns for cell in column.to_pylist())
    return names + (b"",) * (most - columns) if empty else names
