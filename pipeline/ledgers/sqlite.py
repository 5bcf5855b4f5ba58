"""The ledger of one run in one SQLite file, `ledger.sqlite` in the run's folder.

One writer, which holds the folder's lock for its life; any number of readers beside it, each with a
connection of its own. A batch of plain successes costs one small record, whatever its length.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from pipeline.errors import LedgerError
from pipeline.ledgers import attempts, chronicle, rows, run_facts, run_folder, takeover, trace
from pipeline.ledgers.group_commit import GroupCommit
from pipeline.ledgers.packing import pack_keys, pack_positions
from pipeline.ledgers.reading import LedgerReader
from pipeline.ledgers.run_folder import SQL

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from pipeline.chronicle import Event, Sample
    from pipeline.model import (
        Batch,
        Completion,
        Exceptional,
        FindingTally,
        ResumePoint,
        RunRecord,
        Settlement,
    )
    from pipeline.standing import Standing

_CLAIMED, _SETTLED, _VOID = 0, 1, 2


class SqliteLedger(LedgerReader):
    """contracts.Ledger in SQLite. Made by `create` or `open`; a writer must be closed."""

    def __init__(self, path: Path, writer: GroupCommit | None, lock: int | None) -> None:
        super().__init__(path)
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
            run_folder.make_ledger(folder, partial(run_facts.write, record))
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
            ledger = cls._owned(path, lock, inline=inline)
        except BaseException:
            os.close(lock)
            raise
        try:
            ledger._owner.write_now(partial(chronicle.lapse, time.time()))  # noqa: SLF001 - its own class
        except BaseException:
            ledger.close()
            raise
        return ledger

    @staticmethod
    def owner(folder: Path) -> str:
        """Say which process owns the run, as "PID on HOST"; nothing when none does. Raises UsageError."""
        return run_folder.owner(folder)

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

    async def note(self, event: Event) -> None:
        """Write an event down. Raises LedgerError."""
        await self._owner.write(partial(chronicle.note, event))

    async def take(self, wish: Event, at: float) -> None:
        """Write down that a wish has been acted on. Raises LedgerError."""
        await self._owner.write(partial(chronicle.take, wish, at))

    async def write_sample(self, sample: Sample) -> None:
        """Write a sample down. Raises LedgerError."""
        await self._owner.write(partial(chronicle.write_sample, sample))

    async def write_standing(self, standing: Standing) -> None:
        """Write down how the run stands just now. Raises LedgerError."""
        await self._owner.write(partial(chronicle.write_standing, standing))

    def write_findings(self, tallies: Sequence[FindingTally]) -> None:
        """Put these tallies in place of those before; durable on return. Raises LedgerError."""
        self._owner.write_now(partial(chronicle.write_findings, tallies))

    def wish(self, event: Event) -> None:
        """Write down what a person asks of the run, beside its owner. Raises LedgerError."""
        try:
            with closing(run_folder.connect_writer(self._path)) as connection:
                chronicle.note(event, connection)
        except sqlite3.Error as error:
            raise run_folder.explain(error, self._path) from error

    def update_run(self, **facts: Any) -> None:
        """Change facts of the RunRecord by field name; durable on return. Raises LedgerError."""
        self._owner.write_now(partial(run_facts.update, facts))

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
    number = int(connection.execute(SQL["claim"], values).lastrowid or 0)
    trace.filter_batch(number, keys, bounds["min"], bounds["max"], connection)
    return number


def _settle(settlement: Settlement, connection: sqlite3.Connection) -> None:
    values = rows.columns_of(settlement.exceptional, settlement.batch)
    state = _VOID if settlement.void else _CLAIMED if settlement.lost else _SETTLED
    told = attempts.told(settlement.request_id, settlement.fault)
    facts = (state, len(settlement.exceptional), time.time(), settlement.batch, *told)
    settled = connection.execute(SQL["settle"], facts)
    if settled.rowcount != 1:
        raise LedgerError(f"batch {settlement.batch} is not claimed, so it cannot be settled; resume the run")
    rows.insert(connection, SQL["settle rows"], values)
    attempts.set_back(settlement.batch, settlement.setbacks, connection)


def _complete(completion: Completion, connection: sqlite3.Connection) -> None:
    positions = [*completion.plain, *(row.position for row in completion.exceptional)]
    facts = {
        "at": time.time(),
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
    attempts.set_back(completion.batch, completion.setbacks, connection)


def _record(never_sent: Sequence[Exceptional], connection: sqlite3.Connection) -> None:
    known = connection.total_changes
    rows.insert(connection, SQL["record rows"], rows.columns_of(never_sent))
    if connection.total_changes != known:  # a resumed run meets them all again
        trace.filter_rows(never_sent, connection)


def _reopen(codes: str, connection: sqlite3.Connection) -> int:
    """Open the rows and the run in one transaction: a finished run with open rows would never be resumed."""
    connection.execute(SQL["setbacks of reopened rows"], (codes,))
    opened = connection.execute(SQL["reopen rows"], (codes,)).rowcount
    if opened:
        connection.execute(SQL["reopen run"], ("rows were opened again",))
    return opened


def _ask_again(connection: sqlite3.Connection) -> int:
    opened = connection.execute(SQL["ask again"]).rowcount
    if opened:
        connection.execute(SQL["reopen run"], ("tickets are asked after again",))
    return opened
