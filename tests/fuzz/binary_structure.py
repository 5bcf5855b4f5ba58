"""Spools, Arrow and Parquet files made wrong within, their lengths and checksums told anew."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from mutation import damaged
from text_structure import tokens_moved

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

_SPOOL_MARK = b"simlift spool 1\n"
_FRAME = struct.Struct("<QI")


def frame_changed(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Change frames of a spool, and tell their lengths and checksums anew."""
    frames, at = [], len(_SPOOL_MARK)
    while at < len(content):
        size, _ = _FRAME.unpack_from(content, at)
        frames.append(content[at + _FRAME.size : at + _FRAME.size + size])
        at += _FRAME.size + size
    for _ in range(rng.choice([1, 1, 2])):
        one, other = rng.randrange(len(frames)), rng.randrange(len(frames))
        match rng.randrange(8):
            case 0:
                frames[one], frames[other] = frames[other], frames[one]
            case 1:
                frames[one:one] = [frames[other]]
            case 2 if len(frames) > 1:
                del frames[one]
            case 3 | 4 if frames[one].startswith(b"{"):
                frames[one] = tokens_moved(rng, frames[one], others)
            case 5:
                frames[one] = message_changed(rng, frames[one], others)
            case _:
                frames[one] = damaged(rng, frames[one], [*frames, rng.choice(others)])
    return _SPOOL_MARK + b"".join(_FRAME.pack(len(frame), zlib.crc32(frame)) + frame for frame in frames)


def message_changed(rng: random.Random, content: bytes, _others: Sequence[bytes]) -> bytes:
    """Change numbers within the metadata of an Arrow stream's messages, or within their bodies."""
    spans, at = [], 8 if content.startswith(b"ARROW1") else 0
    while at + 8 < len(content):
        size, head = struct.unpack_from("<I", content, at)[0], 4
        if size == 0xFFFFFFFF:
            size, head = struct.unpack_from("<I", content, at + 4)[0], 8
        if not size or at + head + size > len(content):
            break
        metadata = content[at + head : at + head + size]
        spans.append((at + head, at + head + size))
        body = _body_bytes(metadata)
        spans.append((at + head + size, at + head + size + body))
        at += head + size + body
    spans = [(start, min(end, len(content))) for start, end in spans if start < min(end, len(content))]
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        start, end = rng.choice(spans[::2] if rng.random() < 0.6 else spans)
        _number_changed(rng, changed, rng.randrange(start, end), start)
    return bytes(changed)


def _body_bytes(metadata: bytes) -> int:
    table = struct.unpack_from("<I", metadata)[0]
    fields = table - struct.unpack_from("<i", metadata, table)[0]
    if struct.unpack_from("<H", metadata, fields)[0] < 12:
        return 0
    offset = struct.unpack_from("<H", metadata, fields + 10)[0]
    return int(struct.unpack_from("<q", metadata, table + offset)[0]) if offset else 0


def _number_changed(rng: random.Random, changed: bytearray, at: int, aligned_to: int) -> None:
    width = rng.choice([1, 2, 4, 8])
    at -= (at - aligned_to) % width
    number = int.from_bytes(changed[at : at + width], "little")
    match rng.randrange(5):
        case 0:
            number ^= 1 << rng.randrange(8 * width)
        case 1:
            number += rng.choice([-16, -8, -4, -2, -1, 1, 2, 4, 8, 16])
        case 2:
            number = rng.choice(
                [0, 1, 2, 8, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1]
            )
        case 3:
            number = int.from_bytes(changed[rng.randrange(len(changed)) :][:width], "little")
        case _:
            number = rng.getrandbits(8 * width)
    changed[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, "little")[: len(changed) - at]


def footer_changed(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Change the footer of a Parquet file, and tell its length anew; or give it that of another."""
    body, footer = _halves(content)
    if rng.random() < 0.15:
        footer = _halves(rng.choice([other for other in others if other.startswith(b"PAR1")]))[1]
    else:
        footer = damaged(rng, footer, [footer, body])
    return body + footer + struct.pack("<I", len(footer)) + b"PAR1"


def body_changed(rng: random.Random, content: bytes, _others: Sequence[bytes]) -> bytes:
    """Change the pages of a Parquet file, without moving any."""
    body, footer = _halves(content)
    changed = bytearray(body)
    for _ in range(rng.choice([1, 1, 2, 3])):
        _number_changed(rng, changed, rng.randrange(4, len(changed)), 0)
    return bytes(changed) + footer + struct.pack("<I", len(footer)) + b"PAR1"


def _halves(content: bytes) -> tuple[bytes, bytes]:
    size = struct.unpack("<I", content[-8:-4])[0]
    if size + 8 > len(content):
        raise ValueError("no footer")
    return content[: -8 - size], content[-8 - size : -8]
