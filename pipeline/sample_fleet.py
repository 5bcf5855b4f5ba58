"""Sample fleets: subscribers named by ICCID, IMSI or MSISDN, each with a new alias, some rows damaged."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from pipeline.sample import Manifest, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

HEADER = "type,value,alias"
_STEMS = {"ICCID": ("8935711", 19), "IMSI": ("00101", 15), "MSISDN": ("4915", 14)}
_ORIGINS_KEPT = 10_000

#: What can be wrong with a row: the defect's name and what it makes of the row's three clean cells.
_DEFECTS: Mapping[str, Callable[[list[str]], list[str]]] = {
    "unknown_type": lambda cells: ["SIM", *cells[1:]],
    "letters_in_value": lambda cells: [cells[0], f"{cells[1][:-4]}O{cells[1][-3:]}", cells[2]],
    "scientific_value": lambda cells: [cells[0], f"{int(cells[1]):.5E}", cells[2]],
    "missing_value": lambda cells: [cells[0], "", cells[2]],
    "nothing_to_change": lambda cells: [*cells[:2], ""],
    "missing_cell": lambda cells: cells[:2],
}


def write_fleet(path: Path, *, items: int, seed: int, bad_share: float, duplicate_share: float) -> Manifest:
    """Write a fleet of `items` rows as CSV, gzipped where the name ends in .gz, and say what is in it.

    The shares (0 to 1) are chances per row: of a defect, and of repeating an earlier good row. The same
    arguments always give the same bytes. Raises OSError where the file cannot be written.
    """
    rng = random.Random(f"fleet {seed}")  # noqa: S311 - repeatable is the point
    bad: dict[str, list[int]] = {kind: [] for kind in _DEFECTS}
    duplicates: list[int] = []
    origins: list[str] = []
    serial = rng.randrange(10**6, 9 * 10**6)
    with opened(path) as file:
        file.write(f"{HEADER}\n".encode("ascii"))
        for position in range(1, items + 1):
            cells = _row(rng, serial + position)
            chance = rng.random()
            if chance < bad_share:
                kind = tuple(bad)[sum(map(len, bad.values())) % len(bad)]
                bad[kind].append(position)
                cells = _DEFECTS[kind](cells)
            elif chance < bad_share + duplicate_share and origins:
                duplicates.append(position)
                cells = rng.choice(origins).split(",")
            elif len(origins) < _ORIGINS_KEPT:
                origins.append(",".join(cells))
            file.write(f"{','.join(cells)}\n".encode("ascii"))
    return Manifest(
        rows=items,
        bad_positions={kind: tuple(positions) for kind, positions in bad.items()},
        duplicate_positions=tuple(duplicates),
        known=(),
    )


def _row(rng: random.Random, serial: int) -> list[str]:
    kind = rng.choices(tuple(_STEMS), weights=(8, 1, 1))[0]
    stem, digits = _STEMS[kind]
    body = f"{stem}{serial:0{digits - len(stem)}d}"
    return [kind, f"{body}{_luhn_digit(body)}" if kind == "ICCID" else body, f"camera-{serial}"]


def _luhn_digit(digits: str) -> str:
    """Give the check digit that belongs behind these digits (ISO/IEC 7812-1, annex B)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[::-2])
    return str(-(sum(doubled) + sum(map(int, digits[-2::-2]))) % 10)
