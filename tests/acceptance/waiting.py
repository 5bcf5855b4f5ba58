"""The one place where these tests wait: for something observable, with a deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_S = 30.0
LOOK_AGAIN_S = 0.01

Seen = TypeVar("Seen")


def until(look: Callable[[], Seen], enough: Callable[[Seen], bool], what: str) -> Seen:
    """Look until it is enough; give what was seen then. Fails after DEADLINE_S."""
    give_up_at = time.monotonic() + DEADLINE_S
    while not enough(seen := look()):
        assert time.monotonic() < give_up_at, f"not seen within {DEADLINE_S:.0f} s: {what}; last {seen!r}"
        time.sleep(LOOK_AGAIN_S)
    return seen
