"""A ledger for the tests of what only reads one: the reading methods of the contract over a plain list."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.check import outcomes_of
from pipeline.model import OUTCOME_COLUMNS, Doubts, Exceptional, RunRecord, State, Status, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from pipeline.chronicle import Event, Sample
    from pipeline.model import Attempt, FindingTally

RUN = RunRecord(
    run_id="nightly",
    state=State.FINISHED,
    target="sim-express",
    inventory=("profiles.csv",),
    fingerprint="f",
    header=("ICC ID", "note"),
    job={"target": {"kind": "sim-express"}},
    started_at=1_767_225_600.0,
    finished_at=1_767_225_610.0,
    requests=3,
    duration_s=10.0,
    exit_code=0,
)


def row(position: int, status: Status | None = Status.SUCCEEDED, **more: Any) -> Exceptional:
    """Give a row with the fields a test does not care about filled in."""
    sent = status not in (Status.REJECTED, Status.DUPLICATE)
    facts: dict[str, Any] = {
        "key": f"{8_935_700_000_000_000_000 + position}",
        "code": "",
        "reason": "",
        "sends": int(sent),
        "batch": int(sent),
    }
    return Exceptional(position=position, status=status, **(facts | more))


class LedgerInMemory:
    """A run of the given rows (plain successes too); facts of the run by field name of RunRecord."""

    def __init__(self, *rows: Exceptional, rows_a_batch: int = 3, **facts: Any) -> None:
        self.rows = sorted(rows, key=lambda row: row.position)
        self.rows_a_batch = rows_a_batch
        self.record = replace(RUN, **({"rows_read": len(rows)} | facts))
        self.events_kept: list[Event] = []
        self.samples_kept: list[Sample] = []
        self.findings_kept: list[FindingTally] = []
        self.doubts_kept = Doubts()
        self.attempts_kept: dict[int, list[Attempt]] = {}

    def run(self) -> RunRecord:
        return self.record

    def counts(self) -> Mapping[Status, int]:
        return {status: sum(row.status is status for row in self.rows) for status in Status}

    def open_tickets(self) -> int:
        return sum(row.status is None and row.ticket != "" for row in self.rows)

    def batches(self) -> int:
        return len({row.batch for row in self.rows if row.batch})

    def events(self) -> Sequence[Event]:
        return self.events_kept

    def samples(self) -> Sequence[Sample]:
        return self.samples_kept

    def findings(self) -> Sequence[FindingTally]:
        return self.findings_kept

    def doubts(self, most: int = 200) -> Doubts:
        return self.doubts_kept

    def outcomes(self, *, with_source: bool = False) -> Iterator[pa.RecordBatch]:
        rows = [row for row in self.rows if row.status]
        for start in range(0, len(rows), self.rows_a_batch):
            whole = outcomes_of(rows[start : start + self.rows_a_batch])
            yield whole if with_source else whole.select(OUTCOME_COLUMNS)

    def exceptional(self, *statuses: Status) -> Iterator[Exceptional]:
        return (row for row in self.rows if row.status in statuses)

    def tally(self) -> Sequence[Tally]:
        found: dict[tuple[Status, str], Tally] = {}
        for row in self.rows:
            if row.status is None or row.status is Status.SUCCEEDED:
                continue
            first = found.get((row.status, row.code)) or Tally(
                row.status, row.code, 0, row.position, row.reason
            )
            found[row.status, row.code] = replace(first, rows=first.rows + 1)
        return sorted(found.values(), key=lambda entry: -entry.rows)

    def trace(self, *keys: str) -> Sequence[Exceptional]:
        return [row for row in self.rows if row.key in keys]

    def attempts(self, position: int) -> Sequence[Attempt]:
        return self.attempts_kept.get(position, ())
