"""What became of one key, in every run that knows it: as data, and as lines a person can read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.contracts import Ledger

_WORDS = {
    Status.SUCCEEDED: "succeeded",
    Status.CONFIRMED: "confirmed: an answer was lost, and the vendor then said that it is there",
    Status.REFUSED: "refused by the vendor",
    Status.GAVE_UP: "gave up: the fault was still there after the last attempt",
    Status.IN_DOUBT: "in doubt: sent, but to the end no trustworthy answer",
    Status.REJECTED: "rejected by our screening, never sent",
    Status.DUPLICATE: "duplicate of an earlier row, never sent",
}


@dataclass(frozen=True, slots=True)
class Traced:
    """One row that bears the key, in one run; `status` is None while it is open, `started_at` UTC seconds."""

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

    def data(self) -> dict[str, Any]:
        """Give the entry as plain data."""
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
        }


def traced(ledger: Ledger, keys: Sequence[str]) -> tuple[Traced, ...]:
    """Give one entry for each row of this run that bears one of the keys; none when it knows none of them."""
    run = ledger.run()
    return tuple(
        Traced(
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
        )
        for key in keys
        for row in ledger.trace(key)
    )


def trace_text(entries: Iterable[Traced]) -> list[str]:
    """Give one line for each entry, oldest run first, identifiers whole."""
    return [_line(entry) for entry in sorted(entries, key=lambda entry: (entry.started_at, entry.position))]


def _line(entry: Traced) -> str:
    still_open = "accepted, the vendor has yet to finish it" if entry.ticket else "open, to be sent again"
    words = _WORDS[entry.status] if entry.status else still_open
    if entry.status is None and entry.in_doubt:
        words += "; an earlier send had no trustworthy answer"
    said = ": ".join(part for part in (entry.code, entry.reason) if part)
    if entry.ticket:
        said = ", ".join(part for part in (said, f"ticket {entry.ticket}") if part)
    line = (
        f"{utc(entry.started_at)}  run {entry.run_id} ({entry.target})  row {entry.position}  {entry.key}  "
        f"{words}{f' ({said})' if said else ''}{_sent(entry)}"
    )
    # The vendor's words go to a terminal: no line breaks, no escape sequences.
    return "".join(character if character.isprintable() else " " for character in line)


def _sent(entry: Traced) -> str:
    if not entry.attempts:
        return ""
    times = "once" if entry.attempts == 1 else f"{entry.attempts} times, last"
    return f"; sent {times} in batch {entry.batch}"


def utc(moment_s: float) -> str:
    """Give UTC seconds as people and other programs read them: 2026-01-31T12:00:00Z."""
    return datetime.fromtimestamp(moment_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
