"""One SIM behind two keys: found exactly, in inventory order, whatever the chunks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.model import Finding
from pipeline.same_sim import Named, SameSim, Shown

#: position, own key, keys shown besides by form
Row = tuple[int, str, dict[str, str]]


def form_of(key: str) -> str:
    return key.partition(":")[0]


def take(same_sim: SameSim, *rows: Row) -> list[Finding]:
    columns = sorted({form for _, _, shown in rows for form in shown})
    named = Named(
        np.array([position for position, _, _ in rows], np.int64),
        pa.array([key for _, key, _ in rows], pa.string()),
        pa.array([form_of(key) for _, key, _ in rows], pa.string()),
    )
    others = []
    for form in columns:
        cells = [(position, shown[form]) for position, _, shown in rows if form in shown]
        keys = pa.array([key for _, key in cells], pa.string())
        others.append(Shown(form, np.array([position for position, _ in cells], np.int64), keys))
    return list(same_sim(named, others))


A = (4, "ICCID:8935", {"IMSI": "IMSI:262"})
B = (9, "IMSI:262", {})


@pytest.mark.parametrize("chunks", [[[A, B]], [[A], [B]], [[A], [], [B]]], ids=["one chunk", "two", "three"])
def test_a_row_named_by_what_an_earlier_row_showed_is_found(chunks: list[list[Row]]) -> None:
    same_sim = SameSim()
    found = [finding for rows in chunks for finding in take(same_sim, *rows)]
    assert found == [Finding(9, "same_sim", "row 9 names by IMSI a SIM that an earlier row names by ICCID")]


@pytest.mark.parametrize("cut", [1, 2])
def test_a_row_that_shows_what_an_earlier_row_is_named_by_is_found(cut: int) -> None:
    rows: list[Row] = [(4, "IMSI:262", {}), (9, "ICCID:8935", {"IMSI": "IMSI:262"})]
    same_sim = SameSim()
    found = take(same_sim, *rows[:cut]) + take(same_sim, *rows[cut:])
    assert found == [Finding(9, "same_sim", "row 9 names by ICCID a SIM that an earlier row names by IMSI")]


def test_a_row_found_both_ways_is_one_finding() -> None:
    found = take(SameSim(), (1, "ICCID:8935", {"IMSI": "IMSI:262"}), (2, "IMSI:262", {"ICCID": "ICCID:8935"}))
    assert [finding.position for finding in found] == [2]


def test_a_row_that_shows_its_own_key_is_no_finding() -> None:
    same_sim = SameSim()
    assert take(same_sim, (1, "IMSI:262", {"IMSI": "IMSI:262"})) == []
    assert take(same_sim, (2, "IMSI:263", {"IMSI": "IMSI:263"})) == []


def test_the_same_digits_of_another_type_are_no_finding() -> None:
    assert take(SameSim(), (1, "IMSI:262", {"MSISDN": "MSISDN:491"}), (2, "IMSI:491", {})) == []


def test_placeholders_that_rows_show_alike_prove_nothing() -> None:
    rows: list[Row] = [(1, "ICCID:8935", {"IMEI": "IMEI:000"}), (2, "IMSI:262", {"IMEI": "IMEI:000"})]
    assert take(SameSim(), *rows) == []


def test_the_row_that_comes_first_is_no_finding() -> None:
    same_sim = SameSim()
    assert take(same_sim, A) == []
    assert [finding.position for finding in take(same_sim, B, (12, "IMSI:999", {}))] == [9]


def test_what_a_row_shows_that_is_not_sent_is_passed_over() -> None:
    same_sim = SameSim()
    rows = Named(np.array([2]), pa.array(["ICCID:8935"]), pa.array(["ICCID"]))
    same_sim(rows, [Shown("IMSI", np.array([1, 3]), pa.array(["IMSI:262", "IMSI:263"]))])
    assert take(same_sim, (4, "IMSI:262", {}), (5, "IMSI:263", {})) == []


numbers = st.integers(0, 5).map(str)
FORMS = ["ICCID", "IMSI", "MSISDN"]


@st.composite
def inventories(draw: st.DrawFn) -> list[list[Row]]:
    keys = draw(
        st.lists(st.builds("{}:{}".format, st.sampled_from(FORMS), numbers), unique=True, max_size=10)
    )
    rows = [
        (
            position,
            key,
            {
                form: f"{form}:{number}"
                for form, number in draw(st.dictionaries(st.sampled_from(FORMS), numbers)).items()
            },
        )
        for position, key in enumerate(keys, start=1)
    ]
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    return [rows[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(rows)], strict=True)]


@given(inventories())
@settings(max_examples=100, deadline=None)
def test_it_finds_what_a_walk_over_all_earlier_rows_finds(chunks: list[list[Row]]) -> None:
    same_sim = SameSim()
    found = {finding.position: finding for rows in chunks for finding in take(same_sim, *rows)}
    earlier: list[Row] = []
    for row in (row for rows in chunks for row in rows):
        position, key, shown = row
        by = {form_of(k) for _, k, others in earlier if k in shown.values() or key in others.values()}
        assert (position in found) == bool(by)
        if by:
            words = f"row {position} names by {form_of(key)} a SIM that an earlier row names by "
            assert found[position].words in {words + form for form in by}
        earlier.append(row)
