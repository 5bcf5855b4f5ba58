"""What the tests of the SQLite ledger are made of: run facts, batches, rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.model import ITEM_COLUMNS, Batch, Exceptional, RunRecord, State, Status

if TYPE_CHECKING:
    from collections.abc import Iterable

RECORD = RunRecord(
    run_id="nightly",
    state=State.RUNNING,
    target="sim-express",
    inventory=("profiles.csv", "más.csv"),
    fingerprint="f",
    header=("ICC ID", "EID", "ICC ID"),
    job={"target": {"kind": "sim-express", "secret_code": "env:SECRET"}, "limits": {"batch_items": 1000}},
    started_at=1_767_225_600.25,
)


def key_of(position: int) -> str:
    return f"8935711001{position:09d}{position * 7 % 10}"


def batch_of(positions: Iterable[int], *, keys: list[str] | None = None, **facts: Any) -> Batch:
    places = list(positions)
    names = pa.array(keys or [key_of(position) for position in places], pa.string())
    cells = pa.StructArray.from_arrays([names], names=["0"])
    columns = [pa.array(places, pa.int64()), names, names, cells]
    return Batch(pa.RecordBatch.from_arrays(columns, names=list(ITEM_COLUMNS)), **facts)


def promised(position: int, **facts: Any) -> Exceptional:
    """Give a row that holds a ticket, open unless `status` says how it ended."""
    return row(position, facts.pop("status", None), **({"ticket": f"t{position}", "call": "call"} | facts))


def row(position: int, status: Status | None, **facts: Any) -> Exceptional:
    sent = status not in (Status.REJECTED, Status.DUPLICATE)
    common: dict[str, Any] = {"key": key_of(position), "code": "c", "reason": "r", "sends": int(sent)}
    return Exceptional(position=position, status=status, **(common | facts))
