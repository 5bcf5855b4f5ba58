"""A sample of a fleet: subscribers named by ICCID, IMSI or MSISDN, each with a new alias, some damaged."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.samples.clean_rows import luhn_digit
from pipeline.samples.defects import REPEATED_ROW, Can, Defect, Expect, scientific
from pipeline.samples.formats import format_of, opened
from pipeline.samples.manifest import kept_manifest
from pipeline.samples.turns import Turns
from pipeline.samples.writer import Asked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.samples.defects import Cells
    from pipeline.samples.manifest import Manifest

NAMES = ("type", "value", "alias")
_STEMS = {"ICCID": ("8935711", 19), "IMSI": ("00101", 15), "MSISDN": ("4915", 14)}
_REPEATED = replace(REPEATED_ROW, field="value")
_ORIGINS_KEPT = 10_000
_BLOCK_ROWS = 8_192


def _defect(
    kind: str, code: str, field: str, change: Callable[[str, str, str], Cells], *needs: Can
) -> Defect:
    return Defect(kind, lambda cells, _: change(*cells), Expect.REJECTED, code, field, frozenset(needs))


#: Codes go by the form of the value, which the first cell says.
_DEFECTS = (
    _defect("unknown_type", "type_format", "type", lambda _, value, alias: ["SIM", value, alias]),
    _defect(
        "letters_in_value",
        "{0}_format",
        "value",
        lambda form, value, alias: [form, f"{value[:-4]}O{value[-3:]}", alias],
    ),
    _defect(
        "scientific_value",
        "{0}_damaged",
        "value",
        lambda form, value, alias: [form, scientific(value), alias],
    ),
    _defect("missing_value", "value_missing", "value", lambda form, _, alias: [form, "", alias], Can.BLANKS),
    _defect(
        "nothing_to_change", "nothing_to_change", "", lambda form, value, _: [form, value, ""], Can.BLANKS
    ),
    _defect("missing_cell", "unreadable", "", lambda form, value, _: [form, value], Can.SHORT_ROWS),
)


def write_fleet(
    path: Path,
    *,
    items: int,
    seed: int,
    bad_share: float,
    duplicate_share: float,
    kind: str = "",
    manifest: Path | None = None,
) -> Manifest:
    """Write a fleet of `items` rows, and say what is in it; row by row into the file `manifest`.

    The format is `kind`, or told by the end of the name. The shares (0 to 1) are chances per row: of a
    defect, and of repeating an earlier good row. The same arguments always give the same bytes. Raises
    UsageError for a format there is not, OSError where a file cannot be written.
    """
    chosen = format_of(path, kind, items)
    rng = random.Random(f"fleet {seed}")  # noqa: S311 - repeatable is the point
    turns = Turns(_DEFECTS, chosen.can)
    origins: list[tuple[int, Cells]] = []
    serial = rng.randrange(10**6, 9 * 10**6)
    with (
        kept_manifest(manifest, path.name, items, seed=seed, bad_share=bad_share) as noted,
        opened(path) as file,
        chosen.opened(file, Asked(NAMES, items, seed)) as writer,
    ):
        width = len(writer.layout(NAMES).line)
        block: dict[int, Cells] = {}  # no line is like another one, so each row is put together
        for position in range(1, items + 1):
            cells = _row(rng, serial + position)
            chance = rng.random()
            if chance < bad_share:
                defect, made = turns.make(cells, 0, list)
                noted.note(position, defect, cells)
                cells = made
            elif chance < bad_share + duplicate_share and origins:
                earlier, cells = rng.choice(origins)
                noted.note(position, _REPEATED, cells, earlier)
            elif len(origins) < _ORIGINS_KEPT:
                origins.append((position, cells))
            block[len(block)] = cells
            if len(block) == _BLOCK_ROWS or position == items:
                writer.write(np.zeros((len(block), width), np.uint8), block)
                block = {}
    return noted


def _row(rng: random.Random, serial: int) -> Cells:
    kind = rng.choices(tuple(_STEMS), weights=(8, 1, 1))[0]
    stem, digits = _STEMS[kind]
    body = f"{stem}{serial:0{digits - len(stem)}d}"
    return [kind, f"{body}{luhn_digit(body)}" if kind == "ICCID" else body, f"camera-{serial}"]
