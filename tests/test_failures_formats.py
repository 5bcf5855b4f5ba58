"""failures.xlsx and failures.jsonl: what failures.csv holds in the inventory's own format; to run again."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from ledger_in_memory import LedgerInMemory, row
from python_calamine import CalamineWorkbook

from pipeline.errors import LedgerError, SimliftError
from pipeline.files import LocalFile
from pipeline.model import Status
from pipeline.reports import (
    write_all,
    write_failures,
    write_failures_as_they_came,
    write_failures_jsonl,
    write_failures_xlsx,
)
from pipeline.settings import Input
from pipeline.sources.json_file import JsonSource
from pipeline.sources.xlsx_file import XlsxSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\x00\ufffe\uffff"), max_size=10)
LONG = "89049032123451234558290000000001"
OURS = ["simlift_status", "simlift_code", "simlift_reason", "simlift_raw"]


def read_again(kind: Any, path: Path) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    source = kind(LocalFile(path), Input())
    rows = [tuple(found.values()) for chunk in source.chunks() for found in chunk.rows.to_pylist()]
    assert not any(chunk.broken or chunk.numbers for chunk in source.chunks())
    return source.header, rows


def test_a_spreadsheet_gets_text_cells_with_every_digit_and_our_words(tmp_path: Path) -> None:
    ledger = LedgerInMemory(row(1, Status.REFUSED, cells=(LONG, ""), code="000106", reason="=no"), row(2))
    assert write_failures_xlsx(ledger, tmp_path / "failures.xlsx") == 1
    book = CalamineWorkbook.from_path(str(tmp_path / "failures.xlsx"))
    assert book.sheet_names == ["failures"]
    assert book.get_sheet_by_index(0).to_python() == [
        ["ICC ID", "note", *OURS],
        [LONG, "", "refused", "000106", "'=no", ""],
    ]


def test_json_lines_get_an_object_a_row(tmp_path: Path) -> None:
    ledger = LedgerInMemory(row(1, Status.REFUSED, cells=(LONG, 'ä"\n'), code="c", reason="r"), row(2))
    assert write_failures_jsonl(ledger, tmp_path / "failures.jsonl") == 1
    (line,) = (tmp_path / "failures.jsonl").read_text("utf-8").splitlines()
    assert list(json.loads(line).items()) == [
        ("ICC ID", LONG), ("note", 'ä"\n'), *zip(OURS, ["refused", "c", "r", ""], strict=True),
    ]  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(CELL.map("8{}".format), CELL), min_size=1, max_size=5))
@pytest.mark.parametrize(
    ("write", "kind", "name"),
    [
        (write_failures_xlsx, XlsxSource, "failures.xlsx"),
        (write_failures_jsonl, JsonSource, "failures.jsonl"),
    ],
)
def test_what_is_written_is_an_inventory_with_the_same_header_and_cells(
    tmp_path: Path, write: Any, kind: Any, name: str, rows: list[tuple[str, str]]
) -> None:
    ledger = LedgerInMemory(*(row(at, Status.REFUSED, cells=two) for at, two in enumerate(rows, start=1)))
    assert write(ledger, tmp_path / name) == len(rows)
    assert read_again(kind, tmp_path / name) == (ledger.run().header, rows)


def test_more_rows_than_a_sheet_holds_go_on_in_the_next_and_are_all_read_again(tmp_path: Path) -> None:
    rows = [(f"89{at:017}", "x") for at in range(1, 8)]
    ledger = LedgerInMemory(*(row(at, Status.REFUSED, cells=two) for at, two in enumerate(rows, start=1)))
    assert write_failures_xlsx(ledger, tmp_path / "failures.xlsx", sheet_rows=4) == 7
    book = CalamineWorkbook.from_path(str(tmp_path / "failures.xlsx"))
    assert book.sheet_names == ["failures", "failures 2", "failures 3"]
    assert [book.get_sheet_by_index(at).height for at in range(3)] == [4, 4, 2]
    assert read_again(XlsxSource, tmp_path / "failures.xlsx")[1] == rows


def test_a_cell_longer_than_a_spreadsheet_takes_is_cut(tmp_path: Path) -> None:
    ledger = LedgerInMemory(row(1, Status.REFUSED, cells=("8", "x" * 40_000)))
    write_failures_xlsx(ledger, tmp_path / "failures.xlsx")
    assert read_again(XlsxSource, tmp_path / "failures.xlsx")[1] == [("8", "x" * 32_767)]


@pytest.mark.parametrize(
    ("formats", "names"),
    [
        ((), []),
        (("csv",), []),
        (("parquet", "out"), []),
        (("xlsx",), ["failures.xlsx"]),
        (("json",), ["failures.jsonl"]),
        (("csv", "xlsx", "json"), ["failures.jsonl", "failures.xlsx"]),
    ],
)
def test_each_format_of_the_inventory_gets_its_file(
    tmp_path: Path, formats: tuple[str, ...], names: list[str]
) -> None:
    write_failures_as_they_came(LedgerInMemory(row(1, Status.REFUSED), formats=formats), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_all_reports_are_private_and_failures_csv_does_not_depend_on_the_format(tmp_path: Path) -> None:
    rows = [row(1, Status.REFUSED, cells=("8935", "x"))]
    write_failures(LedgerInMemory(*rows), tmp_path / "plain.csv")
    (tmp_path / "run").mkdir()
    write_all(LedgerInMemory(*rows, formats=("xlsx", "json")), tmp_path / "run")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").iterdir()}
    assert modes == dict.fromkeys(
        ["failures.csv", "failures.jsonl", "failures.xlsx", "outcomes.csv", "report.html", "summary.json"],
        0o600,
    )
    assert (tmp_path / "run" / "failures.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()


class Failing(LedgerInMemory):
    """A ledger that cannot be read to its end."""

    def outcomes(self, *, with_source: bool = False) -> Iterator[pa.RecordBatch]:
        yield from super().outcomes(with_source=with_source)
        raise LedgerError("the disk is gone")


@pytest.mark.parametrize("write", [write_failures_xlsx, write_failures_jsonl])
def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path, write: Any) -> None:
    with pytest.raises(LedgerError, match="the disk is gone"):
        write(Failing(row(1, Status.REFUSED)), tmp_path / "failures")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SimliftError, match="cannot be written: No such file or directory"):
        write_failures_xlsx(LedgerInMemory(), tmp_path / "none" / "failures.xlsx")
