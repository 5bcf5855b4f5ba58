"""The plugins of the documentation, installed as a stranger's, held to the contract and run for real."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent.parent / "docs"
SIMLIFT = str(Path(sys.executable).with_name("simlift"))
ICCIDS = ["8935711001000000007", "8935711001000000015", "8935711001000000023"]


def files_of(page: str) -> dict[str, str]:
    """Give the files a page shows, by name."""
    text = (DOCS / page).read_text("utf-8")
    return dict(re.findall(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def install(files: dict[str, str], folder: Path) -> None:
    """Lay a distribution down as pip would: its modules, and what its pyproject.toml makes of metadata."""
    for name, content in files.items():
        (folder / name).write_text(content, "utf-8")
    project = tomllib.loads(files["pyproject.toml"])["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", "utf-8"
    )
    groups = (
        "\n".join([f"[{group}]", *(f"{name} = {where}" for name, where in entries.items())])
        for group, entries in project["entry-points"].items()
    )
    (info / "entry_points.txt").write_text("\n".join(groups), "utf-8")


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def passes_the_contract(folder: Path, name: str) -> None:
    ended = run(folder, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name)
    assert ended.returncode == 0, ended.stdout
    assert re.search(r"\b\d{2,} passed", ended.stdout), ended.stdout
    assert "skipped" not in ended.stdout


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    install(files_of("a-target-of-your-own.md"), tmp_path)
    return tmp_path


@pytest.fixture
def fixed_width(tmp_path: Path) -> Path:
    install(files_of("a-source-of-your-own.md"), tmp_path)
    return tmp_path


class AcmeServer(ThreadingHTTPServer):
    """Acme as its page describes it; one SIM is rejected."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), AcmeHandler)
        self.seen: list[tuple[str, str | None, dict[str, object]]] = []


class AcmeHandler(BaseHTTPRequestHandler):
    server: AcmeServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, self.headers["Authorization"], body))
        results = [{"iccid": sim["iccid"], "status": "created"} for sim in reversed(body["sims"])]
        for result in results:
            if result["iccid"] == ICCIDS[1]:
                result |= {"status": "rejected", "message": "not a SIM of yours"}
        said = json.dumps({"results": results}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[AcmeServer]:
    with AcmeServer() as vendor:
        thread = threading.Thread(target=vendor.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield vendor
        vendor.shutdown()
        thread.join()


def test_the_target_of_the_page_is_under_a_hundred_lines() -> None:
    assert len(files_of("a-target-of-your-own.md")["simlift_acme.py"].splitlines()) < 100


def test_the_source_of_the_page_is_under_sixty_lines() -> None:
    assert len(files_of("a-source-of-your-own.md")["simlift_fixed_width.py"].splitlines()) < 60


def test_the_target_of_the_page_passes_the_contract(acme: Path) -> None:
    passes_the_contract(acme, "test_acme.py")


def test_the_source_of_the_page_passes_the_contract(fixed_width: Path) -> None:
    passes_the_contract(fixed_width, "test_fixed_width.py")


def test_the_target_of_the_page_is_listed(acme: Path) -> None:
    ended = run(acme, SIMLIFT, "targets", "--json")
    found = {target["name"]: target for target in json.loads(ended.stdout)["targets"]}
    assert {"acme", "sim-express"} <= set(found)
    assert found["acme"]["distribution"] == "simlift-acme 1.0"
    assert found["acme"]["most_batch_items"] == 500
    settings = {setting["key"]: setting for setting in found["acme"]["settings"]}
    assert settings["token"]["secret"]
    assert settings["token"]["description"].startswith("API token, from Acme's portal under Keys")
    assert settings["group"]["default"] == "unsorted"
    text = run(acme, SIMLIFT, "targets").stdout
    assert "target acme (simlift-acme 1.0)" in text
    assert re.search(r"^    token +required +API token", text, re.MULTILINE)


def test_the_target_of_the_page_imports_an_inventory(acme: Path, server: AcmeServer) -> None:
    job = (acme / "acme.toml").read_text("utf-8")
    (acme / "acme.toml").write_text(
        job.replace("https://acme.example", f"http://127.0.0.1:{server.server_port}"), "utf-8"
    )
    rows = "\n".join(f'{iccid},"truck ""{iccid[-1]}"""' for iccid in ICCIDS)
    (acme / "delivery.csv").write_text(f"SimNumber,Label\n{rows}\n", "utf-8")

    checked = run(acme, SIMLIFT, "check", "delivery.csv", "--job", "acme.toml")
    assert (checked.returncode, server.seen) == (0, [])

    ended = run(
        acme,
        SIMLIFT,
        "run",
        "delivery.csv",
        "--job",
        "acme.toml",
        "--run-id",
        "first",
        ACME_TOKEN="t0k3n-4711",
    )
    assert ended.returncode == 1, ended.stderr
    ((path, authorization, body),) = server.seen
    assert (path, authorization) == ("/bulk", "Bearer t0k3n-4711")
    assert body == {
        "group": "trucks",
        "sims": [{"iccid": iccid, "label": f'truck "{iccid[-1]}"'} for iccid in ICCIDS],
    }
    with (acme / "runs/first/outcomes.csv").open(encoding="utf-8") as outcomes:
        found = [(row["key"], row["status"], row["reason"]) for row in csv.DictReader(outcomes)]
    assert found == [
        (ICCIDS[0], "succeeded", ""),
        (ICCIDS[1], "refused", "not a SIM of yours"),
        (ICCIDS[2], "succeeded", ""),
    ]


def test_the_source_of_the_page_is_chosen_by_the_end_of_the_file_s_name(
    acme: Path, fixed_width: Path, server: AcmeServer
) -> None:
    job = (acme / "acme.toml").read_text("utf-8")
    (acme / "acme.toml").write_text(
        job.replace("https://acme.example", f"http://127.0.0.1:{server.server_port}"), "utf-8"
    )
    lines = [f"{'ICCID':25}Label", *(f"{iccid:25}truck {iccid[-1]}" for iccid in ICCIDS)]
    (acme / "delivery.FIX").write_text("\n".join(lines), "utf-8")
    ended = run(acme, SIMLIFT, "run", "delivery.FIX", "--job", "acme.toml", ACME_TOKEN="t0k3n-4711")
    assert ended.returncode == 1, ended.stderr
    assert server.seen[0][2]["sims"] == [{"iccid": i, "label": f"truck {i[-1]}"} for i in ICCIDS]
