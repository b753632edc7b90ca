"""Spans for OpenTelemetry: one for each step, and one for each run, all of a submission in one trace.

The trace id of a submission comes from its id, so that whoever knows one finds the other, whichever machine sent the
span. Attributes are ids, states and words of ours: no path, no key, no text of a provider or an exception.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanKind, Status, StatusCode
from redis.exceptions import RedisError

from config.services import Services
from config.telemetry import Complaints, telemetry_resource, timeout_s
from paceline.errors import LedgerError
from paceline.model import Outcome, State, Step, Submission, batch_of, split_agent_key

_trace: ContextVar[int | None] = ContextVar("trace", default=None)

_OF_SUBMISSION = (Step.SUBMIT, Step.EXPORT)
_OF_BATCH = (Step.CLOSE, Step.CANCEL)


def trace_id(key: str) -> int:
    """Return the trace of a submission or a batch: the first 16 bytes of the SHA-256 of `paceline:` and its id."""
    return int.from_bytes(hashlib.sha256(f"paceline:{key}".encode()).digest()[:16], "big") or 1


class _Ids(RandomIdGenerator):  # type: ignore[misc]  # the packages are optional, and unknown to the type checker
    """Gives the trace id that is chosen, else a random one."""

    def generate_trace_id(self) -> int:
        chosen = _trace.get()
        return int(super().generate_trace_id()) if chosen is None else chosen


class _Sending(SpanExporter):  # type: ignore[misc]
    """Sends spans, and says in our words that it failed."""

    def __init__(self) -> None:
        self._inner = OTLPSpanExporter(timeout=timeout_s())
        self._complaints = Complaints("traces")

    def export(self, spans: Any) -> Any:
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._complaints.failed()
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return bool(self._inner.force_flush(timeout_millis))


class Tracing:
    """Makes the spans of one process and sends them from a thread of its own. Thread-safe; make it after a fork."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._provider = TracerProvider(resource=telemetry_resource(), id_generator=_Ids())
        self._provider.add_span_processor(BatchSpanProcessor(_Sending()))
        self._tracer = self._provider.get_tracer("paceline")

    @contextmanager
    def step(self, step: Step, key: str) -> Iterator[None]:
        """Make a span of what happens inside. Whatever that raises is passed on, its kind noted."""
        before = self._find(step, key)
        name = f"paceline.{step}"
        of_trace = trace_id(key) if step in (*_OF_SUBMISSION, *_OF_BATCH) else None
        span = self._start(name, of_trace, self._of_key(step, key), kind=SpanKind.CONSUMER)
        try:
            yield
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        else:
            after = self._find(step, key)
            if before is not None and after is not None:
                span.set_attributes({"paceline.state.before": before.state.value, **_facts(after)})
                if before.state is State.FINISHED and after.state is State.EXPORTED:
                    self._run(after)
        finally:
            span.end()

    @contextmanager
    def steps(self, step: Step, keys: Sequence[str]) -> Iterator[None]:
        """Make a span for each key of one turn, as long as the turn."""
        with ExitStack() as spans:
            for key in keys:
                spans.enter_context(self.step(step, key))
            yield

    def close(self) -> None:
        """Send what waits, and end. The end of the process does it too."""
        self._provider.shutdown()

    def _start(self, name: str, of_trace: int | None, facts: Mapping[str, Any], **options: Any) -> Any:
        token = _trace.set(of_trace)
        try:
            # A context of its own: whatever else makes spans in this process must not become their parent.
            return self._tracer.start_span(name, Context(), attributes=dict(facts), **options)
        finally:
            _trace.reset(token)

    def _run(self, item: Submission) -> None:
        """Make the span of a run that has its record now: from its start at the provider to our knowing its end."""
        if item.submitted_ms is None or item.finished_ms is None:
            return
        facts = {**self._of_key(Step.EXPORT, item.id), **_facts(item)}
        start, end = item.submitted_ms, max(item.submitted_ms, item.finished_ms)
        span = self._start("paceline.run", trace_id(item.id), facts, start_time=start * 1_000_000, kind=SpanKind.CLIENT)
        if item.outcome is Outcome.FAILED:
            span.set_status(Status(StatusCode.ERROR, item.reason or ""))
        span.end(end_time=end * 1_000_000)

    def _of_key(self, step: Step, key: str) -> dict[str, str]:
        """Say what a step's key names. What the ledger can't say is left out."""
        facts = {"paceline.step": step.value}
        if step in (*_OF_SUBMISSION, *_OF_BATCH):
            batch = batch_of(key) if step in _OF_SUBMISSION else key
            facts["paceline.batch"] = batch
            if step in _OF_SUBMISSION:
                facts["paceline.submission"] = key
            with suppress(LedgerError, RedisError):
                facts["paceline.account"], facts["paceline.agent"] = self._services.ledger.place(batch)
            return facts
        facts["paceline.account"], agent = split_agent_key(key)
        return facts | ({"paceline.agent": agent} if agent else {})

    def _find(self, step: Step, key: str) -> Submission | None:
        if step not in _OF_SUBMISSION:
            return None
        with suppress(RedisError):
            return self._services.views.find_submission(key)
        return None


def _facts(item: Submission) -> dict[str, Any]:
    facts = {
        "paceline.state": item.state.value,
        "paceline.attempt": item.attempt,
        "paceline.files": item.files,
        "paceline.size_bytes": item.size_bytes,
        "paceline.outcome": item.outcome.value if item.outcome else None,
        "paceline.reason": item.reason,
        "paceline.credits": item.credits,
        "paceline.run": item.run_id,
    }
    return {name: value for name, value in facts.items() if value is not None}
