"""What a person asks of a run: which course follows from it, and that it is taken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.asking import ask
from pipeline.chronicle import Event, EventKind
from pipeline.errors import UsageError
from pipeline.model import State
from pipeline.runs import existing_run, go_on, open_ledger, start
from pipeline.settings import Job, Limits, job_from
from pipeline.steering import GATE, act, course_of, follow, take_course, tuned

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.importer import Import

LIMITS = Limits(requests_per_second=10.0, concurrency=16)


def wish(kind: EventKind, words: str = "held by anna", at: float = 0.0, **changes: Any) -> Event:
    return Event(at, kind, words, "anna", changes)


TUNE, HOLD, RELEASE, STOP = EventKind.TUNE, EventKind.HOLD, EventKind.RELEASE, EventKind.STOP


def test_what_was_tuned_last_holds_and_the_rest_stays() -> None:
    asked = [wish(TUNE, concurrency=4, requests_per_second=5.0), wish(TUNE, requests_per_second=2.0)]
    course = course_of(LIMITS, asked)
    assert (course.limits.requests_per_second, course.limits.concurrency) == (2.0, 4)
    assert course.limits.reply_timeout_s == LIMITS.reply_timeout_s


def test_a_hold_lasts_until_its_release() -> None:
    assert course_of(LIMITS, [wish(HOLD)]).held == "held by anna"
    assert course_of(LIMITS, [wish(HOLD), wish(TUNE, concurrency=2)]).held
    assert not course_of(LIMITS, [wish(HOLD), wish(RELEASE)]).held


def test_a_stop_and_what_is_no_wish_change_no_course() -> None:
    others = [wish(STOP), *(wish(kind) for kind in EventKind if kind not in (TUNE, HOLD, RELEASE, STOP))]
    assert course_of(LIMITS, others) == course_of(LIMITS, [])


@pytest.mark.parametrize("changes", [{"concurrency": 0}, {"requests_per_second": 0.0}, {"concurrency": 1001}])
def test_what_limits_would_not_allow_cannot_be_tuned(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=rf"limits\.{next(iter(changes))}: "):
        tuned(LIMITS, changes)


# ---------------------------------------------------------------- a run that is not under way


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose vendor is away: stopped, nothing sent."""
    monkeypatch.setenv("SIM_CODE", "x")
    path = tmp_path / "delivery.csv"
    row = "8935711001000000101,35203000100100000000000000287435,861111111111115,1,iot"
    path.write_text(f"iccid,eid,imei,ac,apn\n{row}\n", "utf-8")
    work = start([str(path)], _job(), tmp_path / "runs", "one")
    asyncio.run(work.run())
    work.ledger.close()
    return existing_run(tmp_path / "runs", "one")


def _job() -> Job:
    target = {"kind": "sim-express", "base_url": "http://127.0.0.1:9", "access_code": "env:SIM_CODE"}
    return job_from(
        {
            "target": target | {"secret_code": "env:SIM_CODE"},
            "retry": {"attempts": 2, "first_wait_s": 0.0, "settle_s": 0.0},
            "limits": {"requests_per_second": 1000.0},
        },
        where="job file test.toml",
    )


async def holding(work: Import) -> str:
    return work.snapshot().holding


def test_what_is_asked_of_a_stopped_run_holds_once_it_is_resumed(stopped: Path) -> None:
    (line,) = ask(stopped, TUNE, changes={"requests_per_second": 5.0, "concurrency": 4})
    assert "requests_per_second 1000 -> 5, concurrency 16 -> 4" in line
    assert "once it is resumed" in line
    ask(stopped, HOLD, because="the vendor called", changes={})
    work = go_on(stopped)

    async def said() -> str:
        take_course(work)
        return work.snapshot().holding

    assert asyncio.run(said()).endswith("the vendor called")
    assert (work.limits.requests_per_second, work.limits.concurrency) == (5.0, 4)
    work.ledger.close()


def test_a_run_that_is_not_under_way_cannot_be_stopped(stopped: Path) -> None:
    with pytest.raises(UsageError, match="not under way"):
        ask(stopped, STOP, changes={})


def test_what_is_not_held_cannot_be_released_nor_held_twice(stopped: Path) -> None:
    with pytest.raises(UsageError, match="is not held"):
        ask(stopped, RELEASE, changes={})
    ask(stopped, HOLD, changes={})
    with pytest.raises(UsageError, match="simlift release one"):
        ask(stopped, HOLD, changes={})


def test_a_wish_that_makes_no_sense_is_not_written_down(stopped: Path) -> None:
    with pytest.raises(UsageError):
        ask(stopped, TUNE, changes={"concurrency": 0})
    ledger = open_ledger(stopped, read_only=True)
    assert ledger.wishes() == []
    ledger.close()


def test_every_wish_is_kept_with_time_person_and_what_it_changes(stopped: Path) -> None:
    ask(stopped, TUNE, because="night", changes={"concurrency": 4})
    ledger = open_ledger(stopped, read_only=True)
    (event,) = (event for event in ledger.events() if event.kind is TUNE)
    ledger.close()
    assert event.by
    assert event.at > 1_700_000_000
    assert event.data == {"concurrency": 4}
    assert event.words == f"concurrency 16 -> 4 by {event.by}: night"


async def followed(work: Import, *wishes: Event) -> None:
    """Let a run follow these wishes, and no longer."""
    for asked in wishes:
        work.ledger.wish(asked)
    following = asyncio.ensure_future(follow(work))
    async with asyncio.timeout(20):
        while work.ledger.wishes():  # noqa: ASYNC110 - a ledger has no event to wait for
            await asyncio.sleep(0)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


def test_a_wish_is_marked_once_it_is_in_effect(stopped: Path) -> None:
    work = go_on(stopped)
    asyncio.run(followed(work, wish(HOLD)))
    assert "held by anna" in asyncio.run(holding(work))
    (event,) = (event for event in work.ledger.events() if event.kind is HOLD)
    assert event.taken_at is not None
    work.ledger.close()


def test_a_stop_asked_of_an_earlier_process_is_over_with_it(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops: list[str] = []
    before = open_ledger(stopped, read_only=True)
    before.wish(wish(STOP, "stopped by anna"))
    work = go_on(stopped)
    monkeypatch.setattr(work, "stop_for", stops.append)
    asyncio.run(followed(work))
    assert not stops
    assert before.wishes() == []
    asyncio.run(followed(work, wish(STOP, "stopped by anna")))
    assert stops == ["stopped by anna; `simlift resume` goes on from here"]
    work.ledger.close()


def test_a_stop_asked_while_a_process_is_still_taking_the_run_up_is_meant_for_it(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = go_on(stopped)  # owns the run; nothing has begun yet, and by its clock it may be later already
    stops: list[str] = []
    monkeypatch.setattr(work, "stop_for", stops.append)
    work.ledger.wish(wish(STOP, "stopped by anna", at=0.0))
    asyncio.run(followed(work))
    assert len(stops) == 1
    work.ledger.close()


def test_a_hold_that_a_finished_run_was_left_with_can_be_released_for_a_retry(stopped: Path) -> None:
    ask(stopped, HOLD, changes={})
    work = go_on(stopped)
    work.ledger.update_run(state=State.FINISHED)
    work.ledger.close()
    (line,) = ask(stopped, RELEASE, changes={})
    assert "released" in line
    with pytest.raises(UsageError, match="finished"):
        ask(stopped, RELEASE, changes={})


def test_a_run_whose_folder_was_deleted_is_stopped(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = go_on(stopped)
    stops: list[str] = []
    monkeypatch.setattr(work, "stop_for", stops.append)
    monkeypatch.setattr("pipeline.steering.LOOK_EVERY_S", 0.0)
    (stopped / "ledger.sqlite").rename(stopped / "elsewhere")

    async def story() -> None:
        following = asyncio.ensure_future(follow(work))
        async with asyncio.timeout(20):
            while not stops:  # noqa: ASYNC110 - a file that is gone has no event
                await asyncio.sleep(0)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    asyncio.run(story())
    assert stops[0].startswith("what is asked of the run cannot be read: ledger ")
    work.ledger.close()


def test_a_reason_given_drives_no_terminal(stopped: Path) -> None:
    (line,) = ask(stopped, HOLD, because="\x1b[31mthe vendor\ncalled", changes={})
    assert "held by " in line
    assert ": [31mthe vendor called; " in line


def test_a_release_opens_the_gate_that_a_hold_has_shut(stopped: Path) -> None:
    work = go_on(stopped)

    async def story() -> None:
        act(work, wish(HOLD))
        assert await holding(work)
        act(work, wish(RELEASE))
        assert not await holding(work)

    asyncio.run(story())
    work.ledger.close()
    assert GATE == "hold"
