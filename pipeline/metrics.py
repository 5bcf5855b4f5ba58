"""Prometheus metrics of one run, served while it lasts. Names and units are listed in docs/metrics.md."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from pipeline.model import RunRecord
    from pipeline.standing import Standing
    from pipeline.wire import Request

_ROUND_TRIPS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """What a scrape sees: how the run stood a moment ago, and every request since the process began.

    A RequestObserver and a collector of `registry`. Scrapes come on threads of their own, so what they see of
    the run is the last `standing` that was taken by its event loop.
    """

    def __init__(self, record: RunRecord, registry: CollectorRegistry) -> None:
        self._record = record
        self.standing: Standing | None = None
        disable_created_metrics()  # type: ignore[no-untyped-call]  # when a counter began says nothing here
        self._requests = Counter(
            "simlift_requests", "Requests that ended, by outcome.", ["outcome"], registry=registry
        )
        self._seconds = Histogram(
            "simlift_request_duration_seconds",
            "From the moment a request left to its end.",
            buckets=_ROUND_TRIPS_S,
            registry=registry,
        )
        registry.register(self)

    def left(self, request: Request) -> None:
        """Nothing is known of a request yet."""

    def ended(self, token: object, outcome: str, seconds: float) -> None:  # noqa: ARG002 - of the protocol
        """Count a request."""
        self._requests.labels(outcome).inc()
        self._seconds.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield how the run stands."""
        facts = {"run_id": self._record.run_id, "target": self._record.target}
        yield InfoMetricFamily("simlift_run", "The run that this process carries out.", facts)
        standing = self.standing
        if standing is None:
            return
        now = standing.snapshot
        rows = CounterMetricFamily("simlift_rows", "Rows with a final status.", labels=["status"])
        for status, count in now.counts.items():
            rows.add_metric([str(status)], count)
        yield rows
        yield CounterMetricFamily("simlift_rows_read", "Rows of the inventory read so far.", now.rows_read)
        yield CounterMetricFamily("simlift_batches", "Batches claimed.", now.batches)
        gauges = {
            "simlift_done_ratio": ("Share of rows with a final status.", now.share),
            "simlift_rows_per_second": ("Rows settled, over half a minute.", standing.rows_per_s),
            "simlift_requests_per_second": ("Requests sent, over half a minute.", standing.requests_per_s),
            "simlift_allowed_requests_per_second": ("Requests allowed just now.", now.rate_per_s),
            "simlift_in_flight_requests": ("Requests without an answer yet.", now.in_flight),
            "simlift_concurrency_requests": ("Requests allowed at once just now.", now.concurrency),
            "simlift_concurrency_ceiling_requests": ("The most they may be.", now.ceiling),
            "simlift_waiting_rows": ("Rows that wait to go out again.", now.waiting),
            "simlift_open_tickets_rows": ("Rows accepted and not finished.", now.open_tickets),
            "simlift_held": ("1 while something holds the run altogether.", float(bool(now.holding))),
            "simlift_paused": ("1 while only a person can release it.", float(now.paused)),
        }
        if standing.eta_s is not None:
            gauges["simlift_eta_seconds"] = ("Estimated time left.", standing.eta_s)
        for name, (words, value) in gauges.items():
            yield GaugeMetricFamily(name, words, value)


@contextmanager
def served(port: int, host: str) -> Iterator[CollectorRegistry]:
    """Serve a registry at /metrics for as long as the context lasts: empty at first. Raises UsageError."""
    registry = CollectorRegistry()
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except (OSError, UnicodeError) as error:
        why = (isinstance(error, OSError) and error.strerror) or "that is no address"
        raise UsageError(
            f"--metrics-port {port}: cannot be served at {host}: {why}; choose another port or --metrics-host"
        ) from None
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
