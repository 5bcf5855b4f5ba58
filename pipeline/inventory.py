"""The files of one run, as one inventory: found, recognised, opened, compared, fingerprinted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pipeline.errors import InventoryError, UsageError
from pipeline.files import beginning_of, fingerprint_of
from pipeline.headers import fold, listed
from pipeline.places import files_at, files_in
from pipeline.plugins import every
from pipeline.screening import needed_names
from pipeline.settings import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from pipeline.contracts import Source
    from pipeline.files import InventoryFile
    from pipeline.settings import Input

_COMPRESSED = (".gz", ".zst", ".bz2")
_TAR, _TAR_AT = b"ustar", 257  # POSIX.1-1988 ends it with a zero, GNU with a blank
_FALLBACK = "csv"
_OURS = "spooled"  # told by its mark, whatever [input] format says of the file that it was made of


@dataclass(frozen=True, slots=True)
class Inventory:
    """The files of one run, opened: their sources, their common header and their fingerprint."""

    files: tuple[InventoryFile, ...]
    sources: tuple[Source, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The files' names, by which a resumed run finds them again."""
        return tuple(file.name for file in self.files)

    @property
    def header(self) -> tuple[str, ...]:
        """The column names, the same in every file."""
        return self.sources[0].header

    @property
    def formats(self) -> tuple[str, ...]:
        """The names of the files' formats, as their sources are registered."""
        names = {plugin.loaded: plugin.name for plugin in every("sources") if plugin.loaded is not None}
        kinds = dict.fromkeys(map(type, self.sources))
        return tuple(names[kind] for kind in kinds if kind in names)

    @property
    def bytes_total(self) -> int:
        """The size of all files in bytes, for progress."""
        return sum(source.bytes_total for source in self.sources)

    def fingerprint(self) -> str:
        """Give the SHA-256 over sizes and contents of all files, in their order."""
        return fingerprint_of(self.files)


def open_inventory(
    names: Sequence[str | InventoryFile], settings: Input, rules: type[BaseModel] | None = None
) -> Inventory:
    """Open the inventory's files: those that names mean, and such as have no name to be found by.

    With the `rules` of its target a source knows which columns are needed. Raises InventoryError, and
    UsageError for an unknown format.
    """
    if rules is not None:
        settings = settings.needing(needed_names(rules, settings))
    files = tuple(
        file for name in names for file in (files_at(name) if isinstance(name, str) else files_in(name))
    )
    kinds = {plugin.name: plugin.loaded for plugin in every("sources") if plugin.loaded is not None}
    if settings.format and settings.format not in kinds:
        raise UsageError(f"[input] format: {nearest(settings.format, sorted(kinds))}")
    sources = tuple(_kind_of(file, settings, kinds)(file, settings) for file in files)
    _require_one_header(files, sources, settings)
    return Inventory(files, sources)


def _require_one_header(files: Sequence[InventoryFile], sources: Sequence[Source], settings: Input) -> None:
    """Raise InventoryError when columns differ, for the file that is no inventory where there is one."""
    odd = next(
        (file for file, own in zip(files, sources, strict=True) if own.header != sources[0].header), None
    )
    if odd is None:
        return
    for file, source in zip(files, sources, strict=True):
        if settings.needed and settings.needed.isdisjoint(map(fold, source.header)):
            raise InventoryError(
                f"{file.name}: has no column that is needed (it has {listed(source.header)}); "
                "leave it out: name the files or a pattern"
            )
    raise InventoryError(
        f"{odd.name}: its columns differ from those of {files[0].name}; files of one run share one "
        "header, import this one in a run of its own"
    )


def _kind_of(file: InventoryFile, settings: Input, kinds: Mapping[str, Any]) -> Any:
    """Find the source of a file: as the job says, by what it surely is, by its name's end, else CSV."""
    beginning = beginning_of(file)
    if beginning[_TAR_AT : _TAR_AT + len(_TAR) + 1] in (_TAR + b"\0", _TAR + b" "):
        raise InventoryError(f"{file.name}: is a tar archive; unpack it, or pack it as zip")
    if _OURS in kinds and kinds[_OURS].recognises(beginning):
        return kinds[_OURS]
    if settings.format:
        return kinds[settings.format]
    name = PurePath(file.name)
    suffix = (name.with_suffix("") if name.suffix.lower() in _COMPRESSED else name).suffix.lower()
    surely = next((kind for kind in kinds.values() if kind.recognises(beginning)), None)
    by_name = next((kind for kind in kinds.values() if suffix in kind.suffixes), None)
    return surely or by_name or kinds[_FALLBACK]
