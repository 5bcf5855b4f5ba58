"""XLSX inventories: the first sheet with rows, every cell as text, by calamine.

What is a number in the file is marked as one: a spreadsheet keeps 15 digits of it, however well it prints.
Key material (DESIGN invariant 8) and the columns of an earlier failures.xlsx are dropped as rows are read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InventoryError
from pipeline.headers import OUR_COLUMNS, is_key_material, kept_columns, quoted
from pipeline.model import BrokenRow, Chunk, Finding
from pipeline.sources.workbook import OLD_OR_ENCRYPTED, ZIP, Workbook

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pipeline.files import InventoryFile
    from pipeline.settings import Input
    from pipeline.sources.workbook import Sheet

    Row = list[Any]
    Told = tuple[str, str, Sequence[str]]  # code, reason and all cells of a row

_PARTS = re.compile(rb"PK\x03\x04(?s:.{26})xl/(?:_rels/|theme/|worksheets/|[A-Za-z]+\.xml)")
_SAMPLE_ROWS = 100
_CHUNK_CELLS = 100_000
_MOST_COLUMNS = 10_000  # every column costs memory, whatever it holds
_EXACT = 1e15  # up to here a number of a spreadsheet has all its digits
_RAW_SHOWN = 1_000
_SHEETS_SHOWN = 5
_WITHHELD = "(withheld: the file has key columns)"


@dataclass(frozen=True, slots=True)
class _Table:
    """What stands on a sheet: its column names, and where its rows begin (rows of the sheet, from 0)."""

    sheet: int
    name: str
    names: tuple[str, ...]
    rows_from: int
    rows_above: int
    has_rows: bool
    words: tuple[Told, ...]  # what a failures file of ours says of its rows


class XlsxSource:
    """A sheet of a workbook: the first visible one that holds a header and a row.

    A failures file of ours goes on in the sheets after it. The header is the first row that fills more than
    half as many cells as the fullest of the first hundred: titles above it are no rows. Holds the whole
    sheet. Raises InventoryError when there is no such sheet, or the file cannot be read.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".xlsx", ".xlsm")

    def __init__(self, file: InventoryFile, _settings: Input, /) -> None:
        self.bytes_total = file.bytes_total
        self._workbook = Workbook(file)
        tables = [table for sheet in self._workbook.sheets() if (table := _table_on(sheet)) is not None]
        if not tables:
            raise InventoryError(f"{file.name}: holds only blank cells; a header and rows are expected")
        first = next((table for table in tables if table.has_rows), tables[0])
        names = first.names
        if len(names) > _MOST_COLUMNS:
            raise InventoryError(
                f"{file.name}: has {len(names):,} columns; at most {_MOST_COLUMNS:,} are read"
            )
        self._names, self._kept = names, kept_columns(names)
        self.header = tuple(names[i] for i in self._kept)
        if not self.header:
            raise InventoryError(f"{file.name}: has only columns that are never kept (keys); add the others")
        self._has_keys = any(map(is_key_material, names))
        is_ours = not set(OUR_COLUMNS).isdisjoint(names)
        self._tables = [table for table in tables if table is first or (is_ours and table.names == names)]
        self.corrects = first.words
        self.findings = tuple(_oddities(first, [table for table in tables if table not in self._tables]))

    @classmethod
    def recognises(cls, beginning: bytes) -> bool:
        """Tell a zip that holds parts of a workbook, and what can only be refused with good advice: .xls."""
        if beginning.startswith(OLD_OR_ENCRYPTED):
            return True
        return beginning.startswith(ZIP) and _PARTS.search(beginning) is not None

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows in order. Raises InventoryError when the file can no longer be read."""
        rows = done = 0
        tables = {table.sheet: table for table in self._tables}
        for sheet in self._workbook.sheets(*tables):
            at_once = max(_CHUNK_CELLS // sheet.width, 1)
            below = islice(sheet.rows(), tables[sheet.index].rows_from, None)
            share = self.bytes_total // len(tables)
            read = tables[sheet.index].rows_from
            while block := list(islice(below, at_once)):
                read += len(block)
                chunk = self._chunk(block, sheet.width, rows, done + share * read // sheet.height)
                if chunk.rows_read > rows:
                    rows = chunk.rows_read
                    yield chunk
            done += share

    def _chunk(self, block: list[Row | None], width: int, before: int, bytes_read: int) -> Chunk:
        empty = [""] * width
        columns = [
            _as_text(column) for column in zip(*(empty if row is None else row for row in block), strict=True)
        ]
        texts = [text for text, _ in columns]
        unreadable = np.array([row is None for row in block])
        blank = _blank(texts, len(block)) & ~unreadable
        broken = unreadable | ~_blank(texts[len(self._names) :], len(block))
        places = np.cumsum(~blank) + before
        whole = pa.array(~blank & ~broken)
        names = [str(order) for order in range(len(self._kept))]
        rows = pa.RecordBatch.from_arrays([texts[i].filter(whole) for i in self._kept], names=names)
        marks = {order: columns[i][1] for order, i in enumerate(self._kept)}
        numbers = {order: mark.filter(whole) for order, mark in marks.items() if mark is not None}
        flaws = tuple(self._broken(int(places[i]), block[i]) for i in np.flatnonzero(broken).tolist())
        positions = pa.array(places[np.asarray(whole)], pa.int64())
        return Chunk(rows, positions, flaws, int(places[-1]), bytes_read, numbers)

    def _broken(self, position: int, row: Row | None) -> BrokenRow:
        if row is None:
            return BrokenRow(position, "a cell holds a time that no calendar has", "")
        cells = [_shown(cell) for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        raw = "\t".join(cells)
        if len(raw) > _RAW_SHOWN:
            raw = raw[:_RAW_SHOWN] + "…"
        reason = f"has {len(cells)} cells where the header has {len(self._names)}"
        return BrokenRow(position, reason, _WITHHELD if self._has_keys else raw)


def _table_on(sheet: Sheet) -> _Table | None:
    """Find the header on a sheet; None when only white space is there."""
    texts = ((at, [_shown(cell).strip() for cell in row or ()]) for at, row in enumerate(sheet.rows()))
    sample = list(islice(((at, row) for at, row in texts if any(row)), _SAMPLE_ROWS))
    if not sample:
        return None
    filled = [sum(map(bool, row)) for _, row in sample]
    head = next(i for i, count in enumerate(filled) if 2 * count > max(filled))
    at, names = sample[head]
    while not names[-1]:
        names.pop()
    below = [row for _, row in sample[head + 1 :]]
    words: list[Told] = []
    if {"simlift_code", "simlift_reason"} <= set(names):
        code, reason = names.index("simlift_code"), names.index("simlift_reason")
        words = [(row[code], row[reason], row) for row in below if row[reason]]
    return _Table(sheet.index, sheet.name, tuple(names), at + 1, head, bool(below), tuple(words))


def _oddities(first: _Table, others: Sequence[_Table]) -> Iterator[Finding]:
    """Say what of the workbook is not read."""
    read = f"sheet {quoted(first.name)}"
    if first.rows_above:
        rows = "1 row" if first.rows_above == 1 else f"{first.rows_above} rows"
        yield Finding(
            0, "above_header", f"{read}: the header is its row {first.rows_from}; {rows} above it not read"
        )
    if others:
        named = ", ".join(quoted(table.name) for table in others[:_SHEETS_SHOWN])
        named += f" and {len(others) - _SHEETS_SHOWN} more" if len(others) > _SHEETS_SHOWN else ""
        yield Finding(0, "other_sheets", f"only {read} is read, not {named}; save each in a file of its own")


def _as_text(column: Sequence[Any]) -> tuple[pa.StringArray, pa.BooleanArray | None]:
    """Give cells as text, and which of them were numbers (None: none)."""
    try:
        return pa.array(column, pa.string()), None
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        numbers = [type(cell) in (float, int) for cell in column]
        return pa.array(list(map(_shown, column)), pa.string()), pa.array(numbers) if any(numbers) else None


def _shown(cell: Any) -> str:
    """Give a cell as text; of a number all digits that it can vouch for, then zeros."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float | int):
        whole = abs(cell) < _EXACT and cell == int(cell)
        return str(int(cell)) if whole else format(Decimal(repr(cell)), "f")
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ")
    return cell.isoformat() if isinstance(cell, date | time) else str(cell)


def _blank(columns: Sequence[pa.StringArray], rows: int) -> npt.NDArray[np.bool_]:
    """Tell which rows have nothing but white space in all of these columns."""
    blank = np.ones(rows, np.bool_)
    for texts in columns:
        if not blank.any():
            break
        blank &= np.asarray(pc.binary_length(pc.utf8_trim_whitespace(texts))) == 0
    return blank
