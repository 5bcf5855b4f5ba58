"""dlt with a custom destination, as its page "Reverse ETL" has it: batch_size=1000, dlt's own requests.

The resource yields pages of 1,000 rows, as its page on performance advises. All else is dlt's default.
"""

from __future__ import annotations

import argparse
import csv
import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dlt
from dlt.sources.helpers import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 1_000


@dlt.resource(name="profiles", write_disposition="append")
def profiles(inventory: Path) -> Iterator[list[dict[str, str]]]:
    with inventory.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        while page := list(islice(rows, ROWS)):
            yield page


def load(inventory: Path, base_url: str, folder: Path) -> dict[str, int]:
    counts = {"succeeded": 0, "refused": 0}

    @dlt.destination(batch_size=ROWS, name="sim_express")
    def sim_express(items: list[dict[str, Any]], table: dict[str, Any]) -> None:
        reply = requests.post(f"{base_url}/v1/profile/importProfileList", json={"profileItems": items})
        reply.raise_for_status()
        for _, answer in zip(items, reply.json()["resultList"], strict=True):
            counts["succeeded" if answer["result"] == "SUCCEED" else "refused"] += 1

    pipeline = dlt.pipeline("bench", destination=sim_express, pipelines_dir=str(folder))
    pipeline.run(profiles(inventory)).raise_on_failed_jobs()
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inventory", type=Path)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where dlt keeps its packages")
    options = parser.parse_args()
    print(json.dumps(load(options.inventory, options.base_url, options.folder)))


if __name__ == "__main__":
    main()
