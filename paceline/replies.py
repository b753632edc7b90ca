"""What the ledger's verbs take and answer with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paceline.model import ErrorNote, Follow, Outcome, RunView


@dataclass(frozen=True, slots=True)
class Begun:
    """A permit is taken and the intent written: the POST may start within the permit's life."""

    generation: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Wait:
    """No permit now; the submission is planned again."""

    seconds: float
    follow: Follow | None = None


@dataclass(frozen=True, slots=True)
class Paused:
    """The account or batch is paused; the submission is planned again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Somebody else moved the submission, or there is no such one. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The step happened; `follow` is the wake-up to send, if one is wanted, and `also` another one."""

    generation: int
    follow: Follow | None = None
    also: Follow | None = None

    @property
    def follows(self) -> list[Follow]:
        """Return the wake-ups to send."""
        return [follow for follow in (self.follow, self.also) if follow is not None]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The submission has another run already: an alarm, written to the journal and counted in the batch."""

    known_run_id: str


@dataclass(frozen=True, slots=True)
class Released:
    """Submissions to send `submit` messages for; `again_s` until feeding is worth it again, None if nothing is left."""

    submissions: tuple[str, ...]
    again_s: float | None


@dataclass(frozen=True, slots=True)
class DueRun:
    """A run to ask after, `late_s` after it was due (negative: taken along before)."""

    submission: str
    run_id: str
    generation: int
    age_s: float
    late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Due:
    """Runs taken to be asked after, with the permit to ask.

    Without runs, `again_s` says when to come back; None means that nothing is in flight. `starts_per_s` is the
    account's recent rate of permits for starting runs, `now_s` Redis time.
    """

    runs: tuple[DueRun, ...]
    again_s: float | None
    in_flight: int
    starts_per_s: float
    now_s: float


@dataclass(frozen=True, slots=True)
class Ending:
    """How a submission ended, to be recorded. `run` is its last view, None where there is no run."""

    submission: str
    generation: int
    outcome: Outcome
    reason: str
    error: ErrorNote | None = None
    run: RunView | None = None
    finished_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """How a submission ended according to its record; times are milliseconds since the epoch."""

    outcome: Outcome
    reason: str
    attempts: int
    planned_ms: int
    submitted_ms: int | None = None
    finished_ms: int | None = None
    run_id: str | None = None
    run_url: str | None = None
    error: Mapping[str, Any] | None = None
    raw_status: str | None = None
    credits: float | None = None
