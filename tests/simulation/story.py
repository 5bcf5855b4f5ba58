"""One seed, told to its end: lives, kills and resumes of an importer, a vendor in its moods, and audit."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from journal import Bounds, Journal
from life import Killed, Life
from mortal_ledger import MortalLedger
from plan import draw_plan
from simulated_http import connecting
from three_books import compare, outcomes_in
from vendor import VendorInProcess
from world import EPOCH_S
from worlds import WORLDS

from pipeline.errors import LedgerError
from pipeline.files import LocalFile
from pipeline.importer import Import
from pipeline.inventory import Inventory
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import STILL_OPEN, RunRecord, State, Status
from pipeline.settings import Guards, Job as JobFile
from pipeline.sources.csv_file import CsvSource
from pipeline.work import Work, produce

if TYPE_CHECKING:
    from plan import Ending, Plan

    from pipeline.model import ResumePoint

MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made within
SICK_LIVES, HEALED_LIVES = 2, 4


@dataclass
class Ended:
    """How a story ended: what must never happen and did, and what was seen on the way."""

    seed: int
    breaches: list[str]
    seen: Counter[str] = field(default_factory=Counter)


def tell(seed: int, *, trace: bool = False) -> Ended:
    """Tell the story of a seed."""
    return tell_plan(draw_plan(seed), trace=trace)


def tell_plan(plan: Plan, *, trace: bool = False) -> Ended:
    """Tell a story. A crash of the pipeline is a breach like any other."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None, prefix="simlift-") as folder:
        story = Story(plan, Path(folder), trace=trace)
        try:
            story.tell()
        except Exception as error:
            if trace:
                raise
            story.journal.breach(f"the program crashed: {_inmost(error)!r}")
        finally:
            story.close()
        return Ended(plan.seed, story.journal.breaches, story.seen())


def _inmost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Story:
    """A run with all its lives."""

    def __init__(self, plan: Plan, folder: Path, *, trace: bool) -> None:
        self._plan = plan
        self._job = JobFile.model_validate(plan.job)
        self.journal = Journal(plan.inventory, Bounds.of(self._job), trace=trace)
        self._world = WORLDS[plan.target](plan)  # type: ignore[call-arg]  # every kind is made of a plan
        self._vendor = VendorInProcess(plan, self._world)
        self._rng = random.Random(f"ids {plan.seed}")
        self._folder = folder / "run"
        self._now = 0.0
        self._state = State.RUNNING
        self._resumed = False
        self._retried = True
        self._asks = False
        self._codes: list[str] = []
        self._paths = []
        for number, content in enumerate(plan.inventory.files()):
            path = folder / f"{number}.csv"
            path.write_bytes(content)
            self._paths.append(path)

    def tell(self) -> None:
        """Live through all planned endings, then on until the run is finished; compare after each life."""
        for ending in self._plan.endings:
            self._next(ending)
        for _ in range(SICK_LIVES):
            self._next(None)
        if self._state is not State.FINISHED:
            self.journal.say(self._now, "the vendor is healed")
            self._heal()
            self.journal.seen["healed"] += 1
        for _ in range(HEALED_LIVES):
            self._next(None)
        self._must_be_finished()
        if self._plan.asks_again:
            self._ask_again()
        if self._plan.retry:
            self._try_again()
        self._vendor.alarm = None
        self._vendor.run_until(float("inf"))
        self._audit(last=True)

    def _heal(self) -> None:
        """Let the vendor be well from now on, and the operator allow whatever it refuses still."""
        self._vendor.heal()
        self._job = self._job.model_copy(update={"guards": Guards()})
        self.journal.bounds = Bounds.of(self._job)

    def _must_be_finished(self) -> None:
        if self._state is not State.FINISHED:
            self.journal.breach("the run does not finish though the vendor is well")

    def _ask_again(self) -> None:
        """Resume a finished run, as one does about rows that the vendor had not finished in time."""
        ledger = SqliteLedger.open(self._folder, read_only=True)
        if self.journal.breaches or not _has_kept_tickets(ledger):
            return
        self.journal.say(self._now, "resume the finished run")
        self.journal.seen["resumed when finished"] += 1
        self._state = State.STOPPED
        self._next(self._plan.retry_ending)
        self._heal()
        for _ in range(HEALED_LIVES):
            self._next(None)
        self._must_be_finished()

    def _try_again(self) -> None:
        """Do as `simlift retry` does with what may yet succeed, the vendor being well by now."""
        if self.journal.breaches:
            return
        self._heal()
        ledger = SqliteLedger.open(self._folder, read_only=True)
        lines = outcomes_in(ledger)
        codes = sorted({line["code"] for line in lines if line["status"] == "refused"})
        self._codes = codes[:1]
        reopened = {
            line["position"]
            for line in lines
            if line["status"] in ("gave_up", "in_doubt")
            or (line["status"] == "refused" and line["code"] in self._codes)
        }
        if not reopened:
            return
        self.journal.say(self._now, f"retry {len(reopened)} rows, {self._codes}")
        self.journal.seen["retries"] += 1
        self._state, self._retried = State.STOPPED, False
        for ending in (self._plan.retry_ending, *[None] * HEALED_LIVES):
            self._next(ending)
        self._must_be_finished()

    def close(self) -> None:
        """Let go of the vendor."""
        self._world.close()

    def seen(self) -> Counter[str]:
        """Say what this story met, so that many of them show what they cover."""
        lives, requests = len(self.journal.lives), self.journal.requests
        return self._vendor.faults_met() + self.journal.seen + Counter(lives=lives, requests=requests)

    # ------------------------------------------------------------ one life

    def _next(self, ending: Ending | None) -> None:
        if self._state is State.FINISHED or self.journal.breaches:
            return
        if self.journal.lives:
            self._now += self._plan.restart_s[min(len(self.journal.lives), len(self._plan.restart_s)) - 1]
        self._vendor.alarm = None
        self._vendor.run_until(self._now)
        if ending is not None:
            self.journal.seen[f"ending {ending.kind}"] += 1
        life = Life(self.journal, ending, self._now, disk_s=self._plan.disk_s, read_s=self._plan.read_s)
        self.journal.say(self._now, f"life {life.record.number}, {ending}")
        self._vendor.alarm = partial(_alarm, life, self._vendor)
        for at in self._vendor.times_ahead():
            self._vendor.alarm(at)
        ledger = self._open_ledger()
        how = "killed"
        try:
            ended = life.run(self._begin(MortalLedger(ledger, life, self._world), life))
            if ended is not None:
                how = str(ended.state)
                self.journal.say(life.loop.now, f"ended {ended.state}: {ended.stop_reason}")
        except Killed:
            life.abort()
        except LedgerError:
            how = "disk full"
            life.abort()
        finally:
            # The kernel closes a dead process's files; what inline writes have not committed is not there.
            ledger.close()
        self.journal.seen[how] += 1
        self._now = life.loop.now
        self._state = self._audit()

    def _open_ledger(self) -> SqliteLedger:
        if self._folder.exists():
            return SqliteLedger.open(self._folder, inline=True)
        record = RunRecord(
            run_id="run",
            state=State.RUNNING,
            target=self._plan.target,
            inventory=tuple(path.name for path in self._paths),
            fingerprint="",
            header=(),
            job=self._job.data(),
            started_at=EPOCH_S,
        )
        return SqliteLedger.create(self._folder, record, inline=True)

    def _begin(self, ledger: Any, life: Life) -> Import:
        """Compose the import as runs.start and runs.go_on do, with a clock and chances of our own."""
        resume: ResumePoint | None = None
        if self._resumed:
            if not self._retried:
                ledger.reopen(self._codes)
                self._retried = True
            elif self._plan.asks_again and _has_kept_tickets(ledger):
                ledger.ask_again()
            resume = ledger.take_over()
            ledger.update_run(state=State.RUNNING, stop_reason="", exit_code=None)
        self._resumed = True
        job = self._plan.job
        target = self._world.target(job, lambda: EPOCH_S + life.loop.time(), self._rng)
        settings = self._world.settings(job)
        files = tuple(LocalFile(path) for path in self._paths)
        sources = tuple(
            CsvSource(file, self._job.input, block_bytes=self._plan.block_bytes) for file in files
        )
        inventory = Inventory(files, sources)
        portions = produce(inventory, self._job, target, resume)
        work = Work(portions, target, settings, self._job, inventory.bytes_total)
        chances = random.Random(f"waits {self._plan.seed} {life.record.number}")
        return Import(ledger, work, connect=connecting(self._vendor, self._world, life), rng=chances)

    # ------------------------------------------------------------ the audit

    def _audit(self, *, last: bool = False) -> State:
        """Compare the books as they stand now."""
        ledger = SqliteLedger.open(self._folder, read_only=True)
        record = ledger.run()
        finished = record.state is State.FINISHED
        outcomes = outcomes_in(ledger)
        self._world.open_books(float("inf") if last else self._now)
        for words in compare(self._plan.inventory, self._world, outcomes, ledger.counts(), finished=finished):
            self.journal.breach(words)
        self._audit_tickets(ledger, finished=finished)
        if last:
            for line in outcomes:
                self.journal.seen[line["status"]] += 1
        if finished and record.rows_read != len(self._plan.inventory.rows):
            self.journal.breach(f"{record.rows_read} rows read of {len(self._plan.inventory.rows)}")
        if finished and len(self.journal.lives) == 1 and not last:
            self._audit_attempts(outcomes, record.requests)
        return record.state

    def _audit_tickets(self, ledger: SqliteLedger, *, finished: bool) -> None:
        """Whatever the vendor still owes is kept, and nothing else is."""
        kept, final = self.journal.kept, self.journal.final
        for row in ledger.exceptional(Status.IN_DOUBT):
            known = kept.get(row.position)
            if row.ticket != (known.ticket if known else "") or (row.code == STILL_OPEN) != bool(row.ticket):
                self.journal.breach(f"row {row.position} ({row.code}) keeps another ticket than it was given")
        owed = len(kept.keys() - final)
        if ledger.open_tickets() != owed or (finished and owed):
            self.journal.breach(f"{ledger.open_tickets()} open tickets by the ledger, {owed} were kept")

    def _audit_attempts(self, outcomes: list[dict[str, Any]], requests: int) -> None:
        """In a run of a single life nothing is forgotten: every send of every row is counted."""
        if requests != self.journal.requests:
            self.journal.breach(
                f"{requests} requests by the ledger, {self.journal.requests} left this machine"
            )
        for line in outcomes:
            sends = self.journal.sends[line["position"]]
            if line["attempts"] != sends:
                self.journal.breach(f"row {line['position']}: {line['attempts']} attempts, {sends} sends")


def _has_kept_tickets(ledger: Any) -> bool:
    return any(tally.code == STILL_OPEN for tally in ledger.tally())


def _alarm(life: Life, vendor: VendorInProcess, when: float) -> None:
    if not life.dead:
        life.loop.call_at(when, vendor.run_until, when)
