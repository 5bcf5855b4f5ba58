"""outcomes.csv and failures.csv: what became of every row, and the rows to mend and send again.

Both are made a column at a time, of one reading of the ledger.
"""

from __future__ import annotations

import csv
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.model import OUTCOME_COLUMNS, Status
from pipeline.reports.private_file import private_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipeline.contracts import Ledger

#: What failures.csv adds behind the source columns.
FAILURE_COLUMNS = ("simlift_status", "simlift_code", "simlift_reason", "simlift_raw")

_WORDS = ("status", "code", "reason")
_NOT_GOOD = pa.array([status.value for status in Status if not status.good])

# OWASP, "CSV Injection": a cell that begins with one of these is run as a formula; the last four are the
# full-width twins that some spreadsheets take for the same.
_FORMULA = r"^[=+\-@\t\r\n\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}]"
_FORMULA_BYTES = np.frombuffer(b"=+-@\t\r\n\xef", np.uint8)  # what these begin with in UTF-8
_NEEDS_QUOTES = '[,"\r\n]'
_QUOTED_BYTES = b',"\r\n'
_PIECES_UNDER_WAY = 3


def write_rows(ledger: Ledger, outcomes: Path, failures: Path) -> None:
    """Write what write_outcomes and write_failures write, reading the ledger once."""
    _write(ledger, _outcomes(outcomes), _failures(ledger, failures))


def write_outcomes(ledger: Ledger, path: Path) -> int:
    """Write a line for each row with a final status, in inventory order; give back how many there are.

    Raises SimliftError when the file can't be written, LedgerError when the rows can't be read.
    """
    return _write(ledger, _outcomes(path))[0]


def write_failures(ledger: Ledger, path: Path) -> int:
    """Write each row that is not good with its source cells as they stood; give back how many there are.

    The file is an inventory: it can be run as it is. The source cells are the user's own and stay
    unguarded; the vendor's words beside them are guarded. Raises SimliftError, LedgerError.
    """
    return _write(ledger, _failures(ledger, path))[0]


def failure_rows(ledger: Ledger) -> Iterator[tuple[str, ...]]:
    """Yield each row that is not good: its source cells as they stood, then FAILURE_COLUMNS."""
    width = len(ledger.run().header)
    for rows in ledger.outcomes(with_source=True):
        bad, words = _not_good(rows, [_guarded(rows.column(name)) for name in _WORDS])
        *cells, raw = _source(bad, width)
        yield from zip(*(column.to_pylist() for column in (*cells, *words, raw)), strict=True)


# ---------------------------------------------------------------- the files


class _File(NamedTuple):
    """One of the files: `cells_of` gives its columns, ready to be joined.

    It is given rows of the ledger, and OUTCOME_COLUMNS of theirs as guarded CSV cells.
    """

    path: Path
    header: Sequence[str]
    line_end: str
    cells_of: Callable[[pa.RecordBatch, Sequence[pa.StringArray]], Sequence[pa.StringArray]]
    with_source: bool


def _outcomes(path: Path) -> _File:
    return _File(path, OUTCOME_COLUMNS, "\n", lambda _, cells: cells, with_source=False)


def _failures(ledger: Ledger, path: Path) -> _File:
    header = ledger.run().header

    def cells_of(rows: pa.RecordBatch, outcomes: Sequence[pa.StringArray]) -> Sequence[pa.StringArray]:
        bad, words = _not_good(rows, [outcomes[OUTCOME_COLUMNS.index(name)] for name in _WORDS])
        *cells, raw = map(_quoted, _source(bad, len(header)))
        return (*cells, *words, raw)

    # Lines end in CR LF, so that one alone in a cell is no line end to anyone.
    return _File(path, (*header, *FAILURE_COLUMNS), "\r\n", cells_of, with_source=True)


def _write(ledger: Ledger, *kinds: _File) -> list[int]:
    """Write some of the files; give back how many lines each has."""
    counts = [0] * len(kinds)

    def lines_of(rows: pa.RecordBatch) -> list[tuple[int, bytes]]:
        outcomes = [_quoted(_guarded(rows.column(name))) for name in OUTCOME_COLUMNS]
        columns = [kind.cells_of(rows, outcomes) for kind in kinds]
        return [
            (len(cells[0]), _lines(cells, kind.line_end)) for kind, cells in zip(kinds, columns, strict=True)
        ]

    with ExitStack() as stack, ThreadPoolExecutor(2, thread_name_prefix="rows") as threads:
        files = [stack.enter_context(private_file(kind.path)) for kind in kinds]
        for kind, file in zip(kinds, files, strict=True):
            csv.writer(file, lineterminator=kind.line_end).writerow(kind.header)
            file.flush()

        def write_out(piece: Future[list[tuple[int, bytes]]]) -> None:
            for number, (count, lines) in enumerate(piece.result()):
                counts[number] += count
                files[number].buffer.write(lines)

        # Arrow lets go of the interpreter while it joins columns: the next rows are read meanwhile.
        under_way: deque[Future[list[tuple[int, bytes]]]] = deque()
        for rows in ledger.outcomes(with_source=any(kind.with_source for kind in kinds)):
            under_way.append(threads.submit(lines_of, rows))
            if len(under_way) > _PIECES_UNDER_WAY:
                write_out(under_way.popleft())
        for piece in under_way:
            write_out(piece)
    return counts


# ---------------------------------------------------------------- their cells


def _not_good(
    rows: pa.RecordBatch, columns: Sequence[pa.StringArray]
) -> tuple[pa.RecordBatch, Sequence[pa.StringArray]]:
    """Leave out the good rows, of columns of theirs too."""
    bad = pc.is_in(rows.column("status"), _NOT_GOOD)
    if bad.true_count == len(bad):
        return rows, columns
    return rows.filter(bad), [column.filter(bad) for column in columns]


def _source(rows: pa.RecordBatch, width: int) -> Iterator[pa.StringArray]:
    """Yield so many columns of the source cells of rows, then their raw lines."""
    raw, cells = rows.column("raw"), rows.column("cells")
    # A broken row gives its raw line alone: cells under a wrong header, or with bytes written out,
    # could pass as good ones in the next run.
    lengths = pc.if_else(pc.equal(raw, ""), pc.list_value_length(cells).fill_null(0), 0)
    starts, lengths = np.asarray(cells.offsets)[:-1], np.asarray(lengths)
    for number in range(width):
        yield cells.values.take(pa.array(starts + number, mask=lengths <= number)).fill_null("")
    yield raw


def _lines(columns: Sequence[pa.StringArray], end: str) -> bytes:
    """Join CSV cells to lines in UTF-8, without a Python object for any of them."""
    rows = len(columns[0])
    if not rows:
        return b""
    # Most columns say the same in every row: what they say becomes part of the text between the others.
    parts: list[Any] = [""]
    for number, column in enumerate(columns):
        parts[-1] += "," if number else ""
        if pc.equal(column, column[0]).true_count == rows:
            parts[-1] += column[0].as_py()
        else:
            parts += [column, ""]
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
    text, ends = _text(cells)
    # One look at the first bytes tells of most columns that no cell of theirs is one.
    begins = text[ends[:-1][ends[:-1] < ends[1:]]]
    if pa.types.is_integer(column.type) or not np.isin(begins, _FORMULA_BYTES).any():
        return cells
    risky = pc.match_substring_regex(cells, _FORMULA)
    return pc.if_else(risky, pc.binary_join_element_wise("'", cells, ""), cells)


def _quoted(cells: pa.StringArray) -> pa.StringArray:
    """Give text as CSV cells: in quotes where CSV wants them."""
    text, _ = _text(cells)
    if not any((text == byte).any() for byte in _QUOTED_BYTES):
        return cells
    wants_quotes = pc.match_substring_regex(cells, _NEEDS_QUOTES)
    doubled = pc.replace_substring(cells, '"', '""')
    return pc.if_else(wants_quotes, pc.binary_join_element_wise('"', doubled, '"', ""), cells)


def _text(cells: pa.StringArray) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Give the bytes of a column back to back, and where each cell begins and the last one ends in them."""
    _, offsets, data = cells.buffers()
    ends = np.frombuffer(offsets, np.int32, len(cells) + 1, 4 * cells.offset)
    return np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]], ends - ends[0]
