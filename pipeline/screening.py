"""The row rules of a target, run on columns and explained for one row.

Screen decides for whole columns which cells hold, and builds a reason only for those that do not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from pipeline.column_rules import ColumnRule
from pipeline.errors import UsageError
from pipeline.formed_columns import columns_of
from pipeline.headers import (
    FromColumn,
    Wanted,
    find_columns,
    fold,
    form_columns,
    is_activation_code,
    require_known,
)
from pipeline.row_names import RowNames
from pipeline.rules import rules_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from pipeline.column_rules import Judged
    from pipeline.headers import Origin
    from pipeline.model import Chunk
    from pipeline.rules import Rule
    from pipeline.settings import CheckDigits, Input

# ---------------------------------------------------------------- what screening says of a chunk


class Rejected(Struct, frozen=True, gc=False):
    """A row that failed, by its index in the chunk. `key` is the raw cell of the model's first field."""

    index: int
    key: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class OtherName:
    """Accepted rows by another identifier, which a further column of theirs shows.

    `rows`: their indices among the accepted rows. `fields`: these rows, as if they named their SIM by it.
    """

    form: str
    rows: pa.Int64Array
    fields: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Names:
    """How the accepted rows name their SIM: by which form each, and what else the file shows of it."""

    forms: pa.StringArray
    others: tuple[OtherName, ...]


@dataclass(frozen=True, slots=True)
class Screened:
    """What became of a chunk.

    `fields`: the accepted rows, one normalised string column per field of the model, in its order. `rows`:
    their int64 indices in the chunk. `rejected`: the others, ascending. `check_digits`: field or form →
    (passed, failed) among the well-formed cells of this chunk, where check digits are not "off"; where some
    may lack theirs, also by the number of digits, as `iccid:19`. `names` is given where the file shows more
    than one.
    """

    fields: pa.RecordBatch
    rows: pa.Int64Array
    rejected: list[Rejected] = field(default_factory=list)
    check_digits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    names: Names | None = None


def needed_names(rules: type[BaseModel], settings: Input) -> frozenset[str]:
    """Give the folded names of all columns that could feed a target with these rules."""
    names = [name for rule in rules_of(rules) for name in _wanted(rule).all_names]
    return frozenset(map(fold, [*names, *settings.columns.values()]))


class Screen:
    """The rules of one target on the columns of one file.

    Raises UsageError for an unknown field in the [input] tables and for a default that breaks its rule,
    InventoryError (see headers.find_columns) when the columns cannot be told, TypeError for a model whose
    rules cannot be run on columns.
    """

    def __init__(self, rules: type[BaseModel], header: Sequence[str], settings: Input) -> None:
        fields = rules_of(rules)
        _require_check_digits(settings.check_digits, fields)
        wanted = [_wanted(rule) for rule in fields]
        origins = find_columns(header, wanted, settings.columns, settings.defaults)
        self._columns = columns_of(fields, origins, header, settings.check_digits)
        self._changes = [
            column for column in self._columns if isinstance(column, ColumnRule) and column.rule.change
        ]
        # Where every key goes with one value of another field, this one tells what became of the key.
        self._companion = next(
            (i for i, rule in enumerate(fields) if rule.one_per_key and fields[0].check), 0
        )
        self._schema = pa.schema([(rule.name, pa.string()) for rule in fields])
        self._names = _names(fields, origins, header, settings)

    def __call__(self, chunk: Chunk, row_names: RowNames | None = None) -> Screened:
        """Judge every row of a chunk; reasons name a row by `row_names`, else by its number alone."""
        judged = [column.judge(chunk.rows, chunk.numbers) for column in self._columns]
        if self._companion and (rounded := _rounded_alike(judged[0], judged[self._companion])) is not None:
            judged[0] = judged[0].without(rounded)
        fields = pa.RecordBatch.from_arrays([column.values for column in judged], schema=self._schema)
        rows = pa.array(np.arange(chunk.rows.num_rows))
        counts = {name: count for verdict in judged for name, count in verdict.checked.items()}
        good = reduce(pc.and_, [verdict.good for verdict in judged])
        idle = self._idle(fields)
        if idle is not None:
            good = pc.and_not(good, idle)
        rejected: list[Rejected] = []
        if good.true_count < len(good):
            row_names = row_names or RowNames()
            rejected = self._explain(chunk, row_names, judged, rows.filter(pc.invert(good)), idle)
            fields, rows = fields.filter(good), rows.filter(good)
        names = self._names(chunk, fields, rows) if self._names else None
        return Screened(fields, rows, rejected, counts, names)

    def _idle(self, fields: pa.RecordBatch) -> pa.BooleanArray | None:
        """Say which rows have nothing to change; None where no field is a change."""
        blank = [pc.equal(fields.column(column.rule.name), "") for column in self._changes]
        return reduce(pc.and_, blank) if blank else None

    def _explain(
        self,
        chunk: Chunk,
        row_names: RowNames,
        judged: Sequence[Judged],
        bad: pa.Int64Array,
        idle: pa.BooleanArray | None,
    ) -> list[Rejected]:
        codes: dict[int, str] = {}
        told: dict[int, str] = {}
        for column, verdict in zip(self._columns, judged, strict=True):
            for index, (code, words) in column.faults(chunk.rows, verdict):
                codes.setdefault(index, code)
                told[index] = f"{told[index]}; {words}" if index in told else f", {words}"
        if idle is not None:
            words = f"nothing to change: {', '.join(column.blank for column in self._changes)}"
            for index in pc.indices_nonzero(idle).to_pylist():
                codes.setdefault(index, "nothing_to_change")
                told[index] = f"{told[index]}; {words}" if index in told else f": {words}"
        keys = self._columns[0].cells(chunk.rows).take(bad).to_pylist()
        rows = map(row_names, pc.add(chunk.positions.take(bad), row_names.rows_before).to_pylist())
        return [
            Rejected(index, "" if is_activation_code(key) else key, codes[index], row + told[index])
            for index, key, row in zip(bad.to_pylist(), keys, rows, strict=True)
        ]


def _rounded_alike(keys: Judged, companions: Judged) -> pa.BooleanArray | None:
    """Say which keys are one that several were rounded to: it passes its check digit by chance.

    Alone it could be a key like any other (DESIGN, invariant 7); with two companions it can't be both's.
    """
    suspects = pc.and_(keys.good, pc.ends_with(keys.values, "0000"))
    if suspects.true_count:
        suspects = pc.and_(suspects, pc.match_substring_regex(keys.values, "^[0-9]{15}0+$"))
    if suspects.true_count <= 1:
        return None
    pairs = pa.table([keys.values.filter(suspects), companions.values.filter(suspects)], ["key", "companion"])
    counted = pairs.group_by("key").aggregate([("companion", "count_distinct")])
    several = counted.filter(pc.greater(counted["companion_count_distinct"], 1))["key"].combine_chunks()
    return pc.and_(suspects, pc.is_in(keys.values, several)) if len(several) else None


class _Names:
    """The columns of a file, besides the one that names a row's SIM, that are named by a form."""

    def __init__(self, field: str, kind: str, others: Sequence[tuple[str, ColumnRule]]) -> None:
        self._field, self._kind = field, kind
        self._others = others

    def __call__(self, chunk: Chunk, fields: pa.RecordBatch, accepted: pa.Int64Array) -> Names:
        """Say how the accepted rows name their SIM. What does not hold by its form is no name."""
        others = []
        for form, column in self._others:
            numbers = column.numbers(chunk.numbers)
            shown = column.judge_cells(
                column.cells(chunk.rows).take(accepted), None if numbers is None else numbers.take(accepted)
            )
            named = fields
            for name, values in ((self._field, shown.values), (self._kind, pa.repeat(form, len(accepted)))):
                named = named.set_column(fields.schema.get_field_index(name), name, values)
            if shown.good.true_count < len(accepted):
                named = named.filter(shown.good)
            others.append(OtherName(form, pc.indices_nonzero(shown.good), named))
        return Names(fields.column(self._kind), tuple(others))


def _names(
    rules: Sequence[Rule], origins: Mapping[str, Origin], header: Sequence[str], settings: Input
) -> _Names | None:
    for rule in rules:
        if rule.forms_by is not None:
            forms = rule.by_form()
            others = [
                (form, ColumnRule(forms[form], FromColumn(index), header, settings.check_digits))
                for index, form in form_columns(header, _wanted(rule))
                if origins[rule.name] != FromColumn(index)
            ]
            return _Names(rule.name, rule.forms_by.field, others) if others else None
    return None


def _wanted(rule: Rule) -> Wanted:
    forms_by = rule.forms_by
    if forms_by is None:
        return Wanted(rule.name, rule.aliases, rule.joined, rule.required)
    forms = tuple((form.name, form.aliases) for form in forms_by.forms)
    return Wanted(rule.name, rule.aliases, forms=forms, forms_by=forms_by.field)


def _require_check_digits(modes: Mapping[str, CheckDigits], rules: Sequence[Rule]) -> None:
    """Raise UsageError for a name in [input] check_digits that has none."""
    formed = [one for rule in rules for one in rule.by_form().values() or (rule,)]
    checkable = [one.code for one in formed if one.check]
    require_known(modes, [one.code for one in formed], table="check_digits")
    if needless := modes.keys() - set(checkable):
        raise UsageError(
            f"[input] check_digits.{min(needless)}: the field has no check digit; "
            f"known are {', '.join(checkable)}"
        )
