"""report.html: the run on one page, to read, print and pass on.

One file without scripts or network, under 1 MB whatever the run was: long lists are cut and say so. It is
meant for sharing, so identifiers are masked and secrets stand as the references they are. The template
escapes every value.
"""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from pipeline.chronicle import WISHES
from pipeline.model import Status
from pipeline.reports import timeline
from pipeline.reports.local_time import LocalTime
from pipeline.reports.private_file import private_file
from pipeline.reports.shown import NAME, settings, shown
from pipeline.reports.summary import Summary, summary
from pipeline.reports.verdict import advice, verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import jinja2

    from pipeline.chronicle import Event, Sample
    from pipeline.contracts import Ledger
    from pipeline.model import Doubts, RunRecord, Tally

# So many lines of each list have room on a page under 1 MB, however long and odd their words are.
_MOST_REASONS = 100
_MOST_LINES = 50
_MOST_SETTINGS = 200

_MEANING = {
    Status.SUCCEEDED: "The vendor said so for this row.",
    Status.CONFIRMED: "Our own send had no answer; on the repeat the vendor said the row is already there.",
    Status.REFUSED: "The vendor's final no.",
    Status.GAVE_UP: "A passing fault, still there after the last attempt.",
    Status.IN_DOUBT: "Sent, and to the end no trustworthy answer.",
    Status.REJECTED: "Failed our screening; never sent.",
    Status.DUPLICATE: "The same key stood earlier in the inventory; never sent.",
}


def write_html(ledger: Ledger, path: Path, figures: Summary | None = None) -> None:
    """Write the page; `figures` are the run's, where they have been read already.

    Raises SimliftError when it can't be written, LedgerError when nothing can be read.
    """
    page = _template().render(_contents(ledger, figures or summary(ledger)))
    with private_file(path) as file:
        file.write(page)


@cache
def _template() -> jinja2.Template:
    import jinja2  # noqa: PLC0415 - most commands write no report

    surroundings = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    surroundings.filters.update(shown=shown, named=_named, coded=_coded, count=_count)
    return surroundings.from_string(Path(__file__).with_name("report.html.jinja").read_text("utf-8"))


def _named(name: str) -> str:
    return shown(name, NAME)


def _count(number: int) -> str:
    return f"{number:,}"


def _coded(words: str) -> Markup:
    """Set what stands in backticks as code."""
    parts = [
        Markup("<code>{}</code>" if place % 2 else "{}").format(part)  # noqa: S704 - format escapes
        for place, part in enumerate(words.split("`"))
    ]
    return Markup("").join(parts)


def _contents(ledger: Ledger, figures: Summary) -> dict[str, Any]:
    run, events, samples = ledger.run(), ledger.events(), ledger.samples()
    time = LocalTime(run.job)
    bad = [entry for entry in ledger.tally() if not entry.status.good]
    return {
        "run": run,
        "figures": figures,
        "verdict": verdict(run, figures),
        "shares": _shares(figures),
        "reasons": bad[:_MOST_REASONS],
        "more_reasons": _more(bad),
        "advice": advice(figures),
        "findings": ledger.findings(),
        "most": _MOST_LINES,
        "log": _log(events, time),
        "doubts": _doubts(ledger.doubts(_MOST_LINES), time),
        "facts": _facts(run, figures, samples, time),
        "settings": list(islice(settings(run.job), _MOST_SETTINGS)),
        "zone": time.name,
        **_timeline(samples, events, time),
    }


def _shares(figures: Summary) -> list[tuple[str, int, str]]:
    """Give name, rows and meaning of every status, and of the rows that have none yet."""
    shares = [(status.value, figures.counts[status], _MEANING[status]) for status in Status]
    still_open = (figures.rows_read or 0) - figures.settled
    if still_open > 0:
        shares.append(("open", still_open, "Read, and without a final status yet."))
    return shares


def _more(tally: Sequence[Tally]) -> tuple[int, int]:
    """Count the codes, and their rows, that the page has no room for."""
    rest = tally[_MOST_REASONS:]
    return len(rest), sum(entry.rows for entry in rest)


# ---------------------------------------------------------------- how it went


def _timeline(samples: Sequence[Sample], events: Sequence[Event], time: LocalTime) -> dict[str, Any]:
    """Give the pictures, if there is a line to draw, and what held the pace."""
    lives = timeline.lives(samples, events)
    lines = timeline.points(lives) if len(samples) >= timeline.FEWEST_SAMPLES else []
    held = timeline.holds(lives)
    marks, undrawn = timeline.marks(events)
    charts: list[Markup] = []
    if any(len(line) > 1 for line in lines):
        from pipeline.reports.charts import draw  # noqa: PLC0415 - short runs need no pictures

        shaded = timeline.shaded(held, lines[0][0].at, lines[-1][-1].at)
        # The pictures hold numbers and words of ours, and the library escapes them.
        charts = [Markup(svg) for svg in draw(lines, shaded, marks, time)]  # noqa: S704
    return {
        "charts": charts,
        "undrawn": undrawn,
        "held": [
            (one.why, _seconds(one.seconds), len(one.stretches), time.moment(one.stretches[0][0]))
            for one in held[:_MOST_LINES]
        ],
        "more_held": max(0, len(held) - _MOST_LINES),
    }


def _log(events: Sequence[Event], time: LocalTime) -> dict[str, Any]:
    """Give the event log's lines, of a long one its beginning and its end."""
    numbered = list(enumerate(events, start=1))
    first, last = numbered[:_MOST_LINES], numbered[_MOST_LINES:][-_MOST_LINES:]
    return {
        "first": [_line(number, event, time) for number, event in first],
        "between": len(numbered) - len(first) - len(last),
        "last": [_line(number, event, time) for number, event in last],
    }


def _line(number: int, event: Event, time: LocalTime) -> dict[str, Any]:
    effect = ""
    if event.kind in WISHES:
        taken = event.taken_at
        effect = "not in effect" if taken is None else f"in effect after {_seconds(max(0, taken - event.at))}"
    return {
        "number": number,
        "at": time.moment(event.at),
        "kind": event.kind.value,
        "by": event.by,
        "words": event.words,
        "effect": effect,
    }


def _doubts(doubts: Doubts, time: LocalTime) -> dict[str, Any]:
    """Give the batches whose answer was lost, with how their items ended in words."""
    lines = [
        {
            "batch": doubt.batch,
            "at": time.moment(doubt.at),
            "sent": doubt.items,
            "code": doubt.code,
            "reason": doubt.reason,
            "ended": _ends(doubt.ended, doubt.open),
        }
        for doubt in doubts.first[:_MOST_LINES]
    ]
    return {
        "lines": lines,
        "batches": doubts.batches,
        "sent": doubts.items,
        "repeated": doubts.items > sum(doubts.ended.values()) + doubts.open,
        "ended": _ends(doubts.ended, doubts.open),
        "more": doubts.batches - len(lines),
    }


def _ends(ended: Mapping[Status, int], still_open: int) -> str:
    counts = {status.value: ended.get(status, 0) for status in Status} | {"still open": still_open}
    return ", ".join(f"{rows:,} {name}" for name, rows in counts.items() if rows)


# ---------------------------------------------------------------- what was run


def _facts(
    run: RunRecord, figures: Summary, samples: Sequence[Sample], time: LocalTime
) -> Iterable[tuple[str, str]]:
    yield "state", run.state.value
    yield "target", run.target
    if run.corrects:
        yield "corrects run", run.corrects
    yield "started", time.moment(run.started_at)
    if run.finished_at is not None:
        yield "ended", time.moment(run.finished_at)
    elif samples:
        yield "last heard of", time.moment(samples[-1].at)
    yield "duration", _seconds(figures.duration_s)
    yield "rows per second", f"{figures.rows_per_s:,.0f}"
    yield "batches", f"{figures.batches:,}"
    yield "requests", f"{figures.requests:,}"
    if run.exit_code is not None:
        yield "exit code", str(run.exit_code)
    yield "report made by", f"simlift {version('simlift')}, Python {platform.python_version()}"


def _seconds(seconds: float) -> str:
    """Give 12.3 s, 4 min 05 s or 7 h 12 min."""
    if seconds < 60:  # noqa: PLR2004 - of a clock
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
