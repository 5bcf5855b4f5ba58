"""The worst cases, each with its figure: rows per second, CPU, and whether memory grows with the rows.

`make bench-worst`. Each case runs at a tenth of its size too, for the growth. The vendor of a case looks at
what it was sent (moody_vendor.py, in Python, on the same two cores), or is nginx where a fixed reply will do.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench import on_two_cores, whole_batches, write_inventory
from contestants import JOB, SECRETS, SIMLIFT, Ground
from figures import Series, Target, at_least, at_most, spread
from measure import CommandError, measure
from replies import BATCH_ITEMS
from stub import Stub, moody, serving
from tables import Sheet, keep, of_targets, show

if TYPE_CHECKING:
    from collections.abc import Callable

FINISHED = (0, 1)  # every row good, or some not
ROWS_PER_S_AT_LEAST = 100_000
GROWTH_AT_MOST = 1.15
ONE_IN = 100  # batches or files per row of --rows, where it is they that are many


@dataclass(frozen=True, slots=True)
class Case:
    """One worst case. `size` gives its rows for --rows; `ends` what becomes of so many rows.

    `mood` of the vendor: without one it accepts all, `items` to the batch. `job` is added to the job file.
    """

    name: str
    write: Callable[[Path, int], None]
    ends: Callable[[int], dict[str, int]]
    mood: str = ""
    items: int = BATCH_ITEMS
    job: str = ""
    size: Callable[[int], int] = lambda rows: rows
    note: str = ""

    def vendor(self, folder: Path) -> AbstractContextManager[Stub]:
        return moody(self.mood) if self.mood else serving("auto", folder, self.items)


def clean(path: Path, rows: int) -> None:
    write_inventory(path, rows)


def all_bad(path: Path, rows: int) -> None:
    """Spoil each row: in turn a short ICCID, an ICCID in scientific notation, a cell too few."""
    whole = path.with_suffix(".whole")
    write_inventory(whole, rows)
    with whole.open(encoding="ascii") as lines, path.open("w", encoding="ascii") as file:
        file.write(next(lines))
        for number, line in enumerate(lines):
            iccid, _, rest = line.partition(",")
            cells = (iccid[:-2], f"{int(iccid):.5E}", iccid)[number % 3]
            file.write(f"{cells},{rest}" if number % 3 < 2 else f"{cells},{rest.rpartition(',')[0]}\n")
    whole.unlink()


def all_the_same(path: Path, rows: int) -> None:
    """Write the same batch of rows again and again."""
    write_inventory(path, BATCH_ITEMS)
    header, _, block = path.read_bytes().partition(b"\n")
    with path.open("wb") as file:
        file.write(header + b"\n")
        file.writelines(block for _ in range(rows // BATCH_ITEMS))


def one_row_a_file(folder: Path, rows: int) -> None:
    whole = folder.with_suffix(".whole")
    write_inventory(whole, rows)
    header, *lines = whole.read_bytes().splitlines(keepends=True)
    whole.unlink()
    folder.mkdir()
    for number, line in enumerate(lines):
        folder.joinpath(f"{number:06}.csv").write_bytes(header + line)


def tiny(items: int, note: str = "") -> Case:
    return Case(
        f"many batches of {items}",
        clean,
        lambda rows: {"succeeded": rows},
        items=items,
        job=f"batch_items = {items}\n",
        size=lambda rows: rows // ONE_IN * items,
        note=note,
    )


def in_doubt(settle_s: float, share: int, note: str) -> Case:
    return Case(
        f"every batch in doubt once, settle_s = {settle_s:g}",
        clean,
        lambda rows: {"confirmed": rows},
        mood="drops-first",
        job=f"[retry]\nsettle_s = {settle_s}\n",
        size=lambda rows: rows // share,
        note=note,
    )


CASES = (
    Case(
        "everything refused",
        clean,
        lambda rows: {"refused": rows},
        mood="refuses",
        note="each with a reason of its own that names it",
    ),
    Case(
        "everything rejected",
        all_bad,
        lambda rows: {"rejected": rows},
        note="in turn a short ICCID, one in scientific notation, a cell too few; nothing is sent",
    ),
    Case(
        "everything duplicate",
        all_the_same,
        lambda rows: {"succeeded": BATCH_ITEMS, "duplicate": rows - BATCH_ITEMS},
        note="one batch of rows over and over",
    ),
    in_doubt(0.1, 1, "the vendor stores, then hangs up; on the repeat it says that each exists"),
    in_doubt(
        5.0, 5, "as above, with the wait as it is by default: the backlog's bound over settle_s is the rate"
    ),
    Case(
        "10 % of items retried",
        clean,
        lambda rows: {"succeeded": rows},
        mood="busy-for-a-tenth",
        note="every tenth item is told once that the system is busy",
    ),
    Case(
        "replies of 1 MB",
        clean,
        lambda rows: {"succeeded": rows},
        mood="verbose",
        note="an entry of 1,000 bytes for each item, each another one",
    ),
    tiny(10, "what costs is the request, not the row"),
    tiny(100),
    Case(
        "one row per file",
        one_row_a_file,
        lambda rows: {"succeeded": rows},
        mood="accepts",
        size=lambda rows: rows // ONE_IN,
        note="what costs is the file, not the row",
    ),
)


def main() -> None:
    options = arguments()
    console = on_two_cores()
    chosen = [case for case in CASES if not options.only or any(word in case.name for word in options.only)]
    found = []
    for case in chosen:
        with console.status(case.name):
            found.append(both_sizes(case, options))
    judged = [target for small, large in found for target in targets(small, large)]
    show(console, [sheet_of(found), of_targets([target for target in judged if not target.met])])
    keep(
        "worst",
        {
            "series": [large.data() | {"tenth": small.data()} for small, large in found],
            "targets": [target.data() for target in judged],
        },
    )
    if any(one.failure for both in found for one in both):
        raise SystemExit("bench: not everything could be measured")


def both_sizes(case: Case, options: argparse.Namespace) -> tuple[Series, Series]:
    """Measure a case at a tenth of its size and at its size, in turns. Each round has a vendor of its own."""
    series = Series(case.name), Series(case.name, case.note)
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="simlift-worst-", dir=options.folder))
        )
        rows = case.size(options.rows)
        sizes = [rows // 10, rows]
        for size in sizes:
            case.write(folder / f"inventory-{size}", size)
        for _ in range(options.rounds):
            for size, one in zip(sizes, series, strict=True):
                with case.vendor(folder) as vendor:
                    one_round(case, Ground(vendor.base_url, folder / f"inventory-{size}", size, folder), one)
    return series


def one_round(case: Case, ground: Ground, series: Series) -> None:
    if series.failure:
        return
    ground.job.write_text(JOB.format(base_url=ground.base_url) + case.job, "utf-8")
    shutil.rmtree(ground.runs, ignore_errors=True)
    command = ["run", str(ground.inventory), "--job", str(ground.job), "--runs", str(ground.runs)]
    try:
        measured = measure([str(SIMLIFT), *command], os.environ | SECRETS, ends_with=FINISHED)
        summary = ground.summary()
        counts = {status: count for status, count in summary["counts"].items() if count}
        if counts != case.ends(ground.rows):
            series.failure = f"{counts} instead of {case.ends(ground.rows)}"
            return
    except CommandError as failure:
        series.failure = str(failure)
        return
    series.add(measured, ground.rows)
    series.more.setdefault("requests", []).append(summary["requests"])


def growth(small: Series, large: Series) -> list[float]:
    return [ours / theirs for ours, theirs in zip(large.peaks_mb, small.peaks_mb, strict=False)]


def sheet_of(found: list[tuple[Series, Series]]) -> Sheet:
    lines, notes = [], []
    for small, large in found:
        if large.rounds and small.rounds:
            wall_s = median(one.wall_s for one in large.rounds)
            figures = [
                f"{large.rows[0]:,}",
                spread(large.rates_per_s, "{:,.0f}"),
                f"{median(large.more['requests']) / wall_s:,.0f}",
                spread(large.cpu_s_per_million, "{:.1f}"),
                spread(large.peaks_mb, "{:.0f}"),
                f"{median(growth(small, large)):.2f}x",
            ]
        else:
            figures = ["failed", *[""] * 5]
        lines.append((large.tool, *figures))
        words = large.failure or small.failure or large.note
        notes += [(large.tool, words)] if words else []
    headings = ("case", "rows", "rows/s", "requests/s", "CPU s per million rows", "peak MB", "of a tenth's")
    return Sheet("worst cases, simlift run, whole processes", headings, lines, notes)


def targets(small: Series, large: Series) -> list[Target]:
    return [
        at_least(f"rows/s, {large.tool}", large.rates_per_s, ROWS_PER_S_AT_LEAST, "{:,.0f}"),
        at_most(f"peak against a tenth's, {large.tool}", growth(small, large), GROWTH_AT_MOST, "{:.2f}x"),
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows",
        type=whole_batches,
        default=1_000_000,
        help=f"default 1,000,000; batches, files: 1 in {ONE_IN}",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", help="part of a case's name")
    parser.add_argument("--folder", type=Path, help="for inventories and runs")
    options = parser.parse_args()
    if options.rows % (10 * BATCH_ITEMS):
        parser.error(f"--rows: a tenth of them must be whole batches of {BATCH_ITEMS:,}")
    return options


if __name__ == "__main__":
    main()
