"""A job looked over: what is well, what is not, and what to do; no row, no credential leaves."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from pipeline import doctor
from pipeline.doctor import Found, Mark, examine_job
from pipeline.settings import Job, job_from

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = 1_795_000_000.0


class Vendor:
    """A server that answers 401 to whatever it is asked, by a clock of its own."""

    def __init__(self) -> None:
        self.url = ""
        self.date: str | None = formatdate(NOW, usegmt=True)
        self.asked: list[tuple[str, dict[str, str], bytes]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, dict(request.headers), await request.read()))
        return web.Response(status=401, headers={"Date": self.date} if self.date else {})


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", vendor.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    vendor.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield vendor
    await runner.cleanup()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_CODE", "open-sesame")


def job(url: str, **tables: Any) -> Job:
    target = {"kind": "sim-express", "base_url": url}
    target |= {"access_code": "env:SIM_CODE", "secret_code": "env:SIM_CODE"}
    return job_from({"target": target | tables.pop("target", {}), **tables}, where="job file test.toml")


async def looked_over(job: Job, runs: Path) -> dict[str, Found]:
    return {found.what: found async for found in examine_job(job, runs, clock=lambda: NOW)}


async def test_a_sound_job_is_found_well(vendor: Vendor, tmp_path: Path) -> None:
    found = await looked_over(job(vendor.url), tmp_path / "runs")
    assert list(found) == ["job", "credentials", "dns", "connection", "clock", "runs", "disk"]
    assert {each.mark for each in found.values()} <= {Mark.OK, Mark.WARN}
    assert not (tmp_path / "runs").exists()


async def test_nothing_secret_leaves(vendor: Vendor, tmp_path: Path) -> None:
    found = await looked_over(job(vendor.url), tmp_path)
    ((method, headers, body),) = vendor.asked
    assert (method, body) == ("HEAD", b"")
    assert "open-sesame" not in json.dumps(headers)
    assert "open-sesame" not in json.dumps([each.data() for each in found.values()])


async def test_a_missing_secret_is_named(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIM_CODE")
    found = await looked_over(job(vendor.url), tmp_path)
    assert found["credentials"].mark is Mark.FAIL
    assert "the environment variable SIM_CODE is not set" in found["credentials"].words
    assert found["clock"].mark is Mark.OK  # the rest is looked at all the same


@pytest.mark.parametrize(
    ("off_s", "mark", "words"),
    [
        (0, Mark.OK, "within 1 s"),
        (-20, Mark.OK, "within 19 s"),
        (31, Mark.FAIL, "31 s behind the vendor's"),
        (-3600, Mark.FAIL, "3599 s ahead of the vendor's"),
    ],
)
async def test_a_clock_that_is_off_shows_against_the_vendors(
    vendor: Vendor, tmp_path: Path, off_s: float, mark: Mark, words: str
) -> None:
    vendor.date = formatdate(NOW + off_s, usegmt=True)
    found = (await looked_over(job(vendor.url), tmp_path))["clock"]
    assert found.mark is mark
    assert words in found.words


async def test_a_name_that_does_not_exist_is_told(tmp_path: Path) -> None:
    found = await looked_over(job("https://no-such-vendor.invalid"), tmp_path)
    assert found["dns"].mark is Mark.FAIL
    assert found["dns"].words.startswith("no-such-vendor.invalid: ")
    assert "clock" not in found


async def test_a_vendor_that_is_not_there_is_told_in_plain_words(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = await looked_over(job(f"http://127.0.0.1:{free.getsockname()[1]}"), tmp_path)
    assert found["connection"].mark is Mark.FAIL
    assert "Error" not in found["connection"].words
    assert "firewall" in found["connection"].remedy


@pytest.fixture
def untrusted(tmp_path: Path) -> ssl.SSLContext:
    """A server's side of TLS with a certificate that it made itself."""
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


async def test_a_certificate_that_nobody_vouches_for_is_told(
    untrusted: ssl.SSLContext, tmp_path: Path
) -> None:
    async with await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0, ssl=untrusted) as server:
        port = server.sockets[0].getsockname()[1]
        found = await looked_over(job(f"https://localhost:{port}"), tmp_path)
    assert found["connection"].mark is Mark.FAIL
    assert "certificate is not trusted" in found["connection"].words


@pytest.mark.parametrize(("days", "mark"), [(400, Mark.OK), (13, Mark.WARN), (-1, Mark.WARN)])
def test_a_certificate_that_runs_out_soon_is_warned_of(days: int, mark: Mark) -> None:
    ends = formatdate(NOW + days * 86_400 + 60, usegmt=True).split(", ")[1]
    day, month, rest = ends.split(" ", 2)
    year, clock, _ = rest.split(" ")
    found = doctor._certificate({"notAfter": f"{month} {day} {clock} {year} GMT"}, NOW)
    assert found.mark is mark
    assert f"({days} days)" in found.words


async def test_a_folder_that_cannot_be_written_is_told(vendor: Vendor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", "utf-8")
    found = await looked_over(job(vendor.url), tmp_path / "file" / "runs")
    assert found["runs"].mark is Mark.FAIL
    assert "--runs" in found["runs"].remedy


async def test_a_command_that_is_not_there_is_told(vendor: Vendor, tmp_path: Path) -> None:
    found = await looked_over(job(vendor.url, notify={"command": ["no-such-hook"]}), tmp_path)
    assert found["notify"].mark is Mark.FAIL
