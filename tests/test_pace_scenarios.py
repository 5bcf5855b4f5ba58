"""The concurrency found by itself, against vendors of many tempers, in virtual time (tests/pace/*.toml).

Every figure is compared with the best fixed setting against the same vendor in the same mood.
"""

from __future__ import annotations

import asyncio
import random
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from virtual_clock import now, run

from pipeline.concurrency import Concurrency
from pipeline.slots import Slots

SCENARIOS = sorted((Path(__file__).parent / "pace").glob("*.toml"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """How the vendor answers from `from_s` on."""

    from_s: float = 0.0
    latency_s: float  # of an idle vendor
    jitter_s: float = 0.0  # either way, evenly spread
    slow_share: float = 0.0
    slow_s: float = 0.0
    capacity: int = 10_000  # served at once; the rest queue, or are pushed back if `refuses`
    refuses: bool = False
    knee: float = 0.0  # open requests at which the latency has doubled; it grows with their square
    growth_s: float = 0.0  # latency added by every open request
    rate_per_s: float = 0.0  # above it: 429
    burst: int = 0  # 0: counted in a sliding second; else a bucket of this depth
    retry_after_s: float = 0.0
    silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A time in which to measure; its `from_s` is when the vendor's mood changed last."""

    until_s: float
    throughput: float = 0.95  # at least this share of the best fixed setting's
    limit: tuple[int, int] = (1, 10_000)
    mood: Mood


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    seeds: list[int]
    ceiling: int
    fixed_s: float  # how long a fixed setting is measured
    hold_s: float = 0.5  # a push-back holds everybody for a time drawn evenly up to this
    reply_timeout_s: float = 60.0
    pushed_back: float = 0.01  # at most this share, from the first request on
    phases: list[Phase]


def load(path: Path) -> Scenario:
    data: dict[str, Any] = tomllib.loads(path.read_text())
    data.pop("story")
    vendor, starts = data.pop("vendor"), 0.0
    phases = []
    for part in data.pop("phase"):
        mood = Mood(from_s=starts, **(vendor | part.pop("vendor", {})))
        phases.append(Phase(mood=mood, **part))
        starts = phases[-1].until_s
    return Scenario(phases=phases, **data)


class Vendor:
    def __init__(self, moods: list[Mood], rng: random.Random, reply_timeout_s: float) -> None:
        self.moods, self.rng, self.reply_timeout_s = moods, rng, reply_timeout_s
        self.mood = moods[0]
        self.open = 0
        self.servers = Slots(self.mood.capacity)
        self.tokens, self.refilled = float(self.mood.burst), 0.0
        self.admitted: list[float] = []
        for mood in moods:
            asyncio.get_running_loop().call_at(mood.from_s, self.change, mood)

    def change(self, mood: Mood) -> None:
        self.mood, self.servers.limit = mood, mood.capacity

    async def answer(self) -> bool:
        """Answer a request: True well, False pushed back."""
        mood = self.mood
        if mood.silent:
            await asyncio.sleep(self.reply_timeout_s)
            return False
        if self.over_rate(mood) or (mood.refuses and self.open >= mood.capacity):
            await asyncio.sleep(mood.latency_s / 10)
            return False
        self.open += 1
        try:
            async with self.servers.slot():
                await asyncio.sleep(self.latency_s(mood))
        finally:
            self.open -= 1
        return True

    def latency_s(self, mood: Mood) -> float:
        if self.rng.random() < mood.slow_share:
            return mood.slow_s
        latency_s = mood.latency_s + mood.growth_s * self.open
        if mood.knee:
            latency_s *= 1 + (self.open / mood.knee) ** 2
        return latency_s + self.rng.uniform(-mood.jitter_s, mood.jitter_s)

    def over_rate(self, mood: Mood) -> bool:
        if not mood.rate_per_s:
            return False
        if mood.burst:
            self.tokens = min(mood.burst, self.tokens + (now() - self.refilled) * mood.rate_per_s)
            self.refilled = now()
            self.tokens -= (over := self.tokens < 1) or 0 if self.tokens < 1 else 1
            return over
        self.admitted = [time for time in self.admitted if time > now() - 1 + 1e-6]
        if len(self.admitted) >= mood.rate_per_s:
            return True
        self.admitted.append(now())
        return False


@dataclass
class Turns:
    """The pace: spaces sends by the learned rate, and holds everybody when told."""

    free_at: float = 0.0
    held_until: float = 0.0

    async def turn(self, rate_per_s: float | None) -> None:
        while True:
            at = max(self.free_at, now())
            self.free_at = at + (1 / rate_per_s if rate_per_s else 0)
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
    limits: list[tuple[float, int, float]] = field(default_factory=list)

    def throughput(self, begin: float, end: float) -> float:
        return sum(begin < time <= end for time in self.good) / (end - begin)


async def drive(scenario: Scenario, moods: list[Mood], seed: int, until_s: float, fixed: int = 0) -> Books:
    """Send as fast as allowed until a time, with the limit found by itself or with a fixed one."""
    rng = random.Random(seed)
    vendor = Vendor(moods, random.Random(rng.random()), scenario.reply_timeout_s)
    books, turns = Books(), Turns()
    concurrency = Concurrency(scenario.ceiling)
    slots = Slots(fixed or concurrency.limit)

    async def send() -> None:
        async with slots.slot():
            if not fixed:
                await turns.turn(concurrency.rate_per_s)
            began = now()
            concurrency.opened(began)
            good = await vendor.answer()
            concurrency.closed(now(), round_trip_s=now() - began if good else None, pushed_back=not good)
            if not fixed:
                slots.limit = concurrency.limit
                books.limits.append((now(), concurrency.limit, concurrency.rate_per_s or 0))
        if good:
            books.good.append(now())
        else:
            books.pushed_back.append(now())
            turns.hold(vendor.mood.retry_after_s or scenario.hold_s * rng.random())

    async def work() -> None:
        while now() < until_s:
            await send()

    workers = [asyncio.create_task(work()) for _ in range(fixed or scenario.ceiling)]
    await asyncio.sleep(until_s)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return books


def fixed_settings(ceiling: int) -> list[int]:
    settings = {ceiling}
    step = 1.0
    while step < ceiling:
        settings.add(int(step))
        step *= 1.3
    return sorted(settings)


def best_fixed(scenario: Scenario, mood: Mood) -> tuple[float, int]:
    mood = replace(mood, from_s=0.0)
    found = []
    for limit in fixed_settings(scenario.ceiling):
        books = run(drive(scenario, [mood], 1, scenario.fixed_s, limit))
        found.append((books.throughput(scenario.fixed_s / 4, scenario.fixed_s), limit))
    best, _ = max(found)
    return best, min(limit for rate, limit in found if rate >= 0.99 * best)
