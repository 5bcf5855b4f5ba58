"""The rows of a Parquet file by pyarrow, which ends its process on some damaged files: see parquet_reader.py.

The kept columns alone, a bounded number of rows at a time: a row group may be of any size and is never read
as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from pipeline.errors import InventoryError
from pipeline.files import words_of
from pipeline.sources.typed_columns import CHUNK_ROWS, DAMAGE, chunks_of, kept_of, sound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    import pyarrow as pa

    from pipeline.model import Chunk

_FOOTER_BYTES = 64_000_000
_MOST_CELLS = 3_000_000
_BUFFER_BYTES = 1_000_000
_ROWS_PER_BYTE = 100  # no file of identifiers packs them closer
_ROWS_ALWAYS = 1_000_000


class ParquetRows:
    """A Parquet file that is open, called `name` in messages; `header` are the columns that are kept.

    Raises InventoryError when it is damaged or has none.
    """

    def __init__(self, name: str, content: BinaryIO) -> None:
        self._name = name
        try:
            self._parquet = pq.ParquetFile(
                content,
                pre_buffer=False,
                buffer_size=_BUFFER_BYTES,
                thrift_string_size_limit=_FOOTER_BYTES,
                thrift_container_size_limit=1_000_000,
            )
            schema = self._parquet.schema_arrow
            names = schema.names
        except DAMAGE as error:
            raise InventoryError(
                f"{name}: is no sound Parquet file: {words_of(error)}; fetch it again"
            ) from None
        self._kept, self.header = kept_of(name, schema)
        # A dot in a name would mean what is nested in a column.
        can_choose = len(set(names)) == len(names) and not any("." in name for name in names)
        self._chosen = list(self.header) if can_choose else None
        self._expected: int = self._parquet.metadata.num_rows
        size = content.seek(0, 2)
        if not 0 <= self._expected <= _ROWS_ALWAYS + _ROWS_PER_BYTE * size:
            raise InventoryError(
                f"{name}: is damaged: says that it has {self._expected:,} rows in {size:,} bytes; fetch it "
                "again"
            )

    def chunks(self, header: Sequence[str], bytes_total: int) -> Iterator[Chunk]:
        """Yield the rows in order; `bytes_total` is the size of the file as it lies there.

        Raises InventoryError when the file has not the columns of `header` any more, cannot be read on, after
        the batches before that, or holds more or fewer rows than it says.
        """
        if self.header != tuple(header):
            raise InventoryError(f"{self._name}: its columns changed while it was read; start again")
        rows = 0
        try:
            for batch in self._batches():
                if rows + batch.num_rows > self._expected:
                    raise self._miscounted(rows)
                columns = sound(batch if self._chosen else batch.select(self._kept))
                bytes_read = bytes_total * (rows + batch.num_rows) // max(1, self._expected)
                for chunk in chunks_of(columns, self.header, rows_before=rows, bytes_read=bytes_read):
                    rows = chunk.rows_read
                    yield chunk
        except MemoryError:
            raise InventoryError(
                f"{self._name}: is damaged, or written in too large pages: takes too much memory; fetch it "
                f"again, or write pages of some MB (after row {rows:,})"
            ) from None
        except DAMAGE as error:
            raise InventoryError(
                f"{self._name}: is damaged: {words_of(error)}; fetch it again (after row {rows:,})"
            ) from None
        if rows != self._expected:
            raise self._miscounted(rows)

    def _miscounted(self, rows: int) -> InventoryError:
        return InventoryError(
            f"{self._name}: is damaged: says that it has {self._expected:,} rows; fetch it again "
            f"(after row {rows:,})"
        )

    def _batches(self) -> Iterator[pa.RecordBatch]:
        batches: Iterator[pa.RecordBatch] = self._parquet.iter_batches(
            batch_size=max(1, min(CHUNK_ROWS, _MOST_CELLS // len(self._kept))),
            columns=self._chosen,
            use_threads=False,
        )
        return batches
