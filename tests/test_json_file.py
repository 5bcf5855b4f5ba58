from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from file_in_memory import FileInMemory
from hypothesis import given, settings, strategies as st

from pipeline.errors import InventoryError
from pipeline.files import LocalFile
from pipeline.settings import Input
from pipeline.sources.json_columns import JsonColumns
from pipeline.sources.json_file import JsonSource
from simlift_contract import SourceContract

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.model import BrokenRow, Chunk

EXAMPLE = Path(__file__).parent / "data" / "sim_express_example_request.json"
Rows = dict[int, tuple[str, ...]]


def source_of(data: bytes, table: Input | None = None, **bounds: int) -> JsonSource:
    return JsonSource(FileInMemory(data, "in.json"), table or Input(), **bounds)


def rows_of(chunks: Sequence[Chunk]) -> Rows:
    rows: Rows = {}
    for chunk in chunks:
        columns = [column.to_pylist() for column in chunk.rows.columns]
        rows |= zip(chunk.positions.to_pylist(), zip(*columns, strict=True), strict=True)
    return rows


def numbers_of(chunks: Sequence[Chunk]) -> set[tuple[int, int]]:
    """Give position and column of every cell that was a number."""
    return {
        (position, column)
        for chunk in chunks
        for column, flags in chunk.numbers.items()
        for position, flag in zip(chunk.positions.to_pylist(), flags.to_pylist(), strict=True)
        if flag
    }


def broken_of(chunks: Sequence[Chunk]) -> list[BrokenRow]:
    return [row for chunk in chunks for row in chunk.broken]


def read(data: bytes, table: Input | None = None, **bounds: int) -> tuple[Rows, list[BrokenRow]]:
    chunks = list(source_of(data, table, **bounds).chunks())
    return rows_of(chunks), broken_of(chunks)


def refusal(data: bytes, table: Input | None = None, **bounds: int) -> str:
    with pytest.raises(InventoryError) as raised:
        list(source_of(data, table, **bounds).chunks())
    message = str(raised.value)
    assert "\n" not in message
    return message


# ---------------------------------------------------------------- layouts


def test_the_example_request_of_the_vendors_page_is_an_inventory() -> None:
    source = JsonSource(LocalFile(EXAMPLE), Input())
    (chunk,) = source.chunks()
    assert source.header == ("iccid", "eid", "imei", "ac", "cc", "apn")
    items = json.loads(EXAMPLE.read_text("utf-8"))["profileItems"]
    assert list(rows_of([chunk]).values()) == [tuple(item.values()) for item in items]


ROWS = {1: ("1", "x"), 2: ("2", "y"), 3: ("3", "z")}
ONE, TWO, THREE = (f'{{"a":"{n}","b":"{b}"}}' for n, b in ROWS.values())


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}\n{TWO}\n{THREE}\n",
        f"{ONE}\r\n{TWO}\r\n\r\n  \n{THREE}",
        f"{ONE},\n{TWO},\n{THREE},\n",
        f"{ONE}{TWO} {THREE}",
        f"[{ONE},{TWO},{THREE}]",
        f" [\n  {ONE},\n  {TWO}\n  ,{THREE},\n]\n",
        f'{{"items":[{ONE},{TWO},{THREE}]}}',
        f'{{"n": 3, "s": {{"t": []}}, "items": [ {ONE}, {TWO}, {THREE} ], "more": null}}',
        "\n".join(json.dumps(json.loads(row), indent=4) for row in (ONE, TWO, THREE)),
        json.dumps({"items": [json.loads(row) for row in (ONE, TWO, THREE)]}, indent="\t"),
        f"{ONE}\n\ufeff{TWO}\n{THREE}",
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_rows_are_read_from_every_layout(text: str, mark: str) -> None:
    assert read((mark + text).encode()) == (ROWS, [])


def test_utf_16_and_compression_and_latin_1_are_undone() -> None:
    text = f"[{ONE},{TWO},{THREE}]"
    assert read(text.encode("utf-16")) == (ROWS, [])
    assert read(gzip.compress(text.encode())) == (ROWS, [])
    assert read('{"a":"é"}'.encode("latin-1"), Input(encoding="latin-1")) == ({1: ("é",)}, [])


@pytest.mark.parametrize(
    ("beginning", "is_json"),
    [
        (b'{"a"', True),
        (b'\xef\xbb\xbf \r\n{ "a"', True),
        (b"[ {", True),
        ('[{"a":1}]'.encode("utf-16"), True),
        (b"{}", True),
        (b"[1]", False),
        (b"{a;b", False),
        (b'iccid,"{"', False),
        (b"", False),
    ],
)
def test_json_is_recognised_by_an_object_at_its_beginning(beginning: bytes, *, is_json: bool) -> None:
    assert JsonSource.recognises(beginning) is is_json


# ---------------------------------------------------------------- the header


def test_the_header_is_the_keys_in_the_order_they_appear() -> None:
    source = source_of(b'{"b":"1"}\n{"a":"2","b":"3"}\n{"c":null}\n')
    assert source.header == ("b", "a", "c")
    assert rows_of(list(source.chunks())) == {1: ("1", "", ""), 2: ("3", "2", ""), 3: ("", "", "")}


def test_a_key_that_no_object_at_the_beginning_has_breaks_its_row_and_says_what_to_do() -> None:
    lines = [b'{"a":"%06d"}' % n for n in range(60_000)]
    lines[50_000] = b'{"a":"1","late":"2"}'
    rows, (broken,) = read(b"\n".join(lines), header_bytes=100_000)
    assert broken.position == 50_001
    assert '"late"' in broken.reason
    assert "[input] columns" in broken.reason
    assert broken.raw == '{"a":"1","late":"2"}'
    assert len(rows) == 59_999


def test_a_key_named_in_the_job_file_is_always_in_the_header() -> None:
    lines = [b'{"a":"%06d"}' % n for n in range(60_000)]
    lines[50_000] = b'{"a":"1","late":"2"}'
    table = Input(columns={"iccid": "late", "eid": "a"})
    source = source_of(b"\n".join(lines), table, header_bytes=100_000)
    assert source.header == ("a", "late")
    rows, broken = read(b"\n".join(lines), table, header_bytes=100_000)
    assert (rows[50_001], rows[1], broken) == (("1", "2"), ("000000", ""), [])


def test_a_file_with_a_thousand_keys_an_object_is_refused() -> None:
    lines = [json.dumps({f"k{n}-{i}": 1 for i in range(1000)}) for n in range(10)]
    assert "different keys" in refusal("\n".join(lines).encode())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b" \n \n", "holds only blank lines"),
        (b"[]", "no JSON object with keys"),
        (b"{}", "no JSON object with keys"),
        (b"null", "no JSON object with keys"),
        (b"iccid,eid\n1,2\n", "no JSON object with keys"),
        (b'{"ki":"1"}', "never kept"),
        (b'{"a":[{"x":1}],"b":[{"y":1}]}', 'more than one list of objects, "a" and "b"'),
    ],
)
def test_a_file_without_objects_is_refused(data: bytes, words: str) -> None:
    assert words in refusal(data)


# ---------------------------------------------------------------- cells


def test_numbers_are_printed_as_they_stood_and_marked() -> None:
    chunks = list(source_of(b'{"a":8935711001000000007,"b":1.50}\n{"a":-0,"b":"1e5"}\n{"a":1E+2}').chunks())
    assert rows_of(chunks) == {1: ("8935711001000000007", "1.50"), 2: ("-0", "1e5"), 3: ("1E+2", "")}
    assert numbers_of(chunks) == {(1, 0), (1, 1), (2, 0), (3, 0)}


def test_numbers_that_a_column_holds_throughout_are_printed_and_marked_alike() -> None:
    cells = [str(n) for n in range(-1, 40_000)] + [str(2**63 - 1), str(2**63), "-0", "null"]
    data = "\n".join(f'{{"a":"x","b":{cell},"c":true}}' for cell in cells).encode()
    chunks = list(source_of(data, block_bytes=50_000).chunks())
    assert list(rows_of(chunks).values()) == [("x", cell.replace("null", ""), "true") for cell in cells]
    assert numbers_of(chunks) == {(position, 1) for position in range(1, len(cells))}


def test_what_is_nested_or_true_or_false_is_compact_json() -> None:
    rows, _ = read(b'{"a":{"x": [1.50, null, "\\u00e9\\""], "y": {}},"b":true}\n{"a":[ ],"b":false}\n')
    assert rows == {1: ('{"x":[1.50,null,"é\\""],"y":{}}', "true"), 2: ("[]", "false")}


def test_null_and_what_is_missing_are_empty() -> None:
    assert read(b'{"a":null,"b":""}\n{}\n{"b":"1"}')[0] == {1: ("", ""), 2: ("", ""), 3: ("", "1")}


def test_escapes_are_undone() -> None:
    rows, _ = read(b'{"a":"\\u0041\\n\\"\\/\\ud83d\\ude00{}[],\\u0000"}')
    assert rows == {1: ('A\n"/😀{}[],\0',)}


# ---------------------------------------------------------------- broken rows


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"a":"1","a":"2"}', 'has the key "a" twice'),
        (b'{"a":"1","\\u0061":"2"}', 'has the key "a" twice'),
        (b"foo", "not JSON"),
        (b'{"a":"1"', "not JSON"),
        (b'{"a":"1', "not JSON"),
        (b'{"a":"1",', "not JSON"),
        (b'{"a":', "not JSON"),
        (b'"a":"1"}', "not a JSON object but text"),
        (b'{"a":NaN}', "not JSON: NaN"),
        (b"{'a':'1'}", "not JSON"),
        (b'{"a":"\t"}', "not JSON"),
        (b"[1,2]", "not a JSON object but a list"),
        (b'"x"', "not a JSON object but text"),
        (b"12", "not a JSON object but a number"),
        (b"null", "not a JSON object but null"),
        (b"true", "not a JSON object but true"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"\\ud800":"1"}', "has a key that no object"),
        (b'{"a":' + b"[" * 100_000, "nested too deeply"),
        (b'{"a":' + b"[" * 2_000 + b"]" * 2_000 + b"}", "nested too deeply"),
    ],
)
def test_a_line_that_is_no_row_is_broken_and_its_neighbours_are_intact(line: bytes, words: str) -> None:
    rows, (broken,) = read(b'{"a":"before"}\n' + line + b'\n{"a":"after"}\n')
    assert rows == {1: ("before",), 3: ("after",)}
    assert broken.position == 2
    assert words in broken.reason
    assert broken.raw.rstrip("…") == line.decode("utf-8", "backslashreplace")[:1_000]


@pytest.mark.parametrize(
    ("element", "words"),
    [
        ('{"a":"1","a":"2"}', "twice"),
        ('{"a":"1",', "not JSON"),
        ('{"a":"1"', "not JSON"),
        ('{"a":"1}', "not JSON"),
        ('{"a":1"}', "not JSON"),
        ("{a:1}", "not JSON"),
        ("12", "but a number"),
        ('[{"a":"1"}]', "but a list"),
        ("null", "but null"),
    ],
)
@pytest.mark.parametrize("between", [",", ",\n  ", ", "])
def test_an_element_that_is_no_row_is_broken_and_its_neighbours_are_intact(
    element: str, words: str, between: str
) -> None:
    rows, broken = read(f'[{{"a":"before"}}{between}{element}{between}{{"a":"after"}}]'.encode())
    assert list(rows.values()) == [("before",), ("after",)]
    assert len(broken) == 1
    assert words in broken[0].reason


def test_a_row_that_is_too_long_is_broken_and_its_neighbours_are_intact() -> None:
    for long in ('{"a":"%s"}' % ("x" * 5_000), '{"a":[%s]}' % ("1," * 5_000 + "1"), "x" * 9_000):
        for text in (f'{{"a":"1"}}\n{long}\n{{"a":"2"}}', f'[{{"a":"1"}},\n{long},\n{{"a":"2"}}]'):
            rows, (broken,) = read(text.encode(), block_bytes=500, row_bytes=1_000)
            assert rows == {1: ("1",), 3: ("2",)}
            assert long.startswith(broken.raw.rstrip("…"))
            assert len(broken.raw) <= 1_001


@pytest.mark.parametrize(
    "data", [b'[{"a":"1"},{"a":"2"}', b'[{"a":"1"},{"a":"2"},{"a', b'{"x":[{"a":"1"},{"a":"2"']
)
def test_an_array_without_end_is_cut_off_and_says_after_which_row(data: bytes) -> None:
    message = refusal(data)
    assert "cut off" in message
    assert "(after row " in message


@pytest.mark.parametrize(
    "data",
    [
        b'[{"a":"1"}] [{"a":"2"}]',
        b'[{"a":"1"}]]',
        b'{"x":[{"a":"1"},{"a":"1"}]}\n{"x":[{"a":"2"}',
        b'{"x":[{"a":"1"}],"y":[{"a":"2"}],"z":}',
        b'{"x":[{"a":"1"},{"b":1}],"n":' + b"1" * 2_000 + b"}",
    ],
)
def test_nothing_may_follow_the_list_of_rows(data: bytes) -> None:
    assert "goes on after its list of rows ends" in refusal(data, row_bytes=10)


def test_a_null_among_the_objects_of_a_run_is_a_broken_row() -> None:
    # pyarrow reads it as a row of nulls, or dies of it, if it is let.
    rows, (broken,) = read(b'{"a":"1"} null{"a":"2"}')
    assert (rows[1], broken.position) == (("1",), 2)
    assert read(b'[{"a":"1"},null,{"a":"2"}]')[0] == {1: ("1",), 3: ("2",)}


# ---------------------------------------------------------------- key material


def test_key_material_is_dropped_at_every_depth() -> None:
    source = source_of(
        b'{"iccid":"1","Ki":"SECRET","auth":{"x":1,"opc":"SECRET","in":[{"PIN1":"SECRET"}]}}\n'
    )
    (chunk,) = source.chunks()
    assert source.header == ("iccid", "auth")
    assert rows_of([chunk]) == {1: ("1", '{"x":1,"in":[{}]}')}


def test_a_broken_row_of_a_file_with_keys_is_not_shown() -> None:
    _, broken = read(b'{"a":"1","ki":"SECRET"}\n{"a":"2","ki":"SECRET"\n{"a":"3","a":"4"}\nSECRET\n')
    assert [row.position for row in broken] == [2, 3, 4]
    assert all("withheld" in row.raw for row in broken)


def test_a_broken_row_of_a_megabyte_of_blanks_takes_no_time_to_show() -> None:
    blanks = b" " * 900_000  # by their square it would be hours
    _, (broken,) = read(b'{"iccid":"1"}\n{"note":"' + blanks + b'", x}\n{"iccid":"2"}\n')
    assert broken.raw.startswith('{"note":"   ')
    _, (broken,) = read(
        b'{"iccid":"1"}\n{"note":"' + blanks + b'", "Ki" ' + blanks[:90_000] + b': "5EC2", x}\n'
    )
    assert "withheld" in broken.raw


@pytest.mark.parametrize(
    "row", [b"{'a':'2','Ki':'SECRET'}", b'{"a":"2","x":{"opc":"SECRET"}', b'{a:1,PIN1="SECRET"}']
)
def test_a_broken_row_that_looks_like_holding_keys_is_not_shown(row: bytes) -> None:
    _, (broken,) = read(b'{"a":"1"}\n' + row)
    assert "SECRET" not in repr(broken)


def test_a_key_that_is_dropped_anyway_may_come_late() -> None:
    lines = [b'{"a":"%06d"}' % n for n in range(20_000)] + [b'{"a":"x","ki":"1","simlift_code":"y"}']
    rows, broken = read(b"\n".join(lines), header_bytes=1_000)
    assert (rows[20_001], broken) == (("x",), [])


# ---------------------------------------------------------------- both ways, all blocks

TEXT = st.text(st.sampled_from('ab{}[],:"\\/\n\r é😀\x00\x7f'), max_size=6)
SCALARS = st.one_of(TEXT, st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False))
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(TEXT, SCALARS, max_size=2))
OBJECTS = st.dictionaries(st.sampled_from(["a", "b", "c", "é{"]), VALUES, max_size=4).map(json.dumps)
ODD = st.sampled_from(["null", "1", '"x"', "[]", "{", "}", '{"a":"', '{"a":1,"a":2}', "]", ",", '"', "x"])


@settings(max_examples=150, deadline=None)
@given(
    pieces=st.lists(st.one_of(OBJECTS, OBJECTS, OBJECTS, OBJECTS, ODD), min_size=1, max_size=12),
    between=st.sampled_from(["\n", ",", ",\n", "", " ", "\r\n", "\n\n "]),
    around=st.sampled_from(["{}", "[{}]", '{{"x":[{}]}}']),
    block_bytes=st.integers(1, 60),
)
def test_runs_are_read_as_one_by_one_whatever_the_blocks(
    pieces: list[str], between: str, around: str, block_bytes: int
) -> None:
    data = around.format(between.join(pieces)).encode()

    def outcome(**bounds: int) -> Any:
        chunks: list[Chunk] = []
        try:
            source = source_of(data, **bounds)
            chunks.extend(source.chunks())
        except InventoryError as error:
            return str(error).split(":", 1)[1]
        return source.header, rows_of(chunks), numbers_of(chunks), broken_of(chunks)

    at_once = outcome()
    with patch.object(JsonColumns, "of_run", return_value=None):
        assert outcome() == at_once
        assert outcome(block_bytes=block_bytes) == at_once
    assert outcome(block_bytes=block_bytes) == at_once


# ---------------------------------------------------------------- hostile files


@pytest.mark.parametrize(
    "data",
    [
        b'[{"a":"1"},' + b"{," * 100_000,
        b'[{"a":"1"},' + b"\n" * 400_000,
        b'[{"a":"1"},' + b'{"a":[{},' * 40_000,
        b'[{"a":"1"},' + b'{"a":[1,{"a":[1,' * 20_000,
        b'[{"a":"1"},' + b'{"a":"x",' * 40_000,
        b'[{"a":"1"}' + b"}" * 300_000,
        b'{"a":"1"}\n' + b"[" * 300_000,
        b'{"a":"1"}\n' + b"1 " * 100_000,
        b'{"a":"1"}\n' + b'{"a":"' * 50_000,
        b'{"a":"1"}' + b" " * 400_000 + b'{"a":"1"}',
        b'{"a":"1"}\n' + b"\\" * 300_000,
    ],
)
def test_no_damage_takes_long(data: bytes) -> None:
    try:
        chunks = list(source_of(data, row_bytes=100_000).chunks())
    except InventoryError:
        return
    assert 1 in rows_of(chunks)


@settings(max_examples=150, deadline=None)
@given(
    st.text(st.sampled_from('{}[]",:\\ \nnul1aé\udc80')).map(
        lambda text: text.encode("utf-8", "surrogateescape")
    )
)
def test_any_text_gives_rows_or_broken_rows_or_an_inventory_error(data: bytes) -> None:
    try:
        chunks = list(source_of(b'{"a":"1"}' + data, block_bytes=8, row_bytes=20).chunks())
    except InventoryError:
        return
    assert all(row.reason for row in broken_of(chunks))


# ---------------------------------------------------------------- the contract


class TestLines(SourceContract):
    kind = JsonSource
    cells = st.text(st.characters(codec="utf-8"), max_size=12)

    def write(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
        return "".join(f"{self._object(header, row)}\n" for row in rows).encode()

    def _object(self, header: Sequence[str], row: Sequence[str]) -> str:
        return json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False)


class TestArray(TestLines):
    def write(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
        return f"[{','.join(self._object(header, row) for row in rows)}]".encode()


class TestRequest(TestLines):
    def write(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
        items = [dict(zip(header, row, strict=True)) for row in rows]
        return json.dumps({"profileItems": items}, indent=2).encode()
