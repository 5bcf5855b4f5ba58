"""outcomes.csv and failures.csv: what became of every row, and the rows to mend and send again.

Outcomes are written a column at a time; only the rows that are not good are touched one by one.
"""

from __future__ import annotations

import csv
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.model import OUTCOME_COLUMNS, Status
from pipeline.reports.private_file import private_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pipeline.contracts import Ledger

#: What failures.csv adds behind the source columns.
FAILURE_COLUMNS = ("simlift_status", "simlift_code", "simlift_reason", "simlift_raw")

NOT_GOOD = tuple(status for status in Status if not status.good)

# OWASP, "CSV Injection": a cell that begins with one of these is run as a formula; the last four are the
# full-width twins that some spreadsheets take for the same.
_RUN_AS_FORMULA = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_FORMULA = r"^[=+\-@\t\r\n\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}]"
_PIECES_UNDER_WAY = 3
_ROWS_AT_A_TIME = 1_000
_NEEDS_QUOTES = '[,"\r\n]'


def write_outcomes(ledger: Ledger, path: Path) -> int:
    """Write a line for each row with a final status, in inventory order; give back how many there are.

    Raises SimliftError when the file can't be written, LedgerError when the rows can't be read.
    """
    lines = 0
    under_way: deque[Future[bytes]] = deque()
    with private_file(path) as file, ThreadPoolExecutor(2, thread_name_prefix="outcomes") as threads:
        file.write(",".join(OUTCOME_COLUMNS) + "\n")
        file.flush()
        # Arrow lets go of the interpreter while it joins columns: the next piece is read meanwhile.
        for outcomes in ledger.outcomes():
            under_way.append(threads.submit(_lines, outcomes.columns, _guarded, "\n"))
            lines += outcomes.num_rows
            if len(under_way) > _PIECES_UNDER_WAY:
                file.buffer.write(under_way.popleft().result())
        for piece in under_way:
            file.buffer.write(piece.result())
    return lines


def _lines(columns: Sequence[pa.Array], cells_of: Callable[[pa.Array], pa.StringArray], end: str) -> bytes:
    """Give rows as CSV lines in UTF-8, without a Python object for any of them."""
    rows = len(columns[0])
    if not rows:
        return b""
    # Most columns say the same in every row: what they say becomes part of the text between the others.
    parts: list[Any] = [""]
    for number, column in enumerate(columns):
        parts[-1] += "," if number else ""
        if pc.equal(column, column[0]).true_count == rows:
            parts[-1] += _quoted(cells_of(column.slice(0, 1)))[0].as_py()
        else:
            parts += [_quoted(cells_of(column)), ""]
    parts[-1] += end
    lines: Any = pc.binary_join_element_wise(*parts, "")
    if isinstance(lines, pa.Scalar):
        return str(lines.as_py() * rows).encode()
    # A fresh string array holds its text back to back, from offset 0 to its last one: that is the file.
    _, offsets, text = lines.buffers()
    plain: bytes = text[: memoryview(offsets).cast("i")[len(lines)]].to_pybytes()
    return plain


def _guarded(column: pa.Array) -> pa.StringArray:
    """Give a column as text that no spreadsheet runs, nulls as blanks."""
    # A null would take its whole line with it when the columns are joined.
    cells = pc.fill_null(pc.cast(column, pa.string()), "")
    if pa.types.is_integer(column.type) or _is_harmless(cells):
        return cells
    risky = pc.match_substring_regex(cells, _FORMULA)
    return pc.if_else(risky, pc.binary_join_element_wise("'", cells, ""), cells)


def _quoted(cells: pa.StringArray) -> pa.StringArray:
    """Give text as CSV cells: in quotes where CSV wants them."""
    if _is_harmless(cells):
        return cells
    wants_quotes = pc.match_substring_regex(cells, _NEEDS_QUOTES)
    doubled = pc.replace_substring(cells, '"', '""')
    return pc.if_else(wants_quotes, pc.binary_join_element_wise('"', doubled, '"', ""), cells)


def _is_harmless(cells: pa.StringArray) -> bool:
    """Tell at one look over its bytes that a column needs neither guard nor quotes, as most do."""
    _, offsets, data = cells.buffers()
    ends = memoryview(offsets).cast("i")
    text = np.frombuffer(data or b"", np.uint8)[ends[cells.offset] : ends[cells.offset + len(cells)]]
    if not len(text):
        return True
    # Every character that matters is not ASCII, comes before the digits, or is one of these two.
    in_range = text.min() >= ord("0") and text.max() < 0x80  # noqa: PLR2004 - the end of ASCII
    return bool(in_range and not (text == ord("=")).any() and not (text == ord("@")).any())


def write_failures(ledger: Ledger, path: Path) -> int:
    """Write each row that is not good with its source cells as they stood; give back how many there are.

    The file is an inventory: it can be run as it is. The source cells are the user's own and stay
    unguarded; the vendor's words beside them are guarded. Raises SimliftError, LedgerError.
    """
    lines = 0
    with private_file(path) as file:
        # Lines end in CR LF, so that one alone in a cell is no line end to anyone.
        csv.writer(file, lineterminator="\r\n").writerow((*ledger.run().header, *FAILURE_COLUMNS))
        file.flush()
        for columns in _failure_columns(ledger):
            file.buffer.write(_lines([_text(column) for column in columns], _as_it_is, "\r\n"))
            lines += len(columns[0])
    return lines


def failure_rows(ledger: Ledger) -> Iterator[tuple[str, ...]]:
    """Yield each row that is not good: its source cells as they stood, then FAILURE_COLUMNS."""
    for columns in _failure_columns(ledger):
        yield from zip(*columns, strict=True)


def _failure_columns(ledger: Ledger) -> Iterator[Sequence[Sequence[str]]]:
    """Yield the columns of some thousands of them at a time."""
    width = len(ledger.run().header)
    left = ledger.exceptional(*NOT_GOOD)
    while rows := list(islice(left, _ROWS_AT_A_TIME)):
        # A broken row gives its raw line alone: cells under a wrong header, or with bytes written out,
        # could pass as good ones in the next run.
        cells = [() if row.raw else row.cells for row in rows]
        cells = [some if len(some) == width else (*some, *("",) * (width - len(some))) for some in cells]
        yield (
            *zip(*cells, strict=True),
            [str(row.status) for row in rows],
            [_guard(row.code) for row in rows],
            [_guard(row.reason) for row in rows],
            [row.raw for row in rows],
        )


def _text(column: Sequence[str]) -> pa.StringArray:
    try:
        return pa.array(column, pa.string())
    except UnicodeEncodeError:  # a lone surrogate
        return pa.array([cell.encode(errors="backslashreplace").decode() for cell in column], pa.string())


def _as_it_is(column: pa.StringArray) -> pa.StringArray:
    return column


def _guard(cell: str) -> str:
    return "'" + cell if cell[:1] and cell[0] in _RUN_AS_FORMULA else cell
