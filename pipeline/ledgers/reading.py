"""What can be read of a run's ledger, by its owner and beside it: each time from one state of the file."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import msgspec

from pipeline.ledgers import attempts, chronicle, doubts, outcomes, rows, run_facts, run_folder, trace
from pipeline.ledgers.run_folder import SQL
from pipeline.model import Status, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from pipeline.chronicle import Event, Sample
    from pipeline.model import Attempt, Doubts, Exceptional, FindingTally, RunRecord
    from pipeline.standing import Standing


class LedgerReader:
    """The reading half of contracts.Ledger over a SQLite file. Raises LedgerError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def wishes(self) -> Sequence[Event]:
        """Give the wishes that nobody has acted on, oldest first. Raises LedgerError, as all reading does."""
        with self._reading() as connection:
            return chronicle.wishes(connection)

    def events(self) -> Sequence[Event]:
        """Give all events, oldest first."""
        with self._reading() as connection:
            return chronicle.events(connection)

    def samples(self) -> Sequence[Sample]:
        """Give all samples in their order."""
        with self._reading() as connection:
            return chronicle.samples(connection)

    def standing(self) -> Standing | None:
        """Give how the run last stood; None where nobody said."""
        with self._reading() as connection:
            return chronicle.standing(connection)

    def findings(self) -> Sequence[FindingTally]:
        """Give the tallies of findings, the largest first."""
        with self._reading() as connection:
            return chronicle.findings(connection)

    def run(self) -> RunRecord:
        """Give the run's facts. Raises LedgerError, as all reading does."""
        with self._reading() as connection:
            return run_facts.read(connection)

    def counts(self) -> Mapping[Status, int]:
        """Count rows by final status; all seven keys are present."""
        with self._reading() as connection:
            counts = dict.fromkeys(Status, 0)
            counts.update((Status(status), count) for status, count in connection.execute(SQL["count rows"]))
            ((plain,),) = connection.execute(SQL["count plain"])
            counts[Status.SUCCEEDED] += plain
            return counts

    def open_rows(self) -> int:
        """Count open rows, and the items of unsettled claims."""
        with self._reading() as connection:
            ((count,),) = connection.execute(SQL["count open"])
            return int(count)

    def open_tickets(self) -> int:
        """Count open rows that hold a ticket."""
        with self._reading() as connection:
            ((count,),) = connection.execute(SQL["count open tickets"])
            return int(count)

    def batches(self) -> int:
        """Count batches ever claimed."""
        with self._reading() as connection:
            ((count,),) = connection.execute(SQL["count batches"])
            return int(count)

    def outcomes(self, *, with_source: bool = False) -> Iterator[pa.RecordBatch]:
        """Yield every row that has a final status, in inventory order: OUTCOME_COLUMNS, SOURCE_COLUMNS."""
        with self._reading() as connection:
            yield from outcomes.outcomes(connection, with_source=with_source)

    def exceptional(self, *statuses: Status) -> Iterator[Exceptional]:
        """Yield the rows of these statuses that have a record of their own, in inventory order."""
        with self._reading() as connection:
            yield from map(rows.row_of, connection.execute(SQL["rows of statuses"], (json.dumps(statuses),)))

    def tally(self) -> Sequence[Tally]:
        """Count the rows with a record of their own by status and code, the largest first."""
        with self._reading() as connection:
            return [Tally(Status(status), *rest) for status, *rest in connection.execute(SQL["tally"])]

    def trace(self, *keys: str) -> Sequence[Exceptional]:
        """Give what became of these keys, one entry per row that bears one, in inventory order."""
        with self._reading() as connection:
            return trace.trace([rows.text(key) for key in keys], connection)

    def attempts(self, position: int) -> Sequence[Attempt]:
        """Give every send of the row at a position, in their order."""
        with self._reading() as connection:
            return attempts.attempts(position, connection)

    def doubts(self, most: int = 200) -> Doubts:
        """Give the batches whose answer was lost, the first `most` of them one by one."""
        with self._reading() as connection:
            return doubts.doubts(most, connection)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Read from one state of the file, through a connection of its own."""
        try:
            with closing(run_folder.connect_reader(self._path)) as connection:
                connection.execute("BEGIN")
                yield connection
        except (sqlite3.Error, msgspec.MsgspecError, ValueError, OSError) as error:  # but the first: damage
            raise run_folder.explain(error, self._path) from error
