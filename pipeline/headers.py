"""Which column of a file feeds which field, and which columns nobody may keep.

Pure: header names in, an Origin per field out. Names are compared folded (DOMAIN §4): lower case, without
blanks, "_", "-", "*", a bracketed suffix, a byte order mark and other zero-width characters.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import InventoryError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

# Backwards, as from the front every bracket of a long name would be looked at from every other.
_SUFFIX_BACKWARDS = re.compile(r"(?:\)[^()]*+\(|\][^\[\]]*+\[)+(?=[^(\[])")
_IGNORED = re.compile(r"[\s_*\-\u00ad\u200b-\u200f\u2060\ufeff]+")
_NO_LETTER_OR_DIGIT = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME = 200  # of key material: the pattern takes the square of a name's length
# No two ways to read one text as owners: else a long name would take for ever.
_OWNERS = (
    "encrypted|enc|e|usim|isim|sim|uicc|ota|code|scp[0-9]*|a[0-9]|authentication|auth|subscriber|master|aes|des|"
    "isd[rp]?|sd|transport|trans|global|universal|super|milenage|tuak|root|profile|card|shared|private"
)
_KEY_MATERIAL = re.compile(
    rf"(?:{_OWNERS})*"
    r"(?:k|ki|opc?|u?pin|u?puk|(?:unblock)?chv|unblock(?:ing)?|adm|keys?|keyset|ki[cdk]|psk|msl|k?enc|k?mac|k?dek"
    r"|kasme|ktrans(?:port)?|tk|3des|aes|secret)"
    r"[0-9]*(?:(?:code|key|value|hex|enc|encrypted|retailer)+[0-9]*)?"
    # A retailer's unlock code; ACC may be the access class, but an access code as well.
    r"|coderetailer[0-9]*|retailercode[0-9]*|acc[0-9]*"
)
_KEY_WORD = re.compile(
    r"(?:ki|opc|u?pin|u?puk|superpin|chv|adm|ki[cdk]|kek|dek|psk|keys?|keyset|secret)[0-9]*"
)
_INNER_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: What a failures file of ours has besides the source's own columns.
OUR_COLUMNS = ("simlift_status", "simlift_code", "simlift_reason", "simlift_raw")
_DATA = re.compile(r"[0-9]{10}|1\$")
_SHOWN = 60
_COLUMNS_SHOWN = 40


@dataclass(frozen=True, slots=True)
class JoinedFrom:
    """Two columns, each by its names, that together stand in for a field; `template` holds `{}` twice."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    template: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A field a target asks for, and the names its column goes by besides the field's own.

    `forms` are the forms its values can have, each with the other names of a column of that form; the
    field `forms_by` says which. A single column named by a form stands in for both fields.
    """

    field: str
    aliases: tuple[str, ...] = ()
    joined: JoinedFrom | None = None
    required: bool = True
    forms: tuple[tuple[str, tuple[str, ...]], ...] = ()
    forms_by: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the field's own column."""
        return (self.field, *self.aliases)

    @property
    def all_names(self) -> tuple[str, ...]:
        """The names of every column that could serve the field, alone or with another one."""
        pair = (*self.joined.first, *self.joined.second) if self.joined else ()
        return (*self.names, *pair, *(name for form, names in self.forms for name in (form, *names)))


@dataclass(frozen=True, slots=True)
class FromColumn:
    """The field stands in the column with this index."""

    index: int


@dataclass(frozen=True, slots=True)
class FromPair:
    """The field is joined by `template` from the columns with these two indices."""

    first: int
    second: int
    template: str


@dataclass(frozen=True, slots=True)
class FromDefault:
    """The file lacks the field: every row takes `value`, or if None the model's default.

    `value` is from [input] defaults, or told by the name of another field's column.
    """

    value: str | None


Origin = FromColumn | FromPair | FromDefault


def fold(name: str) -> str:
    """Reduce a column name to what counts when two names are compared."""
    return _without_suffix(_IGNORED.sub("", name)).lower()


def _without_suffix(name: str) -> str:
    """Leave out the brackets at the end of a name, unless they are all of it."""
    suffix = _SUFFIX_BACKWARDS.match(name[::-1])
    return name[: -suffix.end()] if suffix else name


def is_key_material(name: str) -> bool:
    """Tell whether a column holds Ki, K, OP, OPc, a PIN, PUK, ADM or transport key (DESIGN invariant 8).

    Such a column is dropped as the file is read. Errs on the side of dropping ("Enc_Ki", "PIN 1 code",
    "ADM-2 (hex)", "GlobalPIN", whatever is called a key), but does not look into words ("Pink", "Admin",
    "monkey").
    """
    bare = _NO_LETTER_OR_DIGIT.sub("", fold(name))
    if len(bare) <= _LONGEST_NAME and _KEY_MATERIAL.fullmatch(bare):
        return True
    plain = _without_suffix(name.strip())
    for text in (plain, _INNER_WORD.sub(" ", plain)):
        words = _NO_LETTER_OR_DIGIT.split(text.lower())
        if words[0] == "k" or any(_KEY_WORD.fullmatch(word) for word in words):
            return True
    return False


def kept_columns(names: Sequence[str], needed: Collection[str] = ()) -> list[int]:
    """Give the indices of the columns that are kept: neither key material nor what a report of ours added.

    Where the folded names that are `needed` are known, no others are kept.
    """
    kept = [i for i, name in enumerate(names) if not is_key_material(name) and name not in OUR_COLUMNS]
    return [i for i in kept if fold(names[i]) in needed] if needed else kept


def is_activation_code(text: str) -> bool:
    """Tell whether text holds an activation code, `1$host$matching-id` with or without `LPA:` (DOMAIN §3)."""
    return "1$" in text


def quoted(text: str) -> str:
    """Show text of a file in a one-line message: cut after 60 characters, the invisible ones escaped.

    A row whose cells slipped can hold an activation code anywhere, so one is never shown.
    """
    if is_activation_code(text):
        return "an activation code (not shown)"
    cut = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return f'"{cut}"'


def require_known(names: Collection[str], known: Sequence[str], *, table: str) -> None:
    """Raise UsageError, with the nearest known field, for the first name that is no field."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise UsageError(f"[input] {table}.{name}: unknown field; {hint}")


def find_columns(
    header: Sequence[str],
    wanted: Sequence[Wanted],
    columns: Mapping[str, str],
    defaults: Mapping[str, str],
) -> dict[str, Origin]:
    """Say for each wanted field where its values come from.

    [input] columns wins over names and aliases, and a column it names serves no other field by alias; a
    column wins over a pair or a column named by a form, these over a default. Raises UsageError for an
    unknown field in `columns` or `defaults`; InventoryError for a column that is not in the file, two
    columns that claim one field, and a required field with neither column nor default.
    """
    known = [want.field for want in wanted]
    require_known(columns, known, table="columns")
    require_known(defaults, known, table="defaults")
    chosen = {field: _chosen(header, field, name) for field, name in columns.items()}
    free = {
        index: folded
        for index, name in enumerate(header)
        if index not in chosen.values() and (folded := fold(name))
    }
    origins: dict[str, Origin] = {field: FromColumn(index) for field, index in chosen.items()}
    for want in wanted:
        if want.forms:
            kind = next(other for other in wanted if other.field == want.forms_by)
            told = kind.field in defaults or _has_column(free, kind)
            origins = _by_form(header, free, want, chosen.get(want.field), told=told) | origins
    return {
        want.field: origins[want.field] if want.field in origins else _by_name(header, free, want, defaults)
        for want in wanted
    }


def form_columns(header: Sequence[str], want: Wanted) -> list[tuple[int, str]]:
    """List the columns named by a form of a field: index and form."""
    forms = {fold(name): form for form, aliases in want.forms for name in (form, *aliases)}
    return [(index, forms[folded]) for index, name in enumerate(header) if (folded := fold(name)) in forms]


def _by_form(
    header: Sequence[str], free: Mapping[int, str], want: Wanted, chosen: int | None, *, told: bool
) -> dict[str, Origin]:
    """Say what a column's being named by a form tells; nothing where the field has a column of its own.

    A column `chosen` for the field tells its form only where that is not `told` otherwise.
    """
    forms = dict(form_columns(header, want))
    if chosen is not None:
        return {want.forms_by: FromDefault(forms[chosen])} if chosen in forms and not told else {}
    found = [index for index in forms if index in free]
    if not found or _has_column(free, want):
        return {}
    if len(found) > 1:
        named = " and ".join(f"{quoted(header[index])} (column {index + 1})" for index in found)
        raise InventoryError(
            f"{want.field} could be any of {len(found)} columns, {named}; choose one with "
            f"[input] columns = {{ {want.field} = {quoted(header[found[0]])} }}"
        )
    return {want.field: FromColumn(found[0]), want.forms_by: FromDefault(forms[found[0]])}


def _has_column(free: Mapping[int, str], want: Wanted) -> bool:
    return not {fold(name) for name in want.names}.isdisjoint(free.values())


def _chosen(header: Sequence[str], field: str, name: str) -> int:
    exact = [index for index, column in enumerate(header) if column == name]
    found = exact or [index for index, column in enumerate(header) if fold(column) == fold(name) != ""]
    if not found:
        raise InventoryError(
            f"[input] columns.{field}: no column {quoted(name)} in the file; {_nearest(header, name)}"
            f"The file has: {listed(header)}"
        )
    return _only(header, field, found)


def _nearest(header: Sequence[str], name: str) -> str:
    if is_key_material(name):
        return "a column of that name is dropped as the file is read, as key material. "
    folded = {fold(column): column for column in header}
    near = difflib.get_close_matches(fold(name), folded, n=1, cutoff=0.5)
    return f"did you mean {quoted(folded[near[0]])}? " if near else ""


def _by_name(
    header: Sequence[str], free: Mapping[int, str], want: Wanted, defaults: Mapping[str, str]
) -> Origin:
    def claimed_by(names: Sequence[str]) -> int | None:
        folded = {fold(name) for name in names}
        found = [index for index, name in free.items() if name in folded]
        return _only(header, want.field, found) if found else None

    if (index := claimed_by(want.names)) is not None:
        return FromColumn(index)
    if want.joined is not None:
        first, second = claimed_by(want.joined.first), claimed_by(want.joined.second)
        if first is not None and second is not None:
            return FromPair(first, second, want.joined.template)
    if want.field in defaults:
        return FromDefault(defaults[want.field])
    if not want.required:
        return FromDefault(None)
    raise InventoryError(
        f"no column for {want.field} (known names: {_known_names(want)}); name it in [input] columns "
        f"or give a default in [input] defaults. The file has: {listed(header)}"
    )


def _only(header: Sequence[str], field: str, found: Sequence[int]) -> int:
    if len(found) == 1:
        return found[0]
    named = " and ".join(f"{quoted(header[index])} (column {index + 1})" for index in found)
    alike = len({header[index] for index in found}) < len(found)
    remedy = "rename one in the file, or choose another" if alike else "choose one"
    raise InventoryError(
        f"{field} is claimed by {len(found)} columns, {named}; {remedy} with [input] columns"
    )


def _known_names(want: Wanted) -> str:
    names = ", ".join(want.names)
    if want.forms:
        alone = ", ".join(fold(name) for form, aliases in want.forms for name in (form, *aliases))
        return f"{names}, or alone one of {alone}"
    if want.joined is None:
        return names
    return f"{names}, or {'/'.join(want.joined.first)} with {'/'.join(want.joined.second)}"


def listed(header: Sequence[str]) -> str:
    """Name the columns of a file for a message; what looks like data is never shown."""
    if any(_DATA.search(name) for name in header):
        return "what looks like data in place of column names (not shown); is the header line missing?"
    shown = ", ".join(map(quoted, header[:_COLUMNS_SHOWN]))
    return shown + (f", … ({len(header)} in all)" if len(header) > _COLUMNS_SHOWN else "")
