"""A run with its surroundings: event loop, signals, log file, progress display, reports and last words."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.console import Console

from pipeline import reports
from pipeline.logs import Redactor, log_to
from pipeline.progress import watch

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.importer import Import
    from pipeline.model import RunRecord


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make a uvloop where there is one (it saves a third of the loop's time), else asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - it is not there for every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def carry_out(work: Import, folder: Path) -> int:
    """Run an import to its end, write its reports, print its result; give the exit code."""
    try:
        record = attend(work, folder)
        summary = reports.write_all(work.ledger, folder)
    finally:
        work.ledger.close()
    because = Redactor(work.secrets).text(record.stop_reason)
    found = [
        f"  finding    {tally.rows:>12,} x {tally.code}, see report.html or simlift check"
        for tally in work.findings.values()
    ]
    sys.stdout.write("".join(f"{line}\n" for line in [*result_lines(summary, folder, because), *found]))
    return record.exit_code or 0


def result_lines(summary: reports.Summary, folder: Path, stop_reason: str = "") -> list[str]:
    """Give the end of a run as a person wants to read it."""
    under_way = summary.rows_read is None
    rows = f"{summary.settled:,} rows settled" if under_way else f"{summary.rows_read:,} rows read"
    lines = [f"run {summary.run_id}: {summary.state}, {summary.good:,} of {rows} are good"]
    if stop_reason:
        lines.append(f"  because: {stop_reason}")
    if summary.corrects:
        lines.append(f"  corrects run {summary.corrects}")
    if summary.open_tickets:
        lines.append(f"  the vendor has accepted {summary.open_tickets:,} rows that it has yet to finish")
    lines += [f"  {name:<10} {count:>12,}" for name, count in summary.counts.items() if count]
    if summary.duration_s:
        lines.append(
            f"  {summary.batches:,} batches, {summary.requests:,} requests, {summary.duration_s:.1f} s, "
            f"{summary.rows_per_s:,.0f} rows/s, books {'balance' if summary.balanced else 'still open'}"
        )
    lines.append(f"  reports in {folder}")
    return lines


def attend(work: Import, folder: Path) -> RunRecord:
    """Run an import to its end. The first SIGINT or SIGTERM drains it, a second one ends it at once."""
    with (
        log_to(folder / "log.jsonl", Redactor(work.secrets)),
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        return runner.run(_attended(work))


async def _attended(work: Import) -> RunRecord:
    loop = asyncio.get_running_loop()
    heard: list[int] = []

    def hear(number: int) -> None:
        heard.append(number)
        if len(heard) == 1:
            work.stop(number)
        else:
            work.abandon()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, hear, number)
    watching = asyncio.create_task(watch(work.snapshot, Console(stderr=True)), name="progress")
    try:
        return await work.run()
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
