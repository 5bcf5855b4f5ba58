"""An inventory read to its end and sent nowhere: counted, shown as it goes, its failures written down."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from rich.console import Console

from pipeline.check import Findings, Unsent, counted
from pipeline.errors import UsageError
from pipeline.model import RunRecord, State
from pipeline.progress import Reading
from pipeline.reports.failures import write_failures_as_they_came
from pipeline.reports.rows import write_failures
from pipeline.work import produce

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pipeline.contracts import Ledger, Target
    from pipeline.inventory import Inventory
    from pipeline.model import Portion
    from pipeline.settings import Job


def examine(inventory: Inventory, job: Job, target: Target, out: Path | None = None) -> Findings:
    """Read an inventory to its end and count; with `out`, write its failures into that folder.

    Those in its own format take another reading. Raises InventoryError, and UsageError for a folder that
    cannot be made.
    """
    findings = Findings(stopping=job.input.stopping)
    with Reading(Console(stderr=True), inventory.bytes_total) as show:
        portions = _shown(counted(produce(inventory, job, target), findings), show)
        if out is None:
            deque(portions, maxlen=0)
            return findings
        try:
            out.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--out {out}: cannot be made: {error.strerror}") from None
        record = RunRecord(
            run_id="check",
            state=State.FINISHED,
            target=job.target_kind,
            inventory=inventory.names,
            fingerprint="",
            header=inventory.header,
            job=job.data(),
            started_at=time.time(),
            formats=inventory.formats,
        )
        write_failures(cast("Ledger", Unsent(record, portions)), out / "failures.csv")
    for kind in inventory.formats if findings.problems else ():
        again = Unsent(replace(record, formats=(kind,)), _read_again(inventory, job, target))
        write_failures_as_they_came(cast("Ledger", again), out)
    return findings


def _read_again(inventory: Inventory, job: Job, target: Target) -> Iterator[Portion]:
    """Read it once it is asked for, which it is not for a format without a failures file of its own."""
    yield from produce(inventory, job, target)


def _shown(portions: Iterable[Portion], show: Reading) -> Iterator[Portion]:
    for portion in portions:
        show(portion)
        yield portion
