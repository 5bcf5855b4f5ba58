from __future__ import annotations

import pytest

from pipeline.errors import InventoryError
from pipeline.sources.json_layout import Layout, layout_of

LINES = Layout()
VALUES = Layout(in_lines=False)


def array(values_from: int) -> Layout:
    return Layout(values_from, in_array=True, in_lines=False)


def within(values_from: int) -> Layout:
    return Layout(values_from, in_array=True, in_object=True, in_lines=False)


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        (b'{"a":1}\n{"a":2}', LINES),
        (b'{"a":1}', LINES),
        (b'{"a":1} {"a":2}', LINES),
        (b'{"a":1', LINES),
        (b"foo\nbar", LINES),
        (b"", LINES),
        (b'{\n"a":1}\n{\n"a":2}', VALUES),
        (b"[", array(1)),
        (b"\xef\xbb\xbf [{", array(5)),
        (b'{"x":[{"a":1}]}', within(6)),
        (b'{ "n" : 1 , "l" : [] , "o":{"x":[{}]}, "x" : [ {"a":1}]}', within(46)),
        (b'{"x":[{"a":1},{"a"', within(6)),
        (b'{"n":"[{", "x":[\n{"a":1},{"a"', within(16)),
        (b'{"x":[{"a":1}]}\n{"x":[{"a":2}]}', LINES),
        (b'{"x":[1,{"a":1}]}', LINES),
        (b'{"x":[]}', LINES),
        (b'{"x":{"y":[{"a":1}]}}', LINES),
        (b'{"x" [{"a":1},', LINES),
        (b'{x:[{"a":1},', LINES),
        (b"{" * 100_000, LINES),
        (b'{"x":' * 100_000, LINES),
    ],
)
def test_the_layout_is_told_from_the_beginning(text: bytes, layout: Layout) -> None:
    assert layout_of("f", text) == layout


def test_two_lists_of_objects_are_refused_by_name() -> None:
    with pytest.raises(InventoryError, match=r'^f: holds more than one list of objects, "x" and "y"'):
        layout_of("f", b'{"x":[{"a":1}],"z":[],"y":[{"a":1}]}')
