"""Parquet inventories, read by a process of their own: some damage makes pyarrow abort its process.

Here stands what is done on our side; parquet_rows.py reads.
"""

from __future__ import annotations

import struct
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from pipeline.errors import InventoryError
from pipeline.files import seekable, words_of
from pipeline.model import Chunk
from pipeline.sources.parquet_channel import schema_of
from pipeline.sources.parquet_process import answers
from pipeline.sources.typed_columns import DAMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from pipeline.files import InventoryFile
    from pipeline.model import Finding
    from pipeline.settings import Input
    from pipeline.sources.parquet_channel import Line

_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_TAIL_BYTES = 8
_FOOTER_BYTES = 64_000_000


class ParquetSource:
    """A Parquet file, its columns of any type but unions and views of lists.

    Holds about 65,000 rows; the process that reads it holds these too, and the largest page of each kept
    column, at most 2 GB together. Raises InventoryError when the file cannot be opened or has no columns.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    findings: tuple[Finding, ...] = ()

    def __init__(self, file: InventoryFile, _settings: Input, /) -> None:
        self._file = file
        self.bytes_total = file.bytes_total
        with self._opened() as content:
            ((told, _),) = answers(file.name, content, bytes_total=self.bytes_total)
        self.header = told.header

    @classmethod
    def recognises(cls, beginning: bytes) -> bool:
        """Tell a Parquet file by its first four bytes."""
        return beginning.startswith((_MAGIC, _ENCRYPTED))

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows in order, reading in the caller's thread; closing the iterator closes the file.

        Raises InventoryError when the file cannot be read on, after the batches before that, or holds fewer
        rows than it says.
        """
        with self._opened() as content:
            told = answers(self._file.name, content, bytes_total=self.bytes_total, header=self.header)
            with closing(told):
                for line, columns in told:
                    if line.bytes:
                        yield self._chunk(line, columns)

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        with seekable(self._file) as content:
            _require_sound_end(self._file.name, content)
            yield content

    def _chunk(self, line: Line, columns: pa.Buffer) -> Chunk:
        """Make a chunk of what a process told that may have lost its way in a damaged file."""
        try:
            batch = pa.ipc.read_record_batch(columns, schema_of(len(self.header), line.numbers))
            batch.validate(full=True)
        except DAMAGE as error:
            raise InventoryError(
                f"{self._file.name}: is damaged: {words_of(error)}; fetch it again"
            ) from None
        positions, *cells = batch.columns
        texts, marks = cells[: len(self.header)], cells[len(self.header) :]
        rows = pa.record_batch(texts, names=[str(column) for column in range(len(texts))])
        numbers = dict(zip(line.numbers, marks, strict=True))
        return Chunk(rows, positions, line.broken, line.rows_read, line.bytes_read, numbers)


def _require_sound_end(name: str, content: BinaryIO) -> None:
    """Look at the last bytes before anybody believes them. Raises InventoryError."""
    size = content.seek(0, 2)
    content.seek(max(0, size - _TAIL_BYTES))
    tail = content.read(_TAIL_BYTES)
    content.seek(0)
    if tail.endswith(_ENCRYPTED):
        raise InventoryError(f"{name}: is encrypted; decrypt it first")
    if not tail.endswith(_MAGIC) or size < _TAIL_BYTES + len(_MAGIC):
        raise InventoryError(f"{name}: is no Parquet file, or cut off; fetch it again")
    footer = struct.unpack("<I", tail[:4])[0]
    if footer > _FOOTER_BYTES:
        raise InventoryError(f"{name}: its footer has {footer:,} bytes; at most {_FOOTER_BYTES:,} are read")
