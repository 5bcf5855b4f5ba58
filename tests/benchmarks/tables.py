"""The figures as tables: on the terminal, in Markdown, and as bench.json."""

from __future__ import annotations

import json
import os
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from figures import Target
    from rich.console import Console

REPORT = Path(__file__).parents[2] / "bench.json"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table: its headings, and its lines of as many cells. The first column is text, the others numbers.

    `notes` are said below it, each with what it is about.
    """

    title: str
    headings: tuple[str, ...]
    lines: Sequence[Sequence[str]]
    notes: Sequence[tuple[str, str]] = ()

    def print(self, console: Console) -> None:
        table = Table(self.headings[0], title=self.title, title_justify="left")
        for heading in self.headings[1:]:
            table.add_column(heading, justify="right")
        for line in self.lines:
            table.add_row(*line)
        console.print(table)
        for about, words in self.notes:
            console.print(f"  {about}: {words}", markup=False, highlight=False)
        console.print()

    def markdown(self) -> str:
        ruler = ["---", *("---:" for _ in self.headings[1:])]
        lines = [f"| {' | '.join(cells)} |" for cells in (self.headings, ruler, *self.lines)]
        notes = [f"- {about}: {words}" for about, words in self.notes]
        return "\n".join([f"**{self.title}**", "", *lines, "", *notes, ""])


def of_targets(targets: Sequence[Target]) -> Sheet:
    lines = [(target.name, target.asked, target.shown, target.verdict) for target in targets]
    return Sheet("targets", ("target", "asked", "measured", ""), lines)


def machine() -> dict[str, Any]:
    """Say what the figures were measured on."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    return {
        "date": f"{datetime.now(tz=UTC):%Y-%m-%d %H:%M} UTC",
        "cores": len(os.sched_getaffinity(0)),
        "cpu": cpu[1] if cpu else platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def keep(part: str, figures: dict[str, Any]) -> None:
    """Write one part of bench.json anew, and leave the others as they were measured."""
    try:
        kept = json.loads(REPORT.read_bytes())
    except (OSError, ValueError):
        kept = {}
    parts = {name: kept[name] for name in ("contestants", "worst", "growth", "profile") if name in kept}
    REPORT.write_text(json.dumps({**parts, part: {**machine(), **figures}}, indent=2) + "\n", "utf-8")


def show(console: Console, sheets: Sequence[Sheet]) -> None:
    """Print the tables, and again in Markdown."""
    for sheet in sheets:
        sheet.print(console)
    console.print("In Markdown:\n", markup=False)
    for sheet in sheets:
        console.print(sheet.markdown(), markup=False, highlight=False, soft_wrap=True)
