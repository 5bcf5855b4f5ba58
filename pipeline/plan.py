"""How many calls an inventory takes, how long they take at the limits, and whether that fits a window."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.settings import Limits

#: What a call is taken to last, for what `concurrency` allows. The rate is exact, this is a guess.
ASSUMED_CALL_S = 1.0

_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_UNITS_S = (86_400, 3_600, 60, 1)


def seconds_of(span: str) -> int:
    """Read a time span such as 90m, 6h, 2h30m or 1d. Raises UsageError."""
    found = _SPAN.fullmatch(span.strip().lower())
    seconds = (
        sum(int(n or 0) * unit for n, unit in zip(found.groups(), _UNITS_S, strict=True)) if found else 0
    )
    if not seconds:
        raise UsageError(f"--within {span!r}: give a time span such as 90m, 6h, 2h30m or 1d")
    return seconds


def span_of(seconds: float) -> str:
    """Write a time span as seconds_of reads it, rounded up to whole seconds."""
    rest, words = math.ceil(seconds), ""
    for unit_s, unit in zip(_UNITS_S, "dhms", strict=True):
        number, rest = divmod(rest, unit_s)
        words += f"{number}{unit}" if number else ""
    return words or "0s"


@dataclass(frozen=True, slots=True)
class Plan:
    """The calls of an inventory at some limits; with `asks_later` the vendor is asked after them as well."""

    calls: int
    limits: Limits
    asks_later: bool = False
    within_s: int | None = None

    @property
    def at_rate_s(self) -> float:
        """The least time that requests_per_second allows."""
        return self.calls / self.limits.requests_per_second

    @property
    def at_concurrency_s(self) -> float:
        """The time that concurrency allows, if a call lasts as long as assumed."""
        return self.calls * ASSUMED_CALL_S / self.limits.concurrency

    @property
    def binding(self) -> str:
        """The limit that the time comes from."""
        return "concurrency" if self.at_concurrency_s > self.at_rate_s else "requests_per_second"

    @property
    def duration_s(self) -> float:
        """The time it takes: by the limit that binds."""
        return max(self.at_rate_s, self.at_concurrency_s)

    @property
    def fits(self) -> bool:
        """True when it ends within the window, or there is none."""
        return self.within_s is None or self.duration_s <= self.within_s

    def data(self) -> dict[str, Any]:
        """Give the plan as plain data."""
        window = {} if self.within_s is None else {"within_s": self.within_s, "fits": self.fits}
        return {
            "batches": self.calls,
            "calls": self.calls,
            "requests_per_second": self.limits.requests_per_second,
            "least_duration_s": round(self.at_rate_s, 3),
            "concurrency": self.limits.concurrency,
            "assumed_call_s": ASSUMED_CALL_S,
            "duration_s": round(self.duration_s, 3),
            "binding": self.binding,
            "questions_on_top": self.asks_later,
        } | window

    def text(self) -> list[str]:
        """Give the plan as lines."""
        limits = self.limits
        at_rate = f"{span_of(self.at_rate_s)} at {limits.requests_per_second:g} requests/s"
        at_concurrency = (
            f"{span_of(self.at_concurrency_s)} with {limits.concurrency} in flight"
            f" if a call takes {ASSUMED_CALL_S:g} s"
        )
        first, other = (
            (at_rate, at_concurrency) if self.binding == "requests_per_second" else (at_concurrency, at_rate)
        )
        lines = [
            f"plan: {self.calls:,} batches in as many calls: {first}",
            f"  [limits] {self.binding} binds; the other limit: {other}",
        ]
        if self.asks_later:
            lines.append("  this vendor finishes later: the questions after it come on top")
        if self.within_s is not None:
            over = f"no, by {span_of(self.duration_s - self.within_s)}"
            lines.append(f"  fits in {span_of(self.within_s)}: {'yes' if self.fits else over}")
        return lines
