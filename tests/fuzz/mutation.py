"""Bytes made wrong: what any file may suffer, and what a text does to those who read it.

Nothing here knows a format; structure.py does.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

_NUMBERS = (
    *(0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 1000, 4096),
    *(0x7FFF, 0x8000, 0xFFFF, 0x10000, 1 << 20, 1 << 26, 1 << 30, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF),
    *(1 << 32, 1 << 40, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFF8),
)
_BYTES = b"\x00\xff\x80\x7f\n\r\t \",;|{}[]:\\<>&*/$'=+-@!#\x1a\x1f\x0b\x0c\xc2\xe2\xed\xf4"
_TIMES = (1, 1, 1, 1, 2, 2, 3, 5, 9)
_MOST_BYTES = 4_000_000

#: What text formats trip over, whichever they are.
NASTY = (
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xc3"),
    *("\u2028".encode(), "\u0085".encode(), "\u200b".encode(), "\u00a0".encode(), "\U0001f4f1".encode()),
    *(b"\x00", b"\x1a", b"\x1b[2J", b"\x0b", b"\x0c", b"\r\n", b"\n\r", b"\r\r\n", b"\n\n\n", b"\t\t"),
    *(b'""', b'"""', b'"\n"', b'""""""', b"''", b'\\"', b"\\", b'="8935711001000000007"', b"sep=;\n"),
    *(b"8935711001000000007", b"8.93571E+18", b"LPA:1$a.b$C", b"LPA:1$$", b"89049032", b"<null>", b"9" * 400),
    *(b"iccid", b"ICCID", b"Ki", b"OPc", b"PIN1", b"ac", b"simlift_status", b"simlift_raw", b"simlift_code"),
)


def damaged(rng: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Give the bytes with a few things done to them; a part may come from one of the `others`."""
    changed = bytearray(content)
    for _ in range(rng.choice(_TIMES)):
        rng.choice(_OPERATIONS)(rng, changed, others)
    return bytes(changed)


def transcoded(rng: random.Random, content: bytes) -> bytes:
    """Give UTF-8 text in another encoding, or with a mark where there was none."""
    text = (
        content.decode("utf-8", "surrogateescape")
        .encode("utf-16-le", "surrogatepass")
        .decode("utf-16-le", "replace")
    )
    match rng.randrange(8):
        case 0:
            return codecs.BOM_UTF8 + content
        case 1:
            return codecs.BOM_UTF16_LE + text.encode("utf-16-le")
        case 2:
            return codecs.BOM_UTF16_BE + text.encode("utf-16-be")
        case 3:
            return text.encode("utf-16-le")
        case 4:
            return text.encode("utf-32")
        case 5:
            return codecs.BOM_UTF16_LE + text.encode("utf-16-le") + b"x"
        case 6:
            return content.replace(b"e", b"\xe9", rng.randrange(1, 20))
    return text.encode("cp1252", "replace")


def with_other_line_ends(rng: random.Random, content: bytes) -> bytes:
    """Give a text with other ends of lines, all or half of them."""
    lines = re.split(rb"\r\n|\n|\r", content)
    ends = rng.choice(
        [[b"\r"], [b"\r\n"], [b"\n"], [b"\n", b"\r"], [b"\n", b"\n\n"], [b"\n", b"\r\r\n"], [b" \n\t"]]
    )
    return b"".join(line + rng.choice(ends) for line in lines)


def with_lines_moved(rng: random.Random, content: bytes) -> bytes:
    """Give a text with lines repeated, left out, swapped or put in."""
    lines = content.split(b"\n")
    for _ in range(rng.choice(_TIMES)):
        at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
        match rng.randrange(5):
            case 0:
                lines.insert(to, lines[at])
            case 1 if len(lines) > 1:
                del lines[at]
            case 2:
                lines[at], lines[to] = lines[to], lines[at]
            case 3:
                lines.insert(to, b"".join(rng.choices(NASTY, k=2)))
            case _:
                lines[at] += lines[to]
    return b"\n".join(lines)


def grown(rng: random.Random, content: bytes) -> bytes:
    """Give a file that is mostly one short part of it, over and over: what takes time by its square shows."""
    if not content:
        return content
    at = rng.randrange(len(content))
    size = rng.choice([1, 1, 1, 2, 3, 7, 30, 200, 3000])
    part = rng.choice([content[at : at + size], rng.choice(NASTY), bytes([rng.choice(_BYTES)])])
    times = rng.choice([1_000, 20_000, 300_000, 1_000_000, 4_000_000]) // len(part)
    return content[:at] + part * times + content[at:][:_MOST_BYTES]


# ---------------------------------------------------------------- one thing done to some bytes


def _place(rng: random.Random, content: bytearray) -> int:
    """Draw a place; the beginning and the end of a file have most to say."""
    size = max(1, len(content))
    match rng.randrange(4):
        case 0:
            return rng.randrange(min(size, 200))
        case 1:
            return size - 1 - rng.randrange(min(size, 100))
    return rng.randrange(size)


def _length(rng: random.Random) -> int:
    return rng.choice([1, 1, 2, 3, 4, 8, rng.randrange(1, 40), rng.randrange(1, 400), rng.randrange(1, 5000)])


def _flip(rng: random.Random, content: bytearray, _others: Sequence[bytes]) -> None:
    if content:
        content[_place(rng, content)] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, content: bytearray, _others: Sequence[bytes]) -> None:
    if content:
        content[_place(rng, content)] = rng.choice([rng.randrange(256), rng.choice(_BYTES)])


def _set_number(rng: random.Random, content: bytearray, _others: Sequence[bytes]) -> None:
    width = rng.choice([1, 2, 4, 4, 8, 8])
    at = _place(rng, content)
    if rng.random() < 0.7:
        at -= at % width
    order: Literal["little", "big"] = "little" if rng.random() < 0.8 else "big"
    number = int.from_bytes(content[at : at + width], order) + rng.randrange(-9, 10)
    if rng.random() < 0.6:
        number = rng.choice(_NUMBERS)
    content[at : at + width] = (number % (1 << 8 * width)).to_bytes(width, order)[: len(content) - at]


def _set_varint(rng: random.Random, content: bytearray, _others: Sequence[bytes]) -> None:
    number, encoded = rng.choice(_NUMBERS), bytearray()
    while number > 0x7F:
        encoded.append(0x80 | number & 0x7F)
        number >>= 7
    encoded.append(number)
    at = _place(rng, content)
    end = at
    while end < min(len(content), at + 10) and content[end] & 0x80:
        end += 1
    content[at : end + 1] = encoded


def _cut_off(rng: random.Random, content: bytearray, _others: Sequence[bytes]) -> None:
    del content[_place(rng, content) :]


def _leave_out(rng: random.Random, content: bytearray, _others: Sequence[bytes]) -> None:
    at = _place(rng, content)
    del content[at : at + _length(rng)]


def _repeat(rng: random.Random, content: bytearray, _others: Sequence[bytes]) -> None:
    at, to = _place(rng, content), _place(rng, content)
    content[to:to] = content[at : at + _length(rng)] * rng.choice([1, 1, 1, 2, 10])


def _overwrite(rng: random.Random, content: bytearray, _others: Sequence[bytes]) -> None:
    at, to = _place(rng, content), _place(rng, content)
    part = content[at : at + _length(rng)]
    content[to : to + len(part)] = part


def _splice(rng: random.Random, content: bytearray, others: Sequence[bytes]) -> None:
    other = bytearray(rng.choice(others))
    at, to = _place(rng, other), _place(rng, content)
    part = other[at : at + _length(rng)]
    content[to : to + (len(part) if rng.random() < 0.5 else 0)] = part


def _join(rng: random.Random, content: bytearray, others: Sequence[bytes]) -> None:
    other = rng.choice(others)
    at = _place(rng, content)
    content[at:] = other[min(at, len(other) // 2) :]


def _put_in(rng: random.Random, content: bytearray, _others: Sequence[bytes]) -> None:
    to = _place(rng, content)
    content[to:to] = rng.choice(
        [rng.choice(NASTY), rng.randbytes(_length(rng) % 64), bytes([rng.choice(_BYTES)])]
    )


def _fill(rng: random.Random, content: bytearray, _others: Sequence[bytes]) -> None:
    at = _place(rng, content)
    size = _length(rng)
    content[at : at + size] = bytes([rng.choice(_BYTES)]) * size


_OPERATIONS: tuple[Callable[[random.Random, bytearray, Sequence[bytes]], None], ...] = (
    *(_flip, _flip, _set, _set, _set, _set_number, _set_number, _set_number, _set_varint),
    *(
        _cut_off,
        _leave_out,
        _leave_out,
        _repeat,
        _overwrite,
        _splice,
        _splice,
        _join,
        _put_in,
        _put_in,
        _fill,
    ),
)
