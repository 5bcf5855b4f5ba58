"""The program under test: the command line as a process of its own, in a folder of its own."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vendors import CREDENTIALS
from waiting import DEADLINE_S
from warm import WarmProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LOOK_S = 0.01
SIMLIFT = str(Path(sys.executable).with_name("simlift"))


@dataclass(frozen=True)
class Ended:
    """How a process ended: `code` is negative after a signal that it did not handle."""

    code: int
    out: str
    err: str


class Process:
    """A command under way, in a process group of its own, so that a signal meets nobody else."""

    def __init__(self, popen: subprocess.Popen[str] | WarmProcess) -> None:
        self._popen = popen
        self.pid = popen.pid

    @property
    def running(self) -> bool:
        """False once it has ended."""
        return self._popen.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._popen.send_signal(number)

    def first_line(self) -> str:
        """Wait for the first line on standard output of a cold start and give it."""
        assert self._popen.stdout is not None
        return self._popen.stdout.readline()

    def wait(self, seconds: float) -> int:
        """Wait for the end for so long. Raises subprocess.TimeoutExpired."""
        return self._popen.wait(seconds)

    def end(self) -> Ended:
        """Wait for the end and give it."""
        out, err = self._popen.communicate(timeout=DEADLINE_S)
        return Ended(self._popen.returncode, out, err or "")

    def end_measured(self) -> tuple[Ended, int]:
        """Wait for the end of a cold start; give it with the most memory the process held, in bytes.

        As /proc tells it: what wait4 says is at least as much as the tests themselves hold.
        """
        peak_kb = 0
        status = Path(f"/proc/{self.pid}/status")
        while self._popen.poll() is None:
            with suppress(OSError):
                found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text("ascii", "replace"), re.MULTILINE)
                peak_kb = max(peak_kb, int(found[1]) if found else 0)
            time.sleep(_LOOK_S)
        return self.end(), peak_kb * 1024

    def kill_after(self, seconds: float) -> bool:
        """Let it run for so long, then kill it; False when it had ended by itself."""
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.communicate(timeout=DEADLINE_S)
            return True
        self._popen.communicate(timeout=DEADLINE_S)
        return False

    def kill(self) -> None:
        """kill -9."""
        self._popen.kill()
        self._popen.communicate(timeout=DEADLINE_S)


class Program:
    """Runs the command line in `folder`; runs are kept in `folder`/runs.

    `warm`: forked after the imports. Cold, the installed command is started as a user starts it.
    """

    def __init__(self, folder: Path, *, warm: bool = True) -> None:
        self.folder = folder
        self.warm = warm
        self.runs = folder / "runs"
        self.environment: dict[str, str] = {**os.environ, **CREDENTIALS, "NO_COLOR": "1", "COLUMNS": "200"}
        self._processes: list[subprocess.Popen[str] | WarmProcess] = []

    def __call__(self, *arguments: str | Path, **options: Any) -> Ended:
        """Run a command to its end."""
        return self.start(*arguments, **options).end()

    def together(self, *commands: tuple[str | Path, ...]) -> list[Ended]:
        """Run commands side by side, which do not depend on one another."""
        return [process.end() for process in [self.start(*command) for command in commands]]

    def start(
        self,
        *arguments: str | Path,
        warm: bool | None = None,
        environment: Mapping[str, str] | None = None,
        **cold: Any,
    ) -> Process:
        """Start a command, warm or cold; `cold` are options that only a cold start has."""
        words = [*map(str, arguments)]
        environment = {**self.environment, **(environment or {})}
        popen: subprocess.Popen[str] | WarmProcess
        if (self.warm if warm is None else warm) and not cold:
            popen = WarmProcess("simlift", *words, environment=environment, folder=self.folder)
        else:
            popen = self._cold(words, environment, **cold)
        self._processes.append(popen)
        return Process(popen)

    def _cold(
        self,
        words: list[str],
        environment: Mapping[str, str],
        *,
        command: tuple[str, ...] = (SIMLIFT,),
        before: Callable[[], None] | None = None,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start the command anew; `before` is called in the new process before the program begins."""
        return subprocess.Popen(
            [*command, *words],
            cwd=self.folder,
            env=environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,
            preexec_fn=before,  # noqa: PLW1509 - the tests start no threads of their own
        )

    def close(self) -> None:
        """Leave no process behind."""
        for popen in self._processes:
            if popen.poll() is None:
                popen.kill()
            for pipe in (popen.stdout, popen.stderr):
                if pipe is not None:
                    pipe.close()
            popen.wait(DEADLINE_S)

    # ------------------------------------------------------------ what a run leaves

    def summary(self, run_id: str) -> dict[str, Any]:
        """Read summary.json."""
        summary: dict[str, Any] = json.loads((self.runs / run_id / "summary.json").read_text("utf-8"))
        return summary

    def outcomes(self, run_id: str) -> list[dict[str, str]]:
        """Read outcomes.csv."""
        with (self.runs / run_id / "outcomes.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def failures(self, run_id: str) -> list[dict[str, str]]:
        """Read failures.csv."""
        with (self.runs / run_id / "failures.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def log(self, run_id: str) -> list[dict[str, Any]]:
        """Read log.jsonl."""
        lines = (self.runs / run_id / "log.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    # ------------------------------------------------------------ what a run needs

    def job(
        self, url: str, *, name: str = "job.toml", target: str = "", rest: str = "", **limits: Any
    ) -> Path:
        """Write a job file: quick limits unless told otherwise, `rest` as further tables."""
        references = {
            "access_code": "env:SIM_EXPRESS_ACCESS_CODE",
            "secret_code": "env:SIM_EXPRESS_SECRET_CODE",
        }
        head = _head("sim-express", url, references)
        return self._written(name, f"{head}{target}\n{_quick(limits)}{rest}\n")

    def fleet_job(
        self, url: str, *, name: str = "job.toml", token: str = "", target: str = "", **limits: Any
    ) -> Path:
        """Write a job file for bulk-subscriber: quick limits and questions; `token` is a reference to one."""
        references = {
            "username": "env:BULK_SUBSCRIBER_USERNAME",
            "password": "env:BULK_SUBSCRIBER_PASSWORD",
        }
        asking = {"first_poll_s": 0.05, "longest_poll_s": 0.2, "give_up_s": 30.0}
        asking |= {key: limits.pop(key) for key in list(limits) if key in asking}
        head = _head("bulk-subscriber", url, {"token": token} if token else references)
        return self._written(name, f"{head}{target}\n{_quick(limits)}[completion]\n{_lines(asking)}")

    def _written(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, "utf-8")
        return path


def _head(kind: str, url: str, references: Mapping[str, str]) -> str:
    secrets = "".join(f'{key} = "{reference}"\n' for key, reference in references.items())
    return f'[target]\nkind = "{kind}"\nbase_url = "{url}"\n{secrets}'


def _quick(limits: Mapping[str, Any]) -> str:
    """Write [limits] and [retry]; `limits` are keys of either."""
    limits = {"requests_per_second": 1000.0, "concurrency": 4, "batch_items": 20} | dict(limits)
    retry = {"attempts": 4, "first_wait_s": 0.01, "longest_wait_s": 0.05, "settle_s": 0.02}
    retry |= {key: limits.pop(key) for key in list(limits) if key in retry}
    return f"[limits]\n{_lines(limits)}[retry]\n{_lines(retry)}"


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {value}\n" for key, value in table.items())
