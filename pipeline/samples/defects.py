"""What can be odd about a row, of every kind in DOMAIN §3 and §4, and what `check` says of it by default."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING

from pipeline.samples.clean_rows import NAMES, luhn_digit

if TYPE_CHECKING:
    from collections.abc import Callable

    Cells = list[str]
    Make = Callable[[Cells, Cells], Cells | None]

_TRUSTED_DIGITS = 15  # of a number in a spreadsheet
_EID_DIGITS, _EID_MODULUS = 32, 97


class Numeral(str):
    """A cell that the file holds as a number."""

    __slots__ = ()


class Can(Enum):
    """What a format can express besides rows of the header's length with some text in each cell."""

    SHORT_ROWS = auto()
    LONG_ROWS = auto()
    BYTES = auto()  # that are no text
    NUMBERS = auto()  # in one cell, others of its column being text
    BLANKS = auto()  # in a cell, or nothing else
    MARK = auto()  # a byte order mark in front
    QUANTITY = auto()  # how many rows there are


class Expect(StrEnum):
    """What becomes of a row in `check`, the job file saying nothing else."""

    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    FINDING = "finding"  # it would be sent; `check` says what is odd about it
    WARNING = "warning"  # it would be sent; `check` counts its check digits as wrong
    UNCHECKED = "unchecked"  # it would be sent: DOMAIN calls it wrong, and no rule asks
    HARMLESS = "harmless"  # it would be sent, as sound as any other


@dataclass(frozen=True, slots=True)
class Defect:
    """One kind of oddity.

    `make` takes the row's clean cells and those of an earlier good row (none: empty), and gives the cells
    to write; None where it cannot. `code` is what `check` calls it (a cell's text may stand in it, by
    number), `field` where it shows. With `fails` the field, well formed, fails its check digits, which
    [input] check_digits can make a rejection. `with_earlier`: only the two rows together show it; with
    `once` no other row may be made with the same earlier row.
    """

    kind: str
    make: Make
    expect: Expect
    code: str = ""
    field: str = ""
    needs: frozenset[Can] = frozenset()
    fails: bool = False
    with_earlier: bool = False
    once: bool = False


def scientific(digits: str) -> str:
    """Write a number as a spreadsheet shows a long one."""
    return f"{int(digits):.5E}"


def _in(
    field: str,
    kind: str,
    change: Callable[[str], str],
    code: str = "",
    *,
    expect: Expect = Expect.REJECTED,
    needs: Can | None = None,
    fails: bool = False,
) -> Defect:
    """Give a defect of one cell."""
    at = NAMES.index(field)

    def make(cells: Cells, _earlier: Cells) -> Cells:
        return [*cells[:at], change(cells[at]), *cells[at + 1 :]]

    return Defect(
        kind,
        make,
        expect,
        f"{field}_{code}" if code else "",
        field,
        frozenset([needs] if needs else []),
        fails,
    )


def _of_row(kind: str, make: Callable[[Cells], Cells], needs: Can) -> Defect:
    """Give a defect that leaves no cells to look at."""
    return Defect(kind, lambda cells, _: make(cells), Expect.REJECTED, "unreadable", "", frozenset([needs]))


def _with_earlier(
    kind: str, make: Make, expect: Expect, code: str, field: str = "iccid", *, once: bool = False
) -> Defect:
    """Give a defect that only two rows together show."""

    def made(cells: Cells, earlier: Cells) -> Cells | None:
        return make(cells, earlier) if earlier else None

    return Defect(kind, made, expect, code, field, fails=once, with_earlier=True, once=once)


def _rounded(digits: str) -> str:
    """Keep 15 digits, as a spreadsheet does; of the next number, if what is left would pass its check."""
    kept = int(digits[:_TRUSTED_DIGITS])
    while _passes(value := str(kept).ljust(len(digits), "0")):
        kept += 1
    return value


def _passes(digits: str) -> bool:
    if len(digits) == _EID_DIGITS:
        return int(digits) % _EID_MODULUS == 1
    return luhn_digit(digits[:-1]) == digits[-1]


def _other_last_digit(digits: str) -> str:
    return digits[:-1] + str(int(digits[-1]) % 9 + 1)  # never 0, which could look like rounding


def _in_groups(digits: str, between: str) -> str:
    return between.join(digits[at : at + 4] for at in range(0, len(digits), 4))


def _twin(cells: Cells, earlier: Cells) -> Cells | None:
    bare = earlier[0][:-1]
    # One in ten passes without its check digit too, and would not be counted as the others are; one that
    # ends in zeros would be taken for rounded.
    looks_rounded = not bare[_TRUSTED_DIGITS:].strip("0")
    return None if _passes(bare) or looks_rounded else [bare, *cells[1:]]


def _nothing(cells: Cells, _earlier: Cells) -> Cells:
    return cells


_DAMAGE = (
    *(_in(field, f"scientific_{field}", scientific, "damaged") for field in ("iccid", "eid", "imei")),
    *(_in(field, f"point_zero_{field}", "{}.0".format, "damaged") for field in ("iccid", "eid", "imei")),
    *(_in(field, f"rounded_{field}", _rounded, "damaged", fails=True) for field in ("iccid", "eid")),
    *(
        _in(field, f"numeric_{field}", Numeral, "damaged", needs=Can.NUMBERS)
        for field in ("iccid", "eid", "imei")
    ),
)
_FORM = (
    _in("iccid", "short_iccid", lambda digits: f"{digits[:-3]}7", "format"),
    _in("iccid", "long_iccid", "{}7".format, "format"),
    _in("iccid", "letters_in_iccid", lambda digits: f"{digits[:-6]}O{digits[-5:]}", "format"),
    _in("iccid", "hex_iccid", lambda digits: f"898600B5{digits[8:]}", "hex"),
    _in("eid", "short_eid", lambda digits: digits[:-1], "format"),
    _in("imei", "short_imei", lambda digits: digits[:-1], "format"),
    _in("imei", "long_imei", lambda digits: f"{digits[:-1]}78", "format"),  # an IMEISV
    *(
        _in(field, f"missing_{field}", lambda _: "", "missing", needs=Can.BLANKS)
        for field in ("iccid", "eid", "imei", "ac", "apn")
    ),
    _of_row("missing_cell", lambda cells: cells[:5], Can.SHORT_ROWS),
    _of_row("extra_cell", lambda cells: [*cells, "1"], Can.LONG_ROWS),
    # A byte of Latin-1 in a file that is UTF-8.
    _of_row("undecodable_byte", lambda cells: [*cells[:5], "iot.ex\udce4mple"], Can.BYTES),
)
_SUSPECT = (
    *(
        _in(
            field, f"{field}_check_digit", _other_last_digit, "check_digit", expect=Expect.WARNING, fails=True
        )
        for field in ("iccid", "eid", "imei")
    ),
    _in("ac", "long_ac", lambda ac: ac.replace("smdp", "smdp" + 256 * "x"), expect=Expect.UNCHECKED),
    _in("apn", "long_apn", lambda apn: 100 * "x" + apn, expect=Expect.UNCHECKED),
)
_BETWEEN_ROWS = (
    _with_earlier("repeated_row", lambda _, earlier: earlier, Expect.DUPLICATE, "duplicate"),
    _with_earlier(
        "repeated_padded", lambda _, earlier: [f"{earlier[0]}F", *earlier[1:]], Expect.DUPLICATE, "duplicate"
    ),
    _with_earlier(
        "repeated_with_other_eid",
        lambda cells, earlier: [earlier[0], cells[1], *earlier[2:]],
        Expect.DUPLICATE,
        "eid_differs",
        "eid",
    ),
    _with_earlier(
        "shared_ac", lambda cells, earlier: [*cells[:3], *earlier[3:]], Expect.FINDING, "shared_ac", "ac"
    ),
    _with_earlier("check_digit_twin", _twin, Expect.FINDING, "check_digit_twin", once=True),
)
#: In this order they take turns.
DEFECTS = (*_DAMAGE, *_FORM, *_SUSPECT, *_BETWEEN_ROWS)
REPEATED_ROW = _BETWEEN_ROWS[0]

ODDITIES = tuple(
    _in(field, kind, change, expect=Expect.HARMLESS, needs=needs)
    for field, kind, change, needs in (
        ("iccid", "padded_iccid", "{}F".format, None),
        ("iccid", "wrapped_iccid", '="{}"'.format, None),
        ("iccid", "apostrophe_iccid", "'{}".format, None),
        ("iccid", "blanks_in_iccid", lambda digits: _in_groups(digits, " "), Can.BLANKS),
        ("iccid", "dashes_in_iccid", lambda digits: _in_groups(digits, "-"), None),
        ("iccid", "no_break_space_iccid", "{}\u00a0".format, None),
        ("iccid", "zero_width_iccid", "{}\u200b".format, None),
        ("eid", "prefixed_eid", "EID:{}".format, None),
        ("eid", "blanks_around_eid", " {} ".format, Can.BLANKS),
        (
            "imei",
            "dashes_in_imei",
            lambda digits: f"{digits[:2]}-{digits[2:8]}-{digits[8:14]}-{digits[14]}",
            None,
        ),
        ("ac", "ac_without_lpa", lambda ac: ac.removeprefix("LPA:"), None),
    )
)
#: Of a file as a whole.
BYTE_ORDER_MARK = Defect("byte_order_mark", _nothing, Expect.HARMLESS, needs=frozenset([Can.MARK]))
WRONG_QUANTITY = Defect(
    "wrong_quantity", _nothing, Expect.FINDING, "quantity", needs=frozenset([Can.QUANTITY])
)
