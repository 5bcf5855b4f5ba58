"""Rows with nothing wrong: sequential SIMs with right check digits, rendered a block at a time into lines.

All lines have one width, so a block is a byte matrix, filled column by column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.samples.noise import noise, stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from pipeline.samples.noise import Integers

    Bytes = npt.NDArray[np.uint8]

NAMES = ("iccid", "eid", "imei", "ac", "cc", "apn")
_CONFIRMED_ONE_IN = 64  # rows that carry a confirmation code

# The EID begins as the test cards of the GSMA do.
_ICCID_STEM, _EID_STEM, _IMEI_STEM, _AC_STEM = (
    "8935711",
    "890490321234512345",
    "352030",
    "LPA:1$smdp.example.com$",
)
_SERIAL_DIGITS, _IMEI_SERIAL_DIGITS, _MATCHING_CHARACTERS = 12, 8, 16
#: One clean row; the zeros of iccid, eid, imei and matching id are overwritten.
CELLS = (
    _ICCID_STEM.ljust(20, "0"),
    _EID_STEM.ljust(32, "0"),
    _IMEI_STEM.ljust(15, "0"),
    _AC_STEM + "0" * _MATCHING_CHARACTERS,
    "",
    "iot.example",
)

_ZERO = np.uint8(ord("0"))
_HEX_PAIRS = np.frombuffer(bytes(range(256)).hex().upper().encode("ascii"), np.uint8).reshape(256, 2)


@dataclass(frozen=True, slots=True)
class Layout:
    """A line of a format, and where in it each cell stands."""

    line: bytes
    places: tuple[slice, ...]

    @classmethod
    def of(cls, cells: Sequence[str], around: Sequence[str]) -> Layout:
        """Lay cells out with one more text around them than they are."""
        line, places = around[0], []
        for cell, after in zip(cells, around[1:], strict=True):
            places.append(slice(len(line), len(line) + len(cell)))
            line += cell + after
        return cls(line.encode("ascii"), tuple(places))


def clean_lines(positions: Integers, seed: int, layout: Layout) -> Bytes:
    """Give each row as a line, shape (rows, width of a line), without any defect."""
    serials = stream(seed, "serial") % (9 * 10 ** (_SERIAL_DIGITS - 1)) + positions
    digits = _digits(serials, _SERIAL_DIGITS) + _ZERO
    lines = np.tile(np.frombuffer(layout.line, np.uint8), (len(positions), 1))
    iccid, eid, imei, ac = (lines[:, place] for place in layout.places[:4])

    iccid[:, -1 - _SERIAL_DIGITS : -1] = digits
    iccid[:, -1] = _luhn_digits(iccid[:, :-1] - _ZERO) + _ZERO

    eid[:, -2 - _SERIAL_DIGITS : -2] = digits
    stem = int(_EID_STEM) * 10**_SERIAL_DIGITS % 97
    eid[:, -2:] = _digits(98 - (stem + serials) * 100 % 97, 2) + _ZERO  # so that the whole mod 97 is 1

    imei[:, -1 - _IMEI_SERIAL_DIGITS : -1] = digits[:, -_IMEI_SERIAL_DIGITS:]
    imei[:, -1] = _luhn_digits(imei[:, :-1] - _ZERO) + _ZERO

    matching = noise(positions, seed, "matching").astype("<u8").view(np.uint8).reshape(-1, 8)
    ac[:, -_MATCHING_CHARACTERS:] = _HEX_PAIRS[matching].reshape(-1, _MATCHING_CHARACTERS)
    return lines


def confirmation_codes(positions: Integers, seed: int) -> dict[int, str]:
    """Give the confirmation codes of the rows that carry one, by index."""
    drawn = noise(positions, seed, "confirmation")
    carry = np.flatnonzero(drawn % np.uint64(_CONFIRMED_ONE_IN) == 0)
    codes = drawn[carry] // np.uint64(_CONFIRMED_ONE_IN) % np.uint64(10_000)
    return {index: f"{code:04d}" for index, code in zip(carry.tolist(), codes.tolist(), strict=True)}


def cells_of(line: Bytes, layout: Layout, code: str = "") -> list[str]:
    """Give the cells of a clean line, with a confirmation code if it carries one."""
    text = line.tobytes().decode("ascii")
    cells = [text[place] for place in layout.places]
    if code:
        cells[3] += "$$1"  # no object id, and: a confirmation code is required (SGP.22 §4.1)
        cells[4] = code
    return cells


def _digits(numbers: Integers, width: int) -> Bytes:
    """Give the decimal digits of each number, shape (numbers, width), values 0 to 9."""
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    return (numbers[:, None] // powers % 10).astype(np.uint8)


def _luhn_digits(digits: Bytes) -> Bytes:
    """Give the check digit that belongs behind each row of digits (ISO/IEC 7812-1, annex B)."""
    doubled = digits[:, ::-2] * np.uint8(2)
    doubled -= np.uint8(9) * (doubled > 9)  # noqa: PLR2004 - the sum of two digits
    total: Integers = (doubled.sum(axis=1) + digits[:, -2::-2].sum(axis=1)).astype(np.int64)
    return (-total % 10).astype(np.uint8)


def luhn_digit(digits: str) -> str:
    """Give the check digit that belongs behind these digits."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[::-2])
    return str(-(sum(doubled) + sum(map(int, digits[-2::-2]))) % 10)
