"""A run with its surroundings: event loop, signals, log file, progress display, reports and last words."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog
from rich.console import Console

from pipeline import reports
from pipeline.logs import Redactor, log_to
from pipeline.progress import watch
from pipeline.steering import follow, take_course

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path

    from pipeline.importer import Import
    from pipeline.model import RunRecord

log = structlog.get_logger(__name__)


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
    if work.job is None:
        return await work.run()
    take_course(work)
    async with _beside(
        progress=watch(work.snapshot, Console(stderr=True)),
        steering=follow(work),
    ):
        return await work.run()


@asynccontextmanager
async def _beside(**companions: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Let others do their part as long as the run lasts; one that fails is logged, and the run goes on."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_logged(name, its), name=name) for name, its in companions.items()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _logged(name: str, companion: Coroutine[None, None, None]) -> None:
    try:
        await companion
    except Exception:
        log.exception("a companion of the run failed", companion=name)
