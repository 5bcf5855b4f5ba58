from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st
from pydantic import BaseModel, Field, ValidationError, field_validator

from pipeline.column_rules import WHITE_SPACE
from pipeline.errors import InventoryError, UsageError
from pipeline.identifiers import damage, luhn, mod97, normalise
from pipeline.model import Chunk
from pipeline.row_names import RowNames
from pipeline.rules import (
    Aliases,
    Change,
    Confidential,
    Form,
    FormsBy,
    Identifier,
    JoinedFrom,
    OneOf,
    OnePerKey,
)
from pipeline.screening import Rejected, Screen, Screened
from pipeline.settings import Input

ICCID = Annotated[
    str,
    Field(pattern=r"^[0-9]{19,20}$", description="19 or 20 digits"),
    Aliases("ccid"),
    Identifier(check="luhn"),
]
EID = Annotated[str, Field(pattern=r"^[0-9]{32}$", description="32 digits"), Identifier(check="mod97")]
AC = Annotated[
    str,
    Field(min_length=1, max_length=255),
    Confidential(),
    JoinedFrom(("smdp",), ("matchingid",), "LPA:1${}${}"),
]


class Profile(BaseModel):
    iccid: ICCID
    eid: EID
    ac: AC
    cc: Annotated[str, Confidential()] = ""
    apn: Annotated[str, Field(min_length=1, max_length=99)]


class Sim(BaseModel):
    iccid: ICCID
    label: Annotated[str, Field(min_length=2, max_length=5)] = "none"
    note: Annotated[str | None, Field(pattern="^[a-z]+$")] = None


HEADER = ("ICC ID", "eid", "ac", "cc", "apn")
GOOD = {
    "iccid": "8935711001000000006",
    "eid": "89049032000001000000006452345612",
    "ac": "LPA:1$smdp.example$SECRET-1",
    "cc": "4711",
    "apn": "iot.example",
}
GOOD["eid"] = next(v for n in range(97) if mod97(v := f"890490320000010000000064523456{n:02d}"))
GOOD["iccid"] = next(v for n in range(10) if luhn(v := f"893571100100123456{n}"))
BAD_LUHN = GOOD["iccid"][:-1] + str((int(GOOD["iccid"][-1]) + 1) % 10)
ROUNDED = next(v for n in range(10) if not luhn(v := f"89357110010012{n}0000"))
NOT_ROUNDED = next(v for n in range(10) if luhn(v := f"89357110010012{n}0000"))


def chunk(*rows: tuple[str | None, ...], first: int = 1) -> Chunk:
    columns = zip(*rows, strict=True)
    cells = {str(index): pa.array(column, pa.string()) for index, column in enumerate(columns)}
    positions = pa.array(range(first, first + len(rows)), pa.int64())
    return Chunk(pa.record_batch(cells), positions, (), len(rows), 0)


def row(**changes: str | None) -> tuple[str | None, ...]:
    return tuple((GOOD | changes).values())


def screened(*rows: tuple[str | None, ...], first: int = 1, **settings: Any) -> Screened:
    return Screen(Profile, HEADER, Input(**settings))(chunk(*rows, first=first))


def only_rejected(found: Screened) -> Rejected:
    assert len(found.rejected) == 1
    assert found.rejected[0].index not in found.rows.to_pylist()
    return found.rejected[0]


# ---------------------------------------------------------------- accepted rows


def test_a_clean_chunk_passes_whole_and_in_the_models_order() -> None:
    found = Screen(Profile, tuple(reversed(HEADER)), Input())(chunk(tuple(reversed(row()))))
    assert found.fields.schema.names == list(Profile.model_fields)
    assert found.fields.to_pylist() == [GOOD]
    assert found.rows.to_pylist() == [0]
    assert found.rejected == []


def test_only_the_accepted_rows_are_in_the_fields() -> None:
    found = screened(row(apn="one"), row(iccid="x"), row(apn="three"))
    assert found.rows.to_pylist() == [0, 2]
    assert found.fields.column("apn").to_pylist() == ["one", "three"]
    assert only_rejected(found).index == 1


def test_an_empty_chunk_is_no_trouble() -> None:
    full = chunk(row())
    found = Screen(Profile, HEADER, Input())(Chunk(full.rows[:0], full.positions[:0], (), 0, 0))
    assert (found.fields.num_rows, len(found.rows), found.rejected) == (0, 0, [])


def test_a_slice_of_a_chunk_is_screened_as_it_stands() -> None:
    whole = chunk(row(iccid="x"), row(), row(iccid="y"), row(apn="four"))
    part = Chunk(whole.rows.slice(1), whole.positions.slice(1), (), 4, 0)
    found = Screen(Profile, HEADER, Input())(part)
    assert found.rows.to_pylist() == [0, 2]
    assert only_rejected(found).reason.startswith("row 3, ")


@pytest.mark.parametrize(
    "iccid", ["{}F", " {}\u00a0", "\u200b{}", '="{}"', "8935 {rest}", "8935-{rest}", "\ufeff{}"]
)
def test_an_identifier_is_freed_of_its_wrapping(iccid: str) -> None:
    found = screened(row(iccid=iccid.format(GOOD["iccid"], rest=GOOD["iccid"][4:])), row())
    assert found.fields.column("iccid").to_pylist() == [GOOD["iccid"]] * 2
    assert found.check_digits["iccid"] == (2, 0)


def test_free_text_loses_the_white_space_around_it_and_nothing_else() -> None:
    found = screened(row(apn=" \u00a0\u200biot  e-x\u200bample\ufeff\t"))
    assert found.fields.column("apn").to_pylist() == ["iot  e-x\u200bample"]


def test_arrow_and_python_strip_the_same_characters() -> None:
    assert screened(row(apn=f"{WHITE_SPACE}a{WHITE_SPACE}")).fields.column("apn").to_pylist() == ["a"]
    assert not [c for c in map(chr, range(0x3100)) if c.isspace() and c not in WHITE_SPACE]


@pytest.mark.parametrize("apn", ["a\x00b\x1b[31m", "iot\n8935711001000000006,8904", "a\tb", "a\x7fb"])
def test_a_control_character_inside_a_value_is_a_cell_that_slipped(apn: str) -> None:
    found = only_rejected(screened(row(), row(apn=apn)))
    assert (found.index, found.code) == (1, "apn_format")
    assert "holds a line break, a tab or another control character" in found.reason


def test_a_null_cell_is_a_blank_one() -> None:
    found = screened(row(cc=None), row(apn=None))
    assert found.fields.column("cc").to_pylist() == [""]
    assert only_rejected(found).code == "apn_missing"


# ---------------------------------------------------------------- columns that are absent


def test_a_default_of_the_job_file_fills_a_column_the_file_lacks() -> None:
    found = Screen(Profile, HEADER[:4], Input(defaults={"apn": " iot "}))(chunk(row()[:4], row()[:4]))
    assert found.fields.column("apn").to_pylist() == ["iot", "iot"]


def test_a_default_of_the_job_file_does_not_fill_a_blank_cell() -> None:
    assert only_rejected(screened(row(apn=""), defaults={"apn": "iot"})).code == "apn_missing"


def test_a_default_of_the_job_file_must_satisfy_the_rule() -> None:
    with pytest.raises(UsageError) as error:
        Screen(Profile, HEADER[:1] + HEADER[2:], Input(defaults={"eid": "8904"}))
    assert str(error.value) == '[input] defaults.eid: must be 32 digits, is "8904"'


def test_a_confidential_default_is_not_shown_when_it_breaks_the_rule() -> None:
    header = tuple(name for name in HEADER if name != "ac")
    with pytest.raises(UsageError) as error:
        Screen(Profile, header, Input(defaults={"ac": "s3cret" * 100}))
    assert "must have at most 255 characters, has 600" in str(error.value)
    assert "s3cret" not in str(error.value)


def test_the_models_default_fills_absent_columns_and_blank_cells() -> None:
    assert Screen(Sim, ["iccid"], Input())(chunk((GOOD["iccid"],))).fields.to_pylist() == [
        {"iccid": GOOD["iccid"], "label": "none", "note": None}
    ]
    found = Screen(Sim, ["iccid", "label", "note"], Input())(chunk((GOOD["iccid"], " ", ""), row()[:3]))
    assert found.fields.to_pylist() == [{"iccid": GOOD["iccid"], "label": "none", "note": None}]


def test_two_columns_are_joined_into_the_field_they_stand_for() -> None:
    header = ("iccid", "eid", "smdp", "Matching-ID", "apn")
    cells = (GOOD["iccid"], GOOD["eid"], " h.example ", "M-1", "iot")
    blank = (*cells[:2], "h.example", None, "iot")
    found = Screen(Profile, header, Input())(chunk(cells, blank))
    assert found.fields.column("ac").to_pylist() == ["LPA:1$h.example$M-1", "LPA:1$h.example$"]


def test_a_joined_field_without_its_first_part_is_missing() -> None:
    header = ("iccid", "eid", "smdp", "Matching-ID", "apn")
    found = Screen(Profile, header, Input())(chunk((GOOD["iccid"], GOOD["eid"], " ", "M-1", "iot")))
    assert only_rejected(found).reason == 'row 1, columns "smdp" and "Matching-ID": is empty; fill it in'


def test_a_missing_key_column_is_told_before_any_row() -> None:
    with pytest.raises(InventoryError, match="no column for iccid"):
        Screen(Profile, HEADER[1:], Input())


# ---------------------------------------------------------------- reasons


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"iccid": "89357X"}, "iccid_format", 'column "ICC ID": must be 19 or 20 digits, is "89357X"'),
        ({"iccid": "9" * 99}, "iccid_format", f'must be 19 or 20 digits, is "{"9" * 59}…"'),
        ({"iccid": " "}, "iccid_missing", 'column "ICC ID": is empty; fill it in'),
        ({"apn": ""}, "apn_missing", 'column "apn": is empty; fill it in'),
        ({"apn": "a" * 100}, "apn_too_long", 'must have at most 99 characters, has 100, is "aaa'),
        (
            {"iccid": "8.93571E+18"},
            "iccid_damaged",
            'the digits are lost, is "8.93571E+18"',
        ),
        ({"iccid": ROUNDED}, "iccid_damaged", f'digits after the 15th are zeros, is "{ROUNDED}"'),
        ({"eid": GOOD["eid"] + ".0"}, "eid_damaged", "trailing .0"),
        ({"iccid": "898600B5012345678901"}, "iccid_hex", "hex letters; this API takes digits only, is"),
        ({"iccid": "898600B5"}, "iccid_format", "must be 19 or 20 digits"),
        ({"iccid": "89\x00\u200b"}, "iccid_format", r'is "89\x00\u200b"'),
    ],
)
def test_a_reason_names_row_column_fault_and_value(changes: dict[str, str], code: str, words: str) -> None:
    found = only_rejected(screened(row(**changes), first=17))
    assert found.code == code
    assert found.reason.startswith('row 17, column "')
    assert words in found.reason
    assert found.reason.isprintable()


def test_rows_of_several_files_are_named_by_their_file_and_their_row_in_it() -> None:
    names = RowNames(["/in/a.csv", "/in/b.csv"])
    names.begin_file(0)
    names.begin_file(40)
    found = Screen(Profile, HEADER, Input())(chunk(row(apn=""), first=3), names)
    assert only_rejected(found).reason.startswith("b.csv:3, ")


def test_several_faults_of_a_row_are_told_in_one_reason_under_the_first_code() -> None:
    found = only_rejected(screened(row(), row(eid="1", apn="", iccid="x")))
    assert found.code == "iccid_format"
    assert found.reason == (
        'row 2, column "ICC ID": must be 19 or 20 digits, is "x"; '
        'column "eid": must be 32 digits, is "1"; column "apn": is empty; fill it in'
    )


def test_the_key_of_a_rejected_row_is_its_cell_as_it_stood() -> None:
    assert only_rejected(screened(row(iccid=" 8935x "))).key == " 8935x "
    assert only_rejected(screened(row(iccid=None))).key == ""


def test_a_confidential_value_is_never_shown() -> None:
    found = only_rejected(screened(row(ac="SECRET" * 50)))
    assert found.code == "ac_too_long"
    assert "has 300, the value is confidential" in found.reason
    assert "SECRET" not in repr(found)


def test_an_activation_code_that_slipped_into_another_column_is_not_shown() -> None:
    found = only_rejected(screened(row(iccid=GOOD["ac"], eid=GOOD["ac"])))
    assert found.code == "iccid_format"
    assert "SECRET" not in repr(found)


def test_a_value_too_short_says_how_long_it_must_be() -> None:
    found = Screen(Sim, ["iccid", "label"], Input())(chunk((GOOD["iccid"], "a")))
    assert only_rejected(found).reason == 'row 1, column "label": must have at least 2 characters, is "a"'


# ---------------------------------------------------------------- check digits


def test_check_digits_warn_by_default_and_are_counted() -> None:
    found = screened(row(), row(iccid=BAD_LUHN), row(iccid="x"))
    assert found.rows.to_pylist() == [0, 1]
    assert found.check_digits == {"iccid": (1, 1), "eid": (3, 0)}


def test_check_digits_reject_where_the_job_file_says_so() -> None:
    found = screened(row(), row(iccid=BAD_LUHN), check_digits={"iccid": "reject"})
    assert only_rejected(found).code == "iccid_check_digit"
    assert found.check_digits["iccid"] == (1, 1)
    assert f'its check digits (luhn) are wrong, is "{BAD_LUHN}"' in only_rejected(found).reason


def test_rounding_is_told_as_damage_even_where_check_digits_reject() -> None:
    found = screened(row(iccid=ROUNDED), check_digits={"iccid": "reject"})
    assert only_rejected(found).code == "iccid_damaged"


def test_zeros_at_the_end_are_no_damage_when_the_check_digit_is_right_or_off() -> None:
    assert screened(row(iccid=NOT_ROUNDED)).rejected == []
    assert screened(row(iccid=ROUNDED), check_digits={"iccid": "off"}).rejected == []


def test_check_digits_that_are_off_are_not_counted() -> None:
    assert set(screened(row(), check_digits={"iccid": "off"}).check_digits) == {"eid"}


@pytest.mark.parametrize(
    ("name", "words"),
    [("icid", "did you mean iccid?"), ("apn", "the field has no check digit; known are iccid, eid")],
)
def test_check_digits_of_a_field_that_has_none_are_an_error(name: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        Screen(Profile, HEADER, Input(check_digits={name: "off"}))
    assert words in str(error.value)


# ---------------------------------------------------------------- the model is the only declaration


def models_that_columns_cannot_run() -> list[type[BaseModel]]:
    class Number(BaseModel):
        iccid: int

    class Bounded(BaseModel):
        iccid: Annotated[str, Field(gt="a")]

    class Strict(BaseModel):
        iccid: Annotated[str, Field(pattern="^a$", strict=True)]

    class Unshaped(BaseModel):
        iccid: Annotated[str, Identifier(check="luhn")]

    class Validated(BaseModel):
        iccid: str

        @field_validator("iccid")
        @classmethod
        def never(cls, value: str) -> str:
            raise ValueError

    return [Number, Bounded, Strict, Unshaped, Validated]


@pytest.mark.parametrize("model", models_that_columns_cannot_run(), ids=lambda model: model.__name__)
def test_a_rule_that_columns_cannot_run_is_refused_not_skipped(model: type[BaseModel]) -> None:
    with pytest.raises(TypeError):
        Screen(model, ["iccid"], Input())


def near(value: str) -> st.SearchStrategy[str | None]:
    """Cells as inventories have them: good, wrapped, damaged, blank, and anything at all."""
    around = st.text(alphabet=" \u00a0\u200b\t-", max_size=2)
    digits = st.text(alphabet="0123456789", min_size=len(value) - 2, max_size=len(value) + 2)
    return st.one_of(
        st.just(value),
        st.builds("{}{}{}".format, around, st.just(value), around),
        digits,
        st.builds("{}0000{}".format, st.just(value[:15]), st.sampled_from(["", "0", "F", ".0"])),
        st.sampled_from(
            [None, "", " ", "\u200b", "8.93571E+18", "898600B5012345678901", "a", "ab", "abcdef"]
        ),
        st.text(max_size=8),
    )


@given(
    rows=st.lists(
        st.tuples(near(GOOD["iccid"]), near("label"), near("note")),
        min_size=1,
        max_size=6,
    ),
    mode=st.sampled_from(["warn", "reject", "off"]),
)
@hypothesis_settings(max_examples=300, deadline=None)
def test_columns_accept_exactly_the_rows_the_model_accepts(
    rows: list[tuple[str | None, str | None, str | None]], mode: str
) -> None:
    found = Screen(Sim, list(Sim.model_fields), Input(check_digits={"iccid": mode}))(chunk(*rows))
    items = {index: expected(cells, mode) for index, cells in enumerate(rows)}
    accepted = {index: item for index, item in items.items() if item is not None}
    assert dict(zip(found.rows.to_pylist(), found.fields.to_pylist(), strict=True)) == accepted
    assert [no.index for no in found.rejected] == [i for i in range(len(rows)) if i not in accepted]


def expected(cells: tuple[str | None, ...], mode: str) -> dict[str, Any] | None:
    """Say by pydantic and identifiers alone, a row at a time, what screening should make of a row."""
    iccid, *texts = (cell or "" for cell in cells)
    item = dict(
        zip(Sim.model_fields, [normalise(iccid), *(t.strip(WHITE_SPACE) for t in texts)], strict=True)
    )
    try:
        read = Sim.model_validate({name: value for name, value in item.items() if value})
    except ValidationError:
        return None
    if any(ord(c) < 0x20 or ord(c) == 0x7F for text in (read.label, read.note or "") for c in text):
        return None
    check = None if mode == "off" else "luhn"
    if damage(read.iccid, check) or (mode == "reject" and not luhn(read.iccid)):
        return None
    return read.model_dump()


# ---------------------------------------------------------------- an identifier of many forms

ICCID_FORM = Form("ICCID", pattern=r"^[0-9]{19,20}$", description="19 or 20 digits", check="luhn")
IMSI_FORM = Form("IMSI", pattern=r"^[0-9]{6,15}$", description="6 to 15 digits")
MSISDN_FORM = Form("MSISDN", pattern=r"^[0-9]{1,15}$", description="at most 15 digits", peel="+")
IMEI_FORM = Form("IMEI", pattern=r"^[0-9]{15}$", description="15 digits", check="luhn")


class Subscriber(BaseModel):
    value: Annotated[str, FormsBy("type", (ICCID_FORM, IMSI_FORM, MSISDN_FORM, IMEI_FORM))]
    type: Annotated[str, OneOf("IMSI", "ICCID", "MSISDN", "IMEI")]
    alias: Annotated[str, Field(max_length=9), Change()] = ""
    note: Annotated[str, Change()] = ""


TYPED = ("type", "value", "alias")
IMSI = "262010000000001"
IMEI = next(v for n in range(10) if luhn(v := f"86111111111111{n}"))
BAD_IMEI = IMEI[:-1] + str((int(IMEI[-1]) + 1) % 10)


def subscribers(
    *rows: tuple[str | None, ...], header: tuple[str, ...] = TYPED, first: int = 1, **settings: Any
) -> Screened:
    return Screen(Subscriber, header, Input(**settings))(chunk(*rows, first=first))


def test_every_row_is_judged_by_the_form_its_type_names() -> None:
    found = subscribers(
        ("ICCID", GOOD["iccid"], "a"), ("IMSI", IMSI, "b"), ("MSISDN", "4917", "c"), ("IMEI", IMEI, "d")
    )
    assert found.rejected == []
    assert found.fields.select(["value", "type"]).to_pylist() == [
        {"value": GOOD["iccid"], "type": "ICCID"},
        {"value": IMSI, "type": "IMSI"},
        {"value": "4917", "type": "MSISDN"},
        {"value": IMEI, "type": "IMEI"},
    ]


def test_a_type_is_told_in_any_letter_case_and_sent_as_listed() -> None:
    found = subscribers(("\u200biccid ", GOOD["iccid"], "a"), ("Imsi", IMSI, "b"), ("IMSI", IMSI, "b"))
    assert found.fields.column("type").to_pylist() == ["ICCID", "IMSI", "IMSI"]


@pytest.mark.parametrize("word", ["SUPI", "ims", "\u0131msi", "I MSI", "IMSI,ICCID"])
def test_a_bad_type_is_the_only_fault_of_its_row(word: str) -> None:
    found = only_rejected(subscribers(("IMSI", IMSI, "a"), (word, "garbage", "a")))
    assert found.code == "type_format"
    assert found.reason == f'row 2, column "type": must be one of IMSI, ICCID, MSISDN, IMEI, is "{word}"'
    assert found.key == "garbage"


def test_a_blank_type_is_missing() -> None:
    found = only_rejected(subscribers((" ", IMSI, "a")))
    assert (found.code, found.reason) == ("type_missing", 'row 1, column "type": is empty; fill it in')


@pytest.mark.parametrize(
    ("word", "value", "code", "words"),
    [
        ("ICCID", "8935", "iccid_format", 'must be 19 or 20 digits for ICCID, is "8935"'),
        ("imsi", "1" * 16, "imsi_format", "must be 6 to 15 digits for IMSI, is "),
        ("IMSI", " ", "value_missing", "is empty; fill it in"),
        ("IMSI", None, "value_missing", "is empty; fill it in"),
        ("MSISDN", "+", "value_missing", "is empty; fill it in"),
        ("ICCID", "8.93571E+18", "iccid_damaged", "scientific notation"),
        ("MSISDN", "+4.91712E+11", "msisdn_damaged", "scientific notation"),
        ("IMSI", "262010000000001.0", "imsi_damaged", "trailing .0"),
        ("MSISDN", "+491712345.0", "msisdn_damaged", "trailing .0"),
        ("ICCID", ROUNDED, "iccid_damaged", "digits after the 15th are zeros"),
        ("ICCID", "898600B5012345678901", "iccid_hex", "hex letters"),
        ("IMSI", "+262010000000001", "imsi_format", "must be 6 to 15 digits"),
    ],
)
def test_a_fault_of_a_value_is_told_in_the_words_of_its_form(
    word: str, value: str | None, code: str, words: str
) -> None:
    rows = (("ICCID", GOOD["iccid"], "a"), ("IMSI", IMSI, "a"), (word, value, "a"))
    found = only_rejected(subscribers(*rows, first=4))
    assert found.code == code
    assert found.reason.startswith('row 6, column "value": ')
    assert words in found.reason


@pytest.mark.parametrize("value", ["+4917", "4917", " +49 17\u00a0", "'+49-17", '="+4917"', "+ 4917"])
def test_a_prefix_of_the_writing_is_peeled_off_where_the_form_says_so(value: str) -> None:
    found = subscribers(("MSISDN", value, "a"), ("IMSI", IMSI, "a"))
    assert found.fields.column("value").to_pylist() == ["4917", IMSI]
    assert subscribers((value, "a"), header=("msisdn", "alias")).fields.column("value").to_pylist() == [
        "4917"
    ]


def test_a_column_named_by_its_type_is_judged_by_it() -> None:
    found = subscribers((IMSI, "a"), ("x", "a"), header=("IMSI", "alias"))
    assert found.fields.to_pylist() == [{"value": IMSI, "type": "IMSI", "alias": "a", "note": ""}]
    assert only_rejected(found).reason == 'row 2, column "IMSI": must be 6 to 15 digits for IMSI, is "x"'


def test_the_type_may_be_a_default_in_any_letter_case() -> None:
    found = subscribers((IMSI, "a"), header=("value", "alias"), defaults={"type": "imsi"})
    assert found.fields.column("type").to_pylist() == ["IMSI"]


def test_a_default_type_that_is_none_is_told_before_any_row() -> None:
    with pytest.raises(UsageError) as error:
        subscribers((IMSI, "a"), header=("value", "alias"), defaults={"type": "SUPI"})
    assert str(error.value) == ('[input] defaults.type: must be one of IMSI, ICCID, MSISDN, IMEI, is "SUPI"')


def test_a_default_value_is_judged_by_the_type_that_all_rows_share() -> None:
    with pytest.raises(UsageError, match=r"\[input\] defaults.value: must be 6 to 15 digits for IMSI"):
        subscribers(("a",), header=("alias",), defaults={"type": "IMSI", "value": "x"})


def test_a_default_value_needs_a_type_that_all_rows_share() -> None:
    with pytest.raises(UsageError, match=r"\[input\] defaults.value: its form would differ"):
        subscribers(("IMSI", "a"), header=("type", "alias"), defaults={"value": IMSI})


def test_check_digits_are_counted_by_form() -> None:
    rows = [("ICCID", GOOD["iccid"], "a"), ("ICCID", BAD_LUHN, "a"), ("IMEI", IMEI, "a"), ("IMSI", IMSI, "a")]
    assert subscribers(*rows).check_digits == {"iccid": (1, 1), "imei": (1, 0)}
    assert subscribers(rows[0], rows[1]).check_digits == {"iccid": (1, 1)}
    assert subscribers(*rows, check_digits={"imei": "off"}).check_digits == {"iccid": (1, 1)}
    alone = subscribers((IMEI, "a"), (BAD_IMEI, "a"), header=("imei", "alias"))
    assert alone.check_digits == {"imei": (1, 1)}


def test_check_digits_reject_the_form_the_job_file_names() -> None:
    rows = [("ICCID", BAD_LUHN, "a"), ("IMEI", BAD_IMEI, "a"), ("IMSI", IMSI, "a")]
    found = subscribers(*rows, check_digits={"imei": "reject"})
    assert found.rows.to_pylist() == [0, 2]
    assert only_rejected(found).code == "imei_check_digit"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("icid", "did you mean iccid?"),
        ("value", "known are iccid, imsi, msisdn, imei, type, alias, note"),
        ("imsi", "the field has no check digit; known are iccid, imei"),
    ],
)
def test_check_digits_of_a_form_that_has_none_are_an_error(name: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        subscribers((IMSI, "a"), header=("imsi", "alias"), check_digits={name: "off"})
    assert words in str(error.value)


# ---------------------------------------------------------------- what a row changes


def test_a_row_with_nothing_to_change_is_rejected() -> None:
    found = subscribers(("IMSI", IMSI, "a"), ("IMSI", IMSI, " \u200b"), first=6)
    assert only_rejected(found).code == "nothing_to_change"
    assert only_rejected(found).reason == (
        'row 7: nothing to change: column "alias" is blank, the file has no column for note'
    )
    assert found.rows.to_pylist() == [0]


def test_one_change_is_enough() -> None:
    header = (*TYPED, "note")
    found = subscribers(
        ("IMSI", IMSI, "", "n"), ("IMSI", IMSI, "a", ""), ("IMSI", IMSI, "", ""), header=header
    )
    assert found.rows.to_pylist() == [0, 1]
    assert 'column "alias" is blank, column "note" is blank' in only_rejected(found).reason


def test_a_default_change_changes_every_row() -> None:
    found = subscribers((IMSI,), header=("imsi",), defaults={"alias": " fleet "})
    assert found.fields.column("alias").to_pylist() == ["fleet"]


def test_without_a_column_for_any_change_every_row_is_rejected() -> None:
    found = subscribers((IMSI,), (IMSI,), header=("imsi",))
    assert [no.code for no in found.rejected] == ["nothing_to_change"] * 2


def test_a_change_that_does_not_hold_is_no_blank() -> None:
    assert only_rejected(subscribers(("IMSI", IMSI, "x" * 10))).code == "alias_too_long"


def test_nothing_to_change_is_told_after_the_other_faults_of_its_row() -> None:
    found = only_rejected(subscribers(("IMSI", "x", "")))
    assert found.code == "imsi_format"
    assert found.reason.startswith(
        'row 1, column "value": must be 6 to 15 digits for IMSI, is "x"; nothing to'
    )


# ---------------------------------------------------------------- what else names a SIM


def test_further_columns_named_by_a_form_show_what_else_names_the_sim() -> None:
    header = (*TYPED, "iccid", "x", "Msisdn")
    found = subscribers(
        ("IMSI", IMSI, "a", GOOD["iccid"] + "F", "?", "+4917"),
        ("IMSI", "x", "a", GOOD["iccid"], "?", "4918"),
        ("ICCID", GOOD["iccid"], "c", ROUNDED, "?", " "),
        ("IMEI", IMEI, "d", None, "?", "+49 19"),
        header=header,
    )
    assert found.names is not None
    assert found.names.forms.to_pylist() == ["IMSI", "ICCID", "IMEI"]
    iccids, msisdns = found.names.others
    assert (iccids.form, iccids.rows.to_pylist()) == ("ICCID", [0])
    assert iccids.fields.to_pylist() == [{"value": GOOD["iccid"], "type": "ICCID", "alias": "a", "note": ""}]
    assert (msisdns.form, msisdns.rows.to_pylist()) == ("MSISDN", [0, 2])
    assert msisdns.fields.column("value").to_pylist() == ["4917", "4919"]


@pytest.mark.parametrize(
    ("header", "columns", "others"),
    [
        (("iccid", "alias"), {}, None),
        (("value", "type"), {}, None),
        (("iccid", "alias"), {"value": "iccid"}, None),
        (("value", "type", "imsi"), {}, ["IMSI"]),
        (("iccid", "imsi"), {"value": "imsi"}, ["ICCID"]),
    ],
)
def test_a_column_that_names_the_row_shows_nothing_besides(
    header: tuple[str, ...], columns: dict[str, str], others: list[str] | None
) -> None:
    names = subscribers(("x",) * len(header), header=header, columns=columns).names
    assert (names and [other.form for other in names.others]) == others


def test_a_target_of_one_form_has_no_other_names() -> None:
    assert screened(row()).names is None


cells_of_any_form = st.one_of(
    near(GOOD["iccid"]), near(IMSI), near(IMEI), st.from_regex(r"\+?[0-9]{3,16}", fullmatch=True)
)
any_type = st.one_of(
    st.sampled_from(["IMSI", "ICCID", "MSISDN", "IMEI", "imsi", " Iccid\u00a0", "SUPI", "", None]),
    st.text(max_size=5),
)


@given(
    rows=st.lists(
        st.tuples(any_type, cells_of_any_form, st.sampled_from(["a", " ", None, "x" * 10])),
        min_size=1,
        max_size=8,
    ),
    modes=st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(["warn", "reject", "off"]) for name in ("iccid", "imei")}
    ),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_a_column_of_mixed_types_is_judged_as_each_of_its_rows_alone(
    rows: list[tuple[str | None, ...]], modes: dict[str, Any]
) -> None:
    screen = Screen(Subscriber, TYPED, Input(check_digits=modes))
    together = screen(chunk(*rows))
    alone = [screen(chunk(cells, first=1 + index)) for index, cells in enumerate(rows)]
    assert together.fields.to_pylist() == [item for one in alone for item in one.fields.to_pylist()]
    assert [(no.code, no.reason, no.key) for no in together.rejected] == [
        (no.code, no.reason, no.key) for one in alone for no in one.rejected
    ]
    counted = [(name, counts) for one in alone for name, counts in one.check_digits.items()]
    assert together.check_digits == {
        name: tuple(map(sum, zip(*(counts for other, counts in counted if other == name), strict=True)))
        for name, _ in counted
    }


# ---------------------------------------------------------------- numbers where text belongs


def with_numbers(found: Chunk, **columns: list[bool]) -> Chunk:
    marks = {int(name[1:]): pa.array(cells) for name, cells in columns.items()}
    return replace(found, numbers=marks)


def test_a_number_in_an_identifier_column_is_damage_however_well_it_prints() -> None:
    rows = with_numbers(chunk(row(), row(), row(iccid="x")), _0=[False, True, False])
    found = Screen(Profile, HEADER, Input())(rows)
    assert found.rows.to_pylist() == [0]
    damaged, other = found.rejected
    assert (damaged.index, damaged.code, damaged.key) == (1, "iccid_damaged", GOOD["iccid"])
    assert damaged.reason == (
        'row 2, column "ICC ID": a number in the file, not text, so its digits cannot be trusted; '
        f'format the column as text and fill it again, is "{GOOD["iccid"]}"'
    )
    assert other.code == "iccid_format"


def test_the_digits_of_a_number_are_counted_nowhere() -> None:
    rows = with_numbers(chunk(row(iccid=BAD_LUHN), row()), _0=[True, False])
    assert Screen(Profile, HEADER, Input())(rows).check_digits["iccid"] == (1, 0)


def test_a_whole_number_in_a_column_of_plain_text_is_its_text() -> None:
    rows = with_numbers(chunk(row(apn="7")), _4=[True])
    found = Screen(Profile, HEADER, Input())(rows)
    assert found.rejected == []
    assert found.fields.to_pylist() == [GOOD | {"apn": "7"}]


@pytest.mark.parametrize("apn", ["1234567890123507000", "0.00000045", "1e+20"])
def test_a_number_that_may_have_lost_digits_is_damage_in_plain_text_too(apn: str) -> None:
    found = only_rejected(Screen(Profile, HEADER, Input())(with_numbers(chunk(row(apn=apn)), _4=[True])))
    assert found.code == "apn_damaged"


def test_a_code_that_is_a_number_is_damage_for_its_zeros_may_be_gone() -> None:
    found = only_rejected(Screen(Profile, HEADER, Input())(with_numbers(chunk(row(cc="123")), _3=[True])))
    assert found.code == "cc_damaged"
    assert "123" not in found.reason


@pytest.mark.parametrize("column", ["_2", "_3"])
def test_a_number_in_either_column_of_a_pair_is_damage(column: str) -> None:
    header = ("iccid", "eid", "smdp", "matchingid", "apn")
    rows = chunk((GOOD["iccid"], GOOD["eid"], "12", "1234567890123507000", "iot"))
    found = only_rejected(Screen(Profile, header, Input())(with_numbers(rows, **{column: [True]})))
    assert found.code == "ac_damaged"


def test_a_number_is_told_before_what_else_is_wrong_with_the_cell() -> None:
    rows = with_numbers(chunk(row(iccid="8.93571E+18", apn="")), _0=[True])
    found = only_rejected(Screen(Profile, HEADER, Input())(rows))
    assert found.code == "iccid_damaged"
    assert found.reason.count("ICC ID") == 1
    assert "apn" in found.reason


class Optional(BaseModel):
    imei: Annotated[str, Field(pattern="^[0-9]{15}$"), Identifier()] = ""


def test_a_number_is_damage_where_the_cell_could_be_blank_too() -> None:
    rows = with_numbers(chunk((IMEI,), ("",)), _0=[True, False])
    assert only_rejected(Screen(Optional, ("imei",), Input())(rows)).code == "imei_damaged"


def test_a_chunk_whose_marked_columns_hold_no_number_passes_as_ever() -> None:
    rows = with_numbers(chunk(row(), row()), _0=[False, False])
    assert Screen(Profile, HEADER, Input())(rows).rejected == []


def test_a_number_is_damage_in_a_column_with_forms_too() -> None:
    rows = chunk(("ICCID", GOOD["iccid"], "a"), ("IMSI", IMSI, "b"), ("IMSI", IMSI, "c"), ("ICCID", "x", "d"))
    marked = with_numbers(rows, _1=[True, False, True, False])
    found = Screen(Subscriber, TYPED, Input())(marked)
    assert found.rows.to_pylist() == [1]
    assert [one.code for one in found.rejected] == ["iccid_damaged", "imsi_damaged", "iccid_format"]
    assert "a number in the file" in found.rejected[1].reason


def test_a_number_in_a_column_of_one_form_is_damage() -> None:
    marked = with_numbers(chunk((IMSI, "a"), (IMSI, "b")), _0=[False, True])
    found = Screen(Subscriber, ("imsi", "alias"), Input())(marked)
    assert only_rejected(found).code == "imsi_damaged"


def test_a_number_in_a_further_column_names_no_sim() -> None:
    rows = chunk(("ICCID", GOOD["iccid"], "a", IMSI), ("ICCID", GOOD["iccid"], "b", IMSI))
    found = Screen(Subscriber, (*TYPED, "imsi"), Input())(with_numbers(rows, _3=[True, False]))
    assert found.rejected == []
    assert found.names is not None
    assert found.names.others[0].rows.to_pylist() == [1]


# ---------------------------------------------------------------- check digits by the number of digits


class Bare(BaseModel):
    iccid: Annotated[
        str, Field(pattern=r"^[0-9]{19,20}$", description="digits"), Identifier(check="luhn", bare_digits=19)
    ]


def test_where_some_lack_their_check_digit_the_counts_go_by_the_number_of_digits_too() -> None:
    twenty = next(v for n in range(10) if luhn(v := f"{BAD_LUHN}{n}"))
    rows = chunk((GOOD["iccid"],), (BAD_LUHN,), (twenty,))
    found = Screen(Bare, ("iccid",), Input())(rows)
    assert found.check_digits == {"iccid": (2, 1), "iccid:19": (1, 1), "iccid:20": (1, 0)}
    assert Screen(Bare, ("iccid",), Input())(chunk((twenty,))).check_digits.keys() == {"iccid", "iccid:20"}


@given(st.lists(st.text("0123456789", max_size=34), min_size=1, max_size=30))
def test_a_column_of_digits_alone_is_judged_as_by_its_pattern(cells: list[str]) -> None:
    (alone, beside) = (
        Screen(Sim, ("iccid",), Input())(chunk(*((cell,) for cell in column)))
        for column in (cells, [*cells, "x"])
    )
    assert alone.rows.to_pylist() == beside.rows.to_pylist()
    assert alone.rejected == beside.rejected[:-1]


class Card(BaseModel):
    iccid: Annotated[str, Field(pattern="^[0-9]{19,20}$"), Identifier(check="luhn")]
    eid: Annotated[str, OnePerKey()] = ""


ZEROS = next(v for n in range(100) if luhn(v := f"8935711001{n:05d}0000"))


def cards(*rows: tuple[str, str]) -> Screened:
    return Screen(Card, ("iccid", "eid"), Input())(chunk(*rows))


def test_rounding_that_passes_the_check_digit_shows_in_rows_of_other_eids() -> None:
    found = cards((ZEROS, "a"), (GOOD["iccid"], "b"), (ZEROS, "c"), (ZEROS, "a"))
    assert found.rows.to_pylist() == [1]
    assert {no.code for no in found.rejected} == {"iccid_damaged"}
    assert "rounding" in found.rejected[0].reason


def test_zeros_at_the_end_of_a_key_of_one_eid_prove_nothing() -> None:
    assert cards((ZEROS, "a"), (GOOD["iccid"], "b"), (ZEROS, "a")).rejected == []
