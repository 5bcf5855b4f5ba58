"""JSON inventories: an object a line, an array of objects, or an object that holds one as the vendor's API.

Runs of alike objects become columns at once, the others one by one; what is no object, or not like those at
the beginning, becomes a BrokenRow and harms no other. Key material (DESIGN invariant 8) is dropped here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from pipeline.errors import InventoryError
from pipeline.headers import is_key_material, kept_columns
from pipeline.model import BrokenRow, Chunk
from pipeline.sources.byte_stream import ByteStream
from pipeline.sources.json_columns import JsonColumns
from pipeline.sources.json_layout import layout_of
from pipeline.sources.json_text import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.files import InventoryFile
    from pipeline.model import Finding
    from pipeline.settings import Input
    from pipeline.sources.json_columns import Numbers
    from pipeline.sources.json_layout import Layout
    from pipeline.sources.json_text import Values

_SURELY = re.compile(rb'(?:\xef\xbb\xbf)?[ \t\r\n]*+(?:\{[ \t\r\n]*+["}]|\[[ \t\r\n]*+\{)')
_NAME_BACKWARDS = re.compile(r"[:=]\s*+[\"'\\]*+([\w .()-]{1,60})")  # else blanks would take their square
_MOST_COLUMNS = 2_000  # every column costs memory, whatever it holds
_CHUNK_ROWS = 60_000
_HEADER_BLOCK_BYTES = 500_000
_RAW_SHOWN = 1_000
_WITHHELD = "(withheld: the file has key columns)"


class JsonSource:
    """Objects, with their keys as columns: the keys of all objects in the first `header_bytes`.

    Holds a few times `block_bytes` + `row_bytes`, whatever the file's length. A row longer than
    `row_bytes` is broken, one with a key that is not in the header too. Raises InventoryError when the
    file cannot be opened, or has no object where the header is looked for.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".json", ".jsonl", ".ndjson")

    findings: tuple[Finding, ...] = ()

    def __init__(
        self,
        file: InventoryFile,
        settings: Input,
        /,
        *,
        block_bytes: int = 4_000_000,
        row_bytes: int = 1_000_000,
        header_bytes: int = 16_000_000,
    ) -> None:
        self._file, self._encoding = file, settings.encoding
        self._row_bytes = row_bytes
        with ByteStream(file, settings.encoding) as stream:
            self._layout = _read_layout(file.name, stream, row_bytes)
            self.bytes_total = stream.bytes_total
        self._names = self._read_names(header_bytes, settings)
        self._has_keys = any(map(is_key_material, self._names))
        self.header = tuple(self._names[i] for i in kept_columns(self._names))
        if not self.header:
            raise InventoryError(f"{file.name}: has only keys that are never kept; add the others")
        self._block_bytes = min(block_bytes, JsonColumns(self._names).block_bytes)

    @classmethod
    def recognises(cls, beginning: bytes) -> bool:
        """Tell whether text begins with an object, or an array of objects."""
        if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
            beginning = beginning.decode("utf-16", "ignore").encode("utf-8", "ignore")
        return _SURELY.match(beginning) is not None

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows in order, reading in the caller's thread; closing the iterator closes the file.

        Raises InventoryError when the file cannot be read on, after all the rows before that.
        """
        rows = 0
        columns = JsonColumns(self._names)
        taken: list[tuple[pa.RecordBatch, Numbers]] = []

        def take(text: bytes) -> int:
            if not (run := columns.of_run(text, row_bytes=self._row_bytes)):
                return 0
            taken.append(run[1:])
            return run[0]

        with ByteStream(self._file, self._encoding) as stream:
            try:
                for values in self._reading(stream, self._block_bytes).values(take):
                    if taken:
                        for batch, numbers in _slices(*taken.pop()):
                            positions = np.arange(rows + 1, rows + batch.num_rows + 1)
                            rows += batch.num_rows
                            yield Chunk(batch, pa.array(positions), (), rows, stream.bytes_read, numbers)
                    else:
                        chunk = self._chunk(values, columns, rows, stream.bytes_read)
                        rows = chunk.rows_read
                        yield chunk
            except InventoryError as error:
                raise InventoryError(f"{error} (after row {rows:,})") from None

    def _reading(self, stream: ByteStream, block_bytes: int) -> Reading:
        return Reading(
            self._file.name, stream, self._layout, block_bytes=block_bytes, row_bytes=self._row_bytes
        )

    def _chunk(self, values: Values, columns: JsonColumns, before: int, bytes_read: int) -> Chunk:
        rows: list[dict[str, Any]] = []
        positions: list[int] = []
        broken: list[BrokenRow] = []
        may_hold_surrogates = b"\\u" in values.text
        for position, value in enumerate(values.found, before + 1):
            row: dict[str, Any] | str = value.flaw
            if not row:
                row = columns.row_of(value.content, may_hold_surrogates=may_hold_surrogates)
            if isinstance(row, str):
                broken.append(BrokenRow(position, row, self._raw(values.text[value.start : value.end])))
            else:
                rows.append(row)
                positions.append(position)
        batch, numbers = columns.of_rows(rows)
        at = pa.array(positions, pa.int64())
        return Chunk(batch, at, tuple(broken), before + len(values.found), bytes_read, numbers)

    def _raw(self, text: bytes) -> str:
        """Show a row as it stood, unless there is key material in this file or this row."""
        raw = text.decode("utf-8", "backslashreplace").strip()
        names = {name[::-1] for name in _NAME_BACKWARDS.findall(raw[::-1])}
        if self._has_keys or any(map(is_key_material, names)):
            return _WITHHELD
        return raw if len(raw) <= _RAW_SHOWN else raw[:_RAW_SHOWN] + "…"

    def _read_names(self, header_bytes: int, settings: Input) -> tuple[str, ...]:
        """Collect the keys of the objects at the beginning, and those the job file names."""
        names: dict[str, Any] = {}
        columns = JsonColumns(())
        rows = read = 0

        def take(text: bytes) -> int:
            nonlocal rows, read
            run = columns.of_run(text, row_bytes=self._row_bytes) if names else None
            if not run:
                return 0
            read += run[0]
            rows += run[1].num_rows
            return run[0]

        with ByteStream(self._file, self._encoding) as stream:
            try:
                for values in self._reading(stream, _HEADER_BLOCK_BYTES).values(take):
                    for value in values.found:
                        names.update(value.content)
                    if values.found:
                        columns = JsonColumns(tuple(filter(_is_text, names)))
                        columns.learn([dict(value.content) for value in values.found])
                        rows += len(values.found)
                        read += values.found[-1].end - values.found[0].start
                    if read >= header_bytes or len(names) > _MOST_COLUMNS:
                        break
            except InventoryError as error:
                raise InventoryError(f"{error} (after row {rows:,})") from None
        if len(names) > _MOST_COLUMNS:
            raise InventoryError(
                f"{self._file.name}: has more than {_MOST_COLUMNS:,} different keys; is it an inventory?"
            )
        found = tuple(name for name in names if _is_text(name))
        if not found:
            raise InventoryError(
                f"{self._file.name}: has no JSON object with keys; an object a row is expected"
            )
        return (*found, *(name for name in dict.fromkeys(settings.columns.values()) if name not in names))


def _slices(batch: pa.RecordBatch, numbers: Numbers) -> Iterator[tuple[pa.RecordBatch, Numbers]]:
    for start in range(0, batch.num_rows, _CHUNK_ROWS):
        part = {index: column.slice(start, _CHUNK_ROWS) for index, column in numbers.items()}
        yield batch.slice(start, _CHUNK_ROWS), part


def _read_layout(name: str, stream: ByteStream, row_bytes: int) -> Layout:
    text = b""
    try:
        while len(text) <= row_bytes and (piece := stream.read(row_bytes)):
            text += piece
    except InventoryError:
        if not text:
            raise
    if not text.strip():
        raise InventoryError(f"{name}: holds only blank lines; an object a row is expected")
    return layout_of(name, text)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
