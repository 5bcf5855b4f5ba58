"""Where an inventory lies: what a person names on the command line, as the files it means.

A file, a folder, a pattern, an archive, or any of these at an address (`s3://`, `sftp://`, …). The name of
every file found leads to that file alone when it is given again, as a resumed run does.
"""

from __future__ import annotations

import glob
import operator
import os
import re
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NoReturn

from pipeline import archives, far_files
from pipeline.errors import InventoryError
from pipeline.files import LocalFile, require_showable, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.files import InventoryFile

_LEDGER = "ledger.sqlite"  # what makes a folder that of a run
_MANIFEST = ".manifest.jsonl"  # what `sample` writes beside an inventory
#: What lies beside inventories and is none: what systems and programs leave there, sums, signatures, files
#: still on their way, delivery notes.
_BESIDE = re.compile(
    r"thumbs\.db|desktop\.ini|~\$.*|.*\.(?:md5|sha1|sha256|sha512|sig|asc|tmp|part|done|pdf)"
    r"|(?:sha(?:1|256|512)|md5)sums?",
    re.IGNORECASE | re.DOTALL,
)
_OF_A_RUN = frozenset({"lock", "log.jsonl", "outcomes.csv", "report.html", "summary.json"})


def files_at(name: str) -> Iterator[InventoryFile]:
    """Yield the files that a name means, in a fixed order. Raises InventoryError when there is none.

    Of a folder they are all files in it and below, by their paths, without hidden ones, what lies beside
    inventories (sums, signatures, PDFs), and what simlift wrote itself: what is in the folders of runs, and
    manifests of samples. A pattern gives what fits it, in the order of the names, without what lies beside.
    """
    require_showable(name)
    found = False
    for file in _plain(name):
        yield from files_in(file)
        found = True
    if found:
        return
    for at in (at for at, letter in enumerate(name) if letter == "!"):
        for file in _plain(name[:at]):
            members = archives.members_of(file, partial(operator.eq, name[at + 1 :]))
            yield from members or ()
            found = found or bool(members)
    if not found:
        _nothing_at(name)


def files_in(file: InventoryFile) -> Iterable[InventoryFile]:
    """Give the files in an archive but those that a folder would leave out; what is no archive is one file.

    Raises InventoryError.
    """
    members = archives.members_of(file, lambda member: bool(_chosen([member])))
    if members == []:
        raise InventoryError(f"{file.name}: is an archive without files; check what was packed")
    return [file] if members is None else members


def _plain(name: str) -> Iterator[InventoryFile]:
    """Yield the files that a name means, archives as they are; none where nothing is."""
    place = far_files.place_of(name)
    if place is None:
        yield from _local(name)
    elif far_files.is_file_system(place.scheme):
        for file in far_files.find(place, _chosen):
            if file.name == place.shown or not _is_beside(file.name):
                require_showable(file.name)
                yield file
    else:
        raise InventoryError(
            f"{place.shown}: no files lie at {place.scheme}:// addresses; "
            "a database is an inventory by itself, name no other beside it"
        )


def _local(name: str) -> Iterator[InventoryFile]:
    path = os.path.abspath(name) if name else name  # noqa: PTH100 - unlike Path, it never raises
    if os.path.lexists(path):
        matches = [path]
    else:
        matches = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []  # noqa: PTH207 - likewise
    for match in matches:
        require_showable(match)
        if os.path.isdir(match):  # noqa: PTH112 - likewise
            yield from (LocalFile(Path(match) / below) for below in _chosen(_below(match)))
        elif match == path or not _is_beside(match):
            yield LocalFile(Path(match))


def _below(folder: str) -> Iterator[str]:
    """Yield the files in a folder and below, as paths relative to it. Raises InventoryError."""

    def fail(error: OSError) -> NoReturn:
        raise InventoryError(f"{error.filename}: cannot be listed: {words_of(error)}; check its permissions")

    seen = set()
    for path, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        real = os.path.realpath(path)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        inside = Path(path).relative_to(folder)
        yield from ((inside / file).as_posix() for file in files)


def _chosen(names: Iterable[str]) -> list[str]:
    """Choose among paths below a folder what can be inventory, in the order of the paths."""
    paths = sorted(((PurePosixPath(name), name) for name in names), key=lambda path: path[0].parts)
    runs = {path.parent for path, _ in paths if path.name == _LEDGER}
    return [
        name for path, name in paths if not (_is_hidden(path) or _is_beside(name) or _is_ours(path, runs))
    ]


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") and part != ".." for part in path.parts)


def _is_beside(name: str) -> bool:
    return _BESIDE.fullmatch(PurePosixPath(name).name) is not None


def _is_ours(path: PurePosixPath, runs: set[PurePosixPath]) -> bool:
    """Tell what simlift wrote; of a run's folder that is named itself, its inventory can be read."""
    if path.name.endswith(_MANIFEST):
        return True
    if not runs.isdisjoint(path.parents[:-1]):
        return True
    ours = path.name in _OF_A_RUN or path.name.startswith((_LEDGER, "failures."))
    return ours and path.parent in runs


def _nothing_at(name: str) -> NoReturn:
    path = os.path.abspath(name) if name else '""'  # noqa: PTH100 - unlike Path, it never raises
    if far_files.place_of(name) is not None:
        raise InventoryError(f"{name}: nothing is there; check the address")
    if os.path.isdir(path):  # noqa: PTH112 - likewise
        raise InventoryError(f"{path}: the folder holds no inventory files; check the path")
    if glob.has_magic(name):
        raise InventoryError(f"{path}: no file fits this pattern; check the path")
    raise InventoryError(f"{path}: no such file; check the path")
