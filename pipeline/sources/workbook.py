"""A workbook as calamine may have it: looked through before it is opened, because calamine believes all.

calamine holds a sheet as one block, from its first cell to its last: two cells far apart would cost any
amount of memory. It also reads a formula's error as an empty cell, which would pass for a blank one.
"""

from __future__ import annotations

import io
import re
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from pipeline.errors import InventoryError
from pipeline.files import seekable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.files import InventoryFile

#: What an Excel 97 workbook begins with, and a newer one that is encrypted (MS-CFB 2.2).
OLD_OR_ENCRYPTED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ZIP = b"PK\x03\x04"

_MOST_BYTES = 2_000_000_000  # of all parts, unpacked: a full sheet of 1,048,576 rows has 500 MB
_MOST_SWELLING, _FREE_BYTES = 200, 100_000_000  # real sheets unpack to 5 to 40 times their size
_MOST_CELLS = 30_000_000  # held as a block: 1,048,576 rows of 28 columns
_MOST_IN_ALL = 4 * _MOST_CELLS  # of all sheets, one after the other: ten seconds; full ones have 2 GB
_MOST_ROWS, _MOST_COLUMNS = 1_048_576, 16_384  # of a sheet (ECMA-376)
_PIECE_BYTES = 4_000_000
_ENCRYPTED = 1  # flag of a zip's entry

# What may reach beyond Z999999, which a sheet may always do. Most sheets have no such cell at all.
_FAR = re.compile(rb"<(?:[^\s<>/:]*:)?(?:c|row)(?! r=\"[A-Z]?[0-9]{1,6}\")(?=[\s/>])")
# As calamine reads them: any prefix, attributes in any order; without a reference the next place is meant.
# What ends like an empty cell is one and takes no room: spreadsheet programs keep formats in such cells.
_PLACES = re.compile(
    rb"<(?:[^\s<>/:]*:)?(row|c)(?=[\s/>])"
    rb"(?:[^<]*?\sr\s*=\s*[\"']([A-Za-z]*)([0-9]*)(\"(?:\s+[\w:]+=\"[^\"<>]*\")*\s*/>)?)?"
)
_ERROR_CELL = re.compile(rb"(<(?:[^\s<>/:]*:)?c\s(?:[^<]*?\s)?t\s*=\s*[\"'])e(?=[\"'])")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # all that a workbook has; others may claim gigabytes


@dataclass(frozen=True, slots=True)
class Sheet:
    """A visible sheet that holds something; `rows` cells of `width` each, from the sheet's first row on."""

    index: int
    name: str
    width: int
    height: int
    _cells: Any

    def rows(self) -> Iterator[list[Any] | None]:
        """Yield the rows; None for one that holds a time that no calendar has."""
        rows = self._cells.iter_rows()
        while True:
            try:
                yield next(rows)
            except StopIteration:
                return
            except (OverflowError, ValueError):
                yield None


class Workbook:
    """The sheets of an XLSX file. Raises InventoryError for what is none, is damaged, protected or absurd.

    Holds one sheet at a time, at most 30 million cells.
    """

    def __init__(self, file: InventoryFile) -> None:
        self._file = file
        with seekable(file) as content, _damage_told(file.name):
            self._has_errors = _look_through(content, file.name)

    def sheets(self, *indices: int) -> Iterator[Sheet]:
        """Yield the visible sheets that hold something, in order; only these, where `indices` are given."""
        from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum  # noqa: PLC0415 - heavy

        with seekable(self._file) as content, _damage_told(self._file.name):
            book = CalamineWorkbook.from_filelike(_with_error_texts(content) if self._has_errors else content)
        left = _MOST_IN_ALL
        for index, sheet in enumerate(book.sheets_metadata):
            shown = sheet.typ == SheetTypeEnum.WorkSheet and sheet.visible == SheetVisibleEnum.Visible
            if not shown or (indices and index not in indices):
                continue
            with _damage_told(self._file.name):
                cells = book.get_sheet_by_index(index)
            if cells.start is not None:
                left -= cells.width * cells.height
                if left < 0:
                    raise InventoryError(
                        f"{self._file.name}: its sheets reach over more than can be read; save those with "
                        "rows as CSV"
                    )
                yield Sheet(index, sheet.name, cells.width, cells.start[0] + cells.height, cells)


@contextmanager
def _damage_told(name: str) -> Iterator[None]:
    """Turn whatever a damaged workbook makes the libraries raise into an InventoryError.

    Their words are left out: they may quote cells.
    """
    damaged = InventoryError(
        f"{name}: is damaged or is no XLSX workbook; open it in a spreadsheet program and save it as .xlsx"
    )
    try:
        yield
    except (InventoryError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - on damage zipfile raises anything, and calamine errors of its own
        raise damaged from None
    except BaseException as error:
        if type(error).__module__ == "pyo3_runtime":  # a panic of Rust's, which is no Exception
            raise damaged from None
        raise


def _look_through(content: BinaryIO, name: str) -> bool:
    """Tell whether some cell holds a formula's error. Raises InventoryError for what must not be opened."""
    beginning = content.read(len(OLD_OR_ENCRYPTED))
    if beginning == OLD_OR_ENCRYPTED:
        raise InventoryError(
            f"{name}: is an old .xls workbook or one with a password; save it as .xlsx without a password"
        )
    left = min(max(_FREE_BYTES, _MOST_SWELLING * content.seek(0, io.SEEK_END)), _MOST_BYTES)
    has_errors = False
    with zipfile.ZipFile(content) as parts:
        names = parts.namelist()
        if "xl/workbook.xml" not in names or "content.xml" in names or "xl/workbook.bin" in names:
            raise InventoryError(f"{name}: is no XLSX workbook; save it as .xlsx")
        for info in parts.infolist():
            if info.flag_bits & _ENCRYPTED:
                raise InventoryError(f"{name}: is protected by a password; save it as .xlsx without one")
            if info.compress_type not in _METHODS:
                raise InventoryError(f"{name}: is packed in an unusual way; save it anew as .xlsx")
            is_far, held = False, 0
            for piece in _pieces(parts, info):
                left -= len(piece)
                held += max(piece.count(b"<c"), piece.count(b":c")) + piece.count(b"si>") // 2
                if left < 0 or held > _MOST_CELLS:
                    raise InventoryError(f"{name}: unpacks to more than can be read; save its rows as CSV")
                is_far = is_far or _FAR.search(piece) is not None
                has_errors = has_errors or b't="e"' in piece or b"t='e'" in piece
            if is_far:
                _require_compact(_pieces(parts, info), name)
    return has_errors


def _pieces(parts: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a part's bytes, cut where a tag begins; all of them, whatever its entry says of its size."""
    info.file_size = _MOST_BYTES + _PIECE_BYTES
    if hasattr(info, "CRC"):
        del info.CRC  # of the size that it says; calamine checks it
    carry = b""
    with parts.open(info) as part:
        while read := part.read(_PIECE_BYTES):
            buffer = carry + read
            cut = buffer.rfind(b"<")
            if cut < len(buffer) - _PIECE_BYTES:
                cut = len(buffer)
            carry = buffer[cut:]
            yield buffer[:cut]
    yield carry


def _require_compact(pieces: Iterator[bytes], name: str) -> None:
    """Raise InventoryError when the cells of a sheet reach over an absurd block."""
    row = column = last_row = last_column = 0
    for piece in pieces:
        for tag, letters, digits, empty in _PLACES.findall(piece):
            if tag == b"row":
                row, column = _number(digits) if digits else row + 1, 0
                continue
            column = _column_of(letters) if digits else column + 1
            if not empty:
                last_row = max(_number(digits) if digits else row, last_row)
                last_column = max(column, last_column)
        if last_row > _MOST_ROWS or last_column > _MOST_COLUMNS:
            raise InventoryError(f"{name}: has a cell beyond the end of a sheet; save it anew as .xlsx")
        if last_row * last_column > _MOST_CELLS:
            raise InventoryError(
                f"{name}: a sheet reaches to row {last_row:,} and column {last_column:,}, more than can be "
                "read; clear what stands far beside the table, or save it as CSV"
            )


def _column_of(letters: bytes) -> int:
    column = 0
    for letter in letters[:4].upper():
        column = column * 26 + letter - ord("A") + 1
    return column


def _number(digits: bytes) -> int:
    return int(digits[:20] or b"0")


def _with_error_texts(content: BinaryIO) -> BinaryIO:
    """Copy a workbook with its cells of type error as text, so that `#N/A` is read as such."""
    copy = io.BytesIO()
    with (
        zipfile.ZipFile(content) as parts,
        zipfile.ZipFile(copy, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as copied,
    ):
        for info in parts.infolist():
            with copied.open(info.filename, "w", force_zip64=True) as to:
                for piece in _pieces(parts, info):
                    to.write(_ERROR_CELL.sub(rb"\1str", piece))
    copy.seek(0)
    return copy
