"""What is seen while a story is told, at the two seams where the pipeline meets the world: ledger and HTTP.

Rules that concern the order of events are checked here, as they happen; the books are compared at the end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from drawn_inventory import DrawnInventory

SETTLED, AGAIN, VOID = "settled", "again", "void"
_INSTANT_S = 1e-6  # what floating point may add up to


@dataclass
class LifeRecord:
    """One life of the process: what it claimed and has not settled, when it was permitted to send."""

    number: int
    permits: list[float] = field(default_factory=list)
    claims: dict[int, frozenset[int]] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)
    held: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class Journal:
    """All lives of one run. `breaches` says what must never happen and did."""

    inventory: DrawnInventory
    concurrency: int
    rate_per_s: float
    most_waiting: int
    trace: bool = False
    breaches: list[str] = field(default_factory=list)
    lives: list[LifeRecord] = field(default_factory=list)
    final: set[int] = field(default_factory=set)
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

    def begin_life(self) -> LifeRecord:
        """Begin the next life of the process."""
        self.lives.append(LifeRecord(len(self.lives) + 1))
        return self.lives[-1]

    def end_life(self, life: LifeRecord) -> None:
        """Look back at a life: how fast it sent, and how much was in flight at its end."""
        self._check_rate(life)
        if len(life.claims) > self.concurrency:
            self.breach(f"life {life.number} ended with {len(life.claims)} batches in flight")

    def claimed(self, life: LifeRecord, batch: int, positions: Sequence[int]) -> None:
        """Note a durable claim."""
        self.seen["claims"] += 1
        life.claims[batch] = frozenset(positions)

    def settled(self, life: LifeRecord, batch: int, left_open: Iterable[int], *, void: bool) -> None:
        """Note a durable settlement."""
        positions = life.claims.pop(batch, None)
        if positions is None:
            self.breach(f"batch {batch} was settled without a claim of this life")
        elif not void:
            self.final |= positions - frozenset(left_open)

    def permitted(self, life: LifeRecord, now: float, in_flight: int, waiting: int) -> None:
        """Note that a request may leave now; `in_flight` counts it."""
        life.permits.append(now)
        if in_flight > self.concurrency:
            self.breach(f"{in_flight} requests in flight, {self.concurrency} allowed")
        if waiting > self.most_waiting:
            self.breach(f"{waiting} items in the backlog, bound {self.most_waiting}")
        for begins, ends in life.held:
            if begins < now < ends - _INSTANT_S:
                self.breach(f"sent at {now:.6f} though the vendor asked for peace until {ends:.6f}")

    def sent(self, life: LifeRecord, iccids: Mapping[int, str]) -> None:
        """Note that a request with these rows has left this machine."""
        self.requests += 1
        positions = set(iccids)
        self.sends.update(positions)
        if repeated := positions & self.final:
            self.breach(f"rows {_few(repeated)} were sent though their end was durable")
        if told := positions & life.told:
            self.breach(f"rows {_few(told)} were sent though the vendor had plainly said what became of them")
        if unclaimed := positions - frozenset().union(*life.claims.values()):
            self.breach(f"rows {_few(unclaimed)} were sent without a claim")
        expected = self.inventory.to_send
        for position, iccid in iccids.items():
            if position not in expected:
                self.breach(f"row {position} was sent, it must be {self.inventory.rows[position - 1].fate}")
            elif expected[position].iccid != iccid:
                self.breach(f"row {position} was sent as {iccid}")

    def told(self, life: LifeRecord, positions: Iterable[int]) -> None:
        """Note that the vendor's last word on these rows has reached us, and whom it concerns is plain."""
        life.told.update(positions)

    def asked_for_peace(self, life: LifeRecord, now: float, slack_s: float, wish_s: float) -> None:
        """Note a Retry-After that has reached us; it takes `slack_s` until its settlement is written."""
        life.held.append((now + slack_s, now + wish_s))

    def _check_rate(self, life: LifeRecord) -> None:
        most = -int(-self.rate_per_s // 1)
        times = life.permits
        for first, last in zip(times, times[most:], strict=False):
            if last - first < 1 - _INSTANT_S:
                self.breach(f"more than {most} requests within a second, from {first:.6f} to {last:.6f}")
                return


def _few(positions: Iterable[int]) -> str:
    listed = sorted(positions)
    return ", ".join(map(str, listed[:5])) + (", …" if len(listed) > 5 else "")
