"""How a target declares its row rules: a pydantic model, its fields annotated with these words.

Patterns are run by RE2 on columns and by Rust's regex in pydantic: write [0-9], never the letter d behind a
backslash, which the two read differently.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING

from annotated_types import MaxLen, MinLen

from pipeline.headers import JoinedFrom, fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from pipeline.identifiers import CheckRule

__all__ = [
    "Aliases",
    "Change",
    "Confidential",
    "Form",
    "FormsBy",
    "Identifier",
    "JoinedFrom",
    "OneOf",
    "OnePerKey",
    "Rule",
    "Unique",
    "rules_of",
]


@dataclass(frozen=True, slots=True, init=False)
class Aliases:
    """Other names a field's column goes by, compared as headers.fold does."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)


@dataclass(frozen=True, slots=True)
class Identifier:
    """The field is an identifier: normalised where it fails its pattern, looked at for spreadsheet damage.

    `bare_digits`: of that many digits it may lack its check digit, with one more it has one (0: no such).
    """

    check: CheckRule | None = None
    bare_digits: int = 0


@dataclass(frozen=True, slots=True)
class Unique:
    """Rows of different keys have different values; two that share one are a finding, `shared_<field>`.

    A value with one of the `common` endings names nothing in particular, and many may share it.
    """

    common: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OnePerKey:
    """A key goes with one value. A repeated key with another one is told as such, `<field>_differs`."""


@dataclass(frozen=True, slots=True)
class Confidential:
    """The field's values are never shown."""


@dataclass(frozen=True, slots=True, init=False)
class OneOf:
    """The field is one of these words, in any ASCII letter case; it is sent as spelt here."""

    words: tuple[str, ...]

    def __init__(self, *words: str) -> None:
        object.__setattr__(self, "words", words)


@dataclass(frozen=True, slots=True)
class Form:
    """One form an identifier can have. A column named `name` or by an alias holds identifiers of this form.

    `peel` is a prefix that belongs to the writing and not to the value: it is taken off. `bare_digits` is
    as in Identifier. Codes, counts and [input] check_digits call the form by its name in lower case.
    """

    name: str
    _: KW_ONLY
    pattern: str
    description: str
    check: CheckRule | None = None
    aliases: tuple[str, ...] = ()
    peel: str = ""
    bare_digits: int = 0


@dataclass(frozen=True, slots=True)
class FormsBy:
    """The field is an identifier, and `field`, which is OneOf the forms' names, says which form it has."""

    field: str
    forms: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """The field is what a row changes: a row in which all such fields are blank is rejected."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One field of the model, as columns need it. `code` is what fault codes and counts call it."""

    name: str
    words: str
    required: bool
    default: str | None
    pattern: str | None
    min_length: int
    max_length: int | None
    aliases: tuple[str, ...]
    joined: JoinedFrom | None
    confidential: bool
    identifier: bool
    check: CheckRule | None
    code: str
    peel: str = ""
    one_of: tuple[str, ...] = ()
    forms_by: FormsBy | None = None
    change: bool = False
    bare_digits: int = 0
    unique: Unique | None = None
    one_per_key: bool = False

    def by_form(self) -> dict[str, Rule]:
        """Give the rule of the cells of each form by the form's name; empty for a field without forms."""
        return {
            form.name: replace(
                self,
                words=f"{form.description} for {form.name}",
                pattern=form.pattern,
                identifier=True,
                check=form.check,
                code=form.name.lower(),
                peel=form.peel,
                bare_digits=form.bare_digits,
                forms_by=None,
            )
            for form in (self.forms_by.forms if self.forms_by else ())
        }


def rules_of(model: type[BaseModel]) -> list[Rule]:
    """Read the model. Raises TypeError for a rule that columns cannot run: none is skipped silently."""
    found = model.__pydantic_decorators__
    if found.validators or found.field_validators or found.root_validators or found.model_validators:
        raise TypeError(f"{model.__name__}: validator functions cannot be run on columns")
    rules = [_rule_of(name, info) for name, info in model.model_fields.items()]
    if sum(rule.one_per_key for rule in rules) > 1:
        raise TypeError(f"{model.__name__}: only one field can be OnePerKey")
    formed = [(rule, rule.forms_by) for rule in rules if rule.forms_by is not None]
    if len(formed) > 1:
        raise TypeError(f"{model.__name__}: only one field can have forms")
    for rule, forms_by in formed:
        _require_forms(rule, forms_by, rules)
    return rules


def _rule_of(name: str, info: FieldInfo) -> Rule:
    marks = {type(item): item for item in info.metadata}
    identifier = marks.pop(Identifier, None)
    confidential = marks.pop(Confidential, None) is not None
    aliases = marks.pop(Aliases, Aliases()).names
    joined = marks.pop(JoinedFrom, None)
    one_of = marks.pop(OneOf, None)
    forms_by = marks.pop(FormsBy, None)
    change = marks.pop(Change, None) is not None
    unique = marks.pop(Unique, None)
    one_per_key = marks.pop(OnePerKey, None) is not None
    if (one_of or forms_by) and (marks or identifier or joined or (one_of and forms_by)):
        raise TypeError(f"{name}: OneOf and FormsBy say all of a field's form, nothing goes with them")
    shortest = marks.pop(MinLen, MinLen(0)).min_length
    longest = marks.pop(MaxLen, None)
    pattern = marks.popitem()[1] if marks else None
    if pattern is not None and [type(value) for value in getattr(pattern, "__dict__", {}).values()] != [str]:
        raise TypeError(f"{name}: {pattern!r} cannot be run on columns")
    default = None if info.is_required() else info.default
    if marks or info.annotation not in (str, str | None) or not isinstance(default, str | None):
        raise TypeError(f"{name}: a field is text with a pattern, lengths and the words of screening")
    if identifier is not None and pattern is None:
        raise TypeError(f"{name}: an identifier needs a pattern")
    if change and default != "":
        raise TypeError(f'{name}: a field that is a change has the default ""')
    words = one_of.words if one_of else ()
    if one_of and ("" in words or len({word.lower() for word in words}) < max(1, len(words))):
        raise TypeError(f"{name}: OneOf takes words that differ")
    otherwise = f"one of {', '.join(words)}" if words else f"text of the form {pattern and pattern.pattern}"
    return Rule(
        name=name,
        words=info.description or otherwise,
        required=info.is_required(),
        default=default,
        pattern=pattern and pattern.pattern,
        min_length=shortest,
        max_length=longest and longest.max_length,
        aliases=aliases,
        joined=joined,
        confidential=confidential,
        identifier=identifier is not None,
        check=identifier and identifier.check,
        code=name,
        one_of=words,
        forms_by=forms_by,
        change=change,
        bare_digits=identifier.bare_digits if identifier else 0,
        unique=unique,
        one_per_key=one_per_key,
    )


def _require_forms(rule: Rule, forms_by: FormsBy, rules: Sequence[Rule]) -> None:
    kinds = [other for other in rules if other.name == forms_by.field and other.one_of]
    if not kinds:
        raise TypeError(f"{rule.name}: FormsBy names {forms_by.field}, which is no OneOf field")
    if sorted(form.name for form in forms_by.forms) != sorted(kinds[0].one_of):
        raise TypeError(f"{rule.name}: its forms are not the words of {forms_by.field}")
    if not rule.required or not kinds[0].required:
        raise TypeError(f"{rule.name}: neither an identifier with forms nor its form has a default")
    names = [fold(name) for form in forms_by.forms for name in (form.name, *form.aliases)]
    if len(set(names)) < len(names):
        raise TypeError(f"{rule.name}: two forms go by one name")
