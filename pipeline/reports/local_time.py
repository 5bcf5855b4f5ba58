"""Moments as the operator's clock on the wall showed them, with how far that was from UTC."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Mapping


_MINUTE_S = 60
_DAY_S = 86_400


class LocalTime:
    """Tells UTC seconds in the zone of the job's [window]; in UTC where it names none that is known here."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        window = job.get("window")
        name = str(window.get("zone", "UTC")) if isinstance(window, dict) else "UTC"
        self.name = "UTC"
        self._zone: tzinfo = UTC
        if name != "UTC":
            try:
                self._zone, self.name = ZoneInfo(name), name
            except (OSError, ValueError, LookupError):  # a ledger from a machine that knows more zones
                return

    def moment(self, at: float) -> str:
        """Give 2026-01-31 22:00:00 +01:00."""
        words = datetime.fromtimestamp(at, self._zone).isoformat(" ", "seconds")
        return f"{words[:19]} {words[19:]}"

    def on_axis(self, at: float, step_s: float) -> str:
        """Give as much of the time as tells moments apart that lie `step_s` seconds from each other."""
        form = "%H:%M:%S" if step_s < _MINUTE_S else "%H:%M" if step_s < _DAY_S else "%d %b"
        return datetime.fromtimestamp(at, self._zone).strftime(form)

    def offset_s(self, at: float) -> float:
        """Give how far the zone's clocks were ahead of UTC."""
        ahead = datetime.fromtimestamp(at, self._zone).utcoffset()
        return ahead.total_seconds() if ahead else 0.0
