"""Inventories that can be read only once, standard input and databases: written down before they are read.

A run imports and resumes from what lies in its folder, for its owner alone and without a key (DESIGN
invariant 8): what is piped in is kept sealed until it is told which of its columns those are.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import sys
import tempfile
import zipfile
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import pyarrow as pa

from pipeline.errors import InventoryError, UsageError
from pipeline.files import fingerprint_of, words_of
from pipeline.inventory import open_inventory
from pipeline.plugins import installed
from pipeline.sealed_file import SealedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from pipeline.files import InventoryFile
    from pipeline.inventory import Inventory
    from pipeline.query import Answer
    from pipeline.settings import Input

STANDARD_INPUT = "-"
_SPOOL, _ANSWER = "inventory.spooled", "inventory.arrow"  # as they are called in a run's folder
_ORIGIN = b"simlift.origin"


class Once(Protocol):
    """An inventory that can be read only once."""

    def taken_in(self, folder: Path) -> AbstractContextManager[str | InventoryFile]:
        """Read all of it into a folder; give a file, or the name of one, for as long as the block lasts.

        Raises InventoryError, and UsageError when it cannot be written.
        """
        ...

    def is_of(self, began_with: Inventory) -> bool:
        """Tell whether a run that reads this inventory began with it. Raises InventoryError."""
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

    @contextmanager
    def taken_in(self, folder: Path) -> Iterator[_Piped]:
        """Copy it into a sealed file."""
        with _room_in(folder):
            piped = _Piped(self.name, folder)

        def seal(piece: bytes) -> None:
            with _room_in(folder):
                piped.write(piece)

        with closing(piped):
            piped.origin = fingerprint_of((self,), seal)
            yield piped

    def is_of(self, began_with: Inventory) -> bool:
        """Read it to its end and compare; a run of an older simlift kept the very bytes."""
        origins = {getattr(source, "origin", "") for source in began_with.sources} - {""}
        return {fingerprint_of((self,))} == (origins or {began_with.fingerprint()})


class _Piped(SealedFile):
    """What was piped in, with its fingerprint."""

    origin = ""


class Table:
    """What a database answers, as an Arrow file. A run keeps to its first answer."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    @contextmanager
    def taken_in(self, folder: Path) -> Iterator[str]:
        """Ask, and write the rows down as they come."""
        yield _written(folder / _ANSWER, self._write)

    def _write(self, file: BinaryIO) -> None:
        batches = self._answer.batches()
        with closing(batches):
            first = next(batches)
            schema = first.schema.with_metadata({_ORIGIN: self._origin})
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            with pa.ipc.new_file(pa.PythonFile(file, mode="w"), schema, options=options) as writer:
                writer.write_batch(first.replace_schema_metadata(schema.metadata))
                for batch in batches:
                    writer.write_batch(batch.replace_schema_metadata(schema.metadata))

    def is_of(self, began_with: Inventory) -> bool:
        """Compare database and query; a database may answer differently today."""
        try:
            with pa.ipc.open_file(began_with.names[0]) as reader:
                origin = (reader.schema.metadata or {}).get(_ORIGIN)
        except (OSError, pa.ArrowException):
            return False
        return bool(origin == self._origin)

    @property
    def _origin(self) -> bytes:
        return hashlib.sha256(self._answer.origin.encode()).hexdigest().encode()


# ---------------------------------------------------------------- where it is written


@contextmanager
def in_files(
    names: Sequence[str], settings: Input, folder: Path | None, begun: Callable[[], bool] = lambda: False
) -> Iterator[Sequence[str | InventoryFile]]:
    """Give an inventory's files for the length of the block: by their names, or what was taken in.

    With the folder of a run nobody else begins this run meanwhile; if the block ends before the run has
    `begun`, what was written there is removed. Killed at any time, it leaves a folder in which the same
    command begins anew. Raises UsageError.
    """
    found = once(names, settings)
    if found is None:
        yield names
    elif folder is None:
        with tempfile.TemporaryDirectory(prefix="simlift-") as scratch, found.taken_in(Path(scratch)) as file:
            yield [file]
    else:
        with _owned(folder, begun), found.taken_in(folder.absolute()) as file:
            yield [file]


def kept(files: Sequence[str | InventoryFile], settings: Input, folder: Path, came: Inventory) -> Inventory:
    """Give the inventory that came in `files` as a run can find it again: as it is, or of a spool of it.

    The spool of an archive is one too, a member for a member. Raises InventoryError when the inventory
    cannot be read to its end or has no rows, UsageError when the spool cannot be written.
    """
    piped = files[0]
    if not isinstance(piped, _Piped):
        return came
    spool = installed("sources", "spooled")

    def write(file: BinaryIO) -> None:
        rows = 0
        if came.files == (piped,):
            rows = spool.write(came.sources[0], file, piped.origin)
        else:
            with zipfile.ZipFile(file, "w") as archive:
                for name, source in zip(came.names, came.sources, strict=True):
                    with archive.open(name.removeprefix(f"{piped.name}!"), "w", force_zip64=True) as member:
                        rows += spool.write(source, member, piped.origin)
        if not rows:
            raise InventoryError(f"{piped.name}: has a header but no rows; nothing to import")

    return open_inventory([_written(folder.absolute() / _SPOOL, write)], settings)


def _written(path: Path, write: Callable[[BinaryIO], None]) -> str:
    """Write a file, whole or not at all, for its owner alone; give its name."""
    new = path.with_name(f".{path.name}.new")
    with _room_in(path):
        new.unlink(missing_ok=True)  # what a killed process left
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    return str(path)


@contextmanager
def _room_in(path: Path) -> Iterator[None]:
    """Turn an OSError into a UsageError."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written: {words_of(error)}; make room or check its rights"
        ) from None


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
            if not begun():
                for name in (_SPOOL, _ANSWER):
                    (folder / name).unlink(missing_ok=True)
            for path in made:
                with suppress(OSError):  # not empty
                    path.rmdir()
            raise
    finally:
        os.close(lock)
