"""The files of one run, as one inventory: opened, compared, fingerprinted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import InventoryError
from pipeline.plugins import every, installed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipeline.contracts import Source

_COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True, slots=True)
class Inventory:
    """The files of one run, opened: their sources, their common header and their fingerprint."""

    paths: tuple[Path, ...]
    sources: tuple[Source, ...]

    @property
    def header(self) -> tuple[str, ...]:
        """The column names, the same in every file."""
        return self.sources[0].header

    @property
    def bytes_total(self) -> int:
        """The size of all files in bytes, for progress."""
        return sum(source.bytes_total for source in self.sources)

    def fingerprint(self) -> str:
        """Give the SHA-256 over sizes and contents of all files, in their order."""
        digest = hashlib.sha256()
        for path in self.paths:
            with path.open("rb") as file:
                digest.update(path.stat().st_size.to_bytes(8, "big"))
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def open_inventory(paths: Sequence[Path]) -> Inventory:
    """Open the inventory's files. Raises InventoryError."""
    sources = tuple(_source_for(path)(path) for path in paths)
    for path, source in zip(paths, sources, strict=True):
        if source.header != sources[0].header:
            raise InventoryError(
                f"{path}: its columns differ from those of {paths[0]}; files of one run share one header, "
                "import this one in a run of its own"
            )
    return Inventory(tuple(path.absolute() for path in paths), sources)


def _source_for(path: Path) -> Callable[[Path], Source]:
    """Find the source whose files have this name's end, compressed or not; CSV where none has."""
    name = path.with_suffix("") if path.suffix.lower() in _COMPRESSED else path
    suffix = name.suffix.lower()
    csv: Callable[[Path], Source] = installed("sources", "csv")
    found = (plugin.loaded for plugin in every("sources") if plugin.loaded is not None)
    return next((source for source in found if suffix in getattr(source, "suffixes", ())), csv)
