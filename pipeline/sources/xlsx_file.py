"""XLSX inventories: the sheets of one table, every cell as text, by calamine.

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
from pipeline.headers import fold, is_key_material, kept_columns, quoted
from pipeline.model import BrokenRow, Chunk, Finding
from pipeline.sources.workbook import OLD_OR_ENCRYPTED, ZIP, Workbook

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import numpy.typing as npt

    from pipeline.files import InventoryFile
    from pipeline.settings import Input
    from pipeline.sources.workbook import Sheet

    Row = list[Any]
    Told = tuple[str, str, Sequence[str]]  # code, reason and all cells of a row

_PARTS = re.compile(rb"PK\x03\x04(?s:.{26})xl/(?:_rels/|theme/|worksheets/|[A-Za-z]+\.xml)")
_SAMPLE_ROWS = 100
_TITLE_ROWS = 20  # the header is among them
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
    needed: int  # how many of the columns are needed
    words: tuple[Told, ...]  # what a failures file of ours says of its rows

    @property
    def may_hold_rows(self) -> bool:
        """False for a sheet with nothing but a title: a single row of several cells may well be one."""
        return self.has_rows or sum(map(bool, self.names)) > 1


class XlsxSource:
    """The sheet that [input] sheet names, else the first visible one with rows and the most needed columns.

    In the latter case the table goes on in the sheets with the same header; what else holds rows is a
    finding, `other_sheets`. The header is the row, of the first twenty, that names the most needed columns;
    where none does, the first row that fills more than half as many cells as the fullest of the first
    hundred: titles above it are no rows. Holds a whole sheet. Raises InventoryError when there is no such
    sheet, or the file cannot be read.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".xlsx", ".xlsm")

    def __init__(self, file: InventoryFile, settings: Input, /) -> None:
        self.bytes_total = file.bytes_total
        self._workbook = Workbook(file)
        found = (_table_on(sheet, settings.needed) for sheet in self._workbook.sheets())
        tables = [table for table in found if table is not None]
        if not tables:
            raise InventoryError(f"{file.name}: holds only blank cells; a header and rows are expected")
        if settings.sheet:
            tables = [_named(tables, settings.sheet, file.name)]
        with_rows = [table for table in tables if table.has_rows] or tables
        first = max(with_rows, key=lambda table: table.needed)
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
        self._tables = [table for table in tables if table.names == names]
        self.corrects = first.words
        others = [table for table in tables if table.names != names and table.may_hold_rows]
        self.findings = tuple(_oddities(file.name, self._tables, first, others))

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


def _named(tables: Sequence[_Table], name: str, file: str) -> _Table:
    """Give the sheet of this name. Raises InventoryError that names those there are."""
    for table in tables:
        if table.name.strip().casefold() == name.strip().casefold():  # as a spreadsheet program compares them
            return table
    raise InventoryError(
        f"{file}: no visible sheet {quoted(name)} that holds something, as [input] sheet says; "
        f"there is {_listed(tables)}"
    )


def _listed(tables: Sequence[_Table]) -> str:
    named = ", ".join(quoted(table.name) for table in tables[:_SHEETS_SHOWN])
    return f"{named} and {len(tables) - _SHEETS_SHOWN} more" if len(tables) > _SHEETS_SHOWN else named


def _table_on(sheet: Sheet, needed: Collection[str]) -> _Table | None:
    """Find the header on a sheet; None when only white space is there."""
    texts = ((at, [_shown(cell).strip() for cell in row or ()]) for at, row in enumerate(sheet.rows()))
    sample = list(islice(((at, row) for at, row in texts if any(row)), _SAMPLE_ROWS))
    if not sample:
        return None
    head = _header_among([row for _, row in sample], needed)
    at, names = sample[head]
    while not names[-1]:
        names.pop()
    below = [row for _, row in sample[head + 1 :]]
    words: list[Told] = []
    if {"simlift_code", "simlift_reason"} <= set(names):
        code, reason = names.index("simlift_code"), names.index("simlift_reason")
        words = [(row[code], row[reason], row) for row in below if row[reason]]
    return _Table(
        sheet.index, sheet.name, tuple(names), at + 1, head, bool(below), _count(names, needed), tuple(words)
    )


def _header_among(rows: Sequence[Sequence[str]], needed: Collection[str]) -> int:
    """Tell which of a sheet's first rows, blank ones left out, is the header."""
    filled = [sum(map(bool, row)) for row in rows]
    wide = [2 * count > max(filled) for count in filled]
    named = [_count(row, needed) for row in rows[:_TITLE_ROWS]]
    # A title may hold a name too, such as "Type" or "Name": it has not many, and beside it few cells.
    best = max(range(len(named)), key=lambda row: (named[row], wide[row]))
    return best if named[best] else wide.index(True)


def _count(names: Sequence[str], needed: Collection[str]) -> int:
    return len({folded for name in names if name and (folded := fold(name)) in needed})


def _oddities(
    file: str, tables: Sequence[_Table], first: _Table, others: Sequence[_Table]
) -> Iterator[Finding]:
    """Say what of the workbook is not read."""
    for table in tables:
        if table.rows_above:
            rows = "1 row" if table.rows_above == 1 else f"{table.rows_above} rows"
            words = f"the header is its row {table.rows_from}; {rows} above it not read"
            yield Finding(0, "above_header", f"sheet {quoted(table.name)}: {words}")
    if others:
        yield Finding(
            0,
            "other_sheets",
            f"{file}: only {_listed(tables)} would be read, not {_listed(others)}; say which sheet is meant "
            f"with [input] sheet = {quoted(first.name)}, or remove the others",
        )


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
