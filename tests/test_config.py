"""The job files of config/ load as they are, and show every key there is."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.plugins import installed
from pipeline.settings import Input, Job, Limits, Retry, load_job, read_table
from pipeline.simulator.faults import Faults, load

if TYPE_CHECKING:
    from pydantic import BaseModel

CONFIG = Path(__file__).parents[1] / "config"
JOBS = sorted(path for path in CONFIG.glob("*.toml") if "faults" not in path.name)


def test_every_file_of_the_folder_is_looked_at() -> None:
    assert {path.name for path in JOBS} >= {"sim-express.toml", "demo.toml"}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIM_EXPRESS_ACCESS_CODE", "SIM_EXPRESS_SECRET_CODE"):
        monkeypatch.setenv(name, "x")


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_a_job_file_loads_with_its_target(path: Path) -> None:
    job = load_job(path)
    target = installed("targets", job.target_kind)
    assert read_table(target.settings, job.target, where=job.where, table="target").kind == job.target_kind


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_a_job_file_shows_every_key(path: Path) -> None:
    data = tomllib.loads(path.read_text("utf-8"))
    target = installed("targets", data["target"]["kind"]).settings
    tables: dict[str, type[BaseModel]] = {"target": target, "limits": Limits, "retry": Retry, "input": Input}
    assert data.keys() == tables.keys() == Job.model_fields.keys()
    for name, model in tables.items():
        assert data[name].keys() == model.model_fields.keys(), name


def test_the_example_holds_the_documented_defaults() -> None:
    job = load_job(CONFIG / "sim-express.toml")
    assert job.limits == Limits(batch_items=1000)
    assert job.retry == Retry()


def test_the_faults_load_in_the_simulator() -> None:
    faults = load(CONFIG / "faults.toml")
    assert isinstance(faults, Faults)
    assert len(faults.fault) == len(tomllib.loads((CONFIG / "faults.toml").read_text("utf-8"))["fault"])
    assert faults.fault
