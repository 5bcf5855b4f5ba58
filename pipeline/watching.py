"""Looking on at a run that another process carries out, until it ends."""

from __future__ import annotations

import time
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING

from pipeline.errors import UsageError
from pipeline.model import State
from pipeline.progress import LINE_EVERY_S, live, panel, print_line
from pipeline.runs import existing_run, open_ledger, owner_of, run_ids

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from pipeline.contracts import Ledger
    from pipeline.standing import Standing

LOOK_EVERY_S = 1.0
SILENT_S = 15.0  # a run says how it stands every second


def run_to_watch(runs: Path) -> str:
    """Give the only run that is under way. Raises UsageError when there is none, or more than one."""
    found = [run_id for run_id in run_ids(runs) if owner_of(existing_run(runs, run_id))]
    if len(found) == 1:
        return found[0]
    which = (
        f"these are: {', '.join(found)}; name one" if found else "simlift status lists those that are there"
    )
    raise UsageError(f"no single run in {runs} is under way; {which}")


def look_on(folder: Path, console: Console) -> None:
    """Show how a run stands until no process carries it out any more. Raises LedgerError."""
    every_s = LOOK_EVERY_S if console.is_terminal else LINE_EVERY_S
    with (
        closing(open_ledger(folder, read_only=True)) as ledger,
        live(console) if console.is_terminal else nullcontext() as display,
    ):
        while standing := _standing(ledger, folder):
            if display is None:
                print_line(console, standing)
            else:
                display.update(panel(standing), refresh=True)
            if (silent_s := time.time() - standing.at) > SILENT_S:
                console.print(f"it has not said how it stands for {silent_s:.0f} s", highlight=False)
            time.sleep(every_s)


def _standing(ledger: Ledger, folder: Path) -> Standing | None:
    """Give how a run under way stands, None when it is not; a run that has only begun is waited for."""
    while owner_of(folder) and ledger.run().state is State.RUNNING:
        if standing := ledger.standing():
            return standing
        time.sleep(LOOK_EVERY_S / 5)
    return None
