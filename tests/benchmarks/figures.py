"""What the rounds add up to: medians with their spread, and the figures that are asked for beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from measure import Measured

MILLION = 1_000_000


@dataclass(slots=True)
class Series:
    """One tool on one inventory, measured once per round until it fails. `rows` is of each round."""

    tool: str
    note: str = ""
    rounds: list[Measured] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    failure: str = ""
    left_out: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    def add(self, measured: Measured, rows: int) -> None:
        self.rounds.append(measured)
        self.rows.append(rows)

    @property
    def rates_per_s(self) -> list[float]:
        return [rows / one.wall_s for rows, one in zip(self.rows, self.rounds, strict=True)]

    @property
    def cpu_s_per_million(self) -> list[float]:
        return [MILLION * one.cpu_s / rows for rows, one in zip(self.rows, self.rounds, strict=True)]

    @property
    def peaks_mb(self) -> list[float]:
        return [one.peak_mb for one in self.rounds]

    def times_as_fast_as(self, other: Series) -> list[float]:
        """Compare round by round: a slow minute of the machine hits both."""
        return [ours / theirs for ours, theirs in zip(self.rates_per_s, other.rates_per_s, strict=False)]

    def data(self) -> dict[str, Any]:
        return {
            "tool": self.tool,
            "note": self.note,
            "rows": self.rows,
            "rows_per_s": self.rates_per_s,
            "wall_s": [one.wall_s for one in self.rounds],
            "cpu_s": [one.cpu_s for one in self.rounds],
            "cpu_s_per_million": self.cpu_s_per_million,
            "peak_mb": self.peaks_mb,
            "failure": self.failure,
            "left_out": self.left_out,
            **self.more,
        }


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that is asked for. `figure` is None where it could not be measured."""

    name: str
    asked: str
    figure: float | None
    shown: str
    met: bool

    @property
    def verdict(self) -> str:
        return "met" if self.met else "missed" if self.figure is not None else ""

    def data(self) -> dict[str, Any]:
        return {"name": self.name, "asked": self.asked, "figure": self.figure, "met": self.met}


def at_least(name: str, figures: Sequence[float], bound: float, form: str) -> Target:
    return _target(name, figures, f"at least {form.format(bound)}", form, lambda figure: figure >= bound)


def at_most(name: str, figures: Sequence[float], bound: float, form: str) -> Target:
    return _target(name, figures, f"at most {form.format(bound)}", form, lambda figure: figure <= bound)


def _target(name: str, figures: Sequence[float], asked: str, form: str, meets: Any) -> Target:
    if not figures:
        return Target(name, asked, None, "not measured", met=False)
    return Target(name, asked, median(figures), spread(figures, form), met=bool(meets(median(figures))))


def spread(figures: Sequence[float], form: str) -> str:
    """Show the median, and the extremes where there is more than one figure."""
    middle = form.format(median(figures))
    if len(figures) == 1:
        return middle
    return f"{middle} ({form.format(min(figures))} to {form.format(max(figures))})"
