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
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import SplitResult, unquote, urlsplit

from pipeline.errors import InventoryError
from pipeline.files import GuardedStream, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
SECRET_KEY = re.compile(r"(pass|pwd|secret|token|key)\w*=", re.IGNORECASE)  #: in an address's query
_REFERENCE = re.compile(r"env:(?P<variable>[A-Za-z_]\w*)(?::(?P<path>.*))?", re.DOTALL)
_S3, _GS, _SFTP, _HTTP = ("s3", "s3a"), ("gs", "gcs"), ("sftp", "ssh"), ("http", "https")
_KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
_BUFFER_BYTES = 4_000_000  # fetched at once: every fetch is a round trip
_MOST_WORDS = 300
_SFTP_PORT, _SFTP_BYTES = 22, 32_768  # what any server gives at a time
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
        words = words_of(error)
        parts = _parts_of(self.url)
        query = parts.query if self.scheme in _HTTP else ""
        words = words.replace(self.url, self.shown)
        for secret in filter(None, (parts.password, unquote(parts.password or ""), query)):
            words = words.replace(secret, "(hidden)")
        return words[:_MOST_WORDS]


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
    """A file that lies elsewhere."""

    name: str
    bytes_total: int
    place: Place
    system: Any
    path: str

    def open(self) -> BinaryIO:
        """Open it. Raises InventoryError."""
        try:
            stream = self.system.open(self.path, "rb")
            if hasattr(stream, "readv"):
                stream = _ManyAtOnce(stream, self.bytes_total)
        except Exception as error:  # noqa: BLE001 - every file system has errors of its own
            raise _unreachable(self.place, self.name, error) from None
        return io.BufferedReader(GuardedStream(stream, self.place.words_of), _BUFFER_BYTES)


class _ManyAtOnce:
    """A file of paramiko's, which would ask for a little and wait, again and again: here it asks at once."""

    def __init__(self, file: Any, size: int) -> None:
        self._file, self._size = file, size
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int) -> bytes:
        at = self._file.tell()
        end = min(at + size, self._size)
        pieces = [(start, min(_SFTP_BYTES, end - start)) for start in range(at, end, _SFTP_BYTES)]
        return b"".join(self._file.readv(pieces))


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
        return FarFile(
            _name_of(info["name"], path, place, root), info["size"] or 0, place, system, info["name"]
        )

    try:
        found = [system.info(path)]
    except FileNotFoundError:
        found = list(system.glob(path, detail=True).values()) if re.search(r"[*?[]", path) else []
    for info in found:
        if info["type"] == "file":
            yield file_of(info)
        elif info["type"] == "directory":
            # A folder that cannot be listed is an error: its files must not be left out in silence.
            inside = system.find(info["name"], detail=True, on_error="raise")
            prefix = info["name"].rstrip("/") + "/"
            by_name = {name.removeprefix(prefix): each for name, each in inside.items()}
            yield from (file_of(by_name[name]) for name in below(by_name))


def _name_of(path: str, asked: str, place: Place, root: str) -> str:
    """Name a file so that it is found again by its name, which holds no secret."""
    if path == asked:
        return place.shown
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
            system, path = _sftp(_parts_of(url)), _parts_of(url).path or "/"
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
    return import_module("pyarrow.fs").GcsFileSystem(retry_time_limit=_PATIENCE)


def _sftp(address: SplitResult) -> Any:
    """Connect to a host that ssh would believe; by itself paramiko believes any."""
    paramiko = import_module("paramiko")

    class KnownHosts(paramiko.MissingHostKeyPolicy):  # type: ignore[misc, name-defined]
        """Believes the hosts in known_hosts."""

        def missing_host_key(self, _client: Any, hostname: str, key: Any) -> None:
            hosts = paramiko.HostKeys()
            for name in _KNOWN_HOSTS:
                if (path := Path(name).expanduser()).is_file():
                    hosts.load(str(path))
            if not hosts.check(hostname, key):
                raise paramiko.SSHException("its host key is not the one in known_hosts; see ssh-keyscan")

    given = {"username": address.username, "password": address.password}
    return import_module("fsspec.implementations.sftp").SFTPFileSystem(
        address.hostname,
        port=address.port or _SFTP_PORT,
        timeout=_PATIENCE.total_seconds(),
        host_key_policy=KnownHosts(),
        skip_instance_cache=True,
        **{key: unquote(value) for key, value in given.items() if value is not None},
    )


def _unreachable(place: Place, name: str, error: Exception) -> InventoryError:
    return InventoryError(
        f"{name}: cannot be reached: {place.words_of(error)}; check the address and your rights there"
    )
