"""Receives OTLP over HTTP on this machine, as a collector would, and keeps it. Needs the `otel` extra."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.serving import Serving

KINDS: dict[str, Any] = {"/v1/traces": ExportTraceServiceRequest, "/v1/metrics": ExportMetricsServiceRequest}


class Receiver(Serving):
    """A collector; `with` it. `requests` are the parsed messages by path; `status` is what it answers."""

    def __init__(self) -> None:
        self.requests: dict[str, list[Any]] = {path: [] for path in KINDS}
        self.bodies: list[bytes] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.bodies.append(body)
                message = KINDS[self.path]()
                message.ParseFromString(body)
                receiver.requests[self.path].append(message)
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        super().__init__(Handler)

    def spans(self) -> list[Any]:
        """Return all spans that came."""
        return [
            span
            for request in self.requests["/v1/traces"]
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> dict[str, Any]:
        """Return the metrics of the last request by name."""
        (resource,) = self.requests["/v1/metrics"][-1].resource_metrics
        return {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}


def facts(span: Any) -> dict[str, Any]:
    """Return a span's attributes."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}
