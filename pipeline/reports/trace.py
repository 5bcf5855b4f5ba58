"""The story of one key, in every run that knows it: as data, and as a block of lines for each row."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.contracts import Ledger
    from pipeline.model import Attempt, Exceptional, RunRecord

_WORDS = {
    Status.SUCCEEDED: "succeeded",
    Status.CONFIRMED: "confirmed: an answer was lost, and the vendor then said that it is there",
    Status.REFUSED: "refused by the vendor",
    Status.GAVE_UP: "gave up: the fault was still there after the last attempt",
    Status.IN_DOUBT: "in doubt: sent, but to the end no trustworthy answer",
    Status.REJECTED: "rejected by our screening, never sent",
    Status.DUPLICATE: "duplicate of an earlier row, never sent",
}
_ATTEMPT_WORDS = {
    "under_way": "no answer yet",
    "died": "no answer written down, the process ended",
    "answered": "answered",
    "accepted": "accepted, to be finished later",
    "void": "not carried out",
    "lost": "no trustworthy answer",
    "not_carried_out": "not carried out",
    "refused": "refused",
    "too_large": "refused for its size",
    "withdrawn": "never left, the run was held or stopping",
    "stop": "refused, which stopped the run",
    "passing": "not carried out",
    "untouched": "not carried out for its neighbours' sake",
    "open": "no trustworthy word on it",
    "promised": "promised, but without a ticket",
    "unknown": "accepted, but then the vendor did not know of it",
    "gave_up": "not carried out, given up",
    "in_doubt": "no trustworthy answer, left in doubt",
    "confirmed": "already there",
    "succeeded": "succeeded",
}
_DOUBTFUL = {"died", "lost", "open", "promised", "unknown", "in_doubt"}


@dataclass(frozen=True, slots=True)
class Traced:
    """One row that bears the key, in one run; `status` is None while it is open, `started_at` UTC seconds.

    `row` counts in its `file`; 0 and "" where that is not known. `history` is every send of it, in order.
    """

    run_id: str
    target: str
    started_at: float
    position: int
    key: str
    status: Status | None
    code: str
    reason: str
    attempts: int
    batch: int
    in_doubt: bool
    ticket: str = ""
    file: str = ""
    row: int = 0
    history: tuple[Attempt, ...] = ()

    def data(self) -> dict[str, Any]:
        """Give the entry as plain data; `attempts` counts, `history` tells."""
        return {
            "run_id": self.run_id,
            "target": self.target,
            "started_at": utc(self.started_at),
            "position": self.position,
            "key": self.key,
            "status": self.status.value if self.status else None,
            "code": self.code,
            "reason": self.reason,
            "attempts": self.attempts,
            "batch": self.batch,
            "in_doubt": self.in_doubt,
            "ticket": self.ticket,
            "file": self.file,
            "row": self.row,
            "history": [_attempt_data(attempt) for attempt in self.history],
        }


def traced(ledger: Ledger, keys: Sequence[str]) -> tuple[Traced, ...]:
    """Give one entry for each row of this run that bears one of the keys; none when it knows none of them."""
    run = ledger.run()
    return tuple(_traced(run, row, ledger.attempts(row.position)) for row in ledger.trace(*keys))


def _traced(run: RunRecord, row: Exceptional, sends: Sequence[Attempt]) -> Traced:
    file, in_file = _place(run, row.position)
    return Traced(
        run_id=run.run_id,
        target=run.target,
        started_at=run.started_at,
        position=row.position,
        key=row.key,
        status=row.status,
        code=row.code,
        reason=row.reason,
        attempts=row.sends,
        batch=row.batch,
        in_doubt=row.in_doubt,
        ticket=row.ticket,
        file=file,
        row=in_file,
        history=tuple(_with_end(attempt, row) for attempt in sends),
    )


def _place(run: RunRecord, position: int) -> tuple[str, int]:
    """Say in which file a row stands, and where in it. Of several they are known once a run has ended."""
    if len(run.inventory) == 1:
        return run.inventory[0], position
    at = bisect_left(run.starts, position) - 1
    known = at >= 0 and len(run.starts) <= len(run.inventory) and position <= (run.rows_read or 0)
    return (run.inventory[at], position - run.starts[at]) if known else ("", 0)


def _with_end(attempt: Attempt, row: Exceptional) -> Attempt:
    """Let the last send of a row say how the row stands."""
    if attempt.ended != "answered" or attempt.batch != row.batch:
        return attempt
    ended = "accepted" if row.ticket else str(row.status or attempt.ended)
    return replace(attempt, ended=ended, code=row.code, reason=row.reason)


def _attempt_data(attempt: Attempt) -> dict[str, Any]:
    return {
        "batch": attempt.batch,
        "items": attempt.items,
        "sent_at": utc(attempt.at),
        "request_id": attempt.request_id,
        "ended": attempt.ended,
        "code": attempt.code,
        "reason": attempt.reason,
        "ended_at": utc(attempt.ended_at) if attempt.ended_at else None,
        "completed_at": utc(attempt.completed_at) if attempt.completed_at else None,
    }


def trace_text(entries: Iterable[Traced]) -> list[str]:
    """Give a block of lines for each entry, oldest run first, identifiers whole."""
    blocks: list[str] = []
    for entry in sorted(entries, key=lambda entry: (entry.started_at, entry.position)):
        # The vendor's words go to a terminal: no line breaks, no escape sequences.
        lines = ("".join(c if c.isprintable() else " " for c in line) for line in _lines(entry))
        blocks += ([""] if blocks else []) + list(lines)
    return blocks


def _lines(entry: Traced) -> Iterable[str]:
    place = f"row {entry.position}"
    if entry.file:
        place = f"row {entry.row} of {entry.file}"
        place += f" (row {entry.position} of the inventory)" if entry.row != entry.position else ""
    yield f"{utc(entry.started_at)}  run {entry.run_id} ({entry.target})  {entry.key}"
    yield f"  {place}"
    yield from (f"  {_sent(attempt)}" for attempt in entry.history)
    yield f"  {_standing(entry)}"


def _sent(attempt: Attempt) -> str:
    items = f"{attempt.items:,} items" if attempt.items > 1 else "this item alone"
    request = f", request {attempt.request_id}" if attempt.request_id else ""
    after = f" after {attempt.ended_at - attempt.at:.1f} s" if attempt.ended_at else ""
    words = _ATTEMPT_WORDS.get(attempt.ended, attempt.ended)
    if attempt.completed_at:
        words = f"accepted{after}, and by {utc(attempt.completed_at)}: {words}"
        after = ""
    return f"{utc(attempt.at)}  batch {attempt.batch}, {items}{request}: {words}{after}{_said(attempt)}"


def _said(of: Attempt | Traced) -> str:
    said = ": ".join(part for part in (of.code, of.reason) if part)
    return f" ({said})" if said else ""


def _standing(entry: Traced) -> str:
    """Say how the row ended, and how a doubt was resolved."""
    doubt = any(attempt.ended in _DOUBTFUL and attempt.batch != entry.batch for attempt in entry.history)
    still_open = "accepted, the vendor has yet to finish it" if entry.ticket else "open, to be sent again"
    words = _WORDS[entry.status] if entry.status else still_open
    if entry.status is Status.SUCCEEDED and doubt:
        words = "succeeded when it was sent again, after an answer was lost"
    elif (doubt or entry.in_doubt) and entry.status is not Status.CONFIRMED:
        words += "; an earlier send had no trustworthy answer"
    ticket = f", ticket {entry.ticket}" if entry.ticket else ""
    times = "" if entry.attempts <= 1 else f"; sent {entry.attempts} times, last in batch {entry.batch}"
    once = f"; sent once in batch {entry.batch}" if entry.attempts == 1 else ""
    return f"{words}{_said(entry)}{ticket}{once}{times}"


def utc(moment_s: float) -> str:
    """Give UTC seconds as people and other programs read them: 2026-01-31T12:00:00Z."""
    return datetime.fromtimestamp(moment_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
