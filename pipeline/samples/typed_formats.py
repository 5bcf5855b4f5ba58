"""Samples in formats whose cells have types: Parquet, Arrow IPC and XLSX."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.samples.clean_rows import Layout
from pipeline.samples.defects import Numeral

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from pipeline.samples.clean_rows import Bytes
    from pipeline.samples.defects import Cells
    from pipeline.samples.writer import Asked

SHEET_ROWS = 1_048_576  # of a sheet, its header included (ECMA-376)
_GROUP_ROWS = 250_000  # of Parquet: what a reader or this writer holds at once
_CREATED = datetime(2000, 1, 1, tzinfo=UTC).replace(
    tzinfo=None
)  # so that the same arguments give the same bytes


class ColumnWriter:
    """Writes rows as columns of text, `rows_at_once` or a few more at a time."""

    def __init__(
        self, names: Sequence[str], write: Callable[[pa.Table], None], rows_at_once: int = 0
    ) -> None:
        self._schema = pa.schema([(name, pa.string()) for name in names])
        self._write, self._rows_at_once = write, rows_at_once
        self._waiting: list[pa.RecordBatch] = []
        self._places: tuple[slice, ...] = ()

    def layout(self, cells: Sequence[str]) -> Layout:
        """Lay out the line of a clean row."""
        layout = Layout.of(cells, [""] * (len(cells) + 1))
        self._places = layout.places
        return layout

    def write(self, lines: Bytes, odd: Mapping[int, Cells]) -> None:
        """Write rows."""
        columns = [column.view(pa.string()) for column in _columns(lines, self._places, odd)]
        self._waiting.append(pa.record_batch(columns, schema=self._schema))
        if sum(batch.num_rows for batch in self._waiting) >= self._rows_at_once:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            self._write(pa.Table.from_batches(self._waiting))
        self._waiting = []


def _columns(lines: Bytes, places: Sequence[slice], odd: Mapping[int, Cells]) -> list[pa.BinaryArray]:
    """Give the cells by column, as bytes: some are no text."""
    replaced = np.zeros(len(lines), np.bool_)
    replaced[list(odd)] = True
    columns = []
    for at, place in enumerate(places):
        text = np.ascontiguousarray(lines[:, place])
        ends = np.arange(len(lines) + 1, dtype=np.int32) * np.int32(text.shape[1])
        column = pa.Array.from_buffers(
            pa.binary(), len(lines), [None, pa.py_buffer(ends), pa.py_buffer(text)]
        )
        cells = pa.array(
            [cells[at].encode("utf-8", "surrogateescape") for cells in odd.values()], pa.binary()
        )
        columns.append(pc.replace_with_mask(column, pa.array(replaced), cells))
    return columns


@contextmanager
def opened_parquet(file: BinaryIO, asked: Asked) -> Iterator[ColumnWriter]:
    """Write row groups of bounded size."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - only this format needs it

    schema = pa.schema([(name, pa.string()) for name in asked.names])
    repeating = [name for name in ("cc", "apn") if name in asked.names]
    with pq.ParquetWriter(file, schema, use_dictionary=repeating) as parquet:
        writer = ColumnWriter(asked.names, parquet.write_table, _GROUP_ROWS)
        yield writer
        writer.flush()


@contextmanager
def opened_arrow(file: BinaryIO, asked: Asked) -> Iterator[ColumnWriter]:
    """Write an Arrow IPC file."""
    schema = pa.schema([(name, pa.string()) for name in asked.names])
    with pa.ipc.new_file(file, schema) as arrow:
        yield ColumnWriter(asked.names, arrow.write_table)


# ---------------------------------------------------------------- XLSX


class SheetWriter:
    """Writes rows on a sheet, cells as text but for what is to be a number; empty ones are left out."""

    def __init__(self, sheet: Any, names: Sequence[str]) -> None:
        self._sheet = sheet
        self._line = 0
        self._places: tuple[slice, ...] = ()
        self._write(names)

    def layout(self, cells: Sequence[str]) -> Layout:
        """Lay out the line of a clean row."""
        layout = Layout.of(cells, [""] * (len(cells) + 1))
        self._places = layout.places
        return layout

    def write(self, lines: Bytes, odd: Mapping[int, Cells]) -> None:
        """Write rows."""
        columns = (column.view(pa.string()).to_pylist() for column in _columns(lines, self._places, {}))
        for row, cells in enumerate(zip(*columns, strict=True)):
            self._write(odd.get(row, cells))

    def _write(self, cells: Sequence[str]) -> None:
        for column, cell in enumerate(cells):
            if isinstance(cell, Numeral):
                self._sheet.write_number(self._line, column, float(cell))
            elif cell:
                self._sheet.write_string(self._line, column, cell)
        self._line += 1


@contextmanager
def opened_workbook(file: BinaryIO, asked: Asked) -> Iterator[SheetWriter]:
    """Write a workbook of one sheet: the only one that is read. Raises UsageError for too many rows."""
    import xlsxwriter  # noqa: PLC0415 - only this format needs it
    from xlsxwriter.exceptions import FileCreateError  # noqa: PLC0415 - likewise

    book = xlsxwriter.Workbook(file, {"constant_memory": True, "use_zip64": True})
    book.set_properties({"created": _CREATED})
    sheet = book.add_worksheet("inventory")
    try:
        yield SheetWriter(sheet, asked.names)
        book.close()
    except FileCreateError as error:
        raise error.args[0] from None
    finally:
        sheet.row_data_fh.close()
