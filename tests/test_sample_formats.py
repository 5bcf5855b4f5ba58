"""Samples in each format: by their names, the same rows in all, the same bytes from the same arguments."""

from __future__ import annotations

import bz2
import gzip
import json
import re
import zipfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from python_calamine import CalamineWorkbook

from pipeline.errors import UsageError
from pipeline.inventory import open_inventory
from pipeline.samples import write_sample
from pipeline.samples.formats import FORMATS
from pipeline.settings import Input

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = ("iccid", "eid", "imei", "ac", "cc", "apn")
NAMES = {
    "csv": "s.csv",
    "jsonl": "s.jsonl",
    "json": "s.json",
    "json-array": "array.json",
    "out": "s.out",
    "out-bare": "bare.out",
    "out-comma": "comma.out",
    "parquet": "s.parquet",
    "arrow": "s.arrow",
    "xlsx": "s.xlsx",
}


def write(path: Path, kind: str = "", **more: Any) -> Path:
    write_sample(path, **{"items": 500, "seed": 8, "bad_share": 0.2, "odd_share": 0.1, "kind": kind} | more)
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    (source,) = open_inventory([str(path)], Input()).sources
    names = [name.lower() for name in source.header]
    rows = [
        dict(zip(names, row.values(), strict=True))
        for chunk in source.chunks()
        for row in chunk.rows.to_pylist()
    ]
    assert not any(chunk.broken for chunk in source.chunks())
    return rows


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_holds_the_same_clean_rows(tmp_path: Path, kind: str) -> None:
    there = rows_of(write(tmp_path / NAMES[kind], kind, bad_share=0, odd_share=0))
    plain = rows_of(write(tmp_path / "plain.csv", bad_share=0, odd_share=0))
    kept = [name for name in FIELDS if name != "cc"] if kind.startswith("out") else FIELDS
    assert [[row[name] for name in kept] for row in there] == [[row[name] for name in kept] for row in plain]


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(tmp_path: Path, kind: str) -> None:
    for folder, seed in (("a", 8), ("b", 8), ("c", 9)):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / NAMES[kind], kind, seed=seed)
    a, b, c = ((tmp_path / folder / NAMES[kind]).read_bytes() for folder in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize("kind", FORMATS)
def test_no_rows_are_a_file_of_the_format_all_the_same(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / NAMES[kind], kind, items=0)
    assert path.stat().st_size or kind == "jsonl"


def test_a_name_tells_the_format_and_the_compression(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.jsonl").read_bytes()
    assert gzip.decompress(write(tmp_path / "a.jsonl.gz").read_bytes()) == plain
    assert bz2.decompress(write(tmp_path / "a.ndjson.bz2").read_bytes()) == plain
    with pa.input_stream(write(tmp_path / "a.jsonl.zst"), compression="zstd") as unpacked:
        assert unpacked.read() == plain


def test_there_is_no_time_in_a_gzip_header(tmp_path: Path) -> None:
    assert write(tmp_path / "a.csv.gz").read_bytes()[4:8] == bytes(4)


def test_there_is_no_time_in_a_workbook(tmp_path: Path) -> None:
    with zipfile.ZipFile(write(tmp_path / "a.xlsx")) as parts:
        assert {part.date_time[0] for part in parts.infolist()} == {1980}
        assert b">2000-01-01T00:00:00Z<" in parts.read("docProps/core.xml")


@pytest.mark.parametrize("name", ["s.parquet.gz", "s.xlsx.zst", "s.arrow.bz2"])
def test_what_is_no_text_can_be_compressed_too(tmp_path: Path, name: str) -> None:
    assert len(rows_of(write(tmp_path / name, bad_share=0))) == 500


def test_a_name_that_tells_nothing_needs_a_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'delivery' tells no format; known are csv"):
        write(tmp_path / "delivery")
    assert write(tmp_path / "delivery", "csv").read_bytes() == write(tmp_path / "delivery.csv").read_bytes()


def test_more_rows_than_a_sheet_holds_are_refused_before_a_file_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a sheet holds 1,048,575 rows, not 1,048,576"):
        write(tmp_path / "s.xlsx", items=1_048_576)
    assert not (tmp_path / "s.xlsx").exists()


def test_json_has_the_three_shapes(tmp_path: Path) -> None:
    text = write(tmp_path / "a.jsonl", bad_share=0, odd_share=0).read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    whole = json.loads(write(tmp_path / "a.json", bad_share=0, odd_share=0).read_bytes())
    array = json.loads(write(tmp_path / "b.json", "json-array", bad_share=0, odd_share=0).read_bytes())
    assert whole == {"profileItems": lines}
    assert array == lines
    assert list(lines[0]) == [*FIELDS]


def test_a_workbook_has_text_cells_but_for_what_is_seeded_as_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xlsx", items=1_000)
    (_, *rows) = CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0).to_python()
    numbers = [tuple(i for i, cell in enumerate(row) if isinstance(cell, float)) for row in rows]
    assert {places for places in numbers if places} == {(0,), (1,), (2,)}


def test_parquet_and_arrow_have_columns_of_text(tmp_path: Path) -> None:
    schema = pa.schema([(name, pa.string()) for name in FIELDS])
    assert pq.read_schema(write(tmp_path / "a.parquet")) == schema
    with pa.ipc.open_file(write(tmp_path / "a.feather")) as file:
        assert file.schema == schema
        assert file.read_all().num_rows == 500


def test_parquet_has_row_groups_of_bounded_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", items=600_000, bad_share=0, odd_share=0)
    groups = pq.ParquetFile(path).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [262_144, 262_144, 75_712]


@pytest.mark.parametrize(("kind", "delimiter"), [("out", " "), ("out-bare", " "), ("out-comma", ",")])
def test_out_files_carry_keys_of_their_own_in_every_row(tmp_path: Path, kind: str, delimiter: str) -> None:
    text = write(tmp_path / "a.out", kind, bad_share=0).read_text("utf-8")
    head, _, rows = text.partition("/APN\n")
    assert head.splitlines()[-1].partition(":")[2].strip() == "ICCID/KI/PIN1/PUK1/EID/IMEI/AC"
    assert re.search(r"^Quantity *: +500$", head, re.MULTILINE)
    keys = [line.split(delimiter)[1:4] for line in rows.splitlines()]
    assert all(re.fullmatch(r"[0-9A-F]{32} [0-9]{4} [0-9]{8}", " ".join(three)) for three in keys)
    assert len({ki for ki, *_ in keys}) == len(keys) == 500


def test_a_wrong_quantity_is_one_too_many(tmp_path: Path) -> None:
    assert b"Quantity        : 501\n" in write(tmp_path / "a.out", wrong_quantity=True).read_bytes()


def test_only_an_inventory_with_oddities_begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert write(tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbficcid,")
    assert write(tmp_path / "a.csv", odd_share=0).read_bytes().startswith(b"iccid,")
