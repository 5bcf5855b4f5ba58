"""The messages of an Arrow IPC stream, each looked at before it is believed.

pyarrow allocates what a message says it needs. Here a message's own words are held against what there is
and against a bound: the size of a body, of each buffer in it once decompressed, and how many rows it has.
https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

MOST_BYTES = 1_000_000_000
_MOST_METADATA_BYTES = 16_000_000
_CONTINUATION = 0xFFFFFFFF
_SCHEMA, _DICTIONARY, _RECORDS = 1, 2, 3
# The places of a table's fields, as Message.fbs numbers them.
_MESSAGE_TYPE, _MESSAGE_HEADER, _MESSAGE_BODY_BYTES = 1, 2, 3
_DICTIONARY_DATA = 1
_RECORDS_LENGTH, _RECORDS_BUFFERS, _RECORDS_COMPRESSION = 0, 2, 3
_BITS = 8


class MessageError(ValueError):
    """A message that cannot be believed; the text says why."""


class Messages:
    """A file-like reader of the stream that begins where `content` stands; nothing else is read by pyarrow.

    `ended` tells whether the end mark came. Reading raises MessageError.
    """

    closed = False

    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self._ready: list[bytes] = []
        self._given = 0
        self.ended = False

    def read(self, size: int = -1) -> bytes:
        """Give the next bytes, at most `size`, of one message's head or body."""
        if not self._ready and not self.ended:
            self._ready = self._next()
        if not self._ready:
            return b""
        piece = self._ready.pop(0)
        if 0 <= size < len(piece):
            self._ready.insert(0, piece[size:])
            piece = piece[:size]
        self._given += len(piece)
        return piece

    def tell(self) -> int:
        """Say how many bytes were given."""
        return self._given

    def close(self) -> None:
        """Do nothing: whoever opened the file closes it."""

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say no."""
        return False

    def _next(self) -> list[bytes]:
        start = self._content.read(4)
        if not start:
            return []
        size = _unpack("<I", start, 0)
        if size == _CONTINUATION:
            start += self._exactly(4)
            size = _unpack("<I", start, 4)
        if not size:
            self.ended = True
            return [start]
        if size > _MOST_METADATA_BYTES:
            raise MessageError(f"a message says that it has {size:,} bytes of metadata")
        metadata = self._exactly(size)
        message = _Table(metadata, _unpack("<I", metadata, 0))
        body_bytes = message.number("<q", _MESSAGE_BODY_BYTES)
        if not 0 <= body_bytes <= MOST_BYTES:
            raise MessageError(
                f"a batch of {body_bytes:,} bytes; at most {MOST_BYTES:,} are read, write smaller ones"
            )
        body = self._exactly(body_bytes)
        _require_bounded(message, body)
        return [piece for piece in (start + metadata, body) if piece]

    def _exactly(self, size: int) -> bytes:
        data = self._content.read(size)
        if len(data) < size:
            raise MessageError("it is cut off")
        return data


class _Table:
    """A flatbuffers table: its fields by number, each absent or at a place of its own."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._fields = at - _unpack("<i", data, at)
        self._size = _unpack("<H", data, self._fields)

    def place(self, field: int) -> int:
        """Say where a field stands; 0 if it is absent."""
        entry = 4 + 2 * field
        offset = _unpack("<H", self._data, self._fields + entry) if entry + 2 <= self._size else 0
        return self._at + offset if offset else 0

    def number(self, form: str, field: int) -> int:
        """Give a number; 0 if it is absent."""
        place = self.place(field)
        return _unpack(form, self._data, place) if place else 0

    def table(self, field: int) -> _Table:
        """Give the table that a field refers to."""
        place = self._referred(field)
        return _Table(self._data, place)

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """Give a vector of pairs of 64-bit numbers."""
        if not self.place(field):
            return []
        place = self._referred(field)
        count = _unpack("<I", self._data, place)
        if place + 4 + 16 * count > len(self._data):
            raise MessageError("a message refers to what it does not have")
        return list(struct.iter_unpack("<qq", self._data[place + 4 : place + 4 + 16 * count]))

    def _referred(self, field: int) -> int:
        place = self.place(field)
        if not place:
            raise MessageError("a message lacks a part")
        return place + _unpack("<I", self._data, place)


def _require_bounded(message: _Table, body: bytes) -> None:
    kind = message.number("<B", _MESSAGE_TYPE)
    if kind not in (_DICTIONARY, _RECORDS):
        return
    records = message.table(_MESSAGE_HEADER)
    if kind == _DICTIONARY:
        records = records.table(_DICTIONARY_DATA)
    total = len(body)
    if records.place(_RECORDS_COMPRESSION):
        total = sum(_decompressed_bytes(body, *buffer) for buffer in records.pairs(_RECORDS_BUFFERS))
    if total > MOST_BYTES:
        raise MessageError(
            f"a batch of {total:,} bytes once decompressed; at most {MOST_BYTES:,} are read: write "
            "smaller ones"
        )
    rows = records.number("<q", _RECORDS_LENGTH)
    if rows > _BITS * total:
        raise MessageError(f"a batch says that it has {rows:,} rows, but no data for them")


def _decompressed_bytes(body: bytes, offset: int, length: int) -> int:
    """Read the length that stands before a compressed buffer; -1 says that it is not compressed after all."""
    if not length:
        return 0
    size = _unpack("<q", body, offset)
    if size < -1:
        raise MessageError("a buffer of negative length")
    return length if size == -1 else size


def _unpack(form: str, data: bytes, at: int) -> int:
    if at < 0 or at + struct.calcsize(form) > len(data):
        raise MessageError("a message refers to what it does not have")
    number: int = struct.unpack_from(form, data, at)[0]
    return number
