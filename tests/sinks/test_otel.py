"""OpenTelemetry's real SDK and exporter, against a receiver on this machine."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from config import telemetry
from config.services import Services
from monitor.catalog import CATALOG, Kind
from monitor.metrics import Reader
from monitor.otlp import Pusher
from paceline.model import Follow, Outcome, Step
from tests.support.otlp_receiver import Receiver, facts
from tests.support.scrape import settings_for, url_of
from tests.support.world import World
from worker import runtime
from worker.tracing import Tracing


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with Receiver() as receiver:
        monkeypatch.setenv(telemetry.ENDPOINT, receiver.url)
        yield receiver


class Traced:
    """A world's runner whose steps are traced, as a worker's are."""

    def __init__(self, world: World, tracing: Tracing) -> None:
        self._runner = world.runner
        self._tracing = tracing

    def run(self, step: Step, *keys: str) -> list[Follow]:
        with self._tracing.steps(step, keys):
            return self._runner.run(step, *keys)

    def rescue(self) -> list[Follow]:
        return self._runner.rescue()


def traced(world: World) -> Tracing:
    tracing = Tracing(cast("Services", SimpleNamespace(ledger=world.ledger, views=world.views)))
    world.runner = cast("Any", Traced(world, tracing))
    return tracing


def test_all_spans_of_a_submission_are_in_the_trace_of_its_id(receiver: Receiver) -> None:
    world = World()
    world.provider.outcome = lambda external: Outcome.FAILED if external.endswith("2") else Outcome.SUCCEEDED
    tracing = traced(world)
    batch = world.plan(2)
    world.run()
    tracing.close()

    for number, outcome in ((1, "succeeded"), (2, "failed")):
        name = f"{batch}-{number:06d}"
        trace = hashlib.sha256(f"paceline:{name}".encode()).digest()[:16]
        spans = {span.name: span for span in receiver.spans() if span.trace_id == trace}
        assert set(spans) == {"paceline.submit", "paceline.run", "paceline.export"}
        assert facts(spans["paceline.submit"])["paceline.state.before"] == "planned"
        assert facts(spans["paceline.submit"])["paceline.state"] == "running"
        run = facts(spans["paceline.run"])
        assert (run["paceline.submission"], run["paceline.outcome"]) == (name, outcome)
        assert (run["paceline.account"], run["paceline.agent"], run["paceline.attempt"]) == ("fake", "7", 1)
        assert spans["paceline.run"].status.code == (2 if outcome == "failed" else 0)
        item = world.views.submission(name)
        assert item.finished_ms is not None
        assert item.submitted_ms is not None
        length_ns = spans["paceline.run"].end_time_unix_nano - spans["paceline.run"].start_time_unix_nano
        assert length_ns == (item.finished_ms - item.submitted_ms) * 1_000_000

    others = {span.name for span in receiver.spans()} - {"paceline.submit", "paceline.run", "paceline.export"}
    assert {"paceline.feed", "paceline.poll", "paceline.close"} <= others
    (resource,) = {request.SerializeToString() for message in receiver.requests["/v1/traces"]
                   for request in [message.resource_spans[0].resource]}  # fmt: skip
    assert b"service.name" in resource


def test_spans_hold_no_path_and_no_text_of_an_error(receiver: Receiver) -> None:
    world = World()

    def fail(_file: object) -> None:
        raise RuntimeError("canary-text")

    world.root.problem = fail
    tracing = traced(world)
    batch = world.plan(1)
    with pytest.raises(RuntimeError, match="canary-text"):
        world.run()
    tracing.close()

    (span,) = (span for span in receiver.spans() if span.name == "paceline.submit")
    assert (span.status.code, span.status.message) == (2, "RuntimeError")
    sent = b"".join(receiver.bodies)
    assert batch.encode() in sent
    for secret in (b"canary", b"/files", b"/out", b"1.txt"):
        assert secret not in sent


def test_a_receiver_that_refuses_stops_nothing_and_is_complained_of_once(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 400
    world = World()
    tracing = traced(world)
    batch = world.plan(3)
    with caplog.at_level(logging.WARNING):
        world.run()
        tracing._provider.force_flush()
        with tracing.step(Step.FEED, "fake"):
            pass
        tracing.close()

    assert world.states(batch) == {"exported": 3}
    assert [record.getMessage() for record in caplog.records if record.name.startswith(("otel", "opentel"))] == []
    assert [record.getMessage() for record in caplog.records].count("otel.not_sent") == 1
    assert len(receiver.bodies) >= 2


def test_a_worker_traces_only_if_it_is_told_where_to(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    opened = runtime._open_tracing(cast("Services", SimpleNamespace()))
    assert isinstance(opened, Tracing)
    opened.close()
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    assert runtime._open_tracing(cast("Services", SimpleNamespace())) is None


def test_the_metrics_of_the_catalog_are_sent_as_they_are(real_redis: Any, tmp_path: Path, receiver: Receiver) -> None:
    world = World(real_redis)
    world.provider.run_s = 45.0
    world.plan(4)
    world.run()

    Pusher(Reader(settings_for(tmp_path, url_of(real_redis)))).send()

    found = receiver.metrics()
    kinds = {Kind.GAUGE: "gauge", Kind.COUNTER: "sum", Kind.HISTOGRAM: "histogram"}
    catalog = {metric.name: metric for metric in CATALOG}
    assert len(found) > 20
    for name, metric in found.items():
        assert metric.WhichOneof("data") == kinds[catalog[name].kind]
    assert found["paceline_credits_total"].sum.is_monotonic
    verbs = {facts(point)["verb"]: point.as_int for point in found["paceline_transitions_total"].sum.data_points}
    assert verbs["accepted"] == 4
    (runs,) = found["paceline_run_duration_seconds"].histogram.data_points
    assert (runs.count, sum(runs.bucket_counts)) == (4, 4)
    assert len(runs.bucket_counts) == len(runs.explicit_bounds) + 1
    assert facts(runs) == {"account": "fake"}
