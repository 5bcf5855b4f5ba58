"""The baseline: the importer a competent developer writes by hand, in good faith and in an afternoon.

csv.DictReader → a pydantic model per row → batches of 1,000 → a queue and concurrent workers →
session.post(json=…) → one answer per row, paired in order. It streams, bounds its memory, reuses its
connections and counts every row. It keeps no ledger and, unlike simlift, does not sign its requests.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import aiohttp
from pydantic import BaseModel, Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH_ITEMS = 1_000


class Profile(BaseModel):
    iccid: Annotated[str, Field(pattern=r"^\d{19,20}$")]
    eid: Annotated[str, Field(pattern=r"^\d{32}$")]
    imei: Annotated[str, Field(pattern=r"^\d{15}$")]
    ac: Annotated[str, Field(min_length=1)]
    cc: str = ""
    apn: Annotated[str, Field(min_length=1)]


def profiles(path: Path, counts: Counter[str]) -> Iterator[Profile]:
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                yield Profile.model_validate(row)
            except ValidationError:
                counts["rejected"] += 1


def batches(path: Path, counts: Counter[str]) -> Iterator[list[Profile]]:
    batch: list[Profile] = []
    for profile in profiles(path, counts):
        batch.append(profile)
        if len(batch) == BATCH_ITEMS:
            yield batch
            batch = []
    if batch:
        yield batch


async def send(session: aiohttp.ClientSession, url: str, batch: list[Profile], counts: Counter[str]) -> None:
    headers = {
        "RT-AccessCode": os.environ.get("SIM_EXPRESS_ACCESS_CODE", ""),
        "RT-Timestamp": str(int(time.time())),
        "RT-RequestID": uuid.uuid4().hex,
    }
    body = {"profileItems": [profile.model_dump() for profile in batch]}
    async with session.post(url, json=body, headers=headers) as response:
        response.raise_for_status()
        reply = await response.json()
    for profile, answer in zip(batch, reply["resultList"], strict=True):
        if answer["result"] == "SUCCEED":
            counts["succeeded"] += 1
        else:
            counts["refused"] += 1
            print(profile.iccid, answer["reason"], file=sys.stderr)


async def import_all(path: Path, base_url: str, concurrency: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    queue: asyncio.Queue[list[Profile] | None] = asyncio.Queue(maxsize=2 * concurrency)
    url = f"{base_url}/v1/profile/importProfileList"

    async def work() -> None:
        while (batch := await queue.get()) is not None:
            await send(session, url, batch, counts)

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as workers:
        for _ in range(concurrency):
            workers.create_task(work())
        for batch in batches(path, counts):
            await queue.put(batch)
        for _ in range(concurrency):
            await queue.put(None)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description="the hand-written baseline")
    parser.add_argument("inventory", type=Path)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--concurrency", type=int, default=16)
    arguments = parser.parse_args()
    counts = asyncio.run(import_all(arguments.inventory, arguments.base_url, arguments.concurrency))
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
