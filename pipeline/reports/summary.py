"""summary.json: a run in a dozen figures, for scripts. The keys are a contract (DESIGN, "A run's folder")."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.model import State, Status
from pipeline.reports.private_file import private_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipeline.contracts import Ledger


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in figures. `rows_read` and `exit_code` are None as long as nobody can know them.

    `open_tickets` counts what the vendor has accepted and not finished; a finished run has none.
    `corrects` is the run whose failures this one mends, where it is one.
    """

    run_id: str
    state: State
    target: str
    inventory: tuple[str, ...]
    counts: Mapping[Status, int]
    rows_read: int | None
    batches: int
    requests: int
    duration_s: float
    exit_code: int | None
    open_tickets: int = 0
    corrects: str = ""

    @property
    def settled(self) -> int:
        """How many rows have a final status."""
        return sum(self.counts.values())

    @property
    def good(self) -> int:
        """How many rows stand in the vendor's platform."""
        return sum(rows for status, rows in self.counts.items() if status.good)

    @property
    def balanced(self) -> bool:
        """True when every row read has exactly one final status."""
        return self.rows_read == self.settled

    @property
    def rows_per_s(self) -> float:
        """Rows with a final status per second of the run's duration; 0 before the clock has moved."""
        return self.settled / self.duration_s if self.duration_s > 0 else 0.0

    def data(self) -> dict[str, Any]:
        """Give exactly the documented keys, as plain data; `corrects` only where there is such a run."""
        figures: dict[str, Any] = {
            "run_id": self.run_id,
            "state": self.state.value,
            "target": self.target,
            "inventory": list(self.inventory),
            "counts": {status.value: self.counts[status] for status in Status},
            "rows_read": self.rows_read,
            "balanced": self.balanced,
            "batches": self.batches,
            "requests": self.requests,
            "duration_s": round(self.duration_s, 3),
            "rows_per_s": round(self.rows_per_s, 1),
            "exit_code": self.exit_code,
        }
        return figures | ({"corrects": self.corrects} if self.corrects else {})


def summary(ledger: Ledger) -> Summary:
    """Read the figures of a run, finished or under way. Raises LedgerError."""
    run = ledger.run()
    counts = ledger.counts()
    return Summary(
        run_id=run.run_id,
        state=run.state,
        target=run.target,
        inventory=run.inventory,
        counts={status: counts.get(status, 0) for status in Status},
        rows_read=run.rows_read,
        batches=ledger.batches(),
        requests=run.requests,
        duration_s=run.duration_s,
        exit_code=run.exit_code,
        open_tickets=ledger.open_tickets(),
        corrects=run.corrects,
    )


def write_summary(folder: Path, summary: Summary) -> None:
    """Write summary.json into the run's folder. Raises SimliftError when it can't be written."""
    with private_file(folder / "summary.json") as file:
        file.write(json.dumps(summary.data(), indent=2, ensure_ascii=False) + "\n")
