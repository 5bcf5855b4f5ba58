"""The ledger of one run in one SQLite file, `ledger.sqlite` in the run's folder.

One writer, which holds the folder's lock for its life; any number of readers beside it, each with a
connection of its own. A batch of plain successes costs one small record, whatever its length.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow.compute as pc

from pipeline.errors import LedgerError
from pipeline.ledgers import outcomes, rows, run_folder, takeover
from pipeline.ledgers.group_commit import GroupCommit
from pipeline.ledgers.packing import pack_keys, pack_positions, unpack_keys, unpack_positions
from pipeline.ledgers.run_folder import SQL
from pipeline.model import Exceptional, RunRecord, State, Status, Tally

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from pipeline.model import Batch, Completion, ResumePoint, Settlement

_CLAIMED, _SETTLED, _VOID = 0, 1, 2
_LISTS = ("inventory", "header", "formats")


class SqliteLedger:
    """contracts.Ledger in SQLite. Made by `create` or `open`; a writer must be closed."""

    def __init__(self, path: Path, writer: GroupCommit | None, lock: int | None) -> None:
        self._path = path
        self._writer = writer
        self._lock = lock

    @classmethod
    def create(cls, folder: Path, record: RunRecord, *, inline: bool = False) -> SqliteLedger:
        """Begin a run in its folder (made if needed, 0700; the file 0600) and own it.

        Raises UsageError when the folder holds a run already, is in use or cannot be written, and
        LedgerError when the file cannot be made. `inline`: see GroupCommit.
        """
        run_folder.make_folder(folder)
        lock = run_folder.hold(folder)
        try:
            run_folder.make_ledger(folder, partial(_write_run, record))
            return cls._owned(folder / run_folder.FILE_NAME, lock, inline=inline)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def open(cls, folder: Path, *, read_only: bool = False, inline: bool = False) -> SqliteLedger:
        """Open the ledger of an existing run, as its owner or for reading only.

        Raises UsageError when there is none or when another process owns it (readers do not mind), and
        LedgerError when the file is damaged or of an unknown schema. `inline`: see GroupCommit.
        """
        path = run_folder.ledger_in(folder)
        if read_only:
            run_folder.connect_reader(path).close()
            return cls(path, None, None)
        lock = run_folder.hold(folder)
        try:
            return cls._owned(path, lock, inline=inline)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def _owned(cls, path: Path, lock: int, *, inline: bool) -> SqliteLedger:
        connection = run_folder.connect_writer(path)
        writer = GroupCommit(connection, partial(run_folder.explain, path=path), inline=inline)
        return cls(path, writer, lock)

    # ------------------------------------------------------------ writing

    async def claim(self, batch: Batch) -> Batch:
        """Write down that the batch is about to be sent; give it back with its id. Raises LedgerError."""
        return replace(batch, id=await self._owner.write(partial(_claim, batch)))

    async def settle(self, settlement: Settlement) -> None:
        """Make the verdicts of a claimed batch durable. Raises LedgerError, also when it is not claimed."""
        await self._owner.write(partial(_settle, settlement))

    async def complete(self, completion: Completion) -> None:
        """Make durable what became of promised items of a settled batch.

        Raises LedgerError, also when an item of it has no open ticket of that batch, or a plain one was sent
        more than once; then nothing is changed.
        """
        await self._owner.write(partial(_complete, completion))

    async def record(self, never_sent: Sequence[Exceptional]) -> None:
        """Write down rows that were never sent; a position that has a record keeps it. Raises LedgerError."""
        await self._owner.write(partial(_record, never_sent))

    def take_over(self) -> ResumePoint:
        """Turn unsettled claims into open, in-doubt rows; say what is left to do. Raises LedgerError."""
        return self._owner.write_now(takeover.take_over)

    def reopen(self, codes: Collection[str] = ()) -> int:
        """Open the rows again that may yet succeed; give back how many. Raises LedgerError."""
        return self._owner.write_now(partial(_reopen, json.dumps(list(codes))))

    def ask_again(self) -> int:
        """Open the rows again that are in doubt with their ticket kept; count them. Raises LedgerError."""
        return self._owner.write_now(_ask_again)

    def update_run(self, **facts: Any) -> None:
        """Change facts of the RunRecord by field name; durable on return. Raises LedgerError."""
        self._owner.write_now(partial(_update_run, facts))

    def close(self) -> None:
        """Finish outstanding writes, close the file, then let go of the folder. Repeating it does nothing."""
        if self._writer is not None:
            self._writer.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def _owner(self) -> GroupCommit:
        if self._writer is None:
            raise LedgerError(f"ledger {self._path}: was opened for reading only")
        return self._writer

    # ------------------------------------------------------------ reading

    def run(self) -> RunRecord:
        """Give the run's facts. Raises LedgerError, as all reading does."""
        with self._reading() as connection:
            return _read_run(connection)

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

    def trace(self, key: str) -> Sequence[Exceptional]:
        """Give what became of one key, one entry per row that bears it, in inventory order."""
        with self._reading() as connection:
            return _trace(connection, rows.text(key))

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Read from one state of the file, through a connection of its own."""
        try:
            with closing(run_folder.connect_reader(self._path)) as connection:
                connection.execute("BEGIN")
                yield connection
        except (sqlite3.Error, msgspec.MsgspecError, ValueError, OSError) as error:  # but the first: damage
            raise run_folder.explain(error, self._path) from error


def _claim(batch: Batch, connection: sqlite3.Connection) -> int:
    positions = batch.items.column("position").to_numpy()
    keys = batch.items.column("key")
    bounds = pc.min_max(keys).as_py()
    values = (
        len(batch),
        batch.sends,
        int(positions[0]),
        int(positions[-1]),
        bounds["min"],
        bounds["max"],
        time.time(),
        pack_positions(positions),
        pack_keys(keys),
    )
    return int(connection.execute(SQL["claim"], values).lastrowid or 0)


def _settle(settlement: Settlement, connection: sqlite3.Connection) -> None:
    values = rows.columns_of(settlement.exceptional, settlement.batch)
    state = _VOID if settlement.void else _CLAIMED if settlement.lost else _SETTLED
    facts = (state, len(settlement.exceptional), time.time(), settlement.batch)
    settled = connection.execute(SQL["settle"], facts)
    if settled.rowcount != 1:
        raise LedgerError(f"batch {settlement.batch} is not claimed, so it cannot be settled; resume the run")
    rows.insert(connection, SQL["settle rows"], values)


def _complete(completion: Completion, connection: sqlite3.Connection) -> None:
    positions = [*completion.plain, *(row.position for row in completion.exceptional)]
    facts = {
        "batch": completion.batch,
        "plain": len(completion.plain),
        "items": len(positions),
        "positions": json.dumps(positions),
    }
    if connection.execute(SQL["complete"], facts).rowcount != 1:
        raise LedgerError(
            f"batch {completion.batch} has no open tickets for what is said to be complete; resume the run"
        )
    connection.execute(SQL["drop plain rows"], facts)
    rows.insert(connection, SQL["settle rows"], rows.columns_of(completion.exceptional, completion.batch))


def _record(never_sent: Sequence[Exceptional], connection: sqlite3.Connection) -> None:
    rows.insert(connection, SQL["record rows"], rows.columns_of(never_sent))


def _reopen(codes: str, connection: sqlite3.Connection) -> int:
    """Open the rows and the run in one transaction: a finished run with open rows would never be resumed."""
    opened = connection.execute(SQL["reopen rows"], (codes,)).rowcount
    if opened:
        connection.execute(SQL["reopen run"], ("rows were opened again",))
    return opened


def _ask_again(connection: sqlite3.Connection) -> int:
    opened = connection.execute(SQL["ask again"]).rowcount
    if opened:
        connection.execute(SQL["reopen run"], ("tickets are asked after again",))
    return opened


def _write_run(record: RunRecord, connection: sqlite3.Connection) -> None:
    facts = {field.name: getattr(record, field.name) for field in fields(record)}
    facts |= {name: json.dumps(facts[name]) for name in _LISTS}
    facts |= {"job": json.dumps(dict(record.job)), "stop_reason": rows.text(record.stop_reason)}
    connection.execute(SQL["write run"], facts)


def _read_run(connection: sqlite3.Connection) -> RunRecord:
    cursor = connection.execute(SQL["read run"])
    names = [name for name, *_ in cursor.description]
    facts = dict(zip(names, cursor.fetchone(), strict=True))
    facts |= {name: tuple(json.loads(facts[name])) for name in _LISTS}
    facts |= {"job": json.loads(facts["job"]), "state": State(facts["state"])}
    return RunRecord(**facts)


def _update_run(facts: Mapping[str, Any], connection: sqlite3.Connection) -> None:
    _write_run(replace(_read_run(connection), **facts), connection)


def _trace(connection: sqlite3.Connection, key: str) -> list[Exceptional]:
    """Look among the rows, then in the batches whose keys reach from below it to above it."""
    found = {values[0]: rows.row_of(values) for values in connection.execute(SQL["rows of key"], (key,))}
    for batch, state, sends, items, first, last, positions, keys in connection.execute(
        SQL["batches of key"], (key,)
    ):
        matches = pc.equal(unpack_keys(keys, items), key).to_numpy(zero_copy_only=False)
        for position in unpack_positions(first, last, positions)[matches].tolist():
            if state == _CLAIMED:
                row = Exceptional(position, key, None, "", "", sends + 1, batch, in_doubt=True)
            else:
                row = Exceptional(position, key, Status.SUCCEEDED, "", "", 1, batch)
            found.setdefault(position, row)
    return [found[position] for position in sorted(found)]
