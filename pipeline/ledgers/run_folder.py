"""The folder of a run on disk: who owns it, the SQLite file in it, and what SQLite's errors mean.

A ledger file is there whole or not at all: it is made under another name and renamed, so that a crash
at the very start leaves a folder in which the run can simply begin again.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sqlite3
from contextlib import closing
from importlib.resources import files
from typing import TYPE_CHECKING

from pipeline.errors import LedgerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

FILE_NAME = "ledger.sqlite"
SCHEMA_VERSION = 4
_APPLICATION_ID = 0x53494D4C  # "SIML"
_BUSY_TIMEOUT_S = 30


def _statements() -> dict[str, str]:
    parts = (files(__package__) / "sqlite.sql").read_text("utf-8").split("-- name: ")[1:]
    named = (part.partition("\n") for part in parts)
    return {name.strip(): statement.strip() for name, _, statement in named}


SQL = _statements()


def hold(folder: Path) -> int:
    """Become the owner of a run folder; give the file descriptor that holds the lock until it is closed.

    The kernel lets go of it when the process dies, however it dies. Raises UsageError when another
    process owns the folder, or when the folder cannot be written.
    """
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(
            f"run folder {folder} cannot be used: {error.strerror}; check the path and its rights"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()} on {socket.gethostname()}".encode(), 0)
    except BlockingIOError:
        holder = _holder(lock)
        os.close(lock)
        raise UsageError(
            f"run {folder.name} is in use by process {holder}; look on with simlift status {folder.name} "
            f"--watch, or end it with simlift stop {folder.name}"
        ) from None
    except OSError as error:
        os.close(lock)
        raise UsageError(f"run folder {folder} cannot be locked: {error.strerror}; check the disk") from None
    return lock


def owner(folder: Path) -> str:
    """Say which process owns a run folder, as "PID on HOST"; nothing when none does. Raises UsageError."""
    try:
        lock = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UsageError(f"run folder {folder} cannot be read: {error.strerror}; check its rights") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(lock)
    finally:
        os.close(lock)
    return ""


def _holder(lock: int) -> str:
    return os.pread(lock, 300, 0).decode("utf-8", "replace").strip() or "unknown"


def make_folder(folder: Path) -> None:
    """Make a run folder that only its owner may enter. Raises UsageError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise UsageError(
            f"run folder {folder} cannot be made: {error.strerror}; check the path and its rights"
        ) from None


def make_ledger(folder: Path, fill: Callable[[sqlite3.Connection], object]) -> None:
    """Make the ledger file with its tables and what `fill` writes, durably, whole or not at all.

    Raises UsageError when there is one already, LedgerError when it cannot be made.
    """
    if (folder / FILE_NAME).exists():
        raise UsageError(f"run {folder.name} exists already; resume it, or choose another run id")
    new = folder / f"{FILE_NAME}.new"
    try:
        for stale in (new, folder / f"{new.name}-journal"):
            stale.unlink(missing_ok=True)
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(_connect(new, read_only=False)) as connection:
            connection.executescript(f"BEGIN;{SQL['schema']}{_tables_of(range(1, SCHEMA_VERSION + 1))}")
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            fill(connection)
            connection.execute("COMMIT")
        new.rename(folder / FILE_NAME)
        _sync(folder)
        _sync(folder.parent)
    except (OSError, sqlite3.Error) as error:
        raise explain(error, folder / FILE_NAME) from error


def ledger_in(folder: Path) -> Path:
    """Give the path of a run's ledger. Raises UsageError when there is none, or it cannot be reached."""
    path = folder / FILE_NAME
    try:
        found = path.is_file()
    except OSError as error:
        raise UsageError(f"run folder {folder} cannot be read: {error.strerror}; check its rights") from None
    if not found:
        raise UsageError(f"no run {folder.name} in {folder.parent}; check the run id and --runs")
    return path


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open an existing ledger for writing: every commit reaches the disk. Raises LedgerError."""
    return _checked(path, read_only=False)


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open an existing ledger for reading, beside its writer if there is one. Raises LedgerError."""
    return _checked(path, read_only=True)


def explain(error: Exception, path: Path) -> LedgerError:
    """Say in one line what failed, where, and what to do."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    words = (error.strerror if isinstance(error, OSError) else None) or str(error)
    match code & 0xFF:
        case sqlite3.SQLITE_FULL:
            remedy = "free some space, then resume the run; what was settled stays settled"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            remedy = "another program holds it; close that, then resume the run"
        case sqlite3.SQLITE_READONLY:
            remedy = "check the rights of the run folder and of what is in it"
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            remedy = "the file is damaged; put back a copy of it, or start over with another run id"
        case _:
            remedy = "check the disk, then resume the run; what was settled stays settled"
    return LedgerError(f"ledger {path}: {' '.join(words.split())}; {remedy}")


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _checked(path: Path, *, read_only: bool) -> sqlite3.Connection:
    try:
        connection = _connect(path, read_only=read_only)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    try:
        version = _schema_of(connection, path)
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone stops at the drive's cache
        for older in range(version, SCHEMA_VERSION):
            _upgrade(connection, older, read_only=read_only)
    except sqlite3.Error as error:
        connection.close()
        raise explain(error, path) from error
    except LedgerError:
        connection.close()
        raise
    return connection


def _schema_of(connection: sqlite3.Connection, path: Path) -> int:
    """Give the version of the tables. Raises LedgerError when we do not know it."""
    ((application,),) = connection.execute("PRAGMA application_id")
    ((version,),) = connection.execute("PRAGMA user_version")
    if application != _APPLICATION_ID:
        raise LedgerError(f"ledger {path}: is not a simlift ledger; check the path")
    if not 1 <= version <= SCHEMA_VERSION:
        raise LedgerError(
            f"ledger {path}: has schema {version}, this simlift knows {SCHEMA_VERSION}; "
            "use the simlift that wrote it"
        )
    return int(version)


def _upgrade(connection: sqlite3.Connection, older: int, *, read_only: bool) -> None:
    """Add what a version lacks: in the file for its owner, in the reader's view of it for a reader."""
    newer = older + 1
    if read_only:
        connection.executescript(SQL[f"schema {older} as {newer}"])
    else:
        connection.executescript(
            f"BEGIN IMMEDIATE;{_tables_of([newer])}{SQL[f'schema {newer} from {older}']}"
            f"PRAGMA user_version = {newer};COMMIT"
        )


def _tables_of(versions: Iterable[int]) -> str:
    """Give the statements that make the tables which these versions brought."""
    return "".join(SQL.get(f"tables of schema {version}", "") for version in versions)


def _sync(folder: Path) -> None:
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
