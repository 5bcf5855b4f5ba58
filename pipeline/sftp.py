"""sftp:// as ssh would do it: the hosts it believes, the keys it comes with, the names in its configuration.

Imported only where paramiko is wanted. No password is asked for; nothing waits for ever.
"""

from __future__ import annotations

import getpass
import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import paramiko  # type: ignore[import-untyped]
from fsspec.implementations.sftp import SFTPFileSystem  # type: ignore[import-untyped]
from paramiko.sftp import CMD_DATA, CMD_READ, int64  # type: ignore[import-untyped]

from pipeline.files import words_of

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
_CONFIG = "~/.ssh/config"
_KINDS = {  # of host keys, and how each may sign
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"),
}
_PORT = 22
_PIECE_BYTES = 32_768  # what any server gives at a time
_KEEP_ALIVE_S = 30  # a paused import must not lose its connection

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else it writes to standard error


def connect(address: SplitResult, patience_s: float) -> SftpFiles:
    """Log in. Nobody is waited for longer than `patience_s` seconds at a time. Raises OSError and others."""
    configured = _configured(address.hostname or "")
    host, port = configured["hostname"], address.port or int(configured.get("port", _PORT))
    user = unquote(address.username or "") or configured.get("user") or getpass.getuser()
    known = _known_keys(host if port == _PORT else f"[{host}]:{port}")
    kinds = {kind for kind, _ in known} or _KINDS
    try:
        return SftpFiles(
            host,
            port=port,
            username=user,
            password=None if address.password is None else unquote(address.password),
            key_filename=[name for name in configured.get("identityfile", ()) if Path(name).is_file()],
            timeout=patience_s,
            host_key_policy=_KnownHosts(known),
            # The server is to show the key that is known here, not the kind that paramiko likes best.
            disabled_algorithms={
                "keys": [way for kind in _KINDS if kind not in kinds for way in _KINDS[kind]]
            },
            skip_instance_cache=True,
        )
    except paramiko.SSHException as error:
        raise ConnectionError(f"as {user}@{host}: {words_of(error)}") from None


def _configured(host: str) -> Any:
    """Read what ssh's configuration says of a host."""
    path = Path(_CONFIG).expanduser()
    config = paramiko.SSHConfig.from_path(path) if path.is_file() else paramiko.SSHConfig()
    return config.lookup(host)


def _known_keys(host: str) -> set[tuple[str, str]]:
    """Give the kinds and keys that known_hosts has for a host; there may be several of one kind."""
    found = set()
    for name in _KNOWN_HOSTS:
        with suppress(FileNotFoundError):
            for line in Path(name).expanduser().read_text("utf-8", "replace").splitlines():
                hosts, kind, key, *_ = (*line.split(), "", "", "")
                if any(host == each or _is_hash_of(host, each) for each in hosts.split(",")):
                    found.add((kind, key))
    return found


def _is_hash_of(host: str, each: str) -> bool:
    return each.startswith("|1|") and paramiko.HostKeys.hash_host(host, each) == each


class _KnownHosts(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Believes a host that is known; by itself paramiko believes any."""

    def __init__(self, known: set[tuple[str, str]]) -> None:
        self._known = known

    def missing_host_key(self, _client: Any, _hostname: str, key: Any) -> None:
        """Raise SSHException for a stranger, before any login."""
        if (key.get_name(), key.get_base64()) not in self._known:
            how = "not the one" if self._known else "not"
            raise paramiko.SSHException(f"its host key is {how} in known_hosts (see ssh-keyscan)")


class SftpFiles(SFTPFileSystem):  # type: ignore[misc]
    """A host's files. A link to a file is that file; a link to a folder is none, it could lead back."""

    def _connect(self) -> None:
        super()._connect()
        self.client.get_transport().set_keepalive(_KEEP_ALIVE_S)
        self.ftp.get_channel().settimeout(self.ssh_kwargs["timeout"])

    def ls(self, path: str, detail: bool = False, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002 - fsspec's
        """List a folder."""
        infos = [self._followed(info) for info in super().ls(path, detail=True)]
        return infos if detail else sorted(info["name"] for info in infos)

    def _followed(self, info: dict[str, Any]) -> dict[str, Any]:
        if info["type"] == "link":
            with suppress(FileNotFoundError):
                target = self.info(info["name"])
                return target if target["type"] == "file" else info
        return info

    def _open(self, path: str, *_: Any, **__: Any) -> _ManyAtOnce:
        return _ManyAtOnce(self.ftp.open(path), self.client)


class _ManyAtOnce:
    """A file of paramiko's, which would ask for a little and wait, again and again: here it asks at once.

    Its own prefetching would too, but takes an answer that comes quickly for the last, and keeps the others.
    """

    def __init__(self, file: Any, client: Any) -> None:
        self._file, self._client, self._line = file, client, file.sftp
        self._size = file.stat().st_size
        self._asked: dict[int, tuple[int, int]] = {}  # from where to where, by the number of the question
        self._pieces: dict[int, bytes] = {}
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int) -> bytes:
        """Give the next bytes, `size` or up to the end."""
        at = self._file.tell()
        end = min(at + size, self._size)
        self._asked, self._pieces = {}, {}
        try:
            for start in range(at, end, _PIECE_BYTES):
                self._ask(start, min(start + _PIECE_BYTES, end))
            while self._asked:
                self._line._read_response()  # noqa: SLF001 - gives answers to those who asked
        except EOFError:  # it is shorter than it was
            self._asked = {}
            return b""
        except BaseException:
            # Half an answer may be on its way: nothing that comes after it could be understood.
            self._client.close()
            raise
        self._file.seek(end)
        return b"".join(self._pieces[start] for start in sorted(self._pieces))

    def _ask(self, start: int, end: int) -> None:
        question = CMD_READ, self._file.handle, int64(start), end - start
        self._asked[self._line._async_request(self, *question)] = start, end  # noqa: SLF001

    def _async_response(self, kind: int, answer: Any, number: int) -> None:
        """Take an answer, as paramiko calls it; what was asked before an end is of no use any more."""
        if (asked := self._asked.pop(number, None)) is None:
            return
        if kind != CMD_DATA:
            self._line._convert_status(answer)  # noqa: SLF001 - raises what the server says
        start, end = asked
        self._pieces[start] = piece = answer.get_string()
        if start + len(piece) < end:
            self._ask(start + len(piece), end)
