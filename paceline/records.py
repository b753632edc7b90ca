"""Build the records of one submission: pure, so that building them again gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paceline import halving
from paceline.model import Outcome, PlannedFile, Submission
from paceline.replies import Restored
from paceline.sinks.base import Part, file_record
from paceline.times import iso, ms_of
from paceline.views import BatchView


def build_record(
    batch: BatchView, submission: Submission, files: Sequence[PlannedFile], data: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the submission's line of `results.jsonl`: the fields of DESIGN §6, in that order."""
    return {
        "submission": submission.id,
        "batch": submission.batch,
        "outcome": submission.outcome.value if submission.outcome else None,
        "reason": submission.reason,
        "error": dict(submission.error) if submission.error else None,
        "provider": batch.provider,
        "account": batch.account,
        "agent": batch.agent,
        "run_id": submission.run_id,
        "run_url": submission.run_url,
        "external_id": submission.external_id,
        "attempts": submission.attempt,
        "files": [file.path for file in files],
        "planned_at": iso(submission.planned_ms),
        "submitted_at": iso(submission.submitted_ms) if submission.submitted_ms else None,
        "finished_at": iso(submission.finished_ms) if submission.finished_ms else None,
        "usage": _usage(submission, data),
        "data": dict(data),
        "raw_status": submission.raw_status,
        **_group(files),
    }


def _group(files: Sequence[PlannedFile]) -> dict[str, str]:
    """Return the group whose files a submission has; nothing where it has several, or none."""
    names = {file.group for file in files}
    return {"group": name} if len(names) == 1 and (name := names.pop()) else {}


def _usage(submission: Submission, data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `{"credits"}`, and `"by"` with those of the run's parts where they are known, in the order of `data`."""
    if submission.credits is None:
        return None
    by = submission.credits_by
    known = {name: by[name] for name in dict.fromkeys([*data, *sorted(by)]) if name in by}
    return {"credits": submission.credits} | ({"by": known} if known else {})


def credits_by(record: Mapping[str, Any]) -> Mapping[str, float]:
    """Return what a record says of its run's parts; empty where it says nothing."""
    by = (record.get("usage") or {}).get("by")
    return dict(by) if isinstance(by, dict) else {}


def read_record(record: Mapping[str, Any]) -> Restored:
    """Read how a submission ended back from its line of `results.jsonl`.

    Raises `ValueError`, `KeyError` or `TypeError` if it isn't such a line.
    """
    times = {name: record[f"{name}_at"] for name in ("planned", "submitted", "finished")}
    usage, error, attempts = record["usage"], record["error"], record["attempts"]
    if not isinstance(record["reason"], str) or not isinstance(attempts, int) or attempts < 0:
        raise TypeError("not a record")
    return Restored(
        outcome=Outcome(record["outcome"]),
        reason=record["reason"],
        attempts=attempts,
        planned_ms=ms_of(times["planned"]),
        submitted_ms=None if times["submitted"] is None else ms_of(times["submitted"]),
        finished_ms=None if times["finished"] is None else ms_of(times["finished"]),
        run_id=_text(record["run_id"]),
        run_url=_text(record["run_url"]),
        error=None if error is None else dict(error),
        raw_status=_text(record["raw_status"]),
        credits=None if usage is None else float(usage["credits"]),
    )


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError("not a text")
    return value


def build_part(
    batch: BatchView,
    submission: Submission,
    files: Sequence[PlannedFile],
    digests: Sequence[bytes],
    data: Mapping[str, Any],
) -> Part:
    """Return all that a submission leaves. `digests` is empty where the bytes sent aren't known."""
    outcome = submission.outcome or Outcome.FAILED
    hashes: Sequence[str | None] = [digest.hex() for digest in digests] or [None] * len(files)
    rows = [
        file_record(file, outcome, submission.reason, submission.id, sha256)
        for file, sha256 in zip(files, hashes, strict=True)
        if submission.reason != halving.REASON  # their records are with the halves that they end in
    ]
    return Part(submission.id, build_record(batch, submission, files, data), rows)
