"""Every metric there is: name, type, labels, unit and meaning, in one place.

The collector, docs/metrics.md, and the check of the dashboard and the alert rules are all made from this.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a metric behaves, as Prometheus names it."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class WaitsFor(StrEnum):
    """What an open batch that isn't paused waits for: what has to happen next if it is to go on."""

    LISTING = "listing"  # nothing is left to do, and its files are still being listed
    TURN = "turn"  # submissions are planned and none is under way: a permit, another batch, a full queue
    PROVIDER = "provider"  # runs are going on, or a lost answer is being looked for
    PERSON = "person"  # all that is left is held
    PACELINE = "paceline"  # something is being sent, exported or closed: a matter of seconds or of an upload


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `name` ends as Prometheus wants it: `_total` for counters, else the unit where there is one."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    unit: str
    help: str

    def __post_init__(self) -> None:
        ending = "_total" if self.kind is Kind.COUNTER else f"_{self.unit}" if self.unit == "seconds" else ""
        if not self.name.startswith("paceline_") or not self.name.endswith(ending):
            raise ValueError(f"{self.name}: a {self.kind} of {self.unit or 'numbers'} begins and ends otherwise")

    @property
    def series(self) -> tuple[str, ...]:
        """Return the names under which its samples are stored."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


OPEN_BATCHES = 200
"""So many batches have series of their own at the most: of the open ones, those that stand still the longest."""

LOOKED_AT = 100
"""The longest doubt is looked for among so many uncertain submissions of an agent: those to be looked for next."""

NIGHTS = 20
"""So many nights of each schedule are looked at, the newest ones."""


def _gauge(name: str, labels: str, help_: str, unit: str = "") -> Metric:
    return Metric(f"paceline_{name}", Kind.GAUGE, tuple(labels.split()), unit, help_)


def _counter(name: str, labels: str, help_: str, unit: str = "") -> Metric:
    return Metric(f"paceline_{name}", Kind.COUNTER, tuple(labels.split()), unit, help_)


def _histogram(name: str, labels: str, help_: str) -> Metric:
    return Metric(f"paceline_{name}", Kind.HISTOGRAM, tuple(labels.split()), "seconds", help_)


UP = _gauge("up", "", "1 if the ledger in Redis was read for this scrape, 0 if it is out of reach.")
READ_SECONDS = _gauge("ledger_read_seconds", "", "How long reading the ledger took.", "seconds")

BATCHES = _gauge("batches", "account state", "Batches on record by state.")
SUBMISSIONS = _gauge("submissions", "account state", "Submissions of the batches on record by state.")
FILES = _gauge("files", "account outcome", "Files of the batches on record that have an outcome.")
WAITING = _gauge(
    "waiting_submissions",
    "account class",
    "Planned submissions that could be sent if permits of the class were free: nothing of theirs is paused.",
)
RELEASED = _gauge("released_submissions", "account", "Planned submissions that have a message in the queue.")
TRANSITIONS = _counter("transitions_total", "account verb", "Transitions of submissions by verb of the journal.")
OUTCOMES = _counter(
    "outcomes_total",
    "account outcome",
    "Submissions that ended; again when one is collected or retried. Of `--isolate`, wholes too.",
)
DUPLICATES = _counter("duplicate_runs_total", "account", "Runs beyond a submission's first: paid for twice.")
CREDITS = _counter("credits_total", "account", "Credits that runs have used, as their provider says.", "credits")
RUN_SECONDS = _histogram("run_duration_seconds", "account", "From the start of a run to knowing its end.")
EXPORT_SECONDS = _histogram("export_delay_seconds", "account", "From knowing a run's end to its record in every sink.")

PERMIT_LIMIT = _gauge("permit_limit", "account class", "Requests that the settings allow in a window.")
PERMITS_ALLOWED = _gauge(
    "permits_allowed", "account class", "Requests allowed in a window now: less than the limit after a 429."
)
PERMIT_WINDOW = _gauge("permit_window_seconds", "account class", "The window of the limit.", "seconds")
PERMITS_USED = _gauge(
    "permits_used", "account class", "Permits granted in the window that the limiter counts, a little longer than it."
)
PERMITS = _counter(
    "permits_granted_total",
    "account class",
    "Permits granted. Begins anew after a day without any request of the class.",
)
LEARNED = _gauge(
    "permit_limit_learned", "account class", "The lower limit that 429s taught; no series where none is in force."
)
REFUSED = _counter(
    "requests_refused_total",
    "account class",
    "Requests answered with 429. Begins anew after a day without any request of the class.",
)
CLOSED = _gauge(
    "class_closed_seconds", "account class", "For how long nothing of the class is sent; 0: open.", "seconds"
)

ACCOUNT_PAUSED = _gauge("account_paused", "account reason", "1 for a paused account; no series for another.")
BATCHES_PAUSED = _gauge("batches_paused", "account reason", "Open batches that are paused.")
CIRCUIT = _gauge("circuit_open", "account", "1 while the account's provider is taken for down.")
HELD_OLDEST = _gauge(
    "held_oldest_seconds", "account", "How long the longest held submission has waited for a person.", "seconds"
)
UNCERTAIN_OLDEST = _gauge(
    "uncertain_oldest_seconds",
    "account",
    f"The longest doubt whether a request started a run, among the {LOOKED_AT} of each agent that are looked for next.",
    "seconds",
)
BATCH_IDLE = _gauge(
    "batch_idle_seconds",
    "account batch waits_for",
    "Since an open batch's last transition. No series for a paused one, or one of a paused account or open circuit;"
    f" the {OPEN_BATCHES} longest.",
    "seconds",
)

WORKERS = _gauge("workers", "", "Workers that gave a sign of life in the last 15 s.")
QUEUE_WORKERS = _gauge("queue_workers", "queue", "Live workers that read a queue.")
QUEUE_MESSAGES = _gauge("queue_messages", "queue", "Messages in a queue, those with a countdown left out.")

SCHEDULE_STARTED = _gauge(
    "schedule_last_start_timestamp_seconds",
    "schedule",
    "When the last night that was started was noted, in seconds since 1970; no series before the first.",
    "seconds",
)
SCHEDULE_LAST = _gauge("schedule_last_night", "schedule state", "1 for the state of the last night, 0 for the others.")
SCHEDULE_OVERDUE = _gauge(
    "schedule_overdue_nights", "schedule", f"Of the last {NIGHTS} nights, those past their deadline and not complete."
)
SCHEDULE_MISSED = _gauge(
    "schedule_missed_deadlines",
    "schedule",
    f"Of the last {NIGHTS} nights, those that weren't complete by their deadline; their batches still on record.",
)
SCHEDULE_PAUSED = _gauge("schedule_paused", "schedule", "1 for a schedule that is paused, 0 for another.")
BEATS = _gauge("beats", "", "Processes that start schedules' nights: `paceline beat`, or that of `paceline up`.")

CATALOG: tuple[Metric, ...] = tuple(value for value in globals().values() if isinstance(value, Metric))
"""All of them, in the order of this file."""


def by_series() -> dict[str, Metric]:
    """Return every name under which a sample can be stored, with its metric."""
    return {name: metric for metric in CATALOG for name in metric.series}
