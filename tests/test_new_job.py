"""A job file of a few answers: sound, with references only, never over one that is there."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from pipeline.catalogue import read_catalogue
from pipeline.cli import app
from pipeline.errors import UsageError
from pipeline.new_job import Answers, job_text, secrets_of, variable_for, write_job
from pipeline.settings import load_job

if TYPE_CHECKING:
    from pathlib import Path

ANSWERS = Answers("sim-express", "https://sim.example", ("access_code", "secret_code"), 5.0)


def test_the_file_holds_what_was_answered() -> None:
    data = tomllib.loads(job_text(ANSWERS))
    assert data["target"] == {
        "kind": "sim-express",
        "base_url": "https://sim.example",
        "access_code": "env:SIM_EXPRESS_ACCESS_CODE",
        "secret_code": "env:SIM_EXPRESS_SECRET_CODE",
    }
    assert data["limits"]["requests_per_second"] == 5.0
    assert "window" not in data


def test_an_answer_cannot_break_out_of_its_quotes() -> None:
    address = 'https://sim.example/"\nallow_http = true #'
    odd = Answers("sim-express", address, ANSWERS.secrets, 5.0)
    assert tomllib.loads(job_text(odd))["target"]["base_url"] == address


def test_hours_become_a_window_in_the_zone_of_the_machine() -> None:
    hours = Answers(
        "sim-express", "https://sim.example", ANSWERS.secrets, 5.0, "22:00-06:00", "Europe/Berlin"
    )
    assert tomllib.loads(job_text(hours))["window"] == {"open": "22:00-06:00", "zone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (Answers("sim-express", "sim.example", ANSWERS.secrets, 5.0), "base_url must be an address"),
        (Answers("sim-express", "https://sim.example", ("access_code",), 5.0), "secret_code: is missing"),
        (Answers("sim-express", "https://sim.example", ANSWERS.secrets, 0.0), "limits.requests_per_second"),
        (Answers("sim-express", "https://", ANSWERS.secrets, 5.0), "base_url must be an address"),
        (Answers("sim-express", "https://sim.example", ANSWERS.secrets, 5.0, "late"), "window"),
    ],
)
def test_an_answer_that_no_job_may_have_is_refused(answers: Answers, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        job_text(answers)


def test_every_target_is_asked_for_its_own_secrets() -> None:
    asked = {target.name: secrets_of(target) for target in read_catalogue().targets}
    assert asked["sim-express"] == ("access_code", "secret_code")
    assert asked["bulk-subscriber"] == ("username", "password", "token")
    assert variable_for("bulk-subscriber", "token") == "BULK_SUBSCRIBER_TOKEN"


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text("precious", "utf-8")
    with pytest.raises(UsageError, match="is there already"):
        write_job(path, "new")
    assert path.read_text("utf-8") == "precious"


def test_five_answers_make_a_job_that_loads(tmp_path: Path) -> None:
    path = tmp_path / "night.toml"
    answers = "sim-express\nhttps://sim.example\n\n5\n22:00-06:00\n"
    ended = CliRunner().invoke(app, ["init", str(path)], input=answers)
    assert ended.exit_code == 0, ended.output
    assert "5/5" in ended.output
    assert "export SIM_EXPRESS_ACCESS_CODE=" in ended.output
    assert f"simlift doctor {path}" in ended.output
    job = load_job(path)
    assert (job.target_kind, job.limits.requests_per_second) == ("sim-express", 5.0)


def test_an_answer_that_no_job_may_have_is_asked_for_again_at_once(tmp_path: Path) -> None:
    path = tmp_path / "night.toml"
    answers = ["sim-expres", "sim-express", "sim.example", "https://sim.example", "abc", "", "ten", "0", "5"]
    answers += ["late", "22:00-06:00", ""]
    ended = CliRunner().invoke(app, ["init", str(path)], input="\n".join(answers))
    assert ended.exit_code == 0, ended.output
    said = [" ".join(line.split()) for line in ended.output.splitlines() if "Error" in line]
    for words in (
        "did you mean sim-express?",
        "base_url must be an address",
        "target.abc: unknown key",
        "'ten' is no number",
        "limits.requests_per_second: Input should be greater than 0",
        "window.open: 'late'",
    ):
        assert any(words in line for line in said), (words, ended.output)
    assert load_job(path).limits.requests_per_second == 5.0


@pytest.mark.parametrize("vendor", [target.name for target in read_catalogue().targets])
def test_the_answers_that_are_proposed_make_a_job(vendor: str, tmp_path: Path) -> None:
    path = tmp_path / "night.toml"
    ended = CliRunner().invoke(app, ["init", str(path)], input=f"{vendor}\nhttps://sim.example\n\n\n\n")
    assert ended.exit_code == 0, ended.output
    assert load_job(path).target_kind == vendor
