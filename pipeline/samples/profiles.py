"""A sample of profiles: which rows are odd and how, drawn a block at a time in flat memory.

A repeated row is rendered again from the position where it stood first.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import UsageError
from pipeline.samples.clean_rows import CELLS, NAMES, cells_of, clean_lines, confirmation_codes
from pipeline.samples.defects import BYTE_ORDER_MARK, DEFECTS, ODDITIES, REPEATED_ROW, WRONG_QUANTITY
from pipeline.samples.formats import format_of, opened
from pipeline.samples.manifest import kept_manifest
from pipeline.samples.noise import shares
from pipeline.samples.turns import Origins, Turns
from pipeline.samples.writer import Asked

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.samples.clean_rows import Bytes, Layout
    from pipeline.samples.defects import Can, Cells
    from pipeline.samples.manifest import Manifest
    from pipeline.samples.noise import Integers

_BLOCK_ROWS = 32_768
_GOOD, _REPEATED, _BAD, _ODD = range(4)  # what a row is


def write_sample(
    path: Path,
    *,
    items: int,
    seed: int,
    bad_share: float,
    duplicate_share: float = 0.0,
    odd_share: float = 0.0,
    known_share: float = 0.0,
    kind: str = "",
    manifest: Path | None = None,
    wrong_quantity: bool = False,
) -> Manifest:
    """Write an inventory of `items` rows, and say what is in it; row by row into the file `manifest`.

    The format is `kind`, or told by the end of the name. The shares (0 to 1) are chances per row: of a
    defect, of repeating an earlier good row, of being odd without harm, and, for a good row, of being among
    the known. Kinds take turns, so a handful of rows shows all that the format can express.
    `wrong_quantity`: an OUT file says that it has one row more. The same arguments always give the same
    bytes. Raises UsageError for arguments that make no sense, OSError where a file cannot be written.
    """
    _refuse_nonsense(items, bad_share, duplicate_share, odd_share, known_share)
    chosen = format_of(path, kind, items)
    if manifest == path:
        raise UsageError(f"sample: {path} cannot be both the inventory and its manifest")
    if wrong_quantity and not WRONG_QUANTITY.needs <= chosen.can:
        raise UsageError("sample: only an OUT file says a quantity that could be wrong")
    with_mark = odd_share > 0 and BYTE_ORDER_MARK.needs <= chosen.can
    asked = Asked(NAMES, items, seed, with_mark, wrong_quantity)
    told = {"seed": seed, "bad_share": bad_share, "odd_share": odd_share}
    with (
        kept_manifest(manifest, path.name, items, **told) as noted,
        opened(path) as file,
        chosen.opened(file, asked) as writer,
    ):
        for defect in (BYTE_ORDER_MARK,) * with_mark + (WRONG_QUANTITY,) * wrong_quantity:
            noted.note(0, defect)
        sample = _Sample(seed, writer.layout(CELLS), chosen.can, noted)
        for first in range(1, items + 1, _BLOCK_ROWS):
            positions = np.arange(first, min(first + _BLOCK_ROWS, items + 1), dtype=np.int64)
            drawn = shares(positions, seed, "fate")
            # In this order of bounds, so that a share more leaves the rows of the others as they are.
            bounds = np.cumsum([bad_share, duplicate_share, odd_share])
            fates = np.array([_BAD, _REPEATED, _ODD, _GOOD])[np.searchsorted(bounds, drawn, side="right")]
            writer.write(*sample.rows(positions, fates, known_share))
    return noted


def _refuse_nonsense(items: int, bad: float, duplicate: float, odd: float, known: float) -> None:
    if items < 0:
        raise UsageError(f"sample: {items} rows cannot be written; give 0 or more")
    for share in (bad, duplicate, odd, known, bad + duplicate + odd):
        if not 0 <= share <= 1:
            raise UsageError(f"sample: a share of {share:g} makes no sense; give 0 to 1, all together")


class _Sample:
    """Renders the rows of one sample, in their order."""

    def __init__(self, seed: int, layout: Layout, can: frozenset[Can], manifest: Manifest) -> None:
        self._seed, self._layout, self._manifest = seed, layout, manifest
        self._origins = Origins(seed)
        self._bad, self._harmless = Turns(DEFECTS, can), Turns(ODDITIES, can)

    def rows(
        self, positions: Integers, fates: Integers, known_share: float
    ) -> tuple[Bytes, dict[int, Cells]]:
        """Give rows as a Writer takes them; what they are goes into the manifest."""
        if not self._origins:
            fates[np.flatnonzero(fates <= _REPEATED)[:1]] = _GOOD  # there must be a row to repeat
        good = fates == _GOOD
        self._origins.add(positions[good])
        with_earlier = np.flatnonzero((fates == _REPEATED) | (fates == _BAD))
        earlier = np.zeros(len(positions), np.int64)
        earlier[with_earlier] = self._origins.before(positions[with_earlier])
        rendered = np.where(fates == _REPEATED, earlier, positions)
        lines = clean_lines(rendered, self._seed, self._layout)
        odd = self._odd_rows(positions, fates, earlier, lines, confirmation_codes(rendered, self._seed))
        if known_share:
            planted = good & (shares(positions, self._seed, "known") < known_share)
            keys = lines[planted, self._layout.places[0]]
            self._manifest.known += [key.tobytes().decode("ascii") for key in keys]
        self._origins.thin_out()
        return lines, odd

    def _odd_rows(
        self, positions: Integers, fates: Integers, earlier: Integers, lines: Bytes, codes: dict[int, str]
    ) -> dict[int, Cells]:
        """Give the cells of all rows that differ from their line, and note what is odd."""
        bad = np.flatnonzero(fates == _BAD)
        before = clean_lines(earlier[bad], self._seed, self._layout)
        codes_before = confirmation_codes(earlier[bad], self._seed)
        place = {row: at for at, row in enumerate(bad.tolist())}

        def cells_before(row: int) -> Cells:
            at = place[row]
            return cells_of(before[at], self._layout, codes_before.get(at, "")) if earlier[row] else []

        odd: dict[int, Cells] = {}
        rows = np.union1d(np.flatnonzero(fates != _GOOD), np.array([*codes], np.int64))
        of_rows = (column[rows].tolist() for column in (positions, fates, earlier))
        for row, position, fate, there in zip(rows.tolist(), *of_rows, strict=True):
            cells = cells_of(lines[row], self._layout, codes.get(row, ""))
            if fate in (_BAD, _ODD):
                turns = self._bad if fate == _BAD else self._harmless
                defect, odd[row] = turns.make(cells, there, partial(cells_before, row))
                self._manifest.note(position, defect, cells, there if defect.with_earlier else 0)
                continue
            if fate == _REPEATED:
                self._manifest.note(position, REPEATED_ROW, cells, there)
            if row in codes:
                odd[row] = cells
        return odd
