"""Where the CPU time of a run goes: microseconds per row by stage, adding up to the whole process.

`make profile`. The same run is measured with clocks and without, in turns: what the clocks cost is shown.
The second table has the same time by thread: no run is faster than its busiest thread.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, get_args

from bench import on_two_cores, whole_batches, write_inventory
from clocked_simlift import ORDER
from contestants import JOB, SECRETS, Ground, simlift
from environments import HERE
from figures import MILLION, Series, spread
from measure import measure
from stub import Kind, serving
from tables import Sheet, keep, show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIBRARIES = "other threads, of libraries"
END = "interpreter's end"


def main() -> None:
    options = arguments()
    console = on_two_cores()
    plain, clocked = Series("without clocks"), Series("with clocks")
    times: list[Times] = []
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="simlift-profile-", dir=options.folder))
        )
        stub = stack.enter_context(serving(options.stub, folder))
        ground = Ground(stub.base_url, folder / "inventory.csv", options.rows, folder)
        write_inventory(ground.inventory, options.rows)
        ground.job.write_text(JOB.format(base_url=stub.base_url), "utf-8")
        for number in range(1, options.rounds + 1):
            with console.status(f"round {number}"):
                plain.add(*simlift(ground))
                times.append(one_round(ground, clocked))
    stages = us_per_row([one.stages for one in times], options.rows)
    threads = us_per_row([one.threads for one in times], options.rows)
    show(console, [stage_sheet(stages, plain, clocked, options.rows), thread_sheet(threads)])
    keep(
        "profile",
        {
            "stub": stub.name,
            "rows": options.rows,
            "us_per_row": stages,
            "us_per_row_by_thread": threads,
            "with_clocks": clocked.data(),
            "without_clocks": plain.data(),
        },
    )


@dataclass(frozen=True, slots=True)
class Times:
    """CPU seconds of one run, twice: by stage and by thread."""

    stages: Mapping[str, float]
    threads: Mapping[str, float]


def one_round(ground: Ground, series: Series) -> Times:
    shutil.rmtree(ground.runs, ignore_errors=True)
    figures = ground.folder / "times.json"
    command = ["run", str(ground.inventory), "--job", str(ground.job), "--runs", str(ground.runs)]
    script = str(HERE / "clocked_simlift.py")
    measured = measure([sys.executable, script, str(figures), *command], os.environ | SECRETS)
    series.add(measured, ground.rows)
    found = json.loads(figures.read_bytes())
    stages: Counter[str] = Counter()
    for spent_s in found["threads"].values():
        stages.update(spent_s)
    rest = {LIBRARIES: found["process_s"] - stages.total(), END: measured.cpu_s - found["process_s"]}
    threads = {thread: sum(spent_s.values()) for thread, spent_s in found["threads"].items()}
    return Times(stages | rest, threads | rest)


def us_per_row(found: Sequence[Mapping[str, float]], rows: int) -> dict[str, list[float]]:
    """Give each name's figures, one a round: the known stages in their order, then the others."""
    names = dict.fromkeys([*ORDER, *(name for one in found for name in one)])
    return {
        name: [one.get(name, 0.0) * MILLION / rows for one in found]
        for name in names
        if any(name in one for one in found)
    }


def stage_sheet(stages: Mapping[str, list[float]], plain: Series, clocked: Series, rows: int) -> Sheet:
    whole = median(clocked.cpu_s_per_million)
    lines = [
        (stage, spread(figures, "{:.3f}"), f"{median(figures) / whole:.1%}")
        for stage, figures in stages.items()
    ]
    lines.append(("the whole, with clocks", spread(clocked.cpu_s_per_million, "{:.3f}"), "100.0%"))
    lines.append(("the whole, without clocks", spread(plain.cpu_s_per_million, "{:.3f}"), ""))
    title = f"CPU time by stage, simlift run, {rows:,} rows"
    return Sheet(title, ("stage", "us per row", "share"), lines)


def thread_sheet(threads: Mapping[str, list[float]]) -> Sheet:
    lines = [(thread, spread(figures, "{:.3f}")) for thread, figures in threads.items()]
    return Sheet("the same by thread", ("thread", "us per row"), lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=whole_batches, default=3_000_000, help="default 3,000,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stub", choices=get_args(Kind), default="auto", help="default: nginx if installed")
    parser.add_argument(
        "--folder", type=Path, help="for inventories and runs (default: the system's for such)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
