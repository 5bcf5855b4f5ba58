"""outcomes.csv has a safe line for every row; failures.csv gives the user's rows back as they were."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st
from ledger_in_memory import LedgerInMemory, row

from pipeline.files import LocalFile
from pipeline.model import Status
from pipeline.reports import write_failures, write_outcomes, write_rows
from pipeline.reports.rows import FAILURE_COLUMNS, failure_rows
from pipeline.settings import Input
from pipeline.sources.csv_file import CsvSource

if TYPE_CHECKING:
    from pipeline.contracts import Ledger

CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text(
    "=+-@\t\r\n\",;' a1", max_size=6
)
FORMULA = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
BAD = [status for status in Status if not status.good]


def read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


def outcomes(ledger: Ledger) -> list[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcomes.csv"
        lines = write_outcomes(ledger, path)
        header, *rest = read(path)
    assert header == ["position", "key", "status", "code", "reason", "attempts", "batch"]
    assert lines == len(rest)
    return rest


def failures(ledger: Ledger) -> list[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "failures.csv"
        lines = write_failures(ledger, path)
        table = read(path)
    assert lines == len(table) - 1
    return table


# ---------------------------------------------------------------- outcomes.csv


def test_every_row_with_a_status_has_its_line_in_inventory_order() -> None:
    ledger = LedgerInMemory(
        row(4, Status.DUPLICATE, key="89001", reason="as in row 1"),
        row(1, key="89001", batch=7),
        row(3, Status.REFUSED, key="89003", code="000101", reason="no", sends=2, batch=9),
        row(2, Status.REJECTED, key="", reason="iccid: is empty"),
    )
    assert outcomes(ledger) == [
        ["1", "89001", "succeeded", "", "", "1", "7"],
        ["2", "", "rejected", "", "iccid: is empty", "0", "0"],
        ["3", "89003", "refused", "000101", "no", "2", "9"],
        ["4", "89001", "duplicate", "", "as in row 1", "0", "0"],
    ]


def test_a_row_that_is_still_open_has_no_line_yet() -> None:
    assert [line[0] for line in outcomes(LedgerInMemory(row(1), row(2, None), row(3)))] == ["1", "3"]


def test_a_run_without_rows_has_only_the_header() -> None:
    assert outcomes(LedgerInMemory()) == []


def test_a_key_of_digits_stays_as_it_is(tmp_path: Path) -> None:
    write_outcomes(LedgerInMemory(row(1, key="08900000000000000003")), tmp_path / "outcomes.csv")
    assert (tmp_path / "outcomes.csv").read_bytes().splitlines()[
        1
    ] == b"1,08900000000000000003,succeeded,,,1,1"


@pytest.mark.parametrize("first", FORMULA)
@pytest.mark.parametrize("field", ["key", "code", "reason"])
def test_a_cell_that_a_spreadsheet_would_run_is_guarded(first: str, field: str) -> None:
    formula = f'{first}cmd|" /C calc"!A0'
    (line,) = outcomes(LedgerInMemory(row(1, Status.REJECTED, **{field: formula})))
    assert line[{"key": 1, "code": 3, "reason": 4}[field]] == "'" + formula


def test_a_formula_in_one_row_changes_no_other_row() -> None:
    ledger = LedgerInMemory(
        row(1, reason="a=b"), row(2, reason="=1+1"), row(3, reason='said "no", twice\r\nor so')
    )
    assert [line[4] for line in outcomes(ledger)] == ["a=b", "'=1+1", 'said "no", twice\r\nor so']


@settings(max_examples=60, deadline=None)
@given(cells=st.lists(st.tuples(CELL, CELL, CELL), max_size=5))
def test_outcomes_come_back_whole_but_for_the_guard(cells: list[tuple[str, str, str]]) -> None:
    rows = [
        row(position, Status.REFUSED, key=key, code=code, reason=reason)
        for position, (key, code, reason) in enumerate(cells, start=1)
    ]
    lines = outcomes(LedgerInMemory(*rows, rows_a_batch=2))
    assert [(line[1], line[3], line[4]) for line in lines] == [tuple(map(guarded, three)) for three in cells]


def guarded(cell: str) -> str:
    return "'" + cell if cell.startswith(tuple(FORMULA)) else cell


# ---------------------------------------------------------------- failures.csv


def test_every_row_that_is_not_good_comes_with_its_cells_and_our_words() -> None:
    ledger = LedgerInMemory(
        *(
            row(position, status, cells=(f"89{position}", status.value), code="c", reason="r")
            for position, status in enumerate(Status, start=1)
        ),
        row(8, None, cells=("898", "open")),
    )
    header, *lines = failures(ledger)
    assert header == ["ICC ID", "note", "simlift_status", "simlift_code", "simlift_reason", "simlift_raw"]
    assert lines == [
        [f"89{position}", status, status, "c", "r", ""] for position, status in enumerate(BAD, start=3)
    ]


def test_source_cells_are_not_guarded_but_the_vendors_words_are() -> None:
    ledger = LedgerInMemory(row(1, Status.REFUSED, cells=("=8935", "+1"), code="-1", reason="@no"))
    assert failures(ledger)[1] == ["=8935", "+1", "refused", "'-1", "'@no", ""]


def test_a_broken_row_has_empty_cells_and_its_raw_line() -> None:
    ledger = LedgerInMemory(
        row(1, Status.REJECTED, raw='8935,"x,\\xff', reason="ragged", cells=("8935", "x", "shifted"))
    )
    assert failures(ledger)[1] == ["", "", "rejected", "", "ragged", '8935,"x,\\xff']


def test_missing_cells_are_filled_up() -> None:
    assert failures(LedgerInMemory(row(1, Status.REJECTED, cells=("8935",))))[1][:3] == [
        "8935",
        "",
        "rejected",
    ]


def test_a_failures_file_is_an_inventory_with_the_same_header_and_cells(tmp_path: Path) -> None:
    cells = [("8935", 'a "q"\r\nb;c\rd'), ('="8936"', "=1+1"), (" 8937 ", "")]
    ledger = LedgerInMemory(*(row(n, Status.REFUSED, cells=two) for n, two in enumerate(cells, start=1)))
    write_failures(ledger, tmp_path / "failures.csv")
    source = CsvSource(LocalFile(tmp_path / "failures.csv"), Input())
    assert source.header == ledger.run().header
    assert [tuple(found.values()) for chunk in source.chunks() for found in chunk.rows.to_pylist()] == cells


def test_a_broken_row_is_still_a_row_when_the_failures_are_run_again(tmp_path: Path) -> None:
    ledger = LedgerInMemory(row(1, Status.REJECTED, raw='8935,"x', reason="ragged"), row(2))
    write_failures(ledger, tmp_path / "failures.csv")
    assert (
        sum(chunk.rows_read for chunk in CsvSource(LocalFile(tmp_path / "failures.csv"), Input()).chunks())
        == 1
    )


@settings(max_examples=60, deadline=None)
@given(header=st.tuples(CELL, CELL), rows=st.lists(st.tuples(CELL, CELL), max_size=5))
def test_source_cells_and_header_come_back_exactly(
    header: tuple[str, str], rows: list[tuple[str, str]]
) -> None:
    ledger = LedgerInMemory(
        *(row(position, Status.REFUSED, cells=cells) for position, cells in enumerate(rows, start=1)),
        header=header,
    )
    first, *lines = failures(ledger)
    assert tuple(first[:2]) == header
    assert [tuple(line[:2]) for line in lines] == rows
    assert all(len(line) == 6 for line in lines)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(CELL | st.just("\ud800"), CELL, CELL, CELL), max_size=7),
    at_a_time=st.integers(1, 3),
)
def test_failures_are_written_as_the_csv_module_writes_their_rows(
    rows: list[tuple[str, str, str, str]], at_a_time: int
) -> None:
    ledger = LedgerInMemory(
        *(
            row(
                position,
                Status.REFUSED,
                cells=tuple(cells),
                code=code,
                raw="raw, \ud800" * (position % 3 == 0),
            )
            for position, (*cells, code) in enumerate(rows, start=1)
        ),
        header=("first", 'sec,"ond', "third"),
        rows_a_batch=at_a_time,
    )
    plain = io.StringIO(newline="")
    lines = csv.writer(plain, lineterminator="\r\n")
    lines.writerows([(*ledger.run().header, *FAILURE_COLUMNS), *failure_rows(ledger)])
    with tempfile.TemporaryDirectory() as folder:
        assert write_failures(ledger, Path(folder, "failures.csv")) == len(rows)
        written = Path(folder, "failures.csv").read_bytes()
    assert written == plain.getvalue().encode("utf-8", "backslashreplace")


# ---------------------------------------------------------------- both


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from(Status), CELL, CELL, CELL), max_size=7),
    at_a_time=st.integers(1, 3),
)
def test_in_one_reading_both_files_are_what_each_is_alone(
    rows: list[tuple[Status, str, str, str]], at_a_time: int
) -> None:
    ledger = LedgerInMemory(
        *(
            row(position, status, cells=tuple(cells), reason=reason)
            for position, (status, *cells, reason) in enumerate(rows, start=1)
        ),
        rows_a_batch=at_a_time,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(ledger, folder / "outcomes", folder / "failures")
        write_outcomes(ledger, folder / "outcomes alone")
        write_failures(ledger, folder / "failures alone")
        for file in ("outcomes", "failures"):
            assert (folder / file).read_bytes() == (folder / f"{file} alone").read_bytes()
