"""Spans as they are made: one for a request, with where it belongs and nothing of what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from structlog.contextvars import bound_contextvars

from pipeline.tracing import provider_from_environment, secrets_in_environment, spans_of
from pipeline.wire import Request

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

REQUEST = Request("PATCH", "/v2/bulk?token=abc", {"Authorization": "Bearer abc"}, b'{"iccid":"8935711"}')


def made(outcome: str) -> ReadableSpan:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with spans_of(provider, "night") as spans, bound_contextvars(batch=7, attempt=2, other="secret"):
        spans.ended(spans.left(REQUEST), outcome, 0.1)
    (span,) = exporter.get_finished_spans()
    return span


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("200", StatusCode.UNSET), ("503", StatusCode.ERROR), ("timeout", StatusCode.ERROR)],
)
def test_a_span_says_how_the_request_ended(outcome: str, status: StatusCode) -> None:
    span = made(outcome)
    assert (span.name, span.kind, span.status.status_code) == ("simlift.request", SpanKind.CLIENT, status)
    code = {"http.response.status_code": int(outcome)} if outcome.isdigit() else {}
    assert dict(span.attributes or {}) == code | {
        "http.request.method": "PATCH",
        "simlift.run_id": "night",
        "simlift.batch": 7,
        "simlift.attempt": 2,
        "simlift.outcome": outcome,
    }


def test_nothing_is_traced_where_no_place_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert provider_from_environment() is None


def test_what_the_collector_knows_us_by_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc=,x-api-key=k3y")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", raising=False)
    assert secrets_in_environment() == ["abc=", "k3y"]
