"""What a provider adapter must do; the rest of the system knows only this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Protocol

from paceline.model import EndpointClass, Rate, RunView, SizeLimits


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do, so that callers choose by fact and not by name; unsaid: it can't.

    `uploads_files`: files travel as they are (else inside other values); `asks_after_many` and `finds_many` are how
    many ids one list call may carry, 0 for one GET each, respectively no way to find a run by external id; `cancels`:
    a run can be ended; `waits_s` is the longest time that the call which starts a run can wait for its end, 0 for
    none; `partial_results`: a run shows results before its end; `reports_credits`: it says what it cost.
    """

    uploads_files: bool = False
    asks_after_many: int = 0
    finds_many: int = 0
    cancels: bool = False
    waits_s: int = 0
    due_dates: bool = False
    partial_results: bool = False
    reports_credits: bool = False


@dataclass(frozen=True, slots=True)
class Upload:
    """One file to send: exactly `size_bytes` of what `open()` returns, a fresh stream. It may raise `FileProblem`.

    `read`, where there is one, returns the same at once; it takes a third of the time for a small file.
    """

    name: str
    path: str
    size_bytes: int
    open: Callable[[], IO[bytes]]
    read: Callable[[], bytes] | None = None


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """One POST that starts a run.

    `deadline_s` bounds the whole call, counted by a clock that includes suspension. `gate` is called once, on an
    established connection, immediately before the first byte of the request; it raises `PermitExpired` to stop it.
    `wait_s` > 0 waits that long for the run's end, in the same call. `inputs` are the agent's further inputs, `settled`
    what `Provider.settle` returned when the batch began.
    """

    agent: str
    external_id: str
    uploads: Sequence[Upload]
    deadline_s: float
    gate: Callable[[], None]
    due: datetime | None = None
    wait_s: int = 0
    inputs: Mapping[str, str] = field(default_factory=dict)
    settled: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A run was started. `digests` are the SHA-256 digests (32 bytes each) of the bytes sent, in upload order."""

    run: RunView
    digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """An agent as the provider describes it. `inputs` are the names of its inputs, None where it has none by name.

    `unfit` says why it can't be run through the API, None where it can.
    """

    agent: str
    name: str | None
    inputs: tuple[str, ...] | None = None
    unfit: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What runs have used according to the provider's records: one record per run, or more."""

    credits: float
    records: int


class Weights(Protocol):
    """What files weigh in a submission whose body is limited, where that isn't their size.

    Weights count for `SizeLimits.file_bytes` and `submission_bytes`. Everything here is pure but `exactly`.
    """

    def empty(self, inputs: Mapping[str, str]) -> int:
        """Return the bytes of a body without files."""

    def at_most(self, name: str, path: str, size_bytes: int) -> int:
        """Return what a file can weigh at the most, whatever it holds."""

    def exactly(self, name: str, path: str, size_bytes: int, stream: IO[bytes]) -> int:
        """Return what a file weighs, reading it at most once. Raises `OSError` where it can't be read."""


class Provider(Protocol):
    """One provider under one credential. Thread-safe; holds no connection between calls that another thread could meet.

    Reads raise `Throttled`, `Blocked` or `Unavailable` (and `AnswerTooLarge`); nothing else of `ProviderError`.
    """

    @property
    def name(self) -> str:
        """The provider's word in `--agent` and records."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    @property
    def size_limits(self) -> SizeLimits:
        """What one submission may hold."""

    @property
    def rates(self) -> Mapping[EndpointClass, Rate]:
        """The requests allowed, for every endpoint class."""

    def submit(self, request: SubmitRequest) -> Accepted:
        """Start a run. Blocks for the upload.

        Raises `NotSent`, `Throttled`, `Refused`, `Blocked`, `Ambiguous`, or `FileProblem` (a file turned out different
        while it was being sent: then `Ambiguous` if the request could have been complete, `FileProblem` only if it
        surely was cut short).
        """

    def ask(self, agent: str, run_ids: Sequence[str]) -> Mapping[str, RunView]:
        """Ask after runs, at most `asks_after_many` (1 where that is 0). Unknown runs are simply missing.

        Runs of the answer that were not asked for are dropped here.
        """

    def get(self, agent: str, run_id: str) -> RunView | None:
        """Ask after one run; None only if the provider says in so many words that it has no such run (404)."""

    def find(self, agent: str, external_ids: Sequence[str]) -> Sequence[RunView]:
        """List every run that carries one of the external ids (at most `finds_many`), from complete lists only.

        Several runs may carry the same id. Raises `Unavailable` rather than return a list that may be incomplete.
        """

    def describe_agent(self, agent: str) -> AgentInfo:
        """Look the agent up: one request that proves key, address and agent. Raises `Blocked` or `Unavailable`."""

    def settle(self, agent: AgentInfo, inputs: Mapping[str, str]) -> Mapping[str, str]:
        """Check before a batch begins that the agent can be run with these further inputs; no request is made.

        Returns what holds for every submission of the batch from now on, and is kept with it: it comes back as
        `SubmitRequest.settled`. Raises `ConfigError` that names what doesn't fit.
        """

    def usage(self, agent: str, since: datetime) -> Usage | None:
        """Ask what an agent's runs have used since then, by the provider's own records; None where it keeps none.

        Raises `Throttled`, `Blocked` or `Unavailable`.
        """

    def delete(self, agent: str, run_id: str) -> None:
        """Delete a run, where `cancels`; deleting what is gone is success."""
