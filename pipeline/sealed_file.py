"""A file that lies on disk only enciphered: for what may not lie there in clear text (DESIGN invariant 8).

Its key is in this process's memory and nowhere else, and it has no name: when the process ends, it is gone.
"""

from __future__ import annotations

import io
import os
import tempfile
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

_BLOCK_BYTES = 16
_BUFFER_BYTES = 256_000


class SealedFile:
    """A scratch file in `folder` (None: the system's for such), called `name` in messages.

    Write all of it, then open it as often as you like; each stream can be read in any order, and outlives
    the closing of the file. Writing raises OSError.
    """

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self.name = name
        self.bytes_total = 0
        self._key = os.urandom(32)
        self._encipher = _keystream(self._key, 0)
        self._file = tempfile.TemporaryFile(prefix="simlift-", dir=folder, buffering=0)  # noqa: SIM115 - see close

    def write(self, piece: bytes) -> None:
        """Add to it."""
        left = memoryview(self._encipher(piece))
        while left:
            left = left[self._file.write(left) :]
        self.bytes_total += len(piece)

    def open(self) -> BinaryIO:
        """Open what was written, from the start."""
        stream = _Deciphered(os.dup(self._file.fileno()), self._key, self.bytes_total)
        return cast("BinaryIO", io.BufferedReader(stream, _BUFFER_BYTES))

    def close(self) -> None:
        """Give its room back, once its streams are closed too."""
        self._file.close()


class _Deciphered(io.RawIOBase):
    """Reads at a place of its own; owns the descriptor."""

    def __init__(self, descriptor: int, key: bytes, size: int) -> None:
        self._descriptor, self._key, self._size = descriptor, key, size
        self._at = 0
        self._decipher = _keystream(key, 0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        piece = os.pread(self._descriptor, len(buffer), self._at)
        buffer[: len(piece)] = self._decipher(piece)
        self._at += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if at < 0:
            raise ValueError(f"no place {at} in a file")
        if at != self._at:
            self._at, self._decipher = at, _keystream(self._key, at)
        return at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


def _keystream(key: bytes, at: int) -> Any:
    """Give what enciphers, and deciphers, piece by piece from a place on.

    AES in counter mode: the counter is the place, so any part can be read by itself; a key serves one file,
    whose bytes are written once, so no part of the stream is ever used twice.
    """
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415 - few need it

    block, skipped = divmod(at, _BLOCK_BYTES)
    stream = Cipher(algorithms.AES(key), modes.CTR(block.to_bytes(_BLOCK_BYTES, "big"))).encryptor()
    stream.update(bytes(skipped))
    return stream.update
