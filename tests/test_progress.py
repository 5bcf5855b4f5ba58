"""What a person sees while a run goes on: rates, an honest ETA, and why it stands still."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from snapshots import snapshot
from virtual_clock import now, run

from pipeline.model import Portion, Status
from pipeline.progress import LINE_EVERY_S, Reading, duration, line, panel, watch
from pipeline.standing import Gauge, Standing


def watched(console: Console, seconds: float, rows_per_s: int = 100, before: int = 0) -> str:
    """Watch a run that settles steadily, for some virtual seconds; give what was printed."""

    gauge = Gauge()

    def take() -> Standing:
        return gauge.read(snapshot(before + round(rows_per_s * now()), now(), rows_read=1_000_000), now())

    async def story() -> None:
        take()
        watching = asyncio.ensure_future(watch(take, console))
        await asyncio.sleep(seconds)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    run(story())
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


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


def standing(settled: int = 500, **more: Any) -> Standing:
    facts = {"rate_per_s": 5.0, "limit_per_s": 10.0, "concurrency": 4, "ceiling": 16} | more
    return Standing(0.0, snapshot(settled, 12.4, **facts), rows_per_s=50, requests_per_s=4.9, eta_s=30)


def test_a_line_has_the_whole_story() -> None:
    counts = dict.fromkeys(Status, 0) | {Status.SUCCEEDED: 480, Status.REFUSED: 20}
    assert line(standing(counts=counts, holding="the vendor pushed back, 7 s left")) == (
        "12s rows=500 (25%) batches=3 50 rows/s requests/s=4.9 of 5 concurrency=2/4/16 eta=30s "
        "in_flight=2 waiting=1 succeeded=480 refused=20 holding: the vendor pushed back, 7 s left"
    )


def test_a_line_is_silent_on_what_there_is_none_of() -> None:
    found = line(standing())
    assert "refused" not in found
    assert "holding" not in found
    assert "open_tickets" not in found


def test_a_line_says_what_bounds_a_run_that_nothing_holds() -> None:
    assert line(standing()).endswith("pace: what the vendor was found to allow, 5 requests/s")


def test_the_time_left_of_a_held_run_counts_from_its_release() -> None:
    assert "eta=30s after the release " in line(standing(paused=True, holding="held by anna"))


def test_a_time_left_that_nobody_knows_counts_from_nowhere() -> None:
    held = replace(standing(paused=True, holding="held by anna"), eta_s=None)
    assert "eta=? " in line(held)


def test_a_run_is_not_called_complete_before_it_is() -> None:
    assert "(100%)" not in line(standing(199_950, rows_read=200_000, reading_done=True))


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_live_display_shows_every_status_and_the_hold_however_wide_the_terminal(width: int) -> None:
    console = Console(file=StringIO(), width=width)
    console.print(panel(standing(480, holding="the vendor pushed back, 7 s left", open_tickets=7)))
    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    words = " ".join(shown.split())
    for status in Status:
        assert str(status) in words
    assert "holding: the vendor pushed back, 7 s left" in words
    assert "480 rows" in words
    assert "50 rows/s" in words
    assert "4.9 of 5 requests/s" in words
    assert "2 in flight, 4 allowed, at most 16" in words
    assert "the vendor has yet to finish 7" in words


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
