"""How a run stands for whoever watches it: where it is now, and what the last minutes say of its pace.

Read by the run's own display and, from the ledger, by other processes.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.model import Snapshot, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SHOWN_OVER_S = 30.0  # what is called the rate now
JUDGED_OVER_S = 180.0  # what the time left is judged by
AT_THE_LIMIT = 0.9  # of the allowed rate
_APART_S = 0.2
_NEVER_SENT = (Status.REJECTED, Status.DUPLICATE)


@dataclass(frozen=True, slots=True)
class Standing:
    """A snapshot at a moment (UTC seconds) with what follows from the ones before it.

    `eta_s` is None where nothing can be said. With `snapshot.paused` it counts from the release on.
    """

    at: float
    snapshot: Snapshot
    rows_per_s: float = 0.0
    requests_per_s: float = 0.0
    eta_s: float | None = None

    @property
    def bound_by(self) -> str:
        """Say in words what holds the pace, when nothing is held altogether."""
        now = self.snapshot
        if now.holding:
            return now.holding
        at_the_rate = self.requests_per_s >= AT_THE_LIMIT * now.rate_per_s or now.queued > now.in_flight
        if now.rate_per_s and at_the_rate:
            if now.rate_per_s < now.limit_per_s:
                return f"what the vendor was found to allow, {now.rate_per_s:.3g} requests/s"
            return f"the limit of {now.limit_per_s:g} requests/s"
        if now.concurrency and now.in_flight + now.queued >= now.concurrency:
            if now.concurrency >= now.ceiling:
                return f"the limit of {now.ceiling} requests at once"
            return f"the vendor's answers: {now.concurrency} requests at once serve it best"
        return "the reading of the inventory" if not now.reading_done else ""

    def data(self) -> dict[str, Any]:
        """Give it as plain data."""
        snapshot = asdict(self.snapshot) | {"counts": {str(k): n for k, n in self.snapshot.counts.items()}}
        return asdict(self) | {"snapshot": snapshot}


def standing_from(data: Mapping[str, Any]) -> Standing:
    """Give back what `data` gave, also a later version's, which says more.

    Raises KeyError, TypeError or ValueError for anything else.
    """
    snapshot = _known(Snapshot, data["snapshot"])
    snapshot["counts"] = {Status(name): rows for name, rows in snapshot["counts"].items()}
    return Standing(**{**_known(Standing, data), "snapshot": Snapshot(**snapshot)})


def _known(kind: type[Snapshot | Standing], data: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: data[field.name] for field in fields(kind) if field.name in data}


class _Seen(NamedTuple):
    elapsed_s: float
    held_s: float
    settled: int
    requests: int
    freely: int  # of the settled rows, those settled while nothing was held
    sent: int  # of these, those that had been sent


class Gauge:
    """Makes standings of the snapshots of one process.

    `reach` turns seconds of sending at the present pace into seconds until they are over: it knows the
    hours at which nothing, or less, may leave.
    """

    def __init__(self, reach: Callable[[float], float] = lambda work_s: work_s) -> None:
        self._reach = reach
        self._unsent = 0
        self._shown: deque[_Seen] = deque()
        self._judged: deque[_Seen] = deque()  # a hold adds nothing to it, however long it lasts

    def read(self, snapshot: Snapshot, at: float) -> Standing:
        """Take a snapshot in and say how the run stands. What an earlier process settled is no speed."""
        now = self._note(snapshot)
        then = self._shown[0]
        standing = Standing(at, snapshot)
        if (passed_s := now.elapsed_s - then.elapsed_s) > 0:
            standing = replace(
                standing,
                rows_per_s=(now.settled - then.settled) / passed_s,
                requests_per_s=(now.requests - then.requests) / passed_s,
            )
        return replace(standing, eta_s=self._eta_s(snapshot, self._judged[0], now))

    def _note(self, snapshot: Snapshot) -> _Seen:
        now = _Seen(snapshot.elapsed_s, 0.0, snapshot.settled, snapshot.requests, 0, 0)
        unsent = sum(snapshot.counts[status] for status in _NEVER_SENT)
        if self._shown:
            last = self._shown[-1]
            if snapshot.holding:  # neither the time counts nor what is still settled, such as a canary
                held_s = last.held_s + now.elapsed_s - last.elapsed_s
                now = now._replace(held_s=held_s, freely=last.freely, sent=last.sent)
            else:
                rows = now.settled - last.settled
                now = now._replace(
                    held_s=last.held_s,
                    freely=last.freely + rows,
                    sent=last.sent + rows - (unsent - self._unsent),
                )
        self._unsent = unsent
        if len(self._shown) > 1 and now.elapsed_s - self._shown[-2].elapsed_s < _APART_S:
            self._shown.pop()
        self._shown.append(now)
        while self._shown[0].elapsed_s < now.elapsed_s - SHOWN_OVER_S:
            self._shown.popleft()
        if len(self._judged) > 1 and self._sent_s(self._judged[-2], now) < _APART_S:
            self._judged.pop()
        self._judged.append(now)
        # What was held does not use up the minutes that are judged, or a long hold would leave none.
        while len(self._judged) > 2 and self._sent_s(self._judged[1], now) >= JUDGED_OVER_S:  # noqa: PLR2004
            self._judged.popleft()
        return now

    @staticmethod
    def _sent_s(then: _Seen, now: _Seen) -> float:
        return (now.elapsed_s - now.held_s) - (then.elapsed_s - then.held_s)

    def _eta_s(self, snapshot: Snapshot, then: _Seen, now: _Seen) -> float | None:
        """Estimate the seconds left; None when nothing can be said."""
        only_tickets = (
            snapshot.reading_done and snapshot.settled + snapshot.open_tickets >= snapshot.rows_read
        )
        if snapshot.open_tickets and only_tickets:
            return None  # the rest is the vendor's to finish, at a pace of its own
        # Rows that are never sent pass at once; with all of them read, only those that are sent are left.
        settled = now.sent - then.sent if snapshot.reading_done else now.freely - then.freely
        sent_s = self._sent_s(then, now)
        if sent_s <= 0 or settled <= 0 or not snapshot.rows_expected:
            return None
        left_s = max(0.0, snapshot.rows_expected - snapshot.settled) * sent_s / settled
        ends_in_s = snapshot.hold_left_s + self._reach(left_s)
        return ends_in_s if ends_in_s < math.inf else None
