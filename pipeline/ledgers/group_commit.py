"""Group commit: one thread owns the writing connection, and all writes that wait share one commit.

Writes are carried out in the order they were handed over. A write that fails for a reason of its own,
before it changed anything, fails alone; when SQLite fails, its whole group is rolled back and the
ledger takes no further write.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.errors import LedgerError

_Result = TypeVar("_Result")
Apply = Callable[[sqlite3.Connection], _Result]


@dataclass(slots=True)
class _Write:
    """One write on its way; `loop` is where its caller awaits (None: a thread that blocks)."""

    apply: Apply[Any]
    future: asyncio.Future[Any] | Future[Any]
    loop: asyncio.AbstractEventLoop | None = None
    result: Any = None
    error: Exception | None = None


class GroupCommit:
    """The writer of one SQLite file.

    `explain` turns what SQLite raised into a line for the operator. With `inline` there is no thread:
    a write is committed right in the call, so that a simulation is the same at every run.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        explain: Callable[[Exception], LedgerError],
        *,
        inline: bool = False,
    ) -> None:
        self._connection = connection
        self._explain = explain
        self._failure: str | None = None
        self._waiting: list[_Write] = []
        self._closing = False
        self._wake = threading.Condition()
        self._thread = None if inline else threading.Thread(target=self._serve, name="ledger", daemon=True)
        if self._thread:
            self._thread.start()

    async def write(self, apply: Apply[_Result]) -> _Result:
        """Carry out a write; return when it is durable. Raises LedgerError, or what `apply` raised.

        A caller that is cancelled meanwhile leaves its write in the group: it will be carried out.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()
        self._hand_over(_Write(apply, future, loop))
        return await future

    def write_now(self, apply: Apply[_Result]) -> _Result:
        """Carry out a write and block until it is durable. Raises LedgerError, or what `apply` raised."""
        future: Future[_Result] = Future()
        self._hand_over(_Write(apply, future))
        return future.result()

    def close(self) -> None:
        """Finish what waits, fold the write-ahead log into the file, close. Repeating it does nothing."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread:
            self._thread.join()
        with suppress(sqlite3.Error):  # what is in the write-ahead log is durable there as well
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def _hand_over(self, write: _Write) -> None:
        with self._wake:
            if self._failure is not None:
                raise LedgerError(self._failure)
            if self._closing:
                raise LedgerError("the ledger is closed; nothing more can be written to it")
            self._waiting.append(write)
            self._wake.notify()
        if self._thread is None:
            group, self._waiting = self._waiting, []
            self._commit(group)
            _resolve(group)

    def _serve(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    self._wake.wait()
                group, self._waiting = self._waiting, []
            if not group:
                return
            self._commit(group)
            _deliver(group)

    def _commit(self, group: list[_Write]) -> None:
        if self._failure is None:
            try:
                self._transact(group)
            except Exception as error:  # noqa: BLE001 - whatever it is, callers are waiting for an answer
                self._failure = str(self._explain(error))
                with suppress(sqlite3.Error):  # SQLite has often rolled back by itself
                    self._connection.execute("ROLLBACK")
        if self._failure is not None:
            for write in group:
                write.error = LedgerError(self._failure)

    def _transact(self, group: list[_Write]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for write in group:
            changes = self._connection.total_changes
            try:
                write.result = write.apply(self._connection)
            except sqlite3.Error:
                raise
            except Exception as error:
                if self._connection.total_changes != changes:
                    raise
                write.error = error
        self._connection.execute("COMMIT")


def _deliver(group: list[_Write]) -> None:
    """Wake the callers, with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop | None, list[_Write]] = {}
    for write in group:
        by_loop.setdefault(write.loop, []).append(write)
    for loop, writes in by_loop.items():
        if loop is None:
            _resolve(writes)
        else:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_resolve, writes)


def _resolve(writes: list[_Write]) -> None:
    for write in writes:
        if write.future.done():  # its caller was cancelled
            continue
        if write.error is not None:
            write.future.set_exception(write.error)
        else:
            write.future.set_result(write.result)
