"""The platform's database: subscribers, and the requests that change them when their time has come.

A subscriber is here because a request for it was accepted, or because a test planted it.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

TABLES = """
CREATE TABLE IF NOT EXISTS subscribers (
    type TEXT, value TEXT, alias TEXT, writes INTEGER NOT NULL, accepted INTEGER NOT NULL, state TEXT,
    PRIMARY KEY (type, value)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (
    serial INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL, value TEXT NOT NULL,
    alias TEXT, finish_at REAL NOT NULL, forget_at REAL NOT NULL, state TEXT NOT NULL,
    applied INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS due ON requests (finish_at, serial) WHERE applied = 0;
CREATE TABLE IF NOT EXISTS calls (id TEXT PRIMARY KEY, first INTEGER, last INTEGER) WITHOUT ROWID;
"""
ACCEPT = "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)"
COUNT_ACCEPTED = """
INSERT INTO subscribers VALUES (?, ?, NULL, 0, 1, NULL)
ON CONFLICT (type, value) DO UPDATE SET accepted = accepted + 1
"""
PLANT = "INSERT INTO subscribers VALUES (?, ?, ?, 0, 0, NULL) ON CONFLICT (type, value) DO NOTHING"
# In the order of their ends, so that the last write wins. An alias of NULL was not in the request.
APPLY = """
INSERT INTO subscribers
SELECT type, value, alias, state = 'SUCCESS', 0, state FROM requests
WHERE applied = 0 AND finish_at <= ? ORDER BY finish_at, serial
ON CONFLICT (type, value) DO UPDATE SET
    alias = CASE WHEN excluded.writes AND excluded.alias IS NOT NULL
            THEN nullif(excluded.alias, '') ELSE alias END,
    writes = writes + excluded.writes, state = excluded.state
"""
APPLIED = "UPDATE requests SET applied = 1 WHERE applied = 0 AND finish_at <= ?"
STATUS = "SELECT iif(finish_at <= :now, state, 'OPEN') FROM requests WHERE id = :id AND forget_at > :now"
STATUSES = """
SELECT requests.id, iif(finish_at <= :now, state, 'OPEN') FROM calls JOIN requests
ON serial BETWEEN first AND last WHERE calls.id = :id AND forget_at > :now ORDER BY serial
"""


class Accepted(NamedTuple):
    """One accepted node. `alias` is "" to clear, None to leave alone; times in seconds since 1970."""

    serial: int
    id: str
    type: str
    value: str
    alias: str | None
    finish_at: float
    forget_at: float
    state: str


class SubscriberStore:
    """Subscribers in `path`, or in a temporary database that spills to disk and dies with the process.

    A new file is readable by its owner only. Raises sqlite3.Error or OSError when the file can't be used.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect("" if path is None else path)
        if path is None:
            self._db.executescript("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;")
        else:
            # WAL with NORMAL survives kill -9 of the simulator without an fsync for every commit.
            self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
        self._db.executescript("PRAGMA cache_size = -131072;" + TABLES)
        (last,) = self._db.execute("SELECT max(serial) FROM requests").fetchone()
        self.next_serial: int = (last or 0) + 1

    def accept(self, now: float, call_id: str, requests: Sequence[Accepted]) -> None:
        """Keep the requests of one call, serials going on from `next_serial`; durable on return."""
        with self._db:
            self._apply(now)
            self._db.executemany(ACCEPT, requests)
            self._db.executemany(COUNT_ACCEPTED, [(request.type, request.value) for request in requests])
            ends = (requests[0].serial, requests[-1].serial)
            self._db.execute("INSERT INTO calls VALUES (?, ?, ?)", (call_id, *ends))
        self.next_serial = ends[1] + 1

    def status(self, now: float, request_id: str) -> str | None:
        """Return OPEN or the final state of a request, None when it is not known (any more)."""
        row = self._db.execute(STATUS, {"now": now, "id": request_id}).fetchone()
        return None if row is None else str(row[0])

    def statuses(self, now: float, call_id: str) -> list[tuple[str, str]]:
        """Return id and state of the requests of a call that are known, in the order they were sent."""
        return self._db.execute(STATUSES, {"now": now, "id": call_id}).fetchall()

    def find(self, now: float, kind: str, value: str) -> dict[str, object] | None:
        """Return what is known of a subscriber at `now`, None when nothing is."""
        with self._db:
            self._apply(now)
        found = self._db.execute("SELECT * FROM subscribers WHERE type = ? AND value = ?", (kind, value))
        row = found.fetchone()
        return None if row is None else dict(zip([name for name, *_ in found.description], row, strict=True))

    def count(self, now: float) -> int:
        """Return the number of subscribers with at least one write applied at `now`."""
        with self._db:
            self._apply(now)
        (count,) = self._db.execute("SELECT count(*) FROM subscribers WHERE writes > 0").fetchone()
        return int(count)

    def plant(self, subscribers: Iterable[tuple[str, str, str | None]]) -> int:
        """Store type, value, alias of subscribers not there yet; returns how many."""
        with self._db:
            return self._db.executemany(PLANT, subscribers).rowcount

    def close(self) -> None:
        """Close the database; a temporary one is gone then."""
        self._db.close()

    def _apply(self, now: float) -> None:
        if self._db.execute(APPLY, (now,)).rowcount:
            self._db.execute(APPLIED, (now,))
