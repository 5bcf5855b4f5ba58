"""The row rules of a target, run on columns and explained for one row.

Screen decides for whole columns which cells hold, and builds a reason only for those that do not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.headers import (
    FromColumn,
    FromDefault,
    FromPair,
    Wanted,
    find_columns,
    is_activation_code,
    quoted,
    require_known,
)
from pipeline.identifiers import damage, luhn_column, mod97_column, normalise_column
from pipeline.rules import rules_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pydantic import BaseModel

    from pipeline.headers import Origin
    from pipeline.model import Chunk
    from pipeline.rules import Rule
    from pipeline.settings import CheckDigits, Input

#: What free text is stripped of: blanks, control white space, no-break and zero-width characters.
_WHITE_SPACE = (
    "\t\n\v\f\r \x1c\x1d\x1e\x1f\x85\xa0\u1680"
    + "".join(map(chr, range(0x2000, 0x2010)))
    + ("\u2028\u2029\u202f\u205f\u2060\u3000\ufeff")
)
_CHECKS: Mapping[str, Callable[[pa.StringArray], Any]] = {"luhn": luhn_column, "mod97": mod97_column}
_HEX_LETTER = re.compile("[A-Fa-f]")


# ---------------------------------------------------------------- what screening says of a chunk


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that failed, by its index in the chunk. `key` is the raw cell of the model's first field."""

    index: int
    key: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Screened:
    """What became of a chunk.

    `fields`: the accepted rows, one normalised string column per field of the model, in its order. `rows`:
    their int64 indices in the chunk. `rejected`: the others, ascending. `check_digits`: field → (passed,
    failed) among the well-formed cells of this chunk, for every field whose check digits are not "off".
    """

    fields: pa.RecordBatch
    rows: pa.Int64Array
    rejected: list[Rejected] = field(default_factory=list)
    check_digits: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Judged:
    """One column after its rule. `good`: cells that hold; `well_formed`: but for damage and check digits."""

    values: pa.StringArray
    good: pa.BooleanArray
    well_formed: pa.BooleanArray
    damaged: Mapping[str, str] = field(default_factory=dict)  # well-formed value → what was done to it
    checked: tuple[int, int] | None = None


class Screen:
    """The rules of one target on the columns of one file.

    Raises UsageError for an unknown field in the [input] tables and for a default that breaks its rule,
    InventoryError (see headers.find_columns) when the columns cannot be told, TypeError for a model whose
    rules cannot be run on columns.
    """

    def __init__(self, rules: type[BaseModel], header: Sequence[str], settings: Input) -> None:
        fields = rules_of(rules)
        checkable = [rule.name for rule in fields if rule.check]
        require_known(settings.check_digits, [rule.name for rule in fields], table="check_digits")
        if needless := settings.check_digits.keys() - set(checkable):
            raise UsageError(
                f"[input] check_digits.{min(needless)}: the field has no check digit; "
                f"known are {', '.join(checkable)}"
            )
        wanted = [Wanted(rule.name, rule.aliases, rule.joined, rule.required) for rule in fields]
        origins = find_columns(header, wanted, settings.columns, settings.defaults)
        self._columns = [
            _Column(rule, origins[rule.name], header, settings.check_digits.get(rule.name, "warn"))
            for rule in fields
        ]
        self._schema = pa.schema([(rule.name, pa.string()) for rule in fields])

    def __call__(self, chunk: Chunk, *, rows_before: int = 0) -> Screened:
        """Judge every row of a chunk; `rows_before` rows stood in the files read before this one."""
        judged = [column.judge(chunk.rows) for column in self._columns]
        fields = pa.RecordBatch.from_arrays([column.values for column in judged], schema=self._schema)
        rows = pa.array(np.arange(chunk.rows.num_rows))
        counts = {
            column.rule.name: verdict.checked
            for column, verdict in zip(self._columns, judged, strict=True)
            if verdict.checked is not None
        }
        good = reduce(pc.and_, [verdict.good for verdict in judged])
        if good.true_count == len(good):
            return Screened(fields, rows, check_digits=counts)
        rejected = self._explain(chunk, rows_before, judged, rows.filter(pc.invert(good)))
        return Screened(fields.filter(good), rows.filter(good), rejected, counts)

    def _explain(
        self, chunk: Chunk, rows_before: int, judged: Sequence[_Judged], bad: pa.Int64Array
    ) -> list[Rejected]:
        faults: dict[int, list[tuple[str, str]]] = {index: [] for index in bad.to_pylist()}
        for column, verdict in zip(self._columns, judged, strict=True):
            for index, fault in column.faults(chunk.rows, verdict):
                faults[index].append(fault)
        keys = self._columns[0].cells(chunk.rows).take(bad).to_pylist()
        positions = chunk.positions.take(bad).to_pylist()
        return [
            Rejected(
                index,
                "" if is_activation_code(key) else key,
                found[0][0],
                f"row {rows_before + position}, {'; '.join([words for _, words in found])}",
            )
            for (index, found), key, position in zip(faults.items(), keys, positions, strict=True)
        ]


# ---------------------------------------------------------------- one rule on one column


class _Column:
    """One rule on the cells it gets from one file."""

    def __init__(self, rule: Rule, origin: Origin, header: Sequence[str], mode: CheckDigits) -> None:
        self.rule = rule
        self._origin = origin
        # Where check digits are off, zeros at the end prove no damage either (DESIGN, invariant 7).
        self._check = None if mode == "off" else rule.check
        self._mode = mode
        self._constant = rule.default
        match origin:
            case FromColumn(index):
                self._where = f"column {quoted(header[index])}"
            case FromPair(first, second, _):
                self._where = f"columns {quoted(header[first])} and {quoted(header[second])}"
            case FromDefault(value):
                self._where = f"[input] defaults.{rule.name}"
                if value is not None:
                    self._constant = self._judged_default(value)

    def cells(self, rows: pa.RecordBatch) -> pa.StringArray:
        """Give the cells as they stood, nulls as blanks; two columns joined where a pair stands in."""
        match self._origin:
            case FromColumn(index):
                return _text(rows.column(str(index)))
            case FromPair(first, second, template):
                return _joined(_text(rows.column(str(first))), _text(rows.column(str(second))), template)
            case FromDefault():
                return pa.repeat(pa.scalar(self._constant, pa.string()), rows.num_rows)

    def judge(self, rows: pa.RecordBatch) -> _Judged:
        """Normalise the column and say which of its cells hold."""
        cells = self.cells(rows)
        if isinstance(self._origin, FromDefault):
            held = pa.repeat(True, len(cells))
            return _Judged(cells, held, held)
        return self._judge(cells)

    def faults(self, rows: pa.RecordBatch, judged: _Judged) -> Iterator[tuple[int, tuple[str, str]]]:
        """Yield index, code and words for every cell that does not hold."""
        if judged.good.true_count < len(judged.good):
            yield from self._faults(self.cells(rows), judged)

    def _faults(self, cells: pa.StringArray, judged: _Judged) -> Iterator[tuple[int, tuple[str, str]]]:
        bad = pc.indices_nonzero(pc.invert(judged.good))
        columns = (cells, judged.values, judged.well_formed)
        for index, raw, value, well_formed in zip(
            bad.to_pylist(), *(column.take(bad).to_pylist() for column in columns), strict=True
        ):
            if well_formed:
                harm = judged.damaged.get(value)
            else:
                harm = damage(raw, self._check) if self.rule.identifier else None
            yield index, self._fault(raw, value, harm, well_formed=well_formed)

    def _judge(self, cells: pa.StringArray) -> _Judged:
        if self.rule.identifier:
            well_formed = self._well_formed(cells)
            if well_formed.true_count < len(cells):
                odd = pc.invert(well_formed)
                cells = pc.replace_with_mask(cells, odd, normalise_column(cells.filter(odd)))
                well_formed = self._well_formed(cells)
        else:
            cells = pc.utf8_trim(cells, characters=_WHITE_SPACE)
            well_formed = self._well_formed(cells)
        good, damaged, checked = well_formed, {}, None
        if self._check is not None:
            wrong = pc.and_(well_formed, pc.invert(_CHECKS[self._check](cells)))
            checked = (well_formed.true_count - wrong.true_count, wrong.true_count)
            damaged = self._damaged(cells, wrong)
            if self._mode == "reject":
                good = pc.and_not(well_formed, wrong)
            elif damaged:
                good = pc.and_not(well_formed, pc.is_in(cells, pa.array(list(damaged), pa.string())))
        if not self.rule.required and good.true_count < len(cells):
            blank = pc.equal(cells, "")
            good = pc.or_(good, blank)
            cells = pc.if_else(blank, pa.scalar(self.rule.default, pa.string()), cells)
        return _Judged(cells, good, well_formed, damaged, checked)

    def _well_formed(self, cells: pa.StringArray) -> pa.BooleanArray:
        """Say which cells are there and satisfy pattern and lengths (in characters, as pydantic counts)."""
        rule = self.rule
        held = pc.greater(pc.binary_length(cells), 0)
        if rule.pattern is not None:
            held = pc.and_(held, pc.match_substring_regex(cells, rule.pattern))
        if rule.min_length > 1:
            held = pc.and_(held, pc.greater_equal(pc.utf8_length(cells), rule.min_length))
        if rule.max_length is not None:
            held = pc.and_(held, pc.less_equal(pc.utf8_length(cells), rule.max_length))
        return held

    def _damaged(self, cells: pa.StringArray, wrong: pa.BooleanArray) -> dict[str, str]:
        """Give the well-formed identifiers that are damaged all the same: value → what was done to it."""
        # A cheap sieve: damage that leaves the form intact shows as zeros after the 15th character.
        suspects = cells.filter(pc.and_(wrong, pc.ends_with(cells, "0")))
        suspects = suspects.filter(pc.match_substring_regex(suspects, "^.{15}0+$"))
        harms = ((value, damage(value, self._check)) for value in suspects.unique().to_pylist())
        return {value: harm for value, harm in harms if harm is not None}

    def _judged_default(self, value: str) -> str | None:
        cells = pa.array([value], pa.string())
        judged = self._judge(cells)
        for _, (_, words) in self._faults(cells, judged):
            raise UsageError(words)
        normalised: str | None = judged.values[0].as_py()
        return normalised

    def _fault(self, raw: str, value: str, harm: str | None, *, well_formed: bool) -> tuple[str, str]:
        """Explain one cell that does not hold: a code, and words for the operator."""
        rule = self.rule
        if not value:
            return f"{rule.name}_missing", f"{self._where}: is empty; fill it in"
        if harm is not None:
            kind, words = "damaged", harm
        elif well_formed:
            kind, words = "check_digit", f"its check digits ({rule.check}) are wrong"
        elif rule.max_length is not None and len(value) > rule.max_length:
            kind, words = "too_long", f"must have at most {rule.max_length} characters, has {len(value)}"
        elif rule.identifier and self._is_hex(value):
            kind, words = "hex", "hex letters; this API takes digits only"
        elif rule.pattern is not None:
            kind, words = "format", f"must be {rule.words}"
        else:
            kind, words = "format", f"must have at least {rule.min_length} characters"
        shown = "the value is confidential" if rule.confidential else f"is {quoted(raw)}"
        return f"{rule.name}_{kind}", f"{self._where}: {words}, {shown}"

    def _is_hex(self, value: str) -> bool:
        """Tell whether digits in place of its hex letters would make the value well formed."""
        digits = _HEX_LETTER.sub("0", value)
        return digits != value and re.search(self.rule.pattern or "", digits) is not None


def _text(cells: pa.StringArray) -> pa.StringArray:
    return cells.fill_null("") if cells.null_count else cells


def _joined(first: pa.StringArray, second: pa.StringArray, template: str) -> pa.StringArray:
    """Fill the template; without its first part the field is missing, its second may be empty (DOMAIN §3)."""
    head, middle, tail = template.split("{}")
    first, second = (pc.utf8_trim(part, characters=_WHITE_SPACE) for part in (first, second))
    whole = pc.binary_join_element_wise(head, first, middle, second, tail, "")
    return pc.if_else(pc.equal(first, ""), "", whole)
