"""What `simlift check` says of an inventory: what is wrong where, how many calls, how long. Sends nothing."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.model import OUTCOME_COLUMNS, SOURCE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipeline.model import Exceptional, Portion, RunRecord
    from pipeline.plan import Plan

EXAMPLES = 3
PRESENT, MISSING = 0.95, 0.2  # shares of check digits that pass; by chance it is one in ten


@dataclass(slots=True)
class Problem:
    """Rows that fail for one reason, or of which one thing is found: how many, and the first of them."""

    status: str
    code: str
    rows: int = 0
    _first: list[tuple[int, str]] = field(default_factory=list)

    @property
    def examples(self) -> list[str]:
        """What is said of the first of them."""
        return [words for _, words in self._first]

    def add(self, position: int, words: str) -> None:
        """Count one row in; rows may come in any order."""
        self.rows += 1
        if len(self._first) < EXAMPLES or position < self._first[-1][0]:
            insort(self._first, (position, words))
            del self._first[EXAMPLES:]


@dataclass(slots=True)
class Findings:
    """An inventory, counted: `problems` by code, check digits `passed` and `failed` as Portion names them.

    `oddities`, by code, are what is found about rows that would be sent all the same; those of the codes
    `stopping` stop a run before it sends anything.
    """

    rows: int = 0
    items: int = 0
    batches: int = 0
    problems: dict[str, Problem] = field(default_factory=dict)
    oddities: dict[str, Problem] = field(default_factory=dict)
    passed: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    stopping: frozenset[str] = frozenset()

    @property
    def clean(self) -> bool:
        """True when every row would be sent."""
        return not self.problems and self.stopping.isdisjoint(self.oddities)

    def add(self, portion: Portion) -> None:
        """Count one portion in."""
        self.rows = portion.rows_read
        self.items += sum(len(batch) for batch in portion.batches)
        self.batches += len(portion.batches)
        for row in portion.exceptional:
            if row.code not in self.problems:
                self.problems[row.code] = Problem(str(row.status), row.code)
            self.problems[row.code].add(row.position, row.reason)
        for finding in portion.findings:
            if finding.code not in self.oddities:
                self.oddities[finding.code] = Problem("finding", finding.code)
            self.oddities[finding.code].add(finding.position, finding.words)
        for name, (passed, failed) in portion.check_digits.items():
            self.passed[name] += passed
            self.failed[name] += failed

    def data(self, plan: Plan) -> dict[str, Any]:
        """Give the findings as plain data."""
        return {
            "rows": self.rows,
            "items": self.items,
            "clean": self.clean,
            "problems": [
                {"status": p.status, "code": p.code, "rows": p.rows, "examples": p.examples}
                for p in self.ranked()
            ],
            "findings": [
                {"code": odd.code, "rows": odd.rows, "examples": odd.examples}
                for odd in self.oddities.values()
            ],
            "check_digits": {
                name: {"passed": self.passed[name], "failed": self.failed[name]} for name in self.passed
            },
            "plan": plan.data(),
        }

    def ranked(self) -> list[Problem]:
        """List the problems, the most frequent first."""
        return sorted(self.problems.values(), key=lambda problem: -problem.rows)

    def text(self, plan: Plan) -> list[str]:
        """Give the findings as lines a person can act on."""
        lines = [f"{self.rows:,} rows read, {self.items:,} would be sent"]
        for problem in [*self.ranked(), *self.oddities.values()]:
            lines.append(f"  {problem.status}: {problem.rows:,} x {problem.code}")
            lines += [f"      {example}" for example in problem.examples]
        return [*lines, *self._check_digits(), *plan.text()]

    def _check_digits(self) -> Iterator[str]:
        """Say what the check digits mean, by the number of digits where that is counted."""
        for name in sorted(self.passed):
            passed, failed = self.passed[name], self.failed[name]
            if not failed or any(other.startswith(f"{name}:") for other in self.passed):
                continue
            field_, _, digits = name.partition(":")
            of = f"{field_} of {digits} digits" if digits else field_
            share = passed / (passed + failed)
            yield (
                f"  check digits: {failed:,} of {passed + failed:,} {of} fail theirs, "
                f"{share:.1%} pass: {_meaning(share)}"
            )


def _meaning(share_passed: float) -> str:
    """Say what it means over a whole file that a share of the check digits passes (DOMAIN §3)."""
    if share_passed >= PRESENT:
        return "they are there, these few are damaged"
    if share_passed <= MISSING:
        return "as many pass as by chance, so they are missing from this file"
    return "digits are damaged, or numbers with and without check digits are mixed"


class Unsent:
    """The rows of an inventory that would never be sent, as the reports read those of a ledger: once."""

    def __init__(self, record: RunRecord, portions: Iterable[Portion]) -> None:
        self._record = record
        self._portions = portions

    def run(self) -> RunRecord:
        """Give the facts that a run of this inventory would begin with."""
        return self._record

    def outcomes(self, *, with_source: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield them in inventory order, with OUTCOME_COLUMNS, on request with SOURCE_COLUMNS."""
        for portion in self._portions:
            if portion.exceptional:
                whole = outcomes_of(portion.exceptional)
                yield whole if with_source else whole.select(OUTCOME_COLUMNS)


def outcomes_of(rows: Sequence[Exceptional]) -> pa.RecordBatch:
    """Give rows as Ledger.outcomes gives them, with their source. What is no Unicode text is written out."""
    columns = [
        pa.array([row.position for row in rows], pa.int64()),
        _texts([row.key for row in rows]),
        _texts([str(row.status) for row in rows]),
        _texts([row.code for row in rows]),
        _texts([row.reason for row in rows]),
        pa.array([row.sends for row in rows], pa.int64()),
        pa.array([row.batch for row in rows], pa.int64()),
        pa.ListArray.from_arrays(
            list(accumulate((len(row.cells) for row in rows), initial=0)),
            _texts([cell for row in rows for cell in row.cells]),
        ),
        _texts([row.raw for row in rows]),
    ]
    return pa.RecordBatch.from_arrays(columns, names=[*OUTCOME_COLUMNS, *SOURCE_COLUMNS])


def _texts(texts: list[str]) -> pa.StringArray:
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        return pa.array([text.encode(errors="backslashreplace").decode() for text in texts], pa.string())


def counted(portions: Iterable[Portion], findings: Findings) -> Iterator[Portion]:
    """Pass portions on, each counted in."""
    for portion in portions:
        findings.add(portion)
        yield portion
