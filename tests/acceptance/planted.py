"""Secrets to plant, in the forms in which others say them back; the search for them in what a run leaves."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, quote_plus

from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ACCESS, SECRET = "Acc3ss/c0de+Zq7", 's3cr"et\\c0de/Yx9&k'
USER, PASSWORD, TOKEN = 'Us3r"name/Kj4', 'p4ss"word\\Ty8', "T0ken-Ab_c9.xyz~1Rt"
HOOK, COLLECTOR = 'h00k"s3cret/Wv5', "C0llector-t0ken-Mn6"
ENVIRONMENT = {
    "SIM_EXPRESS_ACCESS_CODE": ACCESS,
    "SIM_EXPRESS_SECRET_CODE": SECRET,
    "BULK_SUBSCRIBER_USERNAME": USER,
    "BULK_SUBSCRIBER_PASSWORD": PASSWORD,
    "HOOK_SECRET": HOOK,
    "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{COLLECTOR}",
    "OTEL_BSP_SCHEDULE_DELAY": "100",
}
CREDENTIALS = {
    "access code": ACCESS,
    "secret code": SECRET,
    "username": USER,
    "password": PASSWORD,
    "token": TOKEN,
    "webhook secret": HOOK,
    "collector's token": COLLECTOR,
}
WHOLE = re.compile(r"8935711\d{12}|8904903212345123455829\d{10}|35203\d{10}|(?<!\d)4917\d{8}(?!\d)")
#: The user's own data: may stand where the rows stand that he has to mend, and in what the run is made of.
OF_THE_USER = re.compile(r"failures\.(csv|xlsx|jsonl)$|^ledger\.sqlite")


def forms(secret: str) -> dict[str, str]:
    """Give the forms in which a secret is said back and searched for."""
    return {
        "plain": secret,
        "upper": secret.upper(),
        "lower": secret.lower(),
        "json": json.dumps(secret)[1:-1],
        "quoted": quote(secret, safe=""),
        "plus": quote_plus(secret),
        "base64": base64.b64encode(secret.encode()).decode(),
        "basic": base64.b64encode(f"x:{secret}".encode()).decode(),
        "urlsafe": base64.urlsafe_b64encode(f"id:{secret}:".encode()).decode(),
        "hex": secret.encode().hex(),
        "split": f"{secret[:7]}\n{secret[7:]}",
        "glued": f"x{secret}y",
    }


def halves(secret: str) -> dict[str, str]:
    """Give what is searched for besides: hiding one half is hiding nothing."""
    half = len(secret) // 2
    return {
        "beginning": secret[: half + 1],
        "end": secret[-half:],
        "quoted end": quote(secret, safe="")[-half:],
    }


class Found(NamedTuple):
    """A secret that stands where it must not."""

    where: str
    what: str
    form: str
    around: str


def search(where: str, text: str, secrets: Mapping[str, str]) -> list[Found]:
    """Search a text for each secret in each form; white space between its characters hides nothing."""
    squeezed = "".join(text.split()).casefold()
    found = []
    for what, secret in secrets.items():
        for form, said in (forms(secret) | halves(secret)).items():
            needle = "".join(said.split()).casefold()
            if form in {"base64", "basic", "urlsafe"}:  # the ends depend on what stands beside the secret
                needle = needle[4:-4]
            if (at := squeezed.find(needle)) >= 0:
                found.append(Found(where, what, form, squeezed[max(0, at - 60) : at + 80]))
    return found


def contents(folder: Path) -> dict[str, str]:
    """Give every file of a run folder as text; a ledger also as what each of its cells says."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes().decode("utf-8", "replace")
    return found


def told(folder: Path) -> str:
    """Give all that a ledger tells but the user's own cells."""
    lines = []
    with closing(SqliteLedger.open(folder, read_only=True)) as ledger:
        for row in ledger.exceptional(*Status):
            lines += [f"{row.position} {row.code} {row.reason} {row.ticket} {row.call}"]
            lines += [str(attempt) for attempt in ledger.attempts(row.position)]
        lines += [str(event) for event in ledger.events()]
        lines += [str(ledger.run()), str(ledger.standing()), str(ledger.tally()), str(ledger.doubts())]
    with closing(sqlite3.connect(f"file:{folder / 'ledger.sqlite'}?mode=ro", uri=True)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            columns = [
                name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})") if name != "cells"
            ]
            for row in connection.execute(f"SELECT {', '.join(columns)} FROM {table}"):  # noqa: S608
                lines.append(str(row))
    return "\n".join(lines)


def report_of(found: list[Found]) -> str:
    return "\n".join([f"{len(found)} found", *map(str, found[:12])])
