from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, strategies as st

from pipeline.sources.json_run import flat_run


@pytest.mark.parametrize(
    ("text", "run", "count"),
    [
        (b"", b"", 0),
        (b"{}", b"{}", 1),
        (b'{"a":1}\n{"a":2}\n', b'{"a":1}\n{"a":2}', 2),
        (b' ,{"a":1} , {"a":2},', b' \n{"a":1} \n {"a":2}', 2),
        (b'{"a":1}{"a":2', b'{"a":1}', 1),
        (b'{"a":{"b":1}}', b"", 0),
        (b'{"a":1}{"a":{"b":1}}', b'{"a":1}', 1),
        (b'{"a":1}]{"a":2}', b'{"a":1}', 1),
        (b'x{"a":1}', b"", 0),
        (b"}{}", b"", 0),
        (b"{}" + b" " * 64 + b"{}", b"{}" + b" " * 64 + b"{}", 2),
        (b"{}" + b" " * 65 + b"{}", b"{}", 1),
        (b" " * 65 + b"{}", b"", 0),
        (b'{"a":1}{"a":"%s"}{"a":1}' % (b"x" * 92), b'{"a":1}{"a":"%s"}{"a":1}' % (b"x" * 92), 3),
        (b'{"a":1}{"a":"%s"}{"a":1}' % (b"x" * 93), b"", 0),
        (b'{"a":1}{"a":2}{"a":"%s"}{"a":1}' % (b"x" * 93), b'{"a":1}', 1),
    ],
)
def test_the_run_of_objects_that_hold_no_others_is_found(text: bytes, run: bytes, count: int) -> None:
    assert flat_run(text, 100) == (run, count)


@pytest.mark.parametrize(
    "gap", [b"null", b" null ", b",null,", b"\nnull\n", b'"{" null "}"', b"]", b"x", b"\0"]
)
def test_nothing_but_white_space_and_commas_stands_between_the_objects_of_a_run(gap: bytes) -> None:
    run, count = flat_run(b'{"a":1}{"b":2}' + gap + b"{}", 100)
    assert (run, count) == (b'{"a":1}{"b":2}', 2)


@given(
    st.lists(
        st.dictionaries(st.sampled_from("ab"), st.text('ab\\"\n,é', max_size=4)).map(json.dumps), min_size=1
    ),
    st.sampled_from(["", "\n", ",", ",\n", " , "]),
)
def test_objects_without_braces_in_them_are_one_run(objects: list[str], between: str) -> None:
    text = between.join(objects).encode()
    run, count = flat_run(text, 100)
    assert count == len(objects)
    assert len(run) == len(text)
    decoder, at, found = json.JSONDecoder(), 0, []
    shown = run.decode()
    while at < len(shown):
        value, at = decoder.raw_decode(shown, at + len(shown[at:]) - len(shown[at:].lstrip()))
        found.append(value)
    assert found == [json.loads(text) for text in objects]


def test_white_space_without_end_takes_no_time() -> None:
    before = time.process_time()
    flat_run((b"{}" + b" " * 1_000) * 4_000, 100)
    assert time.process_time() - before < 1
