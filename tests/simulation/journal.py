"""What is seen while a story is told, at the two seams where the pipeline meets the world: ledger and HTTP.

Rules that concern the order of events are checked here, as they happen; the books are compared at the end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from drawn_inventory import DrawnInventory
    from world import Sent, Told

    from pipeline.settings import Job

BACKLOG_BATCHES = 64  # DESIGN invariant 5: the backlog is bounded; by so many full batches
_INSTANT_S = 1e-6  # what floating point may add up to


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the job allows: at once, in a second, waiting to go out again, and accepted but not finished."""

    concurrency: int = 1
    rate_per_s: float = 1.0
    most_waiting: int = 1
    most_open: int = 1
    give_up_s: float = 0.0
    canary_items: int = 0
    canary_share: float = 0.0

    @classmethod
    def of(cls, job: Job) -> Bounds:
        """Read the bounds off a job file."""
        limits, completion = job.limits, job.completion
        # What is open when nothing new is read any more may be joined by what is in flight or waits.
        waiting = (BACKLOG_BATCHES + limits.concurrency) * (limits.batch_items or 1000)
        return cls(
            limits.concurrency,
            limits.requests_per_second,
            most_waiting=waiting,
            most_open=completion.most_open + waiting,
            give_up_s=completion.give_up_s,
            canary_items=job.guards.canary_items,
            canary_share=job.guards.canary_share,
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """A ticket that the ledger keeps for a row, the call it came from, and since when it is waited for."""

    ticket: str
    call: str
    since: float


@dataclass
class LifeRecord:
    """One life of the process: what it claimed and has not settled, when it was permitted to send.

    `sent` are the claims whose batch has left; True for one that was turned away at the door (401) and may
    leave once more. `canary` are the first rows it claimed, but for those `promised` to an earlier life.
    """

    number: int
    began: float
    permits: list[float] = field(default_factory=list)
    claims: dict[int, frozenset[int]] = field(default_factory=dict)
    sent: dict[int, bool] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)
    held: list[tuple[float, float]] = field(default_factory=list)
    promised: set[int] = field(default_factory=set)
    canary: set[int] = field(default_factory=set)
    canary_bad: int = 0


@dataclass
class Journal:
    """All lives of one run. `breaches` says what must never happen and did."""

    inventory: DrawnInventory
    bounds: Bounds
    trace: bool = False
    breaches: list[str] = field(default_factory=list)
    lives: list[LifeRecord] = field(default_factory=list)
    final: set[int] = field(default_factory=set)
    kept: dict[int, Kept] = field(default_factory=dict)
    sends: Counter[int] = field(default_factory=Counter)
    requests: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def breach(self, words: str) -> None:
        """Note that something happened that must never happen."""
        self.say(0.0, f"BREACH {words}")
        if len(self.breaches) < 20:
            self.breaches.append(words)

    def say(self, now: float, words: str) -> None:
        """Tell the story, if somebody listens."""
        if self.trace:
            print(f"{now:14.6f}  {words}")

    def begin_life(self, now: float) -> LifeRecord:
        """Begin the next life of the process."""
        self.lives.append(LifeRecord(len(self.lives) + 1, now, promised=set(self.kept)))
        return self.lives[-1]

    def end_life(self, life: LifeRecord) -> None:
        """Look back at a life: how fast it sent, and how much was in flight at its end."""
        self._check_rate(life)
        if len(life.claims) > self.bounds.concurrency:
            self.breach(f"life {life.number} ended with {len(life.claims)} batches in flight")

    # ------------------------------------------------------------ the ledger

    def claimed(self, life: LifeRecord, batch: int, positions: Sequence[int]) -> None:
        """Note a durable claim."""
        self.seen["claims"] += 1
        life.claims[batch] = frozenset(positions)
        self._after_the_canary(life, set(positions))

    def _after_the_canary(self, life: LifeRecord, positions: set[int]) -> None:
        """See that nothing goes beside the first rows of a life, nor after them if too many are bad."""
        further = positions - life.canary - life.promised
        if not further or not self.bounds.canary_items:
            return
        if len(life.canary) < self.bounds.canary_items:
            life.canary |= further
            if len(life.canary) > self.bounds.canary_items:
                self.breach(f"a canary of {len(life.canary)} rows, {self.bounds.canary_items} were to be")
        elif out := life.canary - self.final:
            self.breach(f"rows {_few(further)} were claimed while the canary's {_few(out)} were out")
        elif life.canary_bad / len(life.canary) > self.bounds.canary_share + _INSTANT_S:
            self.breach(f"rows {_few(further)} were claimed though {life.canary_bad} of the canary are bad")

    def ended_badly(self, life: LifeRecord, positions: Iterable[int]) -> None:
        """Note rows whose end is being written down and is not good."""
        life.canary_bad += len(life.canary.intersection(positions))

    def settled(
        self,
        life: LifeRecord,
        batch: int,
        left_open: Iterable[int],
        promised: Mapping[int, Kept],
        *,
        void: bool,
    ) -> None:
        """Note a durable settlement."""
        positions = life.claims.pop(batch, None)
        life.sent.pop(batch, None)
        if positions is None:
            self.breach(f"batch {batch} was settled without a claim of this life")
        elif not void:
            self.final |= positions - frozenset(left_open)
            self.kept.update(promised)
            self.seen["tickets"] += len(promised)

    def completed(
        self,
        life: LifeRecord,
        now: float,
        *,
        ended: Collection[int],
        again: Collection[int],
        still_open: Collection[int],
    ) -> None:
        """Note what became of promised rows, durably; those still open keep their tickets for later."""
        self.seen["completions"] += 1
        if unknown := {*ended, *again, *still_open} - (self.kept.keys() - self.final):
            self.breach(f"rows {_few(unknown)} were completed without an open ticket")
        for position in still_open:
            since = self.kept[position].since if position in self.kept else now
            waited_s = now - max(since, life.began)
            if waited_s < self.bounds.give_up_s - _INSTANT_S:
                self.breach(f"row {position} was given up after {waited_s:.6f} s, before give_up_s")
        for position in (*ended, *again):
            self.kept.pop(position, None)
        self.final.update(ended, still_open)

    def reopened(self, positions: Collection[int]) -> None:
        """Note that rows with an end are to be sent again, whatever tickets they held."""
        self.final.difference_update(positions)
        self.lives[-1].promised.difference_update(positions)
        for position in positions:
            self.kept.pop(position, None)

    # ------------------------------------------------------------ the way to the vendor

    def permitted(
        self, life: LifeRecord, now: float, *, in_flight: int, waiting: int, open_tickets: int
    ) -> None:
        """Note that a request may leave now; `in_flight` counts it."""
        bounds = self.bounds
        life.permits.append(now)
        if in_flight > bounds.concurrency:
            self.breach(f"{in_flight} requests in flight, {bounds.concurrency} allowed")
        if waiting > bounds.most_waiting:
            self.breach(f"{waiting} items in the backlog, bound {bounds.most_waiting}")
        if open_tickets > bounds.most_open:
            self.breach(f"{open_tickets} open tickets, bound {bounds.most_open}")
        for begins, ends in life.held:
            if begins < now < ends - _INSTANT_S:
                self.breach(f"sent at {now:.6f} though the vendor asked for peace until {ends:.6f}")

    def left(self, life: LifeRecord, sent: Sent) -> None:
        """Note that a request has left this machine."""
        self.requests += 1
        self.seen[f"{sent.call} requests"] += 1
        if sent.call == "send":
            self._may_be_sent(life, sent.rows)
            self._under_a_claim(life, set(sent.rows))
        elif sent.call == "poll":
            self._asked(sent)

    def _may_be_sent(self, life: LifeRecord, keys: Mapping[int, str]) -> None:
        positions = keys.keys()
        if repeated := positions & self.final:
            self.breach(f"rows {_few(repeated)} were sent though their end was durable")
        if told := positions & life.told:
            self.breach(f"rows {_few(told)} were sent though the vendor had plainly said what became of them")
        if promised := positions & self.kept.keys():
            self.breach(f"rows {_few(promised)} were sent though the ledger keeps a ticket for them")
        expected = self.inventory.to_send
        for position, key in keys.items():
            if position not in expected:
                fate = self.inventory.rows[position - 1].fate if position else "in the inventory"
                self.breach(f"row {position} {key} was sent, it must be {fate}")
            elif expected[position].key != key:
                self.breach(f"row {position} was sent as {key}")

    def _under_a_claim(self, life: LifeRecord, positions: set[int]) -> None:
        batch = next((batch for batch, claim in life.claims.items() if positions <= claim), None)
        if batch is None:
            claimed = frozenset().union(*life.claims.values())
            self.breach(f"rows {_few(positions - claimed)} were sent without a claim of theirs")
            return
        if batch not in life.sent:
            self.sends.update(positions)
        elif not life.sent[batch]:
            self.breach(f"batch {batch} was sent twice under one claim")
        life.sent[batch] = False

    def _asked(self, sent: Sent) -> None:
        asked = sent.asked.partition(" ")[2]
        of = [position for position, kept in self.kept.items() if asked in (kept.ticket, kept.call)]
        if not of:
            self.breach(f"asked after {sent.asked}, which the ledger does not keep")
        elif self.final.issuperset(of):
            self.breach(f"asked after {sent.asked} though the end of its rows was durable")

    def turned_away(self, life: LifeRecord, sent: Sent) -> None:
        """Note that a send was refused at the door: it may leave once more under its claim."""
        positions = set(sent.rows)
        for batch in life.sent:
            if life.claims[batch] == positions:
                life.sent[batch] = True
                self.seen["turned away"] += 1

    def told(self, life: LifeRecord, told: Told) -> None:
        """Note that the vendor's word on some rows has reached us, and whom it concerns is plain."""
        life.told |= told.rows
        if told.done or told.undone:
            life.told |= {position for position, kept in self.kept.items() if kept.ticket in told.done}
            life.told -= {position for position, kept in self.kept.items() if kept.ticket in told.undone}

    def asked_for_peace(self, life: LifeRecord, now: float, slack_s: float, wish_s: float) -> None:
        """Note a Retry-After that has reached us; it takes `slack_s` until its settlement is written."""
        life.held.append((now + slack_s, now + wish_s))

    def _check_rate(self, life: LifeRecord) -> None:
        most = -int(-self.bounds.rate_per_s // 1)
        times = life.permits
        for first, last in zip(times, times[most:], strict=False):
            if last - first < 1 - _INSTANT_S:
                self.breach(f"more than {most} requests within a second, from {first:.6f} to {last:.6f}")
                return


def _few(positions: Iterable[int]) -> str:
    listed = sorted(positions)
    return ", ".join(map(str, listed[:5])) + (", …" if len(listed) > 5 else "")
