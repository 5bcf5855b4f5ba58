"""An environment for each peer, made on first use from its pinned requirements.txt and kept in `.envs/`."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENTS = HERE / ".envs"
_TIMEOUT_S = 900


class LeftOutError(Exception):
    """A peer cannot be had on this machine; the text says why."""


def python_of(requirements: Path) -> Path:
    """Give the interpreter of the environment with these packages. Raises LeftOutError."""
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    folder = ENVIRONMENTS / requirements.parent.name
    ready, python = folder / "ready", folder / "bin" / "python"
    if ready.exists() and ready.read_text("utf-8") == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    ENVIRONMENTS.mkdir(exist_ok=True)
    ENVIRONMENTS.joinpath(".gitignore").write_text("*\n", "utf-8")  # as venv itself does from 3.13 on
    _run([sys.executable, "-m", "venv", str(folder)])
    _run(
        [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            str(requirements),
        ]
    )
    ready.write_text(wanted, "utf-8")
    return python


def program(name: str, how: str) -> str:
    """Find a program that no package of Python's gives. Raises LeftOutError, saying how it is had."""
    found = shutil.which(name)
    if found is None:
        raise LeftOutError(f"{name} is not installed ({how})")
    return found


def _run(command: list[str]) -> None:
    try:
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LeftOutError(f"{' '.join(command[:4])}: {error}") from None
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip().splitlines() or ["said nothing"]
        errors = [line for line in said if "error" in line.lower()]
        raise LeftOutError((errors or said)[-1].strip())
