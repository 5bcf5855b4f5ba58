"""The facts of a run, model.RunRecord, as the one row of a table."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from pipeline.ledgers.rows import text
from pipeline.ledgers.run_folder import SQL
from pipeline.model import RunRecord, State

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

_LISTS = ("inventory", "header", "formats", "starts")


def write(record: RunRecord, connection: sqlite3.Connection) -> None:
    """Write the facts in place of those before."""
    facts = {field.name: getattr(record, field.name) for field in fields(record)}
    facts |= {name: json.dumps(facts[name]) for name in _LISTS}
    facts |= {"job": json.dumps(dict(record.job)), "stop_reason": text(record.stop_reason)}
    connection.execute(SQL["write run"], facts)


def read(connection: sqlite3.Connection) -> RunRecord:
    """Give the facts."""
    cursor = connection.execute(SQL["read run"])
    names = [name for name, *_ in cursor.description]
    facts = dict(zip(names, cursor.fetchone(), strict=True))
    facts |= {name: tuple(json.loads(facts[name])) for name in _LISTS}
    facts |= {"job": json.loads(facts["job"]), "state": State(facts["state"])}
    return RunRecord(**facts)


def update(facts: Mapping[str, Any], connection: sqlite3.Connection) -> None:
    """Change facts by field name. Raises TypeError for a name that is none."""
    write(replace(read(connection), **facts), connection)
