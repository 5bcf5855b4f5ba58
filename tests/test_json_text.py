from __future__ import annotations

import pytest
from file_in_memory import FileInMemory
from hypothesis import given, settings, strategies as st

from pipeline.errors import InventoryError
from pipeline.sources.byte_stream import ByteStream
from pipeline.sources.json_layout import Layout
from pipeline.sources.json_text import Reading

LINES = Layout()
ARRAY = Layout(1, in_array=True, in_lines=False)
OBJECT = Layout(5, in_array=True, in_object=True, in_lines=False)


def values(text: bytes, layout: Layout, *, block_bytes: int = 100, row_bytes: int = 1_000) -> list[bytes]:
    """Give the values as they stand, flawed ones behind a `!`."""
    with ByteStream(FileInMemory(text)) as stream:
        reading = Reading("f", stream, layout, block_bytes=block_bytes, row_bytes=row_bytes)
        return [
            b"!" * bool(value.flaw) + stretch.text[value.start : value.end].strip()
            for stretch in reading.values()
            for value in stretch.found
        ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"a":1}\nfoo\nbar\n{"a":2}', [b'{"a":1}', b"!foo", b"!bar", b'{"a":2}']),
        (b'{"a":1\n{"a":2}\n', [b'!{"a":1', b'{"a":2}']),
        (b'{"a":\n{"a":2}\n{"a":3}', [b'!{"a":', b'{"a":2}', b'{"a":3}']),
        (b'{"a":\n1}\n{"a":2}', [b'{"a":\n1}', b'{"a":2}']),
        (b'{"a":1}}\n{"a":2}', [b'{"a":1}', b"!}", b'{"a":2}']),
        (b'1,2,3\n{"a":2}', [b"!1,2,3", b'{"a":2}']),
        (b"]\n[\n{}\n]", [b"!]", b"![", b"{}", b"!]"]),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 3, 100])
def test_in_lines_a_flaw_ends_with_its_line(text: bytes, found: list[bytes], block_bytes: int) -> None:
    assert values(text, LINES, block_bytes=block_bytes) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'[{"a":1},foo,bar,{"a":2}]', [b'{"a":1}', b"!foo,bar,", b'{"a":2}']),
        (b'[{"a":1,{"a":2}]', [b'!{"a":1,', b'{"a":2}']),
        (b'[{"a":"1},{"a":"2"}]', [b'!{"a":"1},', b'{"a":"2"}']),
        (b"[1,[2],null,{}]", [b"!1", b"![2]", b"!null", b"{}"]),
        (b'[{"a":1},{"a":2]', [b'{"a":1}', b'!{"a":2']),
        (b"[12345]", [b"!12345"]),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 3, 100])
def test_in_an_array_a_flaw_ends_with_the_next_object(
    text: bytes, found: list[bytes], block_bytes: int
) -> None:
    assert values(text, ARRAY, block_bytes=block_bytes) == found


@pytest.mark.parametrize("tail", [b"]}", b'] , "n" : [1, {}] } \n', b'],"m":{"x":[{}]}}'])
def test_an_object_may_hold_more_than_its_rows(tail: bytes) -> None:
    assert values(b'{"x":[{"a":1}' + tail, Layout(6, in_array=True, in_object=True, in_lines=False)) == [
        b'{"a":1}'
    ]


@pytest.mark.parametrize(
    "tail",
    [b"]", b"]}x", b'],"y":[{}]}', b'],"y":}', b']}{"x":[{}]}', b'],"\xff":1}', b"]" + b" " * 5_000 + b"x"],
)
def test_what_follows_the_rows_must_end_their_object(tail: bytes) -> None:
    with pytest.raises(InventoryError, match="goes on after its list of rows ends"):
        values(b'{"x":[{"a":1}' + tail, Layout(6, in_array=True, in_object=True, in_lines=False))


def test_an_array_may_be_followed_by_white_space_of_any_length() -> None:
    assert values(b"[{}]" + b" \n" * 5_000, ARRAY) == [b"{}"]


@pytest.mark.parametrize("block_bytes", [1, 50, 5_000])
def test_a_value_longer_than_its_bound_is_a_flaw(block_bytes: int) -> None:
    text = b'{"a":1}\n{"a":"%s"}\n{"a":2}' % (b"x" * 100)
    found = values(text, LINES, block_bytes=block_bytes, row_bytes=108)
    assert found == [b'{"a":1}', b'{"a":"%s"}' % (b"x" * 100), b'{"a":2}']
    first, flaw, last = values(text, LINES, block_bytes=block_bytes, row_bytes=107)
    assert (first, flaw[:6], last) == (b'{"a":1}', b'!{"a":', b'{"a":2}')


def test_what_is_nested_without_end_is_not_read_again_at_every_level() -> None:
    found = values(b'{"a":[1,\n' * 10_000, LINES)
    assert all(value.startswith(b"!") for value in found)
    assert len(found) < 200
    found = values((b'{"a":[1,\n' * 100 + b"x\n") * 20, LINES)
    assert all(value.startswith(b"!") for value in found)
    assert len(found) < 200


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"{}", b'{"a":"}{"}', b'{"a":[{}]}', b"{", b"foo", b"1", b'"x', b'{"a"', b"}"]),
        max_size=8,
    ),
    st.sampled_from([LINES, ARRAY]),
    st.integers(1, 40),
)
def test_blocks_of_any_size_give_the_same_values(
    pieces: list[bytes], layout: Layout, block_bytes: int
) -> None:
    text = b"[%s]" % b",\n".join(pieces) if layout.in_array else b"\n".join(pieces) + b"\n"

    def outcome(size: int) -> list[bytes] | str:
        try:
            return values(text, layout, block_bytes=size)
        except InventoryError as error:
            return str(error)

    assert outcome(block_bytes) == outcome(1_000)


def test_of_what_is_taken_nothing_is_given_again() -> None:
    taken = []

    def take(text: bytes) -> int:
        taken.append(text[:3])
        return 3 if text.startswith(b"{}\n") else 0

    with ByteStream(FileInMemory(b"{}\n1\n")) as stream:
        reading = Reading("f", stream, LINES, block_bytes=100, row_bytes=100)
        found = [stretch.text[v.start : v.end] for stretch in reading.values(take) for v in stretch.found]
    assert found == [b"1\n"]
    assert taken[0] == b"{}\n"
