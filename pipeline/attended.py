"""A run with its surroundings: event loop, signals, log file, progress display, reports and last words."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from rich.console import Console

from pipeline import reports
from pipeline.chronicle import Event, EventKind
from pipeline.log_form import LogForm
from pipeline.logs import Redactor, log_to
from pipeline.metrics import Metrics, served
from pipeline.notices import Herald
from pipeline.opening_hours import OpeningHours
from pipeline.progress import LINE_EVERY_S, watch
from pipeline.sampling import sample
from pipeline.settings import Notify
from pipeline.standing import Gauge
from pipeline.steering import follow, person, take_course
from pipeline.tracing import is_asked_for as tracing_is_asked_for, traced_to_otlp
from pipeline.window import schedule_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from pipeline.contracts import Ledger
    from pipeline.importer import Import
    from pipeline.model import RunRecord
    from pipeline.standing import Standing

TOLD_EVERY_S = 1.0

log = structlog.get_logger(__name__)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make a uvloop where there is one (it saves a third of the loop's time), else asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - it is not there for every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is around a run besides its folder: the log on standard error, metrics (port 0: none)."""

    log: LogForm = LogForm.NONE
    metrics_port: int = 0
    metrics_host: str = "127.0.0.1"


PLAIN = Surroundings()


def carry_out(work: Import, folder: Path, around: Surroundings = PLAIN) -> int:
    """Run an import to its end, write its reports, print its result; give the exit code."""
    try:
        record = attend(work, folder, around)
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


def attend(work: Import, folder: Path, around: Surroundings = PLAIN) -> RunRecord:
    """Run an import to its end. The first SIGINT or SIGTERM drains it, a second one ends it at once."""
    run_id = work.ledger.run().run_id
    with (
        log_to(folder / "log.jsonl", Redactor(work.secrets), run_id=run_id, also=around.log),
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        return runner.run(_attended(work, around))


async def _attended(work: Import, around: Surroundings) -> RunRecord:
    _hear_signals(work)
    if work.job is None:
        return await work.run()
    await _note(work, EventKind.STARTED, f"process {os.getpid()} on {socket.gethostname()}, by {person()}")
    take_course(work)
    hours = OpeningHours(work, schedule_of(work.job))
    hours.look()
    gauge = Gauge(hours.reach)
    herald = _herald(work)

    def take() -> Standing:
        return gauge.read(work.snapshot(), time.time())

    async with _beside(
        progress=_shown(take, around),
        standing=_tell(take, work.ledger),
        steering=follow(work),
        notices=herald.watch(),
        samples=sample(work),
        window=_kept(hours, work),
    ):
        with _observed(work, around, take):
            record = await work.run()
    await _note(work, EventKind.ENDED, ": ".join(filter(None, (record.state, record.stop_reason))))
    await herald.end(result_lines(reports.summary(work.ledger), Path())[0])
    return record


def _hear_signals(work: Import) -> None:
    heard: list[int] = []

    def hear(number: int) -> None:
        heard.append(number)
        if len(heard) == 1:
            work.stop(number)
        else:
            work.abandon()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, hear, number)


async def _shown(take: Callable[[], Standing], around: Surroundings) -> None:
    """Show how the run stands: as a display or lines, or where the log is shown, as events of it."""
    if around.log is LogForm.NONE:
        await watch(take, Console(stderr=True))
    while True:
        await asyncio.sleep(LINE_EVERY_S)
        log.info("progress", **reports.progress_data(take()))


@contextmanager
def _observed(work: Import, around: Surroundings, take: Callable[[], Standing]) -> Iterator[None]:
    """Count and trace the requests of a run, where that is asked for. Raises UsageError."""
    run = work.ledger.run()
    with ExitStack() as stack:
        if around.metrics_port:
            metrics = Metrics(run, take)
            stack.enter_context(served(metrics, around.metrics_port, around.metrics_host))
            work.observers.append(metrics)
        if tracing_is_asked_for():
            work.observers.append(stack.enter_context(traced_to_otlp(run.run_id)))
        yield


async def _note(work: Import, kind: EventKind, words: str) -> None:
    now = time.time()
    await work.ledger.note(Event(now, kind, words, taken_at=now))


def _herald(work: Import) -> Herald:
    job = work.job
    return Herald(
        job.notify if job else Notify(),
        work.ledger,
        secret=work.notify_secret,
        clean=Redactor(work.secrets).text,
        figures=lambda: reports.summary(work.ledger).data(),
    )


async def _tell(take: Callable[[], Standing], ledger: Ledger) -> None:
    """Let other processes see how the run stands."""
    while True:
        await ledger.write_standing(take())
        await asyncio.sleep(TOLD_EVERY_S)


async def _kept(hours: OpeningHours, work: Import) -> None:
    """Keep the window; a run whose window nobody keeps must not go on."""
    try:
        await hours.keep()
    except Exception:
        work.stop_for("the [window] cannot be kept; see log.jsonl")
        raise


@asynccontextmanager
async def _beside(**companions: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Let others do their part as long as the run lasts; one that fails is logged, and the run goes on."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_logged(name, its), name=name) for name, its in companions.items()]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    except ExceptionGroup as errors:  # the run's own: companions raise nothing
        raise errors.exceptions[0] from None


async def _logged(name: str, companion: Coroutine[None, None, None]) -> None:
    try:
        await companion
    except Exception:
        log.exception("a companion of the run failed", companion=name)
