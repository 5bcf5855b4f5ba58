"""Files that lie elsewhere: s3:// and gs:// by Arrow's own file systems, sftp:// and all others by fsspec's.

Arrow's need no further package; fsspec names the one that it wants. Passwords come by reference only.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from pipeline.errors import InventoryError
from pipeline.files import GuardedStream, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from urllib.parse import SplitResult

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
SECRET_KEY = re.compile(r"(pass|pwd|secret|token|key)\w*=", re.IGNORECASE)  #: in an address's query
_REFERENCE = re.compile(r"env:(?P<variable>[A-Za-z_]\w*)(?::(?P<path>.*))?", re.DOTALL)
_S3, _GS, _SFTP, _HTTP = ("s3", "s3a"), ("gs", "gcs"), ("sftp", "ssh"), ("http", "https")
_BUFFER_BYTES = 4_000_000  # fetched at once: every fetch is a round trip
_MOST_WORDS = 300
_NOT_FOUND = 404
_CHANGED = "has changed since it was found; start again when nobody writes to it any more"
_PATIENCE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name points: `url` with all it takes to get there (a secret, perhaps), `shown` without.

    A place given by reference (`env:NAME`, or `env:NAME:path` for a path of its own there) is shown as that.
    """

    url: str = field(repr=False)
    shown: str
    variable: str = ""
    path: str = ""

    @property
    def scheme(self) -> str:
        """The address's first word."""
        return self.url.partition("://")[0].lower()

    def words_of(self, error: Exception) -> str:
        """Give an error's own words on one line, without what is secret in the address."""
        words, parts = words_of(error).partition(" error_info=")[0], _parts_of(self.url)  # Google's goes on
        if self.scheme in _HTTP:
            words = _of_the_web(error, words)
        query = parts.query if self.scheme in _HTTP else ""
        words = words.replace(self.url, self.shown)
        for secret in filter(None, (parts.password, unquote(parts.password or ""), query)):
            words = words.replace(secret, "(hidden)")
        return words[:_MOST_WORDS]


def _of_the_web(error: Exception, words: str) -> str:
    if status := getattr(error, "status", 0):  # the words would hold the address, in some other spelling
        return f"{status} {getattr(error, 'message', '')}".rstrip()
    return "its server sends files only as a whole; fetch it yourself" if "range requests" in words else words


def place_of(name: str) -> Place | None:
    """Read a name as an address or a reference to one; None for a path on this machine.

    Raises InventoryError for an address that holds a secret, and a reference that leads to no address.
    """
    if reference := _REFERENCE.fullmatch(name):
        variable, path = reference["variable"], reference["path"] or ""
        url = os.environ.get(variable, "").strip()
        if not _ADDRESS.match(url):
            how = "holds no address" if url else "is not set"
            raise InventoryError(f"{name}: the environment variable {variable} {how}; give it one, sftp://…")
        return Place(url, name, variable, path)
    if not _ADDRESS.match(name):
        return None
    place = Place(name, name)
    parts = _parts_of(name)
    if parts.password or (parts.query and place.scheme in _HTTP) or SECRET_KEY.search(parts.query):
        raise InventoryError(
            f"{place.scheme}://{parts.hostname}: an address with a secret in it would stand in the list of "
            "processes; put it into an environment variable and name that, as env:NAME"
        )
    return place


def _parts_of(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise InventoryError("the inventory's address is not a valid one; check it") from None
    return parts


def is_file_system(scheme: str) -> bool:
    """Tell whether files lie at addresses of this scheme."""
    if scheme in (*_S3, *_GS):
        return True
    fsspec = import_module("fsspec.registry")  # most runs are local and need none of it
    return scheme in fsspec.known_implementations or scheme in fsspec.registry


@dataclass(frozen=True, slots=True)
class FarFile:
    """A file that lies elsewhere. `mark` tells when it is no longer the one that was found."""

    name: str
    bytes_total: int
    place: Place
    system: Any
    path: str
    mark: tuple[Any, ...]

    def open(self) -> BinaryIO:
        """Open it. Raises InventoryError, also when it is another file by now."""
        try:
            changed = self.has_changed()
            stream = self.system.open(self.path, "rb")
        except Exception as error:  # noqa: BLE001 - every file system has errors of its own
            raise _unreachable(self.place, self.name, error) from None
        if changed:
            raise InventoryError(f"{self.name}: {_CHANGED}")
        watched = cast("BinaryIO", _Watched(stream, self))
        return io.BufferedReader(GuardedStream(watched, self.place.words_of), _BUFFER_BYTES)

    def has_changed(self) -> bool:
        """Ask whether it is still as it was found, so far as its file system can tell."""
        now = _mark_of(self.system.info(self.path))
        return any(None not in pair and pair[0] != pair[1] for pair in zip(now, self.mark, strict=True))


def _mark_of(info: Any) -> tuple[Any, ...]:
    """Give size and time of a file; a listing may know the time more exactly than the file's own entry."""
    time = info.get("mtime")
    return info["size"], time and int(time.timestamp())


class _Watched:
    """A far file as it is read: at its end it must be whole, and the same as at the beginning."""

    def __init__(self, stream: BinaryIO, file: FarFile) -> None:
        self._stream, self._file = stream, file
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int) -> bytes:
        piece = self._stream.read(size)
        if not piece and size:
            if self._file.has_changed():
                raise OSError(f"it {_CHANGED}")
            if self._stream.tell() < self._file.bytes_total:
                raise OSError(f"it should go on to byte {self._file.bytes_total:,}")
        return piece


def find(place: Place, below: Callable[[Iterable[str]], Iterable[str]]) -> Iterator[FarFile]:
    """Yield the files at a place: a file, those of a folder that `below` chooses, or of what fits a pattern.

    `below` is given the paths under a folder, relative to it. Raises InventoryError when the place cannot be
    reached; yields nothing where nothing is.
    """
    try:
        system, path, root = _system_at(place)
        yield from _files_in(system, path, place, root, below)
    except InventoryError:
        raise
    except Exception as error:  # noqa: BLE001 - every file system has errors of its own
        raise _unreachable(place, place.shown, error) from None


def _files_in(
    system: Any, path: str, place: Place, root: str, below: Callable[[Iterable[str]], Iterable[str]]
) -> Iterator[FarFile]:
    def file_of(info: Any) -> FarFile:
        name = _name_of(info["name"], path, place, root)
        if info.get("mimetype") == "text/html":
            raise InventoryError(f"{name}: is a web page; name a file, or fetch it as its site wants")
        if info["type"] != "file":  # left out in silence its files would be missed
            raise InventoryError(f"{name}: is a link that leads to no file; name what is meant by itself")
        return FarFile(name, info["size"] or 0, place, system, info["name"], _mark_of(info))

    try:
        found = [system.info(path)]
    except FileNotFoundError as error:
        cause = error.__cause__
        if cause and place.scheme in _HTTP and getattr(cause, "status", 0) != _NOT_FOUND:
            raise cause from None  # whatever happens in the web, fsspec calls it so
        found = list(system.glob(path, detail=True).values()) if re.search(r"[*?[]", path) else []
    for info in found:
        if info["type"] != "directory":
            yield file_of(info)
        else:
            # A folder that cannot be listed is an error, for the same reason.
            inside = system.find(info["name"], detail=True, on_error="raise")
            prefix = info["name"].rstrip("/") + "/"
            by_name = {name.removeprefix(prefix): each for name, each in inside.items()}
            yield from (file_of(by_name[name]) for name in below(by_name))


def _name_of(path: str, asked: str, place: Place, root: str) -> str:
    """Name a file so that it is found again by its name, which holds no secret."""
    if path == asked:
        return place.shown
    if place.variable and place.scheme in _HTTP:
        raise InventoryError(f"{place.shown}: a pattern cannot be used by reference; name every file")
    return f"env:{place.variable}:{path}" if place.variable else f"{root}{path}"


def _system_at(place: Place) -> tuple[Any, str, str]:
    """Connect: give the file system, the place's path in it, and what stands before a path in an address."""
    url = place.url.rstrip("/")
    try:
        if place.scheme in (*_S3, *_GS):
            path = place.path or url.partition("://")[2]
            bucket = path.partition("/")[0]
            if not bucket:
                raise InventoryError(f"{place.shown}: names no bucket; add it")
            wrapper = import_module("fsspec.implementations.arrow").ArrowFSWrapper
            arrow = _s3(bucket) if place.scheme in _S3 else _gs()
            return wrapper(arrow, skip_instance_cache=True), path, f"{place.scheme}://"
        if place.scheme in _SFTP:
            system = import_module("pipeline.sftp").connect(_parts_of(url), _PATIENCE.total_seconds())
            path = (
                "/" + url.partition("://")[2].partition("/")[2]
            )  # in it `?` and `#` are letters like others
        else:
            system, path = import_module("fsspec.core").url_to_fs(url, skip_instance_cache=True)
    except ImportError as error:
        extra = "sftp" if place.scheme in _SFTP else ""
        remedy = f"pip install 'simlift[{extra}]'" if extra else f"install it ({words_of(error)})"
        raise InventoryError(f"{place.shown}: {place.scheme}:// needs a further package; {remedy}") from None
    return system, place.path or path, url.removesuffix(path)


def _s3(bucket: str) -> Any:
    """Make Arrow's S3 file system; unlike other clients it looks for no endpoint in the environment."""
    arrow = import_module("pyarrow.fs")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        scheme, _, host = endpoint.rpartition("://")
        return arrow.S3FileSystem(endpoint_override=host.rstrip("/"), scheme=scheme or "https")
    if os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
        return arrow.S3FileSystem()
    return arrow.S3FileSystem(region=arrow.resolve_s3_region(bucket))


def _gs() -> Any:
    """Make Arrow's file system for Google; it too looks for no endpoint in the environment."""
    arrow = import_module("pyarrow.fs")
    if endpoint := os.environ.get("STORAGE_EMULATOR_HOST"):
        scheme, _, host = endpoint.rpartition("://")
        where = {"endpoint_override": host.rstrip("/"), "scheme": scheme or "http", "anonymous": True}
        return arrow.GcsFileSystem(retry_time_limit=_PATIENCE, **where)
    return arrow.GcsFileSystem(retry_time_limit=_PATIENCE)


def _unreachable(place: Place, name: str, error: Exception) -> InventoryError:
    return InventoryError(
        f"{name}: cannot be reached: {place.words_of(error)}; check the address and your rights there"
    )
