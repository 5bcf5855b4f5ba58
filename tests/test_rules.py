"""What a model may declare: whatever columns cannot run is refused as the model is read."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, create_model

from pipeline.rules import (
    Aliases,
    Change,
    Form,
    FormsBy,
    Identifier,
    OneOf,
    OnePerKey,
    Unique,
    rules_of,
)

ICCID = Form(
    "ICCID", pattern="^[0-9]{19,20}$", description="19 or 20 digits", check="luhn", aliases=("ccid",)
)
MSISDN = Form("MSISDN", pattern="^[0-9]{1,15}$", description="at most 15 digits", peel="+")
FORMS = FormsBy("type", (ICCID, MSISDN))
TYPE = Annotated[str, OneOf("MSISDN", "ICCID")]


def model(**fields: Any) -> type[BaseModel]:
    return create_model("Row", **fields)


def test_the_words_of_a_choice_are_told_to_the_operator() -> None:
    (rule,) = rules_of(model(type=(TYPE, ...)))
    assert (rule.one_of, rule.words) == (("MSISDN", "ICCID"), "one of MSISDN, ICCID")


def test_a_description_of_its_own_is_kept() -> None:
    (rule,) = rules_of(model(type=(Annotated[str, Field(description="a word"), OneOf("A", "B")], ...)))
    assert rule.words == "a word"


def test_each_form_gives_a_rule_under_its_own_name() -> None:
    value, _ = rules_of(model(value=(Annotated[str, FORMS, Aliases("id")], ...), type=(TYPE, ...)))
    iccid, msisdn = value.by_form().values()
    assert list(value.by_form()) == ["ICCID", "MSISDN"]
    assert (iccid.name, iccid.code, iccid.check, iccid.identifier) == ("value", "iccid", "luhn", True)
    assert (msisdn.pattern, msisdn.peel, msisdn.words) == (
        "^[0-9]{1,15}$",
        "+",
        "at most 15 digits for MSISDN",
    )
    assert value.aliases == ("id",)


def test_a_field_without_forms_has_no_rule_by_form() -> None:
    (rule,) = rules_of(model(type=(TYPE, ...)))
    assert rule.by_form() == {}


def test_a_change_is_marked() -> None:
    (rule,) = rules_of(model(alias=(Annotated[str, Aliases("label"), Change()], "")))
    assert rule.change


VALUE = Annotated[str, FORMS]
MISUSES: dict[str, tuple[dict[str, Any], str]] = {
    "a field that is not there": ({"value": VALUE}, "type, which is no OneOf"),
    "a field that is no choice": ({"value": VALUE, "type": str}, "type, which is no OneOf"),
    "words without a form": (
        {"value": VALUE, "type": Annotated[str, OneOf("MSISDN", "ICCID", "EID")]},
        "its forms are not the words of type",
    ),
    "a form given twice": (
        {"value": Annotated[str, FormsBy("type", (ICCID, ICCID, MSISDN))], "type": TYPE},
        "its forms are not the words of type",
    ),
    "two forms under one name": (
        {
            "value": Annotated[
                str,
                FormsBy("type", (ICCID, Form("MSISDN", pattern="a", description="a", aliases=("CC-ID",)))),
            ],
            "type": TYPE,
        },
        "two forms go by one name",
    ),
    "two fields with forms": (
        {"value": VALUE, "other": VALUE, "type": TYPE},
        "only one field can have forms",
    ),
    "a default for the value": ({"value": (VALUE, "1"), "type": TYPE}, "has a default"),
    "a default for the type": ({"value": VALUE, "type": (TYPE, "ICCID")}, "has a default"),
    "a pattern besides the forms": (
        {"value": Annotated[str, Field(pattern="^a$"), FORMS], "type": TYPE},
        "nothing goes with them",
    ),
    "an identifier besides the forms": (
        {"value": Annotated[str, Identifier(), FORMS], "type": TYPE},
        "nothing goes with them",
    ),
    "a choice that is an identifier": (
        {"type": Annotated[str, OneOf("A"), Identifier()]},
        "nothing goes with them",
    ),
    "a choice with a length": (
        {"type": Annotated[str, OneOf("A"), Field(max_length=1)]},
        "nothing goes with",
    ),
    "a choice with forms": ({"value": Annotated[str, OneOf("A"), FORMS], "type": TYPE}, "nothing goes with"),
    "a choice of nothing": ({"type": Annotated[str, OneOf()]}, "words that differ"),
    "a blank choice": ({"type": Annotated[str, OneOf("A", "")]}, "words that differ"),
    "choices that differ by case only": ({"type": Annotated[str, OneOf("A", "a")]}, "words that differ"),
    "a change that must be there": ({"alias": Annotated[str, Change()]}, "is a change has the default"),
    "a change that is never blank": (
        {"alias": (Annotated[str, Change()], "x")},
        "is a change has the default",
    ),
}


@pytest.mark.parametrize(("fields", "words"), MISUSES.values(), ids=MISUSES)
def test_misuse_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        rules_of(model(**{name: f if isinstance(f, tuple) else (f, ...) for name, f in fields.items()}))


def test_what_rows_may_not_share_is_read_from_the_model() -> None:
    fields = rules_of(
        model(
            ac=(Annotated[str, Unique(common=("$",))], ...),
            eid=(Annotated[str, OnePerKey()], ...),
            iccid=(Annotated[str, Field(pattern="^[0-9]+$"), Identifier(bare_digits=19)], ...),
        )
    )
    assert [rule.unique for rule in fields] == [Unique(common=("$",)), None, None]
    assert [rule.one_per_key for rule in fields] == [False, True, False]
    assert [rule.bare_digits for rule in fields] == [0, 0, 19]


def test_a_key_goes_with_one_field_alone() -> None:
    with pytest.raises(TypeError, match="only one field can be OnePerKey"):
        rules_of(model(eid=(Annotated[str, OnePerKey()], ...), imei=(Annotated[str, OnePerKey()], ...)))


def test_a_form_that_may_lack_its_check_digit_says_so_in_its_rule() -> None:
    form = Form("ICCID", pattern="^[0-9]+$", description="digits", bare_digits=19)
    value, _ = rules_of(
        model(
            value=(Annotated[str, FormsBy("type", (form,))], ...), type=(Annotated[str, OneOf("ICCID")], ...)
        )
    )
    assert value.by_form()["ICCID"].bare_digits == 19
