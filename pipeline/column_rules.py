"""One rule of a target on one column of a file: what becomes of its cells, which hold, why others do not.

What is true of most cells is decided for the whole column; a reason is built only for a cell that fails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.headers import FromColumn, FromDefault, FromPair, quoted
from pipeline.identifiers import (
    all_digits,
    damage,
    has_control_characters,
    luhn_column,
    mod97_column,
    normalise_column,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipeline.headers import Origin
    from pipeline.rules import Rule
    from pipeline.settings import CheckDigits

    Modes = Mapping[str, CheckDigits]

#: What free text is stripped of: blanks, control white space, no-break and zero-width characters.
WHITE_SPACE = (
    "\t\n\v\f\r \x1c\x1d\x1e\x1f\x85\xa0\u1680"
    + "".join(map(chr, range(0x2000, 0x2010)))
    + ("\u2028\u2029\u202f\u205f\u2060\u3000\ufeff")
)
_CHECKS: Mapping[str, Callable[[pa.StringArray], Any]] = {"luhn": luhn_column, "mod97": mod97_column}
_HEX_LETTER = re.compile("[A-Fa-f]")
_WHOLE = "^[0-9]{1,15}$"  # the numbers that every program keeps as they are
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DIGITS_ALONE = re.compile(r"\^\[0-9\]\{(\d+)(?:,(\d+))?\}\$")


@dataclass(frozen=True, slots=True)
class Judged:
    """One column after its rule: its values, which of them hold, and check digits as Screened counts them.

    `numbers` are the cells that do not hold because the file has a number there, `rounded` those that other
    rows show to be rounded.
    """

    values: pa.StringArray
    good: pa.BooleanArray
    checked: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    numbers: pa.BooleanArray | None = None
    rounded: pa.BooleanArray | None = None

    def without(self, rounded: pa.BooleanArray) -> Judged:
        """Give the same, but that these cells do not hold."""
        return replace(self, good=pc.and_not(self.good, rounded), rounded=rounded)


class ColumnRule:
    """One rule on the cells it gets from one file.

    `where` names these cells; `constant` is what every row takes where the file has none. `modes` are [input]
    check_digits. Raises UsageError for a default that breaks the rule.
    """

    def __init__(self, rule: Rule, origin: Origin, header: Sequence[str], modes: Modes) -> None:
        mode = modes.get(rule.code, "warn")
        self.rule = rule
        self._origin = origin
        # Where check digits are off, zeros at the end prove no damage either (DESIGN, invariant 7).
        self._check = None if mode == "off" else rule.check
        self._mode = mode
        digits = _DIGITS_ALONE.fullmatch(rule.pattern or "")
        self._digits = (int(digits[1]), int(digits[2] or digits[1])) if digits else None
        self.constant = rule.default
        match origin:
            case FromColumn(index):
                self.where = f"column {quoted(header[index])}"
            case FromPair(first, second, _):
                self.where = f"columns {quoted(header[first])} and {quoted(header[second])}"
            case FromDefault(value):
                self.where = f"[input] defaults.{rule.name}"
                if value is not None:
                    self.constant = self._judged_default(value)

    @property
    def blank(self) -> str:
        """Say of a row that this cell of it is blank."""
        if isinstance(self._origin, FromDefault):
            return f"the file has no column for {self.rule.name}"
        return f"{self.where} is blank"

    def cells(self, rows: pa.RecordBatch) -> pa.StringArray:
        """Give the cells as they stood, nulls as blanks; two columns joined where a pair stands in."""
        match self._origin:
            case FromColumn(index):
                return _text(rows.column(str(index)))
            case FromPair(first, second, template):
                return _joined(_text(rows.column(str(first))), _text(rows.column(str(second))), template)
            case FromDefault():
                return pa.repeat(pa.scalar(self.constant, pa.string()), rows.num_rows)

    def numbers(self, numbers: Mapping[int, pa.BooleanArray]) -> pa.BooleanArray | None:
        """Say which of its cells are, or are made of, numbers in the file, by what the chunk tells."""
        match self._origin:
            case FromColumn(index):
                return numbers.get(index)
            case FromPair(first, second, _):
                found = [numbers[index] for index in (first, second) if index in numbers]
                return reduce(pc.or_, found) if found else None
        return None

    def judge(self, rows: pa.RecordBatch, numbers: Mapping[int, pa.BooleanArray]) -> Judged:
        """Normalise the column and say which of its cells hold."""
        cells = self.cells(rows)
        if isinstance(self._origin, FromDefault):
            return Judged(cells, pa.repeat(True, len(cells)))
        return self.judge_cells(cells, self.numbers(numbers))

    def faults(self, rows: pa.RecordBatch, judged: Judged) -> Iterator[tuple[int, tuple[str, str]]]:
        """Yield index, code and words for every cell that does not hold."""
        if judged.good.true_count < len(judged.good):
            yield from self.faults_of(self.cells(rows), judged)

    def faults_of(self, cells: pa.StringArray, judged: Judged) -> Iterator[tuple[int, tuple[str, str]]]:
        """Yield the same for cells that stand in no row."""
        bad = pc.indices_nonzero(pc.invert(judged.good))
        columns = [cells.take(bad), values := judged.values.take(bad), self._well_formed(values)]
        columns += [
            pa.repeat(False, len(bad)) if flags is None else flags.take(bad)
            for flags in (judged.numbers, judged.rounded)
        ]
        for index, raw, value, well_formed, number, rounded in zip(
            bad.to_pylist(), *(column.to_pylist() for column in columns), strict=True
        ):
            if number or rounded:
                yield index, self._number(raw) if number else self._rounded(raw)
            else:
                yield index, self._fault(raw, value, well_formed=well_formed)

    def judge_cells(self, cells: pa.StringArray, numbers: pa.BooleanArray | None = None) -> Judged:
        """Judge cells that stand in no row. A number is no identifier and no code, whatever its digits."""
        lost = self._lost(cells, numbers)
        if lost is not None:
            texts = self.judge_cells(pc.if_else(lost, "", cells))
            return Judged(texts.values, pc.and_not(texts.good, lost), texts.checked, lost)
        if self.rule.identifier or self.rule.one_of:
            well_formed = self._well_formed(cells)
            if well_formed.true_count < len(cells):
                odd = pc.invert(well_formed)
                cells = pc.replace_with_mask(cells, odd, self._normalised(cells.filter(odd)))
                well_formed = self._well_formed(cells)
        else:
            cells = pc.utf8_trim(cells, characters=WHITE_SPACE)
            well_formed = self._well_formed(cells)
        good, checked = well_formed, {}
        if self._check is not None:
            wrong = pc.and_(well_formed, pc.invert(_CHECKS[self._check](cells)))
            checked = self._counted(cells, well_formed, wrong)
            if self._mode == "reject":
                good = pc.and_not(well_formed, wrong)
            elif damaged := self._damaged(cells, wrong):
                good = pc.and_not(well_formed, pc.is_in(cells, pa.array(damaged, pa.string())))
        if not self.rule.required and good.true_count < len(cells):
            blank = pc.equal(cells, "")
            good = pc.or_(good, blank)
            cells = pc.if_else(blank, pa.scalar(self.rule.default, pa.string()), cells)
        return Judged(cells, good, checked)

    def _lost(self, cells: pa.StringArray, numbers: pa.BooleanArray | None) -> pa.BooleanArray | None:
        """Say which cells may have lost digits, or zeros before them, as numbers; None where none has."""
        if numbers is None or not numbers.true_count:
            return None
        if not (self.rule.identifier or self.rule.confidential):
            numbers = pc.and_(numbers, pc.invert(pc.match_substring_regex(cells, _WHOLE)))
        return numbers if numbers.true_count else None

    def _counted(
        self, cells: pa.StringArray, well_formed: pa.BooleanArray, wrong: pa.BooleanArray
    ) -> dict[str, tuple[int, int]]:
        """Count check digits (passed, failed); where some lack theirs, by the number of digits as well."""
        code, bare = self.rule.code, self.rule.bare_digits
        counts = {code: (well_formed.true_count - wrong.true_count, wrong.true_count)}
        for digits in (bare, bare + 1) if bare else ():
            of_length = pc.and_(well_formed, pc.equal(pc.binary_length(cells), digits))
            if of_length.true_count:
                failed = pc.and_(of_length, wrong).true_count
                counts[f"{code}:{digits}"] = (of_length.true_count - failed, failed)
        return counts

    def _normalised(self, cells: pa.StringArray) -> pa.StringArray:
        rule = self.rule
        if rule.one_of:
            cells = pc.utf8_trim(cells, characters=WHITE_SPACE)
            lower = pa.array([word.lower() for word in rule.one_of])
            spelt = pa.array(rule.one_of).take(pc.index_in(pc.ascii_lower(cells), lower))
            return pc.coalesce(spelt, cells)
        cells = normalise_column(cells)
        if rule.peel:
            peeled = pc.starts_with(cells, rule.peel)
            bare = pc.utf8_slice_codeunits(cells.filter(peeled), len(rule.peel))
            cells = pc.replace_with_mask(cells, peeled, normalise_column(bare))
        return cells

    def _well_formed(self, cells: pa.StringArray) -> pa.BooleanArray:
        """Say which cells are there and satisfy pattern and lengths (in characters, as pydantic counts)."""
        rule = self.rule
        if rule.one_of:
            return pc.is_in(cells, pa.array(rule.one_of))
        held = pc.greater(pc.binary_length(cells), 0)
        if self._digits and all_digits(cells):
            # What the pattern says, for a fraction of what it costs: a look at the bytes as a whole.
            lengths = pc.binary_length(cells)
            least, most = self._digits
            held = pc.and_(held, pc.and_(pc.greater_equal(lengths, least), pc.less_equal(lengths, most)))
        elif rule.pattern is not None:
            held = pc.and_(held, pc.match_substring_regex(cells, rule.pattern))
        if rule.min_length > 1:
            held = pc.and_(held, pc.greater_equal(pc.utf8_length(cells), rule.min_length))
        if rule.max_length is not None:
            held = pc.and_(held, pc.less_equal(pc.utf8_length(cells), rule.max_length))
        if not rule.identifier and has_control_characters(cells):
            # No name, code or label has any: a cell that slipped, or lines that a stray quote joined.
            held = pc.and_not(held, pc.match_substring_regex(cells, _CONTROL.pattern))
        return held

    def _damaged(self, cells: pa.StringArray, wrong: pa.BooleanArray) -> list[str]:
        """Give the well-formed identifiers that are damaged all the same."""
        # A cheap sieve: damage that leaves the form intact shows as zeros after the 15th character.
        suspects = cells.filter(pc.and_(wrong, pc.ends_with(cells, "0")))
        suspects = suspects.filter(pc.match_substring_regex(suspects, "^.{15}0+$"))
        return [value for value in suspects.unique().to_pylist() if damage(value, self._check) is not None]

    def _judged_default(self, value: str) -> str | None:
        cells = pa.array([value], pa.string())
        judged = self.judge_cells(cells)
        for _, (_, words) in self.faults_of(cells, judged):
            raise UsageError(words)
        normalised: str | None = judged.values[0].as_py()
        return normalised

    def _fault(self, raw: str, value: str, *, well_formed: bool) -> tuple[str, str]:
        """Explain one cell that does not hold: a code, and words for the operator."""
        rule = self.rule
        if not value:
            return f"{rule.name}_missing", f"{self.where}: is empty; fill it in"
        if rule.identifier and (harm := damage(value, self._check)) is not None:
            kind, words = "damaged", harm
        elif well_formed:
            kind, words = "check_digit", f"its check digits ({rule.check}) are wrong"
        elif rule.max_length is not None and len(value) > rule.max_length:
            kind, words = "too_long", f"must have at most {rule.max_length} characters, has {len(value)}"
        elif not rule.identifier and _CONTROL.search(value):
            kind, words = "format", "holds a line break, a tab or another control character"
        elif rule.identifier and self._is_hex(value):
            kind, words = "hex", "hex letters; this API takes digits only"
        elif rule.pattern is not None or rule.one_of:
            kind, words = "format", f"must be {rule.words}"
        else:
            kind, words = "format", f"must have at least {rule.min_length} characters"
        return f"{rule.code}_{kind}", f"{self.where}: {words}, {self._shown(raw)}"

    def _number(self, raw: str) -> tuple[str, str]:
        words = (
            "a number in the file, not text, so its digits cannot be trusted; "
            "format the column as text and fill it again"
        )
        return f"{self.rule.code}_damaged", f"{self.where}: {words}, {self._shown(raw)}"

    def _rounded(self, raw: str) -> tuple[str, str]:
        words = (
            "spreadsheet rounding: digits after the 15th are zeros, and other rows were rounded to the same"
        )
        return f"{self.rule.code}_damaged", f"{self.where}: {words}, {self._shown(raw)}"

    def _shown(self, raw: str) -> str:
        return "the value is confidential" if self.rule.confidential else f"is {quoted(raw)}"

    def _is_hex(self, value: str) -> bool:
        """Tell whether digits in place of its hex letters would make the value well formed."""
        digits = _HEX_LETTER.sub("0", value)
        return digits != value and re.search(self.rule.pattern or "", digits) is not None


def _text(cells: pa.StringArray) -> pa.StringArray:
    return cells.fill_null("") if cells.null_count else cells


def _joined(first: pa.StringArray, second: pa.StringArray, template: str) -> pa.StringArray:
    """Fill the template; without its first part the field is missing, its second may be empty (DOMAIN §3)."""
    head, middle, tail = template.split("{}")
    first, second = (pc.utf8_trim(part, characters=WHITE_SPACE) for part in (first, second))
    whole = pc.binary_join_element_wise(head, first, middle, second, tail, "")
    return pc.if_else(pc.equal(first, ""), "", whole)
