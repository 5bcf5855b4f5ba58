"""Everything that a seed decides: inventory, job, the vendor's faults and moods, and how each life ends."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drawn_inventory import DrawnInventory, draw_inventory

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Away:
    """The vendor is gone for a while. `crash`: what it was working on is lost; `silent`: it swallows all."""

    begins_s: float
    ends_s: float
    manner: str  # refused | crash | silent


@dataclass(frozen=True, slots=True)
class Ending:
    """How a life of the process ends: at the n-th event of a kind, or at a time.

    Killed: permit, sent, answered, ledger-before, ledger-after (the n-th of these), time, step.
    Told to: signal, two-signals. Failing: disk-full (the n-th write and all after it).
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


def draw_plan(seed: int) -> Plan:
    """Draw a story. The same seed always gives the same one."""
    rng = random.Random(f"simlift {seed}")
    batch_items = round(_spread(rng, 1, 60))
    batch_bytes = rng.choice([100_000, 100_000, round(_spread(rng, 1_000, 20_000))])
    rows = min(round(_spread(rng, rng.choice([1, 20]), 400)), batch_items * rng.randint(1, 24))
    inventory = draw_inventory(rng, rows, batch_bytes)
    limits = {
        "batch_items": batch_items,
        "batch_bytes": batch_bytes,
        "requests_per_second": round(_spread(rng, 0.5, 300), 3),
        "concurrency": round(_spread(rng, 1, 16)),
        "connect_timeout_s": rng.choice([1, 10]),
        "reply_timeout_s": round(_spread(rng, 0.5, 60), 3),
    }
    retry = {
        "attempts": rng.randint(1, 7),
        "first_wait_s": rng.choice([0, 0.1, 0.5, 2]),
        "longest_wait_s": rng.choice([1, 10, 60]),
        "settle_s": rng.choice([0, 1, 5, 20]),
    }
    target = {
        "kind": "sim-express",
        "base_url": "https://vendor.example",
        "access_code": "env:SIMULATION_ACCESS_CODE",
        "secret_code": "env:SIMULATION_SECRET_CODE",
        "on_exists": rng.choice(["refused", "refused", "refused", "ok"]),
    }
    lives = rng.choice([0, 0, 1, 1, 2, 3, 5])
    return Plan(
        seed=seed,
        inventory=inventory,
        block_bytes=rng.choice([3_000, 16_000, 4_000_000]),
        job={"target": target, "limits": limits, "retry": retry},
        vendor=_draw_vendor(rng, inventory, limits),
        disk_s=rng.choice([0.0, 0.001, 0.05]),
        read_s=rng.choice([0.0, 0.001, 0.5]),
        endings=tuple(_draw_ending(rng) for _ in range(lives)),
        restart_s=tuple(round(_spread(rng, 0.001, 60), 6) for _ in range(lives + 10)),
        retry=rng.random() < 0.3,
        retry_ending=_draw_ending(rng, soon=True) if rng.random() < 0.6 else None,
    )


def _spread(rng: random.Random, low: float, high: float) -> float:
    """Draw evenly over the orders of magnitude."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


_ENDINGS = (
    "permit", "sent", "sent", "answered", "answered", "ledger-before", "ledger-before", "ledger-after",
    "ledger-after", "time", "time", "step", "step", "step", "signal", "two-signals", "disk-full",
)  # fmt: skip


def _draw_ending(rng: random.Random, *, soon: bool = False) -> Ending:
    kind = rng.choice(_ENDINGS)
    most = (3_000 if kind == "step" else 60) // (10 if soon else 1)
    return Ending(kind, round(_spread(rng, 1, most)), round(_spread(rng, 0.01, 60), 6))


# ---------------------------------------------------------------- the vendor


def _draw_vendor(rng: random.Random, inventory: DrawnInventory, limits: dict[str, Any]) -> VendorPlan:
    kinds = rng.sample(sorted(_FAULTS), rng.choice([0, 1, 1, 2, 2, 3, 4, 6]))
    if "results_shuffled" in kinds or {"reorder_echo", "no_echo"} <= set(kinds):
        # Positions lie then, and an entry without a name could be told by nothing: no reply can be read
        # right whose results are moved about and differ without a name.
        kinds = [kind for kind in kinds if kind not in _NAMELESS]
    faults = [_FAULTS[kind](rng, inventory, limits) for kind in kinds]
    lasting = [fault for fault in faults if fault["kind"] == "refuse_items" and not _some(fault)]
    seed, reply_timeout_s = rng.randrange(2**32), limits["reply_timeout_s"]
    mean_s = round(min(_spread(rng, 0.005, 3), reply_timeout_s * rng.choice([0.3, 0.3, 0.3, 1.2])), 6)
    return VendorPlan(
        faults={
            "seed": seed,
            "latency": {"mean_s": mean_s, "jitter_s": round(mean_s * rng.choice([0, 0.2, 1]), 6)},
            "fault": faults,
        },
        healed={"seed": seed, "latency": {"mean_s": min(mean_s, reply_timeout_s / 4)}, "fault": lasting},
        max_items=rng.choice([1000, 1000, 1000, 59, 20, 7]),
        way_s=rng.choice([0.0, 0.0, 0.001, 0.03]),
        away=_draw_away(rng),
        capacity=_draw_capacity(rng),
    )


def _draw_away(rng: random.Random) -> tuple[Away, ...]:
    absences = []
    for _ in range(rng.choice([0, 0, 0, 0, 1, 2])):
        begins_s = round(rng.choice([0.0, _spread(rng, 0.01, 120)]), 6)
        ends_s = round(begins_s + _spread(rng, 0.1, 600), 6)
        absences.append(Away(begins_s, ends_s, rng.choice(["refused", "crash", "silent"])))
    return tuple(sorted(absences, key=lambda away: away.begins_s))


def _draw_capacity(rng: random.Random) -> tuple[tuple[float, int], ...]:
    """Draw changes: each phase lets so many requests be worked on at once."""
    phases = rng.choice([0, 0, 0, 1, 3])
    times = sorted(_spread(rng, 0.1, 300) for _ in range(phases))
    return tuple((round(at, 6), rng.choice([1, 2, 4, 16])) for at in (0.0, *times)) if phases else ()


def _some(fault: dict[str, Any]) -> bool:
    return bool({"share", "first", "requests"} & set(fault))


def _whom(rng: random.Random) -> dict[str, Any]:
    """Choose which requests are hit."""
    match rng.randrange(20):
        case 0:
            return {}
        case 1 | 2 | 3:
            return {"first": rng.randint(1, 6)}
        case 4 | 5 | 6:
            return {"requests": sorted(rng.sample(range(1, 30), rng.randint(1, 4)))}
        case _:
            return {"share": round(_spread(rng, 0.02, 0.7), 3)}


def _which(rng: random.Random, inventory: DrawnInventory, least: float = 0.005) -> dict[str, Any]:
    """Choose which items are meant."""
    iccids = [row.iccid for row in inventory.rows if row.fate == "send"]
    if iccids and rng.random() < 0.5:
        return {"iccids": rng.sample(iccids, min(len(iccids), rng.randint(1, 5)))}
    return {"item_share": round(_spread(rng, least, 0.4), 4)}


def _wish(rng: random.Random) -> dict[str, Any]:
    if rng.random() < 0.5:
        return {}
    return {"retry_after_s": round(_spread(rng, 0.5, 100), 1), "retry_after_date": rng.random() < 0.3}


def _maybe_commits(rng: random.Random) -> dict[str, Any]:
    return {"commit": rng.random() < 0.5}


_PASSING_OR_LOST = (408, 425, 429, 429, 500, 500, 502, 503, 503, 504)
_ENVELOPES = (
    ("000001", "server error"),
    ("000001", "server error"),
    ("999999", "system exception"),
    ("900001", "system busy"),
    ("000106", "parameter error"),
    ("000101", "the request is malformed"),
    ("000107", "profileItems is more than 1000"),
    ("101003", "the signature is wrong"),
)
_MAY_HAVE_TAKEN = {"000001", "999999"}


def _status(rng: random.Random, _i: DrawnInventory, _l: dict[str, Any]) -> dict[str, Any]:
    """Choose a status; one that says "not carried out" (4xx, 503) is never a lie."""
    status = rng.choice(_PASSING_OR_LOST if rng.random() < 0.85 else (400, 401, 403, 404, 409, 413, 422))
    commit = _maybe_commits(rng) if status in (408, 500, 502, 504) else {}
    return {"kind": "status", "status": status, **commit, **_wish(rng), **_whom(rng)}


def _error_envelope(rng: random.Random, _i: DrawnInventory, _l: dict[str, Any]) -> dict[str, Any]:
    code, message = rng.choice(_ENVELOPES)
    commit = _maybe_commits(rng) if code in _MAY_HAVE_TAKEN else {}
    return {"kind": "error_envelope", "code": code, "message": message, **commit, **_whom(rng)}


def _plain(kind: str, *, commits: bool = False) -> Any:
    return lambda rng, _i, _l: {"kind": kind, **(_maybe_commits(rng) if commits else {}), **_whom(rng)}


def _refuse_items(reasons: Sequence[str], *, passing: bool = False) -> Any:
    """A final no is the vendor's rule and so holds for every request; a passing one comes and goes."""
    return lambda rng, inventory, _l: {
        "kind": "refuse_items",
        "reason": rng.choice(reasons),
        **_which(rng, inventory, 0.1 if passing else 0.005),
        **({"share": round(rng.uniform(0.2, 1), 3)} if passing else {}),
    }


_FAULTS: dict[str, Any] = {
    "status": _status,
    "status again": _status,
    "error_envelope": _error_envelope,
    "cut_before_commit": _plain("cut_before_commit"),
    "cut_after_commit": lambda rng, _i, _l: {
        "kind": "cut_after_commit",
        **rng.choice([{}, {"commit_items": rng.randint(1, 20)}]),
        **_whom(rng),
    },
    "cut_in_reply": _plain("cut_in_reply"),
    "hang": lambda rng, _i, _l: {
        "kind": "hang", "seconds": round(_spread(rng, 0.1, 4000), 3), **_maybe_commits(rng), **_whom(rng)
    },
    "html": _plain("html", commits=True),
    "empty": _plain("empty", commits=True),
    "truncated_json": _plain("truncated_json"),
    "busy": _plain("busy"),
    "slow": lambda rng, _i, _l: {"kind": "slow", "seconds": round(_spread(rng, 0.1, 200), 3), **_whom(rng)},
    "short_list": lambda rng, _i, _l: {
        "kind": "short_list", "missing": rng.choice([1, 1, 3, 9]), **_whom(rng)
    },
    "reorder_echo": _plain("reorder_echo"),
    "results_shuffled": _plain("results_shuffled"),
    "no_echo": _plain("no_echo"),
    "spelling": _plain("spelling"),
    "refuse_items": _refuse_items(
        ["the profile is not allowed, iccid:[{iccid}]", "the eid is exist in db, iccid:[{iccid}]"]
    ),
    "refuse_items nameless": _refuse_items(["the profile is not allowed"]),
    "refuse_items busy": _refuse_items(["system busy, iccid:[{iccid}]"], passing=True),
    "refuse_items error": _refuse_items(["system error, iccid:[{iccid}]"], passing=True),
    "refuse_items passing nameless": _refuse_items(["system busy", "server error"], passing=True),
    "refuse_batch": lambda rng, inventory, _l: {
        "kind": "refuse_batch",
        "code": rng.choice(["000106", "000103"]),
        **_which(rng, inventory),
    },
    "too_large": lambda rng, _i, _l: {"kind": "too_large", "items": rng.choice([1, 3, 10, 30])},
    "rate_limit": lambda rng, _i, limits: {
        "kind": "rate_limit",
        "requests_per_s": max(1, round(limits["requests_per_second"] * rng.choice([0.3, 0.8, 1, 2]))),
        **_wish(rng),
    },
}  # fmt: skip
_NAMELESS = frozenset({"refuse_items nameless", "refuse_items passing nameless"})
