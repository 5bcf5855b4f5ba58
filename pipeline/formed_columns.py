"""The columns of a target's rules, among them an identifier whose rule differs from row to row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.column_rules import ColumnRule, Judged
from pipeline.errors import UsageError
from pipeline.headers import FromDefault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.column_rules import Modes
    from pipeline.headers import Origin
    from pipeline.rules import Rule


class FormedColumn:
    """The cells of one field that have different forms, a rule each; the cells of `kinds` say which."""

    def __init__(self, kinds: ColumnRule, forms: Mapping[str, ColumnRule]) -> None:
        self._kinds = kinds
        self._forms = forms
        self._any = next(iter(forms.values()))

    def cells(self, rows: pa.RecordBatch) -> pa.StringArray:
        """Give the cells as they stood, nulls as blanks."""
        return self._any.cells(rows)

    def judge(self, rows: pa.RecordBatch, numbers: Mapping[int, pa.BooleanArray]) -> Judged:
        """Judge every cell by the rule of its form. A cell whose form cannot be told is let be."""
        cells, kinds = self.cells(rows), self._kinds.judge(rows, numbers).values
        own = self._any.numbers(numbers)
        values, checked = cells, dict[str, tuple[int, int]]()
        good = pa.repeat(True, len(cells))
        for form, column in self._forms.items():
            mine = pc.equal(kinds, form)
            if not mine.true_count:
                continue
            if mine.true_count == len(cells):
                return column.judge_cells(cells, own)
            part = cells.filter(mine)
            judged = column.judge_cells(part, None if own is None else own.filter(mine))
            if judged.values is not part:
                values = pc.replace_with_mask(values, mine, judged.values)
            good = pc.replace_with_mask(good, mine, judged.good)
            checked |= judged.checked
        return Judged(values, good, checked, own)

    def faults(self, rows: pa.RecordBatch, judged: Judged) -> Iterator[tuple[int, tuple[str, str]]]:
        """Yield index, code and words for every cell that does not hold, a form after the other."""
        bad = pc.indices_nonzero(pc.invert(judged.good))
        cells, kinds = self.cells(rows).take(bad), self._kinds.judge(rows, {}).values.take(bad)
        numbers = None if judged.numbers is None else judged.numbers.take(bad)
        for form, column in self._forms.items():
            mine = pc.indices_nonzero(pc.equal(kinds, form))
            part = cells.take(mine)
            judged = column.judge_cells(part, None if numbers is None else numbers.take(mine))
            indices = bad.take(mine).to_pylist()
            for index, fault in column.faults_of(part, judged):
                yield indices[index], fault


def columns_of(
    rules: Sequence[Rule], origins: Mapping[str, Origin], header: Sequence[str], modes: Modes
) -> list[ColumnRule | FormedColumn]:
    """Give every rule on its column, in the order of the rules; `modes` are [input] check_digits.

    A field whose form is the same in every row is a column like any other. Raises UsageError for a default
    that breaks its rule.
    """
    plain = {
        rule.name: ColumnRule(rule, origins[rule.name], header, modes)
        for rule in rules
        if rule.forms_by is None
    }
    return [
        plain[rule.name]
        if rule.forms_by is None
        else _formed(rule, plain[rule.forms_by.field], origins[rule.name], header, modes)
        for rule in rules
    ]


def _formed(
    rule: Rule, kinds: ColumnRule, origin: Origin, header: Sequence[str], modes: Modes
) -> ColumnRule | FormedColumn:
    forms = rule.by_form()
    if kinds.constant is not None:
        return ColumnRule(forms[kinds.constant], origin, header, modes)
    if isinstance(origin, FromDefault):
        raise UsageError(
            f"[input] defaults.{rule.name}: its form would differ from row to row; name its column "
            "in [input] columns"
        )
    return FormedColumn(kinds, {form: ColumnRule(one, origin, header, modes) for form, one in forms.items()})
