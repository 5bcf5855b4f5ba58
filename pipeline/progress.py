"""What a person sees while a run goes on: live on a terminal, a line every few seconds elsewhere.

Goes to standard error, so that results on standard output stay clean.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.model import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.model import Portion
    from pipeline.standing import Standing

LIVE_EVERY_S = 0.25
LINE_EVERY_S = 5.0
_BAR = 14
_COLOURS = {True: "green", False: "red"}


async def watch(take: Callable[[], Standing], console: Console) -> None:
    """Show how a run stands until cancelled; a last time on the way out."""
    if not console.is_terminal:
        try:
            while True:
                await asyncio.sleep(LINE_EVERY_S)
                print_line(console, take())
        finally:
            print_line(console, take())
    with live(console) as display:
        while True:
            display.update(panel(take()), refresh=True)
            await asyncio.sleep(LIVE_EVERY_S)


def live(console: Console) -> Live:
    """Make a display that is drawn when told to, and leaves nothing behind."""
    return Live(console=console, auto_refresh=False, transient=True)


def print_line(console: Console, standing: Standing) -> None:
    """Print how a run stands as one line, however narrow the console."""
    console.print(line(standing), highlight=False, soft_wrap=True)


class Reading:
    """Shows how far an inventory has been read: live on a terminal, a line every few seconds elsewhere.

    A context manager; call it with every portion.
    """

    def __init__(
        self, console: Console, bytes_total: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._bytes_total, self._clock = console, bytes_total, clock
        self._began = self._shown = clock()
        self._live = live(console) if console.is_terminal else None

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
    """Give a bar and the words beside it, which fold on a narrow terminal."""
    head = Table.grid(padding=(0, 2))
    head.add_column(no_wrap=True)
    head.add_column(no_wrap=True)
    head.add_column()
    said = " · ".join(word.replace(" ", "\N{NO-BREAK SPACE}") for word in words)
    head.add_row(ProgressBar(total=1.0, completed=share, width=_BAR), percent(share), said)
    return head


def percent(share: float) -> str:
    """Give a share in whole percent, never more than is done."""
    return f"{math.floor(share * 100)}%"


def line(standing: Standing) -> str:
    """Give how a run stands as one line."""
    now = standing.snapshot
    words = [
        f"{now.elapsed_s:.0f}s rows={now.settled} ({percent(now.share)}) batches={now.batches}",
        f"{standing.rows_per_s:,.0f} rows/s",
        f"requests/s={_pace(standing)} concurrency={now.in_flight}/{now.concurrency}/{now.ceiling}",
        f"eta={_eta(standing)} in_flight={now.in_flight} waiting={now.waiting}",
        *([f"open_tickets={now.open_tickets}"] if now.open_tickets else []),
        *(f"{status}={now.counts[status]}" for status in Status if now.counts[status]),
        *([f"holding: {now.holding}"] if now.holding else []),
        *([f"pace: {standing.bound_by}"] if standing.bound_by and not now.holding else []),
    ]
    return " ".join(words)


def panel(standing: Standing) -> Group:
    """Give how a run stands as a live display."""
    now = standing.snapshot
    head = _head(
        now.share, f"{now.settled:,} rows", f"{standing.rows_per_s:,.0f} rows/s", f"eta {_eta(standing)}"
    )
    flow = [
        f"{_pace(standing)} requests/s",
        f"{now.in_flight} in flight, {now.concurrency} allowed, at most {now.ceiling}",
        f"{now.batches:,} batches",
        f"{now.requests:,} requests",
        f"{duration(now.elapsed_s)} so far",
        *([f"{now.waiting:,} rows wait to go again"] if now.waiting else []),
        *([f"the vendor has yet to finish {now.open_tickets:,}"] if now.open_tickets else []),
    ]
    counts = Text("  ").join(
        Text(
            f"{status} {now.counts[status]:,}".replace(" ", "\N{NO-BREAK SPACE}"),
            style=_COLOURS[status.good] if now.counts[status] else "dim",
        )
        for status in Status
    )
    parts: list[RenderableType] = [head, Text(" · ".join(flow)), counts]
    if now.holding:
        parts.append(Text(f"holding: {now.holding}", style="yellow"))
    elif standing.bound_by:
        parts.append(Text(f"pace: {standing.bound_by}", style="dim"))
    return Group(*parts)


def _pace(standing: Standing) -> str:
    return f"{standing.requests_per_s:.3g} of {standing.snapshot.rate_per_s:.3g}"


def _eta(standing: Standing) -> str:
    after = " after the release" if standing.snapshot.paused and standing.eta_s is not None else ""
    return duration(standing.eta_s) + after


def duration(seconds: float | None) -> str:
    """Give a time span as people write it."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
