"""A run watched from outside while it lasts: scraped by HTTP, traced by OTLP, its log on standard error."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import urllib.request
from typing import TYPE_CHECKING, Any

import inventories
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families
from receivers import receiving
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from program import Process, Program
    from receivers import Answer, Received, Receiver
    from vendors import Vendor

    StartVendor = Callable[..., Vendor]

Figures = dict[tuple[str, str], float]
SLOW = {"batch_items": 10, "requests_per_second": 20.0}


def delivery(simlift: Program, count: int) -> Path:
    return inventories.write(simlift.folder / "delivery.csv", inventories.rows(count))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def taken(_received: Received) -> Answer:
    return 200, {}, b""


# ---------------------------------------------------------------- metrics


def scraped(port: int) -> Figures:
    """Scrape once; give each sample by its name and the value of its only label."""
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    except OSError:
        return {}
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.name != "simlift_run_info"
    }


def total(figures: Figures, name: str) -> float:
    return sum(value for (found, _), value in figures.items() if found == name)


def test_a_scrape_sees_the_run_go_on_and_agrees_with_its_summary_at_the_end(
    simlift: Program, start_vendor: StartVendor
) -> None:
    vendor = start_vendor(faults='fault = [{ kind = "refuse_items", item_share = 0.2 }]\n')
    port, seen, at_the_end = free_port(), [], []

    def heard(received: Received) -> Answer:
        if json.loads(received.body)["event"] == "end":
            at_the_end.append(scraped(port))
        return 200, {}, b""

    with receiving(heard) as hook:
        rest = f'[notify]\nwebhook = "{hook.url}/hook"\n'
        job = simlift.job(vendor.url, rest=rest, **SLOW)
        run = ("run", delivery(simlift, 600), "--job", job, "--run-id", "night")
        process = simlift.start(*run, "--metrics-port", str(port))
        while process.running:
            seen.append(scraped(port))
        ended = process.end()

    assert ended.code == 1, ended
    seen = [figures for figures in seen if figures]
    assert len({total(figures, "simlift_rows_total") for figures in seen}) > 2, "it never moved"
    for counter in ("simlift_rows_total", "simlift_rows_read_total", "simlift_requests_total"):
        values = [total(figures, counter) for figures in seen]
        assert values == sorted(values), counter
    summary, (last,) = simlift.summary("night"), at_the_end
    statuses = {status: n for (name, status), n in last.items() if name == "simlift_rows_total"}
    assert statuses == summary["counts"]
    assert last["simlift_rows_read_total", ""] == summary["rows_read"] == 600
    assert last["simlift_batches_total", ""] == summary["batches"]
    assert last["simlift_done_ratio", ""] == 1.0
    assert last["simlift_in_flight_requests", ""] == last["simlift_waiting_rows", ""] == 0
    outcomes = {outcome: n for (name, outcome), n in last.items() if name == "simlift_requests_total"}
    assert outcomes == {"200": summary["requests"]}
    assert last["simlift_request_duration_seconds_count", ""] == summary["requests"]


def test_a_run_that_is_held_is_scraped_as_well(simlift: Program, start_vendor: StartVendor) -> None:
    port = free_port()
    job = simlift.job(start_vendor().url, **SLOW)
    run = ("run", delivery(simlift, 3000), "--job", job, "--run-id", "night")
    process = simlift.start(*run, "--metrics-port", str(port))
    until(lambda: total(scraped(port), "simlift_rows_total"), bool, "rows")
    assert simlift("hold", "night").code == 0
    found = until(lambda: scraped(port), lambda figures: figures.get(("simlift_held", "")) == 1, "held")
    assert found["simlift_paused", ""] == 1
    process.signal(signal.SIGTERM)
    assert process.end().code == 143


def test_where_the_port_is_taken_nothing_is_written_and_nothing_sent(
    simlift: Program, quiet_vendor: Vendor
) -> None:
    before = quiet_vendor.requests
    with receiving(taken) as other:
        port = other.url.rpartition(":")[2]
        run = ("run", delivery(simlift, 5), "--job", simlift.job(quiet_vendor.url), "--run-id", "night")
        ended = simlift(*run, "--metrics-port", port)
    assert ended.code == 2
    assert ended.err == (
        f"simlift: --metrics-port {port}: cannot be served at 127.0.0.1: Address already in use; "
        "choose another port or --metrics-host\n"
    )
    assert not (simlift.runs / "night").exists()
    assert quiet_vendor.requests == before


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b"])
def test_a_host_that_is_none_is_said_in_one_line(simlift: Program, quiet_vendor: Vendor, host: str) -> None:
    run = ("run", delivery(simlift, 5), "--job", simlift.job(quiet_vendor.url), "--metrics-host", host)
    ended = simlift(*run, "--metrics-port", "9464")
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended
    assert not simlift.runs.exists()


# ---------------------------------------------------------------- spans


def spans(collector: Receiver) -> list[dict[str, Any]]:
    """Give the attributes of every span that arrived, with its name and kind."""
    found = []
    for received in collector.received:
        assert (received.path, received.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
        for resource in ExportTraceServiceRequest.FromString(received.body).resource_spans:
            service = {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"]
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                values = {a.key: a.value.string_value or a.value.int_value for a in span.attributes}
                took_ns = span.end_time_unix_nano - span.start_time_unix_nano
                found.append(values | {"": (service, span.name, span.kind, span.status.code, took_ns > 0)})
    return found


def test_each_request_is_one_span_with_its_batch_and_attempt_and_nothing_of_its_content(
    simlift: Program, start_vendor: StartVendor
) -> None:
    vendor = start_vendor(faults='fault = [{ kind = "status", status = 503, share = 0.3 }]\n')
    with receiving(taken) as collector:
        run = ("run", delivery(simlift, 100), "--job", simlift.job(vendor.url, batch_items=10, attempts=30))
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        ended = simlift(*run, "--run-id", "night", environment=environment)
    assert ended.code == 0, ended
    found, summary = spans(collector), simlift.summary("night")
    assert len(found) == summary["requests"] == vendor.requests
    assert {span["simlift.run_id"] for span in found} == {"night"}
    assert sorted({span["simlift.batch"] for span in found}) == list(range(1, summary["batches"] + 1))
    first, again = ([s for s in found if (s["simlift.attempt"] > 1) == more] for more in (False, True))
    assert len(first) >= 10
    assert again
    for span in found:
        status = span["http.response.status_code"]
        assert span[""] == ("simlift", "simlift.request", 3, 0 if status == 200 else 2, True)
        assert span.keys() == {
            "", "http.request.method", "http.response.status_code", "simlift.run_id", "simlift.batch",
            "simlift.attempt", "simlift.outcome",
        }  # fmt: skip
    assert {span["http.response.status_code"] for span in found} == {200, 503}


def gone(_received: Received) -> Answer:
    return 503, {}, b"later"


@pytest.mark.parametrize("way", ["away", "overloaded"])
def test_a_collector_that_takes_nothing_costs_a_run_a_few_seconds_and_a_line_in_its_log(
    simlift: Program, quiet_vendor: Vendor, way: str
) -> None:
    with receiving(gone) as collector:
        url = collector.url if way == "overloaded" else f"http://127.0.0.1:{free_port()}"
        run = ("run", delivery(simlift, 40), "--job", simlift.job(quiet_vendor.url), "--run-id", "night")
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "10"}
        ended = simlift(*run, environment=environment)
    assert ended.code in (0, 1), ended
    assert "Traceback" not in ended.err
    assert "opentelemetry" not in ended.err
    assert simlift.summary("night")["duration_s"] < 4
    assert any("opentelemetry" in line.get("library", "") for line in simlift.log("night"))


def test_without_opentelemetry_a_run_that_should_be_traced_says_so_before_anything_is_written(
    simlift: Program, quiet_vendor: Vendor
) -> None:
    missing = simlift.folder / "without" / "opentelemetry"
    missing.mkdir(parents=True)
    (missing / "__init__.py").write_text("raise ImportError('not installed')\n", "utf-8")
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": str(missing.parent)}
    run = ("run", delivery(simlift, 5), "--job", simlift.job(quiet_vendor.url), "--run-id", "night")
    ended = simlift.start(*run, warm=False, environment=environment).end()
    assert ended.code == 2
    assert ended.err == (
        "simlift: OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed; "
        "install simlift[otel], or unset it\n"
    )
    assert not simlift.runs.exists()


# ---------------------------------------------------------------- the log


def test_every_line_of_the_log_bears_the_run_and_what_concerns_a_batch_its_number_and_attempt(
    simlift: Program, start_vendor: StartVendor
) -> None:
    vendor = start_vendor(faults='fault = [{ kind = "status", status = 401, share = 0.2 }]\n')
    run = ("run", delivery(simlift, 400), "--job", simlift.job(vendor.url), "--run-id", "night")
    assert simlift(*run).code == 3
    lines = simlift.log("night")
    assert {line["run"] for line in lines} == {"night"}
    of_batches = [line for line in lines if line["event"] in ("no answer for the items", "stopping")]
    assert {line["event"] for line in of_batches} == {"no answer for the items", "stopping"}
    for line in of_batches:
        assert line["batch"] >= 1, line
        assert line["attempt"] == 1, line


def started(simlift: Program, vendor: Vendor, *words: str, **environment: str) -> Process:
    job = simlift.job(vendor.url, batch_items=10, requests_per_second=3.0)
    run = ("run", delivery(simlift, 1000), "--job", job, "--run-id", "night")
    return simlift.start(*run, *words, environment=environment)


def test_as_json_the_log_is_all_there_is_on_standard_error_and_tells_the_progress(
    simlift: Program, quiet_vendor: Vendor
) -> None:
    process = started(simlift, quiet_vendor, "--log", "json")
    until(lambda: simlift.runs.exists() and "night" in simlift("status").out, bool, "the run")
    process.signal(signal.SIGTERM)
    ended = process.end()
    assert ended.code == 143
    lines = [json.loads(line) for line in ended.err.splitlines()]
    assert lines == simlift.log("night")
    (progress,) = [line for line in lines if line["event"] == "progress"]
    assert {"share", "settled", "rows_per_s", "eta_s", "holding"} <= progress.keys()
    assert {"run ended", "stopping"} <= {line["event"] for line in lines}


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"NO_COLOR": "", "TERM": "xterm"}])
def test_on_the_console_the_log_is_words_without_colours_where_there_is_no_terminal(
    simlift: Program, quiet_vendor: Vendor, environment: dict[str, str]
) -> None:
    process = started(simlift, quiet_vendor, "--log", "console", **environment)
    process.signal(signal.SIGTERM)
    ended = process.end()
    assert "\x1b" not in ended.err
    for line in ended.err.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[(info|warning) *\] ", line), line


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({"NO_COLOR": "", "TERM": "xterm-256color"}, True),
        ({"NO_COLOR": "1", "TERM": "xterm-256color"}, False),
        ({"NO_COLOR": "", "TERM": "dumb"}, False),
    ],
)
def test_on_a_terminal_the_log_has_colours_where_they_are_wanted(
    *, simlift: Program, quiet_vendor: Vendor, environment: dict[str, str], coloured: bool
) -> None:
    ours, its = os.openpty()
    run = ("run", delivery(simlift, 20), "--job", simlift.job(quiet_vendor.url), "--log", "console")
    process = simlift.start(*run, environment=environment, stderr=its)
    process.end()
    os.close(its)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "run ended" in shown
    assert ("\x1b[3" in shown) == coloured
