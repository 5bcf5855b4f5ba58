"""What only several rows show: exactly what a plain walk over all earlier rows finds, whatever the chunks."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from pydantic import BaseModel, Field

from pipeline.cross_rows import CrossRows
from pipeline.errors import UsageError
from pipeline.model import Chunk, Status
from pipeline.rules import Confidential, Form, FormsBy, Identifier, OneOf, OnePerKey, Unique
from pipeline.screening import Screen
from pipeline.settings import Input

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Row = tuple[str, ...]


class Profile(BaseModel):
    iccid: Annotated[str, Field(pattern="^[0-9]{3,4}$"), Identifier(bare_digits=3)]
    eid: Annotated[str, OnePerKey()] = ""
    ac: Annotated[str, Unique(common=("$",)), Confidential()] = ""


class Profiles:
    rules = Profile

    def key(self, fields: pa.RecordBatch) -> pa.StringArray:
        return fields.column("iccid")


FORMS = ("ICCID", "IMSI", "MSISDN")


class Named(BaseModel):
    value: Annotated[
        str,
        FormsBy(
            "type",
            tuple(
                Form(name, pattern="^[0-9]{1,4}$", description="digits", bare_digits=3 * (name == "ICCID"))
                for name in FORMS
            ),
        ),
    ]
    type: Annotated[str, OneOf(*FORMS)]


class Subscribers:
    rules = Named

    def key(self, fields: pa.RecordBatch) -> pa.StringArray:
        return pa.array([f"{t}:{v}" for v, t in zip(*fields.to_pydict().values(), strict=True)], pa.string())


def judged(
    target: Any,
    header: Sequence[str],
    chunks: Iterable[Sequence[Row]],
    in_memory: int = 1 << 20,
    not_sent: frozenset[int] = frozenset(),
    **findings: str,
) -> tuple[dict[int, tuple[Status, str, str]], list[tuple[int, str, str]]]:
    """Give the fates by position, and the findings."""
    screen = Screen(target.rules, header, Input())
    cross_rows = CrossRows(target, Input(findings=findings), in_memory=in_memory)
    fates, found, row = {}, [], 0
    with closing(cross_rows):
        for rows in chunks:
            cells = list(zip(*rows, strict=True)) or [()] * len(header)
            batch = pa.record_batch({str(i): pa.array(c, pa.string()) for i, c in enumerate(cells)})
            positions = np.arange(row + 1, row + 1 + len(rows))
            row += len(rows)
            screened = screen(Chunk(batch, pa.array(positions), (), row, 0))
            assert not screened.rejected
            eligible = ~np.isin(positions, list(not_sent))
            judgement = cross_rows.finish(cross_rows.begin(screened), positions, eligible)
            for fate in judgement.fates:
                fates[int(positions[fate.row])] = (fate.status, fate.code, fate.reason)
            dropped = {fate.row for fate in judgement.fates}
            expected = [ok and index not in dropped for index, ok in enumerate(eligible)]
            assert judgement.sent.tolist() == expected
            found += [(one.position, one.code, one.words) for one in judgement.findings]
        found += [(one.position, one.code, one.words) for some in cross_rows.rest() for one in some]
    # What shows only in the end stands before what showed on the way, row by row.
    return fates, sorted(found, key=lambda one: (one[0], one[1] != "shared_ac"))


def profiles(*rows: Row, cut: int = 1000, **more: Any) -> Any:
    chunks = [rows[start : start + cut] for start in range(0, len(rows), cut)]
    return judged(Profiles(), ("iccid", "eid", "ac"), chunks, **more)


def subscribers(*rows: Row, header: Sequence[str] = ("type", "value", "imsi"), cut: int = 1000) -> Any:
    return judged(Subscribers(), header, [rows[s : s + cut] for s in range(0, len(rows), cut)])


cuts = pytest.mark.parametrize("cut", [1, 2, 1000])


@cuts
def test_a_duplicate_names_the_row_where_its_key_first_stood(cut: int) -> None:
    fates, found = profiles(("100", "e", "a"), ("200", "", "b"), ("100", "e", "c"), ("100", "", "d"), cut=cut)
    duplicate = Status.DUPLICATE, "duplicate"
    assert fates == {
        3: (*duplicate, "row 3: the same key stood in row 1"),
        4: (*duplicate, "row 4: the same key stood in row 1"),
    }
    assert found == []


@cuts
def test_a_duplicate_with_another_eid_says_so(cut: int) -> None:
    rows: list[Row] = [("100", "e", "a"), ("100", "f", "b"), ("100", "e", "c")]
    fates, _ = profiles(*rows, cut=cut)
    words = "row 2: the same key stood in row 1, with another eid"
    assert fates[2] == (Status.DUPLICATE, "eid_differs", words)
    assert fates[3][1] == "duplicate"
    fates, _ = profiles(*rows, cut=cut, eid_differs="reject")
    assert fates[2] == (Status.REJECTED, "eid_differs", words)


@cuts
def test_one_activation_code_on_two_keys_is_a_finding_that_shows_no_code(cut: int) -> None:
    fates, found = profiles(("100", "", "secret"), ("200", "", "x"), ("300", "", "secret"), cut=cut)
    assert fates == {}
    assert found == [(3, "shared_ac", "row 3 has the ac of row 1, whose key is another one")]


def test_a_value_that_names_nothing_in_particular_may_be_shared() -> None:
    _, found = profiles(("100", "", "1$smdp$"), ("200", "", "1$smdp$"), ("300", "", "1$smdp$X"))
    assert found == []


@cuts
def test_a_finding_that_rejects_claims_neither_key_nor_code(cut: int) -> None:
    rows: list[Row] = [("100", "", "a"), ("200", "", "a"), ("200", "", "b"), ("300", "", "b")]
    fates, found = profiles(*rows, cut=cut, shared_ac="reject")
    assert {position: fate[:2] for position, fate in fates.items()} == {
        2: (Status.REJECTED, "shared_ac"),
        4: (Status.REJECTED, "shared_ac"),
    }
    assert "row 3" in fates[4][2]
    assert found == []


@pytest.mark.parametrize("in_memory", [1, 150, 1 << 20])
def test_a_code_that_all_rows_share_is_found_in_each_but_the_first(in_memory: int) -> None:
    rows: list[Row] = [(f"{n}", "", "1") for n in range(100, 300)]
    fates, found = profiles(*rows, cut=30, in_memory=in_memory)
    assert fates == {}
    assert [position for position, _, _ in found] == list(range(2, 201))
    assert all("of row 1," in words for _, _, words in found)


def test_a_value_that_rows_claim_again_takes_the_room_of_one() -> None:
    header = ("type", "value", "msisdn")
    rows = [("ICCID", f"{n}", "49") for n in range(100, 200)]
    columns = {str(index): pa.array(cells) for index, cells in enumerate(zip(*rows, strict=True))}
    chunk = Chunk(pa.record_batch(columns), pa.array(range(1, 101)), (), 100, 0)
    screened = Screen(Named, header, Input())(chunk)
    with closing(CrossRows(Subscribers(), Input())) as cross_rows:
        cross_rows.finish(cross_rows.begin(screened), np.arange(1, 101), np.ones(100, np.bool_))
    assert len(cross_rows._sightings) == 101


@cuts
def test_rows_without_a_code_share_none(cut: int) -> None:
    assert profiles(("100", "", ""), ("200", "", ""), cut=cut) == ({}, [])


@cuts
@pytest.mark.parametrize("rows", [("1234", "123"), ("123", "1234"), ("123", "1230")])
def test_the_same_identifier_with_and_without_check_digit_is_found(rows: tuple[str, str], cut: int) -> None:
    _, found = profiles(*((iccid, "", "") for iccid in rows), cut=cut)
    ((position, code, words),) = found
    assert (position, code) == (2, "check_digit_twin")
    assert words.startswith("row 2 has the key of row 1 but for a last digit")
    fates, found = profiles(*((iccid, "", "") for iccid in rows), cut=cut, check_digit_twin="reject")
    assert fates[2][:2] == (Status.REJECTED, "check_digit_twin")
    assert found == []


@cuts
def test_identifiers_of_one_length_are_no_twins(cut: int) -> None:
    assert profiles(("1234", "", ""), ("1235", "", ""), ("0123", "", ""), cut=cut) == ({}, [])


@cuts
def test_a_twin_of_another_form_is_none(cut: int) -> None:
    rows = [("ICCID", "123", ""), ("IMSI", "1234", ""), ("IMSI", "123", ""), ("ICCID", "1239", "")]
    _, found = subscribers(*rows, cut=cut)
    assert [(position, code) for position, code, _ in found] == [(4, "check_digit_twin")]


@cuts
def test_a_row_that_is_not_sent_claims_nothing(cut: int) -> None:
    rows: list[Row] = [("100", "e", "a"), ("100", "f", "a"), ("1001", "", "")]
    fates, found = profiles(*rows, cut=cut, not_sent=frozenset({1}))
    assert fates == {}
    assert [(position, code) for position, code, _ in found] == [(3, "check_digit_twin")]
    assert "row 2" in found[0][2]


def test_an_unknown_finding_in_the_job_file_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"\[input\] findings.shared_acs.*shared_ac"):
        CrossRows(Profiles(), Input(findings={"shared_acs": "reject"}))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="same_sim"):
        CrossRows(Profiles(), Input(findings={"same_sim": "reject"}))  # type: ignore[arg-type]


# ---------------------------------------------------------------- one SIM under two names


@cuts
def test_a_row_named_by_what_an_earlier_row_showed_is_found(cut: int) -> None:
    _, found = subscribers(("ICCID", "893", "262"), ("ICCID", "894", ""), ("IMSI", "262", ""), cut=cut)
    assert found == [(3, "same_sim", "row 3 names by IMSI a SIM that row 1 names by ICCID")]


@cuts
def test_a_row_that_shows_what_an_earlier_row_is_named_by_is_found(cut: int) -> None:
    _, found = subscribers(("IMSI", "262", ""), ("ICCID", "893", "262"), cut=cut)
    assert found == [(2, "same_sim", "row 2 names by ICCID a SIM that row 1 names by IMSI")]


@cuts
def test_placeholders_that_rows_show_alike_prove_nothing(cut: int) -> None:
    header = ("type", "value", "imsi", "msisdn")
    rows = [("ICCID", "893", "", "000"), ("IMSI", "262", "262", "000"), ("ICCID", "894", "", "000")]
    assert subscribers(*rows, header=header, cut=cut) == ({}, [])


# ---------------------------------------------------------------- against plain models

FEW = st.sampled_from(["100", "101", "1000", "1001", "1010", "200", "2001"])
PROFILE = st.tuples(FEW, st.sampled_from(["", "e", "f"]), st.sampled_from(["", "a", "b", "c"]))
MODES = st.fixed_dictionaries(
    {code: st.sampled_from(["warn", "reject"]) for code in ("shared_ac", "eid_differs", "check_digit_twin")}
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PROFILE, max_size=14), st.integers(1, 6), MODES, st.integers(1, 30))
def test_profiles_meet_as_in_a_plain_walk_over_all_earlier_rows(
    rows: list[Row], cut: int, modes: dict[str, str], in_memory: int
) -> None:
    fates, found = profiles(*rows, cut=cut, in_memory=in_memory, **modes)
    keys: dict[str, tuple[int, str]] = {}
    codes: dict[str, int] = {}
    expected_fates, expected = {}, []
    for position, (iccid, eid, ac) in enumerate(rows, start=1):
        if iccid in keys:
            first, other = keys[iccid]
            code = "eid_differs" if eid and other and eid != other else "duplicate"
            rejects = code in modes and modes[code] == "reject"
            expected_fates[position] = (Status.REJECTED if rejects else Status.DUPLICATE, code, first)
            continue
        odd = []
        if ac in codes:
            odd.append(("shared_ac", codes[ac]))
        twins = [keys[key][0] for key in keys if (key[:-1] == iccid) or (key == iccid[:-1])]
        if twins:
            odd.append(("check_digit_twin", min(twins)))
        rejecting = [one for one in odd if modes[one[0]] == "reject"]
        if rejecting:
            expected_fates[position] = (Status.REJECTED, *rejecting[0])
            continue
        expected += [(position, *one) for one in odd]
        keys[iccid] = position, eid
        if ac:
            codes.setdefault(ac, position)
    assert {p: fate[:2] for p, fate in fates.items()} == {p: fate[:2] for p, fate in expected_fates.items()}
    assert [one[:2] for one in found] == [one[:2] for one in expected]
    words = [(fates[position][2], first) for position, (_, _, first) in expected_fates.items()]
    words += [(said, first) for (_, _, said), (_, _, first) in zip(found, expected, strict=True)]
    assert all(first in map(int, re.findall("row ([0-9]+)", said)[1:]) for said, first in words)


numbers = st.integers(0, 5).map(str)
NAMED = st.tuples(st.sampled_from(FORMS), numbers, st.just("") | numbers, st.just("") | numbers)


@settings(max_examples=150, deadline=None)
@given(st.lists(NAMED, max_size=12), st.integers(1, 6))
def test_names_meet_as_in_a_plain_walk_over_all_earlier_rows(rows: list[Row], cut: int) -> None:
    fates, found = subscribers(*rows, header=("type", "value", "imsi", "msisdn"), cut=cut)
    earlier: list[tuple[str, set[str]]] = []
    expected = []
    for position, (form, value, imsi, msisdn) in enumerate(rows, start=1):
        key = f"{form}:{value}"
        shown = {f"{kind}:{cell}" for kind, cell in (("IMSI", imsi), ("MSISDN", msisdn)) if cell} - {key}
        if key in {other for other, _ in earlier}:
            assert fates[position][1] == "duplicate"
            continue
        if any(other in shown or key in theirs for other, theirs in earlier):
            expected.append(position)
        earlier.append((key, shown))
    assert [position for position, code, _ in found if code == "same_sim"] == expected
