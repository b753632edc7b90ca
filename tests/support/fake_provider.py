"""A provider in memory, on a clock that the test moves: accepts, runs, fails and lies on request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from paceline.errors import Ambiguous, ProviderError
from paceline.model import EndpointClass, Outcome, Rate, RunView, SizeLimits
from paceline.providers.base import Accepted, AgentInfo, Capabilities, SubmitRequest, Usage
from paceline.providers.kolena_kind import CAPABILITIES as KOLENA
from tests.support.seam import Seam

RATES = {
    EndpointClass.ADD: Rate(40, 60.0),
    EndpointClass.WAIT: Rate(40, 60.0),
    EndpointClass.GET: Rate(1200, 60.0),
    EndpointClass.LIST: Rate(1200, 60.0),
    EndpointClass.DELETE: Rate(1200, 60.0),
}


CAPABILITIES = replace(KOLENA, due_dates=False)
SIZES = SizeLimits(300, 250_000_000)


@dataclass
class FakeRun:
    """A run as the fake provider keeps it."""

    run_id: str
    external_id: str
    started_s: float
    ends_s: float
    names: tuple[str, ...]
    outcome: Outcome = Outcome.SUCCEEDED


@dataclass
class FakeProvider:
    """Implements `Provider`. `on_submit` and `on_read` may raise; `after_accept` may raise once a run exists."""

    now: Callable[[], float]
    passing: Seam = field(default_factory=Seam)
    run_s: float = 20.0
    rates: Mapping[EndpointClass, Rate] = field(default_factory=lambda: dict(RATES))
    name: str = "fake"
    capabilities: Capabilities = CAPABILITIES
    size_limits: SizeLimits = SIZES
    runs: dict[str, FakeRun] = field(default_factory=dict)
    arrivals: list[tuple[float, str]] = field(default_factory=list)
    reads: list[tuple[str, int]] = field(default_factory=list)
    on_submit: Callable[[SubmitRequest], None] | None = None
    after_accept: Callable[[SubmitRequest], None] | None = None
    on_read: Callable[[str], None] | None = None
    hidden: set[str] = field(default_factory=set)
    deleted: list[str] = field(default_factory=list)
    waited: list[int] = field(default_factory=list)
    outcome: Callable[[str], Outcome] = lambda _external: Outcome.SUCCEEDED
    poison: Callable[[Sequence[str]], bool] = lambda _names: False
    """Whether files of these names make a run fail."""

    def submit(self, request: SubmitRequest) -> Accepted:
        """Accept the submission, unless told otherwise."""
        request.gate()
        began_s = self.now()
        self.arrivals.append((began_s, request.external_id))
        self.waited.append(request.wait_s)
        if self.on_submit:
            self.on_submit(request)
        self.passing.effect("provider.reads", lambda: None)
        if self.now() - began_s > request.deadline_s:
            raise Ambiguous("the deadline passed while the files were sent")
        run = self.start(request.external_id, tuple(upload.name for upload in request.uploads))
        if self.after_accept:
            self.after_accept(request)
        self.passing.effect("provider.answers", lambda: None)
        return Accepted(self._view(run), tuple(bytes(32) for _ in request.uploads))

    def start(self, external_id: str, names: tuple[str, ...] = ()) -> FakeRun:
        """Start a run, as the provider would."""
        run_id = str(1000 + len(self.runs))
        outcome = Outcome.FAILED if self.poison(names) else self.outcome(external_id)
        run = FakeRun(run_id, external_id, self.now(), self.now() + self.run_s, names, outcome)
        self.runs[run_id] = run
        return run

    def ask(self, agent: str, run_ids: Sequence[str]) -> Mapping[str, RunView]:
        """Answer for all runs asked after that exist."""
        self._read("ask", len(run_ids))
        return {run_id: self._view(self.runs[run_id]) for run_id in run_ids if self._visible(run_id)}

    def get(self, agent: str, run_id: str) -> RunView | None:
        """Answer for one run."""
        self._read("get", 1)
        return self._view(self.runs[run_id]) if self._visible(run_id) else None

    def find(self, agent: str, external_ids: Sequence[str]) -> Sequence[RunView]:
        """List the runs with these external ids."""
        self._read("find", len(external_ids))
        wanted = set(external_ids)
        return [
            self._view(run) for run in self.runs.values() if run.external_id in wanted and self._visible(run.run_id)
        ]

    def describe_agent(self, agent: str) -> AgentInfo:
        """Know every agent."""
        self._read("agent", 1)
        return AgentInfo(agent, f"Agent {agent}")

    def settle(self, agent: AgentInfo, inputs: Mapping[str, str]) -> Mapping[str, str]:
        """Fit everything."""
        return {}

    def usage(self, agent: str, since: datetime) -> Usage | None:
        """Keep no books."""
        return None

    def delete(self, agent: str, run_id: str) -> None:
        """Delete a run."""
        self._read("delete", 1)
        if self.runs.pop(run_id, None):
            self.deleted.append(run_id)
        self.passing.effect("provider.deleted", lambda: None)

    def _visible(self, run_id: str) -> bool:
        return run_id in self.runs and run_id not in self.hidden

    def _read(self, what: str, number: int) -> None:
        self.reads.append((what, number))
        if self.on_read:
            self.on_read(what)

    def _view(self, run: FakeRun) -> RunView:
        view = RunView(run.run_id, run.external_id, "running", None, data={"first": {"status": "success"}}, credits=0.5)
        if self.now() < run.ends_s:
            return view
        return replace(
            view,
            raw_status="success" if run.outcome is Outcome.SUCCEEDED else "failed",
            outcome=run.outcome,
            credits=1.5,
            error_message=None if run.outcome is Outcome.SUCCEEDED else "a prompt failed",
            data={"names": {"status": "success", "value": list(run.names), "error": None, "metadata": None}},
        )


def lost_answer(_request: SubmitRequest) -> None:
    """Accept, then lose the answer."""
    raise Ambiguous("the connection broke after the request")


def fail_with(error: ProviderError, times: int = 1) -> Callable[[SubmitRequest], None]:
    """Raise an error for the first so many submissions."""
    left = [times]

    def fail(_request: SubmitRequest) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise error

    return fail
