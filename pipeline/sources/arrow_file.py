"""Arrow IPC inventories: files (also called Feather), and streams, a record batch at a time.

A file is read as the stream that it contains, from its beginning; its end is looked at only to tell whether
it is whole.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from pipeline.errors import InventoryError
from pipeline.files import seekable, words_of
from pipeline.sources.arrow_messages import Messages
from pipeline.sources.typed_columns import DAMAGE, chunks_of, kept_of, sound

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from pipeline.files import InventoryFile
    from pipeline.model import Chunk, Finding
    from pipeline.settings import Input

_FILE, _OLD_FEATHER, _STREAM = b"ARROW1", b"FEA1", b"\xff\xff\xff\xff"
_FILE_HEAD_BYTES = 8


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file that is being read: its batches, the messages they come from, how far and how large it is."""

    batches: Any
    messages: Messages
    content: BinaryIO
    size: int

    def share(self, bytes_total: int) -> int:
        """Give how far it has been read, as a part of these bytes."""
        return bytes_total * min(self.content.tell(), self.size) // max(1, self.size)


class ArrowSource:
    """An Arrow IPC file or stream, its columns of any type but unions and views of lists.

    Holds one record batch as it was written, at most 1 GB. Raises InventoryError when the file cannot be
    opened or has no columns.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".arrow", ".feather", ".ipc", ".arrows")

    findings: tuple[Finding, ...] = ()

    def __init__(self, file: InventoryFile, _settings: Input, /) -> None:
        self._file = file
        self.bytes_total = file.bytes_total
        self._kept: list[int] = []
        with self._opened() as opened:
            self._kept, self.header = kept_of(file.name, opened.batches.schema)

    @classmethod
    def recognises(cls, beginning: bytes) -> bool:
        """Tell a file by its mark, a stream by how its first message begins."""
        return beginning.startswith((_FILE, _OLD_FEATHER, _STREAM))

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows in order, reading in the caller's thread; closing the iterator closes the file.

        Raises InventoryError when the file cannot be read on, or has no end, after all the rows before that.
        """
        rows = 0
        with self._opened() as opened:
            try:
                for batch in opened.batches:
                    bytes_read = opened.share(self.bytes_total)
                    for chunk in chunks_of(
                        sound(batch), self.header, rows_before=rows, bytes_read=bytes_read
                    ):
                        rows = chunk.rows_read
                        yield chunk
            except DAMAGE as error:
                raise InventoryError(
                    f"{self._file.name}: cannot be read on: {words_of(error)} (after row {rows:,})"
                ) from None
        if not opened.messages.ended:
            raise InventoryError(f"{self._file.name}: has no end; fetch it again (after row {rows:,})")

    @contextmanager
    def _opened(self) -> Iterator[_Opened]:
        with seekable(self._file) as content:
            size = self._to_stream(content)
            messages = Messages(content)
            try:
                batches = pa.ipc.open_stream(
                    pa.PythonFile(messages, mode="r"),
                    options=pa.ipc.IpcReadOptions(included_fields=self._kept or None),
                )
            except DAMAGE as error:
                raise InventoryError(
                    f"{self._file.name}: is no sound Arrow file: {words_of(error)}; fetch it again"
                ) from None
            yield _Opened(batches, messages, content, size)

    def _to_stream(self, content: BinaryIO) -> int:
        """Go to where the stream begins; give the file's size. Raises InventoryError."""
        head = content.read(_FILE_HEAD_BYTES)
        size = content.seek(0, 2)
        if head.startswith(_OLD_FEATHER):
            raise InventoryError(
                f"{self._file.name}: is Feather version 1; write it as version 2 (Arrow IPC)"
            )
        is_file = head.startswith(_FILE)
        if is_file:
            content.seek(max(0, size - len(_FILE)))
            if size < _FILE_HEAD_BYTES + len(_FILE) or content.read() != _FILE:
                raise InventoryError(f"{self._file.name}: is cut off; fetch it again")
        content.seek(_FILE_HEAD_BYTES if is_file else 0)
        return size
