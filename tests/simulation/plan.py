"""Everything that a seed decides: inventory, job, the vendor's faults and moods, and how each life ends."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drawn_inventory import DrawnInventory, draw_inventory
from fault_draws import spread
from worlds import WORLDS, target_of

if TYPE_CHECKING:
    from world import World


@dataclass(frozen=True, slots=True)
class Away:
    """The vendor is gone for a while. `crash`: what it was working on is lost; `silent`: it swallows all."""

    begins_s: float
    ends_s: float
    manner: str  # refused | crash | silent


@dataclass(frozen=True, slots=True)
class Ending:
    """How a life of the process ends: at the n-th event of a kind, or at a time.

    Killed: permit, sent, answered, ledger-before, ledger-after (the n-th of these, or of those that only this
    vendor's runs have), time, step. Told to: signal, two-signals. Failing: disk-full (the n-th write and all
    after it).
    """

    kind: str
    number: int = 0
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class VendorPlan:
    """What the vendor is like. `capacity` lists (from when on, how many requests at once)."""

    faults: dict[str, Any]
    healed: dict[str, Any]
    max_items: int
    way_s: float  # one way through the network
    away: tuple[Away, ...]
    capacity: tuple[tuple[float, int], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One story, before it is told."""

    seed: int
    target: str
    inventory: DrawnInventory
    block_bytes: int
    job: dict[str, Any]
    vendor: VendorPlan
    disk_s: float  # how long a write takes
    read_s: float  # how long the producer takes for a portion
    endings: tuple[Ending, ...]
    restart_s: tuple[float, ...]
    retry: bool  # a finished run is tried again, once
    retry_ending: Ending | None
    asks_again: bool  # a run goes on by `resume`, which asks after kept tickets again, not by `run`


def draw_plan(seed: int) -> Plan:
    """Draw a story. The same seed always gives the same one."""
    rng = random.Random(f"simlift {seed}")
    world = WORLDS[target_of(seed)]
    batch_items = round(spread(rng, 1, 60))
    batch_bytes = rng.choice([100_000, 100_000, round(spread(rng, 1_000, 20_000))])
    rows = min(round(spread(rng, rng.choice([1, 20]), 400)), batch_items * rng.randint(1, 24))
    inventory = draw_inventory(rng, world.rows, rows, batch_bytes)
    limits = {
        "batch_items": batch_items,
        "batch_bytes": batch_bytes,
        "requests_per_second": round(spread(rng, 0.5, 300), 3),
        "concurrency": round(spread(rng, 1, 16)),
        "connect_timeout_s": rng.choice([1, 10]),
        "reply_timeout_s": round(spread(rng, 0.5, 60), 3),
    }
    retry = {
        "attempts": rng.randint(1, 7),
        "first_wait_s": rng.choice([0, 0.1, 0.5, 2]),
        "longest_wait_s": rng.choice([1, 10, 60]),
        "settle_s": rng.choice([0, 1, 5, 20]),
    }
    job: dict[str, Any] = {"limits": limits, "retry": retry, **world.draw_tables(rng)}
    for name, table in inventory.job.items():
        job[name] = job.get(name, {}) | table
    job["guards"] = _draw_guards(seed)
    lives = rng.choice([0, 0, 1, 1, 2, 3, 5])
    return Plan(
        seed=seed,
        target=world.name,
        inventory=inventory,
        block_bytes=rng.choice([3_000, 16_000, 4_000_000]),
        job=job,
        vendor=_draw_vendor(rng, world, inventory, job),
        disk_s=rng.choice([0.0, 0.001, 0.05]),
        read_s=rng.choice([0.0, 0.001, 0.5]),
        endings=tuple(_draw_ending(rng, world) for _ in range(lives)),
        restart_s=tuple(round(spread(rng, 0.001, 60), 6) for _ in range(lives + 10)),
        retry=rng.random() < 0.3,
        retry_ending=_draw_ending(rng, world, soon=True) if rng.random() < 0.6 else None,
        asks_again=rng.random() < 0.7,
    )


def _draw_guards(seed: int) -> dict[str, Any]:
    """Draw what stops or holds the run by itself; by chances of its own, so that all else stays as it was."""
    rng = random.Random(f"guards {seed}")
    over = round(spread(rng, 2, 300))
    drawn = {
        "canary": {"canary_items": round(spread(rng, 1, 200)), "canary_share": rng.choice([0.0, 0.02, 0.3])},
        "items": {"budget_items": rng.randint(1, over - 1), "budget_over_items": over},
        "share": {"budget_share": rng.choice([0.001, 0.05, 0.5]), "budget_over_items": over},
        "code": {"new_code": rng.choice(["hold", "stop"])},
    }
    table: dict[str, Any] = {}
    for name in rng.sample(sorted(drawn), rng.choice([0, 0, 0, 1, 2, 4])):
        table |= drawn[name]
    return table


_ENDINGS = (
    "permit", "sent", "sent", "answered", "answered", "ledger-before", "ledger-before", "ledger-after",
    "ledger-after", "time", "time", "step", "step", "step", "signal", "two-signals", "disk-full",
)  # fmt: skip


def _draw_ending(rng: random.Random, world: type[World], *, soon: bool = False) -> Ending:
    kind = rng.choice(_ENDINGS + world.endings)
    most = (3_000 if kind == "step" else 60) // (10 if soon else 1)
    return Ending(kind, round(spread(rng, 1, most)), round(spread(rng, 0.01, 60), 6))


# ---------------------------------------------------------------- the vendor


def _draw_vendor(
    rng: random.Random, world: type[World], inventory: DrawnInventory, job: dict[str, Any]
) -> VendorPlan:
    faults, lasting = world.draw_faults(rng, inventory, job)
    ill, well = world.draw_more(rng, job)
    seed, reply_timeout_s = rng.randrange(2**32), job["limits"]["reply_timeout_s"]
    mean_s = round(min(spread(rng, 0.005, 3), reply_timeout_s * rng.choice([0.3, 0.3, 0.3, 1.2])), 6)
    return VendorPlan(
        faults={
            "seed": seed,
            "latency": {"mean_s": mean_s, "jitter_s": round(mean_s * rng.choice([0, 0.2, 1]), 6)},
            "fault": faults,
            **ill,
        },
        healed={
            "seed": seed,
            "latency": {"mean_s": min(mean_s, reply_timeout_s / 4)},
            "fault": lasting,
            **well,
        },
        max_items=rng.choice(world.max_items),
        way_s=rng.choice([0.0, 0.0, 0.001, 0.03]),
        away=_draw_away(rng),
        capacity=_draw_capacity(rng),
    )


def _draw_away(rng: random.Random) -> tuple[Away, ...]:
    absences = []
    for _ in range(rng.choice([0, 0, 0, 0, 1, 2])):
        begins_s = round(rng.choice([0.0, spread(rng, 0.01, 120)]), 6)
        ends_s = round(begins_s + spread(rng, 0.1, 600), 6)
        absences.append(Away(begins_s, ends_s, rng.choice(["refused", "crash", "silent"])))
    return tuple(sorted(absences, key=lambda away: away.begins_s))


def _draw_capacity(rng: random.Random) -> tuple[tuple[float, int], ...]:
    """Draw changes: each phase lets so many requests be worked on at once."""
    phases = rng.choice([0, 0, 0, 1, 3])
    times = sorted(spread(rng, 0.1, 300) for _ in range(phases))
    return tuple((round(at, 6), rng.choice([1, 2, 4, 16])) for at in (0.0, *times)) if phases else ()
