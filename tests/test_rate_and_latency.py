"""A whole import against a slow vendor, in virtual time: it keeps to the limit, and uses what there is.

Real inventory, producer, ledger, pace and worker pool; the vendor and the way to it are made up. What is
reached is compared with what no sender could exceed: the limit, or capacity over latency.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from bisect import bisect_left
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ledger_making import RECORD
from virtual_clock import now, run

from pipeline.importer import Import
from pipeline.inventory import open_inventory
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.model import State
from pipeline.settings import job_from
from pipeline.slots import Slots
from pipeline.wire import Request, Response
from pipeline.work import Work, open_target, produce

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pipeline.pace import Pace
    from pipeline.settings import Limits

LATENCY_S, JITTER_S = 0.2, 0.1
A_SECOND = 1 - 1e-6  # a window is half open: a request exactly a second later is in the next one
HEADER, ROW = (
    "iccid,eid,imei,ac,apn",
    "893571100{:09}1,35203000100100000000000000287435,861111111111115,1,iot",
)
NO_LIMIT = 1_000_000.0
MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is made within


@dataclass
class Vendor:
    """Accepts everything, 200 ms more or less after it began; serves `capacity` requests at once.

    More than `rate` requests in any second are pushed back. Requests that have come to it: `arrived`.
    """

    rng: random.Random
    rate: float = NO_LIMIT
    capacity: int = 10_000
    arrived: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    pushed_back: int = 0

    def __post_init__(self) -> None:
        self._servers = Slots(self.capacity)

    async def answer(self, request: Request) -> Response:
        self.arrived.append(now())
        if len(self.arrived) - bisect_left(self.arrived, now() - A_SECOND) > self.rate:
            self.pushed_back += 1
            return Response(429, {}, b"", now())
        async with self._servers.slot():
            await asyncio.sleep(LATENCY_S + self.rng.uniform(-JITTER_S, JITTER_S))
        self.answered.append(now())
        results = [{"result": "SUCCEED", "reason": None}] * request.body.count(b'"iccid":')
        reply = {"errorCode": "0", "errorMsg": None, "resultList": results}
        return Response(200, {"content-type": "application/json"}, json.dumps(reply).encode(), now())


@dataclass
class Way:
    """contracts.Http to the vendor: paced, counted, without a network."""

    vendor: Vendor
    pace: Pace
    requests: int = 0

    async def exchange(self, make_request: Callable[[], Request]) -> Response:
        await self.pace.permit()
        self.requests += 1
        return await self.vendor.answer(make_request())


def import_into(vendor: Vendor, *, requests: int, seed: int, **limits: Any) -> None:
    """Import an inventory that makes so many requests, one item in each, to its end."""
    job = job_from(
        {
            "target": {
                "kind": "sim-express",
                "base_url": "http://127.0.0.1:9",
                "access_code": "env:SIM_CODE",
                "secret_code": "env:SIM_CODE",
            },
            "limits": {"batch_items": 1, **limits},
        },
        where="job file test.toml",
    )

    @asynccontextmanager
    async def connect(_base_url: str, pace: Pace, _limits: Limits) -> AsyncIterator[Way]:
        yield Way(vendor, pace)

    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        path = Path(folder, "inventory.csv")
        path.write_text("\n".join([HEADER, *map(ROW.format, range(requests)), ""]), "utf-8")
        inventory = open_inventory([str(path)], job.input)
        target, settings = open_target(job)
        ledger = SqliteLedger.create(Path(folder, "run"), RECORD, inline=True)
        portions = produce(inventory, job, target)
        work = Work(portions, target, settings, job, inventory.bytes_total)
        record = run(Import(ledger, work, connect=connect, rng=random.Random(seed)).run())
        ledger.close()
    assert record.state is State.FINISHED
    assert len(vendor.answered) == requests


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_CODE", "x")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_limit_of_ten_a_second_is_kept_to_the_full_from_start_to_end(seed: int) -> None:
    vendor = Vendor(random.Random(seed), rate=10)
    requests = 1_200
    import_into(vendor, requests=requests, seed=seed, requests_per_second=10.0)
    assert not vendor.pushed_back
    took_s = vendor.arrived[-1] - vendor.arrived[0]
    share = (requests - 1) / 10 / took_s
    first = bisect_left(vendor.arrived, 5.0)
    print(f"seed {seed}: {share:.2%} of the rate over {took_s:.0f} s, {first} in the first 5 s")
    assert share >= 0.99


@pytest.mark.parametrize("seed", [1, 2])
def test_without_a_limit_the_vendors_capacity_is_used_start_included(seed: int) -> None:
    vendor = Vendor(random.Random(seed), capacity=40)
    requests = 12_000  # a minute: finding out how many may be open costs two seconds of it
    import_into(vendor, requests=requests, seed=seed, requests_per_second=NO_LIMIT, concurrency=100)
    best_per_s = vendor.capacity / LATENCY_S  # no fixed number of open requests gets more out of it
    took_s = vendor.answered[-1] - vendor.arrived[0]
    share = requests / took_s / best_per_s
    print(f"seed {seed}: {share:.2%} of the best rate over {took_s:.0f} s")
    assert share >= 0.95
