"""What a run comes to, for people and for machines, read from its ledger alone.

summary.json, outcomes.csv, failures.csv (and .xlsx or .jsonl) and report.html in the run's folder; the
lines of `trace`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.reports.failures import (
    write_failures_as_they_came,
    write_failures_jsonl,
    write_failures_xlsx,
)
from pipeline.reports.html import write_html
from pipeline.reports.rows import write_failures, write_outcomes, write_rows
from pipeline.reports.status import progress_data, status_data, status_lines
from pipeline.reports.summary import Summary, summary, write_summary
from pipeline.reports.trace import Traced, trace_text, traced

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.contracts import Ledger

__all__ = [
    "Summary",
    "Traced",
    "progress_data",
    "status_data",
    "status_lines",
    "summary",
    "trace_text",
    "traced",
    "write_all",
    "write_failures",
    "write_failures_as_they_came",
    "write_failures_jsonl",
    "write_failures_xlsx",
    "write_html",
    "write_outcomes",
    "write_rows",
    "write_summary",
]


def write_all(ledger: Ledger, folder: Path) -> Summary:
    """Write all reports into the run's folder and give back the summary.

    summary.json comes last: where it is new, the others are. Raises SimliftError when one can't be written.
    """
    write_rows(ledger, folder / "outcomes.csv", folder / "failures.csv")
    write_failures_as_they_came(ledger, folder)
    whole = summary(ledger)
    write_html(ledger, folder / "report.html", whole)
    write_summary(folder, whole)
    return whole
