"""The same SIM named twice by different types, where further columns of the inventory show it.

Exact, in inventory order, and as small as duplicates.SeenKeys. That two rows show the same third identifier
proves nothing: placeholders stand in such columns too.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.duplicates import SeenKeys
from pipeline.model import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

CODE = "same_sim"


@dataclass(frozen=True, slots=True)
class Named:
    """Rows by what names their SIM: ascending positions in the inventory, keys, and the form of each key."""

    positions: NDArray[np.int64]
    keys: pa.StringArray
    forms: pa.StringArray


@dataclass(frozen=True, slots=True)
class Shown:
    """Rows by what one further column shows of their SIM: identifiers of one form, as keys."""

    form: str
    positions: NDArray[np.int64]
    keys: pa.StringArray


@dataclass(frozen=True, slots=True)
class _Keys:
    """Keys of one form that rows are named by or show: the rows' indices, ascending."""

    form: str
    rows: NDArray[np.intp]
    keys: pa.StringArray


class SameSim:
    """Looks for one SIM behind two keys. Not safe to share between threads."""

    def __init__(self) -> None:
        self._named: defaultdict[str, SeenKeys] = defaultdict(SeenKeys)
        # By the form of what is shown, and the form that names the row which shows it.
        self._shown: defaultdict[tuple[str, str], SeenKeys] = defaultdict(SeenKeys)

    def __call__(self, rows: Named, columns: Sequence[Shown]) -> tuple[Finding, ...]:
        """Take in the next rows, no key of them seen before, and what they show besides.

        What other rows show is passed over. Gives at most one finding per row, ascending: an earlier row is
        named by what this one shows, or showed what this one is named by.
        """
        if not len(rows.positions):
            return ()
        encoded = rows.forms.dictionary_encode()
        forms, form_of = encoded.dictionary.to_pylist(), np.asarray(encoded.indices)
        named = [_named_by(rows, form, form_of == code) for code, form in enumerate(forms)]
        shown = [keys for column in columns if len((keys := _shown_by(rows, column)).rows)]
        found: dict[int, str] = {}
        for other in shown:
            for row in other.rows[self._was_named(other, named)].tolist():
                found.setdefault(row, other.form)
        for own in named:
            for row, form in self._was_shown(own, shown, lambda row: forms[form_of[row]]):
                found.setdefault(row, form)
        self._claim(named, shown)
        return tuple(
            Finding(
                position := int(rows.positions[row]),
                CODE,
                f"row {position} names by {forms[form_of[row]]} a SIM that an earlier row names by {form}",
            )
            for row, form in sorted(found.items())
        )

    def _was_named(self, other: _Keys, named: Sequence[_Keys]) -> NDArray[np.bool_]:
        """Say which of these keys an earlier row is named by."""
        was = np.zeros(len(other.rows), dtype=np.bool_)
        if other.form in self._named:
            was |= self._named[other.form].known(other.keys)
        for own in named:
            if own.form == other.form:
                was |= _first_row(other.keys, own) < other.rows
        return was

    def _was_shown(
        self, own: _Keys, shown: Sequence[_Keys], form_of: Callable[[int], str]
    ) -> Iterator[tuple[int, str]]:
        """Yield the rows whose key an earlier row showed, and the form that names the earlier one."""
        for (form, by), seen in self._shown.items():
            if form == own.form:
                yield from ((row, by) for row in own.rows[seen.known(own.keys)].tolist())
        for other in shown:
            if other.form == own.form:
                first = _first_row(own.keys, other)
                earlier = first < own.rows
                rows = zip(own.rows[earlier].tolist(), first[earlier].tolist(), strict=True)
                yield from ((row, form_of(by)) for row, by in rows)

    def _claim(self, named: Sequence[_Keys], shown: Sequence[_Keys]) -> None:
        for own in named:
            self._named[own.form].first_seen(own.keys)
            for other in shown:
                mine = np.isin(other.rows, own.rows)
                if mine.any():
                    self._shown[other.form, own.form].first_seen(other.keys.filter(pa.array(mine)))


def _named_by(rows: Named, form: str, here: NDArray[np.bool_]) -> _Keys:
    mine = np.flatnonzero(here)
    return _Keys(form, mine, rows.keys if len(mine) == len(here) else rows.keys.take(pa.array(mine)))


def _shown_by(rows: Named, column: Shown) -> _Keys:
    """Place what a column shows among these rows; what a row is named by anyway is not shown besides."""
    place = np.searchsorted(rows.positions, column.positions)
    place[place == len(rows.positions)] = 0
    known = rows.positions[place] == column.positions
    own = rows.keys.take(pa.array(place))
    more = pc.and_(pa.array(known), pc.not_equal(column.keys, own))
    return _Keys(column.form, place[np.asarray(more)], column.keys.filter(more))


def _first_row(keys: pa.StringArray, among: _Keys) -> NDArray[np.intp]:
    """Give for each key the first row that bears it; where none does, a row beyond all."""
    index = pc.index_in(keys, among.keys)
    found = np.asarray(index.is_valid())
    rows = np.full(len(keys), np.iinfo(np.intp).max, dtype=np.intp)
    rows[found] = among.rows[np.asarray(index.drop_null())]
    return rows
