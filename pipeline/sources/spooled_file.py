"""What a pipe gave, written down for a run to read again: chunks as their source made them, without keys.

After a mark come frames, each with its length and checksum: the head; of each chunk what stands beside its
rows, and its rows as Arrow columns; an empty one at the end.
"""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, ClassVar

import msgspec
import numpy as np
import pyarrow as pa

from pipeline.errors import InventoryError
from pipeline.files import words_of
from pipeline.model import BrokenRow, Chunk, Finding
from pipeline.sources.arrow_messages import MOST_BYTES, Messages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from pipeline.contracts import Source
    from pipeline.files import InventoryFile
    from pipeline.settings import Input

_MARK = b"simlift spool 1\n"
_FRAME = struct.Struct("<QI")  # length, CRC-32
_POSITION, _NUMBERS = "position", "numbers "
_DAMAGE = (
    *(pa.ArrowException, msgspec.MsgspecError, OSError, ValueError, LookupError, StopIteration),
    *(OverflowError, RecursionError),
)


class _Head(msgspec.Struct):
    header: tuple[str, ...]
    findings: tuple[Finding, ...]
    origin: str


class _Beside(msgspec.Struct):
    """What stands beside the rows of a chunk; `numbers` names the columns that tell which cells were some."""

    rows_read: int
    numbers: tuple[int, ...]
    broken: tuple[BrokenRow, ...]


class SpooledSource:
    """A spool: it gives the header, the findings and the chunks of the source that it was written from.

    Holds one chunk. `origin` is what the spool was told to remember of where it came from. Raises
    InventoryError when the spool cannot be opened.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".spooled",)

    def __init__(self, file: InventoryFile, _settings: Input, /) -> None:
        self._file = file
        self.bytes_total = file.bytes_total
        with closing(file.open()) as content:
            try:
                head = _read_head(content)
            except _DAMAGE as error:
                raise InventoryError(f"{file.name}: is no sound spool: {words_of(error)}") from None
        self.header, self.findings, self.origin = head.header, head.findings, head.origin

    @classmethod
    def recognises(cls, beginning: bytes) -> bool:
        """Tell a spool by its mark."""
        return beginning.startswith(_MARK)

    @staticmethod
    def write(source: Source, file: BinaryIO, origin: str) -> int:
        """Write a spool of all that a source gives; give back how many rows that is.

        Raises InventoryError when the source cannot be read to its end, OSError when the file cannot be
        written.
        """
        file.write(_MARK)
        _write_frame(file, msgspec.json.encode(_Head(source.header, source.findings, origin)))
        rows = 0
        for chunk in source.chunks():
            rows = chunk.rows_read
            beside = _Beside(rows, tuple(chunk.numbers), chunk.broken)
            _write_frame(file, msgspec.json.encode(beside))
            _write_frame(file, _packed(chunk))
        _write_frame(file, b"")
        return rows

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows in order, reading in the caller's thread; closing the iterator closes the file.

        Raises InventoryError for a spool that is damaged or cut off, after all the rows before that.
        """
        rows = 0
        with closing(self._file.open()) as content:
            try:
                _read_head(content)
                while frame := _read_frame(content):
                    beside = msgspec.json.decode(frame, type=_Beside)
                    batch = _unpacked(_read_frame(content), len(self.header), beside.numbers)
                    chunk = _chunk(batch, len(self.header), beside, content.tell())
                    _require_each_once(chunk, rows)
                    rows = chunk.rows_read
                    yield chunk
            except _DAMAGE as error:
                raise InventoryError(
                    f"{self._file.name}: the spool is damaged: {words_of(error)} (after row {rows:,})"
                ) from None


def _chunk(batch: pa.RecordBatch, columns: int, beside: _Beside, bytes_read: int) -> Chunk:
    return Chunk(
        batch.select(range(columns)),
        batch.column(_POSITION),
        beside.broken,
        beside.rows_read,
        bytes_read,
        {index: batch.column(f"{_NUMBERS}{index}") for index in beside.numbers},
    )


def _require_each_once(chunk: Chunk, before: int) -> None:
    """Require what the books rest on: that the rows follow one another. Raises one of _DAMAGE."""
    broken = np.array([row.position for row in chunk.broken], np.int64)
    whole = np.asarray(chunk.positions)
    in_order = len(whole) + len(broken) == chunk.rows_read - before and (np.diff(broken) > 0).all()
    if len(broken):
        whole = np.insert(whole, np.searchsorted(whole, broken), broken)
    if not in_order or not np.array_equal(whole, np.arange(before + 1, chunk.rows_read + 1)):
        raise ValueError("its rows do not follow one another")


def _schema(columns: int, numbers: tuple[int, ...]) -> pa.Schema:
    return pa.schema(
        [
            *((str(index), pa.string()) for index in range(columns)),
            (_POSITION, pa.int64()),
            *((f"{_NUMBERS}{index}", pa.bool_()) for index in numbers),
        ]
    )


def _packed(chunk: Chunk) -> memoryview:
    """Give the columns of a chunk as an Arrow stream of its own."""
    schema = _schema(chunk.rows.num_columns, tuple(chunk.numbers))
    columns = [*chunk.rows.columns, chunk.positions, *chunk.numbers.values()]
    packed = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(packed, schema, options=options) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    return memoryview(packed.getvalue())


def _unpacked(frame: bytes, columns: int, numbers: tuple[int, ...]) -> pa.RecordBatch:
    """Read the columns of a chunk. Raises one of _DAMAGE."""
    with pa.ipc.open_stream(pa.PythonFile(Messages(io.BytesIO(frame)), mode="r")) as reader:
        batch = reader.read_next_batch()
    if batch.schema != _schema(columns, numbers) or not set(numbers) <= set(range(columns)):
        raise ValueError("it has other columns than it says")
    batch.validate(full=True)
    if any(column.null_count for column in batch.columns):
        raise ValueError("it has cells without text")
    return batch


def _write_frame(file: BinaryIO, content: bytes | memoryview) -> None:
    file.write(_FRAME.pack(len(content), zlib.crc32(content)))
    file.write(content)


def _read_head(content: BinaryIO) -> _Head:
    """Read up to where the chunks begin. Raises one of _DAMAGE."""
    if content.read(len(_MARK)) != _MARK:
        raise ValueError("it begins as none")
    head = msgspec.json.decode(_read_frame(content), type=_Head)
    if not head.header:
        raise ValueError("it has no columns")
    return head


def _read_frame(content: BinaryIO) -> bytes:
    """Give what is in the next frame. Raises OSError, ValueError."""
    start = content.read(_FRAME.size)
    if len(start) == _FRAME.size:
        size, checksum = _FRAME.unpack(start)
        if size > MOST_BYTES:
            raise ValueError(f"a frame says that it has {size:,} bytes")
        frame = content.read(size)
        if len(frame) == size:
            if zlib.crc32(frame) != checksum:
                raise ValueError("a checksum is wrong")
            return frame
    raise ValueError("it is cut off")
