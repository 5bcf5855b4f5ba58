"""Looks a job over before its night: secrets, address, TLS, clock, disk. Imports nothing, sends no row.

One request without credentials goes to the vendor's address: for the way there, and for its clock.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.errors import NoReply, UsageError
from pipeline.http_client import open_http
from pipeline.pace import Pace
from pipeline.settings import Limits
from pipeline.wire import Request, utc_seconds
from pipeline.work import notify_secret_of, open_target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from pipeline.settings import Endpoint, Job

PATIENCE_S = 10.0
SKEW_S = 30.0  # signatures of the vendors known so far allow a minute or more
CERTIFICATE_DAYS = 14
LEAST_FREE_BYTES = 2_000_000_000
_LISTS_ENDS = 2


class Mark(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Found:
    """One thing looked at: how it is, in words and, where it is not well, what to do."""

    mark: Mark
    what: str
    words: str
    remedy: str = ""

    def line(self) -> str:
        """Give it as a line."""
        return f"{self.mark:<4}  {self.what:<12} {self.words}{f'; {self.remedy}' if self.remedy else ''}"

    def data(self) -> dict[str, Any]:
        """Give it as data."""
        return {"mark": str(self.mark), "what": self.what, "words": self.words, "remedy": self.remedy}


async def examine_job(job: Job, runs: Path, clock: Callable[[], float] = time.time) -> AsyncIterator[Found]:
    """Look everything over, one thing after another, each as soon as it is known."""
    _, endpoint = open_target(job, resolve_secrets=False)
    yield Found(Mark.OK, "job", f"{job.where}: sound; target {job.target_kind}")
    yield _fetched("credentials", partial(open_target, job))
    if job.notify.secret:
        yield _fetched("notify", partial(notify_secret_of, job))
    addresses = await _addresses(endpoint)
    yield addresses
    if addresses.mark is Mark.OK:
        async for found in _asked(endpoint, clock):
            yield found
    yield _written(runs)
    yield _space(runs)
    if job.notify.command:
        yield _command(job.notify.command[0])


def _fetched(what: str, fetch: Callable[[], object]) -> Found:
    try:
        fetch()
    except UsageError as error:
        return Found(Mark.FAIL, what, str(error), "set it where simlift runs, also for cron and services")
    return Found(Mark.OK, what, "every secret that the job refers to is there")


async def _addresses(endpoint: Endpoint) -> Found:
    url = urlsplit(endpoint.base_url)
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        async with asyncio.timeout(PATIENCE_S):
            found = await asyncio.get_running_loop().getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return Found(
            Mark.FAIL, "dns", f"{url.hostname}: no answer within {PATIENCE_S:g} s", "check the resolver"
        )
    except OSError as error:
        words = f"{url.hostname}: {error.strerror}"
        return Found(Mark.FAIL, "dns", words, "check [target] base_url, and the resolver of this machine")
    addresses = list(dict.fromkeys(entry[4][0] for entry in found))
    more = f" and {len(addresses) - _LISTS_ENDS} more" if len(addresses) > _LISTS_ENDS else ""
    return Found(Mark.OK, "dns", f"{url.hostname}: {', '.join(map(str, addresses[:_LISTS_ENDS]))}{more}")


async def _asked(endpoint: Endpoint, clock: Callable[[], float]) -> AsyncIterator[Found]:
    """Send one request without credentials; what the vendor answers does not matter, its Date does."""
    limits = Limits(connect_timeout_s=PATIENCE_S, reply_timeout_s=PATIENCE_S)
    began = clock()
    try:
        async with open_http(endpoint.base_url, Pace(1), limits) as http:
            response = await http.exchange(lambda: Request("HEAD", "/"))
    except NoReply as error:
        words = f"{endpoint.base_url}: {error.fault.reason}"
        yield Found(Mark.FAIL, "connection", words, "check the address, the firewall and any proxy between")
        return
    ended = clock()
    yield Found(Mark.OK, "connection", f"the vendor answers, HTTP {response.status} without credentials")
    if urlsplit(endpoint.base_url).scheme == "https":
        yield _certificate(await _peer_certificate(endpoint.base_url), ended)
    yield _skew(response.headers.get("date", ""), began, ended)


async def _peer_certificate(base_url: str) -> Mapping[str, Any]:
    """Fetch the vendor's certificate as ssl describes it; empty where none is told."""
    url = urlsplit(base_url)
    try:
        async with asyncio.timeout(PATIENCE_S):
            _, writer = await asyncio.open_connection(url.hostname, url.port or 443, ssl=True)
    except (OSError, TimeoutError):
        return {}
    certificate: Mapping[str, Any] = writer.get_extra_info("peercert") or {}
    writer.close()
    return certificate


def _certificate(certificate: Mapping[str, Any], now: float) -> Found:
    if "notAfter" not in certificate:
        return Found(Mark.WARN, "tls", "trusted, but it does not say until when", "ask the vendor")
    until = ssl.cert_time_to_seconds(certificate["notAfter"])
    days = int((until - now) // 86_400)
    words = f"the certificate is trusted until {datetime.fromtimestamp(until, UTC):%Y-%m-%d} ({days} days)"
    if days < CERTIFICATE_DAYS:
        return Found(Mark.WARN, "tls", words, "ask the vendor when it is renewed")
    return Found(Mark.OK, "tls", words)


def _skew(date: str, began: float, ended: float) -> Found:
    """Compare clocks; a Date has whole seconds, and was written between the two moments."""
    vendors = utc_seconds(date)
    if vendors is None:
        return Found(Mark.WARN, "clock", "the vendor's answer has no Date", "see that this machine runs NTP")
    off_s = max(0.0, began - vendors - 1, vendors - ended)
    if off_s > SKEW_S:
        behind = "behind" if vendors > ended else "ahead of"
        words = f"{off_s:.0f} s {behind} the vendor's, which may refuse signatures"
        return Found(Mark.FAIL, "clock", words, "set this machine's clock by NTP")
    return Found(Mark.OK, "clock", f"within {max(1, round(off_s))} s of the vendor's")


def _written(runs: Path) -> Found:
    """Make and remove a file where runs would be kept."""
    place = _existing(runs)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"simlift")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Found(Mark.FAIL, "runs", f"{place}: {error.strerror}", "choose another folder with --runs")
    return Found(Mark.OK, "runs", f"{place} can be written")


def _space(runs: Path) -> Found:
    place = _existing(runs)
    free = shutil.disk_usage(place).free
    words = f"{free / 1e9:,.1f} GB free at {place}"
    if free < LEAST_FREE_BYTES:
        return Found(Mark.WARN, "disk", words, "a run of millions of rows wants about 1 kB for each bad row")
    return Found(Mark.OK, "disk", words)


def _existing(folder: Path) -> Path:
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


def _command(name: str) -> Found:
    if shutil.which(name) is None:
        return Found(Mark.FAIL, "notify", f"command {name} is not there", "give its whole path")
    return Found(Mark.OK, "notify", f"command {name} is there")
