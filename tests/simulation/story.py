"""One seed, told to its end: lives, kills and resumes of an importer, a vendor in its moods, and audit."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from journal import Journal
from life import Killed, Life
from mortal_ledger import MortalLedger
from plan import draw_plan
from pydantic import SecretStr
from three_books import compare, outcomes_in, profiles_in
from vendor import ACCESS_CODE, EPOCH_S, SECRET_CODE, VendorInProcess, connecting

from pipeline.errors import LedgerError
from pipeline.importer import Import, Work, produce
from pipeline.inventory import Inventory
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import RunRecord, State
from pipeline.settings import Job as JobFile
from pipeline.sources.csv_file import CsvSource
from pipeline.targets.sim_express import Settings, SimExpress

if TYPE_CHECKING:
    from plan import Ending, Plan

    from pipeline.model import ResumePoint

MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made within
BACKLOG_BATCHES = 64  # DESIGN invariant 5: the backlog is bounded; by so many full batches
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
        limits = self._job.limits
        batch_items = limits.batch_items or 1000
        self.journal = Journal(
            plan.inventory,
            limits.concurrency,
            limits.requests_per_second,
            most_waiting=(BACKLOG_BATCHES + limits.concurrency) * batch_items,
            trace=trace,
        )
        self._vendor = VendorInProcess(plan)
        self._rng = random.Random(f"ids {plan.seed}")
        self._folder = folder / "run"
        self._now = 0.0
        self._state = State.RUNNING
        self._resumed = False
        self._retried = True
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
            self._vendor.heal()
            self.journal.seen["healed"] += 1
        for _ in range(HEALED_LIVES):
            self._next(None)
        self._must_be_finished()
        if self._plan.retry:
            self._try_again()
        self._vendor.alarm = None
        self._vendor.run_until(float("inf"))
        self._audit(last=True)

    def _must_be_finished(self) -> None:
        if self._state is not State.FINISHED:
            self.journal.breach("the run does not finish though the vendor is well")

    def _try_again(self) -> None:
        """Do as `simlift retry` does with what may yet succeed, the vendor being well by now."""
        if self.journal.breaches:
            return
        self._vendor.heal()
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
        self.journal.final -= reopened
        self.journal.seen["retries"] += 1
        self._state, self._retried = State.STOPPED, False
        for ending in (self._plan.retry_ending, *[None] * HEALED_LIVES):
            self._next(ending)
        self._must_be_finished()

    def close(self) -> None:
        """Let go of the vendor."""
        self._vendor.store.close()

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
            ended = life.run(self._begin(MortalLedger(ledger, life), life))
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
            target="sim-express",
            inventory=tuple(path.name for path in self._paths),
            fingerprint="",
            header=(),
            job=self._job.data(),
            started_at=EPOCH_S,
        )
        return SqliteLedger.create(self._folder, record, inline=True)

    def _begin(self, ledger: Any, life: Life) -> Import:
        """Compose the import as importer.start and importer.go_on do, with a clock and chances of our own."""
        resume: ResumePoint | None = None
        if self._resumed:
            if not self._retried:
                ledger.reopen(self._codes)
                self._retried = True
            resume = ledger.take_over()
            ledger.update_run(state=State.RUNNING, stop_reason="", exit_code=None)
        self._resumed = True
        settings = Settings(
            kind="sim-express",
            base_url="https://vendor.example",
            on_exists=self._plan.job["target"]["on_exists"],
            access_code=SecretStr(ACCESS_CODE),
            secret_code=SecretStr(SECRET_CODE),
        )
        target = SimExpress(
            settings,
            clock=lambda: EPOCH_S + life.loop.time(),
            new_request_id=lambda: f"{self._rng.getrandbits(128):032x}",
        )
        sources = tuple(CsvSource(path, block_bytes=self._plan.block_bytes) for path in self._paths)
        inventory = Inventory(tuple(self._paths), sources)
        portions = produce(inventory, self._job, target, resume)
        work = Work(portions, target, settings, self._job, inventory.bytes_total)
        chances = random.Random(f"waits {self._plan.seed} {life.record.number}")
        return Import(ledger, work, connect=connecting(self._vendor, life), rng=chances)

    # ------------------------------------------------------------ the audit

    def _audit(self, *, last: bool = False) -> State:
        """Compare the books as they stand now."""
        ledger = SqliteLedger.open(self._folder, read_only=True)
        record = ledger.run()
        finished = record.state is State.FINISHED
        outcomes = outcomes_in(ledger)
        held = profiles_in(self._vendor.store)
        on_exists = self._plan.job["target"]["on_exists"]
        for words in compare(
            self._plan.inventory,
            held,
            outcomes,
            ledger.counts(),
            finished=finished,
            exists_is_good=on_exists == "ok",
        ):
            self.journal.breach(words)
        if last:
            for line in outcomes:
                self.journal.seen[line["status"]] += 1
        if finished and record.rows_read != len(self._plan.inventory.rows):
            self.journal.breach(f"{record.rows_read} rows read of {len(self._plan.inventory.rows)}")
        if finished and len(self.journal.lives) == 1 and not last:
            self._audit_attempts(outcomes, record.requests)
        return record.state

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


def _alarm(life: Life, vendor: VendorInProcess, when: float) -> None:
    if not life.dead:
        life.loop.call_at(when, vendor.run_until, when)
