"""outcomes.csv and failures.csv: what became of every row, and the rows to mend and send again.

Outcomes are written a column at a time; only the rows that are not good are touched one by one.
"""

from __future__ import annotations

import csv
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.model import OUTCOME_COLUMNS, Status
from pipeline.reports.private_file import private_file

if TYPE_CHECKING:
    from collections.abc import Iterator
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
            under_way.append(threads.submit(_lines, outcomes))
            lines += outcomes.num_rows
            if len(under_way) > _PIECES_UNDER_WAY:
                file.buffer.write(under_way.popleft().result())
        for piece in under_way:
            file.buffer.write(piece.result())
    return lines


def _lines(outcomes: pa.RecordBatch) -> bytes:
    """Give the rows as CSV lines in UTF-8, without a Python object for any of them."""
    if not outcomes.num_rows:
        return b""
    # Most columns say the same in every row: what they say becomes part of the text between the others.
    parts: list[Any] = [""]
    for number, name in enumerate(OUTCOME_COLUMNS):
        column = outcomes.column(name)
        parts[-1] += "," if number else ""
        if pc.equal(column, column[0]).true_count == len(column):
            parts[-1] += _cells(column.slice(0, 1))[0].as_py()
        else:
            parts += [_cells(column), ""]
    parts[-1] += "\n"
    lines: Any = pc.binary_join_element_wise(*parts, "")
    if isinstance(lines, pa.Scalar):
        return str(lines.as_py() * outcomes.num_rows).encode()
    # A fresh string array holds its text back to back, from offset 0 to its last one: that is the file.
    _, offsets, text = lines.buffers()
    plain: bytes = text[: memoryview(offsets).cast("i")[len(lines)]].to_pybytes()
    return plain


def _cells(column: pa.Array) -> pa.Array:
    """Give a column as CSV cells: guarded against spreadsheets, in quotes where CSV wants them."""
    # A null would take its whole line with it when the columns are joined.
    cells = pc.fill_null(pc.cast(column, pa.string()), "")
    if pa.types.is_integer(column.type) or _is_harmless(cells):
        return cells
    risky = pc.match_substring_regex(cells, _FORMULA)
    cells = pc.if_else(risky, pc.binary_join_element_wise("'", cells, ""), cells)
    quoted = pc.match_substring_regex(cells, _NEEDS_QUOTES)
    doubled = pc.replace_substring(cells, '"', '""')
    return pc.if_else(quoted, pc.binary_join_element_wise('"', doubled, '"', ""), cells)


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
    lines = count()
    with private_file(path) as file:
        # With CR LF as line end, the module puts a cell with either of them in quotes (Python 3.11 too).
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow((*ledger.run().header, *FAILURE_COLUMNS))
        writer.writerows(line for line, _ in zip(failure_rows(ledger), lines, strict=False))
    return next(lines)


def failure_rows(ledger: Ledger) -> Iterator[tuple[str, ...]]:
    """Yield each row that is not good: its source cells as they stood, then FAILURE_COLUMNS."""
    width = len(ledger.run().header)
    for row in ledger.exceptional(*NOT_GOOD):
        # A broken row gives its raw line alone: cells under a wrong header, or with bytes written out,
        # could pass as good ones in the next run.
        cells = () if row.raw else row.cells
        missing = ("",) * (width - len(cells))
        yield (*cells, *missing, str(row.status), _guard(row.code), _guard(row.reason), row.raw)


def _guard(cell: str) -> str:
    return "'" + cell if cell[:1] and cell[0] in _RUN_AS_FORMULA else cell
