"""Hours of the day as people write them, "22:00-06:00", and the time zone in which they are meant."""

from __future__ import annotations

import difflib
import re
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

if TYPE_CHECKING:
    from collections.abc import Iterable

DAY_MIN = 24 * 60

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)", re.ASCII)


class Hours(NamedTuple):
    """From one time of the day to another, in minutes after midnight; past DAY_MIN it is the next day."""

    begins_min: int
    ends_min: int

    def __str__(self) -> str:
        end_min = self.ends_min if self.ends_min == DAY_MIN else self.ends_min % DAY_MIN
        return "-".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (self.begins_min, end_min))

    @property
    def length_s(self) -> int:
        """How long they last by the clock."""
        return (self.ends_min - self.begins_min) * 60


def read_hours(text: str) -> Hours:
    """Read "HH:MM-HH:MM"; an end that is not after the begin is one of the next day. Raises ValueError."""
    found = _HOURS.fullmatch(text)
    if found is None:
        raise ValueError(f'{text!r}: hours are written "22:00-06:00", from 00:00 to 24:00')
    begin_h, begin_m, end_h, end_m = (int(part) if part else None for part in found.groups())
    begins_min = 60 * (begin_h or 0) + (begin_m or 0)
    ends_min = DAY_MIN if end_h is None else 60 * end_h + (end_m or 0)
    if begins_min == ends_min:
        raise ValueError(f'{text} lasts no time; for the whole day write "00:00-24:00"')
    return Hours(begins_min, ends_min if ends_min > begins_min else ends_min + DAY_MIN)


def require_apart(hours: Iterable[Hours]) -> None:
    """Raise ValueError where some hours overlap, as if they began on every day; they may touch."""
    ordered = sorted(hours)
    if not ordered:
        return
    first = ordered[0]
    again = Hours(first.begins_min + DAY_MIN, first.ends_min + DAY_MIN)
    for earlier, later in pairwise([*ordered, again]):
        if earlier.ends_min > later.begins_min:
            shown = first if later is again else later
            raise ValueError(f"{earlier} and {shown} overlap; let one end where the other begins")


def require_zone(name: str) -> str:
    """Give the name back if there is such a time zone. Raises ValueError."""
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        near = difflib.get_close_matches(name, available_timezones(), n=1)
        hint = f"did you mean {near[0]}?" if near else "give one such as Europe/Berlin"
        raise ValueError(f"no time zone is called {name!r}; {hint}") from None
    return name
