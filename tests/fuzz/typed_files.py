"""Good files of the formats whose cells have types: Arrow, Parquet, XLSX, and spools."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import uuid
from itertools import product
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from file_in_memory import FileInMemory
from text_files import csv_files, json_files, out_files, sample
from workbooks import raw_workbook, text_row, workbook

from pipeline.settings import Input
from pipeline.sources.csv_file import CsvSource
from pipeline.sources.json_file import JsonSource
from pipeline.sources.out_file import OutSource
from pipeline.sources.spooled_file import SpooledSource
from pipeline.sources.xlsx_file import XlsxSource

_N = 24
_MOST_ROWS_AT_ONCE = 10


def _tables() -> dict[str, pa.Table]:
    """Give tables with columns of every type that there is, by what of them is hard to write as Parquet."""
    iccids = [f"893571100100000{n:04}" for n in range(_N)]
    thirds = _N // 3
    tables = {
        "text": pa.table(
            {
                "iccid": iccids,
                "ac": [None if n % 3 else f"LPA:1$smdp.example$M-{n}" for n in range(_N)],
                "Ki": ["A5EC2E7A5EC2E7A5"] * _N,
                "imei": pa.array(range(_N), pa.int64()),
            }
        ),
        "types": pa.table(
            {
                "i": pa.array(range(_N), pa.int8()),
                "u": pa.array(range(_N), pa.uint64()),
                "f": [n / 3 for n in range(_N)],
                "b": [n % 2 == 0 for n in range(_N)],
                "d": pa.array([decimal.Decimal(n) for n in range(_N)], pa.decimal128(20, 2)),
                "at": pa.array(range(_N), pa.timestamp("us", tz="Europe/Berlin")),
                "then": pa.array(range(_N), pa.timestamp("ns")),
                "day": pa.array([dt.date(2024, 1, 1)] * _N),
                "t": pa.array(range(_N), pa.time64("us")),
                "bytes": [b"x%d\xff" % n if n % 5 == 0 else b"x" for n in range(_N)],
                "four": pa.array([b"abcd"] * _N, pa.binary(4)),
                "none": pa.nulls(_N),
            }
        ),
        "nested": pa.table(
            {
                "l": [[1, 2], None, []] * thirds,
                "s": [{"a": 1, "ki": "z"}, None, {"a": 3, "ki": None}] * thirds,
                "ls": [[{"x": "p", "y": [1]}], None, []] * thirds,
                "m": pa.array([[("k", "v")], None, []] * thirds, pa.map_(pa.string(), pa.string())),
                "fl": pa.array([[1, 2], None, [3, 4]] * thirds, pa.list_(pa.int16(), 2)),
                "ll": pa.array([[1], None, [3, 4]] * thirds, pa.large_list(pa.int16())),
            }
        ),
        "encoded": pa.table(
            {
                "iccid": pa.array(iccids).dictionary_encode(),
                "n": pa.array([1, 2, None] * thirds).dictionary_encode(),
                "long": pa.array(["a"] * _N, pa.large_string()),
            }
        ),
    }
    return tables | {
        "wide": pa.table({f"c{n}": ["1", "2"] for n in range(40)}),
        "empty": tables["text"].slice(0, 0),
    }


def _only_arrow() -> dict[str, pa.Table]:
    """Give tables of types that Parquet lacks or stores as others."""
    views = ["view", None, "a view that is longer than twelve"] * (_N // 3)
    dictionary = pa.dictionary(pa.int8(), pa.string())
    return {
        "views": pa.table(
            {"v": pa.array(views, pa.string_view()), "w": pa.array([b"\xff"] * _N, pa.binary_view())}
        ),
        "runs": pa.table(
            {
                "r": pc.run_end_encode(pa.array(["x"] * 9 + [None] * (_N - 9))),
                "n": pc.run_end_encode(pa.array([7] * _N)),
            }
        ),
        "more": pa.table(
            {
                "id": pa.array([uuid.UUID(int=n).bytes for n in range(_N)], pa.uuid()),
                "every": pa.array([(1, 2, 3)] * _N, pa.month_day_nano_interval()),
                "half": pa.array([1.5] * _N, pa.float16()),
                "for": pa.array(range(_N), pa.duration("s")),
                "d256": pa.array([decimal.Decimal(n) for n in range(_N)], pa.decimal256(50, 2)),
                "sd": pa.array([{"d": "x"}] * _N, pa.struct([("d", dictionary)])),
                "ld": pa.array([["x"]] * _N, pa.list_(dictionary)),
            }
        ),
    }


def arrow_files() -> list[bytes]:
    """Give files and streams, plain and compressed, of now and of before 2020."""
    tables = (_tables() | _only_arrow()).values()
    writers = (pa.ipc.new_file, pa.ipc.new_stream)
    ways: list[dict[str, Any]] = [
        *({}, {"compression": "lz4"}, {"compression": "zstd"}, {"use_legacy_format": True}),
    ]
    files = [_arrow(write, table, **way) for table, write, way in product(tables, writers, ways)]
    return [*files, sample("arrow", ".arrow")]


def _arrow(write: Any, table: pa.Table, **more: Any) -> bytes:
    file = io.BytesIO()
    with write(file, table.schema, options=pa.ipc.IpcWriteOptions(**more)) as writer:
        writer.write_table(table, max_chunksize=_MOST_ROWS_AT_ONCE)
    return file.getvalue()


def parquet_files() -> list[bytes]:
    """Give both versions of pages, every compression and encoding, several row groups and pages."""
    ways: list[dict[str, Any]] = [
        {"compression": name} for name in ("none", "snappy", "zstd", "gzip", "lz4", "brotli")
    ]
    ways += [
        {"compression": "none", "data_page_version": "2.0", "use_dictionary": False},
        {"row_group_size": 7, "data_page_size": 64, "write_page_index": True, "store_schema": False},
        {"compression": "none", "write_page_checksum": True, "use_dictionary": False},
    ]
    files = [_parquet(table, **way) for table in _tables().values() for way in ways]
    texts = _tables()["text"]
    for encoding in ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"):
        told = dict.fromkeys(("iccid", "ac", "Ki"), encoding) | {"imei": "DELTA_BINARY_PACKED"}
        files.append(_parquet(texts, use_dictionary=False, column_encoding=told, compression="none"))
    return [*files, sample("parquet", ".parquet")]


def _parquet(table: pa.Table, **more: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **more)
    return file.getvalue()


def xlsx_files() -> list[bytes]:
    """Give workbooks: as Excel writes them, and with all that the format allows in a sheet."""
    names, row = ("iccid", "eid", "note"), ("8935711000000000007", "89049032123451234558290000000001", "x")
    when = dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC).replace(tzinfo=None)
    styles = (
        '<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><numFmts><numFmt '
        'numFmtId="170" formatCode="yyyy-mm-dd"/></numFmts><cellXfs><xf numFmtId="0"/><xf numFmtId="46"/>'
        '<xf numFmtId="170"/></cellXfs></styleSheet>'
    )
    cells = (
        '<row r="3"><c r="A3" t="s"><v>0</v></c><c r="B3" s="1"><v>1.5</v></c><c r="C3" t="e"><v>#N/A</v>'
        "</c></row>"
        '<row r="4" spans="1:3"><c r="A4" s="2"><v>45000.25</v></c><c r="B4" t="b"><v>1</v></c><c r="C4" '
        't="str">'
        '<f>A1</f><v>x_x000D_</v></c></row><row><c><v>8935711000000000007</v></c><c t="d">'
        '<v>2024-01-01T00:00:00</v></c></row><row r="9"><c r="C9" s="1"/></row>'
    )
    strings = (
        '<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>a</t></si><si><r>'
        "<t>b</t></r></si></sst>"
    )
    kinds = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    of = {"worksheet": "worksheets/sheet1", "sharedStrings": "sharedStrings", "styles": "styles"}
    relations = "".join(
        f'<Relationship Id="rId{number}" Type="{kinds}/{kind}" Target="{part}.xml"/>'
        for number, (kind, part) in enumerate(of.items(), 1)
    )
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    relations = f'<Relationships xmlns="{package}">{relations}</Relationships>'
    raw = raw_workbook(
        text_row(1, *names) + text_row(2, *row) + cells,
        **{"xl/styles.xml": styles, "xl/sharedStrings.xml": strings},
    )
    failures = (*names, "simlift_status", "simlift_code", "simlift_reason")
    return [
        raw,
        workbook(("S", [names, row, (1, 2.5, True), (None, when, "=1")])),
        workbook(
            ("Title", [("About",)]),
            ("S", [("My list",), (), names, row, row]),
            ("T", [names, row]),
            hidden=("T",),
        ),
        workbook(
            ("a", [failures, (*row, "rejected", "x", "y")]), ("b", [failures, (*row, "rejected", "x", "y")])
        ),
        workbook(
            ("S", [(*names, "Ki"), (*row, "A5EC2E7A5EC2E7A5"), (*row, "k", "a cell too many")]),
            constant_memory=True,
        ),
        sample("xlsx", ".xlsx"),
    ]


def spooled_files() -> list[bytes]:
    """Give spools of files of other formats, with broken rows, findings and marks of numbers."""
    told = [
        *((CsvSource, content) for content in csv_files()),
        *((JsonSource, content) for content in json_files()),
        *((OutSource, content) for content in out_files()),
        *((XlsxSource, content) for content in xlsx_files()),
    ]
    spools = []
    for kind, content in told:
        file = io.BytesIO()
        try:
            SpooledSource.write(kind(FileInMemory(content), Input()), file, "origin")
        except Exception:  # noqa: BLE001, S112 - some good files of a fuzzer are not that good
            continue
        spools.append(file.getvalue())
    return spools
