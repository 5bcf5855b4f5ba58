"""From a stream of text to whole JSON objects: where one begins and ends, whatever the layout and the damage.

Values with white space or commas between them. Memory is bounded by a block and the longest row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import InventoryError
from pipeline.sources.json_decoder import DECODER, Number, Window, words_for
from pipeline.sources.json_layout import after_blanks, is_list_of_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.sources.byte_stream import ByteStream
    from pipeline.sources.json_decoder import Pairs
    from pipeline.sources.json_layout import Layout

_NEXT_LINE = re.compile(rb"\n")
_NEXT_OBJECT = re.compile(rb"[\n,][ \t\r]*+(?=\{)")
_MOST_OPEN = 32  # what is deeper is not read twice, so that no file takes long
_KEPT_BYTES = 256
_MOST_VALUES = 60_000


@dataclass(frozen=True, slots=True)
class Value:
    """An object and where it stands in its text; with a `flaw` (why) it is none."""

    start: int
    end: int
    content: Pairs
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class Values:
    """Values in the order of the file, and the text they stand in; none after a `take`."""

    text: bytes
    found: list[Value]


class Reading:
    """The values of a stream, from where the layout says to the end.

    A value longer than `row_bytes` is a flaw. After one, reading goes on at the next line, in an array at
    the next object.
    """

    def __init__(
        self, name: str, stream: ByteStream, layout: Layout, *, block_bytes: int, row_bytes: int
    ) -> None:
        self._name, self._stream, self._layout = name, stream, layout
        self._block_bytes, self._row_bytes = block_bytes, row_bytes
        self._next_place = _NEXT_LINE if layout.in_lines else _NEXT_OBJECT
        self._most_values = min(_MOST_VALUES, block_bytes)
        self._skipping = False  # the rest of a flaw is still to be read over
        self._closed = False

    def values(self, take: Callable[[bytes], int] = lambda _: 0) -> Iterator[Values]:
        """Yield all values, but for those that `take` reads at the beginning of a text.

        `take` says how many bytes it read. Yields after each that read any, so that the caller may hand
        on what it took. Raises InventoryError when the stream breaks off, or an array is not closed or not
        the last thing in the file; before that, yields every whole value.
        """
        text, ended = b"", False
        self._stream.skip(self._layout.values_from)
        while not ended and not self._closed:
            piece = self._stream.read(self._block_bytes)
            ended = not piece
            text += piece
            if not self._skipping and (taken := take(text)):
                yield Values(b"", [])
                text = text[taken:]
            at = -1
            while at and not self._closed:
                found, at = self._cut(text, ended=ended)
                if found:
                    yield Values(text, found)
                text = text[at:]
        if self._closed:
            self._require_nothing_after(text)
        elif self._layout.in_array:
            raise InventoryError(f"{self._name}: is cut off: its list of rows has no end; fetch it again")

    def _cut(self, text: bytes, *, ended: bool) -> tuple[list[Value], int]:
        """Give the first whole values of a text, and where the rest begins."""
        found: list[Value] = []
        at = self._skip(text, ended=ended) if self._skipping else 0
        window, is_ascii = Window(text), text.isascii()
        while not self._skipping and (at := after_blanks(text, at)) < len(text):
            if len(found) == self._most_values:
                break
            if self._layout.in_array and text[at] == ord("]"):
                self._closed = True
                return found, at + 1
            content, end, flaw = window.decode(at)
            wrong_at, is_value = (end, False) if flaw else (at, True)
            flaw = flaw or words_for(content)
            if flaw and (self._layout.in_lines or not is_value):
                following = self._after_flaw(text, at, wrong_at, ended=ended)
                if following is None:
                    break
                end = following
            elif isinstance(content, Number) and end == len(text) and not ended:
                break  # its digits may go on
            if flaw:
                found.append(Value(at, end, (), flaw))
            elif is_ascii and end - at <= self._row_bytes:
                found.append(Value(at, end, content))
            else:
                found.append(self._checked(text, at, end, content))
            at = end
        return found, at

    def _checked(self, text: bytes, start: int, end: int, content: Pairs) -> Value:
        """Hold an object to its bound, and decode it for good."""
        if end - start > self._row_bytes:
            return Value(start, end, (), f"longer than {self._row_bytes:,} bytes")
        raw = text[start:end]
        try:
            return Value(start, end, content if raw.isascii() else DECODER.decode(raw.decode()))
        except UnicodeDecodeError:
            return Value(start, end, (), "not UTF-8 text")

    def _after_flaw(self, text: bytes, at: int, wrong_at: int, *, ended: bool) -> int | None:
        """Say where to read on after what is no row; None: more text must be awaited, or it is cut off."""
        if not ended and len(text) - at <= self._row_bytes:
            return None
        far = wrong_at - at > self._row_bytes or _opened(text, at, wrong_at) > _MOST_OPEN
        begin = max(at + 1, wrong_at) if far else at + 1
        if following := self._next_place.search(text, begin):
            return following.end()
        if not ended:
            self._skipping = True
        elif self._layout.in_array:
            closing = text.rfind(b"]", max(at + 1, wrong_at))
            return closing if closing >= 0 else None
        return len(text)

    def _skip(self, text: bytes, *, ended: bool) -> int:
        """Read over the rest of a flaw; give where reading goes on."""
        following = self._next_place.search(text)
        self._skipping = not following and not ended
        if following:
            return following.end()
        if ended:
            return max(text.rfind(b"]"), 0) if self._layout.in_array else len(text)
        return max(0, len(text) - _KEPT_BYTES)

    def _require_nothing_after(self, text: bytes) -> None:
        """Raise InventoryError unless what follows the array is short, ends its object and holds no rows."""
        while len(text) <= self._row_bytes and (piece := self._stream.read(self._row_bytes)):
            text = (text + piece).lstrip()
        sound = not text.strip()
        if self._layout.in_object and len(text) <= self._row_bytes:
            try:
                rest = DECODER.decode('{"":0' + text.decode())
                sound = not any(is_list_of_objects(content) for _, content in rest)
            except (ValueError, RecursionError):
                sound = False
        if not sound:
            raise InventoryError(
                f"{self._name}: goes on after its list of rows ends; keep one list in a file"
            )


def _opened(text: bytes, start: int, end: int) -> int:
    """Count the braces and brackets that stay open; what is too short to hold many is not looked at."""
    if end - start <= _MOST_OPEN:
        return 0
    opening, closing = (
        [text.count(mark, start, end) for mark in pair] for pair in ((b"{", b"["), (b"}", b"]"))
    )
    return sum(opening) - sum(closing)
