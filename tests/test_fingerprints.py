from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.fingerprints import Fingerprints

TEXTS = st.lists(st.text(max_size=12) | st.sampled_from(["", "\0", "\0\0", "0", "00", "é", "x" * 5000]))


def pairs(make: Fingerprints, texts: list[str], space: int = 0) -> list[tuple[int, int]]:
    prints = make(pa.array(texts, pa.string()), space)
    return list(zip(*prints.tolist(), strict=True))


@settings(max_examples=150)
@given(TEXTS)
def test_fingerprints_are_equal_exactly_where_the_texts_are(texts: list[str]) -> None:
    prints = pairs(Fingerprints(), texts)
    assert [prints.index(one) for one in prints] == [texts.index(text) for text in texts]


def test_a_text_has_the_same_fingerprint_in_whatever_company() -> None:
    make = Fingerprints()
    assert pairs(make, ["a", "bcd", "a" * 40])[1] == pairs(make, ["bcd"])[0]


def test_neighbouring_identifiers_all_differ_in_either_half() -> None:
    prints = Fingerprints()(pa.array([f"{8935711001 * 10**10 + n}" for n in range(100_000)]))
    assert len(set(prints[0].tolist())) == 100_000


def test_spaces_keep_equal_texts_apart() -> None:
    make = Fingerprints()
    assert len({pairs(make, ["1"], space)[0] for space in range(5)}) == 5


def test_every_run_has_keys_of_its_own() -> None:
    assert pairs(Fingerprints(), ["LPA:1$a$b"]) != pairs(Fingerprints(), ["LPA:1$a$b"])


@pytest.mark.parametrize("width", [1023, 1024, 1025])
def test_a_long_text_counts_to_its_last_character(width: int) -> None:
    make = Fingerprints()
    assert len(set(pairs(make, ["x" * width, "x" * (width - 1) + "y", "y" + "x" * (width - 1)]))) == 3
