from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.catalogue import read_catalogue
from pipeline.errors import UsageError
from pipeline.inventory import open_inventory
from pipeline.plugins import installed
from pipeline.settings import Input

if TYPE_CHECKING:
    from collections.abc import Callable

    Install = Callable[..., None]

ROOT = Path(__file__).parent.parent
SIMLIFT = str(Path(sys.executable).with_name("simlift"))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a stranger's distribution for one test: its entry points, and its modules by name."""

    def laid_down(points: str, **modules: str) -> None:
        info = tmp_path / "strangers_own-2.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers-own\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(points)
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()

    return laid_down


def test_our_targets_are_registered_in_pyproject_as_a_stranger_s_would_be() -> None:
    declared = re.findall(
        r'^([\w-]+) = "(pipeline\.targets\.[\w.:]+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    found = {entry.name: entry.value for entry in entry_points(group="simlift.targets")}
    assert dict(declared).items() <= found.items()
    assert {"bulk-subscriber", "sim-express"} <= set(found)


def test_a_target_is_listed_with_its_bound_settings_and_columns() -> None:
    target = next(target for target in read_catalogue().targets if target.name == "sim-express")
    assert target.most_batch_items == 1000
    assert not target.completes
    settings = {setting.key: setting for setting in target.settings}
    assert settings["access_code"].required
    assert settings["access_code"].secret
    assert settings["base_url"].default == "https://sim.express"
    assert settings["timestamp_unit"].description.endswith('"s" or "ms"')
    columns = {column.field: column for column in target.columns}
    assert list(columns) == ["iccid", "eid", "imei", "ac", "cc", "apn"]
    assert "simnumber" in columns["iccid"].aliases
    assert columns["ac"].joined_from[1] == ("matchingid", "matchingidentifier")
    assert (columns["cc"].required, columns["cc"].default) == (False, "")


def test_a_vendor_that_finishes_later_is_listed_as_one_with_every_form_of_its_key() -> None:
    target = next(target for target in read_catalogue().targets if target.name == "bulk-subscriber")
    assert target.completes
    assert target.most_batch_items == 200
    value = next(column for column in target.columns if column.field == "value")
    assert {"iccid", "imsi", "msisdn"} <= set(value.aliases)


def test_a_source_is_listed_with_the_files_that_are_its() -> None:
    csv = next(source for source in read_catalogue().sources if source.name == "csv")
    assert csv.suffixes == (".csv", ".tsv", ".txt")


def test_a_setting_s_default_is_data_whatever_it_is(install: Install) -> None:
    install(
        "[simlift.targets]\nodd = strange_default:Odd\n",
        strange_default="from pathlib import Path\n"
        "from pipeline.settings import Endpoint\nfrom pipeline.targets.sim_express import SimExpress\n"
        "class Settings(Endpoint):\n    where: Path = Path('/srv/acme')\n"
        "class Odd(SimExpress):\n    settings = Settings\n",
    )
    (target,) = [target for target in read_catalogue().data()["targets"] if target["name"] == "odd"]
    assert json.loads(json.dumps(target))["settings"][-1]["default"] == "/srv/acme"


def test_a_plugin_that_cannot_be_imported_is_one_line_and_hides_no_other(install: Install) -> None:
    install(
        "[simlift.targets]\nbroken = strange_broken:Target\nmissing = strange_missing:Target\n",
        strange_broken='raise RuntimeError("no licence\\nfound")',
    )
    found = read_catalogue()
    lines = found.text()
    assert not found.sound
    assert "target broken (strangers-own 2.5): cannot be loaded: RuntimeError: no licence found" in lines
    assert (
        "target missing (strangers-own 2.5): cannot be loaded: "
        "ModuleNotFoundError: No module named 'strange_missing'" in lines
    )
    assert any(line.startswith("target sim-express") for line in lines)


def test_a_class_that_is_no_target_is_one_line_too(install: Install) -> None:
    install("[simlift.targets]\nodd = strange_odd:Target\n", strange_odd="class Target: pass")
    (line,) = [line for line in read_catalogue().text() if line.startswith("target odd")]
    assert "is no target" in line
    assert "most_batch_items" in line


def test_a_target_that_cannot_be_loaded_is_a_usage_error_when_it_is_asked_for(install: Install) -> None:
    install("[simlift.targets]\nbroken = strange_gone:Target\n")
    with pytest.raises(UsageError, match=r"target broken \(strangers-own 2.5\): cannot be loaded"):
        installed("targets", "broken")


def test_a_broken_source_does_not_stand_in_the_way_of_csv(install: Install, tmp_path: Path) -> None:
    install("[simlift.sources]\na-broken = strange_gone:Source\n")
    (tmp_path / "delivery.csv").write_text("iccid\n1\n")
    assert open_inventory([str(tmp_path / "delivery.csv")], Input()).header == ("iccid",)


@pytest.mark.parametrize("name", ["a.odd", "a.ODD", "a.odd.gz", "a.odd.zst"])
def test_a_source_is_chosen_by_the_end_of_the_name_compressed_or_not(
    name: str, install: Install, tmp_path: Path
) -> None:
    install(
        "[simlift.sources]\nodd = strange_source:Odd\n",
        strange_source='class Odd:\n    suffixes = (".odd",)\n    header = ("odd",)\n'
        "    bytes_total = 0\n    findings = ()\n    def __init__(self, file, settings): pass\n"
        "    @classmethod\n    def recognises(cls, beginning): return False\n",
    )
    (tmp_path / name).write_text("iccid\n1\n")
    assert open_inventory([str(tmp_path / name)], Input()).header == ("odd",)


def test_a_file_of_no_known_name_is_taken_for_csv(tmp_path: Path) -> None:
    (tmp_path / "delivery").write_text("iccid\n1\n")
    assert open_inventory([str(tmp_path / "delivery")], Input()).header == ("iccid",)


def test_the_command_lists_what_is_installed() -> None:
    ended = subprocess.run([SIMLIFT, "targets"], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "target sim-express (simlift " in ended.stdout
    assert re.search(r"^    access_code +required +a secret by reference", ended.stdout, re.MULTILINE)
    assert "source csv (simlift " in ended.stdout


def test_help_imports_nothing_of_the_catalogue() -> None:
    script = "import sys, pipeline.cli; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert not {"pyarrow", "numpy", "pydantic", "pipeline.catalogue"} & set(ended.stdout.split())
