"""What `simlift check` says of an inventory: what is wrong where, how many calls, how long. Sends nothing."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.model import Portion
    from pipeline.settings import Limits

EXAMPLES = 3
PRESENT, MISSING = 0.95, 0.2  # shares of check digits that pass; by chance it is one in ten


@dataclass(slots=True)
class Problem:
    """Rows that fail for one reason, or of which one thing is found: how many, and the first of them."""

    status: str
    code: str
    rows: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, words: str) -> None:
        """Count one row in."""
        self.rows += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(words)


@dataclass(slots=True)
class Findings:
    """An inventory, counted: `problems` by code, check digits `passed` and `failed` by field or form.

    `oddities`, by code, are what is found about rows that would be sent all the same.
    """

    rows: int = 0
    items: int = 0
    batches: int = 0
    problems: dict[str, Problem] = field(default_factory=dict)
    oddities: dict[str, Problem] = field(default_factory=dict)
    passed: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        """True when every row would be sent."""
        return not self.problems

    def add(self, portion: Portion) -> None:
        """Count one portion in."""
        self.rows = portion.rows_read
        self.items += sum(len(batch) for batch in portion.batches)
        self.batches += len(portion.batches)
        for row in portion.exceptional:
            self.problems.setdefault(row.code, Problem(str(row.status), row.code)).add(row.reason)
        for finding in portion.findings:
            self.oddities.setdefault(finding.code, Problem("finding", finding.code)).add(finding.words)
        for name, (passed, failed) in portion.check_digits.items():
            self.passed[name] += passed
            self.failed[name] += failed

    def calls_s(self, limits: Limits) -> float:
        """Give the least time in seconds that the rate limit allows for the calls."""
        return self.batches / limits.requests_per_second

    def data(self, limits: Limits) -> dict[str, Any]:
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
            "plan": {
                "batches": self.batches,
                "calls": self.batches,
                "requests_per_second": limits.requests_per_second,
                "least_duration_s": round(self.calls_s(limits), 3),
            },
        }

    def ranked(self) -> list[Problem]:
        """List the problems, the most frequent first."""
        return sorted(self.problems.values(), key=lambda problem: -problem.rows)

    def text(self, limits: Limits) -> list[str]:
        """Give the findings as lines a person can act on."""
        lines = [f"{self.rows:,} rows read, {self.items:,} would be sent"]
        for problem in [*self.ranked(), *self.oddities.values()]:
            lines.append(f"  {problem.status}: {problem.rows:,} x {problem.code}")
            lines += [f"      {example}" for example in problem.examples]
        for name in self.passed:
            tried = self.passed[name] + self.failed[name]
            if self.failed[name]:
                lines.append(
                    f"  check digits: {self.failed[name]:,} of {tried:,} {name} fail theirs: "
                    f"{_meaning(self.passed[name] / tried)}"
                )
        seconds = math.ceil(self.calls_s(limits))
        lines.append(
            f"plan: {self.batches:,} calls, at {limits.requests_per_second:g} requests/s "
            f"at least {seconds // 3600}h{seconds // 60 % 60:02}m{seconds % 60:02}s"
        )
        return lines


def _meaning(share_passed: float) -> str:
    """Say what it means over a whole file that a share of the check digits passes (DOMAIN §3)."""
    if share_passed >= PRESENT:
        return "they are there, these few are damaged"
    if share_passed <= MISSING:
        return "as many pass as by chance, so they are missing from this file"
    return "digits are damaged, or numbers with and without check digits are mixed"


def examine(portions: Iterable[Portion], seen: Callable[[Portion], None] = lambda _: None) -> Findings:
    """Read an inventory to its end and count. Raises InventoryError."""
    findings = Findings()
    for portion in portions:
        findings.add(portion)
        seen(portion)
    return findings
