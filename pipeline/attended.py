"""A run with its surroundings: event loop, signals, log file, progress display, reports and last words."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog
from rich.console import Console

from pipeline import reports
from pipeline.chronicle import Event, EventKind
from pipeline.errors import SimliftError
from pipeline.log_form import LogForm
from pipeline.logs import Redactor, log_to
from pipeline.metrics import Metrics, served
from pipeline.notices import Herald
from pipeline.opening_hours import OpeningHours
from pipeline.progress import LINE_EVERY_S, watch
from pipeline.sampling import sample
from pipeline.secret_references import secrets_fetched
from pipeline.settings import Notify
from pipeline.standing import Gauge
from pipeline.steering import follow, person, take_course
from pipeline.tracing import provider_from_environment, secrets_in_environment, spans_of
from pipeline.window import schedule_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

    from opentelemetry.sdk.trace import TracerProvider
    from prometheus_client import CollectorRegistry

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
    """What is around a run besides its folder: the log on standard error, metrics and traces, if wanted."""

    log: LogForm = LogForm.NONE
    metrics: CollectorRegistry | None = None
    traces: TracerProvider | None = None


PLAIN = Surroundings()


@contextmanager
def surroundings(log: LogForm, metrics_port: int, metrics_host: str) -> Iterator[Surroundings]:
    """Prepare what is around a run, before there is one (port 0: no metrics). Raises UsageError."""
    with ExitStack() as stack:
        metrics = stack.enter_context(served(metrics_port, metrics_host)) if metrics_port else None
        yield Surroundings(log, metrics, provider_from_environment())


def carry_out(work: Import, folder: Path, around: Surroundings = PLAIN) -> int:
    """Run an import to its end, write its reports, print its result; give the exit code."""
    try:
        record, summary = attend(work, folder, around)
    finally:
        work.ledger.close()
    because = _redactor().text(record.stop_reason)
    found = [
        f"  finding    {tally.rows:>12,} x {tally.code}, see report.html or simlift check"
        for tally in work.findings.values()
    ]
    _print([*result_lines(summary, folder, because), *found])
    return record.exit_code or 0


def _print(lines: list[str]) -> None:
    """Print to standard output. It may be gone with its terminal, and the exit code has still to be told."""
    try:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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


def attend(work: Import, folder: Path, around: Surroundings = PLAIN) -> tuple[RunRecord, reports.Summary]:
    """Run an import to its end, write its reports, tell who is to be told.

    The first SIGINT, SIGTERM or SIGHUP drains the run, a second one ends it at once.
    """
    run = work.ledger.run()
    metrics = Metrics(run, around.metrics) if around.metrics else None
    with ExitStack() as stack:
        stack.enter_context(log_to(folder / "log.jsonl", _redactor(), run_id=run.run_id, also=around.log))
        spans = stack.enter_context(spans_of(around.traces, run.run_id)) if around.traces else None
        work.observers += [observer for observer in (metrics, spans) if observer is not None]
        runner = stack.enter_context(asyncio.Runner(loop_factory=new_event_loop))
        herald = _herald(work)
        try:
            record = runner.run(_attended(work, herald, around.log, metrics))
            summary = reports.write_all(work.ledger, folder)
        except SimliftError:
            raise
        except Exception:
            log.exception("the run broke off")
            raise
        if work.job is not None:
            runner.run(_logged("notices", herald.end(result_lines(summary, folder)[0])))
        return record, summary


def _redactor() -> Redactor:
    return Redactor([*secrets_fetched(), *secrets_in_environment()])


async def _attended(work: Import, herald: Herald, form: LogForm, metrics: Metrics | None) -> RunRecord:
    with _signals_heard(work):
        return await _run(work, herald, form, metrics)


async def _run(work: Import, herald: Herald, form: LogForm, metrics: Metrics | None) -> RunRecord:
    if work.job is None:
        return await work.run()
    await _note(work, EventKind.STARTED, f"process {os.getpid()} on {socket.gethostname()}, by {person()}")
    take_course(work)
    hours = OpeningHours(work, schedule_of(work.job))
    hours.look()
    gauge = Gauge(hours.reach)
    redactor = _redactor()

    def take() -> Standing:
        snapshot = work.snapshot()
        if snapshot.holding:  # it may quote the vendor, and is shown
            snapshot = replace(snapshot, holding=redactor.text(snapshot.holding))
        standing = gauge.read(snapshot, time.time())
        if metrics is not None:
            metrics.standing = standing
        return standing

    async with _beside(
        progress=_shown(take, form),
        standing=_tell(take, work.ledger),
        steering=follow(work),
        notices=herald.watch(),
        samples=sample(work),
        window=_kept(hours, work),
    ):
        record = await work.run()
    take()
    await _note(work, EventKind.ENDED, ": ".join(filter(None, (record.state, record.stop_reason))))
    return record


@contextmanager
def _signals_heard(work: Import) -> Iterator[None]:
    """Let signals drain or end the run; before and after it they end the process."""
    heard: list[int] = []

    def hear(number: int) -> None:
        heard.append(number)
        if len(heard) == 1:
            work.stop(number)
        else:
            work.abandon()

    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    if before[signal.SIGHUP] is signal.SIG_IGN:  # nohup
        del before[signal.SIGHUP]
    for number in before:
        loop.add_signal_handler(number, hear, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


async def _shown(take: Callable[[], Standing], form: LogForm) -> None:
    """Show how the run stands: as a display or lines, or where the log is shown, as events of it."""
    if form is LogForm.NONE:
        await watch(take, Console(stderr=True))
    try:
        while True:
            await asyncio.sleep(LINE_EVERY_S)
            log.info("progress", **reports.progress_data(take()))
    finally:
        log.info("progress", **reports.progress_data(take()))


async def _note(work: Import, kind: EventKind, words: str) -> None:
    now = time.time()
    await work.ledger.note(Event(now, kind, words, taken_at=now))


def _herald(work: Import) -> Herald:
    job = work.job
    return Herald(
        job.notify if job else Notify(),
        work.ledger,
        secret=work.notify_secret,
        clean=_redactor().text,
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
