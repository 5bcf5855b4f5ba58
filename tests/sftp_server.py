"""A real SFTP server on the loopback that serves a folder, and can let go of the line or fall silent."""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USER, PASSWORD = "factory", "s3cr3t-p4ss"
_NEVER = 2**63
_LOG = "simlift.tests.sftp"  # the server's words are kept apart from those of the client under test
logging.getLogger(_LOG).addHandler(logging.NullHandler())
logging.getLogger(_LOG).propagate = False


@dataclass
class SftpServer:
    """Serves `folder` to USER. What it does to those who read may be changed while it runs."""

    folder: Path
    listener: socket.socket
    host_keys: list[paramiko.PKey]
    keys: list[paramiko.PKey] = field(default_factory=list)  #: those that USER may come with
    drop_at: int = _NEVER  #: who asks for this byte of a file, or a later one, loses the connection
    silent_at: int = _NEVER  #: who asks for this byte of a file, or a later one, gets no answer
    most_bytes: int = _NEVER  #: given at a time
    before_read: Callable[[int], None] = lambda _at: None
    passwords: list[str] = field(default_factory=list)  #: that it was told
    connections: list[paramiko.Transport] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Its address, without a secret."""
        return f"sftp://{USER}@127.0.0.1:{self.port}"

    @property
    def secret_url(self) -> str:
        """Its address with the password."""
        return f"sftp://{USER}:{PASSWORD}@127.0.0.1:{self.port}"

    def known_as(self, *keys: paramiko.PKey) -> str:
        """Give the lines in known_hosts that say these are its keys."""
        return "".join(f"[127.0.0.1]:{self.port} {key.get_name()} {key.get_base64()}\n" for key in keys)

    def serve(self) -> None:
        """Take connections until the listener is closed."""
        with suppress(OSError):
            while not self.ended.is_set():
                self._take(self.listener.accept()[0])

    def _take(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = paramiko.Transport(connection)
        transport.set_log_channel(_LOG)
        for key in self.host_keys:
            transport.add_server_key(key)
        transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Folder, served=self)
        self.connections.append(transport)
        transport.start_server(event=threading.Event(), server=_Door(self))

    def drop(self) -> None:
        """Let go of everybody."""
        for transport in self.connections:
            transport.close()


class _Door(paramiko.ServerInterface):
    def __init__(self, served: SftpServer) -> None:
        self._served = served

    def get_allowed_auths(self, username: str) -> str:
        return "password,publickey"

    def check_auth_password(self, username: str, password: str) -> int:
        self._served.passwords.append(password)
        return _verdict((username, password) == (USER, PASSWORD))

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return _verdict(username == USER and key in self._served.keys)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)


def _verdict(good: bool) -> int:  # noqa: FBT001 - it is the question itself
    return int(paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED)


class _Folder(paramiko.SFTPServerInterface):
    """The served folder; nobody gets out of it, and like OpenSSH's a listing does not follow links."""

    def __init__(self, server: _Door, *, served: SftpServer) -> None:
        super().__init__(server)
        self._served = served

    def list_folder(self, path: str) -> list[paramiko.SFTPAttributes] | int:
        try:
            with os.scandir(self._real(path)) as entries:
                return [
                    paramiko.SFTPAttributes.from_stat(entry.stat(follow_symlinks=False), entry.name)
                    for entry in entries
                ]
        except OSError as error:
            return _code_of(error)

    def stat(self, path: str) -> paramiko.SFTPAttributes | int:
        try:
            return paramiko.SFTPAttributes.from_stat(Path(self._real(path)).stat())
        except OSError as error:
            return _code_of(error)

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle | int:
        try:
            return _File(self._served, os.open(self._real(path), os.O_RDONLY))
        except OSError as error:
            return _code_of(error)

    def _real(self, path: str) -> str:
        return f"{self._served.folder}{self.canonicalize(path)}"


class _File(paramiko.SFTPHandle):
    def __init__(self, served: SftpServer, descriptor: int) -> None:
        super().__init__(os.O_RDONLY)
        self._served, self._descriptor = served, descriptor

    def read(self, offset: int, length: int) -> bytes | int:
        served = self._served
        served.before_read(offset)
        if offset + length > served.drop_at:
            served.drop()
        if offset + length > served.silent_at:
            served.ended.wait()
        return os.pread(self._descriptor, min(length, served.most_bytes), offset) or paramiko.SFTP_EOF

    def stat(self) -> paramiko.SFTPAttributes | int:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self._descriptor))

    def close(self) -> None:
        os.close(self._descriptor)


def _code_of(error: OSError) -> int:
    code: int = paramiko.SFTPServer.convert_errno(error.errno)
    return code


@contextmanager
def sftp_server(folder: Path, *host_keys: paramiko.PKey) -> Iterator[SftpServer]:
    """Run a server for as long as the context lasts; without keys it has one of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = SftpServer(folder, listener, [*host_keys] or [paramiko.ECDSAKey.generate()])
    thread = threading.Thread(target=server.serve, name="sftp server")
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()
        server.drop()
        for transport in server.connections:
            transport.join(10)
