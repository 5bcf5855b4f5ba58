from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pipeline.sources.json_decoder import Number, Window, words_for

VALUES = st.recursive(
    st.none() | st.booleans() | st.text('ab"\\{}[] ', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)


def plain(content: Any) -> Any:
    """Give what the json module makes of it."""
    if isinstance(content, tuple):
        return {name: plain(value) for name, value in content}
    return [plain(item) for item in content] if isinstance(content, list) else content


@given(st.lists(VALUES, min_size=1, max_size=6), st.sampled_from([0, 15_990, 40_000]))
def test_values_are_decoded_wherever_they_stand(values: list[Any], padding: int) -> None:
    text = b" " * padding + b" ".join(json.dumps(value).encode() for value in values)
    window, at, found = Window(text), padding, []
    while at < len(text):
        content, at, flaw = window.decode(at)
        assert not flaw
        found.append(plain(content))
        at += 1
    assert found == values


def test_numbers_and_repeated_keys_stay_as_they_stand() -> None:
    content, end, _ = Window(b'{"a":1.50,"a":-0,"b":1E400}').decode(0)
    assert (content, end) == ((("a", "1.50"), ("a", "-0"), ("b", "1E400")), 27)
    assert all(type(value) is Number for _, value in content)


@pytest.mark.parametrize("text", [b'"' + b"x" * 100_000 + b'"', b"[" + b"1," * 100_000 + b"1]"])
def test_a_value_longer_than_the_window_is_decoded(text: bytes) -> None:
    assert Window(b"  " + text + b"}").decode(2)[1:] == (2 + len(text), "")


@pytest.mark.parametrize(
    ("text", "wrong_at", "words"),
    [
        (b'..{"a" 1}', 7, "not JSON: Expecting ':' delimiter (character 6)"),
        (b'..{"a":NaN}', 2, "not JSON: NaN is no JSON value (character 1)"),
        (b'.."abc', 2, "not JSON: Unterminated string"),
        (b"..", 2, "not JSON: Expecting value"),
        (b'.."a\nb"', 4, "not JSON: Invalid control character"),
        (b".." + b"[" * 100_000, 1_002, "nested too deeply"),
        (b".." + b"1," + b" " * 100_000, 3, ""),
    ],
)
def test_a_flaw_says_what_is_wrong_and_where(text: bytes, wrong_at: int, words: str) -> None:
    content, place, flaw = Window(text).decode(2)
    assert place == wrong_at
    assert flaw.startswith(words)
    assert content == ((), "1")[not words]


def test_many_flaws_far_into_a_text_take_no_time() -> None:
    window, before = Window(b"{,\n" * 1_000_000), time.process_time()
    for at in range(2_900_000, 3_000_000, 3):
        window.decode(at)
    assert time.process_time() - before < 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ((), ""),
        ([], "a list"),
        (Number("1"), "a number"),
        ("1", "text"),
        (None, "null"),
        (True, "true"),
        (False, "false"),
    ],
)
def test_what_is_no_object_is_named(content: Any, words: str) -> None:
    assert words_for(content) == (f"not a JSON object but {words}" if words else "")
