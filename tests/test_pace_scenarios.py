"""The pace found by itself, against vendors of many tempers, in virtual time (tests/pace/*.toml).

Every figure is compared with the best fixed setting against the same vendor in the same mood: the best of
many fixed numbers of open requests or, under a hidden rate, that rate.
"""

from __future__ import annotations

import asyncio
import random
import tomllib
from collections import deque
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from virtual_clock import now, run

from pipeline.concurrency import Concurrency
from pipeline.slots import Slots

SCENARIOS = sorted((Path(__file__).parent / "pace").glob("*.toml"))
SEEDS = [1, 2]
PUSHED_BACK = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """How the vendor answers."""

    latency_s: float  # of an idle vendor
    jitter_s: float = 0.0  # either way, evenly spread
    slow_every: int = 0  # each so many-th reply takes `slow_s`
    slow_s: float = 0.0
    capacity: int = 10_000  # served at once; the rest queue,
    refuses: bool = False  # or are pushed back
    knee: float = 0.0  # open requests at which the latency has doubled; it grows with their square
    growth_s: float = 0.0  # latency added by every open request
    rate_per_s: float = 0.0  # above it: 429
    burst: int = 0  # 0: counted in a sliding second; else a bucket of this depth
    retry_after_s: float = 0.0  # 0: not asked for, the hold is drawn evenly up to half a second
    silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A time of one mood, and what is expected in it once settled."""

    mood: Mood
    from_s: float
    until_s: float
    after_s: float = 0.0  # what happens so soon after the beginning is the past's fault
    throughput: float = 0.95  # at least this share of the best fixed setting's; 0: do not measure
    mean_limit: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    ceiling: int
    fixed_s: float  # how long a fixed setting is measured
    settle_round_trips: int = 30
    reply_timeout_s: float = 60.0
    phases: tuple[Phase, ...]


@lru_cache
def load(path: Path) -> Scenario:
    data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    data.pop("story")
    vendor, from_s, phases = data.pop("vendor"), 0.0, []
    for part in data.pop("phase"):
        mood = Mood(**(vendor | part.pop("vendor", {})))
        low, high = part.pop("mean_limit", (1, 10_000))
        phases.append(Phase(mood=mood, from_s=from_s, mean_limit=(low, high), **part))
        from_s = phases[-1].until_s
    return Scenario(phases=tuple(phases), **data)


class Vendor:
    def __init__(self, scenario: Scenario, rng: random.Random) -> None:
        self.rng, self.reply_timeout_s = rng, scenario.reply_timeout_s
        self.mood = scenario.phases[0].mood
        self.open = self.served = 0
        self.servers = Slots(self.mood.capacity)
        self.tokens, self.refilled = float(self.mood.burst), 0.0
        self.admitted: deque[float] = deque()
        for phase in scenario.phases[1:]:
            asyncio.get_running_loop().call_at(phase.from_s, self.change, phase.mood)

    def change(self, mood: Mood) -> None:
        self.mood, self.servers.limit = mood, mood.capacity

    async def answer(self) -> bool:
        """Answer a request: True well, False pushed back."""
        mood = self.mood
        if mood.silent:
            await asyncio.sleep(self.reply_timeout_s)
            return False
        if (mood.rate_per_s and self.is_over_rate(mood)) or (mood.refuses and self.open >= mood.capacity):
            await asyncio.sleep(mood.latency_s / 10)
            return False
        self.open += 1
        async with self.servers.slot():
            await asyncio.sleep(self.latency_s(mood))
        self.open -= 1
        return True

    def latency_s(self, mood: Mood) -> float:
        self.served += 1
        if mood.slow_every and self.served % mood.slow_every == 0:
            return mood.slow_s
        latency_s = mood.latency_s + mood.growth_s * self.open
        if mood.knee:
            latency_s *= 1 + (self.open / mood.knee) ** 2
        return latency_s + self.rng.uniform(-mood.jitter_s, mood.jitter_s)

    def is_over_rate(self, mood: Mood) -> bool:
        if mood.burst:
            self.tokens = min(mood.burst, self.tokens + (now() - self.refilled) * mood.rate_per_s)
            self.refilled = now()
            over = self.tokens < 1
            self.tokens -= 0 if over else 1
            return over
        while self.admitted and self.admitted[0] <= now() - 1 + 1e-6:
            self.admitted.popleft()
        over = len(self.admitted) >= mood.rate_per_s
        if not over:
            self.admitted.append(now())
        return over


@dataclass
class Turns:
    """Spaces sends by the learned rate, and holds everybody when told."""

    concurrency: Concurrency
    free_at: float = 0.0
    held_until: float = 0.0

    async def turn(self) -> None:
        while True:
            at = max(self.free_at, now())
            self.free_at = at + (1 / self.concurrency.rate_per_s if self.concurrency.rate_per_s else 0.0)
            await asyncio.sleep(at - now())
            if now() >= self.held_until:
                return
            await asyncio.sleep(self.held_until - now())

    def hold(self, seconds: float) -> None:
        self.held_until = max(self.held_until, now() + seconds)


@dataclass
class Books:
    good: list[float] = field(default_factory=list)
    pushed_back: list[float] = field(default_factory=list)
    limits: list[tuple[float, int]] = field(default_factory=list)

    def throughput(self, begin: float, end: float) -> float:
        return sum(begin < time <= end for time in self.good) / (end - begin)

    def mean_limit(self, begin: float, end: float) -> float:
        limits = [limit for time, limit in self.limits if begin < time <= end]
        return sum(limits) / len(limits)

    def share_pushed_back(self) -> float:
        return len(self.pushed_back) / (len(self.pushed_back) + len(self.good))


class Sender:
    """Sends as fast as it is allowed to; a push-back holds it, unless its setting is fixed."""

    def __init__(self, scenario: Scenario, seed: int, fixed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.vendor = Vendor(scenario, random.Random(self.rng.random()))
        self.concurrency = Concurrency(scenario.ceiling)
        self.turns = Turns(self.concurrency)
        self.fixed = fixed
        self.slots = Slots(fixed or self.concurrency.limit)
        self.books = Books()

    async def work(self, until_s: float) -> None:
        while now() < until_s:
            async with self.slots.slot():
                if self.fixed:
                    is_good = await self.vendor.answer()
                else:
                    await self.turns.turn()
                    is_good = await self.exchange()
            (self.books.good if is_good else self.books.pushed_back).append(now())

    async def exchange(self) -> bool:
        began = now()
        self.concurrency.opened(began)
        is_good = await self.vendor.answer()
        self.concurrency.closed(
            now(),
            round_trip_s=now() - began if is_good else None,
            pushed_back=not is_good,
            over_rate=self.vendor.mood.rate_per_s > 0,
        )
        self.slots.limit = self.concurrency.limit
        self.books.limits.append((now(), self.concurrency.limit))
        if not is_good:
            self.turns.hold(self.vendor.mood.retry_after_s or self.rng.uniform(0, 0.5))
        return is_good


async def drive(scenario: Scenario, seed: int, until_s: float, fixed: int = 0) -> Books:
    sender = Sender(scenario, seed, fixed)
    workers = [asyncio.create_task(sender.work(until_s)) for _ in range(fixed or scenario.ceiling)]
    await asyncio.sleep(until_s)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return sender.books


@lru_cache
def best_fixed(scenario: Scenario, mood: Mood) -> tuple[float, float]:
    """Give the throughput of the best fixed setting, and its round trip in seconds."""
    if mood.rate_per_s:
        return mood.rate_per_s, mood.latency_s
    limits = {scenario.ceiling} | {int(1.35**power) for power in range(20) if 1.35**power < scenario.ceiling}
    found = {}
    for limit in sorted(limits):
        phase = Phase(mood=mood, from_s=0.0, until_s=scenario.fixed_s, mean_limit=(1, limit))
        books = run(drive(replace(scenario, phases=(phase,)), 1, scenario.fixed_s, limit))
        found[limit] = books.throughput(scenario.fixed_s / 4, scenario.fixed_s)
    best = max(found.values())
    return best, min(limit for limit, rate in found.items() if rate > 0.99 * best) / best


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_pace_comes_near_the_best_fixed_setting(path: Path, seed: int) -> None:
    scenario = load(path)
    books = run(drive(scenario, seed, scenario.phases[-1].until_s))
    print(f"{path.stem}, seed {seed}: pushed back {books.share_pushed_back():.2%}")
    assert books.share_pushed_back() <= PUSHED_BACK
    for phase in scenario.phases:
        if phase.throughput:
            best, round_trip_s = best_fixed(scenario, phase.mood)
            settled = phase.from_s + phase.after_s + scenario.settle_round_trips * round_trip_s
            share = books.throughput(settled, phase.until_s) / best
            limit = books.mean_limit(settled, phase.until_s)
            print(f"  from {phase.from_s:.0f} s: best {best:.1f}/s, reached {share:.1%}, limit {limit:.0f}")
            assert share >= phase.throughput
            assert phase.mean_limit[0] <= limit <= phase.mean_limit[1]
