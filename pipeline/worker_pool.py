"""The loop of one worker, many times over: take, claim, pace, send, reconcile, decide, settle.

Workers pull; nothing is pushed at them. A decision is made without I/O and then acted upon; a settlement
is shielded, and whatever slips through a crash is found again by its claim.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from pipeline.backlog import Backlog
from pipeline.batch_size import BatchSize
from pipeline.breaker import Breaker
from pipeline.concurrency import Concurrency
from pipeline.errors import InventoryError, NoReply
from pipeline.model import Again, Fault, FaultKind, State, Status, Verdicts
from pipeline.reconciler import reconcile
from pipeline.retry import Vendor, decide
from pipeline.settlement import settlement_of
from pipeline.slots import Slots
from pipeline.timed_http import TimedHttp

if TYPE_CHECKING:
    import random

    from pipeline.contracts import Http, Ledger, Target
    from pipeline.feed import Feed
    from pipeline.model import Batch, Decision
    from pipeline.pace import Pace
    from pipeline.settings import Limits, Retry

BACKLOG_BATCHES = 64  # full batches' worth of items that may wait to go out again
ALIKE_REFUSALS = 8  # single items refused in the same words, with nothing ever accepted: the trouble is ours

log = structlog.get_logger(__name__)


class WorkerPool:
    """Sends everything the feed gives, as often as it takes, and settles every item.

    `run` returns how the run ended: finished, stopped (with `stop_reason`) or interrupted. Raises what the
    ledger raises.
    """

    def __init__(
        self,
        *,
        feed: Feed,
        target: Target,
        http: Http,
        ledger: Ledger,
        pace: Pace,
        limits: Limits,
        batch_items: int,
        policy: Retry,
        rng: random.Random,
        exists_is_good: bool = False,
    ) -> None:
        self._feed, self._target, self._http = feed, target, http
        self._ledger, self._pace, self._policy, self._rng = ledger, pace, policy, rng
        self._concurrency = limits.concurrency
        self._exists_is_good = exists_is_good
        self._backlog = Backlog(
            batch_items=batch_items,
            batch_bytes=limits.batch_bytes,
            most_items=BACKLOG_BATCHES * batch_items,
        )
        self._changed = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._refused_alone: Counter[str] = Counter()
        self._size = BatchSize(batch_items)
        self._found = Concurrency(limits.concurrency)
        self._slots = Slots(self._found.limit)
        self._breaker = Breaker(policy, rng)
        self._lost_in_a_row = 0
        self._accepted = False
        self.in_flight = self.claimed = 0
        self.settled: Counter[Status] = Counter()
        self.state = State.RUNNING
        self.stop_reason = ""

    async def run(self) -> State:
        """Work until every item is final, or until stopped."""
        async with asyncio.TaskGroup() as group:
            self._workers = [
                group.create_task(self._work(), name=f"worker-{number}")
                for number in range(self._concurrency)
            ]
        if self.state is State.RUNNING:
            self.state = State.STOPPED if self.stop_reason else State.FINISHED
        return self.state

    @property
    def waiting(self) -> int:
        """Count the items that wait to go out again."""
        return self._backlog.items

    def stop(self, state: State, reason: str) -> None:
        """Take no new batch; those in flight are still answered and settled. The first reason stays."""
        if self.state is State.RUNNING:
            self.state, self.stop_reason = state, self.stop_reason or reason
            log.warning("stopping", state=str(state), reason=reason)
        self._pace.close()
        self._breaker.close()
        self._slots.limit = self._concurrency  # whoever waits for one comes to see that the run stops
        self._pulse()

    def abandon(self) -> None:
        """Wait for nothing any more: what is in flight stays claimed, and so in doubt for a later resume."""
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        while self.state is State.RUNNING:
            async with self._slots.slot(), self._breaker.turn() as probe:
                batch = await self._take()
                if batch is None:
                    return
                try:
                    await self._handle(batch, probe=probe)
                finally:
                    self.in_flight -= 1
                    self._pulse()

    async def _take(self) -> Batch | None:
        """Give the next batch to send: ready ones of the backlog before fresh ones."""
        loop = asyncio.get_running_loop()
        while self.state is State.RUNNING:
            eager = self._feed.exhausted or self._backlog.full
            batch = self._backlog.take(loop.time(), eager=eager)
            if batch is None and not eager:
                batch = self._cut_to_size(await self._fresh())
            if batch is not None and self.state is State.RUNNING:
                self.in_flight += 1
                return batch
            if self._feed.exhausted and not self._backlog.items and not self.in_flight:
                self._pulse()
                return None
            if eager:
                await self._change(self._backlog.next_ready())
        return None

    async def _fresh(self) -> Batch | None:
        try:
            return await self._feed.take()
        except InventoryError as error:
            # What was read before is whole: it is sent to its end, and only then the run stops.
            self.stop_reason = str(error)
            log.warning("the inventory breaks off", reason=self.stop_reason)
            return None

    def _cut_to_size(self, batch: Batch | None) -> Batch | None:
        """Send no more at once than the vendor takes; the rest goes out as batches of its own."""
        bound = self._size.bound
        if batch is None or len(batch) <= bound:
            return batch
        rest = Again(
            tuple(range(bound, len(batch))),
            wait_s=0.0,
            in_doubt=batch.in_doubt,
            sends=batch.sends,
            tries=batch.tries,
        )
        self._backlog.add(batch, rest, asyncio.get_running_loop().time(), recorded=batch.recorded)
        return replace(batch, items=batch.items.slice(0, bound))

    async def _handle(self, batch: Batch, *, probe: bool) -> None:
        batch = await self._ledger.claim(batch)
        self.claimed += 1
        timed = TimedHttp(self._http, self._found.opened)
        outcome = await self._send(batch, timed)
        self._learn(batch, outcome, probe=probe)
        decision = decide(
            batch,
            outcome,
            self._policy,
            chance=self._rng.random(),
            vendor=self._vendor(),
            most_items=self._size.bound,
            exists_is_good=self._exists_is_good,
        )
        self._pace_by(timed, batch, outcome, decision)
        settlement = settlement_of(batch, decision)
        await asyncio.shield(self._ledger.settle(settlement))
        final = Counter(row.status for row in settlement.exceptional if row.status is not None)
        if not settlement.void:
            final[Status.SUCCEEDED] += len(batch) - len(settlement.exceptional)
        self.settled.update(final)
        self._act(batch, decision)

    async def _send(self, batch: Batch, http: Http) -> Verdicts | Fault:
        try:
            reply = await self._target.send(batch, http)
        except NoReply as error:
            reply = error.fault
        if isinstance(reply, Fault):
            log.warning(
                "no answer for the items",
                batch=batch.id,
                items=len(batch),
                sends=batch.sends + 1,
                kind=str(reply.kind),
                code=reply.code,
                reason=reply.reason,
            )
            return reply
        verdicts = reconcile(batch.keys(), reply)
        if verdicts.evidence:
            log.warning("odd reply", batch=batch.id, sends=batch.sends + 1, evidence=verdicts.evidence)
        return verdicts

    def _pace_by(self, timed: TimedHttp, batch: Batch, outcome: Verdicts | Fault, decision: Decision) -> None:
        """Let a round trip, or a push-back, move how many may be open and how fast they may follow."""
        if not timed.sent:
            return
        # A small batch comes back sooner: that says nothing of the vendor's load.
        whole = 2 * len(batch) >= self._size.bound
        fault = outcome if isinstance(outcome, Fault) else None
        over_rate = fault is not None and fault.code == "http_429"
        timeout = fault is not None and fault.code == "timeout"
        self._found.closed(
            asyncio.get_running_loop().time(),
            round_trip_s=timed.round_trip_s if fault is None and whole else None,
            pushed_back=decision.pushed_back or timeout,
            over_rate=over_rate,
        )
        self._slots.limit = self._found.limit if self.state is State.RUNNING else self._concurrency
        self._pace.learn(self._found.rate_per_s)

    def _vendor(self) -> Vendor:
        if self._breaker.exhausted:
            return Vendor.AWAY
        return Vendor.FAILING if self._breaker.open else Vendor.THERE

    def _learn(self, batch: Batch, outcome: Verdicts | Fault, *, probe: bool) -> None:
        """Take from one outcome what concerns all batches: is the vendor there, what size does it take."""
        kind = outcome.kind if isinstance(outcome, Fault) else None
        if kind is FaultKind.NOT_CARRIED_OUT and isinstance(outcome, Fault):
            self._breaker.fault(outcome.retry_after_s, probe=probe)
            return
        if kind is FaultKind.WITHDRAWN:
            return
        self._breaker.close()
        self._lost_in_a_row = self._lost_in_a_row + 1 if kind is FaultKind.LOST else 0
        if self._lost_in_a_row >= BACKLOG_BATCHES + self._policy.attempts * self._concurrency:
            self._stop_for(f"the vendor answered none of {self._lost_in_a_row} requests in a row", outcome)
        elif kind is None:
            self._size.accepted(len(batch))
        elif kind is FaultKind.TOO_LARGE and isinstance(outcome, Fault):
            self._size.refused(len(batch), outcome.reason)
        elif kind is FaultKind.REFUSED:
            self._learn_refusal(batch, outcome)
        self._backlog.batch_items = self._size.bound

    def _learn_refusal(self, batch: Batch, outcome: Verdicts | Fault) -> None:
        """Blame the batch, its size or the whole run for a refusal that says nothing of its items."""
        if len(batch) > 1:
            self._size.suspect(len(batch))
            return
        self._size.culprit()
        if isinstance(outcome, Fault) and not self._accepted:
            self._refused_alone[outcome.code] += 1
            if self._refused_alone[outcome.code] >= ALIKE_REFUSALS:
                self._stop_for("the vendor refuses every item alike", outcome)

    def _stop_for(self, why: str, outcome: Verdicts | Fault) -> None:
        words = f", {outcome.code}: {outcome.reason}" if isinstance(outcome, Fault) else ""
        self.stop(State.STOPPED, why + words)

    def _act(self, batch: Batch, decision: Decision) -> None:
        now = asyncio.get_running_loop().time()
        self._accepted = self._accepted or any(self.settled[status] for status in Status if status.good)
        recorded = batch.recorded or not decision.void
        for again in decision.again:
            self._backlog.add(batch, again, now, recorded=recorded)
        if decision.hold_s > 0:
            self._pace.hold(decision.hold_s, "the vendor pushed back")
        if decision.stop is not None:
            self.stop(State.STOPPED, f"{decision.stop.code}: {decision.stop.reason}")

    async def _change(self, until: float) -> None:
        """Sleep until something may have changed, or until the given loop time."""
        try:
            async with asyncio.timeout_at(None if math.isinf(until) else until):
                await self._changed.wait()
        except TimeoutError:
            return

    def _pulse(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
