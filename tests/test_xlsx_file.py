"""XLSX inventories: text as it stood, numbers marked as such, and nothing a workbook can do to us."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from workbooks import raw_workbook, text_row, workbook, zipped

from pipeline.errors import InventoryError
from pipeline.files import LocalFile
from pipeline.settings import Input
from pipeline.sources.xlsx_file import XlsxSource
from simlift_contract import SourceContract

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.model import Chunk

HEADER = ("iccid", "eid", "note")
ROW = ("8935711000000000007", "89049032123451234558290000000001", "x")


@pytest.fixture
def opened(tmp_path: Path) -> Any:
    """Give an opener of workbooks by their content."""

    def open_it(content: bytes, settings: Input | None = None) -> XlsxSource:
        path = tmp_path / "inventory.xlsx"
        path.write_bytes(content)
        return XlsxSource(LocalFile(path), settings or Input())

    return open_it


def rows_of(source: XlsxSource) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for chunk in source.chunks() for row in chunk.rows.to_pylist()]


def only_chunk(source: XlsxSource) -> Chunk:
    (chunk,) = source.chunks()
    return chunk


class TestXlsx(SourceContract):
    kind = XlsxSource
    cells: ClassVar[st.SearchStrategy[str]] = st.text(
        st.characters(codec="utf-8", exclude_characters="\x00\ufffe\uffff"), max_size=12
    )

    def write(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
        return workbook(("Sheet1", [header, *rows]))


class TestXlsxWithTextInTheCells(TestXlsx):
    """Not in a table of shared strings."""

    def write(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
        return workbook(("Sheet1", [header, *rows]), in_memory=False, constant_memory=True)


# ---------------------------------------------------------------- cells


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (8935711000000000007, "8935711000000000000"),
        (352030000000001, "352030000000001"),
        (-7, "-7"),
        (0, "0"),
        (0.1, "0.1"),
        (1e22, "10000000000000000000000"),
        (12345.5, "12345.5"),
    ],
)
def test_a_number_becomes_text_with_all_its_digits_and_is_marked(
    opened: Any, number: float, shown: str
) -> None:
    chunk = only_chunk(opened(workbook(("S", [HEADER, [number, "b", "c"], ["1", "2", "3"]]))))
    assert chunk.rows.to_pylist() == [{"0": shown, "1": "b", "2": "c"}, {"0": "1", "1": "2", "2": "3"}]
    assert {at: marks.to_pylist() for at, marks in chunk.numbers.items()} == {0: [True, False]}


def test_dates_times_and_truth_become_text_and_are_no_numbers(opened: Any) -> None:
    cells = [datetime(2026, 11, 22, 9, 30), date(2026, 11, 22), time(9, 30), True, False]  # noqa: DTZ001
    content = workbook(("S", [["a", "b", "c", "d", "e"], cells]), default_date_format="yyyy-mm-dd hh:mm")
    chunk = only_chunk(opened(content))
    (row,) = chunk.rows.to_pylist()
    assert list(row.values()) == ["2026-11-22 09:30:00", "2026-11-22", "09:30:00", "TRUE", "FALSE"]
    assert chunk.numbers == {}


def test_a_formula_counts_as_what_it_came_to(opened: Any) -> None:
    cells = (
        '<row r="2"><c r="A2" t="str"><f>B1</f><v>8935</v></c><c r="B2"><f>1+1</f><v>2</v></c>'
        '<c r="C2" t="b"><f>TRUE</f><v>1</v></c></row>'
    )
    chunk = only_chunk(opened(raw_workbook(text_row(1, *HEADER) + cells)))
    assert chunk.rows.to_pylist() == [{"0": "8935", "1": "2", "2": "TRUE"}]
    assert {at: marks.to_pylist() for at, marks in chunk.numbers.items()} == {1: [True]}


@pytest.mark.parametrize("attributes", ['t="e" r="B2"', 'r="B2" s="0" t="e"', "r='B2' t='e'", 't="e"'])
def test_an_error_is_no_blank_cell(opened: Any, attributes: str) -> None:
    cells = f'<row r="2"><c r="A2"><v>1</v></c><c {attributes}><f>VLOOKUP(1)</f><v>#N/A</v></c></row>'
    source = opened(raw_workbook(text_row(1, *HEADER) + cells + text_row(3, *ROW)))
    assert rows_of(source) == [("1", "#N/A", ""), ROW]


def test_a_time_that_no_calendar_has_breaks_its_row_alone(opened: Any) -> None:
    styles = (
        '<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs>'
        '<xf numFmtId="0"/><xf numFmtId="46"/></cellXfs></styleSheet>'
    )
    cells = text_row(1, *HEADER) + '<row r="2"><c r="A2" s="1"><v>8.9E+18</v></c></row>' + text_row(3, *ROW)
    chunk = only_chunk(opened(raw_workbook(cells, **{"xl/styles.xml": styles})))
    assert [(row.position, row.reason) for row in chunk.broken] == [
        (1, "a cell holds a time that no calendar has")
    ]
    assert (chunk.positions.to_pylist(), chunk.rows_read) == ([2], 2)


# ---------------------------------------------------------------- rows


def test_missing_cells_are_empty_and_blank_rows_are_none(opened: Any) -> None:
    rows = [HEADER, ROW, [], ["1"], [None, None, " \u00a0 "], [None, "2"], [0]]
    source = opened(workbook(("S", rows)))
    chunk = only_chunk(source)
    assert rows_of(source) == [ROW, ("1", "", ""), ("", "2", ""), ("0", "", "")]
    assert (chunk.positions.to_pylist(), chunk.rows_read) == ([1, 2, 3, 4], 4)


def test_a_cell_beyond_the_header_breaks_its_row_alone(opened: Any) -> None:
    chunk = only_chunk(opened(workbook(("S", [HEADER, ROW, [*ROW, "slipped"], ROW]))))
    assert chunk.positions.to_pylist() == [1, 3]
    (broken,) = chunk.broken
    assert (broken.position, broken.reason) == (2, "has 4 cells where the header has 3")
    assert broken.raw == "\t".join([*ROW, "slipped"])


def test_the_text_of_a_broken_row_is_withheld_beside_key_material(opened: Any) -> None:
    rows = [["iccid", "Ki"], ["1", "5EC2E7", "slipped"]]
    (broken,) = only_chunk(opened(workbook(("S", rows)))).broken
    assert "5EC2E7" not in broken.raw


def test_titles_above_the_header_are_told_and_no_rows(opened: Any) -> None:
    source = opened(workbook(("S", [["Delivery 7"], [], ["Customer:"], HEADER, ROW])))
    assert (source.header, rows_of(source)) == (HEADER, [ROW])
    (finding,) = source.findings
    assert finding.words == 'sheet "S": the header is its row 4; 2 rows above it not read'
    assert only_chunk(source).positions.to_pylist() == [1]


def test_a_table_may_begin_anywhere_on_its_sheet(opened: Any) -> None:
    source = opened(workbook(("S", [[], [], [None, *HEADER], [None, *ROW]])))
    assert source.header == HEADER
    assert rows_of(source) == [ROW]


def test_one_column_is_a_table(opened: Any) -> None:
    source = opened(workbook(("S", [["iccid"], ["1"], ["2"]])))
    assert (source.header, rows_of(source), source.findings) == (("iccid",), [("1",), ("2",)], ())


def test_a_long_sheet_comes_in_pieces_that_join_without_a_gap(opened: Any) -> None:
    source = opened(workbook(("S", [HEADER, *((str(n), "a", "b") for n in range(80_000))])))
    chunks = list(source.chunks())
    assert len(chunks) > 1
    positions = [at for chunk in chunks for at in chunk.positions.to_pylist()]
    assert positions == list(range(1, 80_001))
    assert 0 < chunks[0].bytes_read < chunks[-1].bytes_read == source.bytes_total


# ---------------------------------------------------------------- sheets


OTHER = [("code", "meaning"), ("x", "y")]
NEEDED = frozenset(["iccid", "eid", "name"])


def test_the_first_visible_sheet_with_rows_is_read_and_the_others_are_told(opened: Any) -> None:
    sheets = [("empty", []), ("secret", [HEADER, ROW]), ("a title", [["x"]]), ("data", [HEADER, ROW])]
    source = opened(workbook(*sheets, ("old", OTHER), ("one row", [ROW]), hidden=["secret"]))
    assert rows_of(source) == [ROW]
    (finding,) = source.findings
    assert (finding.code, finding.position) == ("other_sheets", 0)
    assert finding.words.endswith(
        'inventory.xlsx: only "data" would be read, not "old", "one row"; '
        'say which sheet is meant with [input] sheet = "data", or remove the others'
    )


def test_a_table_goes_on_in_the_sheets_with_the_same_header(opened: Any) -> None:
    parts = [("1", [HEADER, ROW, ROW]), ("2", [["Delivery 7"], HEADER, ROW]), ("3", [HEADER])]
    source = opened(workbook(*parts))
    assert rows_of(source) == [ROW] * 3
    assert [chunk.positions.to_pylist() for chunk in source.chunks()] == [[1, 2], [3]]
    assert [finding.words for finding in source.findings] == [
        'sheet "2": the header is its row 2; 1 row above it not read'
    ]


def test_the_sheet_that_the_job_file_names_is_read_alone(opened: Any) -> None:
    content = workbook(("data", [HEADER, ROW]), ("Part 2", [HEADER, ("1", "2", "3")]), ("old", OTHER))
    source = opened(content, Input(sheet="part 2"))
    assert (rows_of(source), source.findings) == ([("1", "2", "3")], ())


def test_a_sheet_that_is_not_there_is_told_with_those_that_are(opened: Any) -> None:
    with pytest.raises(InventoryError, match=r'no visible sheet "Data".*; there is "a", "b"$'):
        opened(workbook(("a", [HEADER, ROW]), ("b", OTHER)), Input(sheet="Data"))


def test_a_cover_sheet_is_passed_over_for_the_one_with_needed_columns(opened: Any) -> None:
    cover = [("Name", "Footel"), ("Quantity", "1")]
    source = opened(workbook(("Cover", cover), ("data", [HEADER, ROW])), Input().needing(NEEDED))
    assert (source.header, rows_of(source)) == (HEADER, [ROW])
    assert 'not "Cover"' in source.findings[0].words


@pytest.mark.parametrize("title", [("Customer:", "Footel", "PO 1"), ("Name", "Footel", "PO 1"), ("Name",)])
def test_a_title_as_wide_as_the_header_is_no_header(opened: Any, title: tuple[str, ...]) -> None:
    source = opened(workbook(("S", [title, HEADER, ROW])), Input().needing(NEEDED))
    assert (source.header, rows_of(source)) == (HEADER, [ROW])


def test_a_row_that_repeats_names_of_columns_is_no_second_header(opened: Any) -> None:
    source = opened(workbook(("S", [HEADER, HEADER, ROW])), Input().needing(NEEDED))
    assert rows_of(source) == [HEADER, ROW]


def test_a_failures_file_of_ours_goes_on_in_the_next_sheets(opened: Any) -> None:
    header = (*HEADER, "simlift_status", "simlift_code", "simlift_reason", "simlift_raw")
    one, other = (*ROW, "refused", "c1", "r1"), (*ROW, "rejected", "c2", "r2")
    source = opened(workbook(("failures", [header, one]), ("failures 2", [header, other])))
    assert (source.header, rows_of(source), source.findings) == (HEADER, [ROW, ROW], ())
    assert [chunk.positions.to_pylist() for chunk in source.chunks()] == [[1], [2]]
    assert source.corrects == (("c1", "r1", [*one, ""]),)


# ---------------------------------------------------------------- recognised


@pytest.mark.parametrize(
    "options", [{}, {"constant_memory": True, "in_memory": False}], ids=["shared", "inline"]
)
def test_a_workbook_is_recognised_by_its_parts(options: dict[str, Any]) -> None:
    content = workbook(("S", [HEADER, ROW]), **options)
    assert XlsxSource.recognises(content[:64_000])
    assert XlsxSource.recognises(raw_workbook(text_row(1, *HEADER)))


def test_other_zips_are_no_workbooks() -> None:
    assert not XlsxSource.recognises(zipped({"a.csv": "iccid\n1\n", "xl/b.csv": "iccid\n1\n"}))
    assert not XlsxSource.recognises(zipped({"[Content_Types].xml": "<Types/>", "word/document.xml": "<a/>"}))
    assert not XlsxSource.recognises(b"iccid,xl/workbook.xml\n")


# ---------------------------------------------------------------- refused


def refusal(opened: Any, content: bytes) -> str:
    with pytest.raises(InventoryError) as refused:
        list(opened(content).chunks())
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_an_old_or_encrypted_workbook_is_refused_with_what_to_do(opened: Any) -> None:
    content = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    assert XlsxSource.recognises(content)
    assert "save it as .xlsx without a password" in refusal(opened, content)


@pytest.mark.parametrize(
    "parts",
    [
        {"a.csv": "iccid\n1\n"},
        {"content.xml": "<x/>", "xl/workbook.xml": "<x/>"},
        {"xl/workbook.bin": "x", "xl/workbook.xml": "<x/>"},
    ],
)
def test_a_zip_that_is_something_else_is_refused(opened: Any, parts: dict[str, str]) -> None:
    assert "save it as .xlsx" in refusal(opened, zipped(parts))


def test_a_workbook_without_a_filled_cell_is_refused(opened: Any) -> None:
    assert "only blank cells" in refusal(opened, workbook(("S", [["  "]]), ("T", [])))


def test_a_workbook_of_keys_alone_is_refused(opened: Any) -> None:
    assert "only columns that are never kept" in refusal(opened, workbook(("S", [["Ki", "OPc"], ["1", "2"]])))


@pytest.mark.parametrize(
    "cells",
    [
        '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>',
        "<row r='9'><c s='1' r = 'xfd1048576'><v>1</v></c></row>",
        f'<row r="2">{"<c/>" * 16_000}<c><v>1</v></c></row><row r="999999"><c><v>1</v></c></row>',
        f"{'<row/>' * 20_000}<row>{'<c/>' * 16_000}<c><v>1</v></c></row>",
        '<x:row r="1048576"><x:c r="XFD1048576"><x:v>1</x:v></x:c></x:row>',
        '<row r="1048576"><c r="XFD1048576" a="/>"><v>1</v></c></row>',
    ],
    ids=["plain", "oddly written", "without places", "counted", "prefixed", "seemingly empty"],
)
def test_cells_far_apart_are_refused_before_they_cost_the_memory_between_them(
    opened: Any, cells: str
) -> None:
    assert "more than can be read" in refusal(opened, raw_workbook(text_row(1, *HEADER) + cells))


def test_sheets_that_reach_far_are_not_read_without_end(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    far = [HEADER, ROW, *[()] * 1_000, ("x",)]
    monkeypatch.setattr("pipeline.sources.workbook._MOST_IN_ALL", 10_000)
    assert ROW in rows_of(opened(workbook(*((f"{n}", far) for n in range(3)))))
    assert "more than can be read" in refusal(opened, workbook(*((f"{n}", far) for n in range(4))))


def test_a_format_kept_in_an_empty_cell_takes_no_room(opened: Any) -> None:
    far = '<row r="1048576" s="1"><c r="XFD1048576" s="1"/></row>'
    assert rows_of(opened(raw_workbook(text_row(1, *HEADER) + text_row(2, *ROW) + far))) == [ROW]


@pytest.mark.parametrize("place", ["ZZZZZZ1", "A4294967295", f"A{'9' * 30}", "XFE1", "A1048577"])
def test_a_cell_that_no_sheet_has_is_refused(opened: Any, place: str) -> None:
    cells = f'<row r="2"><c r="{place}"><v>1</v></c></row>'
    assert "beyond the end of a sheet" in refusal(opened, raw_workbook(text_row(1, *HEADER) + cells))


def test_a_part_that_swells_beyond_reason_is_refused(opened: Any) -> None:
    content = raw_workbook(text_row(1, *HEADER) + text_row(2, "x" * 101_000_000))
    assert len(content) < 200_000
    assert "unpacks to more than can be read" in refusal(opened, content)


def test_a_part_that_lies_about_its_size_is_refused(opened: Any) -> None:
    content = bytearray(raw_workbook(text_row(1, *HEADER) + text_row(2, "x" * 101_000_000)))
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = (1000).to_bytes(4, "little")
    assert "unpacks to more than can be read" in refusal(opened, bytes(content))


def test_an_encrypted_part_is_refused(opened: Any) -> None:
    content = bytearray(raw_workbook(text_row(1, *HEADER)))
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    assert "protected by a password" in refusal(opened, bytes(content))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_part_packed_as_no_spreadsheet_program_does_is_refused(opened: Any, method: int) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as packed:
        packed.writestr("xl/workbook.xml", "<workbook/>" * 99)
    assert "packed in an unusual way" in refusal(opened, content.getvalue())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_sheet_in_a_sound_zip_gives_rows_or_says_so(data: st.DataObject, opened: Any) -> None:
    sheet = bytearray((text_row(1, *HEADER) + text_row(2, *ROW) + '<row r="3"><c r="A3"/></row>').encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(sheet) - 1))
        sheet[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"<c", b"/>", b'"', b"9999", b"t='e'", b"ZZ", b"&#0;"])
        )
    try:
        chunks = list(opened(raw_workbook(sheet.decode("latin-1"))).chunks())
    except InventoryError:
        return
    assert all(chunk.rows_read for chunk in chunks)
