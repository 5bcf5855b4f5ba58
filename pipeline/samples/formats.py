"""The formats of a sample: by which names they go, what each can express, and how a file is opened."""

from __future__ import annotations

import gzip
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.samples.defects import Can
from pipeline.samples.out_format import opened_out, opened_out_bare, opened_out_comma
from pipeline.samples.text_formats import (
    opened_csv,
    opened_json_array,
    opened_json_lines,
    opened_json_object,
)
from pipeline.samples.typed_formats import SHEET_ROWS, opened_arrow, opened_parquet, opened_workbook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pipeline.samples.writer import Asked, Writer

_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}


@dataclass(frozen=True, slots=True)
class Format:
    """One format: names that end so are meant for it, this it can express, so a file of it is written."""

    suffixes: tuple[str, ...]
    can: frozenset[Can]
    opened: Callable[[BinaryIO, Asked], AbstractContextManager[Writer]]
    most_rows: int | None = None


_JSON = frozenset({Can.BYTES, Can.NUMBERS, Can.BLANKS, Can.MARK})
_CSV = frozenset({Can.SHORT_ROWS, Can.LONG_ROWS, Can.BYTES, Can.BLANKS, Can.MARK})
_OUT = (_CSV | {Can.QUANTITY}) - {Can.BLANKS}
_TYPED = frozenset({Can.BYTES, Can.BLANKS})
_SHEET = frozenset({Can.LONG_ROWS, Can.NUMBERS, Can.BLANKS})

FORMATS = {
    "csv": Format((".csv", ".txt"), _CSV, opened_csv),
    "jsonl": Format((".jsonl", ".ndjson"), _JSON, opened_json_lines),
    "json": Format((".json",), _JSON, opened_json_object),
    "json-array": Format((), _JSON, opened_json_array),
    "out": Format((".out",), _OUT, opened_out),
    "out-bare": Format((), _OUT, opened_out_bare),
    "out-comma": Format((), _OUT | {Can.BLANKS}, opened_out_comma),
    "parquet": Format((".parquet",), _TYPED, opened_parquet),
    "arrow": Format((".arrow", ".feather", ".ipc"), _TYPED, opened_arrow),
    "xlsx": Format((".xlsx",), _SHEET, opened_workbook, SHEET_ROWS - 1),
}


def format_of(path: Path, name: str, rows: int) -> Format:
    """Choose the format by its name, else by how the file's name ends.

    Raises UsageError where neither tells, and for more rows than the format holds.
    """
    suffix = (path.with_suffix("") if path.suffix in _COMPRESSIONS else path).suffix.lower()
    by_suffix = next((known for known, found in FORMATS.items() if suffix in found.suffixes), "")
    chosen = name or by_suffix
    if chosen not in FORMATS:
        what = f"there is no format {name!r}" if name else f"the name {path.name!r} tells no format"
        raise UsageError(f"sample: {what}; known are {', '.join(FORMATS)}")
    found = FORMATS[chosen]
    if found.most_rows is not None and rows > found.most_rows:
        raise UsageError(
            f"sample: a sheet holds {found.most_rows:,} rows, not {rows:,}; write fewer, or another format"
        )
    return found


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file to be written, compressed where its name ends in .gz, .zst or .bz2. Raises OSError."""
    compression = _COMPRESSIONS.get(path.suffix)
    with path.open("wb") as file:
        if compression is None:
            yield file
        elif compression == "gzip":
            # Neither name nor time in the gzip header: the same arguments give the same bytes.
            with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as compressed:
                yield cast("BinaryIO", compressed)
        else:
            with pa.CompressedOutputStream(file, compression) as compressed:
                yield compressed
