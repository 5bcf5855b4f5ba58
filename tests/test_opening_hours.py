"""A run kept inside its window: the real import, ledger and pace, a vendor that notes when it is asked.

In virtual time; the wall clock is the loop's, from some UTC moment on.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import virtual_clock
from ledger_making import RECORD, batch_of

from pipeline.chronicle import Event, EventKind
from pipeline.errors import LedgerError
from pipeline.importer import Import
from pipeline.ledgers.sqlite import SqliteLedger
from pipeline.logs import silence
from pipeline.model import PLAIN_SUCCESS, Answer, Batch, Portion, Reply, RunRecord, State, Status
from pipeline.opening_hours import LOOK_EVERY_S, OpeningHours
from pipeline.settings import Endpoint, job_from
from pipeline.window import schedule_of
from pipeline.wire import Request, Response
from pipeline.work import Work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from pipeline.pace import Pace
    from pipeline.settings import Limits

BERLIN = "Europe/Berlin"
DRAIN_S = 70
NIGHT = {"open": "22:00-06:00", "zone": BERLIN}
#: A call every 200 s, each answered after 59 s: so some are open whenever a window closes.
SLOW = {"requests_per_second": 0.005, "concurrency": 4, "connect_timeout_s": 10.0, "reply_timeout_s": 60.0}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = structlog.get_config()
    silence()
    yield
    structlog.configure(**before)


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@dataclass
class Clock:
    """The wall's clock; `ahead_s` is by how much it was set, or the machine slept."""

    epoch: float
    ahead_s: float = 0.0

    def __call__(self) -> float:
        return self.epoch + virtual_clock.now() + self.ahead_s


@dataclass
class Vendor:
    """A target and the way to it; notes the wall's time of each request and of its answer."""

    wall: Clock
    latency_s: float = 59.0
    asked: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    requests: int = 0
    name = "vendor"
    most_batch_items = 1

    async def send(self, _batch: Batch, http: Any) -> Reply:
        await http.exchange(lambda: Request("POST", "/"))
        return Reply([Answer(PLAIN_SUCCESS)])

    @asynccontextmanager
    async def connect(self, _base_url: str, pace: Pace, _limits: Limits) -> AsyncIterator[Vendor]:
        self.pace = pace
        yield self

    async def exchange(self, make_request: Callable[[], Request]) -> Response:
        await self.pace.permit()
        make_request()
        self.requests += 1
        self.asked.append(self.wall())
        await asyncio.sleep(self.latency_s)
        self.answered.append(self.wall())
        return Response(200, {}, b"")


@dataclass
class Ended:
    record: RunRecord
    vendor: Vendor
    events: list[Event]
    counts: Any
    at: float

    def asked_between(self, begin: str, end: str) -> int:
        return sum(utc(begin) <= moment < utc(end) for moment in self.vendor.asked)


def carry_out(
    folder: Path,
    start: str,
    *,
    batches: int,
    window: dict[str, Any],
    limits: dict[str, Any] | None = None,
    meanwhile: Callable[[Import, Clock], Any] | None = None,
    ledger_kind: type[SqliteLedger] = SqliteLedger,
) -> Ended:
    """Run an import of so many batches of one item, from a UTC moment on, to its end."""
    wall = Clock(utc(start))
    vendor = Vendor(wall)
    data = {"target": {"kind": "vendor"}, "limits": limits or SLOW, "window": window}
    job = job_from(data, where="job file test.toml")
    endpoint = Endpoint(kind="vendor", base_url="https://vendor.example")
    portions = (Portion((batch_of([n]),), (), n, n) for n in range(1, batches + 1))
    ledger = ledger_kind.create(folder / "run", RECORD, inline=True)

    async def story() -> RunRecord:
        todo = Work(portions, vendor, endpoint, job, batches)  # type: ignore[arg-type]
        work = Import(ledger, todo, connect=vendor.connect, rng=random.Random(7))  # type: ignore[arg-type]
        hours = OpeningHours(work, schedule_of(job), wall)
        hours.look()
        tasks = [asyncio.create_task(hours.keep())]
        if meanwhile is not None:
            tasks.append(asyncio.create_task(meanwhile(work, wall)))
        try:
            return await work.run()
        finally:
            vendor.wall = Clock(wall())  # the loop is about to end
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    record = virtual_clock.run(story())
    return Ended(record, vendor, list(ledger.events()), ledger.counts(), vendor.wall.epoch)


# ---------------------------------------------------------------- nights


@pytest.mark.parametrize(
    ("start", "nights"),
    [
        pytest.param(
            "2026-11-21T12:00",
            [("2026-11-21T21:00", "2026-11-22T05:00"), ("2026-11-22T21:00", "2026-11-23T05:00")],
            id="ordinary nights",
        ),
        pytest.param(
            "2026-03-28T12:00",
            [("2026-03-28T21:00", "2026-03-29T04:00"), ("2026-03-29T20:00", "2026-03-30T04:00")],
            id="the first an hour short",
        ),
        pytest.param(
            "2026-10-24T12:00",
            [("2026-10-24T20:00", "2026-10-25T05:00"), ("2026-10-25T21:00", "2026-10-26T05:00")],
            id="the first an hour long",
        ),
    ],
)
def test_a_run_of_two_nights_sends_in_them_and_nowhere_else(
    tmp_path: Path, start: str, nights: list[tuple[str, str]]
) -> None:
    ended = carry_out(tmp_path, start, batches=250, window=NIGHT)
    assert (ended.record.state, ended.counts[Status.SUCCEEDED]) == (State.FINISHED, 250)
    assert ended.vendor.requests == 250
    assert sum(ended.asked_between(*night) for night in nights) == 250
    first, second = nights
    assert ended.vendor.asked[0] == pytest.approx(utc(first[0]), abs=0.1)
    whole_s = utc(first[1]) - DRAIN_S - utc(first[0])
    assert ended.asked_between(*first) == pytest.approx(whole_s / 200, abs=1)
    last_of_the_first = max(at for at in ended.vendor.asked if at < utc(first[1]))
    assert last_of_the_first <= utc(first[1]) - DRAIN_S
    # What is open when the window closes is answered in it, and the next night begins where it opens.
    assert not [at for at in ended.vendor.answered if utc(first[1]) < at < utc(second[0])]
    assert min(at for at in ended.vendor.asked if at > utc(first[1])) == pytest.approx(
        utc(second[0]), abs=0.1
    )


def test_each_change_is_an_event_and_what_holds_is_shown(tmp_path: Path) -> None:
    seen: list[str] = []

    async def look(work: Import, _wall: Clock) -> None:
        for _ in range(2):
            seen.append(work.snapshot().holding)
            await asyncio.sleep(10 * 3600)

    ended = carry_out(tmp_path, "2026-11-21T12:00", batches=160, window=NIGHT, meanwhile=look)
    changes = [(datetime.fromtimestamp(round(e.at), UTC).isoformat(), e.words) for e in ended.events]
    assert changes == [
        ("2026-11-21T12:00:00+00:00", "the window is closed until 22:00 (Europe/Berlin)"),
        ("2026-11-21T21:00:00+00:00", "the window is open until 06:00 (Europe/Berlin)"),
        ("2026-11-22T04:58:50+00:00", "the window is closed until 22:00 (Europe/Berlin)"),
        ("2026-11-22T21:00:00+00:00", "the window is open until 06:00 (Europe/Berlin)"),
    ]
    assert {event.kind for event in ended.events} == {EventKind.WINDOW}
    assert ended.events[0].data == {"share": 0.0, "until": utc("2026-11-21T21:00")}
    assert seen == ["the window is closed until 22:00 (Europe/Berlin)", ""]


def test_a_window_that_opens_in_days_names_the_day(tmp_path: Path) -> None:
    weekly = {"open": "22:00-06:00", "days": ["sun"], "zone": BERLIN}
    ended = carry_out(tmp_path, "2026-11-18T12:00", batches=2, window=weekly)
    assert ended.events[0].words == "the window is closed until Sun 22:00 (Europe/Berlin)"
    assert len(ended.events) == 2


def test_an_opening_that_a_change_leaves_too_short_is_passed_over_and_said_so_once(tmp_path: Path) -> None:
    brief = {"open": "01:59-03:00", "zone": BERLIN}
    ended = carry_out(tmp_path, "2026-03-28T12:00", batches=2, window=brief)
    assert ended.vendor.asked[0] == pytest.approx(utc("2026-03-29T23:59"), abs=0.1)
    left_out = "Sun 01:59 is left out, it is over before a call need be answered (70 s)"
    assert [event.words for event in ended.events] == [
        f"the window is closed until Mon 01:59 (Europe/Berlin); {left_out}",
        "the window is open until 03:00 (Europe/Berlin)",
    ]


# ---------------------------------------------------------------- the rate of the hour


def test_a_share_of_the_rate_holds_at_its_hours(tmp_path: Path) -> None:
    slow_by_day = {"zone": BERLIN, "shares": {"06:00-22:00": 0.1}}
    ended = carry_out(tmp_path, "2026-11-22T20:00", batches=150, window=slow_by_day)
    assert ended.asked_between("2026-11-22T20:00", "2026-11-22T21:00") == pytest.approx(2, abs=1)
    assert ended.asked_between("2026-11-22T21:00", "2026-11-23T05:00") == pytest.approx(144, abs=2)
    hours_by_day = (ended.at - utc("2026-11-23T05:00")) / 3600
    assert ended.asked_between("2026-11-23T05:00", "2026-11-23T21:00") == pytest.approx(
        1.8 * hours_by_day, abs=1
    )
    assert [event.words for event in ended.events] == [
        "10% of the rate may be used until 22:00 (Europe/Berlin)",
        "all of the rate may be used until 06:00 (Europe/Berlin)",
        "10% of the rate may be used until 22:00 (Europe/Berlin)",
    ]


def test_a_window_with_shares_says_both(tmp_path: Path) -> None:
    evening = {"open": "20:00-06:00", "zone": BERLIN, "shares": {"18:00-22:00": 0.5}}
    ended = carry_out(tmp_path, "2026-11-22T20:00", batches=50, window=evening)
    open_ = "the window is open until 06:00 (Europe/Berlin)"
    assert [event.words for event in ended.events] == [
        f"{open_}, 50% of the rate may be used until 22:00 (Europe/Berlin)",
        f"{open_}, all of the rate may be used",
    ]


def test_without_a_window_nothing_is_kept_and_nothing_written(tmp_path: Path) -> None:
    ended = carry_out(tmp_path, "2026-11-22T20:00", batches=5, window={})
    assert (ended.record.state, ended.events) == (State.FINISHED, [])


def test_the_time_left_counts_closed_hours_and_other_rates_in(tmp_path: Path) -> None:
    reached: list[float] = []

    async def ask(work: Import, wall: Clock) -> None:
        hours = OpeningHours(work, schedule_of(work.job), wall)  # type: ignore[arg-type]
        hours.look()
        reached.extend(hours.reach(seconds) for seconds in (600, 3600))

    # At 04:30 in Berlin half of the rate may be used, from 05:00 on all of it, and at 05:58:50 it drains.
    night = {**NIGHT, "shares": {"04:00-05:00": 0.5}}
    carry_out(tmp_path, "2026-11-22T03:30", batches=2, window=night, meanwhile=ask)
    assert reached == [600, 1800 + 900]
    carry_out(tmp_path / "closed", "2026-11-22T12:00", batches=2, window=night, meanwhile=ask)
    assert reached[2:] == [9 * 3600 + 600, 9 * 3600 + 3600]


# ---------------------------------------------------------------- the clock is set, the laptop sleeps


def test_a_machine_that_slept_into_the_day_sends_nothing_more(tmp_path: Path) -> None:
    async def sleep_through_the_morning(_work: Import, wall: Clock) -> None:
        await asyncio.sleep(3 * 3600)
        wall.ahead_s += 8 * 3600

    ended = carry_out(
        tmp_path,
        "2026-11-21T21:00",
        batches=100,
        window=NIGHT,
        meanwhile=sleep_through_the_morning,
    )
    assert ended.record.state is State.FINISHED
    awake = utc("2026-11-22T08:00")
    assert not [at for at in ended.vendor.asked if awake + LOOK_EVERY_S < at < utc("2026-11-22T21:00")]
    assert ended.asked_between("2026-11-22T21:00", "2026-11-23T05:00") == pytest.approx(46, abs=2)


def test_a_clock_that_is_set_back_into_the_night_opens_the_window_again(tmp_path: Path) -> None:
    async def put_right(_work: Import, wall: Clock) -> None:
        await asyncio.sleep(3600)
        wall.ahead_s -= 5 * 3600

    ended = carry_out(tmp_path, "2026-11-22T08:00", batches=5, window=NIGHT, meanwhile=put_right)
    assert [event.words for event in ended.events] == [
        "the window is closed until 22:00 (Europe/Berlin)",
        "the window is open until 06:00 (Europe/Berlin)",
    ]
    assert utc("2026-11-22T04:00") <= ended.vendor.asked[0] <= utc("2026-11-22T04:00") + LOOK_EVERY_S


# ---------------------------------------------------------------- it ends


def test_a_run_can_be_stopped_while_its_window_is_closed(tmp_path: Path) -> None:
    async def interrupt(work: Import, _wall: Clock) -> None:
        await asyncio.sleep(60)
        work.stop(15)

    ended = carry_out(tmp_path, "2026-11-22T12:00", batches=5, window=NIGHT, meanwhile=interrupt)
    assert (ended.record.state, ended.record.exit_code) == (State.INTERRUPTED, 143)
    assert ended.vendor.asked == []
    assert ended.at < utc("2026-11-22T12:02")


def test_what_is_answered_last_as_the_window_closes_ends_the_run_there(tmp_path: Path) -> None:
    alone = {**SLOW, "concurrency": 1, "requests_per_second": 0.004}
    ended = carry_out(tmp_path, "2026-11-22T04:50", batches=3, window=NIGHT, limits=alone)
    assert ended.vendor.answered[-1] > utc("2026-11-22T05:00") - DRAIN_S
    assert ended.record.state is State.FINISHED
    assert ended.at < utc("2026-11-22T05:00")


class Forgetful(SqliteLedger):
    """A ledger that cannot write events down."""

    async def note(self, event: Event) -> None:
        raise LedgerError("the disk is full")


def test_the_hours_are_kept_though_they_cannot_be_written_down(tmp_path: Path) -> None:
    ended = carry_out(tmp_path, "2026-11-22T12:00", batches=5, window=NIGHT, ledger_kind=Forgetful)
    assert (ended.record.state, ended.events) == (State.FINISHED, [])
    assert ended.vendor.asked[0] == pytest.approx(utc("2026-11-22T21:00"), abs=0.1)
