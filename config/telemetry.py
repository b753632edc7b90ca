"""Whether OpenTelemetry is wanted, and what its two users share: the worker's spans, and the monitor's metrics.

It is configured by its own standard variables (`OTEL_…`), not by our settings. Nothing of it is imported unless
`OTEL_EXPORTER_OTLP_ENDPOINT` is set, and what goes wrong with it never stops work.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from threading import Lock
from typing import Any, Literal

log = logging.getLogger(__name__)

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"

COMPLAIN_EVERY_S = 60.0

TIMEOUT_S = 3.0
"""For sending once, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise: the end of a process waits for it."""


def telemetry_wanted(signal: Literal["traces", "metrics"], environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether a signal is to be sent. Where the packages for it are missing, warn and say no."""
    environ = os.environ if environ is None else environ
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if off or not environ.get(ENDPOINT) or environ.get(f"OTEL_{signal.upper()}_EXPORTER", "otlp") == "none":
        return False
    if not _installed():
        log.warning("otel.missing", extra={"remedy": "pip install 'paceline[otel]'"})
        return False
    return True


def _installed() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


def telemetry_resource() -> Any:
    """Name this process to whoever receives its telemetry; `OTEL_SERVICE_NAME` and its like come first."""
    from opentelemetry.sdk.resources import Resource

    # What the SDK has to say quotes foreign answers; `Complaints` says the same in our words.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
    ours = {"service.version": version("paceline"), "service.instance.id": f"{socket.gethostname()}:{os.getpid()}"}
    if "OTEL_SERVICE_NAME" not in os.environ and "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        ours["service.name"] = "paceline"
    return Resource.create(ours)


def timeout_s() -> float | None:
    """Return how long sending may take; None where OpenTelemetry's own variables say it."""
    return (
        None if any(name.startswith("OTEL_EXPORTER_OTLP_") and "TIMEOUT" in name for name in os.environ) else TIMEOUT_S
    )


class Complaints:
    """Says that sending failed, once a minute at the most. Thread-safe."""

    def __init__(self, signal: str) -> None:
        self._signal = signal
        self._lock = Lock()
        self._next = 0.0

    def failed(self) -> None:
        """Note a failure."""
        with self._lock:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + COMPLAIN_EVERY_S
        log.warning("otel.not_sent", extra={"signal": self._signal})
