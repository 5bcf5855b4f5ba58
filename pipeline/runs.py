"""The folder of runs: ids, places, and the ledgers that lie there."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.errors import UsageError
from pipeline.plugins import installed
from pipeline.settings import nearest

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.contracts import Ledger

LEDGER_FILE = "ledger.sqlite"
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def new_run_id() -> str:
    """Make a run id that sorts by time."""
    return f"{datetime.now(tz=UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def run_folder(runs: Path, run_id: str) -> Path:
    """Give the folder of a run. Raises UsageError for an id that is no plain name."""
    if not _RUN_ID.fullmatch(run_id):
        raise UsageError(
            f"run id {run_id!r}: use at most 100 letters, digits, dots, dashes and underscores, "
            "a letter or digit first"
        )
    return runs / run_id


def has_ledger(folder: Path) -> bool:
    """Tell whether a run has begun in this folder."""
    return (folder / LEDGER_FILE).exists()


def run_ids(runs: Path) -> list[str]:
    """List the runs in a folder, oldest id first."""
    return sorted(path.parent.name for path in runs.glob(f"*/{LEDGER_FILE}"))


def existing_run(runs: Path, run_id: str) -> Path:
    """Give the folder of a run that is there. Raises UsageError naming the nearest one that is."""
    folder = run_folder(runs, run_id)
    if not has_ledger(folder):
        known = run_ids(runs)
        hint = nearest(run_id, known) if known else "there are none yet"
        raise UsageError(f"no run {run_id!r} in {runs}; {hint}")
    return folder


def open_ledger(folder: Path, *, read_only: bool = False) -> Ledger:
    """Open the ledger of an existing run. Raises UsageError when there is none or another process owns it."""
    ledger: Ledger = installed("ledgers", "sqlite").open(folder, read_only=read_only)
    return ledger
