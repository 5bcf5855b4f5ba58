"""How a target declares its row rules: a pydantic model, its fields annotated with these words.

Patterns are run by RE2 on columns and by Rust's regex in pydantic: write [0-9], never the letter d behind a
backslash, which the two read differently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from annotated_types import MaxLen, MinLen

from pipeline.headers import JoinedFrom

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from pipeline.identifiers import CheckRule

__all__ = ["Aliases", "Confidential", "Identifier", "JoinedFrom", "Rule", "rules_of"]


@dataclass(frozen=True, slots=True, init=False)
class Aliases:
    """Other names a field's column goes by, compared as headers.fold does."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)


@dataclass(frozen=True, slots=True)
class Identifier:
    """The field is an identifier: normalised where it fails its pattern, looked at for spreadsheet damage."""

    check: CheckRule | None = None


@dataclass(frozen=True, slots=True)
class Confidential:
    """The field's values are never shown."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One field of the model, as columns need it."""

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


def rules_of(model: type[BaseModel]) -> list[Rule]:
    """Read the model. Raises TypeError for a rule that columns cannot run: none is skipped silently."""
    found = model.__pydantic_decorators__
    if found.validators or found.field_validators or found.root_validators or found.model_validators:
        raise TypeError(f"{model.__name__}: validator functions cannot be run on columns")
    return [_rule_of(name, info) for name, info in model.model_fields.items()]


def _rule_of(name: str, info: FieldInfo) -> Rule:
    marks = {type(item): item for item in info.metadata}
    identifier = marks.pop(Identifier, None)
    confidential = marks.pop(Confidential, None) is not None
    aliases = marks.pop(Aliases, Aliases()).names
    joined = marks.pop(JoinedFrom, None)
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
    return Rule(
        name=name,
        words=info.description or f"text of the form {pattern and pattern.pattern}",
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
    )
