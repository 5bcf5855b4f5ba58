"""A spool gives back what its source gave, chunk by chunk; a damaged one says so."""

from __future__ import annotations

import csv
import io
import json
import struct
import zlib
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pytest
from file_in_memory import FileInMemory
from hypothesis import given, settings, strategies as st

from pipeline.errors import InventoryError
from pipeline.model import BrokenRow, Chunk, Finding
from pipeline.settings import Input
from pipeline.sources.csv_file import CsvSource
from pipeline.sources.json_file import JsonSource
from pipeline.sources.spooled_file import SpooledSource
from simlift_contract import SourceContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipeline.contracts import Source

ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


@dataclass
class Told:
    """A source that gives what it is told to."""

    header: tuple[str, ...]
    told: list[Chunk]
    findings: tuple[Finding, ...] = ()
    suffixes: ClassVar[tuple[str, ...]] = ()
    bytes_total: int = 0

    def chunks(self) -> Iterator[Chunk]:
        return iter(self.told)


def spool_of(source: Any, origin: str = "") -> bytes:
    file = io.BytesIO()
    SpooledSource.write(source, file, origin)
    return file.getvalue()


def opened(content: bytes) -> SpooledSource:
    return SpooledSource(FileInMemory(content, "in.spooled"), Input())


def said(chunk: Chunk) -> Any:
    """Give a chunk as what can be compared; how far it is in the file is the file's own."""
    numbers = {index: flags.to_pylist() for index, flags in chunk.numbers.items()}
    rows = (chunk.rows.schema, [column.to_pylist() for column in chunk.rows.columns])
    return rows, chunk.positions.to_pylist(), chunk.broken, chunk.rows_read, numbers


@st.composite
def chunks(draw: st.DrawFn, columns: int) -> list[Chunk]:
    """Draw chunks with gaps in their positions, where broken rows are."""
    found, rows = [], 0
    for sort in draw(st.lists(st.lists(st.booleans(), min_size=1, max_size=6), max_size=4)):
        whole = [rows + at for at, is_whole in enumerate(sort, 1) if is_whole]
        cells = [draw(st.lists(ANY_TEXT, min_size=len(whole), max_size=len(whole))) for _ in range(columns)]
        flags = draw(st.dictionaries(st.integers(0, columns - 1), st.randoms()))
        broken = [
            BrokenRow(rows + at, draw(ANY_TEXT), draw(ANY_TEXT), tuple(draw(st.lists(ANY_TEXT, max_size=3))))
            for at, is_whole in enumerate(sort, 1)
            if not is_whole
        ]
        rows += len(sort)
        found.append(
            Chunk(
                pa.record_batch(
                    [pa.array(column, pa.string()) for column in cells],
                    names=[str(index) for index in range(columns)],
                ),
                pa.array(whole, pa.int64()),
                tuple(broken),
                rows,
                0,
                {i: pa.array([dice.random() < 0.5 for _ in whole], pa.bool_()) for i, dice in flags.items()},
            )
        )
    return found


@settings(max_examples=60, deadline=None)
@given(data=st.data(), header=st.lists(ANY_TEXT, min_size=1, max_size=4))
def test_a_spool_gives_what_its_source_gave(data: st.DataObject, header: list[str]) -> None:
    findings = tuple(data.draw(st.lists(st.builds(Finding, st.integers(0, 9), ANY_TEXT, ANY_TEXT))))
    source = Told(tuple(header), data.draw(chunks(len(header))), findings)
    content = spool_of(source, "where it is from")
    spool = opened(content)
    assert (spool.header, spool.findings, spool.origin) == (source.header, findings, "where it is from")
    assert SpooledSource.recognises(content)
    found = list(spool.chunks())
    assert list(map(said, found)) == list(map(said, source.told))
    assert [chunk.bytes_read for chunk in found] == sorted(chunk.bytes_read for chunk in found)
    assert all(0 < chunk.bytes_read <= spool.bytes_total == len(content) for chunk in found)


def of_csv() -> CsvSource:
    rows = "".join(f"89{at},iot\n" for at in range(40)) + '1,2,3\n"1\n'
    return CsvSource(FileInMemory(b"iccid,apn\n" + rows.encode()), Input(), block_bytes=200, row_bytes=60)


def of_json() -> JsonSource:
    rows = ({"iccid": at if at % 3 else str(at), "apn": "iot", "ki": "5EC2"} for at in range(30))
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    return JsonSource(FileInMemory(f"{lines}17\n{{\n".encode()), Input(), block_bytes=300, row_bytes=100)


@pytest.mark.parametrize("make", [of_csv, of_json])
def test_several_chunks_broken_rows_and_numbers_come_back(make: Callable[[], Source]) -> None:
    source = make()
    expected = list(map(said, source.chunks()))
    found = list(map(said, opened(spool_of(source)).chunks()))
    assert found == expected
    assert len(found) > 1


def test_every_byte_of_a_spool_counts() -> None:
    content = spool_of(of_csv())
    expected = list(map(said, opened(content).chunks()))
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 0x10
        with pytest.raises(InventoryError, match=r"^in\.spooled: "):
            list(opened(bytes(damaged)).chunks())
        before: list[Any] = []
        with pytest.raises(InventoryError, match=r"cut off|begins as none"):
            before.extend(map(said, opened(content[:at]).chunks()))
        assert before == expected[: len(before)]
    assert list(map(said, opened(content).chunks())) == expected


def test_the_rows_before_a_damage_are_given_and_counted() -> None:
    content = spool_of(of_csv())
    rows = opened(content[:-5]).chunks()
    last = [next(rows) for _ in of_csv().chunks()][-1].rows_read
    with pytest.raises(InventoryError) as raised:
        next(rows)
    assert str(raised.value) == f"in.spooled: the spool is damaged: it is cut off (after row {last})"


def test_a_source_that_breaks_off_makes_no_spool() -> None:
    class Breaking(Told):
        def chunks(self) -> Iterator[Chunk]:
            yield from super().chunks()
            raise InventoryError("cut off")

    with pytest.raises(InventoryError, match="cut off"):
        spool_of(Breaking(("iccid",), []))


def test_columns_that_are_not_as_they_should_be_are_damage() -> None:
    chunk = next(of_csv().chunks())
    for odd in (
        replace(chunk, rows=pa.record_batch([pa.array(["1"] * chunk.rows.num_rows)], names=["0"])),
        replace(chunk, rows=chunk.rows.append_column("2", chunk.rows.column(0))),
    ):
        content = spool_of(Told(("iccid", "apn"), [odd]))
        with pytest.raises(InventoryError, match="other columns than it says"):
            list(opened(content).chunks())


def test_rows_that_do_not_follow_one_another_are_damage() -> None:
    first, second = islice(of_csv().chunks(), 2)
    broken = BrokenRow(first.rows_read + 1, "why", "raw")
    swapped = replace(first, positions=pa.array([2, 1, *range(3, first.rows_read + 1)]))
    for told in (
        [second, first],
        [first, first],
        [swapped],
        [replace(first, rows_read=first.rows_read + 1)],
        [replace(first, rows_read=first.rows_read + 1, broken=(replace(broken, position=1),))],
        [replace(first, rows_read=1 << 70, broken=(broken,))],
        [replace(first, rows_read=first.rows_read + 1, broken=(replace(broken, position=1 << 70),))],
    ):
        with pytest.raises(InventoryError, match=r"^in\.spooled: the spool is damaged: [^\n]*$"):
            list(opened(spool_of(Told(("iccid", "apn"), told))).chunks())
    list(opened(spool_of(Told(("iccid", "apn"), [first, second]))).chunks())


def test_cells_without_text_and_marks_of_no_column_are_damage() -> None:
    chunk = next(of_csv().chunks())
    blank = pa.nulls(chunk.rows.num_rows, pa.string())
    marks = pa.array([True] * chunk.rows.num_rows)
    for odd in (
        replace(chunk, rows=chunk.rows.set_column(0, "0", blank)),
        replace(chunk, numbers={2: marks}),
    ):
        with pytest.raises(InventoryError, match=r"without text|other columns than it says"):
            list(opened(spool_of(Told(("iccid", "apn"), [odd]))).chunks())


@pytest.mark.parametrize("head", [b'{"header":[],"findings":[],"origin":""}', b'{"x":' + b"[" * 100_000])
def test_a_head_without_columns_or_without_end_is_one_line(head: bytes) -> None:
    frame = struct.pack("<QI", len(head), zlib.crc32(head)) + head
    with pytest.raises(InventoryError, match=r"^in\.spooled: is no sound spool: [^\n]*$"):
        opened(b"simlift spool 1\n" + frame)


class TestSpooled(SourceContract):
    kind = SpooledSource
    cells = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)

    def write(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
        text = io.StringIO()
        csv.writer(text).writerows([header, *rows])
        return spool_of(CsvSource(FileInMemory(text.getvalue().encode()), Input()))
