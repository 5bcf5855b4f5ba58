"""What a scrape is told, and that the documentation lists exactly that."""

from __future__ import annotations

import re
import socket
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ledger_making import RECORD
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.errors import UsageError
from pipeline.metrics import Metrics, served
from pipeline.model import Snapshot, Status
from pipeline.standing import Standing
from pipeline.wire import Request

NIGHT = replace(RECORD, run_id="night")
SNAPSHOT = Snapshot(
    counts=dict.fromkeys(Status, 0) | {Status.SUCCEEDED: 75, Status.REFUSED: 5},
    rows_read=160,
    bytes_read=10,
    bytes_total=10,
    reading_done=True,
    batches=9,
    requests=11,
    in_flight=2,
    waiting=30,
    elapsed_s=4.0,
    open_tickets=50,
    rate_per_s=5.0,
    limit_per_s=10.0,
    concurrency=3,
    ceiling=16,
)
REQUEST = Request("POST", "/v1/profile")
DOCUMENTED = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text("utf-8")


def metrics(**standing: Any) -> tuple[Metrics, CollectorRegistry]:
    registry = CollectorRegistry()
    made = Metrics(NIGHT, registry)
    made.standing = Standing(0.0, SNAPSHOT, **standing)
    return made, registry


def told(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_documentation_lists_every_metric_that_is_served_with_its_type() -> None:
    made, registry = metrics(eta_s=3.0)
    made.ended(made.left(REQUEST), "200", 0.1)
    rows = re.findall(r"^\| `(simlift_\w+)` \| (\w+) \| [^|]+ \|", DOCUMENTED, re.MULTILINE)
    served = re.findall(r"^# TYPE (\S+) (\w+)$", generate_latest(registry).decode(), re.MULTILINE)
    assert sorted(rows) == sorted(served)


def test_every_metric_in_the_examples_is_a_metric_there_is() -> None:
    _, registry = metrics(eta_s=3.0)
    names = set(re.findall(r"^# TYPE (\S+)", generate_latest(registry).decode(), re.MULTILINE))
    rules = re.findall(r"expr:(.*?)\n +(?:for|annotations)", DOCUMENTED, re.DOTALL)
    used = re.findall(r"\bsimlift_\w+", " ".join(rules))
    assert len(used) >= 5
    assert set(used) <= names


def test_a_scrape_tells_how_the_run_stands() -> None:
    _, registry = metrics(rows_per_s=7.5, requests_per_s=1.5, eta_s=60.0)
    found = told(registry)
    assert found["simlift_rows_total", "succeeded"] == 75
    assert found["simlift_rows_total", "refused"] == 5
    assert found["simlift_rows_total", "in_doubt"] == 0
    assert found["simlift_done_ratio",] == 0.5
    assert found["simlift_rows_per_second",] == 7.5
    assert found["simlift_allowed_requests_per_second",] == 5.0
    assert found["simlift_concurrency_requests",] == 3
    assert found["simlift_concurrency_ceiling_requests",] == 16
    assert found["simlift_open_tickets_rows",] == 50
    assert found["simlift_eta_seconds",] == 60.0
    assert found["simlift_run_info", "night", "sim-express"] == 1


def test_a_time_left_that_nobody_knows_is_not_told() -> None:
    assert ("simlift_eta_seconds",) not in told(metrics()[1])


def test_before_the_run_stands_anyhow_a_scrape_is_answered() -> None:
    made, registry = metrics()
    made.standing = None
    assert ("simlift_run_info", "night", "sim-express") in told(registry)


def test_requests_are_counted_by_outcome_and_timed() -> None:
    made, registry = metrics()
    for outcome, seconds in (("200", 0.02), ("200", 0.3), ("timeout", 60.0)):
        made.ended(made.left(REQUEST), outcome, seconds)
    found = told(registry)
    assert (found["simlift_requests_total", "200"], found["simlift_requests_total", "timeout"]) == (2, 1)
    assert found["simlift_request_duration_seconds_count",] == 3
    assert found["simlift_request_duration_seconds_sum",] == pytest.approx(60.32)
    assert found["simlift_request_duration_seconds_bucket", "0.5"] == 2


def test_a_registry_is_served_from_the_start_and_no_longer_than_its_context() -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    url = f"http://127.0.0.1:{port}/metrics"
    with served(port, "127.0.0.1") as registry:
        assert urllib.request.urlopen(url, timeout=5).read() == b""
        Metrics(NIGHT, registry)
        assert b'run_id="night"' in urllib.request.urlopen(url, timeout=5).read()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=5)


def test_a_port_that_is_taken_is_a_mistake_of_usage() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(UsageError, match=f"--metrics-port {port}: cannot be served"),
            served(port, "127.0.0.1"),
        ):
            pass
