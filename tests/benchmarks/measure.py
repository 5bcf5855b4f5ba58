"""One command run as a process of its own: how long, how much CPU, how much memory, what it printed."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TIMEOUT_S = 900


class CommandError(Exception):
    """The command did not end with 0; the text is the last thing it said."""


@dataclass(frozen=True, slots=True)
class Measured:
    """`cpu_s` and `peak_mb` count the processes the command started too (the peak: of the largest one)."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str


def measure(command: Sequence[str], environment: Mapping[str, str]) -> Measured:
    """Run a command to its end. Raises CommandError.

    The kernel hands a parent's peak on to the child it starts, so whoever calls this has to stay small.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        try:
            process = subprocess.Popen(command, env=dict(environment), stdout=output, stderr=errors)
        except OSError as error:
            raise CommandError(f"{command[0]}: {error.strerror}") from None
        watch = threading.Timer(_TIMEOUT_S, process.kill)
        watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            watch.cancel()
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            said = [line for line in (output.read() + errors.read()).splitlines() if re.search(r"\w", line)]
            raise CommandError(f"exit {process.returncode}: {said[-1] if said else 'said nothing'}")
        return Measured(
            wall_s=wall_s,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_mb=usage.ru_maxrss * 1024 / 1e6,
            output=output.read(),
        )
