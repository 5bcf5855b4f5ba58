"""A snapshot for the tests of what is made of one: half of 2,000 rows read, nothing held."""

from __future__ import annotations

from typing import Any

from pipeline.model import Snapshot, Status


def snapshot(settled: int = 0, elapsed_s: float = 0.0, **more: Any) -> Snapshot:
    """Give one with the facts a test does not care about filled in."""
    facts: dict[str, Any] = {
        "counts": dict.fromkeys(Status, 0) | {Status.SUCCEEDED: settled},
        "rows_read": 1000,
        "bytes_read": 500,
        "bytes_total": 1000,
        "reading_done": False,
        "batches": 3,
        "requests": 4,
        "in_flight": 2,
        "waiting": 1,
        "elapsed_s": elapsed_s,
    }
    return Snapshot(**(facts | more))
