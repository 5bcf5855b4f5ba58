"""The job files of config/ load as they are, and show every key there is."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.plugins import installed
from pipeline.settings import Completion, Guards, Input, Limits, Retry, Window, load_job, read_table
from pipeline.simulator.bulk_subscriber_faults import BulkSubscriberFaults
from pipeline.simulator.faults import Faults, load

if TYPE_CHECKING:
    from pydantic import BaseModel

SECRETS = {"SIM_EXPRESS": ("ACCESS_CODE", "SECRET_CODE"), "BULK_SUBSCRIBER": ("USERNAME", "PASSWORD")}
CONFIG = Path(__file__).parents[1] / "config"
JOBS = sorted(path for path in CONFIG.glob("*.toml") if "faults" not in path.name)


def test_every_file_of_the_folder_is_looked_at() -> None:
    assert {path.name for path in JOBS} >= {"sim-express.toml", "demo.toml", "bulk-subscriber.toml"}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor, names in SECRETS.items():
        for name in names:
            monkeypatch.setenv(f"{vendor}_{name}", "x")


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_a_job_file_loads_with_its_target(path: Path) -> None:
    job = load_job(path)
    target = installed("targets", job.target_kind)
    assert read_table(target.settings, job.target, where=job.where, table="target").kind == job.target_kind


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_a_job_file_shows_every_key(path: Path) -> None:
    text = path.read_text("utf-8")
    data = tomllib.loads(text)
    target = installed("targets", data["target"]["kind"])
    tables: dict[str, type[BaseModel]] = {"limits": Limits, "retry": Retry, "input": Input}
    tables["guards"] = Guards
    tables["window"] = Window
    if hasattr(target, "poll"):  # contracts.CompletingTarget
        tables["completion"] = Completion
    assert data.keys() == {"target", *tables}
    for name, model in tables.items():
        assert data[name].keys() == model.model_fields.keys(), name
    # Two ways to give credentials exclude each other: the second one stands in a comment.
    assert [key for key in target.settings.model_fields if f"{key} = " not in text] == []


def test_the_example_holds_the_documented_defaults() -> None:
    job = load_job(CONFIG / "sim-express.toml")
    assert job.limits == Limits(batch_items=1000)
    assert job.retry == Retry()


@pytest.mark.parametrize(
    ("name", "model"), [("faults", Faults), ("faults-bulk-subscriber", BulkSubscriberFaults)]
)
def test_the_faults_load_in_the_simulator(name: str, model: Any) -> None:
    path = CONFIG / f"{name}.toml"
    faults = load(path, model)
    assert isinstance(faults, model)
    assert len(faults.fault) == len(tomllib.loads(path.read_text("utf-8"))["fault"]) > 0
