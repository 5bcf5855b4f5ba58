"""The run's events, samples and findings in SQLite: small tables beside the books, written now and then."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pipeline.chronicle import Event, EventKind, Sample
from pipeline.ledgers.rows import text
from pipeline.ledgers.run_folder import SQL
from pipeline.model import FindingTally
from pipeline.standing import standing_from

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from pipeline.standing import Standing


def note(event: Event, connection: sqlite3.Connection) -> None:
    """Write an event down."""
    data = json.dumps(dict(event.data))
    values = (event.at, str(event.kind), text(event.words), text(event.by), data, event.taken_at)
    connection.execute(SQL["note"], values)


def take(wish: Event, at: float, connection: sqlite3.Connection) -> None:
    """Write down that a wish has been acted on."""
    connection.execute(SQL["take wish"], (at, wish.id))


def lapse(at: float, connection: sqlite3.Connection) -> None:
    """Write down that a stop which nobody acted on is over: it was asked of an owner that is gone."""
    connection.execute(SQL["lapse"], (at,))


def wishes(connection: sqlite3.Connection) -> list[Event]:
    """Give the wishes that nobody has acted on, oldest first."""
    return [_event(values) for values in connection.execute(SQL["wishes"])]


def events(connection: sqlite3.Connection) -> list[Event]:
    """Give all events, oldest first."""
    return [_event(values) for values in connection.execute(SQL["events"])]


def write_sample(sample: Sample, connection: sqlite3.Connection) -> None:
    """Write a sample down; of one moment only the last one stays."""
    values = (
        sample.at,
        sample.rows,
        sample.requests,
        sample.in_flight,
        sample.concurrency,
        sample.rate_per_s,
        sample.round_trip_s,
        sample.pushed_back,
        sample.open_tickets,
        text(sample.holding),
    )
    connection.execute(SQL["write sample"], values)


def samples(connection: sqlite3.Connection) -> list[Sample]:
    """Give all samples in their order."""
    return [Sample(*values) for values in connection.execute(SQL["samples"])]


def write_standing(standing: Standing, connection: sqlite3.Connection) -> None:
    """Write down how the run stands, in place of the standing before."""
    connection.execute(SQL["write standing"], (text(json.dumps(standing.data())),))


def standing(connection: sqlite3.Connection) -> Standing | None:
    """Give how the run last stood, None where nobody said, or another version in a way unknown here."""
    found = connection.execute(SQL["standing"]).fetchone()
    with suppress(KeyError, TypeError, ValueError):
        return standing_from(json.loads(found[0])) if found else None
    return None


def write_findings(tallies: Sequence[FindingTally], connection: sqlite3.Connection) -> None:
    """Put these tallies in place of what was found before."""
    connection.execute(SQL["drop findings"])
    connection.executemany(
        SQL["write finding"], [(tally.code, tally.rows, text(tally.words)) for tally in tallies]
    )


def findings(connection: sqlite3.Connection) -> list[FindingTally]:
    """Give the tallies of findings, the largest first."""
    return [FindingTally(*values) for values in connection.execute(SQL["findings"])]


def _event(values: tuple[Any, ...]) -> Event:
    id_, at, kind, words, by, data, taken_at = values
    return Event(at, EventKind(kind), words, by, json.loads(data), taken_at, id_)
