"""The vendor's database of profiles: one SQLite table, ICCID as its key.

A profile is here because it was imported (`imports` 1) or because a test planted it (`imports` 0).
"""

from __future__ import annotations

import json
import os
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TABLE = """
CREATE TABLE IF NOT EXISTS profiles (
    iccid TEXT PRIMARY KEY, eid TEXT, imei TEXT, ac TEXT, cc TEXT, apn TEXT, imports INTEGER NOT NULL
) WITHOUT ROWID
"""
IMPORT = "INSERT INTO profiles VALUES (?, ?, ?, ?, ?, ?, 1)"
PLANT = "INSERT INTO profiles VALUES (?, ?, ?, ?, ?, ?, 0)"


class Profile(NamedTuple):
    """One profile as the vendor keeps it; what a planted one lacks is None."""

    iccid: str
    eid: str | None = None
    imei: str | None = None
    ac: str | None = None
    cc: str | None = None
    apn: str | None = None


class Store:
    """Profiles in `path`, or in a temporary database that spills to disk and dies with the process.

    A new file is readable by its owner only, since activation codes stand in it.
    Raises sqlite3.Error or OSError when the file can't be used.
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
        self._db.executescript("PRAGMA cache_size = -131072;" + TABLE)
        (self.count,) = self._db.execute("SELECT count(*) FROM profiles").fetchone()

    def add(self, profiles: Sequence[Profile | tuple[str | None, ...]], *, planted: bool = False) -> set[str]:
        """Store in one transaction the profiles whose ICCID is not there yet; each ICCID may occur once.

        Returns the ICCIDs that were there before and so were left as they are.
        """
        iccids = json.dumps([profile[0] for profile in profiles])
        found = self._db.execute(
            "SELECT iccid FROM profiles WHERE iccid IN (SELECT value FROM json_each(?))", (iccids,)
        )
        known = {iccid for (iccid,) in found}
        fresh = [profile for profile in profiles if profile[0] not in known] if known else profiles
        with self._db:
            self._db.executemany(PLANT if planted else IMPORT, fresh)
        self.count += len(fresh)
        return known

    def find(self, iccid: str) -> dict[str, object] | None:
        """Return the profile's columns by name, `imports` included, or None."""
        row = self._db.execute("SELECT * FROM profiles WHERE iccid = ?", (iccid,)).fetchone()
        return None if row is None else dict(zip((*Profile._fields, "imports"), row, strict=True))

    def close(self) -> None:
        """Close the database; a temporary one is gone then."""
        self._db.close()
