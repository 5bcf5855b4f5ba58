"""SIM-factory OUT files: three dialects, many batches, quantities that must hold, and keys nobody keeps."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pipeline.errors import InventoryError
from pipeline.files import LocalFile
from pipeline.settings import Input
from pipeline.sources.byte_stream import ByteStream
from pipeline.sources.out_batches import read_lines
from pipeline.sources.out_file import OutSource
from simlift_contract import SourceContract

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.model import BrokenRow, Chunk

KI, OTHER_KI = "AC63D37F5AF4EA77E3539B2A37F51211", "E397EF06A41B78D7F9E0302E763E103C"
TRANSPORT_KEY = "7A0B7A0B7A0B7A0B7A0B7A0B7A0B7A0B"

STARRED = f"""*HEADER DESCRIPTION
***************************************
Customer        : Footel
Order Date      : 2019-09-29 12:30:00
Batch No        : 2019092901
Quantity        : 2
Transport Key   : {TRANSPORT_KEY}
***************************************
*INPUT VARIABLES
***************************************
var_In:
 ICCID: 8900000000000000003
IMSI: 001010000000001
***************************************
*OUTPUT VARIABLES
***************************************
var_Out: ICCID/IMSI/KI
8900000000000000003F 001010000000001 {KI}
8900000000000000011F 001010000000002 {OTHER_KI}

"""
UNSTARRED = f"""***************************************
*          HEADER DESCRIPTION
***************************************
Customer:        FooTel Inc.
Quantity:        2
Batch:           00000001
*
Transport_key:   11
*
Address3:        Deep trench plaza: at the back
***************************************
*          INPUT VARIABLES DESCRIPTION
***************************************
Var_In_List:
IMSI:001010000000001
Ser_nb:89000000000000000030

OUTPUT VARIABLES
var_out:ICCID/IMSI/PIN1/PUK1/PIN2/PUK2/ADM1/KI/Access_Control/Code Retailer/Code ADM/ADM2
8900000000000000003 001010000000001 0000 00000000 1111 11111111 22222222 {KI} 0001 {KI} 11 8123
8900000000000000011 001010000000002 0000 00000000 1111 11111111 22222222 {OTHER_KI} 0002 {KI} 11 1


"""
COMMAS = f"""*HEADER DESCRIPTION
***************************************
MNOID           : Loltel
Quanitity       : 2
MCC.MNC         : 001.01
OP Key Index    :
Transport Key   :
***************************************
*INPUT VARIABLES DESCRIPTION
***************************************
var_In: ICCID/IMSI
8900000000000000003,001010000000001
***************************************
*OUTPUT VARIABLES DESCRIPTION
***************************************
var_out: ICCID/IMSI/PIN1/PIN2/PUK1/PUK2/KI
8900000000000000003,001010000000001,1234,1234,12345678,12345678,{KI}
8900000000000000011,001010000000002,1234,1234,12345678,12345678,{OTHER_KI}"""


def source_of(tmp: Path, text: str | bytes, *, encoding: str = "utf-8", **bounds: int) -> OutSource:
    path = tmp / "in.out"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return OutSource(LocalFile(path), Input.model_validate({"encoding": encoding}), **bounds)


def rows_of(chunks: list[Chunk]) -> dict[int, tuple[str, ...]]:
    """Give the cells of every good row by position."""
    rows: dict[int, tuple[str, ...]] = {}
    for chunk in chunks:
        columns = [column.to_pylist() for column in chunk.rows.columns]
        rows |= zip(chunk.positions.to_pylist(), zip(*columns, strict=True), strict=True)
    return rows


def broken_of(chunks: list[Chunk]) -> list[BrokenRow]:
    return [row for chunk in chunks for row in chunk.broken]


def read(tmp: Path, text: str | bytes, **bounds: int) -> tuple[dict[int, tuple[str, ...]], dict[int, str]]:
    """Give the good rows, and of the broken ones the reasons, by position."""
    chunks = list(source_of(tmp, text, **bounds).chunks())
    return rows_of(chunks), {row.position: row.reason for row in broken_of(chunks)}


def batch(*rows: str, columns: str = "iccid/imsi/ki", quantity: object = None) -> str:
    said = len(rows) if quantity is None else quantity
    lines = ("*HEADER DESCRIPTION", "***", f"Quantity : {said}", "***", "*OUTPUT VARIABLES", "***")
    return "\n".join([*lines, f"var_out:{columns}", *rows, ""])


def refusal(tmp: Path, text: str | bytes) -> str:
    with pytest.raises(InventoryError) as raised:
        source_of(tmp, text)
    message = str(raised.value)
    assert message.startswith(str(tmp / "in.out"))
    assert "\n" not in message
    return message


# ---------------------------------------------------------------- dialects


@pytest.mark.parametrize(
    ("text", "header", "first", "second"),
    [
        (STARRED, ("ICCID", "IMSI"), ("8900000000000000003F",), ("8900000000000000011F",)),
        (
            UNSTARRED,
            ("ICCID", "IMSI", "Access_Control"),
            ("8900000000000000003", "0001"),
            ("8900000000000000011", "0002"),
        ),
        (COMMAS, ("ICCID", "IMSI"), ("8900000000000000003",), ("8900000000000000011",)),
    ],
    ids=["starred", "unstarred", "commas"],
)
def test_each_dialect_gives_its_rows_without_a_key(
    tmp_path: Path, text: str, header: tuple[str, ...], first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    source = source_of(tmp_path, text)
    chunks = list(source.chunks())
    assert (source.header, source.findings) == (header, ())
    for chunk in chunks:
        assert chunk.rows.schema == pa.schema([(str(i), pa.string()) for i in range(len(header))])
        assert chunk.positions.type == pa.int64()
        assert (chunk.broken, chunk.numbers) == ((), {})
    assert rows_of(chunks) == {
        1: (first[0], "001010000000001", *first[1:]),
        2: (second[0], "001010000000002", *second[1:]),
    }
    assert chunks[-1].rows_read == 2


@pytest.mark.parametrize("text", [STARRED, UNSTARRED, COMMAS], ids=["starred", "unstarred", "commas"])
@pytest.mark.parametrize(
    "write",
    [
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\n  \n").encode(),
        lambda text: text.replace("\n", " \t\n\t ").encode(),
        lambda text: text.upper().encode(),
        lambda text: gzip.compress(text.encode()),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("Customer", "Kunde: Müller\nCustomer").encode("latin-1"),
    ],
    ids=["crlf", "cr", "mark", "blank-lines", "indented", "upper-case", "gzip", "utf-16", "latin-1-header"],
)
def test_how_lines_are_laid_out_makes_no_difference(tmp_path: Path, text: str, write: object) -> None:
    assert callable(write)
    source = source_of(tmp_path, write(text))
    rows, plain = rows_of(list(source.chunks())), rows_of(list(source_of(tmp_path, text).chunks()))
    assert {position: tuple(cell.strip() for cell in row) for position, row in rows.items()} == plain
    assert source.findings == ()


def test_any_run_of_blanks_parts_cells(tmp_path: Path) -> None:
    text = batch("  891   26201\t k ", "892 26202 k", "\t893\t\t26203 \t k", "894 26204  k  ")
    rows = {1: ("891", "26201"), 2: ("892", "26202"), 3: ("893", "26203"), 4: ("894", "26204")}
    assert read(tmp_path, text) == (rows, {})


def test_cells_between_commas_stay_as_they_stand(tmp_path: Path) -> None:
    text = batch("891,,k", "892, 26 202 ,k", ",26203,k", '893,"x,k')
    rows = {1: ("891", ""), 2: ("892", " 26 202 "), 3: ("", "26203"), 4: ("893", '"x')}
    assert read(tmp_path, text) == (rows, {})


def test_the_first_row_that_fits_tells_what_parts_the_cells(tmp_path: Path) -> None:
    text = batch("891", "892 x k,l", "893,y,k", "894 y k", "895,z,k")
    rows, broken = read(tmp_path, text)
    assert rows == {2: ("892", "x"), 4: ("894", "y")}
    assert broken == {
        1: "has 1 cell where var_out names 3",
        3: "has 1 cell where var_out names 3",
        5: "has 1 cell where var_out names 3",
    }


def test_quotes_mean_nothing(tmp_path: Path) -> None:
    text = batch('"891 x k', '892 "y" k', '893 z "k')
    assert read(tmp_path, text) == ({1: ('"891', "x"), 2: ("892", '"y"'), 3: ("893", "z")}, {})


def test_a_byte_order_mark_in_the_first_cell_stays(tmp_path: Path) -> None:
    assert read(tmp_path, batch("\ufeff891 x k")) == ({1: ("\ufeff891", "x")}, {})


@pytest.mark.parametrize("row", ["891,k", "891 k", "891,", ",k", "891\tk", "891 ,k"])
def test_beside_an_only_column_nothing_can_hide(tmp_path: Path, row: str) -> None:
    rows, broken = read(tmp_path, batch("890", row, columns="iccid"))
    assert rows == {1: ("890",)}
    assert list(broken) == [2]


@pytest.mark.parametrize(
    "columns", ["iccid,imsi,ki", "iccid;imsi;ki", "iccid / imsi / KI /", "iccid|imsi|Ki"]
)
def test_no_key_column_hides_in_a_name(tmp_path: Path, columns: str) -> None:
    source = source_of(tmp_path, batch("891 26201 k", columns=columns))
    assert source.header == ("iccid", "imsi")
    assert rows_of(list(source.chunks())) == {1: ("891", "26201")}


# ---------------------------------------------------------------- batches and sections


def test_positions_go_on_through_all_batches(tmp_path: Path) -> None:
    text = batch("891 a k", "892 b k") + batch("893 c k") + batch() + batch("894 d k", "895", "896 e k")
    rows, broken = read(tmp_path, text)
    assert rows == {1: ("891", "a"), 2: ("892", "b"), 3: ("893", "c"), 4: ("894", "d"), 6: ("896", "e")}
    assert list(broken) == [5]
    assert source_of(tmp_path, text).findings == ()


def test_batches_may_differ_in_their_keys_and_in_what_parts_the_cells(tmp_path: Path) -> None:
    text = (
        batch("891 a k", "bad")
        + batch("892,b,1,2,k", columns="iccid/imsi/PIN1/PUK1/KI")
        + batch("k c 893", "k d", "k e 894", columns="KI/imsi/iccid".replace("imsi/iccid", "iccid/imsi"))
    )
    rows, broken = read(tmp_path, text)
    assert rows == {1: ("891", "a"), 3: ("892", "b"), 4: ("c", "893"), 6: ("e", "894")}
    assert broken == {2: "has 1 cell where var_out names 3", 5: "has 2 cells where var_out names 3"}


def test_a_batch_of_other_columns_is_refused(tmp_path: Path) -> None:
    text = batch("891 a k") + batch("892 k", columns="iccid/ki")
    assert "var_out of batch 2 names other columns than the first one; split the file" in refusal(
        tmp_path, text
    )


def needing(tmp: Path, text: str, *names: str) -> OutSource:
    path = tmp / "in.out"
    path.write_text(text, "utf-8")
    return OutSource(LocalFile(path), Input().needing(frozenset(names)))


def test_only_the_columns_that_are_needed_are_kept(tmp_path: Path) -> None:
    source = needing(tmp_path, batch("891 26201 x k", columns="ICC-ID/imsi/Odd name/ki"), "iccid", "apn")
    assert (source.header, source.left_out) == (("ICC-ID",), ("imsi", "Odd name"))
    assert rows_of(list(source.chunks())) == {1: ("891",)}


def test_batches_may_differ_in_columns_that_are_not_needed(tmp_path: Path) -> None:
    text = batch("891 a k iot") + batch("k2 893 iot", columns="SESAME/iccid/apn", quantity=1)
    text = text.replace("iccid/imsi/ki", "iccid/imsi/ki/apn")
    source = needing(tmp_path, text, "iccid", "apn")
    assert rows_of(list(source.chunks())) == {1: ("891", "iot"), 2: ("893", "iot")}
    assert source.left_out == ("imsi",)


def test_without_a_needed_column_all_but_the_keys_are_named(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=r'no column that is needed.*It has: "iccid", "imsi"$'):
        needing(tmp_path, batch("891 a k"), "eid")


def test_a_title_without_star_or_rule_begins_a_new_batch(tmp_path: Path) -> None:
    text = f"{batch('891 a k')}HEADER DESCRIPTION\nQuantity: 1\nvar_out:iccid/imsi/ki\n892 b k\n"
    source = source_of(tmp_path, text)
    assert source.findings == ()
    assert rows_of(list(source.chunks())) == {1: ("891", "a"), 2: ("892", "b")}


def test_header_lines_after_a_rule_begin_a_new_batch(tmp_path: Path) -> None:
    text = f"{batch('891 a k')}*****\nCustomer: x\nQuantity: 1\nvar_out:iccid/imsi/ki\n892 b k\n"
    assert source_of(tmp_path, text).findings == ()


def test_a_rule_under_the_column_names_does_not_end_the_rows(tmp_path: Path) -> None:
    text = batch("*****", "891 a k", "*****", quantity=1)
    assert read(tmp_path, text + text) == ({1: ("891", "a"), 2: ("891", "a")}, {})


def test_a_remark_among_rows_is_no_row(tmp_path: Path) -> None:
    assert read(tmp_path, batch("891 a k", "* page 2", "*", "892 b k")) == (
        {1: ("891", "a"), 2: ("892", "b")},
        {},
    )


def test_a_row_after_the_end_of_the_rows_is_broken_and_not_lost(tmp_path: Path) -> None:
    text = batch("891 a k", "*****", "892 b k", "LPA:1$x$y b k", "*OUTPUT VARIABLES", "893 c k", quantity=4)
    source = source_of(tmp_path, text)
    chunks = list(source.chunks())
    assert source.findings == ()
    assert rows_of(chunks) == {1: ("891", "a")}
    assert [row.position for row in broken_of(chunks)] == [2, 3, 4]
    assert {row.reason for row in broken_of(chunks)} == {"stands where no var_out line names its columns"}


def test_a_value_that_begins_like_a_title_is_a_row(tmp_path: Path) -> None:
    rows = ["header a k", "HEADER DESCRIPTION k", "output variables are here", "var_outX a k", "i o k"]
    read_rows, broken = read(tmp_path, batch(*rows))
    assert list(read_rows) == [1, 2, 4, 5]
    assert list(broken) == [3]


# ---------------------------------------------------------------- broken rows


def test_a_row_of_other_length_is_broken_and_its_text_is_withheld(tmp_path: Path) -> None:
    chunks = list(source_of(tmp_path, batch("891 a k", f"892 {KI}", f"893 b {KI} {KI}", "894 c k")).chunks())
    assert rows_of(chunks) == {1: ("891", "a"), 4: ("894", "c")}
    assert [(row.position, row.reason, row.cells) for row in broken_of(chunks)] == [
        (2, "has 2 cells where var_out names 3", ()),
        (3, "has 4 cells where var_out names 3", ()),
    ]
    assert {row.raw for row in broken_of(chunks)} == {"(withheld: OUT files hold keys)"}


@pytest.mark.parametrize("parted_by", [b" ", b","])
def test_a_row_that_is_no_text_is_broken_and_shows_the_columns_that_are_kept(
    tmp_path: Path, parted_by: bytes
) -> None:
    lines = [(b"891", b"a", b"k"), (b"892", b"\xfcb", b"secret"), (b"893", b"c", b"\xff"), (b"894", b"\xff")]
    text = batch(quantity=4).encode() + b"\n".join(parted_by.join(cells) for cells in lines)
    chunks = list(source_of(tmp_path, text).chunks())
    assert rows_of(chunks) == {1: ("891", "a")}
    assert [(row.position, row.reason, row.cells) for row in broken_of(chunks)] == [
        (2, 'column "imsi": not UTF-8 text', ("892", "\\xfcb")),
        (3, 'column "ki": not UTF-8 text', ("893", "c")),
        (4, "has 2 cells where var_out names 3", ()),
    ]
    assert "secret" not in repr(broken_of(chunks))


@pytest.mark.parametrize("parted_by", [" ", ","])
@pytest.mark.parametrize("key", [KI, KI.lower(), OTHER_KI + "0123456789ABCDEF", KI * 2])
def test_a_row_with_a_key_out_of_place_is_broken_and_shows_nothing(
    tmp_path: Path, parted_by: str, key: str
) -> None:
    lines = [("891", "a", KI), (key, "892", "b"), ("893", key, "c"), ("894", "d", KI)]
    chunks = list(source_of(tmp_path, batch(*(parted_by.join(cells) for cells in lines))).chunks())
    assert rows_of(chunks) == {1: ("891", "a"), 4: ("894", "d")}
    words = "holds what looks like a key; the cells of this row are out of place"
    assert [(row.position, row.reason, row.cells) for row in broken_of(chunks)] == [
        (2, f'column "iccid": {words}', ()),
        (3, f'column "imsi": {words}', ()),
    ]
    assert key not in repr(broken_of(chunks))


def test_a_key_out_of_place_beside_what_is_no_text_is_not_shown(tmp_path: Path) -> None:
    text = batch(quantity=1).encode() + f"{KI} 891 ".encode() + b"\xff"
    (broken,) = broken_of(list(source_of(tmp_path, text).chunks()))
    assert (broken.position, broken.cells) == (1, ())
    assert "looks like a key" in broken.reason


def test_long_identifiers_and_activation_codes_are_no_keys(tmp_path: Path) -> None:
    eid = "89049032000001000000128594834117"
    rows = [f"{eid} LPA:1$smdp.example$ABCDEF k", f"{eid}F 0123456789ABCDEF k", f"x {eid} k"]
    read_rows, broken = read(tmp_path, batch(*rows))
    assert (list(read_rows), broken) == ([1, 2, 3], {})


def test_latin_1_is_read_when_said(tmp_path: Path) -> None:
    text = batch("891 a k Gr\xfcn", columns="iccid/imsi/ki/Stra\xdfe").encode("latin-1")
    source = source_of(tmp_path, text, encoding="latin-1")
    assert source.header == ("iccid", "imsi", "Stra\xdfe")
    assert rows_of(list(source.chunks())) == {1: ("891", "a", "Gr\xfcn")}


@pytest.mark.parametrize("block_bytes", [7, 100, 1_000, 100_000])
def test_an_endless_line_is_one_broken_row(tmp_path: Path, block_bytes: int) -> None:
    text = batch("891 a k", "8" * 5_000, "892 b k", "9" * 600) + "x" * 3_000
    assert read(tmp_path, text, block_bytes=block_bytes, row_bytes=500) == (
        {1: ("891", "a"), 3: ("892", "b")},
        dict.fromkeys((2, 4, 5), "longer than 500 bytes"),
    )


def test_of_an_endless_line_only_the_beginning_is_held(tmp_path: Path) -> None:
    path = tmp_path / "in.out"
    path.write_bytes(batch("891 a k").encode() + b"8" * 100_000 + b"\n892 b k")
    with ByteStream(LocalFile(path)) as stream:
        sizes = [len(block.text) for block in read_lines(stream, block_bytes=1_000, row_bytes=500)]
    assert max(sizes) < 2_500


def test_an_endless_header_line_is_no_row(tmp_path: Path) -> None:
    text = "*" * 2_000 + "\nNote: " + "x" * 2_000 + "\n" + batch("891 a k")
    assert read(tmp_path, text, row_bytes=500) == ({1: ("891", "a")}, {})


# ---------------------------------------------------------------- quantity


def words_of(tmp: Path, text: str) -> list[str]:
    findings = source_of(tmp, text).findings
    assert all((finding.position, finding.code) == (0, "quantity") for finding in findings)
    return [finding.words.removeprefix(f"{tmp / 'in.out'}: ") for finding in findings]


@pytest.mark.parametrize(
    "quantity", ["2", "0002", " 2 cards", "2.", "2,", "2 (two)"], ids=lambda text: str(text).strip()
)
def test_a_quantity_that_holds_is_not_spoken_of(tmp_path: Path, quantity: str) -> None:
    assert words_of(tmp_path, batch("891 a k", "892 b k", quantity=quantity)) == []


@pytest.mark.parametrize("name", ["Quantity", "Quanitity", "QUANTITY", "quantity ", "Qty"])
@pytest.mark.parametrize(
    ("quantity", "said"), [("3", "3"), ("1,000", "1,000"), ("10 000", "10,000"), ("0", "0")]
)
def test_a_quantity_that_does_not_hold_is_a_finding(
    tmp_path: Path, name: str, quantity: str, said: str
) -> None:
    text = batch("891 a k", "892 b k", quantity=quantity).replace("Quantity", name)
    (words,) = words_of(tmp_path, text)
    assert words == (
        f"batch 1 says Quantity {said} and has 2 rows (from row 1 on); ask the factory for the whole file, "
        'or take it as it is with [input] quantity = "warn"'
    )


@pytest.mark.parametrize("quantity", ["two", "", "1.5", "-2", "9" * 40])
def test_a_quantity_that_is_no_number_is_a_finding(tmp_path: Path, quantity: str) -> None:
    (words,) = words_of(tmp_path, batch("891 a k", quantity=quantity))
    assert words.startswith("batch 1 says a Quantity that is no number and has 1 row ")


def test_without_a_quantity_there_is_nothing_to_hold_the_rows_against(tmp_path: Path) -> None:
    assert words_of(tmp_path, batch("891 a k").replace("Quantity", "Note")) == []
    assert words_of(tmp_path, batch("891 a k").replace("Quantity", "Quantity per box")) == []


def test_every_batch_is_held_against_its_own_quantity(tmp_path: Path) -> None:
    text = (
        batch("1 a k", "2 a k", quantity=3)
        + batch("3 a k")
        + "*HEADER DESCRIPTION\nQuantity: 7\n"
        + batch("4 a k", "5", quantity=1)
        + "*HEADER DESCRIPTION\nQuantity: 7\n"
    )
    assert [words.partition(";")[0] for words in words_of(tmp_path, text)] == [
        "batch 1 says Quantity 3 and has 2 rows (from row 1 on)",
        "batch 3 says Quantity 7 and has 0 rows",
        "batch 4 says Quantity 1 and has 2 rows (from row 4 on)",
        "batch 5 says Quantity 7 and has 0 rows",
    ]


def test_broken_rows_count_for_the_quantity(tmp_path: Path) -> None:
    assert words_of(tmp_path, batch("891 a k", "892", "*****", "893 b k", "x" * 30, quantity=4)) == []


def test_thousands_of_wrong_batches_are_said_in_a_hundred_findings_and_one(tmp_path: Path) -> None:
    words = words_of(tmp_path, batch("891 a k", quantity=2) * 1_500)
    assert len(words) == 101
    assert words[-1] == "1,400 more batches have a wrong quantity"


# ---------------------------------------------------------------- files as a whole


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("\n\n", "no var_out line names the columns"),
        ("iccid,imsi\n1,2\n", "no var_out line names the columns; if this is no OUT file, say"),
        (batch("k", columns="KI/PIN1"), "var_out of batch 1 names only columns that are never kept (keys)"),
        (batch(columns=" / "), "var_out of batch 1 names no columns"),
        (batch(columns="/".join(["x"] * 10_001)), "or more than 10,000"),
        (batch(columns="iccid/Gr\xfcn").encode("latin-1"), "var_out of batch 1 is not UTF-8 text"),
        (
            STARRED.replace("ICCID/IMSI/KI\n", "ICCID/IMSI/KI "),
            "var_out of batch 1 runs into what looks like a row",
        ),
        (batch(columns="iccid/ki" + " x" * 40), "what looks like a row (not shown)"),
        (batch(columns=f"iccid/ki{KI}"), "what looks like a row (not shown)"),
        (gzip.compress(STARRED.encode())[:-30], "the gzip data is cut off"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, text: str | bytes, words: str
) -> None:
    assert words in refusal(tmp_path, text)


# How gpg begins what it encrypts, by options: -a, RSA, ECC, -c, and newer programs' headers.
ENCRYPTED = [
    b"-----BEGIN PGP MESSAGE-----\n\nhQEMA",
    bytes.fromhex("85020c03"),
    bytes.fromhex("845e03"),
    bytes.fromhex("8c0d0409"),
    bytes.fromhex("c1c14c03"),
    bytes.fromhex("c32e04"),
]


@pytest.mark.parametrize("beginning", ENCRYPTED)
def test_an_encrypted_file_is_recognised_and_told_how_to_pipe_in(tmp_path: Path, beginning: bytes) -> None:
    content = beginning + bytes(range(256))
    assert OutSource.recognises(content)
    assert refusal(tmp_path, content).endswith(
        "is PGP-encrypted; decrypt it on its way in: gpg -d FILE | simlift run - --job JOB"
    )


@pytest.mark.parametrize("text", [STARRED, UNSTARRED, COMMAS, "VAR_OUT : ICCID/IMSI\n8900 1\n"])
def test_a_file_of_each_dialect_is_recognised_in_any_encoding(text: str) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
        assert OutSource.recognises(text.replace("\n", "\r\n").encode(encoding))
        assert OutSource.recognises(text.encode(encoding))


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"iccid,imsi\n89,1\n",
        b"iccid,header description,var_out:\n",
        b'{"var_out:": 1}',
        b"PK\x03\x04var_out:",
    ],
)
def test_other_files_are_not_taken_for_out_files(beginning: bytes) -> None:
    assert not OutSource.recognises(beginning)


def test_a_file_whose_columns_changed_between_the_two_walks_is_refused(tmp_path: Path) -> None:
    source = source_of(tmp_path, batch("891 a k"))
    source_of(tmp_path, batch("a 891 k", columns="imsi/iccid/ki"))
    with pytest.raises(InventoryError, match="other columns"):
        list(source.chunks())


def test_very_short_rows_come_in_chunks_of_60_000(tmp_path: Path) -> None:
    chunks = list(source_of(tmp_path, batch(columns="iccid", quantity=150_000) + "8\n" * 150_000).chunks())
    assert max(chunk.rows.num_rows for chunk in chunks) <= 60_000
    assert chunks[-1].rows_read == 150_000


# ---------------------------------------------------------------- any file

LINES = st.sampled_from(
    [
        "*HEADER DESCRIPTION", "HEADER DESCRIPTION", "*INPUT VARIABLES", "*OUTPUT VARIABLES", "*****", "*",
        "  ", "", "Quantity : 2", "Customer: x", "var_out:iccid/imsi/ki", "var_out: iccid/PIN1/imsi",
        "89 1 k", "  89   1 k ", "89,1,k", "89 1", "89 1 k,", "LPA:1$a 1 k", '"', "\ufeff", "var_out",
        "\v 1 2", "x" * 80, " " * 90, " " * 90 + "89 1 k", " " * 90 + "x" * 90, " " * 90 + "*****",
        "89" + " " * 90 + "1 k",
    ]
)  # fmt: skip
MODERATE = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def said_of(tmp: Path, content: bytes, **bounds: int) -> tuple[object, ...]:
    try:
        source = source_of(tmp, content, **bounds)
        chunks = list(source.chunks())
    except InventoryError as error:
        return (str(error),)
    broken = [(row.position, row.reason, row.cells, row.raw) for row in broken_of(chunks)]
    positions = sorted([*rows_of(chunks), *(row[0] for row in broken)])
    assert positions == list(range(1, len(positions) + 1))
    assert not chunks or chunks[-1].rows_read == len(positions)
    return source.header, source.findings, rows_of(chunks), broken


@MODERATE
@given(
    lines=st.lists(LINES, max_size=30),
    line_break=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    block_bytes=st.integers(1, 200),
)
def test_where_blocks_are_cut_makes_no_difference(
    tmp_path: Path, lines: list[str], line_break: bytes, block_bytes: int
) -> None:
    content = line_break.join(line.encode() for line in lines) or b"\n"
    whole = said_of(tmp_path, content, row_bytes=60)
    assert said_of(tmp_path, content, row_bytes=60, block_bytes=block_bytes) == whole


@MODERATE
@given(
    content=st.lists(
        LINES.map(str.encode) | st.binary(max_size=12) | st.sampled_from([b"\n", b"\r", b" ", b",", b"\0"])
    ).map(b"".join),
    block_bytes=st.integers(1, 200),
)
def test_any_bytes_give_each_row_once_or_a_refusal(tmp_path: Path, content: bytes, block_bytes: int) -> None:
    said_of(tmp_path, content, block_bytes=block_bytes, row_bytes=40)


@MODERATE
@given(
    rows=st.lists(
        st.tuples(*[st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)] * 2),
        min_size=1,
        max_size=20,
    ),
    parted_by=st.sampled_from([" ", "   ", "\t", ","]),
)
def test_cells_of_any_text_come_as_they_stood(
    tmp_path: Path, rows: list[tuple[str, str]], parted_by: str
) -> None:
    rows = [tuple(re.sub("[*,]", "-", cell) for cell in row) for row in rows]  # type: ignore[misc]
    text = batch(*(parted_by.join((f"89{first}", second, "k")) for first, second in rows))
    assert read(tmp_path, text) == (
        {position: (f"89{first}", second) for position, (first, second) in enumerate(rows, 1)},
        {},
    )


class TestContract(SourceContract):
    kind = OutSource

    def write(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
        return batch(*map(" ".join, rows), columns="/".join(header)).encode()


class TestContractWithCommasCompressed(TestContract):
    def write(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
        return gzip.compress(batch(*map(",".join, rows), columns="/".join(header)).encode(), mtime=0)
