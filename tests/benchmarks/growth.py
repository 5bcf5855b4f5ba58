"""How cost grows with the rows: speed, memory, the ledger's size, time for the reports; and a chart of it.

`make bench-growth`. Inventories count upwards, as a factory's do, and the vendor accepts all. 50 million rows
take some 15 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, get_args

from bench import on_two_cores, whole_batches, write_inventory
from contestants import JOB, Ground, simlift
from environments import HERE, LeftOutError, python_of
from figures import MILLION, Series, at_most, spread
from measure import CommandError, measure
from stub import Kind, serving
from tables import Sheet, keep, of_targets, show

if TYPE_CHECKING:
    from figures import Target

CHART = HERE.parents[1] / "docs" / "growth.svg"
SIZES = (1 * MILLION, 10 * MILLION, 50 * MILLION)
LEDGER_BYTES_AT_MOST = 4.0
OUTCOMES_ROWS, OUTCOMES_S_AT_MOST = 10 * MILLION, 10.0
PEAK_MB_AT_MOST, GROWTH_AT_MOST = 300, 1.15


def main() -> None:
    options = arguments()
    console = on_two_cores()
    found: dict[int, Series] = {rows: Series(f"{rows:,}") for rows in sorted(options.rows)}
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="simlift-growth-", dir=options.folder))
        )
        stub = stack.enter_context(serving(options.stub, folder))
        folder.joinpath("job.toml").write_text(JOB.format(base_url=stub.base_url), "utf-8")
        for rows in found:
            write_inventory(folder / f"{rows}.csv", rows)
        for _ in range(options.rounds):
            for rows, series in found.items():
                with console.status(series.tool):
                    one_round(Ground(stub.base_url, folder / f"{rows}.csv", rows, folder), series)
    judged = targets(found)
    show(console, [sheet_of(found), of_targets(judged)])
    keep(
        "growth",
        {
            "stub": stub.name,
            "series": [series.data() for series in found.values()],
            "targets": [target.data() for target in judged],
        },
    )
    if any(series.failure for series in found.values()):
        raise SystemExit("bench: not everything could be measured")
    console.print(draw(found, options.chart))


def one_round(ground: Ground, series: Series) -> None:
    if series.failure:
        return
    try:
        measured, rows = simlift(ground)
        (run,) = ground.runs.iterdir()
        reported = measure([sys.executable, str(HERE / "report_times.py"), str(run)], os.environ)
    except CommandError as failure:
        series.failure = str(failure)
        return
    series.add(measured, rows)
    took_s: dict[str, float] = json.loads(reported.output)
    more = {
        "ledger_bytes_per_row": run.joinpath("ledger.sqlite").stat().st_size / rows,
        "outcomes_s": took_s["outcomes.csv"],
        "reports_s": sum(took_s.values()),
        "reports_peak_mb": reported.peak_mb,
    }
    for name, figure in more.items():
        series.more.setdefault(name, []).append(figure)
    shutil.rmtree(ground.runs)


def sheet_of(found: dict[int, Series]) -> Sheet:
    lines, notes = [], []
    for series in found.values():
        if series.rounds:
            figures = [
                spread(series.rates_per_s, "{:,.0f}"),
                spread(series.cpu_s_per_million, "{:.2f}"),
                spread(series.peaks_mb, "{:.0f}"),
                spread(series.more["ledger_bytes_per_row"], "{:.2f}"),
                spread(series.more["outcomes_s"], "{:.2f}"),
                spread(series.more["reports_s"], "{:.2f}"),
            ]
        else:
            figures = ["failed", *[""] * 5]
            notes.append((series.tool, series.failure))
        lines.append((series.tool, *figures))
    headings = (
        "rows", "rows/s", "CPU s per million rows", "peak MB", "ledger bytes per row", "outcomes.csv s",
        "all reports s",
    )  # fmt: skip
    return Sheet("how cost grows, simlift run, whole processes", headings, lines, notes)


def targets(found: dict[int, Series]) -> list[Target]:
    measured = {rows: series for rows, series in found.items() if series.rounds}
    judged = []
    for rows, series in measured.items():
        bytes_per_row = series.more["ledger_bytes_per_row"]
        judged += [
            at_most(f"ledger bytes per row, {rows:,} rows", bytes_per_row, LEDGER_BYTES_AT_MOST, "{:.2f}"),
            at_most(f"peak MB, {rows:,} rows", series.peaks_mb, PEAK_MB_AT_MOST, "{:.0f}"),
        ]
        if rows == OUTCOMES_ROWS:
            name = f"s for outcomes.csv, {rows:,} rows"
            judged.append(at_most(name, series.more["outcomes_s"], OUTCOMES_S_AT_MOST, "{:.1f}"))
    if len(measured) > 1:
        (few, small), *_, (many, large) = measured.items()
        growth = [ours / theirs for ours, theirs in zip(large.peaks_mb, small.peaks_mb, strict=False)]
        judged.append(at_most(f"peak, {many:,} against {few:,} rows", growth, GROWTH_AT_MOST, "{:.2f}x"))
    return judged


def draw(found: dict[int, Series], chart: Path) -> str:
    """Draw the chart, in an environment of its own; say where it is, or why there is none."""
    points: list[dict[str, Any]] = [
        {
            "rows": rows,
            "rows_per_s": median(series.rates_per_s),
            "peak_mb": median(series.peaks_mb),
            "ledger_bytes_per_row": median(series.more["ledger_bytes_per_row"]),
            "reports_s": median(series.more["reports_s"]),
        }
        for rows, series in found.items()
    ]
    try:
        python = python_of(HERE / "chart" / "requirements.txt")
        measure([str(python), str(HERE / "chart" / "draw.py"), json.dumps(points), str(chart)], os.environ)
    except (LeftOutError, CommandError) as reason:
        return f"no chart: {reason}"
    return f"chart in {chart}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", type=whole_batches, nargs="+", default=SIZES, help="default 1, 10 and 50 million"
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--stub", choices=get_args(Kind), default="auto", help="default: nginx if installed")
    parser.add_argument(
        "--folder", type=Path, help="for inventories and runs (default: the system's for such)"
    )
    parser.add_argument("--chart", type=Path, default=CHART, help="default docs/growth.svg")
    return parser.parse_args()


if __name__ == "__main__":
    main()
