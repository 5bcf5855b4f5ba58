"""elasticsearch's own bulk loader: async_streaming_bulk in chunks of 1,000, its stub answers as `_bulk` does.

The document's id is the ICCID, so that a repeat does no harm. It posts one chunk at a time, by its design.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elasticsearch import AsyncElasticsearch
from elasticsearch.helpers import async_streaming_bulk

if TYPE_CHECKING:
    from collections.abc import Iterator


def actions(inventory: Path) -> Iterator[dict[str, Any]]:
    with inventory.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield {"_index": "profiles", "_id": row["iccid"], "_source": row}


async def load(inventory: Path, base_url: str) -> dict[str, int]:
    counts = {"succeeded": 0, "refused": 0}
    async with AsyncElasticsearch(base_url) as client:
        loading = async_streaming_bulk(client, actions(inventory), chunk_size=1_000, raise_on_error=False)
        async for good, _ in loading:
            counts["succeeded" if good else "refused"] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inventory", type=Path)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--folder", type=Path, help="not needed: it keeps nothing on disk")
    options = parser.parse_args()
    print(json.dumps(asyncio.run(load(options.inventory, options.base_url))))


if __name__ == "__main__":
    main()
