"""The folder of runs: ids, places and ledgers; starting a run, going on with it, trying again."""

from __future__ import annotations

import re
import secrets
import time
from collections import ChainMap
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.corrections import count_said, words_in
from pipeline.errors import InventoryError, SimliftError, UsageError
from pipeline.identifiers import normalise
from pipeline.inventory import open_inventory
from pipeline.model import STILL_OPEN, RunRecord, State
from pipeline.plugins import installed
from pipeline.rules import rules_of
from pipeline.settings import job_from, nearest
from pipeline.spooling import in_files, kept, once

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from pipeline.contracts import Ledger
    from pipeline.importer import Import
    from pipeline.inventory import Inventory
    from pipeline.settings import Input, Job

LEDGER_FILE = "ledger.sqlite"
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def new_run_id() -> str:
    """Make a run id that sorts by time."""
    return f"{datetime.now(tz=UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def run_folder(runs: Path, run_id: str) -> Path:
    """Give the folder of a run. Raises UsageError for an id that is no plain name."""
    if not _RUN_ID.fullmatch(run_id):
        raise UsageError(
            f"run id {run_id!r}: use at most 100 letters, digits, dots, dashes and underscores, "
            "a letter or digit first"
        )
    return runs / run_id


def has_ledger(folder: Path) -> bool:
    """Tell whether a run has begun in this folder. Raises UsageError where it is another user's."""
    try:
        return (folder / LEDGER_FILE).exists()
    except OSError as error:
        raise UsageError(f"run folder {folder} cannot be read: {error.strerror}; check its rights") from None


def run_ids(runs: Path) -> list[str]:
    """List the runs in a folder, oldest id first."""
    return sorted(path.parent.name for path in runs.glob(f"*/{LEDGER_FILE}"))


def existing_run(runs: Path, run_id: str) -> Path:
    """Give the folder of a run that is there. Raises UsageError naming the nearest one that is."""
    folder = run_folder(runs, run_id)
    if not has_ledger(folder):
        known = run_ids(runs)
        elsewhere = f"there is none in {runs.absolute()}: go to where it was started, or give --runs"
        hint = nearest(run_id, known) if known else elsewhere
        raise UsageError(f"no run {run_id!r} in {runs}; {hint}")
    return folder


def open_ledger(folder: Path, *, read_only: bool = False) -> Ledger:
    """Open the ledger of an existing run. Raises UsageError when there is none or another process owns it."""
    ledger: Ledger = installed("ledgers", "sqlite").open(folder, read_only=read_only)
    return ledger


def owner_of(folder: Path) -> str:
    """Say which process carries a run out, as "PID on HOST"; nothing when none does. Raises UsageError."""
    owner: str = installed("ledgers", "sqlite").owner(folder)
    return owner


def start(names: Sequence[str], job: Job, runs: Path, run_id: str) -> Import:
    """Start a run, or go on with it if it is there and unfinished.

    Raises UsageError: before anything is written when job or inventory are wrong, and when the run of this
    id has another inventory or target.
    """
    from pipeline.importer import Import  # noqa: PLC0415 - who only looks at runs need not wait for it
    from pipeline.work import Work, notify_secret_of, open_target, produce  # noqa: PLC0415 - likewise

    folder = run_folder(runs, run_id)
    target, settings = open_target(job)
    notify_secret = notify_secret_of(job)
    if has_ledger(folder):
        return go_on(folder, names=names, job=job)
    with in_files(names, job.input, folder, lambda: has_ledger(folder)) as files:
        came = open_inventory(files, job.input, target.rules)
        _require_whole(came, job.input)
        inventory = kept(files, job.input, folder, came)
        portions = produce(inventory, job, target, spill=folder)
        record = RunRecord(
            run_id=run_id,
            state=State.RUNNING,
            target=job.target_kind,
            inventory=inventory.names,
            fingerprint=inventory.fingerprint(),
            header=inventory.header,
            job=job.data(),
            started_at=time.time(),
            formats=came.formats,
            corrects=_corrected_run(came, runs, job.target_kind),
        )
        ledger = installed("ledgers", "sqlite").create(folder, record)
    work = Work(portions, target, settings, job, inventory.bytes_total, notify_secret)
    return Import(ledger, work)


def _corrected_run(inventory: Inventory, runs: Path, target: str) -> str:
    """Find the run whose failures these files are, mended: the one that said most of the words in them.

    It must have said more than half of them; of several, the last one. Gives "" where there is none.
    """
    words = dict(ChainMap(*map(words_in, inventory.files, inventory.sources)))
    best = (len(words) // 2, float("inf"), "")
    for run_id in run_ids(runs) if words else ():
        with suppress(SimliftError), closing(open_ledger(runs / run_id, read_only=True)) as ledger:
            run = ledger.run()
            if run.target == target:
                best = max(best, (count_said(ledger, words), run.started_at, run_id))
    return best[2]


def _require_whole(inventory: Inventory, settings: Input) -> None:
    """Raise InventoryError for a file of which rows are missing or would not be read."""
    codes = settings.stopping
    for source in inventory.sources:
        for finding in source.findings:
            if finding.code in codes:
                raise InventoryError(finding.words)


def go_on(folder: Path, *, names: Sequence[str] | None = None, job: Job | None = None) -> Import:
    """Go on with a run after a crash or a stop; a finished one needs nothing but its reports.

    Without `names` (`resume`) the vendor is also asked again about what it had not finished in time.
    Raises UsageError when the inventory is no longer the same or cannot be read, or another process owns
    the run.
    """
    from pipeline.importer import Import  # noqa: PLC0415 - who only looks at runs need not wait for it

    with _closed_on_error(open_ledger(folder)) as ledger:
        to_ask = names is None and any(tally.code == STILL_OPEN for tally in ledger.tally())
        if ledger.run().state is State.FINISHED and names is None and not to_ask:
            return Import(ledger)
        inventory, job = _as_before(ledger.run(), names, job)
        if to_ask:
            ledger.ask_again()
        if ledger.run().state is State.FINISHED:
            return Import(ledger)
        return _take_up(ledger, inventory, job, folder)


def try_again(folder: Path, codes: Collection[str] = ()) -> Import:
    """Send again what gave up, what is in doubt, and what was refused with one of `codes`.

    Raises UsageError as go_on does.
    """
    from pipeline.importer import Import  # noqa: PLC0415 - who only looks at runs need not wait for it

    with _closed_on_error(open_ledger(folder)) as ledger:
        inventory, job = _as_before(ledger.run(), None, None)
        if not ledger.reopen(codes) and ledger.run().state is State.FINISHED:
            return Import(ledger)
        return _take_up(ledger, inventory, job, folder)


def keys_meant(ledger: Ledger, text: str) -> list[str]:
    """Give the keys a person may mean by `text` in a run: as it stands, and as each form its target knows."""
    key = normalise(text)
    kind, _, value = key.rpartition(":")
    try:
        fields = rules_of(installed("targets", ledger.run().target).rules)
    except UsageError:
        return [key]  # the run's target is no longer installed
    forms = [form for rule in fields if rule.forms_by for form in rule.forms_by.forms]
    wanted = [form for form in forms if not kind or form.name == kind.upper()]
    return [key, *(f"{form.name}:{normalise(value).removeprefix(form.peel)}" for form in wanted)]


@contextmanager
def _closed_on_error(ledger: Ledger) -> Iterator[Ledger]:
    try:
        yield ledger
    except BaseException:
        ledger.close()
        raise


def _as_before(record: RunRecord, names: Sequence[str] | None, job: Job | None) -> tuple[Inventory, Job]:
    """Open the inventory a run began with, and its job. Raises UsageError when either is another one."""
    stored = job_from(dict(record.job), where=f"job of run {record.run_id}")
    job = job or stored
    given = names or record.inventory
    read_once = once(given, job.input)
    rules = installed("targets", record.target).rules
    inventory = open_inventory(record.inventory if read_once else given, job.input, rules)
    is_same = read_once is None or read_once.is_of(inventory)
    if not is_same or inventory.fingerprint() != record.fingerprint:
        raise UsageError(
            f"run {record.run_id} belongs to another inventory: {', '.join(given)} is not what it began "
            "with; bring the same file back, or start a new run under another id"
        )
    if (job.target_kind, job.input) != (stored.target_kind, stored.input):
        raise UsageError(
            f"run {record.run_id} began with another [target] kind or [input] table; "
            "use the same job file, or start a new run under another id"
        )
    return inventory, job


def _take_up(ledger: Ledger, inventory: Inventory, job: Job, folder: Path) -> Import:
    from pipeline.importer import Import  # noqa: PLC0415 - who only looks at runs need not wait for it
    from pipeline.work import Work, notify_secret_of, open_target, produce  # noqa: PLC0415 - likewise

    target, settings = open_target(job)
    notify_secret = notify_secret_of(job)
    resume = ledger.take_over()
    ledger.update_run(state=State.RUNNING, stop_reason="", exit_code=None, **_spent(ledger))
    portions = produce(inventory, job, target, resume, spill=folder)
    work = Work(portions, target, settings, job, inventory.bytes_total, notify_secret)
    return Import(ledger, work)


def _spent(ledger: Ledger) -> dict[str, float]:
    """Give the requests and the time of all processes so far, also of one that was killed."""
    run, standing = ledger.run(), ledger.standing()
    if standing is None:
        return {}
    return {
        "requests": max(run.requests, standing.snapshot.requests),
        "duration_s": max(run.duration_s, standing.snapshot.duration_s),
    }
