"""Throughput and memory of simlift beside the hand-written importer, against a vendor that accepts all.

`make bench`. Every tool runs as a process of its own, start-up included, and a run counts only if every row
arrived. The rounds are interleaved, so that a slow minute of the machine hits all alike. Linux, two cores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from figures import Series, print_figures, targets
from measure import CommandError, measure
from rich.console import Console
from stub import BATCH_ITEMS, Kind, Stub, serving

if TYPE_CHECKING:
    from collections.abc import Sequence

BASELINE = Path(__file__).with_name("hand_written.py")
SIMLIFT = Path(sys.executable).with_name("simlift")
REPORT = Path(__file__).parents[2] / "bench.json"
CORES = 2
CONCURRENCY = 16
SECRETS = {"SIM_EXPRESS_ACCESS_CODE": "bench", "SIM_EXPRESS_SECRET_CODE": "opens nothing"}

JOB = f"""
[target]
kind = "sim-express"
base_url = "{{base_url}}"
access_code = "env:SIM_EXPRESS_ACCESS_CODE"
secret_code = "env:SIM_EXPRESS_SECRET_CODE"

[limits]
requests_per_second = 1_000_000
concurrency = {CONCURRENCY}
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a measurement finds the vendor, the inventories and the job file, and may leave its runs."""

    stub: Stub
    folder: Path

    @property
    def job(self) -> Path:
        return self.folder / "job.toml"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def inventory(self, rows: int) -> Path:
        return self.folder / f"{rows}.csv"

    def prepare(self, sizes: set[int]) -> None:
        self.job.write_text(JOB.format(base_url=self.stub.base_url), "utf-8")
        for rows in sorted(sizes):
            # In a process of its own: measure() hands the peak of this one on to what it measures.
            writer = multiprocessing.get_context("spawn").Process(
                target=write_inventory, args=(self.inventory(rows), rows)
            )
            writer.start()
            writer.join()
            if writer.exitcode:
                raise SystemExit(f"bench: no inventory of {rows:,} rows could be written to {self.folder}")

    def measure(self, series: Series) -> None:
        """Measure one round of a series, unless it failed before."""
        if series.failure:
            return
        shutil.rmtree(self.runs, ignore_errors=True)
        try:
            measured = measure(self._command(series), os.environ | SECRETS)
            self._every_row_arrived(series, measured.output)
        except CommandError as failure:
            series.failure = str(failure)
        else:
            series.rounds.append(measured)

    def _command(self, series: Series) -> list[str]:
        inventory = str(self.inventory(series.rows))
        match series.tool:
            case "hand-written":
                options = ["--base-url", self.stub.base_url, "--concurrency", str(CONCURRENCY)]
                return [sys.executable, str(BASELINE), inventory, *options]
            case "simlift run":
                return [str(SIMLIFT), "run", inventory, "--job", str(self.job), "--runs", str(self.runs)]
            case _:
                return [str(SIMLIFT), "check", inventory, "--job", str(self.job)]

    def _every_row_arrived(self, series: Series, output: str) -> None:
        match series.tool:
            case "hand-written":
                succeeded = json.loads(output).get("succeeded", 0)
            case "simlift run":
                summaries = [json.loads(path.read_bytes()) for path in self.runs.glob("*/summary.json")]
                succeeded = sum(summary["counts"]["succeeded"] for summary in summaries)
            case _:
                return  # it ended with 0, so it found nothing wrong
        if succeeded != series.rows:
            raise CommandError(f"{succeeded:,} of {series.rows:,} rows arrived")


def write_inventory(path: Path, rows: int) -> None:
    from pipeline.sample import write_sample  # noqa: PLC0415 - keeps numpy out of the measuring process

    write_sample(path, items=rows, seed=1, bad_share=0)


def main() -> None:
    options = arguments()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    console = Console() if sys.stdout.isatty() else Console(width=120)
    few, many = options.few_rows, options.many_rows
    baseline, run, check = (Series(tool, many) for tool in ("hand-written", "simlift run", "simlift check"))
    short_run, start_up = Series("simlift run", few), Series("simlift run", BATCH_ITEMS)
    everything = [baseline, run, check, short_run, start_up]

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="simlift-bench-")))
        stub = stack.enter_context(serving(options.stub, folder))
        console.print(f"stub {stub.name}, {len(os.sched_getaffinity(0))} cores, files in {folder}")
        bench = Bench(stub, folder)
        bench.prepare({series.rows for series in everything})
        for number in range(1, options.rounds + 1):
            for series in everything:
                with console.status(f"round {number}: {series.tool}, {series.rows:,} rows"):
                    bench.measure(series)

    judged = targets(baseline, run, short_run, check)
    print_figures(console, everything, judged)
    REPORT.write_text(
        json.dumps(
            {
                "stub": stub.name,
                "cores": len(os.sched_getaffinity(0)),
                "machine": platform.platform(),
                "python": platform.python_version(),
                "series": [series.data() for series in everything],
                "targets": [target.data() for target in judged],
            },
            indent=2,
        ),
        "utf-8",
    )
    if any(series.failure for series in everything):
        raise SystemExit("bench: not everything could be measured")


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--many-rows", type=whole_batches, default=5_000_000, help="for speed and memory (default 5,000,000)"
    )
    parser.add_argument(
        "--few-rows", type=whole_batches, default=500_000, help="for the growth of memory (default 500,000)"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 1,000,000 rows")
    parser.add_argument("--stub", choices=get_args(Kind), default="auto", help="default: nginx if installed")
    options = parser.parse_args(words)
    if options.quick:
        options.many_rows, options.rounds = 1_000_000, 1
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
