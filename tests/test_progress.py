"""What a person sees while a run goes on: rates, an honest ETA, and why it stands still."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from virtual_clock import now, run

from pipeline.model import Portion, Snapshot, Status
from pipeline.progress import (
    LINE_EVERY_S,
    RATE_WINDOW_S,
    Reading,
    Speed,
    duration,
    eta_s,
    line,
    panel,
    watch,
)


def snapshot(settled: int = 0, elapsed_s: float = 0.0, **more: Any) -> Snapshot:
    facts: dict[str, Any] = {
        "counts": dict.fromkeys(Status, 0) | {Status.SUCCEEDED: settled},
        "rows_read": 1000,
        "bytes_read": 500,
        "bytes_total": 1000,
        "reading_done": False,
        "batches": 3,
        "requests": 4,
        "in_flight": 2,
        "waiting": 1,
        "elapsed_s": elapsed_s,
    }
    return Snapshot(**(facts | more))


def watched(console: Console, seconds: float, rows_per_s: int = 100, before: int = 0) -> str:
    """Watch a run that settles steadily, for some virtual seconds; give what was printed."""

    async def story() -> None:
        watching = asyncio.ensure_future(
            watch(lambda: snapshot(before + round(rows_per_s * now()), now(), rows_read=1_000_000), console)
        )
        await asyncio.sleep(seconds)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    run(story())
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


# ---------------------------------------------------------------- rate and ETA


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    speed = Speed()
    slow = [speed.rows_per_s(snapshot(10 * second, second)) for second in range(100)][-1]
    fast = [speed.rows_per_s(snapshot(990 + 1000 * second, 99 + second)) for second in range(1, 61)][-1]
    assert slow == pytest.approx(10)
    assert fast == pytest.approx(1000)


def test_a_standstill_shows_within_the_window() -> None:
    speed = Speed()
    for second in range(10):
        speed.rows_per_s(snapshot(100 * second, second))
    rates = [speed.rows_per_s(snapshot(900, 10 + second)) for second in range(int(RATE_WINDOW_S) + 2)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0


def test_what_an_earlier_process_settled_is_not_this_ones_speed() -> None:
    speed = Speed()
    speed.start(snapshot(900_000, 0))
    assert speed.rows_per_s(snapshot(900_050, 5)) == pytest.approx(10)


def test_a_single_look_gives_no_rate() -> None:
    assert Speed().rows_per_s(snapshot(500, 0)) == 0


def test_the_eta_counts_what_has_not_been_read_yet() -> None:
    assert eta_s(snapshot(500), 100) == pytest.approx((2000 - 500) / 100)
    assert eta_s(snapshot(500, reading_done=True), 100) == pytest.approx(5)


@pytest.mark.parametrize(("rows_read", "rate"), [(1000, 0.0), (1000, -1.0), (0, 10.0)])
def test_no_eta_is_given_on_a_guess(rows_read: int, rate: float) -> None:
    assert eta_s(snapshot(0, rows_read=rows_read, bytes_read=0), rate) is None


def test_an_eta_is_never_negative() -> None:
    assert eta_s(snapshot(3000), 10) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "?"),
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (61, "1m01s"),
        (3599.9, "1h00m"),
        (3600, "1h00m"),
        (90_061, "25h01m"),
    ],
)
def test_a_time_span_reads_as_people_write_it(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


# ---------------------------------------------------------------- what is shown


def test_a_line_has_the_whole_story() -> None:
    counts = dict.fromkeys(Status, 0) | {Status.SUCCEEDED: 480, Status.REFUSED: 20}
    found = line(snapshot(elapsed_s=12.4, counts=counts, holding="the vendor pushed back, 7 s left"), 50)
    assert found == (
        "12s rows=500 (25%) batches=3 50 rows/s eta=30s in_flight=2 waiting=1 "
        "succeeded=480 refused=20 holding: the vendor pushed back, 7 s left"
    )


def test_a_line_is_silent_on_what_there_is_none_of() -> None:
    found = line(snapshot(500), 50)
    assert "refused" not in found
    assert "holding" not in found


def test_a_run_is_not_called_complete_before_it_is() -> None:
    found = line(snapshot(199_950, rows_read=200_000, reading_done=True), 50)
    assert "(100%)" not in found


def test_the_live_display_shows_every_status_and_the_hold() -> None:
    console = Console(file=StringIO(), width=200)
    console.print(panel(snapshot(480, holding="the vendor pushed back, 7 s left"), 50))
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    for status in Status:
        assert str(status) in shown
    assert "holding: the vendor pushed back, 7 s left" in shown
    assert "480 rows" in shown
    assert "50 rows/s" in shown


def test_elsewhere_than_on_a_terminal_there_is_a_plain_line_every_few_seconds() -> None:
    lines = watched(Console(file=StringIO(), width=40), 3 * LINE_EVERY_S + 1).splitlines()
    assert len(lines) >= 3
    assert [one.split()[0] for one in lines[:3]] == ["5s", "10s", "15s"]
    assert all("100 rows/s" in one for one in lines)
    assert not any("\x1b" in one for one in lines)


def test_the_first_line_of_a_resumed_run_has_its_own_rate() -> None:
    first = watched(Console(file=StringIO()), LINE_EVERY_S + 0.1, before=700_000).splitlines()[0]
    assert "100 rows/s" in first


def test_a_terminal_is_drawn_upon_and_left_clean() -> None:
    shown = watched(Console(file=StringIO(), force_terminal=True, width=120), 2)
    assert "rows/s" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # the cursor comes back


def test_a_run_shorter_than_the_first_line_is_shown_too() -> None:
    assert watched(Console(file=StringIO()), LINE_EVERY_S / 2)


# ---------------------------------------------------------------- an inventory that is only read


def read_steadily(console: Console, seconds: int, bytes_total: int = 1_000_000) -> str:
    """Read 1,000 rows and 10,000 bytes a second, a portion each half second; give what was printed."""
    clock = [0.0]
    with Reading(console, bytes_total, lambda: clock[0]) as show:
        for half in range(1, 2 * seconds + 1):
            clock[0] = half / 2
            show(Portion((), (), 500 * half, 5_000 * half))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_reading_shows_a_plain_line_every_few_seconds_with_what_is_left() -> None:
    lines = read_steadily(Console(file=StringIO(), width=40), 11).splitlines()
    assert lines == [
        "5s 5% 5,000 rows read 1,000 rows/s eta 1m35s",
        "10s 10% 10,000 rows read 1,000 rows/s eta 1m30s",
    ]


def test_a_short_reading_shows_nothing_elsewhere_than_on_a_terminal() -> None:
    assert not read_steadily(Console(file=StringIO()), 4)


def test_reading_draws_on_a_terminal_and_leaves_it_clean() -> None:
    shown = read_steadily(Console(file=StringIO(), force_terminal=True, width=120), 3)
    assert "eta" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1


def test_what_is_left_of_an_inventory_of_unknown_size_is_not_guessed() -> None:
    assert "eta ?" in read_steadily(Console(file=StringIO()), 6, bytes_total=0)
