"""report.html: the run on one page, to read, print and pass on.

One file without scripts or network. It is meant for sharing, so identifiers in the vendor's words are
masked and secrets stand as the references they are. Every value is escaped where it enters the page.
"""

from __future__ import annotations

import json
import re
from html import escape
from string import Template
from typing import TYPE_CHECKING, Any

from pipeline.identifiers import mask_text
from pipeline.model import State, Status
from pipeline.reports.private_file import private_file
from pipeline.reports.summary import Summary, summary
from pipeline.reports.trace import utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from pipeline.contracts import Ledger
    from pipeline.model import RunRecord, Tally

_MOST_REASONS = 100

_MEANING = {
    Status.SUCCEEDED: "The vendor said so for this row.",
    Status.CONFIRMED: "Our own send had no answer; on the repeat the vendor said the row is already there.",
    Status.REFUSED: "The vendor's final no.",
    Status.GAVE_UP: "A passing fault, still there after the last attempt.",
    Status.IN_DOUBT: "Sent, and to the end no trustworthy answer.",
    Status.REJECTED: "Failed our screening; never sent.",
    Status.DUPLICATE: "The same key stood earlier in the inventory; never sent.",
}

_ADVICE = {
    Status.REFUSED: "Refused rows: see the vendor's reason below, mend the row or ask the vendor.",
    Status.GAVE_UP: "Rows given up: nothing is wrong with them; send them again when the vendor is well.",
    Status.IN_DOUBT: "Rows in doubt may be in the platform already: look there, or send them again: "
    "“already exists” then says that they are.",
    Status.REJECTED: "Rejected rows: mend the cells that the reason names.",
    Status.DUPLICATE: "Duplicates: the first row with that key was taken; delete the ones you do not mean.",
}

# Names under which a literal would be a secret: a reference may be shown, anything else may not.
_SECRET_NAME = re.compile(r"\.(ac|cc)$|(code|token|password|passphrase|secret|key)$", re.IGNORECASE)
_COLUMNS = "input.columns."  # the inventory's column names: under `ac` stands a header, no code
_REFERENCE = re.compile(r"^(env|file):")
_LOGIN_IN_URL = re.compile(r"//[^/@\s]*@")

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>simlift: $run_id</title>
<style>
:root { color-scheme: light dark; --ink: #1c2024; --paper: #fff; --line: #d5d9de; --quiet: #5b636b;
  --succeeded: #2e8b57; --confirmed: #7fbf8e; --refused: #c0392b; --gave_up: #d9822b;
  --in_doubt: #c9a400; --rejected: #7d5fb2; --duplicate: #7f8a94; --open: #b9d3ea; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --paper: #16191c; --line: #3a4046;
  --quiet: #a0a8b0; } }
@media print { :root { color-scheme: light; --ink: #000; --paper: #fff; --line: #bbb; --quiet: #444; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.1rem; color: var(--quiet); font-weight: 600; margin: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; break-after: avoid; }
.verdict { font-size: 1.6rem; line-height: 1.3; margin: .3rem 0 1.2rem; }
.bar { display: flex; height: 1.4rem; gap: 1px; }
.bar span { min-width: 3px; flex-basis: 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
tr { break-inside: avoid; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; overflow-wrap: normal; }
.mark { display: inline-block; width: .8em; height: .8em; margin-right: .5em; }
.bar span, .mark { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.quiet { color: var(--quiet); }
code { font-family: ui-monospace, monospace; font-size: .9em; }
</style>
</head>
<body>
<h1>Run $run_id</h1>
<p class="verdict">$verdict</p>
<div class="bar" role="img" aria-label="The rows by status; the table below has the figures">$bar</div>
<h2>Every row</h2>
<table>
<thead><tr><th>status</th><th class="number">rows</th><th>meaning</th></tr></thead>
<tbody>$balance</tbody>
</table>
$reasons
<h2>How to go on</h2>
<ul>$advice</ul>
<h2>The run</h2>
<table><tbody>$facts</tbody></table>
<h2>Settings used</h2>
<table><tbody>$settings</tbody></table>
</body>
</html>
""")


def write_html(ledger: Ledger, path: Path, figures: Summary | None = None) -> None:
    """Write the page; `figures` are the run's, where they have been read already.

    Raises SimliftError when it can't be written, LedgerError when nothing can be read.
    """
    page = _page(ledger.run(), figures or summary(ledger), ledger.tally())
    with private_file(path) as file:
        file.write(page)


def _page(run: RunRecord, figures: Summary, tally: Sequence[Tally]) -> str:
    return _PAGE.substitute(
        run_id=escape(run.run_id),
        verdict=escape(verdict(run, figures)),
        bar=_bar(figures),
        balance=_balance(figures),
        reasons=_reasons([entry for entry in tally if not entry.status.good]),
        advice="".join(f"<li>{line}</li>" for line in _advice(figures)),
        facts=_pairs(_facts(run, figures)),
        settings=_pairs(_settings(run.job)),
    )


# ---------------------------------------------------------------- what became of the rows


def verdict(run: RunRecord, figures: Summary) -> str:
    """Say in one sentence how the run stands. Good news only for a finished run that balances."""
    rows, good = figures.rows_read, figures.good
    so_far = f"{good:,} of {_rows(figures.settled)} settled so far {'is' if good == 1 else 'are'} good"
    match run.state:
        case State.RUNNING:
            return f"The run is under way: {so_far}."
        case State.STOPPED | State.INTERRUPTED:
            why = f" ({mask_text(run.stop_reason)})" if run.stop_reason else ""
            return f"The run was {run.state.value} before its end{why}: {so_far}."
    if rows is None or not figures.balanced:
        read = "an unknown number of rows" if rows is None else _rows(rows)
        return f"The run does not balance: {read} read, {figures.settled:,} accounted for. Report this fault."
    if rows == 0:
        return "The inventory holds no rows; nothing was sent."
    if good == rows:
        return f"{'The only row is' if rows == 1 else f'All {rows:,} rows are'} in the vendor's platform."
    bad = rows - good
    are, need = "is" if good == 1 else "are", "needs" if bad == 1 else "need"
    return f"{good:,} of {_rows(rows)} {are} good; {bad:,} {need} a look."


def _rows(number: int) -> str:
    return f"{number:,} row" if number == 1 else f"{number:,} rows"


def _shares(figures: Summary) -> list[tuple[str, int, str]]:
    """Give name, rows and meaning of every status, and of the rows that have none yet."""
    shares = [(status.value, figures.counts[status], _MEANING[status]) for status in Status]
    still_open = (figures.rows_read or 0) - figures.settled
    if still_open > 0:
        shares.append(("open", still_open, "Read, and without a final status yet."))
    return shares


def _bar(figures: Summary) -> str:
    return "".join(
        f'<span style="flex-grow:{rows};background:var(--{name})" title="{name}: {rows:,}"></span>'
        for name, rows, _ in _shares(figures)
        if rows
    )


def _balance(figures: Summary) -> str:
    lines = [
        f'<tr><td><span class="mark" style="background:var(--{name})"></span>{name}</td>'
        f'<td class="number">{rows:,}</td><td class="quiet">{escape(meaning)}</td></tr>'
        for name, rows, meaning in _shares(figures)
    ]
    read = "not known yet" if figures.rows_read is None else f"{figures.rows_read:,}"
    balance = (
        "The seven statuses add up to it." if figures.balanced else "The seven statuses do not add up to it."
    )
    return (
        "".join(lines)
        + f'<tr><th>rows read</th><th class="number">{read}</th><td class="quiet">{balance}</td></tr>'
    )


def _reasons(tally: Sequence[Tally]) -> str:
    if not tally:
        return ""
    lines = [
        f"<tr><td>{entry.status.value}</td><td><code>{escape(mask_text(entry.code))}</code></td>"
        f'<td class="number">{entry.rows:,}</td>'
        f"<td>{escape(mask_text(entry.reason))} <span class='quiet'>(row {entry.position:,})</span></td></tr>"
        for entry in tally[:_MOST_REASONS]
    ]
    rest = tally[_MOST_REASONS:]
    if rest:
        rows = sum(entry.rows for entry in rest)
        lines.append(
            f'<tr><td colspan="2">{len(rest):,} more codes</td><td class="number">{rows:,}</td>'
            f"<td>see <code>failures.csv</code></td></tr>"
        )
    return (
        "<h2>Why rows are not good</h2>\n<table>\n"
        '<thead><tr><th>status</th><th>code</th><th class="number">rows</th><th>example</th></tr></thead>\n'
        f"<tbody>{''.join(lines)}</tbody>\n</table>"
    )


def _advice(figures: Summary) -> list[str]:
    run_id = escape(figures.run_id)
    advice = []
    if figures.state in (State.STOPPED, State.INTERRUPTED):
        advice.append(f"Continue where it stopped: <code>simlift resume {run_id}</code>")
    if figures.good < figures.settled:
        advice += [escape(words) for status, words in _ADVICE.items() if figures.counts[status]]
        advice.append(
            "<code>failures.csv</code> holds exactly the rows that are not good, with all their columns. "
            "Mend it and run it as it is: <code>simlift run failures.csv --job FILE</code>"
        )
    elif figures.state is State.FINISHED and figures.balanced:
        advice.append("Nothing is left to do.")
    advice.append(
        "What became of one row: <code>simlift trace KEY</code>; of all of them: <code>outcomes.csv</code>."
    )
    return advice


# ---------------------------------------------------------------- what was run


def _facts(run: RunRecord, figures: Summary) -> Iterable[tuple[str, str]]:
    yield "state", run.state.value
    yield "target", run.target
    for path in run.inventory:
        yield "inventory", path
    if run.corrects:
        yield "corrects run", run.corrects
    yield "started", utc(run.started_at)
    if run.finished_at is not None:
        yield "ended", utc(run.finished_at)
    yield "duration", f"{figures.duration_s:,.1f} s"
    yield "rows per second", f"{figures.rows_per_s:,.0f}"
    yield "batches", f"{figures.batches:,}"
    yield "requests", f"{figures.requests:,}"
    if run.exit_code is not None:
        yield "exit code", str(run.exit_code)


def _settings(values: Mapping[str, Any], table: str = "") -> Iterable[tuple[str, str]]:
    """Flatten the job file to dotted names, in its order."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{table}{name}.")
        elif value is not None:
            yield f"{table}{name}", _shown(f"{table}{name}", value)


def _shown(name: str, value: Any) -> str:
    """Give a setting as the job file has it, but nothing that is or could be a secret."""
    if not isinstance(value, str):
        return json.dumps(value)
    if _REFERENCE.match(value) or name.startswith(_COLUMNS):
        return value
    if _SECRET_NAME.search(name):
        return "(not shown)"
    return mask_text(_LOGIN_IN_URL.sub("//…@", value))


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in pairs)
