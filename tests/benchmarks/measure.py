"""One command run as a process of its own: how long, how much CPU, how much memory, what it printed."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

TIMEOUT_S = 3_600
_LOOK_EVERY_S = 0.05
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class CommandError(Exception):
    """The command did not end as it should; the text is the last thing it said."""


@dataclass(frozen=True, slots=True)
class Measured:
    """`cpu_s` and `peak_mb` count the command and every process it started.

    `cpu_s` is user and system time. `peak_mb` is resident memory: of all processes together, looked at 20
    times a second, or of the largest alone as the kernel has it, whichever is more.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str


def measure(
    command: Sequence[str], environment: Mapping[str, str], *, ends_with: Collection[int] = (0,)
) -> Measured:
    """Run a command to its end. Raises CommandError, also when its exit code is not among `ends_with`.

    The kernel hands a parent's peak on to the child it starts, so whoever calls this has to stay small.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        try:
            process = subprocess.Popen(command, env=_as_installed(environment), stdout=output, stderr=errors)
        except OSError as error:
            raise CommandError(f"{command[0]}: {error.strerror}") from None
        watch = _Watch(process)
        watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            watch.stop()
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode not in ends_with:
            said = [line for line in (output.read() + errors.read()).splitlines() if re.search(r"\w", line)]
            raise CommandError(f"exit {process.returncode}: {said[-1] if said else 'said nothing'}")
        return Measured(
            wall_s=wall_s,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_mb=max(usage.ru_maxrss * 1024, watch.peak_bytes) / 1e6,
            output=output.read(),
        )


def _as_installed(environment: Mapping[str, str]) -> dict[str, str]:
    """Let Python keep what it compiles, as an installed program's modules are compiled: all of them alike."""
    return {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}


class _Watch(threading.Thread):
    """Looks at the memory of a process and its descendants, and ends a process that takes too long."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._ended = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not self._ended.wait(_LOOK_EVERY_S):
            self.peak_bytes = max(self.peak_bytes, _resident_bytes(self._process.pid))
            if time.monotonic() > deadline:
                self._process.kill()

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _resident_bytes(pid: int) -> int:
    """Add up the resident memory of a process and of those it started; what has just ended counts nothing."""
    total, waiting = 0, [pid]
    while waiting:
        folder = Path(f"/proc/{waiting.pop()}")
        with suppress(OSError, IndexError, ValueError):
            total += int(folder.joinpath("statm").read_text().split()[1]) * _PAGE_BYTES
            for task in folder.joinpath("task").iterdir():
                waiting += map(int, task.joinpath("children").read_text().split())
    return total
