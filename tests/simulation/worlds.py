"""The vendors that stories are told about: a new one is a line here."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from bulk_subscriber_world import BulkSubscriberWorld
from sim_express_world import SimExpressWorld

if TYPE_CHECKING:
    from world import World

WORLDS: dict[str, type[World]] = {kind.name: kind for kind in (SimExpressWorld, BulkSubscriberWorld)}


def target_of(seed: int) -> str:
    """Say which vendor a seed's story is about."""
    return random.Random(f"target {seed}").choice(list(WORLDS))
