"""The attack on what is told: secrets planted everywhere, said back by a vendor, searched for everywhere."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import sys
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import inventories
import pytest
from planted import (
    ACCESS,
    COLLECTOR,
    CREDENTIALS,
    ENVIRONMENT,
    HOOK,
    OF_THE_USER,
    SECRET,
    WHOLE,
    Found,
    contents,
    forms,
    report_of,
    search,
    told,
)
from receivers import receiving
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from program import Ended, Program
    from receivers import Answer, Received, Receiver

ROWS = 60

# ---------------------------------------------------------------- a vendor that says everything back


def echo(received: Received, secrets: list[str]) -> str:
    """Give all that a request bore, and all that the vendor knows, in every form."""
    said = [form for secret in secrets for form in forms(secret).values()]
    return " ".join([json.dumps(received.headers), *said, received.body.decode()[:600]])


def hostile(said_back: list[str]) -> Any:  # noqa: C901 - a table of ways to answer
    """Make a vendor that refuses each request in another way, and says its secrets back in each."""
    number = itertools.count()
    turn = itertools.cycle(itertools.chain.from_iterable(forms(secret).values() for secret in said_back))

    def words() -> str:
        return " ".join(next(turn) for _ in range(4))

    def answer(received: Received) -> Answer | bytes:
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
                return (
                    b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + echo(received, said_back).encode()
                )
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
                        "reason": f"{words()} {signature} iccid:[{item['iccid']}] {item['ac']} "
                        f"cc={item['cc']} "
                        f"{quote(item['ac'], safe='')} Bearer {signature} RT-AccessCode: {ACCESS}",
                    }
                    for item in items
                ]
                return 200, bad, json.dumps({"resultList": results}).encode()

    return answer


def refusing(received: Received) -> Answer:
    """Redirect to somewhere that is told everything."""
    signature = received.headers.get("rt-signature", "")
    return (
        302,
        {"Location": f"https://{quote(ACCESS, safe='')}.example/{ACCESS}/{signature}/{quote(SECRET)}"},
        b"",
    )


def collecting(_received: Received) -> Answer:
    return 400, {}, f"no such token: {COLLECTOR}".encode()


def hooking() -> Callable[[Received], Answer]:
    """Make a webhook that says its secret back at first."""
    first = itertools.chain([307], itertools.repeat(200))
    return lambda _received: (next(first), {"Location": f"/{quote(HOOK)}"}, HOOK.encode())


class Streams:
    """All that is heard of a run from outside its folder, by name."""

    def __init__(self) -> None:
        self.of_a_run: dict[str, str] = {}
        self.others: dict[str, str] = {}

    def hear(self, name: str, ended: Ended, *, of_a_run: bool = False) -> Ended:
        assert "Traceback" not in ended.err, ended.err
        (self.of_a_run if of_a_run else self.others).update(
            {f"{name} stdout": ended.out, f"{name} stderr": ended.err}
        )
        return ended


def scrape(port: int, times: int) -> str:
    """Scrape a run under way so many times."""
    scrapes: list[str] = []

    def look() -> int:
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{port}/metrics"
            scrapes.append(urllib.request.urlopen(url, timeout=5).read().decode())
        return len(scrapes)

    until(look, lambda found: found >= times, f"{times} scrapes")
    return "\n".join(scrapes)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def notify(simlift: Program, hook: Receiver) -> str:
    script = simlift.folder / "hook.py"
    script.write_text(
        "import sys, pathlib\nwith open('hooked.txt', 'a') as f: f.write(sys.stdin.read() + '\\n')\n"
    )
    command = json.dumps([sys.executable, str(script)])
    return f'[notify]\nwebhook = "{hook.url}/hook"\nsecret = "env:HOOK_SECRET"\ncommand = {command}\n'


@pytest.mark.parametrize("log", ["none", "json", "console"])
def test_what_a_hostile_vendor_says_back_is_nowhere_to_be_found(simlift: Program, log: str) -> None:
    heard = Streams()
    simlift.environment |= ENVIRONMENT
    inventory = inventories.write(simlift.folder / "delivery.csv", inventories.rows(ROWS))
    port = free_port()
    with (
        receiving(hostile([ACCESS, SECRET])) as vendor,
        receiving(refusing) as elsewhere,
        receiving(collecting) as collector,
        receiving(hooking()) as hook,
    ):
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        rest = notify(simlift, hook) + "[guards]\nbudget_items = 35\nbudget_over_items = 50\n"
        job = simlift.job(vendor.url, batch_items=10, requests_per_second=60.0, attempts=2, rest=rest)
        words = ("--job", job, "--run-id", "night", "--log", log, "--metrics-port", str(port))
        process = simlift.start("run", inventory, *words, environment=environment)
        scraped = scrape(port, 5)
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
        signatures = {
            r.headers["rt-signature"]
            for r in (*vendor.received, *elsewhere.received)
            if "rt-signature" in r.headers
        }

    assert signatures
    folder = simlift.runs / "night"
    public = {
        "notices": "\n".join(received.body.decode() for received in hook.received),
        "command": (simlift.folder / "hooked.txt").read_text("utf-8"),
        "spans": "\n".join(received.body.decode("utf-8", "replace") for received in collector.received),
        "metrics": scraped,
    }
    assert all(public.values())
    files = contents(folder)
    everywhere = {
        **files,
        **public,
        **heard.of_a_run,
        **heard.others,
        "headers of notices": hook.everything(),
    }

    secrets = CREDENTIALS | {f"signature {number}": said for number, said in enumerate(signatures)}
    found = [
        one
        for where, text in (everywhere | {"what the ledger tells": told(folder)}).items()
        for one in search(where, text, secrets)
    ]
    assert not found, report_of(found)

    codes = [
        Found(where, "code", mark, "")
        for where, text in everywhere.items()
        if not OF_THE_USER.search(where)
        for mark in (inventories.AC_MARK, inventories.CC_MARK)
        if mark.casefold() in text.casefold()
    ]
    assert not codes, report_of(codes)

    masked = {name: files[name] for name in ("log.jsonl", "report.html")} | public | heard.of_a_run
    whole = [
        Found(where, "identifier", hit[0], text[max(0, hit.start() - 80) : hit.end() + 20])
        for where, text in masked.items()
        for hit in WHOLE.finditer(text)
    ]
    assert not whole, report_of(whole)
