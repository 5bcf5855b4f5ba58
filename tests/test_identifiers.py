from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.identifiers import (
    _SCIENTIFIC,
    by_width,
    damage,
    luhn,
    luhn_column,
    mask,
    mask_text,
    mod97,
    mod97_column,
    normalise,
    normalise_column,
)

ICCID = "8900000000000000003"
EID = "89049032123451234512345678901235"

# Pieces that stand close to every rule: wrappers, blanks, dashes, padding, damage, foreign digits.
DIGITS = "0123456789"
WHITE = [" ", "  ", "\u00a0", "\u200b", "\ufeff", "\u3000", "\t", "\n", "\r\n", "\x1f", "\x85", "\u2028"]
WRAPPING = ["F", "f", "FF", "-", "\u2013", "EID:", "eid:", "EID", ":", '="', '"', "=", "'"]
STRANGE = ["898600B5", ".0", "E+18", "\u0663", "\uff11", "\u0131", "\x00", "+", "é", "\U0001f4f6"]
PIECES = st.sampled_from([*DIGITS, "89", ICCID, EID, *WHITE, *WRAPPING, *STRANGE])
TEXTS = st.one_of(
    st.lists(PIECES, max_size=9).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.text(DIGITS, max_size=40),
)
CELLS = st.lists(st.none() | TEXTS, max_size=8)


def column(cells: list[str | None], skip: int = 0) -> pa.StringArray:
    """Build a string column whose first `skip` rows are sliced away, so that its offset is not 0."""
    return pa.array([*["x1", None, "22"][:skip], *cells], type=pa.string()).slice(skip)


@given(CELLS, st.integers(0, 3))
def test_a_column_is_normalised_as_each_of_its_values(cells: list[str | None], skip: int) -> None:
    expected = [None if cell is None else normalise(cell) for cell in cells]
    assert normalise_column(column(cells, skip)).to_pylist() == expected


@given(CELLS, st.integers(0, 3))
def test_a_column_passes_luhn_where_its_values_do(cells: list[str | None], skip: int) -> None:
    expected = [cell is not None and luhn(cell) for cell in cells]
    assert luhn_column(column(cells, skip)).to_pylist() == expected


@given(st.lists(st.none() | TEXTS | st.integers(0, 10**30).map(lambda n: eid_of(f"{n:030d}")), max_size=8))
def test_a_column_passes_mod97_where_its_values_do(cells: list[str | None]) -> None:
    expected = [cell is not None and mod97(cell) for cell in cells]
    assert mod97_column(column(cells)).to_pylist() == expected


def eid_of(thirty: str) -> str:
    """Put the check digits behind 30 digits: the whole leaves 1 when divided by 97."""
    return f"{thirty[:30]}{98 - int(thirty[:30] + '00') % 97:02d}"


@settings(max_examples=50)
@given(st.text(DIGITS, min_size=30, max_size=30), st.integers(0, 31), st.integers(1, 9))
def test_one_wrong_digit_in_an_eid_is_noticed(body: str, place: int, shift: int) -> None:
    eid = eid_of(body)
    wrong = eid[:place] + str((int(eid[place]) + shift) % 10) + eid[place + 1 :]
    assert mod97(eid)
    assert not mod97(wrong)
    assert mod97_column(pa.array([eid, wrong])).to_pylist() == [True, False]


@settings(max_examples=50)
@given(st.text(DIGITS, max_size=40))
def test_exactly_one_last_digit_passes_luhn(body: str) -> None:
    assert sum(luhn(body + last) for last in DIGITS) == 1


@given(TEXTS)
def test_normalising_digits_neither_adds_drops_nor_moves_one(text: str) -> None:
    before, after = digits(text), normalise(text)
    assert digits(after) == before


def digits(text: str) -> str:
    return "".join(character for character in text if character in DIGITS)


@given(st.text(DIGITS, min_size=1, max_size=34))
def test_digits_alone_stay_as_they_are(text: str) -> None:
    assert normalise(text) == text


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (f" {ICCID} ", ICCID),
        (f"\u00a0{ICCID}\u200b", ICCID),
        (f"\ufeff{ICCID}\r\n", ICCID),
        ("8900 0000 0000 0000 003", ICCID),
        ("8900-0000-0000-0000-003", ICCID),
        ("8900\u00a00000\u20110000 - 0000 003", ICCID),
        (f"{ICCID}F", ICCID),
        (f"{ICCID}f", ICCID),
        ("890000000000000003FF", "890000000000000003"),
        ("8900 0000 0000 0000 003F", ICCID),
        ("8900 0000 0000 0000 003 F", ICCID),
        (f"EID:{EID}", EID),
        (f"eid: {EID}", EID),
        (f'="{ICCID}"', ICCID),
        (f' =" {ICCID}F " ', ICCID),
        (f"'{ICCID}", ICCID),
        (f'\'="{ICCID}"', ICCID),
        (f'="EID:{EID}"', EID),
        ("''89", "'89"),
        ("EID:EID:89", "EID:89"),
        ("0000123", "0000123"),
        (" 898600B5123456789012 ", "898600B5123456789012"),
        ("8986 00B5 1234 5678 9012", "8986 00B5 1234 5678 9012"),
        ("898600B51234567890F", "898600B51234567890F"),
        ("8900000000000000FFFF", "8900000000000000FFFF"),
        ("FF", "FF"),
        (f"{ICCID}\n{ICCID}", f"{ICCID}\n{ICCID}"),
        (f"{ICCID}\t{ICCID}", f"{ICCID}\t{ICCID}"),
        ("-8900", "-8900"),
        ("+44 7700", "+44 7700"),
        (f'="{ICCID}', f'="{ICCID}'),
        ("8.93571E+18", "8.93571E+18"),
        ("\u0661\u0662", "\u0661\u0662"),
        ("  ", ""),
        ("", ""),
    ],
)
def test_only_the_wrapping_of_an_identifier_is_taken_off(raw: str, expected: str) -> None:
    assert normalise(raw) == expected
    assert normalise_column(pa.array([raw])).to_pylist() == [expected]


def test_a_column_of_digits_is_given_back_untouched() -> None:
    clean = pa.array([ICCID, EID, ""])
    assert normalise_column(clean) is clean


def test_a_dirty_cell_outside_the_slice_does_not_disturb_it() -> None:
    assert normalise_column(pa.array(["1 2", ICCID, "3 4"]).slice(1, 1)).to_pylist() == [ICCID]


def test_a_very_long_cell_is_normalised_without_stalling() -> None:
    long = "1" + " -" * 100_000 + "x"
    assert normalise(long) == long
    assert normalise_column(pa.array([long])).to_pylist() == [long]


def test_text_that_lies_beneath_a_null_is_not_checked() -> None:
    _, offsets, text = pa.array(["8991101200003204514", "0"]).buffers()
    nulls = pa.StringArray.from_buffers(2, offsets, text, pa.py_buffer(b"\x02"))
    assert nulls.to_pylist() == [None, "0"]
    assert luhn_column(nulls).to_pylist() == [False, True]
    assert normalise_column(nulls).to_pylist() == [None, "0"]


@pytest.mark.parametrize("check", [luhn_column, mod97_column])
def test_an_empty_or_an_all_null_column_can_be_checked(check) -> None:  # noqa: ANN001 - pyarrow functions
    assert check(pa.array([], type=pa.string())).to_pylist() == []
    assert check(pa.array([None, None], type=pa.string())).to_pylist() == [False, False]
    assert check(pa.array(["", ""])).to_pylist() == [False, False]


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("8991101200003204514", True),
        ("8991101200003204515", False),
        ("490154203237518", True),  # an IMEI
        ("12345678912345678919", False),
        ("0", True),
        ("", False),
        ("89911012000032045I4", False),
        ("\u0661", False),
        ("0" * 5_000, True),
        ("0" * 5_000 + "x", False),
    ],
)
def test_luhn_knows_right_from_wrong(value: str, *, good: bool) -> None:
    assert luhn(value) is good
    assert luhn_column(pa.array([value])).to_pylist() == [good]


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (EID, True),
        (EID[:-1] + "6", False),
        (EID[:-1], False),
        ("0" * 31 + "1", True),
        ("0" * 29 + "1", False),
        ("0" * 33 + "1", False),
        (EID[:-1] + "x", False),
    ],
)
def test_only_32_digits_pass_as_an_eid(value: str, *, good: bool) -> None:
    assert mod97(value) is good
    assert mod97_column(pa.array([value])).to_pylist() == [good]


@settings(max_examples=50)
@given(st.lists(TEXTS, max_size=12), st.integers(0, 3))
def test_every_row_stands_in_exactly_one_width(cells: list[str], skip: int) -> None:
    found: dict[int, bytes] = {}
    for rows, text in by_width(column(list(cells), skip)):
        places = range(len(cells))[rows] if isinstance(rows, slice) else [int(row) for row in rows]
        assert list(places) == sorted(places)
        for place, line in zip(places, text, strict=True):
            assert place not in found
            found[place] = line.tobytes()
    assert found == {place: cell.encode() for place, cell in enumerate(cells)}


@pytest.mark.parametrize("cell", ["8.93571E+18", "8,93571E+18", "9e18", " 8.93571E+18 ", '="8.93571E+18"'])
def test_scientific_notation_is_damage(cell: str) -> None:
    assert damage(cell, "luhn") == "spreadsheet damage: scientific notation, the digits are lost"


@given(cell=st.from_regex(_SCIENTIFIC, fullmatch=True))
def test_of_scientific_notation_nothing_is_peeled_off(cell: str) -> None:
    assert normalise(cell) == cell


@pytest.mark.parametrize("cell", [f"{ICCID}.0", f"{ICCID}.00", f"{ICCID},0"])
def test_a_trailing_point_zero_is_damage(cell: str) -> None:
    assert damage(cell) == "spreadsheet damage: trailing .0, the cell was a number"


@pytest.mark.parametrize(
    ("cell", "check"),
    [
        ("12345678912345600000", "luhn"),
        ("35203000100100000000000000000000", "mod97"),
        ("8935711000000010000", "luhn"),
    ],
)
def test_zeros_after_the_15th_digit_are_damage_when_the_check_digit_fails_too(cell: str, check) -> None:  # noqa: ANN001 - a Literal
    assert damage(cell, check) == "spreadsheet rounding: digits after the 15th are zeros"
    assert damage(cell) is None


def test_zeros_after_the_15th_digit_are_no_damage_when_the_check_digit_is_right() -> None:
    cell = next(f"89357110000{n:04d}0000" for n in range(10, 20) if luhn(f"89357110000{n:04d}0000"))
    assert damage(cell, "luhn") is None


@pytest.mark.parametrize(
    "cell",
    [
        "",
        ICCID,
        EID,
        "898600B5123456789012",
        "8986005E123456789012",
        "123456789123450",
        "1234567891234567891",
        "x.0",
    ],
)
def test_an_undamaged_cell_is_not_accused(cell: str) -> None:
    assert damage(cell, "luhn") is None
    assert damage(cell, "mod97") is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (ICCID, "890000…0003"),
        (EID, "890490…1235"),
        ("35203000100100", "352030…0100"),
        ("447700900123", "…"),
        ("", ""),
    ],
)
def test_an_identifier_is_shown_by_its_first_six_and_last_four(value: str, shown: str) -> None:
    assert mask(value) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "the iccid is exist in db, iccid:[12345678912345678919]",
            "the iccid is exist in db, iccid:[123456…8919]",
        ),
        (f"{ICCID},{EID};ICCID:{ICCID}", "890000…0003,890490…1235;ICCID:890000…0003"),
        ("898600B5123456789012 refused", "898600…9012 refused"),
        ("9" * 40, "999999…9999"),
        ("batch 1234567890 of 1000", "batch 1234567890 of 1000"),
        ("msisdn 491701234567 refused", "msisdn … refused"),
        ("MSISDN:4917012345", "MSISDN:…"),
        ("request 4ce9d9cdac9e4e17b3a2c66c358c1ce2", "request 4ce9d9cdac9e4e17b3a2c66c358c1ce2"),
    ],
)
def test_identifiers_inside_a_text_are_masked(text: str, shown: str) -> None:
    assert mask_text(text) == shown
