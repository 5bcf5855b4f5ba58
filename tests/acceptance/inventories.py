"""Small inventories to import, each row with codes that nobody may see elsewhere."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

HEADER = ("iccid", "eid", "imei", "ac", "cc", "apn")
AC_MARK, CC_MARK = "ACM4RK", "CCM4RK"  # in every activation and confirmation code


def iccid(number: int) -> str:
    """Give the ICCID of the n-th row."""
    return f"8935711{number:012d}"


def row(number: int, **cells: str) -> tuple[str, ...]:
    """Give the n-th row, some of its cells otherwise."""
    plain = {
        "iccid": iccid(number),
        "eid": f"8904903212345123455829{number:010d}",
        "imei": f"35203{number:010d}",
        "ac": f"LPA:1$smdp.example.com${AC_MARK}-{number:06d}",
        "cc": f"{CC_MARK}-{number:06d}",
        "apn": "iot.example",
    }
    return tuple((plain | cells).values())


def rows(count: int, first: int = 1) -> list[tuple[str, ...]]:
    """Give so many good rows."""
    return [row(number) for number in range(first, first + count)]


def write(path: Path, lines: Iterable[Sequence[str]], header: Sequence[str] = HEADER) -> Path:
    """Write an inventory as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    return path
