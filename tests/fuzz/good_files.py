"""Good files of every format: where all cases come from."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING

from archive_structure import compressed, zipped
from text_files import csv_files, json_files, out_files
from typed_files import arrow_files, parquet_files, spooled_files, xlsx_files

if TYPE_CHECKING:
    from collections.abc import Callable


@cache
def good_files(source: str) -> tuple[bytes, ...]:
    """Give the good files of a format."""
    return tuple(GOOD[source][1]())


def archives() -> list[bytes]:
    """Give archives of one file of each format, of several, and of a compressed one."""
    rng = random.Random(7)
    kinds = [name for name in GOOD if name not in ("zip", "parquet")]
    members = [(f"folder {name}/{name}{GOOD[name][0]}", rng.choice(good_files(name))) for name in kinds]
    csv = good_files("csv")[0]
    alone = [zipped(rng, [member]) for member in members]
    several = [zipped(rng, [(f"{n}.csv", csv) for n in range(3)] + [(".hidden", b"x")]), zipped(rng, members)]
    return [*alone, *several, zipped(rng, [("in.csv.gz", compressed(rng, csv)[0])])]


#: By format: how the names of its files end, and its files.
GOOD: dict[str, tuple[str, Callable[[], list[bytes]]]] = {
    "csv": (".csv", csv_files),
    "json": (".json", json_files),
    "out": (".out", out_files),
    "xlsx": (".xlsx", xlsx_files),
    "arrow": (".arrow", arrow_files),
    "parquet": (".parquet", parquet_files),
    "spooled": (".spooled", spooled_files),
    "zip": (".zip", archives),
}
