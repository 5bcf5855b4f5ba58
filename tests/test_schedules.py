"""What config/ holds for cron, systemd and Kubernetes: well formed, calling simlift as it can be called."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main
import yaml

from pipeline.cli import app
from pipeline.model import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIG = Path(__file__).parents[1] / "config"
DELIVERY = "delivery-2026-11-22"
CRON = (CONFIG / "simlift.cron").read_text("utf-8")
SERVICE = (CONFIG / "simlift@.service").read_text("utf-8")
NOT_AGAIN = {ExitCode.NOT_ALL_GOOD, ExitCode.USAGE, ExitCode.STOPPED}
PROGRAM = "/opt/simlift/bin/simlift"


def asked(arguments: Sequence[str]) -> dict[str, Any]:
    """What simlift understands of its arguments; raises what it says of wrong ones."""
    name, *rest = arguments
    group: Any = typer.main.get_command(app)
    found: dict[str, Any] = group.commands[name].make_context(name, rest).params
    return found


def is_a_run_of_the_delivery(arguments: Sequence[str]) -> bool:
    what = asked(arguments)
    (inventory,) = what["inventory"]
    return (
        arguments[0] == "run"
        and what["run_id"] == DELIVERY
        and inventory.endswith(f"incoming/{DELIVERY}.csv.gz")
        and what["job"] == Path("/etc/simlift/sim-express.toml")
    )


# ---------------------------------------------------------------- cron


def cron_lines() -> list[str]:
    return [line for line in CRON.splitlines() if re.match(r"[\d*@]", line)]


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not there")
@pytest.mark.parametrize("line", cron_lines(), ids=lambda line: line.split()[0])
def test_cron_calls_simlift_as_it_can_be_called(tmp_path: Path, line: str) -> None:
    when = 1 if line.startswith("@") else 5
    user, command = line.split(maxsplit=when + 1)[when:]
    assert user == "simlift"
    assert "%" not in command  # to cron it is the end of the line
    settings = dict(re.findall(r'^([A-Z]+)="?(.*?)"?$', CRON, flags=re.MULTILINE))
    (tmp_path / "environment").write_text("SIM_EXPRESS_ACCESS_CODE='x y'\n", "utf-8")
    for path, stand_in in (
        ("/etc/simlift/environment", tmp_path / "environment"),
        ("/srv/simlift", tmp_path),
    ):
        assert path in command
        command = command.replace(path, str(stand_in))
    told = subprocess.run(
        [settings["SHELL"], "-c", command],
        env={"PATH": "/usr/bin:/bin", **settings, "RUN": settings["RUN"].replace(PROGRAM, "echo")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert is_a_run_of_the_delivery(told.stdout.split())


def test_cron_comes_back_after_a_restart_and_each_evening() -> None:
    assert [line.split()[0] for line in cron_lines()] == ["55", "@reboot"]


# ---------------------------------------------------------------- systemd


def of_the_service(key: str) -> list[str]:
    (value,) = re.findall(rf"^{key}=(.*)$", SERVICE, flags=re.MULTILINE)
    return str(value).split()


def test_systemd_calls_simlift_as_it_can_be_called() -> None:
    program, *arguments = [word.replace("%i", DELIVERY) for word in of_the_service("ExecStart")]
    assert program == PROGRAM
    assert is_a_run_of_the_delivery(arguments)


def test_systemd_starts_again_what_was_killed_and_nothing_that_ended_with_a_word() -> None:
    assert {int(code) for code in of_the_service("RestartPreventExitStatus")} == NOT_AGAIN
    assert of_the_service("SuccessExitStatus") == ["130", "143"]
    assert of_the_service("Restart") == ["on-failure"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not there")
def test_systemd_finds_nothing_wrong_with_its_units(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("simlift")
    (tmp_path / "simlift@.service").write_text(SERVICE.replace(PROGRAM, str(program)), "utf-8")
    shutil.copy(CONFIG / "simlift@.timer", tmp_path)
    units = [str(tmp_path / name) for name in ("simlift@.service", "simlift@.timer")]
    told = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


# ---------------------------------------------------------------- Kubernetes


@pytest.fixture
def cron_job() -> dict[str, Any]:
    documents = list(yaml.safe_load_all((CONFIG / "kubernetes-cronjob.yaml").read_text("utf-8")))
    assert [document["kind"] for document in documents] == ["PersistentVolumeClaim", "CronJob"]
    found: dict[str, Any] = documents[1]["spec"]
    return found


def test_kubernetes_calls_simlift_as_it_can_be_called(cron_job: dict[str, Any]) -> None:
    (container,) = cron_job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    given = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert given["DELIVERY"] == DELIVERY
    assert container["command"] == ["simlift"]
    arguments = [word.replace("$(DELIVERY)", DELIVERY) for word in container["args"]]
    assert is_a_run_of_the_delivery(arguments)
    assert asked(arguments)["runs"] == Path("/runs")


def test_kubernetes_gives_each_mount_a_volume_and_each_secret_by_reference(cron_job: dict[str, Any]) -> None:
    pod = cron_job["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    assert "/runs" in {mount["mountPath"] for mount in container["volumeMounts"]}
    secrets = [entry for entry in container["env"] if entry["name"].startswith("SIM_EXPRESS_")]
    assert len(secrets) == 2
    assert all("secretKeyRef" in entry["valueFrom"] for entry in secrets)


def test_kubernetes_tries_again_what_was_killed_and_nothing_that_ended_with_a_word(
    cron_job: dict[str, Any],
) -> None:
    assert cron_job["concurrencyPolicy"] == "Forbid"
    job = cron_job["jobTemplate"]["spec"]
    final, disrupted = job["podFailurePolicy"]["rules"]
    assert (final["action"], set(final["onExitCodes"]["values"])) == ("FailJob", NOT_AGAIN)
    assert disrupted["action"] == "Ignore"
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert job["template"]["spec"]["terminationGracePeriodSeconds"] >= 60 + 30
    assert job["backoffLimit"] > 0
