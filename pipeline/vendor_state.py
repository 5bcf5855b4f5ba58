"""What all outcomes together say of the vendor: is it there, what size does it take, how fast, how many.

One for all workers. Decides nothing about an item; says when no item can fare better.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from pipeline.batch_size import BatchSize
from pipeline.breaker import Breaker
from pipeline.concurrency import Concurrency
from pipeline.model import Fault, FaultKind
from pipeline.retry import Vendor
from pipeline.slots import Slots
from pipeline.timed_http import TimedHttp

if TYPE_CHECKING:
    import random

    from pipeline.contracts import Http
    from pipeline.model import Batch, Verdicts
    from pipeline.pace import Pace
    from pipeline.settings import Retry

ALIKE_REFUSALS = 8  # single items refused in the same words, with nothing ever accepted: the trouble is ours
LOST_BESIDES = 64  # requests without an answer in a row, besides every attempt of every worker


class VendorState:
    """Learns from each outcome; `slots` and `breaker` are what the workers pass through."""

    def __init__(
        self, policy: Retry, rng: random.Random, pace: Pace, *, concurrency: int, batch_items: int
    ) -> None:
        self._pace = pace
        self._attempts = policy.attempts
        self._found = Concurrency(concurrency)
        self._refused_alone: Counter[str] = Counter()
        self._lost_in_a_row: Counter[str] = Counter()
        self._sends = False  # there was a send
        self._sends_fail = False  # the last send met a passing fault
        self._closed = False
        self._trips_s: list[float] = []  # round trips, and below the push-backs, since `tempo` was asked
        self._pushed_back = 0
        self.accepted = False  # the vendor has taken at least one item
        self.size = BatchSize(batch_items)
        self.slots = Slots(self._found.limit)
        self.breaker = Breaker(policy, rng)

    @property
    def ceiling(self) -> int:
        """How many requests may be open at most."""
        return self._found.ceiling

    @ceiling.setter
    def ceiling(self, ceiling: int) -> None:
        self._found.ceiling = ceiling
        self._allow()

    @property
    def in_flight(self) -> int:
        """How many requests have left and are not answered yet."""
        return self._found.in_flight

    def forget_rate(self) -> None:
        """Take it that the vendor allows what the limits do, until it pushes back again."""
        self._found.forget_rate()
        self._pace.learn(None)

    def close(self) -> None:
        """Hold nobody back any more: whoever waits comes to see that the run stops."""
        self._closed = True
        self.breaker.close()
        self._allow()

    def health(self) -> Vendor:
        """Say how the vendor as a whole is doing."""
        if self.breaker.exhausted:
            return Vendor.AWAY
        return Vendor.FAILING if self.breaker.open else Vendor.THERE

    def timed(self, http: Http) -> TimedHttp:
        """Put a stop-watch on one exchange; to be given to `paced_by` afterwards."""
        return TimedHttp(http, self._found.opened)

    def paced_by(self, timed: TimedHttp, fault: Fault | None, *, pushed_back: bool, items: int = 0) -> None:
        """Let a round trip, or a push-back, move how many may be open and how fast they may follow.

        `items` is 0 for a question: like a small batch it comes back sooner, which says nothing of the load
        that sends are. It counts while there are none, or a run that only waits would ask one at a time.
        """
        if not timed.sent:
            return
        if fault is None:
            self._trips_s.append(timed.round_trip_s)
        self._pushed_back += pushed_back
        whole = 2 * items >= self.size.bound or not self._sends
        self._found.closed(
            asyncio.get_running_loop().time(),
            round_trip_s=timed.round_trip_s if fault is None and whole else None,
            pushed_back=pushed_back or (fault is not None and fault.code == "timeout"),
            over_rate=fault is not None and fault.code == "http_429",
        )
        self._allow()
        self._pace.learn(self._found.rate_per_s)

    def _allow(self) -> None:
        self.slots.limit = self.ceiling if self._closed else self._found.limit

    def tempo(self) -> tuple[float, int]:
        """Give the mean round trip in seconds (0: none) and the push-backs since this was last asked."""
        trips_s, pushed_back = self._trips_s, self._pushed_back
        self._trips_s, self._pushed_back = [], 0
        return (sum(trips_s) / len(trips_s) if trips_s else 0.0), pushed_back

    def asked(self, fault: Fault | None, *, probe: bool) -> str:
        """Learn from the outcome of a question; say why the run must stop, or nothing."""
        return self._heard("questions", fault, probe=probe)

    def sent(self, batch: Batch, outcome: Verdicts | Fault, *, probe: bool) -> str:
        """Learn from the outcome of a send, its size too; say why the run must stop, or nothing."""
        fault = outcome if isinstance(outcome, Fault) else None
        stop = self._heard("sends", fault, probe=probe)
        if fault is None:
            self.size.accepted(len(batch))
        elif fault.kind is FaultKind.TOO_LARGE:
            self.size.refused(len(batch), fault.reason)
        elif fault.kind is FaultKind.REFUSED:
            stop = stop or self._learn_refusal(batch, fault)
        return stop

    def _heard(self, what: str, fault: Fault | None, *, probe: bool) -> str:
        """Notice when nothing is carried out, or nothing answered.

        A question that is answered is no sign that sends fare well: only a send makes good for failed ones.
        """
        kind = fault.kind if fault else None
        if kind is FaultKind.WITHDRAWN:
            return ""
        sent = what == "sends"
        if sent:
            self._sends = True
            self._sends_fail = kind is FaultKind.NOT_CARRIED_OUT
        if fault is not None and kind is FaultKind.NOT_CARRIED_OUT:
            self.breaker.fault(fault.retry_after_s, probe=probe)
            return ""
        if not self._sends_fail:
            self.breaker.close()
        if fault is None or kind is not FaultKind.LOST:
            self._lost_in_a_row[what] = 0
            if sent:
                self._lost_in_a_row.clear()
            return ""
        self._lost_in_a_row[what] += 1
        lost = self._lost_in_a_row[what]
        too_many = lost >= LOST_BESIDES + self._attempts * self.ceiling
        return _words(f"the vendor answered none of {lost} requests in a row", fault) if too_many else ""

    def _learn_refusal(self, batch: Batch, fault: Fault) -> str:
        """Blame the batch, its size or the whole run for a refusal that says nothing of its items."""
        if len(batch) > 1:
            self.size.suspect(len(batch))
            return ""
        self.size.culprit()
        if self.accepted:
            return ""
        self._refused_alone[fault.code] += 1
        alike = self._refused_alone[fault.code] >= ALIKE_REFUSALS
        return _words("the vendor refuses every item alike", fault) if alike else ""


def _words(why: str, fault: Fault) -> str:
    return f"{why}, {fault.code}: {fault.reason}"
