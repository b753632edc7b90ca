"""The metrics of the catalog through OpenTelemetry: pushed from Flower's process, for those who have no Prometheus.

The SDK's instruments count by themselves and have no histogram that is read elsewhere; so the same samples that
`/metrics` gives are put into OpenTelemetry's form here, and handed to its exporter once a minute.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import export as otel
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from config.telemetry import Complaints, telemetry_resource, timeout_s
from monitor.catalog import Kind
from monitor.measuring import Sample
from monitor.metrics import Reader
from paceline.tallies import BOUNDS_S, Lengths

_UNITS = {"seconds": "s", "credits": "{credit}", "": "1"}


class Pusher(threading.Thread):
    """Sends every metric again and again, as long as the process lives."""

    def __init__(self, reader: Reader, every_s: float | None = None) -> None:
        super().__init__(name="paceline-otlp", daemon=True)
        self._reader = reader
        self._every_s = every_s or _interval_s()
        self._resource = telemetry_resource()
        self._exporter = OTLPMetricExporter(timeout=timeout_s())
        self._complaints = Complaints("metrics")
        self._over = threading.Event()

    def run(self) -> None:
        """Send until stopped."""
        while not self._over.wait(self._every_s):
            self.send()

    def send(self) -> None:
        """Send what the metrics are now."""
        data = metrics_data(self._reader.samples(), self._resource, time.time_ns())
        if self._exporter.export(data) is not otel.MetricExportResult.SUCCESS:
            self._complaints.failed()

    def stop(self) -> None:
        """End after the look under way."""
        self._over.set()


def _interval_s() -> float:
    """Return OpenTelemetry's own setting, in seconds; a minute where it is missing or no number."""
    text = os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")
    return int(text) / 1000 if text.isdecimal() and int(text) else 60.0


def metrics_data(samples: Sequence[Sample], resource: Any, at_ns: int) -> Any:
    """Put samples into OpenTelemetry's form; those of a metric must stand together, or it is sent in several parts."""
    ordered = sorted(samples, key=lambda sample: sample.metric.name)
    metrics = [
        otel.Metric(metric.name, metric.help, _UNITS[metric.unit], _data(metric.kind, list(found), at_ns))
        for metric, found in groupby(ordered, key=lambda sample: sample.metric)
    ]
    scope = otel.ScopeMetrics(InstrumentationScope("paceline"), metrics, "")
    return otel.MetricsData([otel.ResourceMetrics(resource, [scope], "")])


def _data(kind: Kind, samples: Sequence[Sample], at_ns: int) -> Any:
    always = otel.AggregationTemporality.CUMULATIVE
    match kind:
        case Kind.GAUGE:
            return otel.Gauge([_number(sample, at_ns) for sample in samples])
        case Kind.COUNTER:
            return otel.Sum([_number(sample, at_ns) for sample in samples], always, is_monotonic=True)
        case Kind.HISTOGRAM:
            return otel.Histogram([_histogram(sample, at_ns) for sample in samples], always)


def _labels(sample: Sample) -> dict[str, str]:
    return dict(zip(sample.metric.labels, sample.labels, strict=True))


def _number(sample: Sample, at_ns: int) -> Any:
    # No start: what is counted began long before this process.
    return otel.NumberDataPoint(_labels(sample), 0, at_ns, sample.value)


def _histogram(sample: Sample, at_ns: int) -> Any:
    assert isinstance(sample.value, Lengths)
    lengths = sample.value
    counts, total = list(lengths.counts), lengths.total
    return otel.HistogramDataPoint(
        _labels(sample), 0, at_ns, total, lengths.sum_s, counts, list(BOUNDS_S), min=None, max=None
    )
