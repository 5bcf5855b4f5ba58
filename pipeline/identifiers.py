"""ICCID, EID, IMEI, IMSI, MSISDN as text: normalise, check digits, damage, mask.

For a column (what is true of most rows) and for one value (what needs a word of its own); both give
the same answer. Nothing here appends, drops or converts a digit. Facts: DOMAIN §3 and §4.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Rows = slice | NDArray[np.intp]

_BLANKS = " \u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_ZERO_WIDTH = "\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\ufeff"
_BREAKS = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x85\u2028\u2029"
_DASHES = "\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d-"
_WHITE = _BLANKS + _ZERO_WIDTH + _BREAKS
# A line break or a tab parts two values, not the groups of one: it is trimmed, never joined over.
_BETWEEN = f"[{_BLANKS}{_ZERO_WIDTH}{_DASHES}]*"

# Written so that `re` and Arrow's RE2 read them alike, and none of them backtracks far on a long cell.
_PEELS = (
    ("^'", ""),  # the spreadsheet's mark for text
    ('(?s)^="(.*)"$', r"\1"),
    ("^[Ee][Ii][Dd]:", ""),
)
# Ten octets hold 20 half-octets: an ICCID of 19 digits is padded with one F, of 18 with two.
_GROUPS = f"[0-9](?:{_BETWEEN}[0-9])*{_BETWEEN}[Ff]{{0,2}}"
_NOT_A_DIGIT = "[^0-9]+"

_PEELERS = tuple((re.compile(pattern), put) for pattern, put in _PEELS)
_GROUPS_RE = re.compile(_GROUPS)
_NOT_A_DIGIT_RE = re.compile(_NOT_A_DIGIT)


def normalise(value: str) -> str:
    """Give the identifier without its wrapping: DOMAIN §3 "Normalise only this", and nothing more.

    Peeled off: surrounding white space (no-break and zero-width too), the spreadsheet's leading `'` and
    its `="…"`, a leading `EID:`. If what is left is digits in groups, the blanks and dashes between
    them and up to two padding F at the end go as well; anything else (hex ICCIDs too) stays.
    """
    if _is_digits(value):
        return value
    value = value.strip(_WHITE)
    for peeler, put in _PEELERS:
        value = peeler.sub(put, value).strip(_WHITE)
    return _NOT_A_DIGIT_RE.sub("", value) if _GROUPS_RE.fullmatch(value) else value


def normalise_column(column: pa.StringArray) -> pa.StringArray:
    """Normalise every cell as `normalise` does; nulls stay. Gives the same array back when all are digits."""
    if not column.null_count and all_digits(column):
        return column
    column = pc.utf8_trim(column, _WHITE)
    for pattern, put in _PEELS:
        column = pc.utf8_trim(pc.replace_substring_regex(column, pattern, put), _WHITE)
    groups = pc.match_substring_regex(column, f"^(?:{_GROUPS})$")
    return pc.if_else(groups, pc.replace_substring_regex(column, _NOT_A_DIGIT, ""), column)


def by_width(column: pa.StringArray) -> Iterator[tuple[Rows, NDArray[np.uint8]]]:
    """Yield (rows, bytes) per byte length that occurs in a column without nulls, rows in ascending order.

    `bytes` is a read-only uint8 matrix, one line per row, one column per UTF-8 byte.
    """
    if not len(column):
        return
    lengths = np.diff(_offsets(column))
    if (lengths == lengths[0]).all():
        yield slice(None), _values(column).reshape(len(column), lengths[0])
        return
    order = np.argsort(lengths, kind="stable")
    values = _values(column.take(pa.array(order)))
    widths = lengths[order]
    starts = np.flatnonzero(np.r_[True, widths[1:] != widths[:-1]])
    begin = 0
    for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
        end = begin + int(stop - start) * int(widths[start])
        yield order[start:stop], values[begin:end].reshape(stop - start, widths[start])
        begin = end


# ---------------------------------------------------------------- check digits

CheckRule = Literal["luhn", "mod97"]

_EID_DIGITS = 32
_TURNED = {str(digit): 2 * digit - (9 if digit > 4 else 0) for digit in range(10)}  # noqa: PLR2004 - 5 to 9 carry

# What a pair of neighbouring bytes counts, looked up by the two bytes read as one uint16. A pair that is
# no two digits counts so little that no later digits make up for it.
_PAIRS = np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(-1, 2).astype(np.int64) - ord("0")
_NO_DIGITS = ((_PAIRS < 0) | (_PAIRS > 9)).any(axis=1)  # noqa: PLR2004 - the digits
_POISON = -(1 << 33)
_LUHN_OF_PAIR = np.where(_NO_DIGITS, _POISON, 2 * _PAIRS[:, 0] - 9 * (_PAIRS[:, 0] > 4) + _PAIRS[:, 1])  # noqa: PLR2004
_NUMBER_OF_PAIR = np.where(_NO_DIGITS, _POISON, 10 * _PAIRS[:, 0] + _PAIRS[:, 1])


def luhn(value: str) -> bool:
    """Say whether the last digit is the Luhn check digit of the others (ICCID, IMEI)."""
    if not _is_digits(value):
        return False
    return (sum(map(int, value[-1::-2])) + sum(_TURNED[digit] for digit in value[-2::-2])) % 10 == 0


def luhn_column(column: pa.StringArray) -> pa.BooleanArray:
    """Check every cell as `luhn` does; False for a null. Any number of digits."""
    good = np.zeros(len(column), dtype=np.bool_)
    for rows, text in by_width(_without_nulls(column)):
        if not text.shape[1]:
            continue
        total = np.zeros(len(text), dtype=np.int64)
        for pair in _digit_pairs(text).T:
            total += _LUHN_OF_PAIR[pair]
        good[rows] = (total >= 0) & (total % 10 == 0)
    return pa.array(good)


def mod97(value: str) -> bool:
    """Say whether 32 digits are an EID with good check digits: the whole number mod 97 is 1 (DOMAIN §3)."""
    return len(value) == _EID_DIGITS and _is_digits(value) and int(value) % 97 == 1


def mod97_column(column: pa.StringArray) -> pa.BooleanArray:
    """Check every cell as `mod97` does; False for a null and for anything but 32 digits."""
    good = np.zeros(len(column), dtype=np.bool_)
    for rows, text in by_width(_without_nulls(column)):
        if text.shape[1] != _EID_DIGITS:
            continue
        # 100 leaves 3 when divided by 97, and 16 pairs weighted with powers of 3 still fit in 63 bits.
        total = np.zeros(len(text), dtype=np.int64)
        for pair in _digit_pairs(text).T:
            total = total * 3 + _NUMBER_OF_PAIR[pair]
        good[rows] = (total >= 0) & (total % 97 == 1)
    return pa.array(good)


def _digit_pairs(text: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Read a byte matrix as pairs of neighbours, one uint16 a pair; an odd width gets a "0" in front."""
    lines, width = text.shape
    if width % 2 or not text.flags.c_contiguous:
        even = np.full((lines, width + width % 2), ord("0"), dtype=np.uint8)
        even[:, width % 2 :] = text
        text = even
    return text.view(np.uint16)


# ---------------------------------------------------------------- spreadsheet damage

_SCIENTIFIC = re.compile(r"[+-]?[0-9]{1,3}(?:[.,][0-9]*)?[Ee][+-]?[0-9]{1,3}")
_POINT_ZERO = re.compile(r"[0-9]+[.,]0+")
_ROUNDED = re.compile(r"[0-9]{15}0{2,17}")  # one zero alone ends every tenth IMEISV


def damage(value: str, check: CheckRule | None = None) -> str | None:
    """Name what a spreadsheet did to an identifier, raw or normalised; None when nothing shows.

    `check` is the rule of the identifier's check digits. Zeros after the 15th digit prove rounding only
    when that check fails too (DESIGN, invariant 7); without a rule they prove nothing.
    """
    if not _is_digits(value) and not _SCIENTIFIC.fullmatch(value):  # of these nothing can be peeled off
        value = normalise(value)
    if _is_digits(value):
        rounded = check and _ROUNDED.fullmatch(value) and not (luhn if check == "luhn" else mod97)(value)
        return "spreadsheet rounding: digits after the 15th are zeros" if rounded else None
    if _SCIENTIFIC.fullmatch(value):
        return "spreadsheet damage: scientific notation, the digits are lost"
    if _POINT_ZERO.fullmatch(value):
        return "spreadsheet damage: trailing .0, the cell was a number"
    return None


# ---------------------------------------------------------------- masking

_SHORTEST_SHOWN = 14  # below it, first 6 and last 4 would leave hardly anything hidden
# A hex ICCID is no run of digits, but as telling as one. An MSISDN is shorter: it must stand alone, or named.
_TELLING = re.compile(
    r"\b89[0-9A-Fa-f]{17,18}\b|[0-9]{14,}|(?<![0-9A-Za-z])[0-9]{11,13}(?![0-9A-Za-z])"
    r"|(?i:(?<=\bmsisdn[: ])\+?[0-9]{5,})"
)


def mask(value: str) -> str:
    """Give the first 6 and last 4 characters, `…` for the rest; of fewer than 14 characters only `…`."""
    if len(value) < _SHORTEST_SHOWN:
        return "…" if value else ""
    return f"{value[:6]}…{value[-4:]}"


def mask_text(text: str) -> str:
    """Mask whatever in a free text looks like an identifier: 11 digits or more in a row, or a hex ICCID."""
    return _TELLING.sub(lambda found: mask(found[0]), text)


# ---------------------------------------------------------------- bytes of a column


_DELETE = 0x7F


def _is_digits(value: str) -> bool:
    return value.isascii() and value.isdigit()


def all_digits(column: pa.StringArray) -> bool:
    """Tell whether a column without nulls holds nothing but digits; blank cells are no matter."""
    values = _values(column)
    return not len(values) or bool(values.min() >= ord("0") and values.max() <= ord("9"))


def has_control_characters(column: pa.StringArray) -> bool:
    """Tell whether a cell of a column without nulls holds a control character of ASCII."""
    values = _values(column)
    return bool(len(values)) and bool(values.min() < ord(" ") or (values == _DELETE).any())


def _without_nulls(column: pa.StringArray) -> pa.StringArray:
    return column.fill_null("") if column.null_count else column


def _offsets(column: pa.StringArray) -> NDArray[np.int32]:
    offsets = np.frombuffer(column.buffers()[1], dtype=np.int32)
    return offsets[column.offset : column.offset + len(column) + 1]


def _values(column: pa.StringArray) -> NDArray[np.uint8]:
    values = column.buffers()[2]
    if not len(column) or values is None or not values.size:
        return np.empty(0, dtype=np.uint8)
    offsets = _offsets(column)
    return np.frombuffer(values, dtype=np.uint8)[offsets[0] : offsets[-1]]
