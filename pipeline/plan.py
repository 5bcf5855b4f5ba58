"""How many calls an inventory takes, how long they take at the limits, and when they are through.

With a [window] its openings, the time to drain before their ends and the shares of the rate are counted in.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.settings import Limits
    from pipeline.window import Schedule

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
    """The calls of an inventory at some limits; with `asks_later` the vendor is asked after them as well.

    They begin at `starts_at` (UTC seconds) and keep to a schedule, if there is one.
    """

    calls: int
    limits: Limits
    asks_later: bool = False
    within_s: int | None = None
    schedule: Schedule | None = None
    starts_at: float = 0.0

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
        """The time it takes: by the limit that binds, if it may send at the full rate all the time."""
        return max(self.at_rate_s, self.at_concurrency_s)

    @property
    def ends_at(self) -> float:
        """When it is through, in UTC seconds, the schedule counted in; inf: not to be foreseen."""
        if self.schedule is None:
            return self.starts_at + self.duration_s
        # A share slows the rate alone: as many calls as before may be open.
        most = self.at_rate_s / self.duration_s if self.calls else 1.0
        return self.schedule.ends_at(self.starts_at, self.at_rate_s, most)

    @property
    def fits(self) -> bool:
        """True when it ends within the time there is, or that does not matter."""
        return self.within_s is None or self.ends_at - self.starts_at <= self.within_s

    def data(self) -> dict[str, Any]:
        """Give the plan as plain data."""
        time_there_is = {} if self.within_s is None else {"within_s": self.within_s, "fits": self.fits}
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
            **time_there_is,
            **self._end(),
        }

    def _end(self) -> dict[str, Any]:
        """Give begin and end as local times with their offset; None: no end can be foreseen."""
        if self.schedule is None:
            return {}
        ends_at, local = self.ends_at, self.schedule.local
        foreseen = not math.isinf(ends_at)
        return {
            "starts_at": local(self.starts_at).isoformat(timespec="seconds"),
            "ends_at": local(ends_at).isoformat(timespec="seconds") if foreseen else None,
            "takes_s": round(ends_at - self.starts_at, 3) if foreseen else None,
            "windows": self.schedule.windows(self.starts_at, ends_at) if foreseen else None,
        }

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
        if self.schedule is not None:
            lines.append(self._through(self.schedule))
        if self.within_s is not None:
            over_s = self.ends_at - self.starts_at - self.within_s
            over = "no" if math.isinf(over_s) else f"no, by {span_of(over_s)}"
            lines.append(f"  fits in {span_of(self.within_s)}: {'yes' if self.fits else over}")
        return lines

    def _through(self, schedule: Schedule) -> str:
        """Say when it is through, to the minute and rounded up."""
        if math.isinf(self.ends_at):
            return "  begun now it is not through within a year"
        end = schedule.clock(math.ceil(self.ends_at / 60) * 60, self.starts_at)
        number = schedule.windows(self.starts_at, self.ends_at)
        return f"  begun now it ends {end}" + ("" if schedule.always else f", in window {number} from now")
