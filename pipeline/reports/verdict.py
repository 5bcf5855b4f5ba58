"""The report's first sentence: what happened, whether that is good, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.model import State, Status
from pipeline.reports.shown import shown

if TYPE_CHECKING:
    from pipeline.model import RunRecord
    from pipeline.reports.summary import Summary

_MOST_WORDS = 400  # of why it stopped

#: What `simlift retry` sends again, and what only a person can mend.
_SENT_AGAIN = (Status.GAVE_UP, Status.IN_DOUBT)
_MENDED = (Status.REFUSED, Status.REJECTED, Status.DUPLICATE)

_ADVICE = {
    Status.REFUSED: "Refused rows: see the vendor's reason, mend the row or ask the vendor.",
    Status.GAVE_UP: "Rows given up: nothing is wrong with them; send them again when the vendor is well.",
    Status.IN_DOUBT: "Rows in doubt may be in the platform already: look there, or send them again: "
    "“already exists” then says that they are.",
    Status.REJECTED: "Rejected rows: mend the cells that the reason names.",
    Status.DUPLICATE: "Duplicates: the first row with that key was taken; delete the ones you do not mean.",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A word for how it went (good, open, look, stopped, fault), and the sentence, commands in backticks."""

    word: str
    sentence: str


def verdict(run: RunRecord, figures: Summary) -> Verdict:
    """Say how the run stands. Good news only for a finished run that balances."""
    match run.state:
        case State.RUNNING:
            return Verdict(
                "open",
                f"The run is not at its end: {_so_far(figures)}; "
                f"`simlift status {run.run_id}` says whether it is under way.",
            )
        case State.STOPPED | State.INTERRUPTED:
            return _ended_early(run, figures)
    rows, good = figures.rows_read, figures.good
    if rows is None or not figures.balanced:
        read = "an unknown number of rows" if rows is None else _rows(rows)
        return Verdict(
            "fault",
            f"The run does not balance: {read} read, {figures.settled:,} accounted for; "
            "keep the run folder and report this fault.",
        )
    if rows == 0:
        return Verdict(
            "look", "The inventory holds no rows; nothing was sent: look whether it is the right one."
        )
    if good == rows:
        whole = "The only row is" if rows == 1 else f"All {rows:,} rows are"
        return Verdict("good", f"{whole} in the vendor's platform; nothing is left to do.")
    bad = rows - good
    are, need = "is" if good == 1 else "are", "needs" if bad == 1 else "need"
    return Verdict(
        "look",
        f"{good:,} of {_rows(rows)} {are} good; {bad:,} {need} a look: {_remedy(run.run_id, figures)}.",
    )


def _ended_early(run: RunRecord, figures: Summary) -> Verdict:
    # The reason ends with how to go on where that is all there is to do; it is said below with the run's id.
    reason, _, _ = run.stop_reason.partition("; `simlift resume`")
    why = f" ({shown(reason, _MOST_WORDS)})".replace("`", "'") if reason else ""
    first = "" if run.state is State.INTERRUPTED else "see to what stopped it, then "
    return Verdict(
        "stopped",
        f"The run was {run.state.value} before its end{why}: {_so_far(figures)}; "
        f"{first}`simlift resume {run.run_id}` goes on from there.",
    )


def _so_far(figures: Summary) -> str:
    good = figures.good
    return f"{good:,} of {_rows(figures.settled)} settled so far {'is' if good == 1 else 'are'} good"


def _remedy(run_id: str, figures: Summary) -> str:
    retry = f"`simlift retry {run_id}`" if any(figures.counts[status] for status in _SENT_AGAIN) else ""
    mend = any(figures.counts[status] for status in _MENDED)
    if retry and mend:
        return f"first {retry}, then mend what is left in `failures.csv` and run that"
    return (
        f"{retry} sends {'it' if figures.settled - figures.good == 1 else 'them'} again"
        if retry
        else ("mend `failures.csv` and run it as it is")
    )


def _rows(number: int) -> str:
    return f"{number:,} row" if number == 1 else f"{number:,} rows"


def advice(figures: Summary) -> list[str]:
    """Give what else there is to do and to know, a line each; commands and files stand in backticks."""
    lines = []
    if figures.state in (State.STOPPED, State.INTERRUPTED):
        lines.append(f"Continue where it stopped: `simlift resume {figures.run_id}`")
    if figures.good < figures.settled:
        lines += [words for status, words in _ADVICE.items() if figures.counts[status]]
        lines.append(
            "`failures.csv` holds exactly the rows that are not good, with all their columns. "
            "Mend it and run it as it is: `simlift run failures.csv --job FILE`"
        )
    elif figures.state is State.FINISHED and figures.balanced:
        lines.append("Nothing is left to do.")
    lines.append("What became of one row: `simlift trace KEY`; of all of them: `outcomes.csv`.")
    return lines
