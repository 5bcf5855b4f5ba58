"""What happens to a run as time goes by: its events, what a person asked of it, and samples of its pace.

Plain frozen data, kept by the ledger, for the report and for whoever watches. Times are UTC seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class EventKind(StrEnum):
    """What an event is about."""

    STARTED = "started"  # a process took the run up, for the first time or again
    ENDED = "ended"
    TUNE = "tune"  # a person asked for other limits; data: those of [limits] that change
    HOLD = "hold"  # a person, or a guard, lets nothing leave until a release
    RELEASE = "release"
    STOP = "stop"
    WINDOW = "window"  # it opened or closed, or another rate holds from now on
    GUARD = "guard"  # a guard tripped
    NOTICE = "notice"  # somebody who should have been told could not be reached


#: What a person may ask of a run that another process carries out.
WISHES = (EventKind.TUNE, EventKind.HOLD, EventKind.RELEASE, EventKind.STOP)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a run; `by` is a person's name, or empty for simlift itself.

    A wish is an event whose `taken_at` is None until the run's process acts on it. `id` is given by the
    ledger, ascending.
    """

    at: float
    kind: EventKind
    words: str
    by: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    taken_at: float | None = None
    id: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """How a run stood at one moment: totals of the run, and the pace since the sample before.

    `round_trip_s` is the mean of the successes, 0 where there were none; `pushed_back` counts the requests
    that the vendor turned away; `rate_per_s` is what was allowed, `holding` why nothing left.
    """

    at: float
    rows: int
    requests: int
    in_flight: int
    concurrency: int
    rate_per_s: float
    round_trip_s: float
    pushed_back: int
    open_tickets: int = 0
    holding: str = ""
