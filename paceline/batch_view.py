"""A batch and a submission as values, read from their hashes in Redis."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from paceline.model import (
    BatchSpec,
    BatchState,
    Choice,
    EndpointClass,
    Outcome,
    State,
    Submission,
    batch_of,
    external_id,
)
from paceline.tallies import Lengths, parse_lengths


@dataclass(frozen=True, slots=True)
class BatchView:
    """A batch as the ledger has it now. Times are Redis milliseconds; `paused` is the reason, None where it isn't.

    `left_out` are the files in no submission by reason, once the listing is complete (of a batch that an older version
    planned: empty). `runs` is how long its runs took. `extra` are the halves among `total`; `isolated` is what is used
    of the runs that they may cost.
    """

    id: str
    name: str
    source: str
    account: str
    provider: str
    agent: str
    address: str
    to: tuple[str, ...]
    files_per_run: int
    priority: int
    manifest: str
    manifest_bytes: int
    listed: bool
    closed: bool
    closing: bool
    paused: str | None
    paused_message: str | None
    trouble: str | None
    total: int
    files: int
    files_skipped: int
    size_bytes: int
    by_state: Mapping[State, int]
    outcomes: Mapping[Outcome, int]
    files_by_outcome: Mapping[Outcome, int]
    reasons: Mapping[str, int]
    requests: Mapping[EndpointClass, int]
    rejected_429: int
    runs_accepted: int
    mean_run_s: float | None
    duplicates: Mapping[str, str]
    duplicate_credits: Mapping[str, float]
    credits: float | None
    audit_at: int | None
    created_ms: int
    started_ms: int | None
    finished_ms: int | None
    options: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    judged: Mapping[str, int] = field(default_factory=dict)
    settled: Mapping[str, str] = field(default_factory=dict)
    rebuilding: bool = False
    extra: int = 0
    isolated: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    runs: Lengths = field(default_factory=Lengths)

    @property
    def in_manifest(self) -> int:
        """Return how many submissions the manifest has; the others are halves of them."""
        return self.total - self.extra

    @property
    def spec(self) -> BatchSpec:
        """Return what makes the batch this batch."""
        return BatchSpec(
            source=self.source,
            account=self.account,
            provider=self.provider,
            agent=self.agent,
            to=self.to,
            files_per_run=self.files_per_run,
            name=self.name,
            options=self.options,
            priority=self.priority,
            address=self.address,
            choices=self.choices,
            settled=self.settled,
        )

    @property
    def unaudited(self) -> int:
        """Return of how many submissions the closing audit was given up; 0 while it may still come."""
        return max(self.total - self.audit_at + 1, 0) if self.closed and self.audit_at is not None else 0

    @property
    def complete_size(self) -> int | None:
        """Return how many submissions there are; None while the listing goes on."""
        return self.total if self.listed else None

    @property
    def tolerated(self) -> bool:
        """Tell whether the batch tolerates as many failed submissions; False where it says nothing about that."""
        failed, most = (
            self.outcomes[Outcome.FAILED] - self.reasons.get("split", 0),
            self.choices.get(Choice.MAX_FAILURES, ""),
        )
        if not most:
            return False
        if most.endswith("%"):
            return failed * 100 <= float(most[:-1]) * (failed + self.outcomes[Outcome.SUCCEEDED])
        return failed <= int(most)

    @property
    def state(self) -> BatchState:
        """Return where the batch stands."""
        return state_of(closed=self.closed, paused=self.paused, closing=self.closing, listed=self.listed)


CANCELLED = "cancelled"
"""Why a batch is paused that a person has cancelled, and the reason of what that ended."""


def state_of(*, closed: bool, paused: str | None, closing: bool, listed: bool) -> BatchState:
    """Return where a batch stands of which these facts are known."""
    if closed:
        return BatchState.COMPLETE
    if paused == CANCELLED and not closing:
        return BatchState.CANCELLING
    if paused and paused != CANCELLED:
        return BatchState.PAUSED
    if not listed:
        return BatchState.PLANNING
    return BatchState.CLOSING if closing else BatchState.RUNNING


def read_row(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    """Read a hash, or an entry of a stream, whose texts may hold any bytes."""
    return {_text(name): _text(value) for name, value in raw.items()}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _group(row: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}


def _number(row: Mapping[str, str], name: str) -> int | None:
    return int(row[name]) if name in row else None


def parse_batch(batch: str, raw: Mapping[bytes, bytes]) -> BatchView:
    """Read a batch's hash."""
    row = read_row(raw)
    files = {Outcome(name): int(value) for name, value in _group(row, "files:").items()}
    return BatchView(
        id=batch,
        name=row["name"],
        source=row["source"],
        account=row["account"],
        provider=row["provider"],
        agent=row["agent"],
        address=row.get("address", ""),
        to=tuple(json.loads(row["to"])),
        files_per_run=int(row["files_per_run"]),
        priority=int(row.get("priority", 0)),
        manifest=row["manifest"],
        manifest_bytes=int(row.get("manifest_bytes", 0)),
        listed=row.get("listed") == "1",
        closed=row.get("closed") == "1",
        closing=row.get("closing") == "1",
        paused=row.get("paused"),
        paused_message=row.get("paused_message"),
        trouble=row.get("trouble") or None,
        total=int(row.get("total", 0)),
        files=int(row.get("files", 0)),
        files_skipped=int(row.get("files_skipped", 0)),
        size_bytes=int(row.get("bytes", 0)),
        by_state={state: int(row.get(f"n:{state}", 0)) for state in State},
        outcomes={outcome: int(row.get(f"o:{outcome}", 0)) for outcome in Outcome},
        files_by_outcome={outcome: files.get(outcome, 0) for outcome in Outcome},
        reasons={name: int(value) for name, value in _group(row, "why:").items()},
        requests={endpoint: int(row.get(f"req:{endpoint}", 0)) for endpoint in EndpointClass},
        rejected_429=int(row.get("rejected_429", 0)),
        runs_accepted=int(row.get("runs_accepted", 0)),
        mean_run_s=int(row["runs_ms"]) / 1000 / int(row["runs_done"]) if "runs_done" in row else None,
        duplicates=_group(row, "duplicate:"),
        duplicate_credits={run: float(value) for run, value in _group(row, "cost:").items()},
        credits=float(row["credits"]) if "credits" in row else None,
        audit_at=_number(row, "audit_at"),
        created_ms=int(row["created_ms"]),
        started_ms=_number(row, "started_ms"),
        finished_ms=_number(row, "finished_ms"),
        options=json.loads(row.get("options", "{}")),
        choices=_group(row, "choice:"),
        judged={name: int(value) for name, value in _group(row, "judged:").items()},
        settled=json.loads(row.get("settled", "{}")),
        rebuilding=row.get("rebuilding") == "1",
        extra=int(row.get("extra", 0)),
        isolated=int(row.get("isolated", 0)),
        left_out={name: int(value) for name, value in sorted(_group(row, "left:").items())},
        runs=parse_lengths(row, "run_s"),
    )


def parse_submission(submission: str, raw: Mapping[bytes, bytes]) -> Submission:
    """Read a submission's hash."""
    row = read_row(raw)
    return Submission(
        id=submission,
        batch=batch_of(submission),
        state=State(row["state"]),
        generation=int(row["generation"]),
        attempt=int(row["attempt"]),
        files=int(row["files"]),
        size_bytes=int(row["bytes"]),
        external_id=external_id(submission),
        planned_ms=int(row["planned_ms"]),
        submitted_ms=_number(row, "submitted_ms"),
        finished_ms=_number(row, "finished_ms"),
        doubt_ms=_number(row, "doubt_ms"),
        run_id=row.get("run_id"),
        run_url=row.get("run_url"),
        outcome=Outcome(row["outcome"]) if "outcome" in row else None,
        reason=row.get("reason"),
        error=json.loads(row["error"]) if "error" in row else None,
        raw_status=row.get("raw_status"),
        credits=float(row["credits"]) if "credits" in row else None,
        begun_generation=int(row.get("begun_gen", 0)),
        past=tuple(row.get("past", "").split()),
        past_credits=float(row.get("past_credits", 0)),
    )
