"""One import, from top to bottom: job and inventory in, a settled ledger out.

The composition root: here the stages are joined.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from pipeline.chronicle import Event, EventKind
from pipeline.errors import LedgerError
from pipeline.feed import Feed
from pipeline.guards import Guards
from pipeline.http_client import open_http
from pipeline.logs import Redactor
from pipeline.model import ExitCode, FindingTally, RunRecord, Snapshot, State, Status
from pipeline.observed_http import ObservedHttp
from pipeline.pace import Pace
from pipeline.secret_references import secrets_fetched
from pipeline.settings import Job, Limits
from pipeline.work import batch_items_of
from pipeline.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from pipeline.contracts import Connect, Http, Ledger
    from pipeline.guards import Trip
    from pipeline.model import Portion
    from pipeline.observed_http import RequestObserver
    from pipeline.work import Work

GRACE_S = 30.0  # how long requests in flight are waited for after the first signal, at most

log = structlog.get_logger(__name__)


class Import:
    """One import that can be run, watched and stopped. `run` may be called once.

    Without `work` the run was finished before, and nothing is left to do but to report. `connect` opens the
    way to the vendor, `rng` draws the waits: a simulation brings its own.
    """

    def __init__(
        self,
        ledger: Ledger,
        work: Work | None = None,
        *,
        connect: Connect = open_http,
        rng: random.Random | None = None,
    ) -> None:
        self.ledger = ledger
        self._todo = work
        self._connect = connect
        self._rng = rng or random.Random()  # noqa: S311 - spreads waits, guards nothing
        self._before = ledger.run()
        # Rows that are never sent are met again when a resumed run reads its inventory again.
        self._counts = {**ledger.counts(), Status.REJECTED: 0, Status.DUPLICATE: 0}
        self._batches_before = ledger.batches()
        self._never_sent: Counter[Status] = Counter()
        self.findings: dict[str, FindingTally] = {}  # by code, as far as this process has read
        self._rows_read = self._bytes_read = 0
        self._starts = self._before.starts
        self._began = time.monotonic()
        self._signal = 0
        self._stopped: tuple[State, str] | None = None  # before there was anything to drain
        self._pool: WorkerPool | None = None
        self._feed: Feed | None = None
        self._http: Http | None = None
        self.observers: list[RequestObserver] = []  # of every request, to be given before the run begins
        self._limits = work.job.limits if work else Limits()
        self._share = 1.0  # of requests_per_second, as the hour has it
        self._pace = Pace(self._limits.requests_per_second)

    @property
    def notify_secret(self) -> SecretStr | None:
        """The secret that webhooks are signed with."""
        return self._todo.notify_secret if self._todo else None

    async def run(self) -> RunRecord:
        """Import everything that is not yet final, and close the books. Returns the run as it ended."""
        if self._todo is None:
            return self._before
        self._began = time.monotonic()
        before = self._before
        log.info(
            "run",
            run=before.run_id,
            inventory=before.inventory,
            target=before.target,
            base_url=self._todo.settings.base_url,
            **({"corrects": before.corrects} if before.corrects else {}),
        )
        state, reason = State.STOPPED, ""
        try:
            state, reason = await self._work(self._todo)
        except* LedgerError as errors:
            reason = str(errors.exceptions[0])
        return self._close_books(state, reason)

    async def _work(self, todo: Work) -> tuple[State, str]:
        limits, pace = self._limits, self._pace
        with ThreadPoolExecutor(1, thread_name_prefix="producer") as executor:
            guards = Guards(todo.job.guards, self._codes_seen(todo.job))
            feed = self._feed = Feed(todo.portions, self._absorb, executor, guards.admit)
            async with self._connect(todo.settings.base_url, pace, limits) as client:
                http = self._http = ObservedHttp(client, self.observers) if self.observers else client
                pool = self._pool = WorkerPool(
                    feed=feed,
                    target=todo.target,
                    http=http,
                    ledger=self.ledger,
                    pace=pace,
                    limits=limits,
                    batch_items=batch_items_of(todo.job, todo.target),
                    policy=todo.job.retry,
                    completion=todo.job.completion,
                    rng=self._rng,
                    guards=guards,
                    on_trip=self._on_trip,
                    hide=Redactor(secrets_fetched()).hidden,
                    exists_is_good=todo.settings.on_exists == "ok",
                )
                if self._stopped:
                    pool.stop(*self._stopped)
                try:
                    await pool.run()
                finally:
                    await feed.close()
        return pool.state, pool.stop_reason

    async def _absorb(self, portion: Portion) -> None:
        """Write down the rows of a portion that will never be sent, before its batches go out."""
        if portion.exceptional:
            await self.ledger.record(portion.exceptional)
            self._never_sent.update(row.status for row in portion.exceptional if row.status)
        self._rows_read, self._bytes_read = portion.rows_read, portion.bytes_read
        self._starts = max(self._starts, portion.starts, key=len)
        for finding in portion.findings:
            tally = self.findings.get(finding.code)
            if tally is None:
                log.warning("finding", code=finding.code, first=finding.words)
            tally = tally or FindingTally(finding.code, 0, finding.words)
            self.findings[finding.code] = replace(tally, rows=tally.rows + 1)

    def _codes_seen(self, job: Job) -> set[str]:
        """Give the codes that items of this run were refused with, by its rows and by earlier trips."""
        if job.guards.new_code == "go":
            return set()
        seen = {tally.code for tally in self.ledger.tally() if tally.status is Status.REFUSED}
        return seen.union(*(event.data.get("codes", ()) for event in self.ledger.events()))

    async def _on_trip(self, trip: Trip) -> None:
        """Write down that a guard has tripped; if it is to hold, hold until somebody releases the run."""
        if trip.holds:
            self.shut(EventKind.HOLD.value, trip.words)
        kind = EventKind.HOLD if trip.holds else EventKind.GUARD
        at = time.time()
        await self.ledger.note(Event(at, kind, trip.words, data=trip.data, taken_at=at))
        if trip.holds:  # once more: a release that was asked for before may have opened it meanwhile
            self.shut(EventKind.HOLD.value, trip.words)

    @property
    def job(self) -> Job | None:
        """The job that is carried out; None where nothing was left to do."""
        return self._todo.job if self._todo else None

    @property
    def limits(self) -> Limits:
        """The limits in force, as they were tuned."""
        return self._limits

    def tune(self, limits: Limits) -> None:
        """Go on within other limits: another rate, another concurrency; the rest must be as before.

        Who raises the rate knows more than what was learned from push-backs.
        """
        raised = limits.requests_per_second > self._limits.requests_per_second
        self._limits = limits
        self._pace.tune(limits.requests_per_second * self._share)
        if self._pool is not None:
            self._pool.ceiling = limits.concurrency
            if raised:
                self._pool.forget_rate()

    def slow_to(self, share: float) -> None:
        """Use this share of requests_per_second from now on, above 0 and at most 1."""
        self._share = share
        self._pace.tune(self._limits.requests_per_second * share)

    def shut(self, gate: str, why: str) -> None:
        """Let nothing leave until this gate is opened again; what is in flight is answered and settled."""
        self._pace.shut(gate, why)

    def open(self, gate: str) -> None:
        """Open a gate again; once none is shut, the run goes on."""
        self._pace.open(gate)
        if self._pool is not None:
            self._pool.gates_changed()

    def tempo(self) -> tuple[float, int]:
        """Give the mean round trip in seconds (0: none) and the push-backs since this was last asked."""
        return self._pool.tempo() if self._pool is not None else (0.0, 0)

    def stop(self, signal_number: int) -> None:
        """Take no new batch, let those in flight be answered for a while, then end as interrupted."""
        self._signal = signal_number
        self._drain(State.INTERRUPTED, "interrupted by a signal; `simlift resume` goes on from here")

    def stop_for(self, reason: str) -> None:
        """Take no new batch, let those in flight be answered for a while, then end as stopped."""
        self._drain(State.STOPPED, reason)

    def _drain(self, state: State, reason: str) -> None:
        if self._pool is None:
            self._stopped = self._stopped or (state, reason)
            return
        self._pool.stop(state, reason)
        grace_s = min(GRACE_S, self._limits.reply_timeout_s)
        asyncio.get_running_loop().call_later(grace_s, self._pool.abandon)

    def abandon(self) -> None:
        """End at once; what is in flight stays in doubt for a later resume."""
        if self._pool is not None:
            self._pool.abandon()

    def snapshot(self) -> Snapshot:
        """Say where the import stands now."""
        pool, feed = self._pool, self._feed
        counts = {status: self._counts[status] + self._never_sent[status] for status in Status}
        if pool is not None:
            counts = {status: count + pool.settled[status] for status, count in counts.items()}
        return Snapshot(
            counts=counts,
            rows_read=self._rows_read,
            bytes_read=self._bytes_read,
            bytes_total=self._todo.bytes_total if self._todo else 0,
            reading_done=feed is not None and feed.exhausted,
            batches=self._batches_before + (pool.claimed if pool else 0),
            requests=self._before.requests + (self._http.requests if self._http else 0),
            in_flight=pool.in_flight if pool else 0,
            queued=self._pace.queue,
            waiting=pool.waiting if pool else 0,
            elapsed_s=time.monotonic() - self._began,
            duration_s=self._before.duration_s + time.monotonic() - self._began,
            holding=self._pace.holding() or (pool.holding() if pool else ""),
            hold_left_s=self._pace.hold_left_s,
            paused=self._pace.is_shut_by("hold"),
            open_tickets=pool.open_tickets if pool else 0,
            rate_per_s=self._pace.allowed_per_s,
            limit_per_s=self._pace.requests_per_second,
            concurrency=pool.concurrency if pool else 0,
            ceiling=self._limits.concurrency,
        )

    def _close_books(self, state: State, reason: str) -> RunRecord:
        """Write how the run ended. A finished run whose books do not balance is not called finished."""
        counts = self.ledger.counts()
        accounted, still_open = sum(counts.values()), self.ledger.open_rows()
        rows_read = self._rows_read
        if state is not State.FINISHED:  # this process may not have come as far as the ones before it
            rows_read = max(rows_read, self._before.rows_read or 0, accounted + still_open)
        if state is State.FINISHED and (accounted != self._rows_read or still_open):
            state = State.STOPPED
            reason = (
                f"the books do not balance: {self._rows_read} rows read, {accounted} accounted for, "
                f"{still_open} still open; keep the run folder and report this as a defect"
            )
        exit_code = self._exit_code(state, counts)
        log.info(
            "run ended",
            state=str(state),
            reason=reason,
            exit_code=exit_code,
            findings={code: tally.rows for code, tally in self.findings.items()},
        )
        self.ledger.write_findings(list(self.findings.values()))
        self.ledger.update_run(
            state=state,
            stop_reason=reason,
            exit_code=exit_code,
            finished_at=time.time(),
            rows_read=rows_read,
            starts=self._starts,
            requests=self._before.requests + (self._http.requests if self._http else 0),
            duration_s=self._before.duration_s + time.monotonic() - self._began,
        )
        return self.ledger.run()

    def _exit_code(self, state: State, counts: Mapping[Status, int]) -> int:
        match state:
            case State.INTERRUPTED:
                return 128 + self._signal
            case State.FINISHED:
                all_good = all(status.good or not count for status, count in counts.items())
                return ExitCode.ALL_GOOD if all_good else ExitCode.NOT_ALL_GOOD
            case _:
                return ExitCode.STOPPED
