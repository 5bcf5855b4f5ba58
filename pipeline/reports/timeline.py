"""How a run went: its samples as a bounded number of points, what held its pace, when a person stepped in.

Pure arithmetic on what the ledger kept; charts.py draws it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

from pipeline.chronicle import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.chronicle import Event, Sample

MOST_POINTS = 400
MOST_MARKS = 40
FEWEST_SAMPLES = 3  # fewer make no line
_NARROWEST_S = 0.9  # over less than a second the rate of a few requests says nothing
_MOST_WORDS = 200
# What counts down or up in the words of Pace.holding and WorkerPool.only_waits.
_COUNTING = re.compile(r", \d+ s left\b|, (?:asking|next question in \d+ s)$|(?<=to finish )[\d,]+ (?=rows)")


@dataclass(frozen=True, slots=True)
class Point:
    """How a stretch of time went that ends at `at`; rates are per second, `round_trip_s` None without one."""

    at: float
    rows_per_s: float
    requests_per_s: float
    pushed_back_per_s: float
    allowed_per_s: float
    round_trip_s: float | None
    concurrency: int
    in_flight: int
    open_tickets: int


@dataclass(frozen=True, slots=True)
class Held:
    """Why nothing left, and when: stretches as (from, until); seconds are as exact as the samples lie."""

    why: str
    stretches: tuple[tuple[float, float], ...]

    @property
    def seconds(self) -> float:
        """How long it was in all."""
        return sum(until - since for since, until in self.stretches)


def lives(samples: Sequence[Sample], events: Iterable[Event]) -> list[list[Sample]]:
    """Part the samples by the processes that took them: between two of them nobody was there."""
    starts = [event.at for event in events if event.kind is EventKind.STARTED]
    return [list(group) for _, group in groupby(samples, lambda sample: bisect_right(starts, sample.at))]


def points(parts: Sequence[Sequence[Sample]], most: int = MOST_POINTS) -> list[list[Point]]:
    """Give each life as points, in all at most about `most`: neighbours in time are taken together.

    Totals become rates, so nothing is lost between two points; of a peak its height is.
    """
    if not parts:
        return []
    width = max((parts[-1][-1].at - parts[0][0].at) / most, _NARROWEST_S)
    return [line for line in (_line(part, width) for part in parts) if line]


def _line(samples: Sequence[Sample], width: float) -> list[Point]:
    groups = [[samples[0]]]  # taken as the process began: it makes no point, the rates begin there
    for sample in samples[1:]:
        if len(groups) == 1 or groups[-1][-1].at - groups[-2][-1].at >= width:
            groups.append([])
        groups[-1].append(sample)
    if len(groups) > 2 and groups[-1][-1].at - groups[-2][-1].at < width / 2:  # noqa: PLR2004 - two points
        rest = groups.pop()
        groups[-1] += rest
    return [
        _point(earlier[-1], later) for earlier, later in pairwise(groups) if later[-1].at > earlier[-1].at
    ]


def _point(before: Sample, samples: Sequence[Sample]) -> Point:
    last = samples[-1]
    seconds = last.at - before.at
    trips = [sample.round_trip_s for sample in samples if sample.round_trip_s > 0]
    return Point(
        at=last.at,
        rows_per_s=max(0, last.rows - before.rows) / seconds,
        requests_per_s=max(0, last.requests - before.requests) / seconds,
        pushed_back_per_s=sum(sample.pushed_back for sample in samples) / seconds,
        allowed_per_s=samples[0].rate_per_s,
        round_trip_s=sum(trips) / len(trips) if trips else None,
        concurrency=samples[0].concurrency,
        in_flight=max(sample.in_flight for sample in samples),
        open_tickets=last.open_tickets,
    )


def holds(parts: Sequence[Sequence[Sample]]) -> list[Held]:
    """Say what held the pace, the longest first. What a sample says holds until the next one."""
    found: dict[str, list[tuple[float, float]]] = {}
    for part in parts:
        for sample, following in pairwise(part):
            if not sample.holding:
                continue
            stretches = found.setdefault(_COUNTING.sub("", sample.holding[:_MOST_WORDS]), [])
            if stretches and stretches[-1][1] == sample.at:
                stretches[-1] = (stretches[-1][0], following.at)
            else:
                stretches.append((sample.at, following.at))
    held = [Held(why, tuple(stretches)) for why, stretches in found.items()]
    return sorted(held, key=lambda one: -one.seconds)


def shaded(
    held: Iterable[Held], since: float, until: float, most: int = MOST_POINTS
) -> list[tuple[float, float]]:
    """Give when the pace was held for whatever reason, as at most about `most` stretches to draw."""
    gap = (until - since) / most
    drawn: list[tuple[float, float]] = []
    for start, end in sorted(stretch for one in held for stretch in one.stretches if stretch[1] > since):
        if drawn and start <= drawn[-1][1] + gap:
            drawn[-1] = (drawn[-1][0], max(end, drawn[-1][1]))
        else:
            drawn.append((max(start, since), end))
    return drawn


def marks(events: Sequence[Event], most: int = MOST_MARKS) -> tuple[list[tuple[int, Event]], int]:
    """Give what belongs into the pictures, each with its number in the log, and how many more there are.

    Changes, windows, guards, restarts; where there are too many, what a person asked for comes first.
    """
    drawn = {*EventKind} - {EventKind.ENDED, EventKind.NOTICE}
    first = next((event for event in events if event.kind is EventKind.STARTED), None)
    found = [
        (number, event)
        for number, event in enumerate(events, start=1)
        if event.kind in drawn and event is not first
    ]
    chosen = sorted(found, key=lambda mark: not mark[1].by)[:most]
    return sorted(chosen, key=lambda mark: mark[0]), len(found) - len(chosen)
