"""What the commands share: the application they belong to, their common options, how they print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from pipeline.errors import SimliftError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.contracts import Ledger

app = typer.Typer(
    name="simlift",
    help="Bulk import of SIM and eSIM inventories, every row accounted for on evidence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

InventoryFiles = Annotated[
    list[str],
    typer.Argument(metavar="INVENTORY", help="Files, folders, patterns or addresses; - is standard input."),
]
JobFile = Annotated[Path, typer.Option("--job", help="Job file (TOML), see config/.")]
Runs = Annotated[Path, typer.Option("--runs", help="Folder in which runs are kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print data instead of text.")]
RUNS = Path("runs")
T = TypeVar("T")


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
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def print_json(data: object) -> None:
    """Print data to standard output."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
