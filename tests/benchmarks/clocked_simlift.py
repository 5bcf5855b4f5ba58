"""The simlift command with a clock on every stage: `clocked_simlift.py FIGURES.json run ...`.

Nothing in the product knows of it: the clocks are put around its functions from outside.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from stage_clock import StageClock

START_UP, FINGERPRINT, READING, SCREENING, DEDUPE, ENCODING, BATCHING = (
    "start-up", "fingerprint", "reading", "screening", "dedupe", "encoding", "cutting batches",
)  # fmt: skip
POOL, SIGNING, HTTP, PARSING, RECONCILING, DECIDING, LEDGER, PROGRESS, REPORTS = (
    "event loop, worker pool", "signing", "HTTP", "reply parsing", "reconciling", "deciding", "ledger",
    "progress", "reports",
)  # fmt: skip

#: The order of the table.
ORDER = (
    START_UP, FINGERPRINT, READING, SCREENING, DEDUPE, ENCODING, BATCHING, SIGNING, HTTP, PARSING,
    RECONCILING, DECIDING, LEDGER, POOL, PROGRESS, REPORTS,
)  # fmt: skip

BASES = {
    "MainThread": START_UP,
    "producer": BATCHING,
    "cross-rows": DEDUPE,
    "ledger": LEDGER,
    "outcomes": REPORTS,
}

STAGES = {
    FINGERPRINT: ("pipeline.inventory:Inventory.fingerprint",),
    READING: ("pipeline.runs:open_inventory", "pipeline.sources.csv_file:CsvSource.chunks"),
    SCREENING: ("pipeline.producer:Screen.__call__",),
    DEDUPE: tuple(f"pipeline.producer:CrossRows.{name}" for name in ("begin", "finish", "rest", "close")),
    BATCHING: ("pipeline.producer:Producer._portion", "pipeline.producer:Cutter.rest"),
    ENCODING: (
        "pipeline.targets.sim_express:SimExpress.encode",
        "pipeline.targets.sim_express:SimExpress.key",
        "pipeline.targets.sim_express:_body",
    ),
    POOL: ("pipeline.attended:attend",),
    SIGNING: ("pipeline.targets.sim_express:signed_headers",),
    HTTP: ("pipeline.http_client:HttpClient.exchange", "aiohttp.client_proto:ResponseHandler.data_received"),
    PARSING: ("pipeline.targets.sim_express:SimExpress._read",),
    RECONCILING: ("pipeline.calls:reconcile", "pipeline.model:Batch.keys"),
    DECIDING: ("pipeline.worker_pool:decide", "pipeline.worker_pool:settlement_of"),
    LEDGER: (
        "pipeline.ledgers.group_commit:GroupCommit._hand_over",
        "pipeline.ledgers.group_commit:_resolve",
        "pipeline.ledgers.sqlite:SqliteLedger.create",
        "pipeline.ledgers.sqlite:SqliteLedger.close",
        "pipeline.importer:Import._close_books",
    ),
    PROGRESS: ("pipeline.attended:watch",),
    REPORTS: ("pipeline.reports:write_all",),
}  # fmt: skip


def main() -> None:
    figures = Path(sys.argv.pop(1))
    clock = StageClock(BASES)
    clock.install(STAGES)
    from pipeline.cli import main as simlift  # noqa: PLC0415 - behind the clocks

    try:
        simlift()
    finally:
        # The process's time last: what threads use between the two is nobody's.
        spent_s = clock.spent_s()
        figures.write_text(json.dumps({"threads": spent_s, "process_s": time.process_time()}), "utf-8")


if __name__ == "__main__":
    main()
