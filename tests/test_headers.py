from __future__ import annotations

import time

import pytest
from hypothesis import given, strategies as st

from pipeline.errors import InventoryError, UsageError
from pipeline.headers import (
    FromColumn,
    FromDefault,
    FromPair,
    JoinedFrom,
    Wanted,
    find_columns,
    fold,
    form_columns,
    is_key_material,
    quoted,
)
from pipeline.plugins import every, installed
from pipeline.screening import needed_names
from pipeline.settings import Input

ICCID = Wanted("iccid", ("ccid", "simnumber", "sernb"))
AC = Wanted("ac", ("lpa", "qrcode"), JoinedFrom(("smdp", "smdpaddress"), ("matchingid",), "LPA:1${}${}"))
CC = Wanted("cc", ("confirmationcode",), required=False)
APN = Wanted("apn")
VALUE = Wanted(
    "value", ("id",), forms=(("ICCID", ("ccid", "simnumber")), ("IMSI", ()), ("IMEI", ())), forms_by="type"
)
TYPE = Wanted("type", ("kind",))
ALIAS = Wanted("alias", ("label", "name"), required=False)


@pytest.mark.parametrize(
    "header",
    [
        "iccid",
        "ICCID",
        "ICC ID",
        "icc_id",
        "ICC-ID",
        " iccid\t",
        "ICCID (Required)",
        "ICCID(19-20 digits) [text]",
        "\ufeffICCID",
        "\ufeff ICC\u200bID\u00a0(Required)\u200b",
        "SIM Number",
        "Ser-Nb",
        "ICCID *",
        "*ICCID*(Required)",
    ],
)
def test_a_column_is_found_under_any_spelling_of_its_names(header: str) -> None:
    assert find_columns(["x", header], [ICCID], {}, {}) == {"iccid": FromColumn(1)}


@pytest.mark.parametrize("header", ["iccid2", "(iccid)", "my iccid", "", "iccid (a) b"])
def test_a_name_that_only_resembles_claims_nothing(header: str) -> None:
    with pytest.raises(InventoryError, match="no column for iccid"):
        find_columns([header], [ICCID], {}, {})


def test_the_job_file_wins_over_the_aliases() -> None:
    found = find_columns(["iccid", "Serial"], [ICCID], {"iccid": "Serial"}, {})
    assert found == {"iccid": FromColumn(1)}


def test_an_exact_header_wins_over_a_folded_one() -> None:
    found = find_columns(["ICC-ID", "ICC ID"], [ICCID], {"iccid": "ICC ID"}, {})
    assert found == {"iccid": FromColumn(1)}


def test_a_column_named_in_the_job_file_may_be_spelt_loosely() -> None:
    found = find_columns(["\ufeffMy Serial (Required)"], [ICCID], {"iccid": "my_serial"}, {})
    assert found == {"iccid": FromColumn(0)}


def test_a_column_given_to_one_field_serves_no_other_by_alias() -> None:
    found = find_columns(["iccid", "lpa", "qrcode"], [ICCID, AC, CC], {"cc": "qrcode"}, {})
    assert found == {"iccid": FromColumn(0), "ac": FromColumn(1), "cc": FromColumn(2)}


def test_a_column_that_is_not_in_the_file_is_named_with_the_nearest_one() -> None:
    with pytest.raises(InventoryError) as error:
        find_columns(["ICCIDs", "apn"], [ICCID], {"iccid": "ICC ID"}, {})
    assert str(error.value) == (
        '[input] columns.iccid: no column "ICC ID" in the file; did you mean "ICCIDs"? '
        'The file has: "ICCIDs", "apn"'
    )


def test_a_column_dropped_as_key_material_is_explained_when_asked_for() -> None:
    with pytest.raises(InventoryError, match="dropped as the file is read, as key material"):
        find_columns(["iccid"], [ICCID, CC], {"cc": "PIN 1"}, {})


@pytest.mark.parametrize("table", ["columns", "defaults"])
def test_an_unknown_field_in_the_job_file_is_named_with_the_nearest_one(table: str) -> None:
    tables = {"columns": {}, "defaults": {}, table: {"icid": "x"}}
    with pytest.raises(UsageError, match=rf"\[input\] {table}.icid: unknown field; did you mean iccid\?"):
        find_columns(["iccid"], [ICCID], **tables)


def test_two_columns_that_claim_one_field_are_both_named() -> None:
    with pytest.raises(InventoryError) as error:
        find_columns(["iccid", "apn", "ICC-ID"], [ICCID], {}, {})
    assert str(error.value) == (
        'iccid is claimed by 2 columns, "iccid" (column 1) and "ICC-ID" (column 3); '
        "choose one with [input] columns"
    )


@pytest.mark.parametrize("columns", [{}, {"iccid": "iccid"}])
def test_a_header_that_repeats_must_be_renamed_or_passed_over(columns: dict[str, str]) -> None:
    with pytest.raises(InventoryError, match=r"rename one in the file, or choose another with \[input\]"):
        find_columns(["iccid", "iccid"], [ICCID], columns, {})


def test_choosing_one_of_two_claimants_settles_it() -> None:
    found = find_columns(["iccid", "ICC-ID"], [ICCID], {"iccid": "ICC-ID"}, {})
    assert found == {"iccid": FromColumn(1)}


def test_columns_nobody_asked_for_may_repeat() -> None:
    assert find_columns(["", "x", "x", "", "apn"], [APN], {}, {}) == {"apn": FromColumn(4)}


def test_a_required_field_without_column_or_default_says_what_to_do() -> None:
    with pytest.raises(InventoryError) as error:
        find_columns(["serial", "apn"], [ICCID], {}, {})
    assert str(error.value) == (
        "no column for iccid (known names: iccid, ccid, simnumber, sernb); name it in [input] columns "
        'or give a default in [input] defaults. The file has: "serial", "apn"'
    )


def test_the_error_names_the_pair_that_would_do_as_well() -> None:
    with pytest.raises(InventoryError, match="lpa, qrcode, or smdp/smdpaddress with matchingid"):
        find_columns(["smdp"], [AC], {}, {})


def test_a_default_stands_in_only_for_a_column_the_file_lacks() -> None:
    assert find_columns(["x"], [APN], {}, {"apn": "iot"}) == {"apn": FromDefault("iot")}
    assert find_columns(["apn"], [APN], {}, {"apn": "iot"}) == {"apn": FromColumn(0)}


def test_an_optional_field_may_be_absent() -> None:
    assert find_columns(["x"], [CC], {}, {}) == {"cc": FromDefault(None)}


def test_a_pair_stands_in_where_its_own_column_is_absent() -> None:
    header = ["Matching ID", "SM-DP Address"]
    assert find_columns(header, [AC], {}, {}) == {"ac": FromPair(1, 0, "LPA:1${}${}")}
    assert find_columns([*header, "LPA"], [AC], {}, {}) == {"ac": FromColumn(2)}


# ---------------------------------------------------------------- a field of many forms


def find_value(
    header: list[str], columns: dict[str, str] | None = None, defaults: dict[str, str] | None = None
) -> tuple[object, object]:
    found = find_columns(header, [VALUE, TYPE, ALIAS], columns or {}, defaults or {})
    return found["value"], found["type"]


def test_value_and_type_have_columns_of_their_own() -> None:
    assert find_value(["Type", "alias", "Value"]) == (FromColumn(2), FromColumn(0))
    assert find_value(["kind", "id"]) == (FromColumn(1), FromColumn(0))


def test_the_type_of_a_value_column_may_be_a_default() -> None:
    assert find_value(["value"], defaults={"type": "IMSI"}) == (FromColumn(0), FromDefault("IMSI"))


def test_a_value_column_is_the_value_whatever_other_identifiers_stand_beside_it() -> None:
    assert find_value(["iccid", "imsi", "value", "type"]) == (FromColumn(2), FromColumn(3))


@pytest.mark.parametrize(
    ("name", "form"), [("iccid", "ICCID"), ("CC ID", "ICCID"), ("SIM_Number", "ICCID"), ("IMSI", "IMSI")]
)
def test_a_single_column_named_by_its_type_decides_alone(name: str, form: str) -> None:
    assert find_value(["alias", name]) == (FromColumn(1), FromDefault(form))


def test_a_type_column_or_default_beside_a_column_named_by_its_type_is_passed_over() -> None:
    assert find_value(["type", "iccid"]) == (FromColumn(1), FromDefault("ICCID"))
    assert find_value(["iccid"], defaults={"type": "IMSI"}) == (FromColumn(0), FromDefault("ICCID"))
    assert find_value(["iccid"], defaults={"value": "1"}) == (FromColumn(0), FromDefault("ICCID"))


def test_a_type_column_that_the_job_file_names_is_never_passed_over() -> None:
    assert find_value(["sort", "iccid"], {"type": "sort"}) == (FromColumn(1), FromColumn(0))


def test_a_value_column_chosen_in_the_job_file_tells_its_type_by_its_name() -> None:
    assert find_value(["iccid", "imsi"], {"value": "imsi"}) == (FromColumn(1), FromDefault("IMSI"))


def test_a_chosen_value_column_takes_its_type_from_where_the_file_or_the_job_says_it() -> None:
    assert find_value(["iccid", "type"], {"value": "iccid"}) == (FromColumn(0), FromColumn(1))
    found = find_value(["iccid", "imsi"], {"value": "imsi"}, {"type": "IMEI"})
    assert found == (FromColumn(1), FromDefault("IMEI"))


def test_a_chosen_value_column_of_another_name_needs_a_type() -> None:
    with pytest.raises(InventoryError, match="no column for type"):
        find_value(["serial", "iccid"], {"value": "serial"})


def test_several_columns_named_by_types_are_named_with_the_remedy() -> None:
    with pytest.raises(InventoryError) as error:
        find_value(["ICC-ID", "alias", "imsi"])
    assert str(error.value) == (
        'value could be any of 2 columns, "ICC-ID" (column 1) and "imsi" (column 3); '
        'choose one with [input] columns = { value = "ICC-ID" }'
    )


def test_a_column_given_to_another_field_does_not_compete_for_the_value() -> None:
    assert find_value(["iccid", "imsi"], {"alias": "imsi"}) == (FromColumn(0), FromDefault("ICCID"))


def test_without_any_identifier_the_known_names_are_told() -> None:
    with pytest.raises(InventoryError) as error:
        find_value(["alias", "type"])
    assert str(error.value) == (
        "no column for value (known names: value, id, or alone one of iccid, ccid, simnumber, imsi, imei); "
        'name it in [input] columns or give a default in [input] defaults. The file has: "alias", "type"'
    )


def test_the_columns_named_by_a_form_are_listed_with_it() -> None:
    assert form_columns(["x", "SIM number", "imsi", "", "IMSI"], VALUE) == [
        (1, "ICCID"),
        (2, "IMSI"),
        (4, "IMSI"),
    ]
    assert form_columns(["iccid"], ICCID) == []


# ---------------------------------------------------------------- what is shown, what is dropped


def test_a_headerless_file_does_not_spill_its_first_row_into_the_error() -> None:
    row = ["8935711001000000006", "LPA:1$smdp.example$SECRET-MATCHING-ID", "4711"]
    with pytest.raises(InventoryError) as error:
        find_columns(row, [ICCID], {}, {})
    assert "is the header line missing?" in str(error.value)
    assert not any(cell in str(error.value) for cell in row)


def test_a_very_wide_header_is_not_listed_whole() -> None:
    with pytest.raises(InventoryError) as error:
        find_columns([f"column {n}" for n in range(500)], [ICCID], {}, {})
    assert str(error.value).endswith("… (500 in all)")
    assert len(str(error.value)) < 1000


KEYS = (
    "Ki|KI|K|OPc|OP|op_c|PIN|PIN1|PIN 2|pin-1|PIN1 code|PUK|PUK1|puk_2|ADM|ADM1|ADM 2 (hex)|Transport key|"
    "Transport_key|transport keys|TransportKey1|KIC|KID1|KIK_02|Ki (encrypted)|Enc_Ki|eKi|KI*|(KI)|\ufeffKi|"
    "PIN#1|K4|USIM_PIN1|CHV1|Unblock CHV2|OPC Value|ADM1_HEX|"
    "PUK2|ADM4|OP|KIK1|KIC|KID|ENC_KI|Code Retailer|Retailer code|Code ADM|PIN code retailer|ACC|"
    "SCP80_KIC1|PSK|Universal PIN|OTA KIC 01|Keyset-2/KIK|Ki of the SIM|Admin PIN1|"
    "A4KI|OTA_KEY|OTAKEY1|otakey|AuthKey|authkey|KEY|Keys|ENC_KEY|TK|TransKey|K_TRANSPORT|K_ASME|MILENAGE_OP|"
    "MILENAGE OPc|SD-ENC|SECRET|GlobalPIN|globalpin|Authentication Key|SIM Auth Key|Subscriber Key|A3A8 key|"
    "UPUK|Unblocking Code|Superpin|ISD-P key|ISDR_KEY|Keyset|Master Key|AES key|3DES|ENC|MAC|PSK_TLS|ADM_KEY"
)
NO_KEYS = (
    "iccid|eid|imei|imsi|msisdn|ac|cc|apn|alias|label|name|type|value|smdp|matchingid|lpa|qrcode|ssn|sernb|"
    "Access_Control|Retailer|Account|code|Confirmation code (PIN)|shop name|Pink|OP name|"
    "operator|kind|pinned|kit|admin|opening|shipping|kilo|keyword|monkey|keyboard|turnkey|task|secretary|stock|"
    "5K data|MAC address|Encoding|desc|profile|card type|ISD-P AID|Auth|Subscriber|Transport|"
)


@pytest.mark.parametrize("name", KEYS.split("|"))
def test_key_material_is_recognised(name: str) -> None:
    assert is_key_material(name)


@pytest.mark.parametrize("name", NO_KEYS.split("|"))
def test_other_columns_are_kept(name: str) -> None:
    assert not is_key_material(name)


def test_no_column_that_an_installed_target_reads_is_taken_for_a_key() -> None:
    for target in every("targets"):
        names = needed_names(installed("targets", target.name).rules, Input())
        assert "iccid" in names
        assert not any(map(is_key_material, names))


@pytest.mark.parametrize(
    "text", ["enc", "encrypted", "scp33des", "isdp", "a3a8", "e", "ki", "codekeyenc", "()", "[]("]
)
def test_a_name_without_end_is_judged_in_no_time(text: str) -> None:
    begun = time.monotonic()
    assert not is_key_material(f"a{text * (100_000 // len(text))}zz")
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("a(b)", "a"),
        ("a(b)[c]", "a"),
        ("(a)b", "(a)b"),
        ("(a)", "(a)"),
        ("(a)(b)", "(a)"),
        ("a(b)c)", "a(b)c)"),
    ],
)
def test_brackets_at_the_end_of_a_name_do_not_count_unless_they_are_all_of_it(name: str, folded: str) -> None:
    assert fold(name) == folded


def test_what_cannot_be_seen_is_escaped_and_what_is_long_is_cut() -> None:
    assert quoted("a\x00b\u200bc\nd") == '"a\\x00b\\u200bc\\nd"'
    assert quoted("x" * 60) == f'"{"x" * 60}"'
    assert quoted("x" * 61) == f'"{"x" * 59}…"'


def test_an_activation_code_is_never_shown() -> None:
    assert "SECRET" not in quoted("1$smdp.example$SECRET")


@given(st.text())
def test_folding_is_done_once_and_for_all_on_any_text(name: str) -> None:
    assert fold(f" {name}_") == fold(name)
    assert isinstance(is_key_material(name), bool)


@given(st.text(max_size=80))
def test_a_quoted_text_is_one_printable_line(text: str) -> None:
    assert quoted(text).isprintable()
