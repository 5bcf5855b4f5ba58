"""OpenTelemetry: one span per request, where the extra `otel` is installed and an exporter is configured.

Where spans go is said by the standard variables, such as OTEL_EXPORTER_OTLP_ENDPOINT. What cannot be
delivered is logged, and given up: it neither holds up nor ends a run.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import structlog

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

    from pipeline.wire import Request

#: Either of these turns tracing on, as with every program that speaks OTLP.
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_NAME = "OTEL_SERVICE_NAME"
PATIENCE_S = 5.0  # for the last spans, once the run has ended

log = structlog.get_logger(__name__)


class Spans:
    """A RequestObserver that makes a span of each request; nothing of its content goes into it."""

    def __init__(self, tracer: Tracer, run_id: str) -> None:
        from opentelemetry.trace import SpanKind, StatusCode  # noqa: PLC0415 - an extra

        self._tracer, self._run_id = tracer, run_id
        self._client, self._error = SpanKind.CLIENT, StatusCode.ERROR

    def left(self, request: Request) -> Any:
        """Begin a span."""
        bound = structlog.contextvars.get_contextvars()
        attributes = {"http.request.method": request.method, "simlift.run_id": self._run_id}
        attributes |= {f"simlift.{name}": bound[name] for name in ("batch", "attempt") if name in bound}
        return self._tracer.start_span("simlift.request", kind=self._client, attributes=attributes)

    def ended(self, token: Any, outcome: str, seconds: float) -> None:  # noqa: ARG002 - of the protocol
        """End the span."""
        token.set_attribute("simlift.outcome", outcome)
        if outcome.isdigit():
            token.set_attribute("http.response.status_code", int(outcome))
        if not outcome.startswith("2"):
            token.set_status(self._error, outcome)
        token.end()


def provider_from_environment() -> TracerProvider | None:
    """Make what sends spans by OTLP over HTTP, where the environment names a place. Raises UsageError."""
    named = next((name for name in _ENDPOINTS if os.environ.get(name)), "")
    if not named:
        return None
    # Without a handler Python prints what a library logs; the run's log takes it from the root instead.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra

        resource = Resource.create({"service.name": os.environ.get(_NAME) or "simlift"})
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except ImportError:
        raise UsageError(
            f"{named} is set, and OpenTelemetry is not installed; install simlift[otel], or unset it"
        ) from None
    except ValueError as error:
        raise UsageError(f"{named} is set, and another OTEL_ variable is wrong: {error}") from None
    return provider


def secrets_in_environment() -> list[str]:
    """Give what the collector knows us by."""
    pairs = [pair for name in _HEADERS for pair in os.environ.get(name, "").split(",")]
    return [word for pair in pairs for word in unquote(pair.partition("=")[2]).split()[-1:]]


@contextmanager
def spans_of(provider: TracerProvider, run_id: str) -> Iterator[Spans]:
    """Make spans of a run for as long as the context lasts; on its way out the last ones are delivered."""
    try:
        yield Spans(provider.get_tracer("simlift"), run_id)
    finally:
        # With the collector away it would try for half a minute.
        last = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        last.start()
        last.join(PATIENCE_S)
        if last.is_alive():
            log.warning("the last spans could not be delivered", waited_s=PATIENCE_S)
