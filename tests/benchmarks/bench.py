"""Speed, CPU and memory of simlift beside what people would use otherwise, with a vendor that accepts all.

`make bench`. Every tool runs as a process of its own, start-up included, and a round counts only if every row
arrived. The rounds are interleaved, so that a slow minute of the machine hits all alike. Linux, two cores.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, get_args

from contestants import CONTESTANTS, JOB, SIMLIFT, Ground
from environments import LeftOutError
from figures import Series, at_least, at_most, spread
from measure import CommandError, measure
from replies import BATCH_ITEMS
from rich.console import Console
from stub import Kind, serving
from tables import Sheet, keep, of_targets, show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from contestants import Contestant
    from figures import Target

CORES = 2
HELP = "simlift --help"
HELP_ROUNDS = 5


def main() -> None:
    options = arguments()
    console = on_two_cores()
    chosen = [one for one in CONTESTANTS if not options.only or one.name in options.only]
    series = {one.name: Series(one.name, one.lacks) for one in chosen}
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="simlift-bench-", dir=options.folder))
        )
        stub = stack.enter_context(serving(options.stub, folder))
        ground = Ground(stub.base_url, folder / "inventory.csv", options.rows, folder)
        write_inventory(ground.inventory, options.rows)
        ground.job.write_text(JOB.format(base_url=stub.base_url), "utf-8")
        console.print(f"stub {stub.name}, {options.rows:,} rows, {options.rounds} rounds, files in {folder}")
        for number in range(1, options.rounds + 1):
            for one in chosen:
                with console.status(f"round {number}: {one.name}"):
                    one_round(one, ground, series[one.name])
    starts = Series(HELP)
    for _ in range(HELP_ROUNDS):
        starts.add(measure([str(SIMLIFT), "--help"], os.environ), 1)
    judged = targets(series, starts)
    show(console, [sheet_of(series, options.rows), of_targets(judged)])
    keep(
        "contestants",
        {
            "stub": stub.name,
            "rows": options.rows,
            "series": [one.data() for one in series.values()],
            "help_s": [one.wall_s for one in starts.rounds],
            "targets": [target.data() for target in judged],
        },
    )
    if any(one.failure for one in series.values()):
        raise SystemExit("bench: not everything could be measured")


def one_round(contestant: Contestant, ground: Ground, series: Series) -> None:
    """Measure one round, unless the contestant failed before or cannot be had here."""
    if series.failure or series.left_out:
        return
    try:
        series.add(*contestant.run(ground))
    except LeftOutError as reason:
        series.left_out = str(reason)
    except CommandError as failure:
        series.failure = str(failure)


def sheet_of(series: Mapping[str, Series], rows: int) -> Sheet:
    ours = series.get("simlift run") or Series("simlift run")
    lines, notes = [], []
    for one in series.values():
        if one.rounds:
            ratio = median(ours.times_as_fast_as(one)) if ours.rounds else 1.0
            figures = (
                spread(one.rates_per_s, "{:,.0f}"),
                spread(one.cpu_s_per_million, "{:.2f}"),
                spread(one.peaks_mb, "{:.0f}"),
                "" if one is ours else f"{ratio:.2f}" if ratio < 1 else f"{ratio:.1f}",
            )
        else:
            figures = ("left out" if one.left_out else "failed", "", "", "")
        lines.append((one.tool, *figures))
        notes += [(one.tool, words) for words in (one.left_out or one.failure or one.note,) if words]
    headings = ("tool", "rows/s", "CPU s per million rows", "peak MB", "simlift is so many times as fast")
    return Sheet(f"{rows:,} rows, whole processes, start-up included", headings, lines, notes)


def targets(series: Mapping[str, Series], starts: Series) -> list[Target]:
    nothing = Series("")
    ours = series.get("simlift run", nothing)

    def against(name: str) -> list[float]:
        return ours.times_as_fast_as(series.get(name, nothing))

    return [
        at_least("run against hand-written", against("hand-written"), 10, "{:.1f}x"),
        at_least("run against async_streaming_bulk", against("async_streaming_bulk"), 12, "{:.1f}x"),
        at_least("run against dlt", against("dlt"), 25, "{:.1f}x"),
        at_most("CPU s of run per million rows", ours.cpu_s_per_million, 2.0, "{:.2f}"),
        at_most("peak MB of run", ours.peaks_mb, 300, "{:.0f}"),
        at_most("wire limit, in runs", [1 / one for one in against("wrk (wire limit)")], 12, "{:.1f}x"),
        at_most(f"s for {HELP}", [one.wall_s for one in starts.rounds], 0.35, "{:.2f}"),
    ]


def on_two_cores() -> Console:
    """Keep this process and all it starts on two cores, and give it a console."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    return Console() if sys.stdout.isatty() else Console(width=140)


def write_inventory(path: Path, rows: int) -> None:
    """Write a sample as CSV, whatever the file is called."""
    csv = path.with_name(f"{path.name}.sample.csv")
    measure([str(SIMLIFT), "sample", "--items", str(rows), "--out", str(csv)], os.environ)
    csv.rename(path)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=whole_batches, default=5_000_000, help="default 5,000,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 1,000,000 rows")
    parser.add_argument("--stub", choices=get_args(Kind), default="auto", help="default: nginx if installed")
    parser.add_argument("--only", action="append", choices=[one.name for one in CONTESTANTS])
    parser.add_argument(
        "--folder", type=Path, help="for inventories and runs (default: the system's for such)"
    )
    options = parser.parse_args(words)
    if options.quick:
        options.rows, options.rounds = 1_000_000, 1
    return options


def whole_batches(text: str) -> int:
    rows = int(text.replace("_", "").replace(",", ""))
    if rows <= 0 or rows % BATCH_ITEMS:
        raise argparse.ArgumentTypeError(
            f"the stub answers whole batches: give a multiple of {BATCH_ITEMS:,}"
        )
    return rows


if __name__ == "__main__":
    main()
