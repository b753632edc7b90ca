"""OpenTelemetry is used if its endpoint is set and its packages are there, and costs nothing otherwise."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from config import telemetry
from config.telemetry import ENDPOINT, Complaints, telemetry_wanted

URL = {ENDPOINT: "http://127.0.0.1:4318"}


def test_without_an_endpoint_it_is_not_even_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_installed", lambda: pytest.fail("looked for"))
    assert not telemetry_wanted("traces", {})
    assert not telemetry_wanted("traces", {ENDPOINT: ""})


@pytest.mark.parametrize(
    ("variables", "traces", "metrics"),
    [
        ({}, True, True),
        ({"OTEL_SDK_DISABLED": "true"}, False, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, False, True),
        ({"OTEL_METRICS_EXPORTER": "none"}, True, False),
    ],
)
def test_its_own_variables_switch_it_off(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], traces: bool, metrics: bool
) -> None:
    monkeypatch.setattr(telemetry, "_installed", lambda: True)
    assert telemetry_wanted("traces", URL | variables) is traces
    assert telemetry_wanted("metrics", URL | variables) is metrics


def test_without_the_packages_the_extra_is_named_and_work_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with caplog.at_level(logging.WARNING):
        assert not telemetry_wanted("traces", URL)
    (record,) = caplog.records
    assert record.getMessage() == "otel.missing"
    assert record.__dict__["remedy"] == "pip install 'paceline[otel]'"


def test_failures_in_a_row_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints("traces")
    with caplog.at_level(logging.WARNING):
        complaints.failed()
        complaints.failed()
    assert [record.getMessage() for record in caplog.records] == ["otel.not_sent"]


def test_a_worker_without_an_endpoint_imports_nothing_of_ours_for_it() -> None:
    code = (
        "import sys, worker.runtime, monitor.metrics\n"
        "assert worker.runtime._open_tracing(None) is None\n"
        "print([name for name in sys.modules if name in ('worker.tracing', 'monitor.otlp')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    assert done.stdout == "[]\n", done.stderr
