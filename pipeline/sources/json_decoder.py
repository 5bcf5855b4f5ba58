"""One JSON value at a time, from anywhere in a text: strict, with numbers and repeated keys as they stand."""

from __future__ import annotations

import json
from typing import Any

Pairs = tuple[tuple[str, Any], ...]

_WINDOW_BYTES = 16_000
_NEAR_END_BYTES = 16
_LEAST_NESTED_BYTES = 1_000  # that are surely part of what is nested too deeply


class Number(str):
    """A JSON number, as it stood."""

    __slots__ = ()


def _refuse(name: str) -> None:
    raise json.JSONDecodeError(f"{name} is no JSON value", "", 0)


#: Objects become tuples of pairs, so that a key that stands twice shows; arrays become lists.
DECODER = json.JSONDecoder(
    object_pairs_hook=tuple, parse_int=Number, parse_float=Number, parse_constant=_refuse
)


class Window:
    """Decodes values of a text, at ascending places.

    Byte by byte as Latin-1, so that places count bytes; only text within quotes comes out wrong then.
    Looks at a part of the text at a time: an error of the json module takes time by where it stands.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._from, self._latin = 0, ""

    def decode(self, at: int) -> tuple[Any, int, str]:
        """Give the value that begins here, where it ends, and "" for no flaw.

        With a flaw (what is wrong) there is no value, and the place is where it is wrong.
        """
        if at - self._from >= len(self._latin) // 2:
            self._look(at, _WINDOW_BYTES)
        while True:
            try:
                content, end = DECODER.raw_decode(self._latin, at - self._from)
            except json.JSONDecodeError as error:
                wrong_at, words = max(at, self._from + error.pos), error.msg
                is_sure = not words.startswith("Unterminated") and self._is_inside(wrong_at)
                if is_sure or self._sees_end():
                    return (), wrong_at, f"not JSON: {words} (character {wrong_at - at + 1:,})"
            except RecursionError:
                return (), at + _LEAST_NESTED_BYTES, "nested too deeply"
            else:
                if self._is_inside(self._from + end) or self._sees_end():
                    return content, self._from + end, ""
            self._look(at, max(_WINDOW_BYTES, 2 * len(self._latin)))

    def _look(self, at: int, size: int) -> None:
        self._from, self._latin = at, self._text[at : at + size].decode("latin-1")

    def _is_inside(self, place: int) -> bool:
        return place < self._from + len(self._latin) - _NEAR_END_BYTES

    def _sees_end(self) -> bool:
        return self._from + len(self._latin) >= len(self._text)


def words_for(content: Any) -> str:
    """Say what a value is, if it is no object; else ""."""
    match content:
        case tuple():
            return ""
        case list():
            kind = "a list"
        case Number():
            kind = "a number"
        case str():
            kind = "text"
        case _:
            kind = {None: "null", True: "true", False: "false"}[content]
    return f"not a JSON object but {kind}"
