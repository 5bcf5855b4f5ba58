"""`simlift demo`: a sample inventory, the embedded simulator as a process of its own, and both sides' books.

Nothing here is special: the run is an ordinary one and stays in the folder of runs. What a vendor's
demonstration is made of lies beside its simulator, in simulator/demos/.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import reports
from pipeline.attended import carry_out
from pipeline.errors import SimliftError, UsageError
from pipeline.model import Status
from pipeline.runs import new_run_id, open_ledger, run_folder, start
from pipeline.samples import Expect, write_fleet, write_sample
from pipeline.settings import job_from, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.samples import Manifest

BAD_SHARE, DUPLICATE_SHARE, KNOWN_SHARE = 0.005, 0.003, 0.002
START_S, STOP_S = 30.0, 10.0


@dataclass(frozen=True, slots=True)
class Scene:
    """What the demonstration of one vendor is made of: simulator/demos/<target>.toml.

    `environment` names its secrets, `plant` and `count` are the simulator's own addresses, `held` says what
    `count` counts, `faults` is the simulator's faults file.
    """

    target: str
    sample: str
    environment: tuple[str, ...]
    count: str
    held: str
    job: Mapping[str, Any]
    faults: str
    plant: str = ""


def scene_of(target: str) -> Scene:
    """Read what belongs to a target's demonstration. Raises UsageError when it has none."""
    folder = files("pipeline") / "simulator" / "demos"
    known = sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir())
    if target not in known:
        raise UsageError(f"no demonstration of target {target!r}; {nearest(target, known)}")
    text = (folder / f"{target}.toml").read_text("utf-8")
    facts = tomllib.loads(text)
    # The simulator reads its own part itself, as text: nothing writes TOML here.
    faults = text.partition("[faults]")[2]
    environment = tuple(facts.pop("environment"))
    return Scene(target=target, environment=environment, **(facts | {"faults": faults}))


def run_demo(*, target: str, items: int, seed: int, runs: Path) -> int:
    """Run the demonstration; 0 only if the run balances and the vendor holds exactly what the ledger says."""
    scene = scene_of(target)
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
        manifest = _write(scene, inventory, items, seed)
        faults.write_text(f"seed = {seed}\n{scene.faults}", "utf-8")
        say(
            f"{items:,} rows: {manifest.expected[Expect.REJECTED]:,} bad, "
            f"{manifest.expected[Expect.DUPLICATE]:,} duplicates, "
            f"{len(manifest.known):,} already known to the vendor\n"
        )
        inventory.chmod(0o600)
        with simulator(scene, faults) as url:
            if manifest.known:
                _ask(url, scene.plant, {"iccids": manifest.known})
            code, good, known = _run(scene, inventory, url, runs, name)
            held = _ask(url, scene.count)["count"]
    agree = held == good + known and code in (0, 1)
    verdict = "they agree" if agree else "THEY DIFFER"
    before = f" and {known:,} it had before" if scene.plant else ""
    books = f"vendor holds {held:,} {scene.held}, ledger says {good:,} good{before}"
    sys.stdout.write(f"  {books}: {verdict}\n")
    return 0 if agree else 1


def _write(scene: Scene, inventory: Path, items: int, seed: int) -> Manifest:
    if scene.sample == "fleet":
        return write_fleet(
            inventory, items=items, seed=seed, bad_share=BAD_SHARE, duplicate_share=DUPLICATE_SHARE
        )
    return write_sample(
        inventory,
        items=items,
        seed=seed,
        bad_share=BAD_SHARE,
        duplicate_share=DUPLICATE_SHARE,
        known_share=KNOWN_SHARE,
    )


def _run(scene: Scene, inventory: Path, url: str, runs: Path, name: str) -> tuple[int, int, int]:
    """Run the import; give its exit code, its good rows, and those the vendor refused as already there."""
    target = {"kind": scene.target, "base_url": url, **scene.job["target"]}
    folder = run_folder(runs, name)
    work = start(
        [str(inventory)], job_from({**scene.job, "target": target}, where="the demo's job"), runs, name
    )
    code = carry_out(work, folder)
    ledger = open_ledger(folder, read_only=True)
    try:
        good = reports.summary(ledger).good
        known = sum(t.rows for t in ledger.tally() if (t.status, t.code) == (Status.REFUSED, "exists"))
    finally:
        ledger.close()
    return code, good, known


@contextmanager
def simulator(scene: Scene, faults: Path) -> Iterator[str]:
    """Start the vendor's simulator as a process on a free loopback port; give its address."""
    for secret in scene.environment:
        os.environ.setdefault(secret, secrets.token_hex(16))
    command = [sys.executable, "-m", "pipeline.simulator", scene.target, "--faults", str(faults)]
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
