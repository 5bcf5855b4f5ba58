"""What the rounds add up to: medians with their spread, the targets beside them, a table and bench.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from measure import Measured
    from rich.console import Console

SPEEDUP_AT_LEAST = 8.0
CHECK_ROWS_PER_S_AT_LEAST = 1_000_000
MEMORY_GROWTH_AT_MOST = 1.2
MEMORY_MB_AT_MOST = 350.0


@dataclass(slots=True)
class Series:
    """One tool on one inventory, measured once per round until it fails."""

    tool: str
    rows: int
    rounds: list[Measured] = field(default_factory=list)
    failure: str = ""

    @property
    def rates_per_s(self) -> list[float]:
        return [self.rows / measured.wall_s for measured in self.rounds]

    @property
    def peak_mb(self) -> float:
        return max(measured.peak_mb for measured in self.rounds)

    def data(self) -> dict[str, Any]:
        return {
            "tool": self.tool,
            "rows": self.rows,
            "rows_per_s": self.rates_per_s,
            "wall_s": [measured.wall_s for measured in self.rounds],
            "cpu_s": [measured.cpu_s for measured in self.rounds],
            "peak_mb": [measured.peak_mb for measured in self.rounds],
            "failure": self.failure,
        }


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that is asked for. `figure` is None where it could not be measured."""

    name: str
    asked: str
    figure: float | None
    shown: str
    met: bool

    def data(self) -> dict[str, Any]:
        return {"name": self.name, "asked": self.asked, "figure": self.figure, "met": self.met}


def targets(baseline: Series, run: Series, short_run: Series, check: Series) -> list[Target]:
    """Hold the figures against what is asked; `check` is judged on the inventory it was given here."""
    speedups = [ours / theirs for ours, theirs in zip(run.rates_per_s, baseline.rates_per_s, strict=False)]
    growth = [run.peak_mb / short_run.peak_mb] if run.rounds and short_run.rounds else []
    return [
        _at_least("speed of run, in baselines", speedups, SPEEDUP_AT_LEAST, "{:.2f}x"),
        _at_least("rows/s of check", check.rates_per_s, CHECK_ROWS_PER_S_AT_LEAST, "{:,.0f}"),
        _at_most(
            f"peak of run, {run.rows:,} to {short_run.rows:,} rows", growth, MEMORY_GROWTH_AT_MOST, "{:.2f}x"
        ),
        _at_most(
            f"peak of run, {run.rows:,} rows",
            [run.peak_mb] if run.rounds else [],
            MEMORY_MB_AT_MOST,
            "{:.0f} MB",
        ),
    ]


def _at_least(name: str, figures: list[float], bound: float, form: str) -> Target:
    asked = f"at least {form.format(bound)}"
    if not figures:
        return Target(name, asked, None, "not measured", met=False)
    return Target(name, asked, median(figures), spread(figures, form), met=median(figures) >= bound)


def _at_most(name: str, figures: list[float], bound: float, form: str) -> Target:
    asked = f"at most {form.format(bound)}"
    if not figures:
        return Target(name, asked, None, "not measured", met=False)
    return Target(name, asked, median(figures), spread(figures, form), met=median(figures) <= bound)


def spread(figures: Sequence[float], form: str) -> str:
    """Show the median, and the extremes where there is more than one figure."""
    middle = form.format(median(figures))
    if len(figures) == 1:
        return middle
    return f"{middle} ({form.format(min(figures))} to {form.format(max(figures))})"


def print_figures(console: Console, series: Sequence[Series], judged: Sequence[Target]) -> None:
    table = Table("tool", title="whole processes, start-up included")
    for heading in ("rows", "rows/s", "wall s", "cpu s", "cpu us/row", "peak MB"):
        table.add_column(heading, justify="right")
    for one in series:
        if not one.rounds:
            table.add_row(one.tool, f"{one.rows:,}", "not measured")
            continue
        cpu_s = median(measured.cpu_s for measured in one.rounds)
        table.add_row(
            one.tool,
            f"{one.rows:,}",
            spread(one.rates_per_s, "{:,.0f}"),
            f"{median(measured.wall_s for measured in one.rounds):.2f}",
            f"{cpu_s:.2f}",
            f"{cpu_s / one.rows * 1e6:.2f}",
            f"{one.peak_mb:.0f}",
        )
    console.print(table)
    for one in series:
        if one.failure:
            console.print(f"{one.tool}, {one.rows:,} rows: {one.failure}", markup=False)
    table = Table("target", "asked", "measured", "", title="targets")
    for target in judged:
        word = "met" if target.met else "missed" if target.figure is not None else ""
        table.add_row(target.name, target.asked, target.shown, word)
    console.print(table)
