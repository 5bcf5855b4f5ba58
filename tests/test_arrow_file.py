from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from file_in_memory import FileInMemory
from hypothesis import given, settings, strategies as st

from pipeline.errors import InventoryError
from pipeline.settings import Input
from pipeline.sources.arrow_file import ArrowSource
from simlift_contract import SourceContract

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TABLE = pa.table({"iccid": ["8900", "8901", None], "Ki": ["SECRET"] * 3, "batch": [7, None, 9]})


def as_file(table: pa.Table, rows: int | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_file(file, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return file.getvalue()


def as_stream(table: pa.Table, rows: int | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return file.getvalue()


FORMS = pytest.mark.parametrize("written", [as_file, as_stream])


def source_of(content: bytes) -> ArrowSource:
    return ArrowSource(FileInMemory(content, "in.arrow"), Input())


def rows_of(content: bytes) -> list[tuple[str, ...]]:
    return [
        row
        for chunk in source_of(content).chunks()
        for row in zip(*(column.to_pylist() for column in chunk.rows.columns), strict=True)
    ]


def refusal(content: bytes) -> str:
    with pytest.raises(InventoryError) as raised:
        list(source_of(content).chunks())
    assert "\n" not in str(raised.value)
    return str(raised.value)


@FORMS
@pytest.mark.parametrize(
    "options", [{}, {"compression": "lz4"}, {"compression": "zstd"}, {"use_legacy_format": True}], ids=str
)
def test_rows_are_read_and_numbers_marked(written: Callable[..., bytes], options: dict[str, Any]) -> None:
    source = source_of(written(TABLE, **options))
    (chunk,) = source.chunks()
    assert source.header == ("iccid", "batch")
    assert chunk.rows.to_pydict() == {"0": ["8900", "8901", ""], "1": ["7", "", "9"]}
    assert {column: flags.to_pylist() for column, flags in chunk.numbers.items()} == {1: [True, False, True]}
    assert chunk.positions.to_pylist() == [1, 2, 3]
    assert 0 < chunk.bytes_read <= source.bytes_total


@FORMS
def test_a_compressed_copy_is_read_too(written: Callable[..., bytes]) -> None:
    assert rows_of(gzip.compress(written(TABLE))) == rows_of(written(TABLE))


@FORMS
def test_batches_are_read_one_after_the_other_with_positions_that_go_on(
    written: Callable[..., bytes],
) -> None:
    content = written(pa.table({"n": [f"{n}" for n in range(1_000)]}), 300)
    source = source_of(content)
    chunks = list(source.chunks())
    assert [chunk.rows_read for chunk in chunks] == [300, 600, 900, 1_000]
    assert [p for chunk in chunks for p in chunk.positions.to_pylist()] == list(range(1, 1_001))
    assert rows_of(content) == [(f"{n}",) for n in range(1_000)]
    shares = [chunk.bytes_read for chunk in chunks]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] <= source.bytes_total


@FORMS
def test_dictionaries_that_grow_from_batch_to_batch_are_followed(written: Callable[..., bytes]) -> None:
    chunked = pa.chunked_array(
        [pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", "a"]).dictionary_encode()]
    )
    table = pa.table({"d": chunked}).unify_dictionaries()
    assert rows_of(written(table, emit_dictionary_deltas=True)) == [("a",), ("b",), ("c",), ("a",)]


def test_the_format_is_recognised_by_its_beginning() -> None:
    assert ArrowSource.recognises(as_file(TABLE)[:64])
    assert ArrowSource.recognises(as_stream(TABLE)[:64])
    assert not ArrowSource.recognises(b"iccid,ARROW1")


@FORMS
def test_a_file_without_rows_has_a_header(written: Callable[..., bytes]) -> None:
    source = source_of(written(TABLE.slice(0, 0)))
    assert source.header == ("iccid", "batch")
    assert [row for chunk in source.chunks() for row in chunk.positions.to_pylist()] == []


@FORMS
def test_columns_of_one_name_are_told_apart(written: Callable[..., bytes]) -> None:
    assert rows_of(written(pa.table([["1"], ["2"], ["3"]], names=["a", "pin", "a"]))) == [("1", "3")]


@FORMS
@pytest.mark.parametrize("encode", [False, True])
def test_text_that_is_no_utf_8_breaks_its_row_alone(written: Callable[..., bytes], *, encode: bool) -> None:
    column = pa.array([b"one", b"\xffwo", b"three"]).view(pa.string())
    if encode:
        column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), column)
    (chunk,) = source_of(written(pa.table({"a": column, "b": ["x", "y", "z"]}))).chunks()
    assert chunk.rows.to_pydict() == {"0": ["one", "three"], "1": ["x", "z"]}
    assert [(row.position, row.raw, row.cells) for row in chunk.broken] == [(2, "\\xffwo", ("\\xffwo", "y"))]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no sound Arrow file"),
        (b"ARROW1", "cut off"),
        (b"ARROW1\0\0ARROW1", "no sound Arrow file"),
        (as_file(TABLE)[:-1], "cut off"),
        (as_stream(TABLE)[:-8], "has no end"),
        (as_stream(TABLE)[:-20], "cut off"),
        (as_stream(TABLE)[:100], "cut off"),
        (b"FEA1" + bytes(100), "Feather version 1"),
        (as_file(pa.table({"ki": ["1"]})), "never kept"),
        (as_stream(pa.table({})), "no columns"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(content: bytes, words: str) -> None:
    assert words in refusal(content)


def test_a_stream_that_breaks_off_gives_its_whole_batches_first() -> None:
    content = as_stream(pa.table({"n": [f"{n}" for n in range(1_000)]}), 100)
    rows: list[int] = []
    with pytest.raises(InventoryError, match=r"\(after row 500\)$"):
        rows.extend(chunk.rows_read for chunk in source_of(content[: len(content) // 2]).chunks())
    assert rows == [100, 200, 300, 400, 500]


def test_offsets_that_lead_astray_are_no_crash() -> None:
    content = as_stream(pa.table({"a": ["x" * 50] * 10}))
    offsets = b"".join(n.to_bytes(4, "little") for n in (0, 50, 100, 150))
    assert offsets in content
    astray = content.replace(offsets, b"\xff\xff\xff\x7f".join([offsets[:4], offsets[8:]]))
    assert "cannot be read on" in refusal(astray)


@pytest.mark.parametrize(
    "kind", [pa.timestamp("s", tz="Some/Zone"), pa.struct([("Some/Zone", pa.int8())]), pa.int8()], ids=str
)
def test_a_name_that_is_no_text_is_refused(kind: pa.DataType) -> None:
    name = "a" if pa.types.is_nested(kind) or pa.types.is_timestamp(kind) else "Some/Zone"
    content = as_stream(pa.table({name: pa.nulls(1, kind)})).replace(b"Some/Zone", b"Some\xffZone")
    assert "not UTF-8 text" in refusal(content)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_anywhere_gives_rows_or_broken_rows_or_an_inventory_error(data: st.DataObject) -> None:
    table = pa.table(
        {
            "a": pa.array(["x", None, "yy"] * 5),
            "b": pa.array([1, 2, None] * 5),
            "c": pa.array([[1], None, []] * 5),
            "d": pa.array(["p", "q", "p"] * 5).dictionary_encode(),
            "e": pa.array(["view", None, "a longer view"] * 5, pa.string_view()),
        }
    )
    written = data.draw(st.sampled_from([as_file, as_stream]))
    content = bytearray(written(table, compression=data.draw(st.sampled_from([None, "zstd", "lz4"]))))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        chunks = list(source_of(bytes(content)).chunks())
    except InventoryError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either way is right
        return
    assert sum(chunk.rows.num_rows + len(chunk.broken) for chunk in chunks) == sum(
        chunk.rows_read for chunk in chunks[-1:]
    )


class TestFile(SourceContract):
    kind = ArrowSource
    cells = st.text(st.characters(codec="utf-8"), max_size=12)

    def write(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
        columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
        return self._written(pa.table(columns, names=list(header)))

    def _written(self, table: pa.Table) -> bytes:
        return as_file(table)


class TestStream(TestFile):
    def _written(self, table: pa.Table) -> bytes:
        return as_stream(table, 5, compression="lz4")
