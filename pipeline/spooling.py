"""Inventories that can be read only once, standard input and databases: written down before they are read.

What is written lies in the run's folder, for its owner alone, and is what the run imports and resumes from.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import sys
import tempfile
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import pyarrow as pa

from pipeline.errors import InventoryError, UsageError
from pipeline.files import PIECE_BYTES, fingerprint_of, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipeline.model import RunRecord
    from pipeline.query import Answer
    from pipeline.settings import Input

STANDARD_INPUT = "-"
_ORIGIN = b"simlift.origin"


class Once(Protocol):
    """An inventory that can be read only once."""

    @property
    def file_name(self) -> str:
        """What it is called once it is written down."""
        ...

    def write(self, file: BinaryIO) -> None:
        """Write all of it. Raises InventoryError, and OSError when the file cannot be written."""
        ...

    def is_of(self, record: RunRecord) -> bool:
        """Tell whether a run began with it. Raises InventoryError."""
        ...


def once(names: Sequence[str], settings: Input) -> Once | None:
    """Read what a person named as an inventory that can be read only once; None for files.

    Raises UsageError when more is named beside it, and when it cannot be read at all.
    """
    found: Once | None = None
    for name in names:
        if name == STANDARD_INPUT:
            found = StandardInput()
        elif "://" in name or name.startswith("env:"):
            query = import_module("pipeline.query")  # it costs an import that most runs can do without
            place = query.database_at(name)
            found = Table(query.Answer(place, settings.query)) if place else None
        if found is not None:
            if len(names) > 1:
                what = "standard input" if name == STANDARD_INPUT else "a database"
                raise UsageError(f"{what} is an inventory by itself; name no other beside it")
            return found
    return None


@dataclass(frozen=True, slots=True)
class StandardInput:
    """What is piped in, byte by byte."""

    file_name: str = "inventory"
    name: str = "standard input"
    bytes_total: int = 0

    def open(self) -> BinaryIO:
        """Give the pipe. Raises UsageError for a terminal."""
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError(
                "nothing is piped in (standard input is a terminal); pipe an inventory in, or name it"
            )
        # A descriptor of its own: closing this one leaves the program's as it is.
        return cast("BinaryIO", io.FileIO(os.dup(sys.stdin.fileno())))

    def write(self, file: BinaryIO) -> None:
        """Copy it."""
        with closing(self.open()) as pipe:
            while piece := _piece_of(pipe):
                file.write(piece)

    def is_of(self, record: RunRecord) -> bool:
        """Read it to its end and compare."""
        return fingerprint_of((self,)) == record.fingerprint


def _piece_of(pipe: BinaryIO) -> bytes:
    try:
        return pipe.read(PIECE_BYTES)
    except OSError as error:
        raise InventoryError(f"standard input cannot be read: {words_of(error)}; pipe it in again") from None


class Table:
    """What a database answers, as an Arrow file. A run keeps to its first answer."""

    file_name = "inventory.arrow"

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def write(self, file: BinaryIO) -> None:
        """Ask, and write the rows down as they come."""
        batches = self._answer.batches()
        with closing(batches):
            first = next(batches)
            schema = first.schema.with_metadata({_ORIGIN: self._origin})
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            with pa.ipc.new_file(pa.PythonFile(file, mode="w"), schema, options=options) as writer:
                writer.write_batch(first.replace_schema_metadata(schema.metadata))
                for batch in batches:
                    writer.write_batch(batch.replace_schema_metadata(schema.metadata))

    def is_of(self, record: RunRecord) -> bool:
        """Compare database and query; a database may answer differently today."""
        try:
            with pa.ipc.open_file(record.inventory[0]) as reader:
                origin = (reader.schema.metadata or {}).get(_ORIGIN)
        except (OSError, pa.ArrowException, IndexError):
            return False
        return bool(origin == self._origin)

    @property
    def _origin(self) -> bytes:
        return hashlib.sha256(self._answer.origin.encode()).hexdigest().encode()


# ---------------------------------------------------------------- where it is written


@contextmanager
def in_files(
    names: Sequence[str], settings: Input, folder: Path | None, begun: Callable[[], bool] = lambda: False
) -> Iterator[Sequence[str]]:
    """Give the names of an inventory's files: as they are, or of what is written into the folder of a run.

    While the block lasts nobody else begins this run; if it ends before the run has `begun`, what was written
    is removed. Killed at any time, it leaves a folder in which the same command begins anew. Without a folder
    the file lasts as long as the block. Raises UsageError.
    """
    found = once(names, settings)
    if found is None:
        yield names
    elif folder is None:
        with tempfile.TemporaryDirectory(prefix="simlift-") as scratch:
            yield [_written(found, Path(scratch))]
    else:
        with _owned(folder, begun):
            name = _written(found, folder.absolute())
            try:
                yield [name]
            except BaseException:
                if not begun():
                    Path(name).unlink(missing_ok=True)
                raise


def _written(found: Once, folder: Path) -> str:
    """Write an inventory down, whole or not at all, for its owner alone; give the file's name."""
    path, new = folder / found.file_name, folder / f".{found.file_name}.new"
    try:
        new.unlink(missing_ok=True)  # what a killed process left
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                found.write(file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written: {words_of(error)}; make room or check its rights"
        ) from None
    return str(path)


@contextmanager
def _owned(folder: Path, begun: Callable[[], bool]) -> Iterator[None]:
    """Keep a run's folder to this process until its ledger takes over; remove it if nothing came of it."""
    made = [path for path in (folder, folder.parent) if not path.exists()]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"run folder {folder} cannot be made: {words_of(error)}; check the path") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"run {folder.name} is being begun by another process; wait for it") from None
        if begun():
            raise UsageError(f"run {folder.name} was begun by another process meanwhile; repeat the command")
        try:
            yield
        except BaseException:
            for path in made:
                with suppress(OSError):  # not empty
                    path.rmdir()
            raise
    finally:
        os.close(lock)
