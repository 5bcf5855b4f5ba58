"""Who is compared with simlift, how each is started, how it is known that every row arrived.

And, in a line each, what a contestant does not do that simlift does: no row of the table stands without it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments import HERE, program, python_of
from measure import CommandError, measure
from replies import BATCH_ITEMS, IMPORT_PATH

if TYPE_CHECKING:
    from collections.abc import Callable

    from measure import Measured

    Run = Callable[["Ground"], tuple[Measured, int]]

SIMLIFT = Path(sys.executable).with_name("simlift")
CONCURRENCY = 16
SECRETS = {"SIM_EXPRESS_ACCESS_CODE": "bench", "SIM_EXPRESS_SECRET_CODE": "opens nothing"}
WIRE_S = 5
QUIET = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}  # dlt would call home

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
class Ground:
    """Where a contestant finds the vendor and the inventory of `rows` rows, and may leave its files."""

    base_url: str
    inventory: Path
    rows: int
    folder: Path

    @property
    def job(self) -> Path:
        return self.folder / "job.toml"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def summary(self) -> dict[str, Any]:
        """Give the summary of the one run of simlift that was made here."""
        (path,) = self.runs.glob("*/summary.json")
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found


@dataclass(frozen=True, slots=True)
class Contestant:
    """A way to bring an inventory to the vendor.

    `run` gives what was measured and for how many rows; that every row arrived is its own to find out. It
    raises LeftOutError and CommandError. `lacks`: what it does not do that simlift does.
    """

    name: str
    lacks: str
    run: Run


def simlift(ground: Ground) -> tuple[Measured, int]:
    """Run simlift on an inventory, from nothing to its reports."""
    shutil.rmtree(ground.runs, ignore_errors=True)
    command = ["run", str(ground.inventory), "--job", str(ground.job), "--runs", str(ground.runs)]
    measured = measure([str(SIMLIFT), *command], os.environ | SECRETS)
    return measured, _all_arrived(ground, ground.summary()["counts"])


def check(ground: Ground) -> tuple[Measured, int]:
    command = [str(SIMLIFT), "check", str(ground.inventory), "--job", str(ground.job)]
    return measure(command, os.environ), ground.rows


def hand_written(ground: Ground) -> tuple[Measured, int]:
    options = ["--base-url", ground.base_url, "--concurrency", str(CONCURRENCY)]
    script = str(HERE / "hand_written.py")
    measured = measure([sys.executable, script, str(ground.inventory), *options], os.environ | SECRETS)
    return measured, _all_arrived(ground, _counts_in(measured.output))


def peer(name: str) -> Run:
    """Give the way to run a peer of `peers/`, in an environment of its own."""
    script = HERE / "peers" / name / "load.py"

    def run(ground: Ground) -> tuple[Measured, int]:
        python = python_of(script.with_name("requirements.txt"))
        own = ground.folder / name
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        command = [str(python), str(script), str(ground.inventory)]
        command += ["--base-url", ground.base_url, "--folder", str(own)]
        measured = measure(command, os.environ | QUIET | {"HOME": str(own)})
        return measured, _all_arrived(ground, _counts_in(measured.output))

    return run


def wire_limit(ground: Ground) -> tuple[Measured, int]:
    """Post the inventory's first batch over and over with wrk, for WIRE_S seconds."""
    wrk = program("wrk", "apt-get install wrk")
    script = ground.folder / "post.lua"
    with ground.inventory.open(encoding="utf-8") as file:
        names = file.readline().rstrip("\n").split(",")
        rows = [
            dict(zip(names, file.readline().rstrip("\n").split(","), strict=True)) for _ in range(BATCH_ITEMS)
        ]
    body = json.dumps({"profileItems": rows}, separators=(",", ":"))
    script.write_text(f'wrk.method = "POST"\nwrk.body = [[{body}]]\n', "utf-8")
    options = ["--threads", "1", "--connections", str(CONCURRENCY), "--duration", f"{WIRE_S}s"]
    command = [wrk, *options, "--script", str(script), f"{ground.base_url}{IMPORT_PATH}"]
    measured = measure(command, os.environ)
    done = re.search(r"(\d+) requests in", measured.output)
    if done is None or "Non-2xx" in measured.output or "Socket errors" in measured.output:
        raise CommandError(f"wrk: {measured.output.strip().splitlines()[-1]}")
    return measured, int(done[1]) * BATCH_ITEMS


CONTESTANTS = (
    Contestant("simlift run", "", simlift),
    Contestant("simlift check", "sends nothing", check),
    Contestant(
        "hand-written",
        "validates, pairs by position; no signature, no durable state, no duplicates found, no outcomes "
        "written, no retry",
        hand_written,
    ),
    Contestant(
        "async_streaming_bulk",
        "no validation, no durable state, no outcomes written, no duplicates found; one request at a time; "
        "gives an outcome per item, retries only 429 and only if asked to",
        peer("elasticsearch"),
    ),
    Contestant(
        "dlt",
        "infers types and keeps its packages on disk, goes on behind the last batch that was answered; no "
        "rules for rows, no outcome per item: a batch is all or nothing; one request at a time",
        peer("dlt"),
    ),
    Contestant(
        "singer-sdk",
        "checks rows against the JSON schema (types only), says a state at the end; no outcome per item, no "
        "durable state of its own, no duplicates found; one request at a time; tap as cheap as can be",
        peer("singer-sdk"),
    ),
    Contestant(
        "wrk (wire limit)",
        "posts one prebuilt body again and again: reads no file, looks into no reply",
        wire_limit,
    ),
)


def _counts_in(output: str) -> dict[str, int]:
    lines = output.strip().splitlines()
    try:
        counts: dict[str, int] = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise CommandError(f"gave no counts but {lines[-1:]}") from None
    return counts


def _all_arrived(ground: Ground, counts: dict[str, int]) -> int:
    if counts["succeeded"] != ground.rows:
        raise CommandError(f"{counts['succeeded']:,} of {ground.rows:,} rows arrived")
    return ground.rows
