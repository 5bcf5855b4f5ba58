"""Cross-row findings at scale: rows per second, memory and disk by the number of rows.

`python tests/benchmarks/findings.py [--rows 1 5 20 100] [--codes]`, in millions of rows. Every case is a
process of its own: rows are made a chunk at a time and meet in CrossRows as the producer has them meet.
`--codes` adds EIDs and activation codes to the keys. Memory is the process's peak, and what it had before the
first row.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, Field
from rich.console import Console
from rich.table import Table

from pipeline.cross_rows import CrossRows
from pipeline.rules import Identifier, OnePerKey, Unique
from pipeline.screening import Screened
from pipeline.settings import Input

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 30_000
MILLION = 1_000_000
FIRST = 8_935_711_000_000_000_000


class Keys(BaseModel):
    iccid: Annotated[str, Field(pattern="^[0-9]{19,20}$"), Identifier(check="luhn", bare_digits=19)]


class Profiles(Keys):
    eid: Annotated[str, OnePerKey()]
    ac: Annotated[str, Unique()]


class Target:
    def __init__(self, rules: type[BaseModel]) -> None:
        self.rules = rules

    def key(self, fields: pa.RecordBatch) -> pa.StringArray:
        return fields.column("iccid")


def chunks(rows: int, kind: str, names: list[str]) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
    """Yield positions and fields; `random` ICCIDs have 19 digits of which 18 are drawn."""
    rng = np.random.default_rng(1)
    for start in range(0, rows, CHUNK):
        size = min(CHUNK, rows - start)
        positions = np.arange(start + 1, start + 1 + size)
        iccids = FIRST + positions if kind == "sequential" else rng.integers(8 * 10**18, 9 * 10**18, size)
        columns = {"iccid": pa.array(iccids).cast(pa.string())}
        if "ac" in names:
            eids = pc.binary_join_element_wise(
                "8904903200000100", pa.array(10**15 + iccids // 1000).cast("string"), ""
            )
            drawn = pa.array(rng.integers(10**15, 10**16, size)).cast(pa.string())
            columns |= {"eid": eids, "ac": pc.binary_join_element_wise("LPA:1$smdp.example.com$", drawn, "")}
        yield positions, pa.record_batch({name: columns[name] for name in names})


def meet(rows: int, kind: str, *, codes: bool, folder: Path) -> dict[str, float]:
    rules = Profiles if codes else Keys
    cross_rows = CrossRows(Target(rules), Input(), folder=folder)  # type: ignore[arg-type]
    before_mb = peak_mb()
    wall_s = cpu_s = 0.0
    dropped = 0
    for positions, fields in chunks(rows, kind, list(rules.model_fields)):
        began, cpu = time.perf_counter(), time.process_time()
        begun = cross_rows.begin(Screened(fields, pa.array(range(0))))
        dropped += len(cross_rows.finish(begun, positions, np.ones(len(positions), np.bool_)).fates)
        if cross_rows._filing is not None:
            cross_rows._filing.result()  # so that what the thread does is in the figures
        wall_s += time.perf_counter() - began
        cpu_s += time.process_time() - cpu
    began, cpu = time.perf_counter(), time.process_time()
    found = sum(len(some) for some in cross_rows.rest())
    rest_s = time.perf_counter() - began
    wall_s += rest_s
    cpu_s += time.process_time() - cpu
    cross_rows.close()
    stores = [cross_rows._sightings, *cross_rows._repeats.values()]
    disk = sum(len(run.mapping) for store in stores for run in store._runs if run.mapping)
    return {
        "rows_per_s": rows / wall_s,
        "cpu_us_per_row": cpu_s / rows * 1e6,
        "before_mb": before_mb,
        "peak_mb": peak_mb(),
        "disk_mb": disk / 1e6,
        "rest_s": rest_s,
        "dropped": dropped,
        "found": found,
    }


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measured(rows: int, kind: str, *, codes: bool) -> dict[str, float]:
    command = [sys.executable, __file__, "--case", kind, "--rows", str(rows), *(["--codes"] if codes else [])]
    # As a child of the shell's own size: a parent's peak is handed on to its child.
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=float, nargs="+", default=[1, 5, 20], help="in millions")
    parser.add_argument("--codes", action="store_true", help="with EIDs and activation codes")
    parser.add_argument("--case", choices=["sequential", "random"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        with tempfile.TemporaryDirectory() as folder:
            rows = int(options.rows[0])
            found = meet(rows, options.case, codes=options.codes, folder=Path(folder))
        print(json.dumps(found))
        return
    table = Table(
        "keys", "million rows", "rows/s", "cpu us/row", "MB before", "peak MB", "disk MB", "s at the end"
    )
    for kind in ("sequential", "random"):
        for millions in options.rows:
            found = measured(int(millions * MILLION), kind, codes=options.codes)
            table.add_row(
                kind,
                f"{millions:g}",
                f"{found['rows_per_s']:,.0f}",
                f"{found['cpu_us_per_row']:.2f}",
                *(f"{found[name]:,.0f}" for name in ("before_mb", "peak_mb", "disk_mb", "rest_s")),
            )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
