"""What the commands share: the application they belong to, their common options, how they print."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from pipeline.errors import SimliftError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.contracts import Ledger

PREPARE = "Before a run"
IMPORT = "Import"
LOOK = "Look"
STEER = "Steer a run, from another shell"
TRY = "Try it out"
_PANELS = [PREPARE, IMPORT, LOOK, STEER, TRY]

#: Where there is less room (columns), the boxes around help would cut the names of options short.
ROOM_FOR_BOXES = 70
RUNS = Path("runs")
T = TypeVar("T")


class _Commands(TyperGroup):
    """The commands in the order of their panels."""

    def list_commands(self, ctx: Any) -> list[str]:
        """List the names."""
        return sorted(super().list_commands(ctx), key=lambda name: _PANELS.index(self._panel_of(ctx, name)))

    def _panel_of(self, ctx: Any, name: str) -> str:
        panel: str = getattr(self.get_command(ctx, name), "rich_help_panel", "")
        return panel


app = typer.Typer(
    name="simlift",
    cls=_Commands,
    help="Bulk import of SIM and eSIM inventories, every row accounted for on evidence.",
    epilog="Begin with: simlift demo. How a night is run: docs/operators-guide.md; every key of a job: "
    "docs/job-file.md.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if get_terminal_size().columns >= ROOM_FOR_BOXES else None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if asked:
        from importlib.metadata import version

        print_lines([f"simlift {version('simlift')}"])
        raise typer.Exit


@app.callback()
def simlift(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback ends the program
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Show the help where no command is named, as wrong usage: a script must not take it for a success."""
    if context.invoked_subcommand is None:
        print_lines([context.get_help()])  # with boxes it prints itself and gives nothing
        raise typer.Exit(2)


def _runs_there(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a run id by the folders that are there; no import, for a TAB must be answered at once."""
    with suppress(OSError):
        runs = Path(context.params.get("runs") or RUNS)
        names = (path.name for path in runs.iterdir() if path.is_dir())
        return sorted(name for name in names if name.startswith(incomplete))
    return []


InventoryFiles = Annotated[
    list[str],
    typer.Argument(metavar="INVENTORY", help="Files, folders, patterns or addresses; - is standard input."),
]
JobFile = Annotated[
    Path, typer.Option("--job", metavar="FILE", help="Job file (TOML): what to send where, and how fast.")
]
RunId = Annotated[
    str, typer.Argument(metavar="RUN_ID", help="The run, by its id.", autocompletion=_runs_there)
]
RunIdOrAll = Annotated[
    str | None,
    typer.Argument(metavar="RUN_ID", help="One run; without it, all.", autocompletion=_runs_there),
]
Runs = Annotated[Path, typer.Option("--runs", metavar="FOLDER", help="Where runs are kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print data instead of text.")]


def of_each(names: list[str], runs: Path, read: Callable[[Ledger], T]) -> list[T]:
    """Read something of each run; where there are several, a damaged one does not hide the others."""
    from pipeline.runs import existing_run, open_ledger

    found = []
    for name in names:
        try:
            ledger = open_ledger(existing_run(runs, name), read_only=True)
            try:
                found.append(read(ledger))
            finally:
                ledger.close()
        except SimliftError as error:
            if len(names) == 1:
                raise
            sys.stderr.write(f"simlift: {error}\n")
    return found


def print_lines(lines: list[str]) -> None:
    """Print text to standard output."""
    _print("".join(f"{line}\n" for line in lines))


def print_json(data: object) -> None:
    """Print data to standard output."""
    _print(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has gone, as `head` does. Python would complain once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
