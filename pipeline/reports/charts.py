"""The pictures of a run's timeline as SVG that stands in the page: text stays text, colours are the page's.

Drawn by pygal, without its script and most of its style sheet: the page's template says how lines look.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import pygal
from pygal.style import Style

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.chronicle import Event
    from pipeline.reports.local_time import LocalTime
    from pipeline.reports.timeline import Point

WIDTH, HEIGHT = 760, 230
# pygal's importer of maps answers imports in a way that Python gave up: everyone's imports would warn of it.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

_STYLE = Style(
    font_family="inherit", title_font_size=14, label_font_size=12, major_label_font_size=12,
    legend_font_size=12, value_font_size=12, value_label_font_size=12,
)  # fmt: skip
_ROOM = 1.2  # above the highest line, for the numbers of the marks
_TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_MOST_TICKS = 8
_MOST_STEPS = 4
# Labels of one width let the pictures' times lie under one another.
_WIDEST, _FIGURE_SPACE = 7, "\u2007"

# In every picture lines come in this order: their numbers are the classes that the template colours.
_MARKS, _HELD, _ALLOWED, _ACTUAL, _REFUSED = range(5)

_PICTURES: tuple[tuple[str, dict[int, tuple[str, str]]], ...] = (
    (
        "Requests per second",
        {
            _ALLOWED: ("allowed", "allowed_per_s"),
            _ACTUAL: ("sent", "requests_per_s"),
            _REFUSED: ("pushed back", "pushed_back_per_s"),
        },
    ),
    ("Rows per second", {_ACTUAL: ("came to their end", "rows_per_s")}),
    ("Round trip, seconds", {_ACTUAL: ("mean of the answers", "round_trip_s")}),
    ("Requests at once", {_ALLOWED: ("allowed", "concurrency"), _ACTUAL: ("under way", "in_flight")}),
    ("Open tickets", {_ACTUAL: ("accepted by the vendor, not yet finished", "open_tickets")}),
)


def draw(
    lines: Sequence[Sequence[Point]],
    held: Sequence[tuple[float, float]],
    marks: Sequence[tuple[int, Event]],
    time: LocalTime,
) -> list[str]:
    """Give the pictures as SVG elements, all over the same time, with the same marks and stretches held.

    Tickets are drawn only where the vendor gave some.
    """
    since, until = lines[0][0].at, lines[-1][-1].at
    common = {
        "css": (),
        "js": (),
        "style": _STYLE,
        "width": WIDTH,
        "height": HEIGHT,
        "margin": 4,
        "xrange": (since, until),
        "x_labels": [{"value": at, "label": words} for at, words in _times(since, until, time)],
        "show_dots": False,
        "allow_interruptions": True,
        "print_labels": True,
        "truncate_label": -1,
        "truncate_legend": -1,
        "legend_at_bottom": True,
    }
    drawn = [(str(number), min(max(event.at, since), until)) for number, event in marks]
    has_tickets = any(point.open_tickets for line in lines for point in line)
    return [
        _picture(title=title, series=series, lines=lines, held=held, marks=drawn, common=common)
        for title, series in _PICTURES
        if has_tickets or title != "Open tickets"
    ]


def _picture(
    *,
    title: str,
    series: dict[int, tuple[str, str]],
    lines: Sequence[Sequence[Point]],
    held: Sequence[tuple[float, float]],
    marks: Sequence[tuple[str, float]],
    common: dict[str, Any],
) -> str:
    values = {number: list(_values(lines, name)) for number, (_, name) in series.items()}
    highest = max((place[1] for line in values.values() for place in line if place), default=0.0) or 1.0
    steps = _steps(highest)
    top = max(highest, steps[-1]) * _ROOM
    picture: Any = pygal.XY(
        title=title,
        range=(0, top),
        y_labels=steps,
        value_formatter=lambda value: f"{value:,.6g}".rjust(_WIDEST, _FIGURE_SPACE),
        legend_at_bottom_columns=len(series) + bool(held) + bool(marks),
        **common,
    )
    picture.uuid = title.partition(",")[0].lower().replace(" ", "-")  # the same at every writing
    picture.add(
        "number in the log" if marks else None,
        [place for label, at in marks for place in ((at, 0), {"value": (at, top), "label": label}, None)],
        show_dots=True,
    )
    picture.add(
        "held" if held else None, [place for one, other in held for place in ((one, 0), (other, 0), None)]
    )
    for number in (_ALLOWED, _ACTUAL, _REFUSED):
        words = series[number][0] if number in series else None
        picture.add(words, values.get(number, []))
    picture.add_xml_filter(_bare)
    return str(picture.render(is_unicode=True, disable_xml_declaration=True))


def _values(lines: Sequence[Sequence[Point]], name: str) -> Iterator[tuple[float, float] | None]:
    """Yield one series, with a gap wherever nothing was measured or no process was there."""
    for line in lines:
        for point in line:
            value = getattr(point, name)
            yield None if value is None else (point.at, value)
        yield None


def _bare(root: Any) -> Any:
    """Leave out the script, which the page forbids, and the comments, which tell the day."""
    for parent in list(root.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or child.tag == "script":
                parent.remove(child)
    return root


def _steps(highest: float) -> list[float]:
    """Give round steps from 0 to at least the highest value."""
    rough = highest / _MOST_STEPS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough * (1 - 1e-9))
    return [step * number for number in range(math.ceil(highest / step - 1e-9) + 1)]


def _times(since: float, until: float, time: LocalTime) -> list[tuple[float, str]]:
    """Give round times of the day, and what the clock on the wall showed."""
    span = until - since
    days = math.ceil(span / _TICKS_S[-1] / _MOST_TICKS) * _TICKS_S[-1]
    step = next((step for step in _TICKS_S if span / step <= _MOST_TICKS), days)
    ahead = time.offset_s(since)
    first = math.ceil((since + ahead) / step) * step - ahead
    places = [first + number * step for number in range(int((until - first) // step) + 1)]
    return [(at, time.on_axis(at, step)) for at in places]
