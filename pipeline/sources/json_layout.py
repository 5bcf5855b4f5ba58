"""How a JSON file is laid out: lines, values one after the other, an array, or an object that holds one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pipeline.errors import InventoryError
from pipeline.headers import quoted
from pipeline.sources.json_decoder import DECODER

_BETWEEN = re.compile(rb"(?:[ \t\r\n,]|\xef\xbb\xbf)*+")  # a mark stands where files were joined
_BLANKS = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the values begin (bytes), and whether a `]` ends them, a `}` follows that, a line holds one."""

    values_from: int = 0
    in_array: bool = False
    in_object: bool = False
    in_lines: bool = True


def layout_of(name: str, text: bytes) -> Layout:
    """Tell the layout from the beginning of a file. Raises InventoryError when that has two lists of rows.

    An object that is the whole file and has a list of objects holds its rows there.
    """
    at = after_blanks(text, 0)
    if text.startswith(b"[", at):
        return Layout(at + 1, in_array=True, in_lines=False)
    if not text.startswith(b"{", at):
        return Layout()
    latin = text.decode("latin-1")
    try:
        first, end = DECODER.raw_decode(latin, at)
    except (ValueError, RecursionError):
        return _layout_within(latin, at) or Layout()
    if after_blanks(text, end) < len(text):
        return Layout(in_lines=b"\n" not in text[at:end])
    if len(lists := [key for key, content in first if is_list_of_objects(content)]) > 1:
        named = " and ".join(map(quoted, lists))
        raise InventoryError(f"{name}: holds more than one list of objects, {named}; keep the one with rows")
    return (_layout_within(latin, at) if lists else None) or Layout()


def after_blanks(text: bytes, at: int) -> int:
    """Give where the next value begins: after white space, commas and byte order marks."""
    between = _BETWEEN.match(text, at)
    return between.end() if between else at


def is_list_of_objects(content: Any) -> bool:
    """Tell whether a decoded value is a list that begins with an object."""
    return isinstance(content, list) and bool(content) and isinstance(content[0], tuple)


def _layout_within(text: str, at: int) -> Layout | None:
    """Find the first list of objects in the object that begins here; what stands before it must be whole."""
    try:
        while text[at] != "}":
            _, at = DECODER.raw_decode(text, _skip_blanks(text, at + 1))
            at = _skip_blanks(text, at)
            if text[at] != ":":
                return None
            at = _skip_blanks(text, at + 1)
            if text[at] == "[" and text[_skip_blanks(text, at + 1)] == "{":
                return Layout(at + 1, in_array=True, in_object=True, in_lines=False)
            _, at = DECODER.raw_decode(text, at)
            at = _skip_blanks(text, at)
    except (ValueError, RecursionError, IndexError):
        pass
    return None


def _skip_blanks(text: str, at: int) -> int:
    while text[at] in _BLANKS:
        at += 1
    return at
