from __future__ import annotations

import csv
import gzip
import io
import os
import tempfile
import time
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest
from hypothesis import example, given, settings, strategies as st

from pipeline.errors import InventoryError
from pipeline.files import LocalFile
from pipeline.model import BrokenRow, Chunk
from pipeline.settings import Input
from pipeline.sources.csv_file import CsvSource
from pipeline.sources.quoted_rows import TEXT_AFTER_QUOTE, UNCLOSED

HEADER = b"iccid,eid,apn\n"


def source_of(
    tmp: Path, data: bytes, *, name: str = "in.csv", table: Input | None = None, **bounds: int
) -> CsvSource:
    (tmp / name).write_bytes(data)
    return CsvSource(LocalFile(tmp / name), table or Input(), **bounds)


def rows_of(chunks: list[Chunk]) -> dict[int, tuple[str, ...]]:
    """Give the cells of every good row by position."""
    rows: dict[int, tuple[str, ...]] = {}
    for chunk in chunks:
        columns = [column.to_pylist() for column in chunk.rows.columns]
        rows |= zip(chunk.positions.to_pylist(), zip(*columns, strict=True), strict=True)
    return rows


def broken_of(chunks: list[Chunk]) -> list[BrokenRow]:
    return [row for chunk in chunks for row in chunk.broken]


def read(tmp: Path, data: bytes, **bounds: int) -> tuple[dict[int, tuple[str, ...]], list[BrokenRow]]:
    chunks = list(source_of(tmp, data, **bounds).chunks())
    return rows_of(chunks), broken_of(chunks)


def refusal(tmp: Path, data: bytes, **bounds: int) -> str:
    with pytest.raises(InventoryError) as raised:
        source_of(tmp, data, **bounds)
    message = str(raised.value)
    assert message.startswith(str(tmp / "in.csv"))
    assert "\n" not in message
    return message


# ---------------------------------------------------------------- the header


def test_rows_come_as_string_columns_named_by_their_index(tmp_path: Path) -> None:
    source = source_of(tmp_path, HEADER + b"0089,01,NA\n1e5,,null\n")
    (chunk,) = source.chunks()
    assert source.header == ("iccid", "eid", "apn")
    assert chunk.rows.schema == pa.schema([(name, pa.string()) for name in "012"])
    assert chunk.positions.type == pa.int64()
    assert rows_of([chunk]) == {1: ("0089", "01", "NA"), 2: ("1e5", "", "null")}
    assert (chunk.rows_read, chunk.broken) == (2, ())


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_told_from_the_first_rows(tmp_path: Path, delimiter: str) -> None:
    data = "iccid,eid,apn\n1,2,3\n4,5,6\n".replace(",", delimiter).encode()
    source = source_of(tmp_path, data)
    assert source.header == ("iccid", "eid", "apn")
    assert rows_of(list(source.chunks())) == {1: ("1", "2", "3"), 2: ("4", "5", "6")}


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (b"iccid\n1\n2\n", ("iccid",)),
        (b"ICCID (required, 19 digits)\n1\n", ("ICCID (required, 19 digits)",)),
        (b"iccid;price\n1;2,5\n2;3,5\n", ("iccid", "price")),
        (b"iccid;a,b;c\n1;2,2;3\n", ("iccid", "a,b", "c")),
        (b'iccid;"name, first"\n1;"Doe, John"\n', ("iccid", "name, first")),
        (b'iccid,"a;b;c"\n1,"2;3;4"\n', ("iccid", "a;b;c")),
        (b"iccid,eid,apn\n1,2\n3,4\n", ("iccid", "eid", "apn")),
        (b"iccid,eid\n", ("iccid", "eid")),
        (b"iccid,eid", ("iccid", "eid")),
        (b"iccid\teid\n1,5\t2\n", ("iccid", "eid")),
        (b"\xef\xbb\xbf iccid ,eid\t\n1,2\n", ("iccid", "eid")),
        (b'\xef\xbb\xbf"iccid","e""id"\n1,2\n', ("iccid", 'e"id')),
        (b'"iccid","line\nbreak"\r\n1,2\r\n', ("iccid", "line\nbreak")),
        (b"\n  \n\r\niccid,eid\n1,2\n", ("iccid", "eid")),
        (b"iccid,,iccid\n1,2,3\n", ("iccid", "", "iccid")),
        ("iccid,Straße\n1,2\n".encode(), ("iccid", "Straße")),
    ],
)
def test_the_header_is_read_as_it_stands(tmp_path: Path, data: bytes, header: tuple[str, ...]) -> None:
    assert source_of(tmp_path, data).header == header


def test_rows_begin_after_the_header_whatever_stands_before_it(tmp_path: Path) -> None:
    assert read(tmp_path, b'\xef\xbb\xbf\n\n"icc\nid",eid\r\n1,2\n') == ({1: ("1", "2")}, [])


def test_a_header_alone_is_no_error_but_has_no_rows(tmp_path: Path) -> None:
    assert list(source_of(tmp_path, HEADER + b"\n  \n").chunks()) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\n \r\n\t\n", "holds only blank lines"),
        (b"\xef\xbb\xbf", "holds only blank lines"),
        (b"PK\x03\x04\x14\0\6\0\x08\0\0\0!\0", "is not a text table; export it"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not UTF-8 text; save"),
        ("iccid,eid\n1,2\n".encode("utf-16-le"), "is not a text table"),
        ("iccid,eid\n1,2\n".encode("utf-32"), "is not a text table"),
        ("iccid,grün\n1,2\n".encode("latin-1"), "the header is not UTF-8 text"),
        (b'"",,\n1,2,3\n', "names no column"),
        (b";;;\n ; ;\n", "holds only blank lines"),
        (b"iccid" + b"," * 10_000 + b"\n", "has 10,001 columns; at most 10,000"),
        (b'"iccid,eid\n1,2\n', "has an unclosed quote"),
        (b"ki,PIN1\n1,2\n", "has only columns that are never kept"),
    ],
)
def test_a_file_without_a_readable_header_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in refusal(tmp_path, data)


def test_a_header_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    assert "longer than 50 bytes" in refusal(tmp_path, b"iccid," + b"x" * 60 + b"\n1,2\n", row_bytes=50)


def test_a_header_without_end_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"")
    os.truncate(tmp_path / "in.csv", 1 << 33)  # 8 GB of zeros, sparse
    with pytest.raises(InventoryError, match="is not a text table"):
        CsvSource(LocalFile(tmp_path / "in.csv"), Input())


# ---------------------------------------------------------------- rows and positions


def test_lines_of_blanks_and_delimiters_are_no_rows(tmp_path: Path) -> None:
    rows, broken = read(tmp_path, HEADER + b'\n1,2,3\r\n   \r\n,,\n\t\n,"",\n4,5,6\n,,,,,,\n , ,\n')
    assert rows == {1: ("1", "2", "3"), 2: ("", "", ""), 3: ("4", "5", "6")}
    assert broken == []


def test_a_line_of_blanks_is_no_row_of_a_file_of_one_column(tmp_path: Path) -> None:
    assert read(tmp_path, b'iccid\n1\n   \n""\n 2\n') == ({1: ("1",), 2: ("",), 3: (" 2",)}, [])


def test_cells_are_kept_as_they_stood(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, HEADER + b'" 1 ","a ""b"", c\nd",5" display\n="89", x ,\n')
    assert rows == {1: (" 1 ", 'a "b", c\nd', '5" display'), 2: ('="89"', " x ", "")}


def test_a_ragged_row_is_broken_and_its_neighbours_keep_their_positions(tmp_path: Path) -> None:
    rows, broken = read(tmp_path, HEADER + b'1,2,3\n\n4,5\n6,7,8\n9,"a\nb",c,d\n\n"one"\n10,11,12\n')
    assert rows == {1: ("1", "2", "3"), 3: ("6", "7", "8"), 6: ("10", "11", "12")}
    assert broken == [
        BrokenRow(2, "has 2 cells where the header has 3", "4,5"),
        BrokenRow(4, "has 4 cells where the header has 3", '9,"a\nb",c,d'),
        BrokenRow(5, "has 1 cell where the header has 3", '"one"'),
    ]


def test_a_chunk_of_nothing_but_broken_rows_has_no_rows(tmp_path: Path) -> None:
    (chunk,) = source_of(tmp_path, HEADER + b"1,2\n3\n").chunks()
    assert (chunk.rows.num_rows, chunk.rows.num_columns, len(chunk.positions)) == (0, 3, 0)
    assert (len(chunk.broken), chunk.rows_read) == (2, 2)


@pytest.mark.parametrize("row", [b"1\n", b"1,2\n"])
def test_very_short_rows_come_in_chunks_of_60_000(tmp_path: Path, row: bytes) -> None:
    chunks = list(source_of(tmp_path, b"a,b\n" + row * 150_001).chunks())
    assert max(len(chunk.broken) + chunk.rows.num_rows for chunk in chunks) == 60_000
    assert [chunk.rows_read for chunk in chunks] == [60_000, 120_000, 150_001]


def test_a_byte_order_mark_within_the_rows_is_part_of_its_cell_in_every_block(tmp_path: Path) -> None:
    lines = "\ufeff1,2,3\n".encode() * 5
    for block_bytes in (1, 12, 1_000):
        rows, broken = read(tmp_path, HEADER + lines, block_bytes=block_bytes)
        assert rows == dict.fromkeys(range(1, 6), ("\ufeff1", "2", "3"))
        assert broken == []


def test_old_line_ends_are_line_ends(tmp_path: Path) -> None:
    assert read(tmp_path, b"iccid,eid\r1,2\r\r3,4") == ({1: ("1", "2"), 2: ("3", "4")}, [])


# ---------------------------------------------------------------- delimiters at the ends of lines


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (b"iccid;apn;\n1;a\n2;b\n", ("iccid", "apn")),
        (b"iccid;apn;;\n1;a;\n2;b;\n", ("iccid", "apn", "")),
        (b"iccid;apn\n1;a;\n2;b;\n", ("iccid", "apn", "")),
        (b"iccid;apn\n1;a;; \n2;b;;\n", ("iccid", "apn", "", "")),
        (b"iccid;apn\n1;a;x\n2;b;\n", ("iccid", "apn")),
        (b"iccid;apn;note\n1;a\n2;b\n", ("iccid", "apn", "note")),
    ],
)
def test_empty_last_columns_are_those_most_rows_have(
    tmp_path: Path, data: bytes, header: tuple[str, ...]
) -> None:
    assert source_of(tmp_path, data).header == header


@pytest.mark.parametrize("block_bytes", [5, 1_000])
def test_empty_last_cells_make_no_row_ragged(tmp_path: Path, block_bytes: int) -> None:
    data = b'iccid;apn\n1;a\n2;"b;";; \n3;\n4;;\n5;x;y;\n6\n7;c;\n'
    rows, broken = read(tmp_path, data, block_bytes=block_bytes)
    assert rows == {1: ("1", "a"), 2: ("2", "b;"), 3: ("3", ""), 4: ("4", ""), 7: ("7", "c")}
    assert [row.position for row in broken] == [5, 6]


def test_a_row_may_lack_what_has_no_name(tmp_path: Path) -> None:
    rows, (broken,) = read(tmp_path, b"iccid,apn,,\n1,a,,\n2,b\n3,c,x,y\n4\n5,,\n")
    assert rows == {
        1: ("1", "a", "", ""),
        2: ("2", "b", "", ""),
        3: ("3", "c", "x", "y"),
        5: ("5", "", "", ""),
    }
    assert broken.position == 4


# ---------------------------------------------------------------- lines before the header

NEEDED = Input().needing(frozenset({"iccid", "apn", "eid"}))
ROWS = b"89011,0\n89022,1\n"


@pytest.mark.parametrize(
    "before",
    [
        b"#SIMLIST V2.1\n",
        b"Template version,2.1\n\n",
        b"# made by tool\n# 2026, by hand\n",
        b'Footel "Delivery"\n,,\nfor,apn,3\n',
        b"sep=,\n",
        b'\xef\xbb\xbf"sep=,"\r\n',
        b"title\n" * 19,
        b"\xff\xfc\n",
        b"",
    ],
)
def test_the_header_is_the_line_that_names_most_needed_columns(tmp_path: Path, before: bytes) -> None:
    source = source_of(tmp_path, before + b"ICCID (Required),APN\n" + ROWS, table=NEEDED)
    assert source.header == ("ICCID (Required)", "APN")
    assert rows_of(list(source.chunks())) == {1: ("89011", "0"), 2: ("89022", "1")}


def test_a_title_tells_nothing_of_the_delimiter(tmp_path: Path) -> None:
    source = source_of(tmp_path, b"Delivery, Footel, 2026\n\niccid;apn\n1;2,5\n", table=NEEDED)
    assert source.header == ("iccid", "apn")
    assert rows_of(list(source.chunks())) == {1: ("1", "2,5")}


def test_the_delimiter_that_parts_needed_names_counts_more_than_the_rows(tmp_path: Path) -> None:
    source = source_of(tmp_path, b"iccid;apn,x\n1;2,5\n2,5\n", table=NEEDED)
    assert source.header == ("iccid", "apn,x")


def test_a_file_of_one_column_may_have_a_title(tmp_path: Path) -> None:
    source = source_of(tmp_path, b"Footel, 2026\niccid\n1\n", table=NEEDED)
    assert rows_of(list(source.chunks())) == {1: ("1",)}


def test_the_first_of_two_equal_headers_counts(tmp_path: Path) -> None:
    source = source_of(tmp_path, b"iccid,apn\n1,2\niccid,apn\n3,4\n", table=NEEDED)
    assert len(rows_of(list(source.chunks()))) == 3


def test_no_line_of_a_sim_is_passed_over_for_a_better_header(tmp_path: Path) -> None:
    data = b"iccid,label\n8949000000000304212,x\niccid,apn\n8949000000000304220,y\n"
    source = source_of(tmp_path, data, table=NEEDED)
    assert source.header == ("iccid", "label")
    assert len(rows_of(list(source.chunks()))) == 3


@pytest.mark.parametrize("before", [b"a,b\n" * 20, b"8949000000000304212,x\n"])
def test_the_first_line_is_the_header_where_none_is_found(tmp_path: Path, before: bytes) -> None:
    source = source_of(tmp_path, before + b"iccid,apn\n1,2\n", table=NEEDED)
    assert list(source.header) == before.decode().splitlines()[0].split(",")


def test_the_first_line_is_the_header_where_nothing_is_known_of_the_columns(tmp_path: Path) -> None:
    assert source_of(tmp_path, b"title,x\niccid,apn\n1,2\n").header == ("title", "x")
    assert source_of(tmp_path, b"sep=;\niccid;apn\n1;2\n").header == ("iccid", "apn")


def test_a_wide_line_before_the_header_is_not_too_wide(tmp_path: Path) -> None:
    source = source_of(tmp_path, b"x" + b"," * 20_000 + b"\niccid,apn\n1,2\n", table=NEEDED)
    assert source.header == ("iccid", "apn")


# ---------------------------------------------------------------- undecodable rows


def test_an_undecodable_row_is_broken_and_named_by_its_column(tmp_path: Path) -> None:
    rows, broken = read(tmp_path, HEADER + b"1,2,3\n4,\xc3\xa4,gr\xfcn\n7,\xc3\xa4,9\n")
    assert rows == {1: ("1", "2", "3"), 3: ("7", "ä", "9")}
    assert broken == [BrokenRow(2, 'column "apn": not UTF-8 text', r"4,ä,gr\xfcn", ("4", "ä", r"gr\xfcn"))]


def test_a_row_both_ragged_and_undecodable_is_broken_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows, broken = read(tmp_path, HEADER + b"\xff,2\n1,2,3\n")
    assert rows == {2: ("1", "2", "3")}
    assert broken == [BrokenRow(1, "has 2 cells where the header has 3", r"\xff,2")]
    assert capfd.readouterr() == ("", "")


def test_an_undecodable_quoted_row_keeps_its_cells_apart(tmp_path: Path) -> None:
    _, (row,) = read(tmp_path, HEADER + b'"a, \xe4\nb",2,3\n')
    assert row.cells == ("a, \\xe4\nb", "2", "3")


# ---------------------------------------------------------------- encodings


@given(rows=st.lists(st.sampled_from([b"1", b'"', b",", b"\n", b"\xe9", b"\xc3\xa9", b"\xc3"]), max_size=40))
@example(rows=[b"1,\xe9,3\n", b'"\xe9,2,3\n', b"\xe9\n", b"1,\xc3\xa9,3\n"])
def test_no_column_holds_what_is_no_text(rows: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        chunks = list(source_of(Path(folder), HEADER + b"1,2,3\n" + b"".join(rows)).chunks())
    for chunk in chunks:
        chunk.rows.validate(full=True)


@pytest.mark.parametrize("block_bytes", [5, 60, 4_000])
def test_a_utf_16_file_as_excel_saves_it_gives_its_cells(tmp_path: Path, block_bytes: int) -> None:
    text = "iccid\tapn\r\n1\tgrün\r\n2\t国\r\n"
    source = source_of(tmp_path, text.encode("utf-16"), block_bytes=block_bytes)
    assert source.header == ("iccid", "apn")
    assert rows_of(list(source.chunks())) == {1: ("1", "grün"), 2: ("2", "国")}


def test_half_a_surrogate_pair_breaks_its_row_and_no_other(tmp_path: Path) -> None:
    text = b"\xff\xfe" + "iccid,apn\n1,a\n2,b\ud800\n3,c\n".encode("utf-16-le", "surrogatepass")
    rows, (broken,) = read(tmp_path, text)
    assert rows == {1: ("1", "a"), 3: ("3", "c")}
    assert (broken.position, broken.reason) == (2, 'column "apn": not UTF-8 text')


def test_utf_16_cut_within_a_character_breaks_the_last_row(tmp_path: Path) -> None:
    rows, (broken,) = read(tmp_path, "iccid,apn\n1,a\n2,b".encode("utf-16")[:-1])
    assert (rows, broken.position) == ({1: ("1", "a")}, 2)


def test_latin_1_is_read_when_it_is_said(tmp_path: Path) -> None:
    data = "iccid,größe\n1,ä\n2,\xff\n".encode("latin-1")
    source = source_of(tmp_path, data, table=Input(encoding="latin-1"))
    assert source.header == ("iccid", "größe")
    assert rows_of(list(source.chunks())) == {1: ("1", "ä"), 2: ("2", "ÿ")}
    assert '[input] encoding = "latin-1"' in refusal(tmp_path, data)


# ---------------------------------------------------------------- rows without end


def test_an_unclosed_quote_breaks_its_line_and_spares_the_next(tmp_path: Path) -> None:
    lines = [b"%d,x,y" % i for i in range(1, 51)]
    lines[6] = b'7,"oops,y'
    rows, broken = read(tmp_path, HEADER + b"\n".join(lines), block_bytes=64, row_bytes=100)
    assert broken == [BrokenRow(7, UNCLOSED, '7,"oops,y')]
    assert rows == {i: (str(i), "x", "y") for i in range(1, 51) if i != 7}


@pytest.mark.parametrize("block_bytes", [40, 4_000])
@pytest.mark.parametrize(
    ("quoted", "words"),
    [
        ({2: '2,x,"iot', 10: '10,x,iot"'}, {2: UNCLOSED}),
        ({2: '2,x,"iot', 3: '3,x,iot"'}, {2: UNCLOSED}),
        ({2: '2,x,"', 10: '10,x,"'}, {2: UNCLOSED, 10: UNCLOSED}),
        ({2: '2,x,"5', 10: '10,x,"6'}, {2: UNCLOSED, 10: UNCLOSED}),
        ({2: '2,"x,y', 3: '3,x",y'}, {2: UNCLOSED}),
        ({2: '"2,x,y', 3: '3",x,y'}, {2: UNCLOSED}),
        ({2: '"2,x,y', 3: '"3",x,y'}, {2: UNCLOSED}),
        ({2: '2,"x,y', 5: '5,"x","y"'}, {2: UNCLOSED}),
        ({2: '2,"box 5" z,y'}, {2: TEXT_AFTER_QUOTE}),
        ({2: '2,"box 5"\t"z,y', 4: '4,"a" b,"c" d'}, {2: TEXT_AFTER_QUOTE, 4: TEXT_AFTER_QUOTE}),
        ({2: '2,"a" ,"b"\t', 3: '3,5" x,y"'}, {}),
    ],
)
def test_stray_quotes_break_their_own_lines_and_no_other(
    tmp_path: Path, quoted: dict[int, str], words: dict[int, str], block_bytes: int
) -> None:
    lines = [quoted.get(i, f"{i},x,y") for i in range(1, 21)]
    rows, broken = read(tmp_path, HEADER + "\n".join(lines).encode(), block_bytes=block_bytes)
    assert {row.position: row.reason for row in broken} == words
    assert all(row.raw == quoted[row.position] for row in broken)
    assert sorted([*rows, *words]) == list(range(1, 21))
    assert all(cells[0].strip('"') == str(position) for position, cells in rows.items())


def test_stray_quotes_in_a_file_of_one_or_two_columns_lose_no_row(tmp_path: Path) -> None:
    rows, broken = read(tmp_path, b'iccid\n1\n"2\n3\n4"\n5\n')
    assert (list(rows), [row.position for row in broken]) == ([1, 3, 4, 5], [2])
    rows, broken = read(tmp_path, b'iccid,apn\n1,a\n2,"b\n3,c\n4,d"\n5,e\n')
    assert (list(rows), [row.position for row in broken]) == ([1, 3, 4, 5], [2])


def test_text_after_a_quote_of_several_lines_breaks_its_first_line(tmp_path: Path) -> None:
    rows, broken = read(tmp_path, HEADER + b'1,"a\nb" c,y\n2,"z" z,y\n3,x,y\n')
    assert list(rows) == [4]
    assert [row.reason for row in broken] == [
        UNCLOSED,
        "has 2 cells where the header has 3",
        TEXT_AFTER_QUOTE,
    ]


def test_a_row_that_is_not_believed_gives_up_all_its_quotes(tmp_path: Path) -> None:
    rows, broken = read(tmp_path, HEADER + b'"a\nb","x,1\n9,8,7"\n')
    assert rows == {3: ("9", "8", '7"')}
    assert [row.raw for row in broken] == ['"a', 'b","x,1']


def test_a_stray_quote_is_named_in_its_chunk(tmp_path: Path) -> None:
    _, (row,) = read(tmp_path, b"a,b\n" + b"1,2\n" * 60_001 + b'"1" x,2\n')
    assert (row.position, row.reason) == (60_002, TEXT_AFTER_QUOTE)


def test_a_cell_of_several_lines_that_are_no_rows_is_read(tmp_path: Path) -> None:
    data = b'"a\nb",1,"x, y"\r\n"c",1,"Road 1,\r\n\r\n12 Town"\n"d\n""e"", f","g\nh",""\n'
    rows, broken = read(tmp_path, HEADER + data)
    assert rows == {
        1: ("a\nb", "1", "x, y"),
        2: ("c", "1", "Road 1,\r\n\r\n12 Town"),
        3: ('d\n"e", f', "g\nh", ""),
    }
    assert broken == []


def test_many_stray_quotes_cost_no_more_than_the_length_of_the_file(tmp_path: Path) -> None:
    lines = b"".join(b'%d,"x,"y\n' % i for i in range(20_000))
    begun = time.thread_time()
    rows, broken = read(tmp_path, HEADER + lines)
    assert (rows, len(broken)) == ({}, 20_000)
    assert time.thread_time() - begun < 5  # again from the start for each would take minutes


def test_the_text_of_an_endless_row_is_cut(tmp_path: Path) -> None:
    data = HEADER + b"1,2,3\n" + b"x" * 30_000 + b"\n4,5,6\n"
    rows, (row,) = read(tmp_path, data, block_bytes=1_000, row_bytes=2_000)
    assert rows == {1: ("1", "2", "3"), 3: ("4", "5", "6")}
    assert (row.position, row.reason) == (2, "longer than 2,000 bytes")
    assert row.raw == "x" * 1_000 + "…"


# ---------------------------------------------------------------- columns that are not kept


def test_key_columns_are_never_kept_and_raw_text_is_withheld(tmp_path: Path) -> None:
    data = b"iccid,Ki,apn,PIN1\n1,5ec2e7,a,1234\n2,5ec2e7\n3,5ec2e7,\xff,1234\n"
    source = source_of(tmp_path, data)
    chunks = list(source.chunks())
    assert source.header == ("iccid", "apn")
    assert chunks[0].rows.schema.names == ["0", "1"]
    assert rows_of(chunks) == {1: ("1", "a")}
    withheld = "(withheld: the file has key columns)"
    assert broken_of(chunks) == [
        BrokenRow(2, "has 2 cells where the header has 4", withheld),
        BrokenRow(3, 'column "apn": not UTF-8 text', withheld, ("3", r"\xff")),
    ]
    assert "5ec2e7" not in repr(chunks)


def test_an_endless_row_of_a_file_with_key_columns_is_withheld(tmp_path: Path) -> None:
    _, (row,) = read(tmp_path, b"iccid,ki\n" + b"5ec2e7" * 2_000, row_bytes=1_000)
    assert row.raw == "(withheld: the file has key columns)"


def test_a_delimiter_no_row_holds_does_not_hide_a_key_column(tmp_path: Path) -> None:
    source = source_of(tmp_path, b"iccid,ki\n1 5ec2e7\n")
    assert source.header == ("iccid",)
    assert "5ec2e7" not in repr(list(source.chunks()))


def test_a_failures_file_can_be_fed_as_it_is(tmp_path: Path) -> None:
    data = b'iccid,apn,simlift_status,simlift_code,simlift_reason,simlift_raw\n1,a,refused,9,"no, never",\n'
    source = source_of(tmp_path, data)
    assert source.header == ("iccid", "apn")
    assert rows_of(list(source.chunks())) == {1: ("1", "a")}


# ---------------------------------------------------------------- compressed, damaged, closed


def test_bytes_read_reach_the_size_of_the_packed_file(tmp_path: Path) -> None:
    data = HEADER + b"".join(b"%d,%d,x\n" % (i, i * i) for i in range(50_000))
    source = source_of(tmp_path, gzip.compress(data), name="in.csv.gz", block_bytes=100_000)
    chunks = list(source.chunks())
    assert source.bytes_total == (tmp_path / "in.csv.gz").stat().st_size
    progress = [chunk.bytes_read for chunk in chunks]
    assert progress == sorted(progress)
    assert 0 < progress[0] < progress[-1] == source.bytes_total
    assert [chunk.rows_read for chunk in chunks][-1] == 50_000


def test_a_cut_off_file_gives_its_whole_rows_and_then_one_error(tmp_path: Path) -> None:
    packed = gzip.compress(HEADER + b"".join(b"%d,%d,x\n" % (i, i * i) for i in range(1, 50_001)))
    source = source_of(tmp_path, packed[:-3_000], name="in.csv.gz")
    chunks: list[Chunk] = []
    with pytest.raises(InventoryError) as raised:
        chunks.extend(source.chunks())  # extend keeps what came before the error
    rows = chunks[-1].rows_read
    assert 40_000 < rows < 50_000
    assert rows_of(chunks) == {i: (str(i), str(i * i), "x") for i in range(1, rows + 1)}
    assert str(raised.value) == (
        f"{tmp_path}/in.csv.gz: the gzip data is cut off at byte {len(packed) - 3_000:,}; "
        f"fetch the file again (after row {rows:,})"
    )


def test_a_file_cut_off_within_its_header_is_refused(tmp_path: Path) -> None:
    assert "is cut off" in refusal(tmp_path, gzip.compress(HEADER)[:12])


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_closing_the_iterator_closes_the_file(tmp_path: Path) -> None:
    source = source_of(tmp_path, HEADER + b"1,2,3\n" * 100, block_bytes=60)
    before = open_files()
    chunks = source.chunks()
    next(chunks)
    assert open_files() == before + 1
    chunks.close()  # type: ignore[attr-defined]
    assert open_files() == before


def test_a_source_can_be_read_again(tmp_path: Path) -> None:
    source = source_of(tmp_path, HEADER + b"1,2,3\n")
    assert rows_of(list(source.chunks())) == rows_of(list(source.chunks())) == {1: ("1", "2", "3")}


def test_a_file_gone_since_it_was_opened_is_an_inventory_error(tmp_path: Path) -> None:
    source = source_of(tmp_path, HEADER + b"1,2,3\n")
    (tmp_path / "in.csv").unlink()
    with pytest.raises(InventoryError, match="no such file"):
        list(source.chunks())


# ---------------------------------------------------------------- properties

CELLS = st.text(alphabet=st.sampled_from('ab ,;"\n\rä'), max_size=6)


@given(
    # A line within a cell that could be a row of three cells would not be believed.
    st.lists(st.tuples(CELLS, CELLS, CELLS).filter(lambda cells: "".join(cells).count(",") < 2), max_size=15),
    st.integers(1, 200),
    # csv leaves a lone \r bare unless the line ends with one
    st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]),
)
@settings(max_examples=100)
def test_what_pythons_csv_writes_is_read_back_in_blocks_of_any_size(
    rows: list[tuple[str, ...]], block_bytes: int, style: tuple[str, Literal[0, 1]]
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=style[0], quoting=style[1])
    writer.writerows([("iccid", "eid", "apn"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        good, broken = read(Path(folder), text.getvalue().encode(), block_bytes=block_bytes)
    rows = [cells for cells in rows if style[1] == csv.QUOTE_ALL or "".join(cells).strip(" ")]
    assert list(good.values()) == rows
    assert list(good) == list(range(1, len(rows) + 1))
    assert broken == []


BYTES = st.lists(
    st.sampled_from(
        [b"a", b",", b'"', b"\n", b"\r", b" ", b";", b"\xff", b"\0", b"\xef\xbb\xbf", "ä".encode()]
    )
)


@given(
    st.sampled_from([b"", b"iccid,apn\n", b"iccid\n", b"iccid;ki\n"]),
    BYTES,
    st.integers(1, 30),
    st.integers(1, 40),
)
@example(b"iccid,apn\n", [b'"', b"\n", b"a", b"\n"], 1, 30)
@settings(max_examples=200)
def test_any_bytes_are_rows_or_broken_rows_or_one_inventory_error(
    header: bytes, pieces: list[bytes], block_bytes: int, row_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            source = source_of(
                Path(folder), header + b"".join(pieces), block_bytes=block_bytes, row_bytes=row_bytes
            )
        except InventoryError:
            return
        small = list(source.chunks())
        source._bounds["block_bytes"] = 4_000_000
        large = list(source.chunks())
    assert rows_of(small) == rows_of(large)
    assert [row.position for row in broken_of(small)] == [row.position for row in broken_of(large)]
    assert [row.reason for row in broken_of(small)] == [row.reason for row in broken_of(large)]
    positions = sorted([*rows_of(small), *(row.position for row in broken_of(small))])
    assert positions == list(range(1, len(positions) + 1))
    assert [chunk.rows_read for chunk in small][-1:] == positions[-1:]


@given(st.binary(max_size=200))
@settings(max_examples=150)
def test_random_bytes_never_raise_anything_else(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            for chunk in source_of(Path(folder), data, block_bytes=20, row_bytes=50).chunks():
                assert chunk.rows.num_rows == len(chunk.positions)
        except InventoryError:
            pass
