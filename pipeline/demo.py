"""`simlift demo`: a sample inventory, the embedded simulator as a process of its own, and both sides' books.

Nothing here is special: the run is an ordinary one and stays in the folder of runs.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import reports
from pipeline.attended import carry_out
from pipeline.errors import SimliftError, UsageError
from pipeline.model import Status
from pipeline.runs import new_run_id, open_ledger, run_folder, start
from pipeline.sample import write_sample
from pipeline.settings import job_from

if TYPE_CHECKING:
    from collections.abc import Iterator

BAD_SHARE, DUPLICATE_SHARE, KNOWN_SHARE = 0.005, 0.003, 0.002
START_S, STOP_S = 30.0, 10.0
FAULTS = """
seed = {seed}
latency = {{ mean_s = 0.03, jitter_s = 0.02 }}
fault = [
    {{ kind = "status", status = 429, retry_after_s = 1, share = 0.01 }},
    {{ kind = "status", status = 500, share = 0.005 }},
    {{ kind = "cut_after_commit", share = 0.01 }},
    {{ kind = "cut_before_commit", share = 0.005 }},
    {{ kind = "short_list", share = 0.01 }},
    {{ kind = "reorder_echo", share = 0.05 }},
    {{ kind = "busy", share = 0.005 }},
]
"""


def run_demo(*, items: int, seed: int, runs: Path) -> int:
    """Run the demonstration; 0 only if the run balances and the vendor holds exactly what the ledger says."""
    say = sys.stderr.write
    name = new_run_id()
    folder = run_folder(runs, name)
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise UsageError(
            f"{runs}: no run can be kept there: {error.strerror}; choose another --runs"
        ) from None
    inventory = folder / "inventory.csv.gz"
    with tempfile.TemporaryDirectory(prefix="simlift-demo-") as scratch:
        faults = Path(scratch) / "faults.toml"
        manifest = write_sample(
            inventory,
            items=items,
            seed=seed,
            bad_share=BAD_SHARE,
            duplicate_share=DUPLICATE_SHARE,
            known_share=KNOWN_SHARE,
        )
        faults.write_text(FAULTS.format(seed=seed), "utf-8")
        say(
            f"{items:,} rows: {sum(manifest.bad.values()):,} bad, {manifest.duplicates:,} duplicates, "
            f"{len(manifest.known):,} already known to the vendor\n"
        )
        inventory.chmod(0o600)
        with simulator(faults) as url:
            _ask(url, "/_simulator/profiles", {"iccids": manifest.known})
            code, good, known = _run(inventory, url, runs, name)
            held = _ask(url, "/_simulator/profiles/count")["count"]
    agree = held == good + known and code in (0, 1)
    verdict = "they agree" if agree else "THEY DIFFER"
    books = f"vendor holds {held:,} profiles, ledger says {good:,} good and {known:,} it had before"
    sys.stdout.write(f"  {books}: {verdict}\n")
    return 0 if agree else 1


def _run(inventory: Path, url: str, runs: Path, name: str) -> tuple[int, int, int]:
    """Run the import; give its exit code, its good rows, and those the vendor refused as already there."""
    job = {
        "target": {
            "kind": "sim-express",
            "base_url": url,
            "access_code": "env:SIM_EXPRESS_ACCESS_CODE",
            "secret_code": "env:SIM_EXPRESS_SECRET_CODE",
        },
        "limits": {"requests_per_second": 50.0},
        "retry": {"settle_s": 0.5},
    }
    folder = run_folder(runs, name)
    work = start([inventory], job_from(job, where="the demo's job"), runs, name)
    code = carry_out(work, folder)
    ledger = open_ledger(folder, read_only=True)
    try:
        good = reports.summary(ledger).good
        known = sum(t.rows for t in ledger.tally() if (t.status, t.code) == (Status.REFUSED, "exists"))
    finally:
        ledger.close()
    return code, good, known


@contextmanager
def simulator(faults: Path) -> Iterator[str]:
    """Start the vendor's simulator as a process on a free loopback port; give its address."""
    os.environ.setdefault("SIM_EXPRESS_ACCESS_CODE", "demo")
    os.environ.setdefault("SIM_EXPRESS_SECRET_CODE", secrets.token_hex(16))
    command = [sys.executable, "-m", "pipeline.simulator", "sim-express", "--faults", str(faults)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own program
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            words = process.stdout.readline().split()
            if not words:
                raise SimliftError("the simulator did not start; its own words stand above")
            yield words[-1]
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _ask(url: str, path: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the simulator itself, past the vendor's API."""
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(  # noqa: S310 - the address is the loopback's
        url + path, data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=START_S) as response:  # noqa: S310 - likewise
        answer: dict[str, Any] = json.load(response)
    return answer
