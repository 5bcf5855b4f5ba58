"""Processes that need not begin with half a second of imports: forked from one that has made them.

Each is a process of its own all the same, with its own pid, session, streams and end; kill -9 is kill -9.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
from importlib import import_module
from multiprocessing.connection import wait
from types import ModuleType
from typing import TYPE_CHECKING
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: The module whose main() a program is: as in [project.scripts], and as behind `python -m`.
ENTRIES = {"simlift": "pipeline.cli", "pipeline.simulator": "pipeline.simulator.__main__", "proxy": "proxy"}

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    [
        __name__, *ENTRIES.values(), "uvloop", "pipeline.attended", "pipeline.importer",
        "pipeline.ledgers.sqlite", "pipeline.sources.csv_file", "pipeline.targets.bulk_subscriber",
        "pipeline.targets.sim_express",
    ]
)  # fmt: skip
_numbers = itertools.count(1)


class WarmProcess:
    """What subprocess.Popen is to a command; its output is kept in files of `folder` until it ended."""

    stdout = stderr = None

    def __init__(self, program: str, *arguments: str, environment: Mapping[str, str], folder: Path) -> None:
        self.args = [program, *arguments]
        self._out, self._err = (folder / f".{program}-{next(_numbers)}" for _ in range(2))
        self._out.touch()
        self._err.touch()
        self._process = _server.Process(
            target=_become, args=(self.args, dict(environment), folder, self._out, self._err)
        )
        # Else it would begin with pytest's own main module.
        with mock.patch.dict(sys.modules, {"__main__": ModuleType("__main__")}):
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        wait([self._process.sentinel], timeout)
        if (code := self.returncode) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        return self.written(), self._err.read_text("utf-8", "backslashreplace")

    def written(self) -> str:
        """Give what stands on standard output by now."""
        return self._out.read_text("utf-8", "backslashreplace")

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _become(arguments: list[str], environment: dict[str, str], folder: Path, out: Path, err: Path) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, (path, flags) in enumerate(
        ((os.devnull, os.O_RDONLY), (out, os.O_WRONLY), (err, os.O_WRONLY))
    ):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, buffering, encoding="utf-8", closefd=False)
        for number, mode, buffering in ((0, "r", -1), (1, "w", -1), (2, "w", 1))
    )
    sys.argv = arguments
    sys.exit(import_module(ENTRIES[arguments[0]]).main())
