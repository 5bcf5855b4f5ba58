"""What a person sees while a run goes on: live on a terminal, a line every few seconds elsewhere.

Goes to standard error, so that results on standard output stay clean.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.model import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.model import Portion, Snapshot

LIVE_EVERY_S = 0.25
LINE_EVERY_S = 5.0
RATE_WINDOW_S = 30.0
_COLOURS = {True: "green", False: "red"}


class Speed:
    """The rate of settled rows over the last half minute, and what it promises."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def start(self, snapshot: Snapshot) -> None:
        """Count from here: what an earlier process settled is not this one's speed."""
        self._seen.append((snapshot.elapsed_s, snapshot.settled))

    def rows_per_s(self, snapshot: Snapshot) -> float:
        """Take a snapshot in and give the rate in rows per second."""
        self._seen.append((snapshot.elapsed_s, snapshot.settled))
        while len(self._seen) > 2 and self._seen[0][0] < snapshot.elapsed_s - RATE_WINDOW_S:  # noqa: PLR2004
            self._seen.popleft()
        (then, before), (now, after) = self._seen[0], self._seen[-1]
        return (after - before) / (now - then) if now > then else 0.0


async def watch(take: Callable[[], Snapshot], console: Console) -> None:
    """Show snapshots until cancelled; a last one on the way out."""
    speed = Speed()
    speed.start(take())
    if not console.is_terminal:
        try:
            while True:
                await asyncio.sleep(LINE_EVERY_S)
                _print_line(console, take(), speed)
        finally:
            _print_line(console, take(), speed)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            snapshot = take()
            live.update(panel(snapshot, speed.rows_per_s(snapshot)), refresh=True)
            await asyncio.sleep(LIVE_EVERY_S)


def _print_line(console: Console, snapshot: Snapshot, speed: Speed) -> None:
    console.print(line(snapshot, speed.rows_per_s(snapshot)), highlight=False, soft_wrap=True)


class Reading:
    """Shows how far an inventory has been read: live on a terminal, a line every few seconds elsewhere.

    A context manager; call it with every portion.
    """

    def __init__(
        self, console: Console, bytes_total: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._bytes_total, self._clock = console, bytes_total, clock
        self._began = self._shown = clock()
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, portion: Portion) -> None:
        """Show the portion's totals, unless something was shown a moment ago."""
        now = self._clock()
        if now - self._shown < (LINE_EVERY_S if self._live is None else LIVE_EVERY_S):
            return
        self._shown = now
        elapsed_s = now - self._began
        share = min(1.0, portion.bytes_read / self._bytes_total) if self._bytes_total else 0.0
        left = duration(elapsed_s / share - elapsed_s if share else None)
        words = (
            f"{portion.rows_read:,} rows read",
            f"{portion.rows_read / elapsed_s:,.0f} rows/s",
            f"eta {left}",
        )
        if self._live is None:
            text = f"{elapsed_s:.0f}s {percent(share)} {' '.join(words)}"
            self._console.print(text, highlight=False, soft_wrap=True)
        else:
            self._live.update(_head(share, *words), refresh=True)


def _head(share: float, *words: str) -> Table:
    head = Table.grid(padding=(0, 2))
    head.add_row(ProgressBar(total=1.0, completed=share, width=30), percent(share), *words)
    return head


def percent(share: float) -> str:
    """Give a share in whole percent, never more than is done."""
    return f"{math.floor(share * 100)}%"


def line(snapshot: Snapshot, rows_per_s: float) -> str:
    """Give a snapshot as one line."""
    statuses = " ".join(f"{status}={snapshot.counts[status]}" for status in Status if snapshot.counts[status])
    holding = f" holding: {snapshot.holding}" if snapshot.holding else ""
    return (
        f"{snapshot.elapsed_s:.0f}s rows={snapshot.settled} ({percent(snapshot.share)}) "
        f"batches={snapshot.batches} {rows_per_s:,.0f} rows/s eta={duration(eta_s(snapshot, rows_per_s))} "
        f"in_flight={snapshot.in_flight} waiting={snapshot.waiting} {_tickets(snapshot)}{statuses}{holding}"
    )


def _tickets(snapshot: Snapshot) -> str:
    return f"open_tickets={snapshot.open_tickets} " if snapshot.open_tickets else ""


def panel(snapshot: Snapshot, rows_per_s: float) -> Group:
    """Give a snapshot as a live display."""
    head = _head(
        snapshot.share,
        f"{snapshot.settled:,} rows",
        f"{rows_per_s:,.0f} rows/s",
        f"eta {duration(eta_s(snapshot, rows_per_s))}",
    )
    flow = Text(
        f"{snapshot.batches:,} batches · {snapshot.requests:,} requests · {snapshot.in_flight} in flight · "
        f"{snapshot.waiting:,} rows wait to go again · {duration(snapshot.elapsed_s)} so far"
        + (f" · the vendor has yet to finish {snapshot.open_tickets:,}" if snapshot.open_tickets else "")
    )
    counts = Text("  ").join(
        Text(
            f"{status} {snapshot.counts[status]:,}",
            style=_COLOURS[status.good] if snapshot.counts[status] else "dim",
        )
        for status in Status
    )
    parts: list[RenderableType] = [head, flow, counts]
    if snapshot.holding:
        parts.append(Text(f"holding: {snapshot.holding}", style="yellow"))
    return Group(*parts)


def eta_s(snapshot: Snapshot, rows_per_s: float) -> float | None:
    """Estimate the seconds left from the share read and the rate; None when nothing can be said."""
    only_tickets = snapshot.reading_done and snapshot.settled + snapshot.open_tickets >= snapshot.rows_read
    if snapshot.open_tickets and only_tickets:
        return None  # the rest is the vendor's to finish, at a pace of its own
    if rows_per_s <= 0 or not snapshot.rows_expected:
        return None
    return max(0.0, snapshot.rows_expected - snapshot.settled) / rows_per_s


def duration(seconds: float | None) -> str:
    """Give a time span as people write it."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
