"""How the process that reads Parquet and its parent speak: lines of JSON, some with bytes after them.

To a Request the process answers with Lines, the `last` of which ends the answer. It holds no descriptor of
the file: in between it asks for the parts that it needs, and each is sent to it at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import pyarrow as pa

from pipeline.model import BrokenRow  # noqa: TC001 - msgspec looks it up at run time

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Size = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]  # a chunk has some 64 MB
_MOST_LINE_BYTES = 1_000_000_000  # the broken rows of a chunk

T = TypeVar("T", "Request", "Line")


class Request(msgspec.Struct, frozen=True):
    """To read the file called `name` in messages: its rows if its `header` is known, else that.

    Its content has `size` bytes, and `bytes_total` as it lies there.
    """

    name: str
    size: Count
    bytes_total: Count
    header: tuple[str, ...] | None
    bytes: Size = 0


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is told at once; `bytes` is how many follow it.

    Either a question for at most `most` bytes of the file from `part_at` on, or the answer to it; the kept
    columns; a chunk, whose columns follow; or why the file cannot be read (on).
    """

    bytes: Size = 0
    part_at: Count | None = None
    most: Count = 0
    header: tuple[str, ...] = ()
    rows_read: Count = 0
    bytes_read: Count = 0
    numbers: tuple[Count, ...] = ()
    broken: tuple[BrokenRow, ...] = ()
    error: str = ""
    last: bool = False


def schema_of(columns: int, numbers: Iterable[int]) -> pa.Schema:
    """Give what follows the line of a chunk: a record batch of positions, texts, and marks of numbers."""
    texts = ((str(column), pa.string()) for column in range(columns))
    marks = ((f"number {column}", pa.bool_()) for column in numbers)
    return pa.schema([("position", pa.int64()), *texts, *marks])


class Channel:
    """One end of the socket between them. Every method raises ConnectionError when the other end is gone."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._incoming = end.makefile("rb")

    def send(self, line: Request | Line, following: bytes | pa.Buffer = b"") -> None:
        """Send a line and the bytes that follow it."""
        self._end.sendall(msgspec.json.encode(line) + b"\n")
        self._end.sendall(following)

    def receive(self, kind: type[T]) -> tuple[T, pa.Buffer]:
        """Wait for a line and the bytes that follow it; one that is none counts as the other's end."""
        try:
            line = msgspec.json.decode(self._incoming.readline(_MOST_LINE_BYTES), type=kind)
        except msgspec.MsgspecError:
            raise ConnectionResetError from None
        following = pa.allocate_buffer(line.bytes)
        if self._incoming.readinto(memoryview(following)) < line.bytes:
            raise ConnectionResetError
        return line, following

    def close(self) -> None:
        """Let go of it."""
        self._incoming.close()
        self._end.close()
