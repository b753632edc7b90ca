"""What a batch comes to: the one shape that `summary.json`, `status --json` and the progress line share."""

from __future__ import annotations

from typing import Any

from paceline.model import Outcome, Rate, State
from paceline.times import iso
from paceline.views import BatchView

_UNSENT = (State.PLANNED, State.SUBMITTING, State.UNCERTAIN)


def summarize(batch: BatchView, now_ms: int, rate: Rate | None = None, *, complete: bool = False) -> dict[str, Any]:
    """Return the summary, with exactly the fields of DESIGN §6 and `left_out`, the skipped files by reason.

    `rate` is the account's allowed pace, for the ETA. `complete` describes the batch as it is about to be committed.
    """
    files = batch.files_by_outcome
    skipped = files[Outcome.SKIPPED] + batch.files_skipped
    total = batch.files + batch.files_skipped
    done = {outcome: files[outcome] for outcome in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.CANCELLED)}
    end_ms = batch.finished_ms or now_ms
    return {
        "batch": batch.id,
        "name": batch.name,
        "state": "complete" if complete else batch.state.value,
        "files": {
            "total": total,
            **{outcome.value: number for outcome, number in done.items()},
            "skipped": skipped,
            "pending": total - skipped - sum(done.values()),
        },
        "left_out": dict(batch.left_out),
        "submissions": {"total": batch.total, **{state.value: batch.by_state[state] for state in State}},
        "outcomes": {outcome.value: batch.outcomes[outcome] for outcome in Outcome},
        "runs_accepted": batch.runs_accepted,
        "duplicate_runs": len(batch.duplicates),
        "requests": {
            **{endpoint.value: number for endpoint, number in batch.requests.items()},
            "rejected_429": batch.rejected_429,
        },
        "credits": batch.credits,
        "started_at": iso(batch.started_ms) if batch.started_ms else None,
        "finished_at": iso(batch.finished_ms) if batch.finished_ms else None,
        "seconds": round(max(end_ms - (batch.started_ms or batch.created_ms), 0) / 1000, 3),
        "eta_seconds": 0.0 if complete else eta_s(batch, now_ms, rate),
    }


def eta_s(batch: BatchView, now_ms: int, rate: Rate | None) -> float | None:
    """Estimate the seconds until everything planned so far is exported; None where there is nothing to go by.

    What is still to be sent takes its time at the pace seen so far, never faster than allowed; the last of it then
    takes as long as a finished run took on average.
    """
    if batch.closed or (batch.listed and batch.total == batch.by_state[State.EXPORTED]):
        return 0.0
    if batch.started_ms is None or batch.mean_run_s is None or batch.paused:
        return None
    if batch.total == batch.by_state[State.EXPORTED] + batch.by_state[State.HELD]:
        return None  # the rest waits for a person
    if batch.by_state[State.UNCERTAIN]:
        return None  # nobody knows what has to be sent again, nor when
    unsent = sum(batch.by_state[state] for state in _UNSENT)
    sent = batch.total - unsent
    elapsed_s = max(now_ms - batch.started_ms, 1) / 1000
    sending_s = unsent * rate.window_s / rate.limit if rate else 0.0
    if sent and (rate is None or elapsed_s > rate.window_s):
        sending_s = max(sending_s, unsent * elapsed_s / sent)
    return round(sending_s + batch.mean_run_s, 1)
