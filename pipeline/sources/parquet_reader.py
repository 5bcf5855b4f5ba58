"""The program that reads Parquet in a process of its own, with bounds on its time and memory.

    python -m pipeline.sources.parquet_reader SOCKET

It reads one file after the other for its parent, at the other end of the socket, and ends with it. A damaged
file may end it too: that is what it is for.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import socket
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, cast

import pyarrow as pa

from pipeline.errors import InventoryError
from pipeline.sources.parquet_channel import Channel, Line, Request, schema_of
from pipeline.sources.parquet_rows import ParquetRows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.model import Chunk

_MOST_MEMORY_BYTES = 2_000_000_000
_LONGEST_S = 60.0  # for a chunk, which takes some hundredths


def main() -> None:
    """Answer requests until the parent is gone, or has closed its end of the socket."""
    _bound(resource.RLIMIT_CORE, 1)  # one byte is too little for a file, and a program gets none (coredump.c)
    _bound(resource.RLIMIT_AS, _MOST_MEMORY_BYTES)
    parent = Channel(socket.socket(fileno=int(sys.argv[1])))
    with suppress(ConnectionError):
        parent.send(Line(last=True))
        while True:
            request, _ = parent.receive(Request)
            with _bounded_time():
                last = _answer(request, parent)
            parent.send(last)


def _bound(what: int, most: int) -> None:
    """Lower a limit of this process; one that is lower already stays."""
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(what, (most, most))


@contextmanager
def _bounded_time() -> Iterator[None]:
    # Nobody handles the signal: the system ends this process, whatever it is lost in.
    signal.setitimer(signal.ITIMER_REAL, _LONGEST_S)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def _time_held() -> Iterator[None]:
    """While the parent is waited for, which may take its time."""
    left_s, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    yield
    signal.setitimer(signal.ITIMER_REAL, left_s)


def _answer(request: Request, parent: Channel) -> Line:
    """Tell all that was asked but the last line, which is given back."""
    try:
        file = ParquetRows(request.name, cast("BinaryIO", _Content(parent, request.size)))
        if request.header is None:
            return Line(header=file.header, last=True)
        for chunk in file.chunks(request.header, request.bytes_total):
            line, columns = _told(chunk)
            with _time_held():
                parent.send(line, columns)
            signal.setitimer(signal.ITIMER_REAL, _LONGEST_S)
    except InventoryError as error:
        return Line(error=str(error), last=True)
    return Line(last=True)


def _told(chunk: Chunk) -> tuple[Line, pa.Buffer]:
    numbers = chunk.numbers
    batch = pa.record_batch(
        [chunk.positions, *chunk.rows.columns, *numbers.values()],
        schema=schema_of(chunk.rows.num_columns, numbers),
    )
    columns = batch.serialize()
    line = Line(
        bytes=columns.size,
        rows_read=chunk.rows_read,
        bytes_read=chunk.bytes_read,
        numbers=tuple(numbers),
        broken=chunk.broken,
    )
    return line, columns


class _Content(io.RawIOBase):
    """The bytes of the parent's file."""

    def __init__(self, parent: Channel, size: int) -> None:
        self._parent, self._size, self._at = parent, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        filled = 0
        while filled < len(buffer) and self._at < self._size:
            with _time_held():
                self._parent.send(Line(part_at=self._at, most=len(buffer) - filled))
                _, part = self._parent.receive(Line)
            if not part.size:
                break
            buffer[filled : filled + part.size] = part
            filled += part.size
            self._at += part.size
        return filled

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if at < 0:
            raise ValueError(f"no place {at} in a file")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at


if __name__ == "__main__":
    main()
    os._exit(0)  # at once: nothing that a damaged file left behind is touched again
