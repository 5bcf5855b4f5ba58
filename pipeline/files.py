"""A file of an inventory, wherever it lies: a name, a size, and its bytes as often as somebody asks.

Sources read through this and know neither disk, archive nor network. Finding the files is places.py.
"""

from __future__ import annotations

import errno
import hashlib
import io
import re
import stat
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

import pyarrow as pa

from pipeline.errors import InventoryError
from pipeline.sealed_file import SealedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PIECE_BYTES = 1_000_000
#: What compressed files begin with, whatever their name (RFC 1952, RFC 8878, bzip2).
_CODECS = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bz2"))
_MOST_AT_ONCE = 4_000_000
_UNSHOWABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MOST_WORDS = 300


class InventoryFile(Protocol):
    """One file. `name` is how the user would find it again, `bytes_total` its size as it lies there."""

    @property
    def name(self) -> str:
        """The name shown in messages and kept with the run."""
        ...

    @property
    def bytes_total(self) -> int:
        """Its size in bytes, compressed if it is; 0: unknown."""
        ...

    def open(self) -> BinaryIO:
        """Open its bytes as they lie there, from the start. Raises InventoryError."""
        ...


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A regular file on this machine."""

    path: Path

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def bytes_total(self) -> int:
        """Its size. Raises InventoryError when there is no such file."""
        try:
            return self.path.stat().st_size
        except (OSError, ValueError) as error:
            raise self._unusable(error) from None

    def open(self) -> BinaryIO:
        """Open it. Raises InventoryError with what to do, for a folder or a pipe too."""
        try:
            mode = self.path.stat().st_mode
            if stat.S_ISDIR(mode):
                raise InventoryError(f"{self.path}: is a directory; name the file in it")
            if not stat.S_ISREG(mode):
                raise InventoryError(
                    f"{self.path}: is a pipe or device; save it to a file first, or pipe it in with -"
                )
            return cast("BinaryIO", self.path.open("rb", buffering=0))
        except (OSError, ValueError) as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> InventoryError:
        if isinstance(error, FileNotFoundError):
            return InventoryError(f"{self.path}: no such file; check the path")
        return InventoryError(f"{self.path}: cannot be opened: {words_of(error)}; check its permissions")


class GuardedStream(io.RawIOBase):
    """Somebody else's stream: whatever it raises becomes an OSError, `words` gives its text.

    What it reads from, `beneath`, is closed with it.
    """

    def __init__(
        self, stream: BinaryIO, words: Callable[[Exception], str], beneath: BinaryIO | None = None
    ) -> None:
        self._stream, self._words, self._beneath = stream, words, beneath

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read in any order."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Fill the buffer's beginning and say how far; 0 is the end. Raises OSError."""
        with self._guard():
            piece = self._stream.read(min(len(buffer), _MOST_AT_ONCE))
        buffer[: len(piece)] = piece
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go elsewhere. Raises OSError."""
        with self._guard():
            self._stream.seek(offset, whence)  # paramiko's gives nothing back
            return self._stream.tell()

    def tell(self) -> int:
        """Say where it stands. Raises OSError."""
        with self._guard():
            return self._stream.tell()

    def close(self) -> None:
        """Let go of it; that a far end is gone already is no matter."""
        if not self.closed:
            for stream in filter(None, (self._stream, self._beneath)):
                with suppress(Exception):
                    stream.close()
        super().close()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - what a library raises on damage is anybody's guess
            raise OSError(errno.EIO, self._words(error)) from None


def codec_of(beginning: bytes) -> str:
    """Name the compression of a file by how it begins; "" for none."""
    return next((codec for magic, codec in _CODECS if beginning.startswith(magic)), "")


def beginning_of(file: InventoryFile, size: int = 64_000) -> bytes:
    """Give the first bytes of a file, decompressed as far as they go. Raises InventoryError.

    Damage is no error here: whoever reads the whole file can say best where it is.
    """
    with closing(file.open()) as raw:
        try:
            codec = codec_of(raw.read(4))
            raw.seek(0)
            if not codec:
                return raw.read(size)
        except OSError as error:
            raise InventoryError(f"{file.name}: cannot be read: {words_of(error)}; fetch it again") from None
        text = bytearray(size)
        with suppress(OSError, pa.ArrowException):
            pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), codec).readinto(text)
        return bytes(text.rstrip(b"\0"))


@contextmanager
def seekable(file: InventoryFile) -> Iterator[BinaryIO]:
    """Give a file's content for reading in any order: itself, or a copy of what is compressed or far.

    The copy is sealed, as there may be keys in it, and gone when it is closed. Raises InventoryError.
    """
    with closing(file.open()) as raw:
        try:
            codec = codec_of(raw.read(4))
            raw.seek(0)
            if not codec and isinstance(file, LocalFile | SealedFile):
                yield raw
                return
        except OSError as error:
            raise InventoryError(f"{file.name}: cannot be read: {words_of(error)}") from None
        with _in_scratch(file.name):
            copy = SealedFile(file.name)
        with closing(copy):
            try:
                source = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), codec) if codec else raw
                while piece := source.read(PIECE_BYTES):
                    with _in_scratch(file.name):
                        copy.write(piece)
            except (OSError, pa.ArrowException) as error:
                raise InventoryError(
                    f"{file.name}: cannot be read: {words_of(error)}; fetch it again"
                ) from None
            with closing(copy.open()) as content:
                yield content


@contextmanager
def _in_scratch(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InventoryError(
            f"{name}: cannot be copied for a while: {words_of(error)}; make room, or set TMPDIR"
        ) from None


def fingerprint_of(
    files: tuple[InventoryFile, ...], take: Callable[[bytes], object] = lambda _piece: None
) -> str:
    """Give the SHA-256 over sizes and contents of all files, in their order; `take` gets what is read.

    Raises InventoryError.
    """
    digest = hashlib.sha256()
    for file in files:
        with closing(file.open()) as raw:
            try:
                content, size = hashlib.sha256(), 0
                while piece := raw.read(PIECE_BYTES):
                    content.update(piece)
                    size += len(piece)
                    take(piece)
            except OSError as error:
                raise InventoryError(f"{file.name}: cannot be read: {words_of(error)}") from None
        digest.update(size.to_bytes(8, "big"))
        digest.update(content.digest())
    return digest.hexdigest()


def require_showable(name: str) -> None:
    """Raise InventoryError for a file's name that no message and no ledger can hold as it is."""
    if _UNSHOWABLE.search(name):
        raise InventoryError(f"{name!a}: holds characters that cannot be shown; rename the file")


def words_of(error: Exception) -> str:
    """Give what went wrong in an exception's own words, on one line; of damage they may quote anything."""
    words = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    words = " ".join(words[: 2 * _MOST_WORDS].split())
    words = words if len(words) <= _MOST_WORDS else words[: _MOST_WORDS - 1] + "…"
    return _UNSHOWABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), words)
