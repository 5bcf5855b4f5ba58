"""Zip archives as inventories: each member is a file named `archive.zip!member`, read as a stream.

Nothing is ever extracted, so a member's path leads nowhere. What an archive may cost is bounded below.
"""

from __future__ import annotations

import io
import zipfile
from contextlib import closing
from copy import copy
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

from pipeline.errors import InventoryError
from pipeline.files import GuardedStream, require_showable, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.files import InventoryFile

#: Inventories pack to a tenth or a thirtieth. An archive that unpacks to more than so many times its own
#: size is taken for a bomb, unless it is small all the same; so is one whose table of contents is longer.
MOST_TIMES, HARMLESS_BYTES, MOST_CONTENTS_BYTES = 250, 100_000_000, 16_000_000
_BEGINNING = b"PK\x03\x04"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)  # others may claim gigabytes
_ENCRYPTED = 0x1
_DOCUMENTS = frozenset({"[Content_Types].xml", "mimetype"})  # in every spreadsheet, itself a zip archive
_BUFFER_BYTES = 256_000


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive. `bytes_total` is its unpacked size: never more is read."""

    name: str
    bytes_total: int
    file: InventoryFile
    contents: zipfile.ZipFile  #: the archive's table of contents, read and closed
    info: zipfile.ZipInfo

    def open(self) -> BinaryIO:
        """Open it, unpacked. Raises InventoryError."""
        raw = self.file.open()
        archive = copy(self.contents)
        archive.fp = cast("BinaryIO", _InPieces(raw))
        try:
            stream = cast("BinaryIO", archive.open(self.info))
        except Exception as error:  # noqa: BLE001 - on damage zipfile raises anything
            raw.close()
            raise InventoryError(
                f"{self.name}: cannot be unpacked: {_words_of(error)}; fetch the archive again"
            ) from None
        finally:
            archive.fp = None  # the member reads on; nothing is left to close but `raw`
        return io.BufferedReader(GuardedStream(stream, _damage, raw), _BUFFER_BYTES)


def members_of(file: InventoryFile, wanted: Callable[[str], bool]) -> list[Member] | None:
    """Give the members of an archive by name, those that are `wanted`; None for a file that is none.

    Raises InventoryError for an archive that is damaged, encrypted, too large, or holds archives.
    """
    contents = _contents_of(file)
    if contents is None:
        return None
    infos = sorted(
        (info for info in contents.infolist() if _is_meant(info, wanted)), key=lambda i: i.filename
    )
    members = [Member(f"{file.name}!{info.filename}", info.file_size, file, contents, info) for info in infos]
    _require_harmless(file, infos)
    for member, info in zip(members, infos, strict=True):
        require_showable(member.name)
        if info.flag_bits & _ENCRYPTED:
            raise InventoryError(f"{member.name}: is encrypted; unpack the archive and name what was in it")
        if info.compress_type not in _METHODS:
            raise InventoryError(f"{member.name}: is packed in an unusual way; pack the archive again")
        if _contents_of(member) is not None:
            raise InventoryError(f"{member.name}: is an archive within an archive; unpack the outer one")
    if len({info.filename for info in infos}) < len(infos):
        raise InventoryError(f"{file.name}: holds several files of one name; pack the archive again")
    return members


def _is_meant(info: zipfile.ZipInfo, wanted: Callable[[str], bool]) -> bool:
    name = info.filename  # which may be empty: `is_dir` stumbles over that
    return not name.endswith("/") and "__MACOSX" not in PurePosixPath(name).parts and wanted(name)


def _contents_of(file: InventoryFile) -> zipfile.ZipFile | None:
    """Read an archive's contents; None for a file that does not begin as one, and for a spreadsheet."""
    with closing(file.open()) as raw:
        try:
            beginning = raw.read(len(_BEGINNING))
            raw.seek(0)
        except OSError as error:
            raise InventoryError(f"{file.name}: cannot be read: {words_of(error)}; fetch it again") from None
        if beginning != _BEGINNING:
            return None
        try:
            with zipfile.ZipFile(cast("BinaryIO", _InPieces(raw))) as contents:
                return contents if _DOCUMENTS.isdisjoint(contents.namelist()) else None
        except Exception as error:  # noqa: BLE001 - on damage zipfile raises anything
            raise InventoryError(
                f"{file.name}: is a damaged zip archive: {words_of(error)}; fetch it again"
            ) from None


def _require_harmless(file: InventoryFile, infos: list[zipfile.ZipInfo]) -> None:
    size = file.bytes_total
    unpacked = sum(info.file_size for info in infos)
    if unpacked > max(HARMLESS_BYTES, MOST_TIMES * size):
        raise InventoryError(
            f"{file.name}: would unpack from {size:,} to {unpacked:,} bytes; "
            "if that is right, unpack it yourself and name what was in it"
        )


class _InPieces:
    """An archive as zipfile reads it: whole pieces, of a bounded size."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.seek, self.tell, self.seekable = raw.seek, raw.tell, raw.seekable

    def read(self, size: int = MOST_CONTENTS_BYTES) -> bytes:
        if size > MOST_CONTENTS_BYTES:
            raise zipfile.BadZipFile("its table of contents is too long")
        pieces = []
        while size and (piece := self._raw.read(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


def _damage(error: Exception) -> str:
    return f"the archive is damaged there ({words_of(error)})"


def _words_of(error: Exception) -> str:
    """Give the words of an error, but for those that quote the archive's bytes: they may be anything."""
    words = words_of(error)
    return "its headers contradict one another" if words.startswith("File name in directory") else words
