"""Asking something of a run from another process: checked first, written into its ledger, then awaited."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from pipeline.chronicle import Event, EventKind
from pipeline.errors import UsageError
from pipeline.model import State
from pipeline.runs import open_ledger, owner_of
from pipeline.settings import job_from
from pipeline.steering import course_of, person, tuned

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipeline.contracts import Ledger
    from pipeline.settings import Limits
    from pipeline.steering import Course

PATIENCE_S = 10.0
_LOOK_EVERY_S = 0.1
_DONE = {EventKind.HOLD: "held", EventKind.RELEASE: "released", EventKind.STOP: "stopped"}


def ask(folder: Path, kind: EventKind, *, because: str = "", changes: Mapping[str, Any]) -> list[str]:
    """Write a wish into a run's ledger and wait until it is in effect; give lines that say so.

    A run that no process carries out keeps the wish until it is resumed. Raises UsageError for a wish that
    makes no sense, and for `changes` that [limits] would not allow.
    """
    owner = owner_of(folder)
    with closing(open_ledger(folder, read_only=True)) as ledger:
        run = ledger.run()
        limits = job_from(dict(run.job), where=f"job of run {run.run_id}").limits
        course = course_of(limits, ledger.events())
        if run.state is State.FINISHED and not (kind is EventKind.RELEASE and course.held):  # for a retry
            raise UsageError(f"run {run.run_id} is finished; there is nothing to steer")
        _require_sense(run.run_id, kind, course, owner)
        words = _tuning(course.limits, changes) if kind is EventKind.TUNE else _DONE[kind]
        by = person()
        # Shown on terminals and in the report: no escape sequences, no line breaks.
        because = " ".join("".join(c if c.isprintable() else " " for c in because).split())
        said = f"{words} by {by}" + (f": {because}" if because else "")
        ledger.wish(Event(time.time(), kind, said, by, changes))
        if not owner:
            return [f"run {run.run_id}: {said}; it is not under way, this holds once it is resumed"]
        return [f"run {run.run_id}: {said}", f"  {_awaited(ledger, owner)}"]


def _require_sense(run_id: str, kind: EventKind, course: Course, owner: str) -> None:
    """Raise UsageError for a wish that the run, as it is, cannot grant."""
    match kind:
        case EventKind.STOP if not owner:
            raise UsageError(f"run {run_id} is not under way; there is nothing to stop")
        case EventKind.RELEASE if not course.held:
            raise UsageError(f"run {run_id} is not held; there is nothing to release")
        case EventKind.HOLD if course.held:
            raise UsageError(f"run {run_id} is {course.held}; simlift release {run_id} lets it go on")


def _tuning(limits: Limits, changes: Mapping[str, Any]) -> str:
    """Say what changes, as [limits] reads it. Raises UsageError where it would not allow it."""
    after = tuned(limits, changes)
    return ", ".join(f"{name} {getattr(limits, name):g} -> {getattr(after, name):g}" for name in changes)


def _awaited(ledger: Ledger, owner: str) -> str:
    """Wait until the last wish is in effect, and say so; or that nobody acts on it."""
    asked = time.monotonic()
    while (waited_s := time.monotonic() - asked) < PATIENCE_S:
        if not ledger.wishes():
            return f"in effect after {waited_s:.1f} s"
        time.sleep(_LOOK_EVERY_S)
    return f"not yet in effect after {PATIENCE_S:.0f} s: see whether process {owner} is alive"
