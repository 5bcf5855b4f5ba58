from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from pipeline.errors import InventoryError
from pipeline.sources.typed_columns import chunks_of, kept_of

if TYPE_CHECKING:
    from pipeline.model import Chunk


def chunks(batch: pa.RecordBatch, before: int = 0) -> list[Chunk]:
    return list(chunks_of(batch, batch.schema.names, rows_before=before, bytes_read=7))


@pytest.mark.parametrize(
    "kind",
    [
        pa.dense_union([pa.field("a", pa.string())]),
        pa.list_(pa.sparse_union([pa.field("a", pa.string())])),
        pa.struct([pa.field("x", pa.list_view(pa.string()))]),
    ],
    ids=str,
)
def test_a_type_without_text_is_refused(kind: pa.DataType) -> None:
    schema = pa.schema([("fine", pa.string()), ("odd", kind)])
    assert kept_of("f", schema.remove(1)) == ([0], ("fine",))
    with pytest.raises(InventoryError, match=r'^f: column "odd" is of a type that is not read'):
        kept_of("f", schema)


# ---------------------------------------------------------------- broken rows


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(1)], ids=str)
def test_bytes_that_are_no_text_break_their_row_alone(kind: pa.DataType) -> None:
    batch = pa.record_batch(
        {"n": pa.array([1, 2, 3]), "b": pa.array([b"a", b"\xff", b"c"], kind), "c": pa.array(["x", "y", "z"])}
    )
    (chunk,) = chunks(batch, before=10)
    assert chunk.positions.to_pylist() == [11, 13]
    assert chunk.rows.to_pydict() == {"0": ["1", "3"], "1": ["a", "c"], "2": ["x", "z"]}
    assert chunk.numbers[0].to_pylist() == [True, True]
    (broken,) = chunk.broken
    assert (broken.position, broken.reason) == (12, 'column "b": not UTF-8 text')
    assert (broken.cells, broken.raw) == (("2", "\\xff", "y"), "\\xff")
    assert (chunk.rows_read, chunk.bytes_read) == (13, 7)


def test_text_that_is_no_utf_8_after_all_breaks_its_row_alone() -> None:
    array = pa.array([b"a", b"\xff"]).view(pa.string())
    (chunk,) = chunks(pa.record_batch({"a": array}))
    assert [row.position for row in chunk.broken] == [2]


# ---------------------------------------------------------------- size


def test_a_batch_of_many_rows_is_cut_into_chunks() -> None:
    found = chunks(pa.record_batch({"a": pa.array(range(200_000))}))
    assert [chunk.rows_read for chunk in found] == [65_536, 131_072, 196_608, 200_000]
    assert found[1].positions[0].as_py() == 65_537


def long_in_dictionary(rows: int, size: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * size]))


def long_in_runs(rows: int, size: int) -> pa.Array:
    return pa.RunEndEncodedArray.from_arrays(pa.array([rows], pa.int32()), pa.array(["x" * size]))


def long_in_views(rows: int, size: int) -> pa.Array:
    one = pa.array(["x" * size], pa.string_view()).buffers()
    return pa.Array.from_buffers(
        pa.string_view(), rows, [None, pa.py_buffer(one[1].to_pybytes()[:16] * rows), one[2]]
    )


def long_in_dictionary_of_lists(rows: int, size: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([["x" * size]]))


@pytest.mark.parametrize(
    "make",
    [long_in_dictionary, long_in_runs, long_in_views, long_in_dictionary_of_lists],
    ids=lambda f: f.__name__,
)
def test_few_bytes_that_stand_for_many_are_written_out_in_parts(make: Any) -> None:
    batch = pa.record_batch({"a": make(1_000, 1_000_000)})  # as text 1 GB
    before, seen = pa.total_allocated_bytes(), 0
    for chunk in chunks_of(batch, ["a"], rows_before=0, bytes_read=0):
        assert pa.total_allocated_bytes() - before < 300_000_000
        assert not chunk.broken
        seen += chunk.rows.num_rows
        if seen > 60:
            break


@pytest.mark.parametrize(
    "cell",
    [
        long_in_dictionary(3, 70_000_000),
        pa.nulls(3 * 2**28, pa.null()),
    ],
    ids=["text", "list of nothing"],
)
def test_a_row_that_is_too_long_is_broken(cell: pa.Array) -> None:
    if pa.types.is_null(cell.type):
        cell = pa.FixedSizeListArray.from_arrays(cell, 2**28)
    found = chunks(pa.record_batch({"a": cell, "b": pa.array(["1", "2", "3"])}))
    assert [row.reason for chunk in found for row in chunk.broken] == ["longer than 64,000,000 bytes"] * 3
    assert [chunk.rows_read for chunk in found] == [1, 2, 3]
