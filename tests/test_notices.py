"""Who is told of a run: by a signed webhook to a real server, by a real command; never at the run's cost."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from ledger_making import RECORD
from pydantic import SecretStr

from pipeline import notices
from pipeline.chronicle import Event, EventKind
from pipeline.errors import UsageError
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.notices import Herald, signed_headers
from pipeline.settings import Notify, job_from
from pipeline.work import notify_secret_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NIGHT = replace(RECORD, run_id="night")


class Receiver:
    """A server that takes notices; `statuses` are what it answers, one after the other, then 200."""

    def __init__(self) -> None:
        self.url = ""
        self.statuses: list[int] = []
        self.taken: list[tuple[dict[str, str], bytes]] = []

    @property
    def said(self) -> list[Any]:
        return [json.loads(body) for _, body in self.taken]

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.taken.append((headers, await request.read()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    await runner.cleanup()


@pytest.fixture
def ledger(tmp_path: Path) -> SqliteLedger:
    return SqliteLedger.create(tmp_path / "night", NIGHT, inline=True)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "WAITS_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(notices, "LOOK_EVERY_S", 0.01)


def herald(ledger: SqliteLedger, *, secret: str = "", **settings: Any) -> Herald:
    return Herald(
        Notify(**settings),
        ledger,
        secret=SecretStr(secret) if secret else None,
        clean=lambda words: words.replace("s3cret", "***"),
        figures=lambda: {"run_id": "night", "counts": {"succeeded": 3}},
    )


def troubles(ledger: SqliteLedger) -> list[str]:
    return [event.words for event in ledger.events() if event.kind is EventKind.NOTICE]


async def happened(ledger: SqliteLedger, kind: EventKind, words: str) -> None:
    await ledger.note(Event(1.0, kind, words, taken_at=1.0))


async def watched(herald: Herald, receiver: Receiver, count: int) -> None:
    """Let a herald watch until so many notices have arrived."""
    watching = asyncio.ensure_future(herald.watch())
    async with asyncio.timeout(20):
        while len(receiver.taken) < count:  # noqa: ASYNC110 - a server of the test's own
            await asyncio.sleep(0.005)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_start_hold_guard_and_end_are_told_in_their_order(
    receiver: Receiver, ledger: SqliteLedger
) -> None:
    told = herald(ledger, webhook=receiver.url)
    await happened(ledger, EventKind.HOLD, "held by anna")
    await happened(ledger, EventKind.TUNE, "of no concern")
    await watched(told, receiver, 2)
    await happened(ledger, EventKind.GUARD, "37 of the last 1,000 items were not good")
    await told.end("finished")
    assert [(said["event"], said["words"]) for said in receiver.said] == [
        ("start", "the run has begun, or goes on"),
        ("hold", "held by anna"),
        ("guard", "37 of the last 1,000 items were not good"),
        ("end", "finished"),
    ]
    assert {json.dumps(said["summary"]) for said in receiver.said} == {
        json.dumps({"run_id": "night", "counts": {"succeeded": 3}})
    }
    assert not troubles(ledger)


async def test_what_is_being_told_when_the_run_ends_is_told_once_and_before_the_end(
    receiver: Receiver, ledger: SqliteLedger
) -> None:
    receiver.statuses = [503, 503]  # the start is still on its way
    told = herald(ledger, webhook=receiver.url)
    watching = asyncio.ensure_future(told.watch())
    async with asyncio.timeout(20):
        while not receiver.taken:  # noqa: ASYNC110 - a server of the test's own
            await asyncio.sleep(0.001)
    await happened(ledger, EventKind.GUARD, "37 of the last 1,000 items were not good")
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await told.end("finished")
    assert [said["event"] for said in receiver.said] == ["start", "start", "start", "guard", "end"]


async def test_only_what_was_asked_for_is_told(receiver: Receiver, ledger: SqliteLedger) -> None:
    told = herald(ledger, webhook=receiver.url, on=["end"])
    await happened(ledger, EventKind.HOLD, "held by anna")
    await told.end("finished")
    assert [said["event"] for said in receiver.said] == ["end"]


async def test_what_an_earlier_process_met_is_not_told_again(
    receiver: Receiver, ledger: SqliteLedger
) -> None:
    await happened(ledger, EventKind.HOLD, "held by anna")
    await herald(ledger, webhook=receiver.url).end("finished")
    assert [said["event"] for said in receiver.said] == ["end"]


async def test_words_are_cleaned_of_secrets(receiver: Receiver, ledger: SqliteLedger) -> None:
    await herald(ledger, webhook=receiver.url).end("the vendor said s3cret")
    assert receiver.said[0]["words"] == "the vendor said ***"


async def test_a_webhook_is_signed_over_its_id_time_and_body(
    receiver: Receiver, ledger: SqliteLedger
) -> None:
    await herald(ledger, webhook=receiver.url, secret="shared").end("finished")
    headers, body = receiver.taken[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.digest(b"shared", signed, hashlib.sha256)
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert headers["x-simlift-event"] == "end"


def test_the_signature_is_that_of_the_specification() -> None:
    # The example of Standard Webhooks 1.0, as its reference libraries test it.
    secret = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_without_a_secret_there_is_no_signature(receiver: Receiver, ledger: SqliteLedger) -> None:
    await herald(ledger, webhook=receiver.url).end("finished")
    assert "webhook-signature" not in receiver.taken[0][0]


async def test_a_webhook_that_fails_is_tried_again_under_the_same_id(
    receiver: Receiver, ledger: SqliteLedger
) -> None:
    receiver.statuses = [503, 500]
    await herald(ledger, webhook=receiver.url).end("finished")
    assert len({headers["webhook-id"] for headers, _ in receiver.taken}) == 1
    assert len(receiver.taken) == 3
    assert not troubles(ledger)


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_what_is_not_taken_is_written_into_the_event_log(
    receiver: Receiver, ledger: SqliteLedger, status: int
) -> None:
    receiver.statuses = [status] * 3
    await herald(ledger, webhook=receiver.url).end("finished")
    assert troubles(ledger) == [f"[notify] webhook: HTTP {status}"]


async def test_a_server_that_is_not_there_is_written_into_the_event_log(ledger: SqliteLedger) -> None:
    await herald(ledger, webhook="http://127.0.0.1:9/hook").end("finished")
    assert troubles(ledger) == ["[notify] webhook: cannot be reached: ClientConnectorError"]


def command(folder: Path, program: str) -> list[str]:
    script = folder / "hook.py"
    script.write_text(program, "utf-8")
    return [sys.executable, str(script), str(folder)]


async def test_a_command_hears_the_notice_on_its_standard_input(ledger: SqliteLedger, tmp_path: Path) -> None:
    hook = command(
        tmp_path,
        "import os, sys, pathlib\n"
        "to = pathlib.Path(sys.argv[1], os.environ['SIMLIFT_EVENT'] + os.environ['SIMLIFT_RUN_ID'])\n"
        "to.write_text(sys.stdin.read())\n",
    )
    await herald(ledger, command=hook).end("finished")
    assert json.loads((tmp_path / "endnight").read_text("utf-8"))["words"] == "finished"
    assert not troubles(ledger)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("raise SystemExit(7)", "ended with exit code 7"),
        ("import time; time.sleep(600)", "was not done within 0.5 s and was ended"),
    ],
)
async def test_a_command_that_fails_is_written_into_the_event_log(
    ledger: SqliteLedger, tmp_path: Path, program: str, words: str
) -> None:
    await herald(ledger, command=command(tmp_path, program), timeout_s=0.5).end("finished")
    assert troubles(ledger) == [f"[notify] command: {words}"]


async def test_a_command_that_is_not_there_is_written_into_the_event_log(ledger: SqliteLedger) -> None:
    await herald(ledger, command=["/nowhere/hook"]).end("finished")
    assert troubles(ledger) == [
        "[notify] command: /nowhere/hook cannot be started: No such file or directory"
    ]


# ---------------------------------------------------------------- the job file


def job(**notify: Any) -> Any:
    return job_from({"target": {"kind": "sim-express"}, "notify": notify}, where="job file test.toml").notify


def test_a_webhook_in_clear_text_goes_to_this_machine_only() -> None:
    assert job(webhook="http://127.0.0.1:8080/hook").webhook
    with pytest.raises(UsageError, match=r"notify: webhook: http:// to hooks\.example would send"):
        job(webhook="http://hooks.example/x")


def test_a_secret_is_kept_as_a_reference() -> None:
    assert job(secret="env:HOOK").secret == "env:HOOK"
    with pytest.raises(UsageError, match=r"notify\.secret: must be a reference"):
        job(secret="open sesame")


def test_a_misspelt_occasion_is_named() -> None:
    with pytest.raises(UsageError, match=r"notify\.on\.0"):
        job(on=["begin"])


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("whsec_not base64!", "what follows whsec_ must be base64"),
        ("whsec_", "nothing follows whsec_"),  # anybody could sign with it
    ],
)
def test_a_secret_that_no_webhook_can_be_signed_with_is_said_before_the_run(
    monkeypatch: pytest.MonkeyPatch, secret: str, why: str
) -> None:
    monkeypatch.setenv("HOOK", secret)
    table = {"target": {"kind": "sim-express"}, "notify": {"secret": "env:HOOK"}}
    with pytest.raises(UsageError, match=rf"^job: notify\.secret: {why}"):
        notify_secret_of(job_from(table, where="job"))
