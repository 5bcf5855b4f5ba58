"""The fingerprints by which rows meet: what each row asks after, what it claims, and the words for a meeting.

One kind of mark for each reason; all of it follows from the target's rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial, reduce
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.fingerprints import Fingerprints
from pipeline.key_order import KeyOrder
from pipeline.rules import rules_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pipeline.contracts import Target
    from pipeline.rules import Rule
    from pipeline.screening import Names, Screened

DUPLICATE, TWIN, SAME_SIM = "duplicate", "check_digit_twin", "same_sim"
_KEYS, _SHOWN, _WITH_KEYS, _FIRST_FIELD = range(4)  # spaces of fingerprints


@dataclass(frozen=True, slots=True)
class Kind:
    """One reason why rows meet. `words` takes the earlier row's place, its tag and ours."""

    code: str
    words: Callable[[str, int, int], str]
    asks: bool = True
    claims: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """Fingerprints of one kind (by number), ascending by their rows, which are indices; a tag with each.

    `new` says which of them surely stand in no row before; None: that is not known.
    """

    kind: int
    rows: NDArray[np.intp]
    prints: NDArray[np.uint64]
    tags: NDArray[np.uint64]
    new: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class _Bare:
    """Identifiers in `field` (of rows whose `by` is `form`) that may lack their check digit."""

    field: str
    digits: int
    by: str = ""
    form: str = ""


class Marks:
    """Makes the marks of screened rows. Knows which lengths of identifiers it has met so far.

    `kinds`: the first is the key's, its tags are fingerprints of what goes with the key (0: nothing known).
    """

    def __init__(self, target: Target) -> None:
        rules = rules_of(target.rules)
        self._target, self._prints, self._order = target, Fingerprints(), KeyOrder()
        self._unique = [(rule.name, rule.unique.common) for rule in rules if rule.unique]
        self._bare = [bare for rule in rules for bare in _bare_of(rule)]
        self._forms = next((tuple(rule.by_form()) for rule in rules if rule.forms_by is not None), ())
        self.with_key = next((rule.name for rule in rules if rule.one_per_key), "")
        self._met = {bare: [False, False] for bare in self._bare}
        self.kinds = [
            Kind(DUPLICATE, _nothing, claims=True),
            *(Kind(f"shared_{name}", partial(_shared, name), claims=True) for name, _ in self._unique),
            *(Kind(TWIN, _twin) for _ in self._bare),
            *(Kind(SAME_SIM, partial(_shows, self._forms, form)) for form in self._forms),
        ]
        if self._forms:
            self.kinds.append(Kind(SAME_SIM, partial(_is_shown, self._forms)))
            self.kinds.append(Kind(SAME_SIM, _nothing, asks=False, claims=True))

    def __call__(self, screened: Screened) -> list[Mark]:
        """Give the marks of a chunk's screened rows."""
        fields, number = screened.fields, count()
        keys = self._target.key(fields)
        everyone = np.arange(fields.num_rows)
        prints, tags = self._prints(keys, _KEYS), self._tags(fields)
        found = [Mark(next(number), everyone, prints, tags, self._order.new(keys))]
        for space, (name, common) in enumerate(self._unique, start=_FIRST_FIELD):
            rows = everyone
            values = fields.column(name)
            nothing = reduce(pc.or_, (pc.ends_with(values, end) for end in common), pc.equal(values, ""))
            if nothing.true_count:
                rows, values = rows[~np.asarray(nothing)], values.filter(pc.invert(nothing))
            found.append(_untagged(next(number), rows, self._prints(values, space)))
        for bare in self._bare:
            found += self._twins(next(number), bare, fields)
        if screened.names is not None:
            found += self._names(next(number), screened.names, keys)
        return found

    def _tags(self, fields: pa.RecordBatch) -> NDArray[np.uint64]:
        if not self.with_key:
            return np.zeros(fields.num_rows, np.uint64)
        values = fields.column(self.with_key)
        tags = self._prints.short(values, _WITH_KEYS)
        if (blank := pc.equal(values, "")).true_count:
            tags[np.asarray(blank)] = 0
        return tags

    def _twins(self, kind: int, bare: _Bare, fields: pa.RecordBatch) -> Iterator[Mark]:
        """Ask after the same identifier with a digit less, or with any one more. Nobody needs to claim it.

        In a file of one length nobody asks either.
        """
        lengths = np.asarray(pc.binary_length(fields.column(bare.field)))
        mine = np.asarray(pc.equal(fields.column(bare.by), bare.form)) if bare.by else True
        without, with_one = (np.flatnonzero((lengths == bare.digits + more) & mine) for more in (0, 1))
        met = self._met[bare]
        met[:] = met[0] or len(without) > 0, met[1] or len(with_one) > 0
        if not all(met):
            return
        if len(with_one):
            yield self._asked(
                kind, bare, fields, with_one, lambda v: pc.utf8_slice_codeunits(v, 0, bare.digits)
            )
        for digit in "0123456789" if len(without) else "":
            yield self._asked(kind, bare, fields, without, partial(_with, digit))

    def _asked(
        self,
        kind: int,
        bare: _Bare,
        fields: pa.RecordBatch,
        rows: NDArray[np.intp],
        change: Callable[[pa.StringArray], pa.StringArray],
    ) -> Mark:
        place = fields.schema.get_field_index(bare.field)
        other = fields.take(pa.array(rows))
        other = other.set_column(place, bare.field, change(other.column(place)))
        return _untagged(kind, rows, self._prints(self._target.key(other), _KEYS))

    def _names(self, kind: int, names: Names, keys: pa.StringArray) -> Iterator[Mark]:
        """Ask after what further columns show of a SIM, and whether an earlier one showed our name; claim it.

        What a row is named by anyway is not shown besides. That two rows show the same third identifier
        proves nothing: placeholders stand in such columns too.
        """
        by = np.asarray(pc.index_in(names.forms, pa.array(self._forms))).astype(np.uint64)
        shown_in = kind + len(self._forms)
        for other in names.others:
            rows = np.asarray(other.rows).astype(np.intp)
            shown = self._target.key(other.fields)
            besides = np.asarray(pc.not_equal(shown, keys.take(other.rows)))
            rows, shown = rows[besides], shown.filter(pa.array(besides))
            number = kind + self._forms.index(other.form)
            yield Mark(number, rows, self._prints(shown, _KEYS), by[rows])
            yield Mark(shown_in + 1, rows, self._prints(shown, _SHOWN), by[rows])
        yield Mark(shown_in, np.arange(len(keys)), self._prints(keys, _SHOWN), by)


def _bare_of(rule: Rule) -> Iterator[_Bare]:
    if rule.bare_digits:
        yield _Bare(rule.name, rule.bare_digits)
    for form, one in rule.by_form().items():
        if one.bare_digits and rule.forms_by is not None:
            yield _Bare(rule.name, one.bare_digits, rule.forms_by.field, form)


def _untagged(kind: int, rows: NDArray[np.intp], prints: NDArray[np.uint64]) -> Mark:
    return Mark(kind, rows, prints, np.zeros(len(rows), np.uint64))


def _with(digit: str, values: pa.StringArray) -> pa.StringArray:
    return pc.binary_join_element_wise(values, digit, "")


# ---------------------------------------------------------------- words


def _nothing(_there: str, _theirs: int, _ours: int) -> str:
    return ""


def _shared(name: str, there: str, _theirs: int, _ours: int) -> str:
    return f"has the {name} of {there}, whose key is another one"


def _twin(there: str, _theirs: int, _ours: int) -> str:
    return f"has the key of {there} but for a last digit, which one of them lacks: a check digit"


def _shows(forms: tuple[str, ...], form: str, there: str, _theirs: int, ours: int) -> str:
    return f"names by {forms[ours]} a SIM that {there} names by {form}"


def _is_shown(forms: tuple[str, ...], there: str, theirs: int, ours: int) -> str:
    return f"names by {forms[ours]} a SIM that {there} names by {forms[theirs]}"
