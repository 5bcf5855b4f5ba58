"""When a run may send and how fast, by [window]: openings and shares as intervals of real time.

Pure: moments are UTC seconds, and whoever asks brings the time. A local time is the first moment at which the
zone's clock shows it or, where the clock is put forward past it, more: so both changes of daylight saving
come out right, and nothing is sent outside.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from pipeline.hours import DAY_MIN, Hours, read_hours

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pipeline.settings import Job, Window

#: Work that takes longer than this from now on is not foreseen.
FORESEEN_S = 366 * 86_400.0

_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SOON_S, _WEEK_S = 86_400, 7 * 86_400


class Opening(NamedTuple):
    """An interval of real time in which may be sent; from `closes` on nothing leaves, to be answered in it.

    In one that is shorter than an answer may take, `closes` is not after `begins`: nothing is sent at all.
    """

    begins: float
    closes: float
    ends: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """How it stands from some moment on until `until` (inf: for ever): 0 of the rate may be used, or a share.

    `opening` is the one it lies in or, where nothing may be sent, the next one in which may be.
    """

    share: float
    until: float
    opening: Opening


class Schedule:
    """The openings and shares of a [window].

    `drain_s` before an opening ends nothing more is sent; each must be longer than that by the clock.
    """

    def __init__(self, window: Window, drain_s: float) -> None:
        self.zone = window.zone
        self.drain_s = drain_s
        self._hours = [(hours, 1.0) for hours in window.hours]
        self._days = {_WEEK.index(day) for day in window.days or _WEEK}
        self._shares = sorted((read_hours(text), share) for text, share in window.shares.items())
        whole_days = sum(hours.length_s for hours in window.hours) == 60 * DAY_MIN
        self.always = not self._hours or (whole_days and len(self._days) == len(_WEEK))
        self.even = not self._shares
        self.changes = not (self.always and self.even)  # else there is nothing to keep to
        if any(hours.length_s <= drain_s for hours in window.hours):
            raise ValueError(f"an opening is over within {drain_s:g} s, before anything could be answered")

    def at(self, moment: float) -> Stretch:
        """Say how it stands at a moment, and for how long."""
        opening = next(o for o in self.openings(moment) if o.closes > max(moment, o.begins))
        if opening.begins > moment:
            return Stretch(0.0, opening.begins, opening)
        share, until = self._share(moment)
        return Stretch(share, min(until, opening.closes), opening)

    def openings(self, moment: float) -> Iterator[Opening]:
        """Give the openings that end after a moment, in order; openings that touch are one.

        The first one may have begun before the moment; then how long before is not to be relied on.
        """
        if self.always:
            yield Opening(-math.inf, math.inf, math.inf)
            return
        begins, ends = -math.inf, -math.inf
        for next_begins, next_ends, _ in self._recurring(self._hours, self._days, moment):
            if next_begins > ends:
                if ends > moment:
                    yield Opening(begins, ends - self.drain_s, ends)
                begins = next_begins
            ends = next_ends

    def ends_at(self, start: float, work_s: float, most: float = 1.0) -> float:
        """Say when work is done that takes `work_s` seconds at the full rate and begins at `start`.

        `most` is the share of the rate that can be used at all, as far as something else binds. Gives inf
        for work of more than FORESEEN_S.
        """
        at, left_s = start, work_s
        while left_s > 0 and at + left_s < start + FORESEEN_S:  # it takes so long even at the full rate
            stretch = self.at(at)
            share = min(stretch.share, most)
            if share * (stretch.until - at) >= left_s:
                at, left_s = at + left_s / share, 0.0
            else:
                at, left_s = stretch.until, left_s - share * (stretch.until - at)
        return at if left_s <= 0 and at < start + FORESEEN_S else math.inf

    def windows(self, start: float, end: float) -> int:
        """Count the openings in which something can be sent from `start` to `end`."""
        found = 0
        for opening in self.openings(start):
            if opening.begins >= end:
                break
            found += opening.closes > max(start, opening.begins)
        return found

    def clock(self, moment: float, now: float) -> str:
        """Write a moment as the zone's clock shows it, with day or date as far as it is not soon."""
        ahead_s = moment - now
        pattern = "%H:%M" if ahead_s < _SOON_S else "%a %H:%M" if ahead_s < _WEEK_S else "%a %d %b %Y %H:%M"
        return f"{self.local(moment):{pattern}} ({self.zone})"

    def local(self, moment: float) -> datetime:
        """Give a moment as a time of the zone."""
        return datetime.fromtimestamp(moment, ZoneInfo(self.zone))

    def _share(self, moment: float) -> tuple[float, float]:
        """Give the share that holds at a moment, and until when."""
        for begins, ends, share in self._recurring(self._shares, range(len(_WEEK)), moment):
            return (share, ends) if begins <= moment else (1.0, begins)
        return 1.0, math.inf

    def _recurring(
        self, entries: Iterable[tuple[Hours, float]], days: Collection[int], moment: float
    ) -> Iterator[tuple[float, float, float]]:
        """Give begin, end and share of the entries day by day, in order, as far as they end after a moment.

        Left out are those that the clock passes over as it is put forward.
        """
        if not entries:
            return
        zone = ZoneInfo(self.zone)
        # No entry lasts longer than a day: one that is under way began on the day before, or later.
        midnight = datetime.fromtimestamp(moment, zone).replace(tzinfo=None, hour=0, minute=0, second=0)
        midnight = midnight.replace(microsecond=0) - timedelta(days=1)
        for day in (midnight + timedelta(days=number) for number in count()):
            if day.weekday() not in days:
                continue
            for hours, share in entries:
                ends = _first_moment(day + timedelta(minutes=hours.ends_min), zone)
                begins = _first_moment(day + timedelta(minutes=hours.begins_min), zone)
                if ends > max(moment, begins):
                    yield begins, ends, share


def schedule_of(job: Job) -> Schedule:
    """Give the schedule of a job: what is sent in an opening must be answered in it, or given up."""
    return Schedule(job.window, job.limits.longest_call_s)


def _first_moment(shown: datetime, zone: ZoneInfo) -> int:
    """Give the first moment at which the zone's clock shows this time or a later one."""
    first, second = (int(shown.replace(tzinfo=zone, fold=fold).timestamp()) for fold in (0, 1))
    if first <= second:
        return first
    # The clock never shows it. Taken with the offsets on both sides, it lies around the gap.
    return second + bisect_left(range(second, first), shown, key=lambda at: _shown(at, zone))


def _shown(moment: float, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(moment, UTC).astimezone(zone).replace(tzinfo=None)
