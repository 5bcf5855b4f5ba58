"""The rows to mend and send again, in the format that they came in: failures.xlsx, failures.jsonl.

failures.csv (rows.py) is written for every run; these hold the same rows and the same words.
"""

from __future__ import annotations

import tempfile
from json.encoder import encode_basestring
from typing import TYPE_CHECKING

from pipeline.reports.private_file import private_file
from pipeline.reports.rows import FAILURE_COLUMNS, failure_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import xlsxwriter
    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

    from pipeline.contracts import Ledger

SHEET_ROWS = 1_048_576  # of a sheet, its header included (ECMA-376)


def write_failures_as_they_came(ledger: Ledger, folder: Path) -> None:
    """Write a failures file of each format of the inventory that has one besides CSV.

    Raises SimliftError when one can't be written, LedgerError when the rows can't be read.
    """
    for kind in ledger.run().formats:
        if kind in _WRITERS:
            name, write = _WRITERS[kind]
            write(ledger, folder / name)


def write_failures_jsonl(ledger: Ledger, path: Path) -> int:
    """Write each row that is not good as an object on a line of its own; give back how many there are."""
    # json.dumps without its setting up, which would cost more than all the rest.
    names = [f"{encode_basestring(name)}: " for name in (*ledger.run().header, *FAILURE_COLUMNS)]
    lines = 0
    with private_file(path) as file:
        for row in failure_rows(ledger):
            file.write("{" + ", ".join(map(str.__add__, names, map(encode_basestring, row))) + "}\n")
            lines += 1
    return lines


def write_failures_xlsx(ledger: Ledger, path: Path, *, sheet_rows: int = SHEET_ROWS) -> int:
    """Write each row that is not good as text cells, so that a spreadsheet keeps every digit.

    What a sheet cannot hold goes on in the next; a cell is cut at 32,767 characters, which is the format's
    bound. Gives back how many rows there are.
    """
    import xlsxwriter  # noqa: PLC0415 - few runs need it
    from xlsxwriter.exceptions import FileCreateError  # noqa: PLC0415 - likewise

    # Rows wait in a file until the workbook is closed: in the run's own folder, where nobody else looks.
    with (
        private_file(path) as file,
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".failures-") as waiting,
    ):
        book = xlsxwriter.Workbook(
            file.buffer, {"constant_memory": True, "tmpdir": waiting, "use_zip64": True}
        )
        try:
            rows = _write_sheets(book, ledger, sheet_rows)
            book.close()
        except FileCreateError as error:
            raise error.args[0] from None
        finally:
            for sheet in book.worksheets():
                sheet.row_data_fh.close()
    return rows


def _write_sheets(book: xlsxwriter.Workbook, ledger: Ledger, sheet_rows: int) -> int:
    as_text = book.add_format({"num_format": "@"})
    header = (*ledger.run().header, *FAILURE_COLUMNS)
    sheet = _new_sheet(book, header, as_text)
    rows = 0
    for row in failure_rows(ledger):
        line = rows % (sheet_rows - 1) + 1
        if rows and line == 1:
            sheet = _new_sheet(book, header, as_text)
        _write_row(sheet, line, row, as_text)
        rows += 1
    return rows


def _new_sheet(book: xlsxwriter.Workbook, header: Sequence[str], as_text: Format) -> Worksheet:
    number = len(book.worksheets()) + 1
    sheet = book.add_worksheet("failures" if number == 1 else f"failures {number}")
    sheet.freeze_panes(1, 0)
    # What is typed into an empty cell is to be text as well.
    sheet.set_column(0, len(header) - 1, None, as_text)
    _write_row(sheet, 0, header, as_text)
    return sheet


def _write_row(sheet: Worksheet, line: int, cells: Sequence[str], as_text: Format) -> None:
    for column, cell in enumerate(cells):
        if cell:
            sheet.write_string(line, column, cell, as_text)


_WRITERS: Mapping[str, tuple[str, Callable[[Ledger, Path], int]]] = {
    "json": ("failures.jsonl", write_failures_jsonl),
    "xlsx": ("failures.xlsx", write_failures_xlsx),
}
