"""The same search where the secret is a token that was fetched, and where a defect says what it knows."""

from __future__ import annotations

import itertools
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import inventories
import pytest
from planted import (
    ACCESS,
    CREDENTIALS,
    ENVIRONMENT,
    PASSWORD,
    SECRET,
    TOKEN,
    USER,
    WHOLE,
    contents,
    forms,
    report_of,
    search,
    told,
)
from receivers import receiving

if TYPE_CHECKING:
    from pathlib import Path

    from program import Program
    from receivers import Answer, Received

MSISDN = "49170000{:04d}"


def fleet_vendor() -> Any:
    """Make a bulk subscriber platform that says back who is asking, in each of its ways to answer."""
    number = itertools.count()
    turn = itertools.cycle(itertools.chain.from_iterable(forms(s).values() for s in (TOKEN, USER, PASSWORD)))

    def node(entry: dict[str, Any], **said: str) -> dict[str, Any]:
        return {**entry, "errorCode": "", "errorMessage": "", "requestId": ""} | said

    def answer(received: Received) -> Answer:
        words = " ".join(next(turn) for _ in range(4))
        bad = {"Request-Id": TOKEN, "X-Request-Id": TOKEN, "Retry-After": TOKEN}
        if received.path.endswith("/auth/token"):
            return 200, bad, json.dumps({"errorCode": "", "content": [{"token": TOKEN}], "x": words}).encode()
        entries = json.loads(received.body)["bulk"] if received.body else []
        values = " ".join(entry["subscriberIdentifiers"]["value"] for entry in entries)
        match next(number) % 6:
            case 0:
                return 401, bad, f"{received.headers} {words}".encode()
            case 1:
                return 500, bad, f"{words} {received.headers} {values}".encode()
            case 2:
                envelope = {"errorCode": f"GLOBAL_{TOKEN}", "errorMessage": f"{words} {values}"}
                return 400, bad, json.dumps(envelope).encode()
            case 3:
                nodes = [node(entry, requestId=TOKEN) for entry in entries]
            case _:
                nodes = [
                    node(entry, errorCode="SUBSCRIBER_1002", errorMessage=f"{words} token={TOKEN} {values}")
                    for entry in entries
                ]
        return 200, bad, json.dumps({"errorCode": "", "bulk": nodes}).encode()

    return answer


def test_a_token_that_was_fetched_is_nowhere_to_be_found(simlift: Program) -> None:
    simlift.environment |= ENVIRONMENT
    rows = [("MSISDN", MSISDN.format(number), f"truck {number}") for number in range(40)]
    inventory = inventories.write(simlift.folder / "fleet.csv", rows, header=("type", "value", "alias"))
    with receiving(fleet_vendor()) as vendor:
        job = simlift.fleet_job(vendor.url, batch_items=5, attempts=2, give_up_s=2.0)
        ended = simlift("run", inventory, "--job", job, "--run-id", "night", "--log", "json")
    assert ended.code in (1, 3), ended
    assert json.loads(vendor.received[0].body) == {"username": USER, "password": PASSWORD}
    assert vendor.received[1].headers["authorization"] == f"Bearer {TOKEN}"

    traced = simlift("trace", MSISDN.format(3))
    folder = simlift.runs / "night"
    streams = {"run stdout": ended.out, "run stderr": ended.err, "trace": traced.out}
    everywhere = contents(folder) | streams | {"what the ledger tells": told(folder)}
    found = [one for where, text in everywhere.items() for one in search(where, text, CREDENTIALS)]
    assert not found, report_of(found)
    for masked in ("log.jsonl", "report.html", "run stdout", "run stderr"):
        assert not WHOLE.search(everywhere[masked]), masked


# ---------------------------------------------------------------- a defect, in somebody else's target

PLUGIN = """
import logging

import structlog

from pipeline.errors import UsageError
from pipeline.targets.sim_express import SimExpress


class Careless(SimExpress):
    name = "careless"

    def __init__(self, settings):
        super().__init__(settings)
        if CARELESS == "refuses":
            raise UsageError(f"{settings.secret_code.get_secret_value()} is too weak")
        if CARELESS == "constructs":
            raise RuntimeError(f"{settings.secret_code.get_secret_value()} is too weak")

    async def send(self, batch, http):
        words = f"{self._secret_code} {self._access_code} {batch.keys()} {batch.payload()!r}"
        try:
            raise ValueError(words)
        except ValueError as error:
            logging.getLogger("careless").exception("by the library: %s", words)
            structlog.get_logger().exception("by its own: " + words, key=batch.keys()[0])
            if CARELESS == "raises":
                raise RuntimeError(f"{words} and Authorization: Basic {words}") from error
        return await super().send(batch, http)
"""


def install(folder: Path, way: str) -> dict[str, str]:
    (folder / "careless.py").write_text(PLUGIN.replace("CARELESS", repr(way)), "utf-8")
    info = folder / "careless-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: careless\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text("[simlift.targets]\ncareless = careless:Careless\n", "utf-8")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))}


@pytest.mark.parametrize(("way", "code"), [("raises", 3), ("logs", 1), ("constructs", 3), ("refuses", 2)])
@pytest.mark.parametrize("log", ["none", "json"])
def test_a_defect_that_says_what_it_knows_says_no_secret(
    simlift: Program, way: str, code: int, log: str
) -> None:
    simlift.environment |= ENVIRONMENT | install(simlift.folder, way)
    inventory = inventories.write(simlift.folder / "delivery.csv", inventories.rows(5))

    def answer(received: Received) -> Answer:
        said = f"{ACCESS} {quote(SECRET, safe='')} {received.headers['rt-signature']} no"
        items = json.loads(received.body)["profileItems"]
        results = [{"result": "failed", "reason": said} for _ in items]
        return 200, {}, json.dumps({"resultList": results}).encode()

    with receiving(answer) as vendor:
        job = simlift.job(vendor.url)
        job.write_text(job.read_text("utf-8").replace("sim-express", "careless"), "utf-8")
        words = ("run", inventory, "--job", job, "--run-id", "night", "--log", log)
        ended = simlift.start(*words, warm=False).end()

    assert ended.code == code, ended
    streams = {"run stdout": ended.out, "run stderr": ended.err}
    folder = simlift.runs / "night"
    files = contents(folder) if folder.exists() else {}
    secrets = CREDENTIALS | {
        f"signature {number}": received.headers["rt-signature"]
        for number, received in enumerate(vendor.received)
    }
    found = [one for where, text in (files | streams).items() for one in search(where, text, secrets)]
    assert not found, report_of(found)
    assert ("Traceback" in ended.err) == (way in ("raises", "constructs") or (way, log) == ("logs", "json"))
    for masked in (ended.out, ended.err, files.get("log.jsonl", "")):
        assert not WHOLE.search(masked)
    assert files.get("log.jsonl", "").count("by the library") == (way in ("raises", "logs"))
