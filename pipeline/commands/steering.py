"""The commands that steer a run from another process: tune, hold, release, stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.commands.console import RUNS, STEER, RunId, Runs, app, print_lines
from pipeline.errors import UsageError

Because = Annotated[
    str, typer.Option("--because", metavar="WORDS", help="Why, for the event log and the report.")
]


@app.command(
    rich_help_panel=STEER,
    epilog="Example: simlift tune 20261122-031500-9f2c --requests-per-second 5 --concurrency 4",
)
def tune(
    run_id: RunId,
    requests_per_second: Annotated[
        float | None, typer.Option(metavar="N", help="At most so many in any second, instead of the job's.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", help="At most so many at once, instead of the job's.")
    ] = None,
    because: Because = "",
    runs: Runs = RUNS,
) -> None:
    """Change the limits of a run, under way or to be resumed, from now on."""
    asked = {"requests_per_second": requests_per_second, "concurrency": concurrency}
    changes = {name: value for name, value in asked.items() if value is not None}
    if not changes:
        raise UsageError("tune: nothing to change; give --requests-per-second or --concurrency")
    _ask(runs, run_id, "tune", because, changes)


@app.command(
    rich_help_panel=STEER,
    epilog='Example: simlift hold 20261122-031500-9f2c --because "the vendor called"',
)
def hold(run_id: RunId, because: Because = "", runs: Runs = RUNS) -> None:
    """Let nothing leave until `release`; what is in flight is answered and settled."""
    _ask(runs, run_id, "hold", because)


@app.command(rich_help_panel=STEER, epilog="Example: simlift release 20261122-031500-9f2c")
def release(run_id: RunId, because: Because = "", runs: Runs = RUNS) -> None:
    """Let a held run go on."""
    _ask(runs, run_id, "release", because)


@app.command(rich_help_panel=STEER, epilog="Example: simlift stop 20261122-031500-9f2c")
def stop(run_id: RunId, because: Because = "", runs: Runs = RUNS) -> None:
    """Drain a run and end its process (exit code 3); `resume` goes on from there."""
    _ask(runs, run_id, "stop", because)


def _ask(runs: Path, run_id: str, kind: str, because: str, changes: dict[str, Any] | None = None) -> None:
    from pipeline.asking import ask
    from pipeline.chronicle import EventKind
    from pipeline.runs import existing_run

    print_lines(ask(existing_run(runs, run_id), EventKind(kind), because=because, changes=changes or {}))
