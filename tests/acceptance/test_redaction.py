"""The attack on what may be told: secrets planted everywhere, said back by everybody, then searched for everywhere."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import re
import sqlite3
import sys
import textwrap
import urllib.request
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, quote_plus

import inventories
import pytest
from receivers import receiving
from waiting import until

from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from program import Ended, Program
    from receivers import Answer, Received, Receiver

ACCESS, SECRET = "Acc3ss/c0de+Zq7", 's3cr"et\\c0de/Yx9&k'
USER, PASSWORD, TOKEN = 'Us3r"name/Kj4', 'p4ss"word\\Ty8', "T0ken/Ab+c9.xyz~1Rt"
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
ROWS = 120
WHOLE = re.compile(r"8935711\d{12}|8904903212345123455829\d{10}|35203\d{10}|(?<!\d)4917\d{8}(?!\d)")
#: The user's own data: may stand where the rows stand that he has to mend, and in what the run is made of.
OF_THE_USER = re.compile(r"failures\.(csv|xlsx|jsonl)$|^ledger\.sqlite")
WHOLE_ALLOWED = re.compile(OF_THE_USER.pattern + r"|^outcomes\.csv$")


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
        for form, said in forms(secret).items():
            # The ends of base64 depend on what stands beside the secret.
            needle = "".join(said.split()).casefold()
            needle = needle[4:-4] if form in {"basic", "urlsafe"} else needle.rstrip("=")[:-2] if form == "base64" else needle
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
            columns = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})") if name != "cells"]
            for row in connection.execute(f"SELECT {', '.join(columns)} FROM {table}"):  # noqa: S608
                lines.append(str(row))
    return "\n".join(lines)


# ---------------------------------------------------------------- a vendor that says everything back


def echo(received: Received, secrets: list[str]) -> str:
    """Give all that a request bore, and all that the vendor knows, in every form."""
    said = [form for secret in secrets for form in forms(secret).values()]
    return " ".join([json.dumps(received.headers), *said, received.body.decode()[:600]])


def hostile(said_back: list[str]) -> Any:
    """Make a vendor that refuses each request in another way, and says its secrets back in each."""
    number = itertools.count()
    turn = itertools.cycle(itertools.chain.from_iterable(forms(secret).values() for secret in said_back))

    def words() -> str:
        return " ".join(next(turn) for _ in range(4))

    def answer(received: Received) -> Answer | bytes:  # noqa: PLR0911 - a table of ways
        if received.method == "HEAD":
            return 404, {"X-Request-Id": ACCESS, "Server": SECRET.replace("\\", "")}, b""
        signature = received.headers["rt-signature"]
        bad = {"X-Request-Id": signature, "Retry-After": ACCESS, "Date": ACCESS, "Request-Id": ACCESS}
        items = json.loads(received.body)["profileItems"]
        match next(number) % 9:
            case 0:
                return 500, {"X-Request-Id": ACCESS}, echo(received, said_back).encode()
            case 1:
                return 503, {"Retry-After": signature, "Date": SECRET.replace("\\", "")}, words().encode()
            case 2:
                return 429, {"Retry-After": "0", "RateLimit": f'"{ACCESS}";r=0;t=0'}, words().encode()
            case 3:
                return b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + echo(received, said_back).encode()
            case 4:
                return f"{ACCESS} {signature} {SECRET}\r\n\r\n".encode()
            case 5:
                envelope = {"errorCode": ACCESS, "errorMsg": f"{words()} {signature} {words()}"}
                return 400, bad, json.dumps(envelope).encode()
            case 6:
                return 400, bad, ("z" * 190 + f" {ACCESS} {signature}").encode()
            case 7:
                return 200, bad, json.dumps({"success": words(), "x": ACCESS}).encode()
            case _:
                results = [
                    {
                        "result": "failed",
                        "reason": f"{words()} {signature} iccid:[{item['iccid']}] {item['ac']} cc={item['cc']} "
                        f"{quote(item['ac'], safe='')} Bearer {signature} RT-AccessCode: {ACCESS}",
                    }
                    for item in items
                ]
                return 200, bad, json.dumps({"resultList": results}).encode()

    return answer


def refusing(received: Received) -> Answer:
    """Redirect to somewhere that is told everything."""
    signature = received.headers.get("rt-signature", "")
    return 302, {"Location": f"https://{quote(ACCESS, safe='')}.example/{ACCESS}/{signature}/{quote(SECRET)}"}, b""


def collecting(_received: Received) -> Answer:
    return 400, {}, f"no such token: {COLLECTOR}".encode()


def hooked(received: Received) -> Answer:
    """Say the secret back to the start, and take what comes after it."""
    return 500 if received.headers["x-simlift-event"] == "start" else 200, {}, HOOK.encode()


class Streams:
    """All that is heard of a run from outside its folder, by name."""

    def __init__(self) -> None:
        self.of_a_run: dict[str, str] = {}
        self.others: dict[str, str] = {}

    def hear(self, name: str, ended: Ended, *, of_a_run: bool = False) -> Ended:
        assert "Traceback" not in ended.err, ended.err
        (self.of_a_run if of_a_run else self.others).update({f"{name} stdout": ended.out, f"{name} stderr": ended.err})
        return ended


@contextmanager
def scraping(port: int, scrapes: list[str]) -> Iterator[None]:
    """Scrape until the run is over; the loop is the caller's."""

    def look() -> int:
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{port}/metrics"
            scrapes.append(urllib.request.urlopen(url, timeout=5).read().decode())  # noqa: S310 - loopback
        return len(scrapes)

    until(look, lambda found: found >= 3, "three scrapes")
    yield


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def notify(simlift: Program, hook: Receiver) -> str:
    script = simlift.folder / "hook.py"
    script.write_text("import sys, pathlib\nwith open('hooked.txt', 'a') as f: f.write(sys.stdin.read() + '\\n')\n")
    command = json.dumps([sys.executable, str(script)])
    return f'[notify]\nwebhook = "{hook.url}/hook"\nsecret = "env:HOOK_SECRET"\ncommand = {command}\n'


@pytest.mark.parametrize("log", ["none", "json", "console"])
def test_what_a_hostile_vendor_says_back_is_nowhere_to_be_found(simlift: Program, log: str) -> None:
    heard, scrapes = Streams(), list[str]()
    simlift.environment |= ENVIRONMENT
    inventory = inventories.write(simlift.folder / "delivery.csv", inventories.rows(ROWS))
    port = free_port()
    with (
        receiving(hostile([ACCESS, SECRET])) as vendor,
        receiving(refusing) as elsewhere,
        receiving(collecting) as collector,
        receiving(hooked) as hook,
    ):
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        rest = notify(simlift, hook) + "[guards]\nbudget_items = 70\nbudget_over_items = 100\n"
        job = simlift.job(vendor.url, batch_items=10, requests_per_second=60.0, attempts=2, rest=rest)
        words = ("--job", job, "--run-id", "night", "--log", log, "--metrics-port", str(port))
        process = simlift.start("run", inventory, *words, environment=environment)
        with scraping(port, scrapes):
            ended = heard.hear("run", process.end(), of_a_run=True)
        assert ended.code == 3, ended
        stopped = simlift.job(elsewhere.url, name="job.toml", batch_items=10, rest=rest)
        again = heard.hear("again", simlift("run", inventory, *words, environment=environment), of_a_run=True)
        assert again.code == 3, again
        assert "redirected to" in again.out
        simlift.job(vendor.url, name="other.toml", batch_items=10, attempts=2)
        more = ("run", inventory, "--job", simlift.folder / "other.toml", "--run-id", "night", "--log", log)
        heard.hear("last", simlift(*more), of_a_run=True)
        heard.hear("resume", simlift("resume", "night"), of_a_run=True)
        for command in (
            ("status", "night"), ("status", "--json"), ("report", "night"), ("trace", inventories.iccid(3)),
            ("trace", inventories.iccid(3), "--json"), ("doctor", "other.toml"), ("doctor", stopped),
        ):  # fmt: skip
            heard.hear(" ".join(map(str, command)), simlift(*command))
        signatures = {r.headers["rt-signature"] for r in (*vendor.received, *elsewhere.received) if "rt-signature" in r.headers}

    folder = simlift.runs / "night"
    assert signatures
    assert collector.received
    assert hook.received
    secrets = {k: v for k, v in CREDENTIALS.items()} | {f"signature {n}": s for n, s in enumerate(signatures)}
    files = contents(folder) | {"what the ledger tells": told(folder)}
    public = {
        "notices": hook.everything(),
        "command": (simlift.folder / "hooked.txt").read_text("utf-8"),
        "spans": "\n".join(r.body.decode("utf-8", "replace") for r in collector.received),
        "metrics": "\n".join(scrapes),
    }
    everywhere = {**files, **public, **heard.of_a_run, **heard.others}
    public["notices"] = "\n".join(r.body.decode() for r in hook.received)

    found = [one for where, text in everywhere.items() for one in search(where, text, secrets)]
    assert not found, report_of(found)

    codes = {"activation code": inventories.AC_MARK, "confirmation code": inventories.CC_MARK}
    plain = [
        Found(where, what, "plain", "")
        for where, text in everywhere.items()
        if not OF_THE_USER.search(where)
        for what, mark in codes.items()
        if mark.casefold() in text.casefold()
    ]
    assert not plain, report_of(plain)
    masked = {"log.jsonl": files["log.jsonl"], "report.html": files["report.html"], **public, **heard.of_a_run}
    masked = {name: text for name, text in masked.items() if name != "spans"} | {"spans": public["spans"]}
    shown = [Found(where, "identifier", hit[0], text[max(0, hit.start() - 80) : hit.end() + 20]) for where, text in masked.items() for hit in WHOLE.finditer(text)]
    assert not shown, report_of(shown)


def report_of(found: list[Found]) -> str:
    return "\n".join([f"{len(found)} found", *map(str, found[:12])])
