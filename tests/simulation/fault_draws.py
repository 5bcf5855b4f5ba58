"""How a seed draws what goes wrong: whom a fault hits, which items, and the kinds any vendor can have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from drawn_inventory import DrawnInventory

    Draw = Callable[["Draws"], dict[str, Any]]


def spread(rng: random.Random, low: float, high: float) -> float:
    """Draw evenly over the orders of magnitude."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


@dataclass(frozen=True, slots=True)
class Draws:
    """What a fault is drawn from. `listed` is the key under which this vendor's faults list items.

    `calls` are the sorts of call that a fault may be bound to; empty where the vendor has one only.
    """

    rng: random.Random
    inventory: DrawnInventory
    limits: dict[str, Any]
    listed: str
    calls: tuple[str, ...] = ()

    def whom(self, *calls: str) -> dict[str, Any]:
        """Choose which requests are hit; of `calls`, where only those can be."""
        rng = self.rng
        among = calls or self.calls
        on = {"on": rng.choice(among)} if among and rng.random() < 0.7 else {}
        match rng.randrange(20):
            case 0:
                return on
            case 1 | 2 | 3:
                return on | {"first": rng.randint(1, 6)}
            case 4 | 5 | 6:
                return on | {"requests": sorted(rng.sample(range(1, 30), rng.randint(1, 4)))}
            case _:
                return on | {"share": round(spread(rng, 0.02, 0.7), 3)}

    def which(self, least: float = 0.005) -> dict[str, Any]:
        """Choose which items are meant."""
        names = [row.key.rpartition(":")[2] for row in self.inventory.rows if row.fate == "send"]
        if names and self.rng.random() < 0.5:
            return {self.listed: self.rng.sample(names, min(len(names), self.rng.randint(1, 5)))}
        return {"item_share": round(spread(self.rng, least, 0.4), 4)}

    def wish(self) -> dict[str, Any]:
        """Choose a Retry-After, or none."""
        if self.rng.random() < 0.5:
            return {}
        return {
            "retry_after_s": round(spread(self.rng, 0.5, 100), 1),
            "retry_after_date": self.rng.random() < 0.3,
        }

    def maybe_commits(self) -> dict[str, Any]:
        """Choose whether it is carried out all the same."""
        return {"commit": self.rng.random() < 0.5}


_PASSING_OR_LOST = (408, 425, 429, 429, 500, 500, 502, 503, 503, 504)


def some(fault: dict[str, Any]) -> bool:
    """Tell whether a fault hits some requests only."""
    return bool({"share", "first", "requests"} & set(fault))


def plain(kind: str, *calls: str, commits: bool = False) -> Draw:
    """Draw a fault that has no words of its own."""
    return lambda d: {"kind": kind, **(d.maybe_commits() if commits else {}), **d.whom(*calls)}


def _status(d: Draws) -> dict[str, Any]:
    """Choose a status; one that says "not carried out" (4xx, 503) is never a lie."""
    rng = d.rng
    status = rng.choice(_PASSING_OR_LOST if rng.random() < 0.85 else (400, 401, 403, 404, 409, 413, 422))
    commit = d.maybe_commits() if status in (408, 500, 502, 504) else {}
    return {"kind": "status", "status": status, **commit, **d.wish(), **d.whom()}


#: The kinds that any vendor can have, by a name of ours.
GENERAL: dict[str, Draw] = {
    "status": _status,
    "status again": _status,
    "cut_before_commit": plain("cut_before_commit"),
    "cut_after_commit": lambda d: {
        "kind": "cut_after_commit",
        **d.rng.choice([{}, {"commit_items": d.rng.randint(1, 20)}]),
        **d.whom(),
    },
    "cut_in_reply": plain("cut_in_reply"),
    "hang": lambda d: {
        "kind": "hang", "seconds": round(spread(d.rng, 0.1, 4000), 3), **d.maybe_commits(), **d.whom()
    },
    "html": plain("html", commits=True),
    "empty": plain("empty", commits=True),
    "truncated_json": plain("truncated_json"),
    "slow": lambda d: {"kind": "slow", "seconds": round(spread(d.rng, 0.1, 200), 3), **d.whom()},
    "too_large": lambda d: {"kind": "too_large", "items": d.rng.choice([1, 3, 10, 30])},
    "rate_limit": lambda d: {
        "kind": "rate_limit",
        "requests_per_s": max(1, round(d.limits["requests_per_second"] * d.rng.choice([0.3, 0.8, 1, 2]))),
        **d.wish(),
    },
}  # fmt: skip


def draw_faults(
    d: Draws, table: dict[str, Draw], sensible: Callable[[Sequence[str]], Sequence[str]]
) -> list[dict[str, Any]]:
    """Draw a few of a vendor's kinds; `sensible` sees to it that they go together."""
    kinds = d.rng.sample(sorted(table), d.rng.choice([0, 1, 1, 2, 2, 3, 4, 6]))
    return [table[kind](d) for kind in sensible(kinds)]
