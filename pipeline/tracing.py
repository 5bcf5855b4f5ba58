"""OpenTelemetry: one span per request, where the extra `otel` is installed and an exporter is configured.

Where spans go is said by the standard variables, such as OTEL_EXPORTER_OTLP_ENDPOINT.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import Tracer

    from pipeline.wire import Request

#: Either of these turns tracing on, as with every program that speaks OTLP.
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Spans:
    """A RequestObserver that makes a span of each request; nothing of its content goes into it."""

    def __init__(self, tracer: Tracer, run_id: str) -> None:
        self._tracer, self._run_id = tracer, run_id

    def left(self, request: Request) -> Any:
        """Begin a span."""
        bound = structlog.contextvars.get_contextvars()
        attributes = {"http.request.method": request.method, "simlift.run_id": self._run_id}
        attributes |= {f"simlift.{name}": bound[name] for name in ("batch", "attempt") if name in bound}
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - an extra

        return self._tracer.start_span("simlift.request", kind=SpanKind.CLIENT, attributes=attributes)

    def ended(self, token: Any, outcome: str, seconds: float) -> None:  # noqa: ARG002 - of the protocol
        """End the span."""
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - an extra

        token.set_attribute("simlift.outcome", outcome)
        if outcome.isdigit():
            token.set_attribute("http.response.status_code", int(outcome))
        if not outcome.startswith("2"):
            token.set_status(StatusCode.ERROR, outcome)
        token.end()


def is_asked_for() -> bool:
    """Tell whether the environment names a place for traces."""
    return any(os.environ.get(name) for name in _ENDPOINTS)


@contextmanager
def traced_to_otlp(run_id: str) -> Iterator[Spans]:
    """Send spans by OTLP over HTTP for as long as the context lasts. Raises UsageError without the extra."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra
    except ImportError:
        raise UsageError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed; "
            "install simlift[otel], or unset it"
        ) from None
    provider = TracerProvider(resource=Resource.create({"service.name": "simlift"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield Spans(provider.get_tracer("simlift"), run_id)
    finally:
        provider.shutdown()
