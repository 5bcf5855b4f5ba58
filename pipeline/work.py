"""What an import needs before it runs: its target, its secrets, its portions, all fetched and made in time.

Only here do stages meet targets, found by name through entry points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import InventoryError, UsageError
from pipeline.plugins import installed
from pipeline.producer import Producer
from pipeline.row_names import RowNames
from pipeline.secret_references import secret_at, signing_key_of
from pipeline.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic import SecretStr

    from pipeline.contracts import Target
    from pipeline.inventory import Inventory
    from pipeline.model import Portion, ResumePoint
    from pipeline.settings import Endpoint, Job


def open_target(job: Job, *, resolve_secrets: bool = True) -> tuple[Target, Endpoint]:
    """Make the job's target and its settings.

    Raises UsageError for a wrong [target] table or a missing secret.
    """
    kind = installed("targets", job.target_kind)
    settings: Endpoint = read_table(
        kind.settings, job.target, where=job.where, table="target", resolve_secrets=resolve_secrets
    )
    target: Target = kind(settings)
    return target, settings


def notify_secret_of(job: Job) -> SecretStr | None:
    """Fetch the secret that webhooks are signed with; None without one. Raises UsageError."""
    reference, where = job.notify.secret, f"{job.where}: notify.secret"
    if not reference:
        return None
    secret = secret_at(reference, where=where)
    try:
        signing_key_of(secret)
    except ValueError as error:
        raise UsageError(f"{where}: {error}; ask whoever gave it to you") from None
    return secret


def produce(
    inventory: Inventory,
    job: Job,
    target: Target,
    resume: ResumePoint | None = None,
    *,
    spill: Path | None = None,
) -> Iterator[Portion]:
    """Start producing. Reads the first stretch at once: a hopeless file fails before anything is sent.

    What does not fit into memory goes to nameless files in `spill` (None: the system's folder for such).

    Raises InventoryError, also for an inventory without a single row.
    """
    producer = Producer(
        inventory.sources,
        target,
        job.input,
        batch_items=batch_items_of(job, target),
        batch_bytes=job.limits.batch_bytes,
        resume=resume,
        row_names=RowNames(inventory.names),
        spill=spill,
    )
    portions = producer.portions()
    first = next(portions)
    if not first.rows_read:
        raise InventoryError(f"{', '.join(inventory.names)}: has a header but no rows; nothing to import")
    return _begun(first, portions)


def _begun(first: Portion, rest: Iterator[Portion]) -> Iterator[Portion]:
    yield first
    yield from rest


def batch_items_of(job: Job, target: Target) -> int:
    """Give the bound per batch: the job's, never above the target's own."""
    return min(job.limits.batch_items or target.most_batch_items, target.most_batch_items)


@dataclass(frozen=True, slots=True)
class Work:
    """What an unfinished run still needs: its portions, and where they go."""

    portions: Iterator[Portion]
    target: Target
    settings: Endpoint
    job: Job
    bytes_total: int
    notify_secret: SecretStr | None = None
