"""Finish runs that have ended: keep what was paid for, then say that it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from redis.exceptions import RedisError

from paceline.model import ErrorNote, Follow, Outcome, RunView, batch_of
from paceline.records import build_record
from paceline.replies import DueRun, Ending, Lost, Moved
from paceline.steps.context import Context

CANCELLED_BY_US = "deleted"
"""What stands as a run's status that was ended at the provider on a person's word."""

CHUNK = 50
"""So many at a time: the first are on their way to the sinks while the last are still being kept."""


def finish(context: Context, ended: Sequence[tuple[DueRun, RunView]], finished_ms: int) -> list[Follow]:
    """Finish ended runs; returns the exports to wake. Whatever a crash leaves undone is asked after again."""
    follows: list[Follow] = []
    for start in range(0, len(ended), CHUNK):
        follows += _finish_or_split(context, ended[start : start + CHUNK], finished_ms)
    return follows


def _finish_or_split(context: Context, ended: Sequence[tuple[DueRun, RunView]], finished_ms: int) -> list[Follow]:
    """Finish a chunk; if one run in it can't be kept, finish the others and leave that one for the next question."""
    try:
        return _finish_chunk(context, ended, finished_ms)
    except RedisError:
        raise
    except Exception:
        if len(ended) == 1:
            context.log.exception("submission.poison", extra={"submission": ended[0][0].submission})
            return []
        middle = len(ended) // 2
        halves = ended[:middle], ended[middle:]
        return [follow for half in halves for follow in _finish_or_split(context, half, finished_ms)]


def _finish_chunk(context: Context, ended: Sequence[tuple[DueRun, RunView]], finished_ms: int) -> list[Follow]:
    # First what was paid for, then the word that it is there: a crash in between only repeats this step.
    endings = keep(context, ended, finished_ms)
    return reported(context, endings, context.ledger.finish(endings)) if endings else []


def keep(
    context: Context, ended: Sequence[tuple[DueRun, RunView]], finished_ms: int, *, suffix: str = ""
) -> list[Ending]:
    """Put what ended runs returned into the results backend; return how they ended, to be recorded.

    Kept under the submission's id and `suffix`. Those that somebody else has finished meanwhile are left out.
    """
    items = context.views.with_files([run.submission for run, _ in ended])
    batches = {batch: context.views.batch(batch) for batch in {batch_of(item) for item in items}}
    records, endings = {}, []
    for run, view in ended:
        if run.submission not in items or items[run.submission][0].generation != run.generation:
            continue  # somebody else finished it meanwhile
        item, files = items[run.submission]
        end = _ending(run, view, finished_ms)
        after = replace(
            item,
            outcome=end.outcome,
            reason=end.reason,
            error=end.error.as_dict() if end.error else None,
            raw_status=view.raw_status,
            credits=view.credits,
            credits_by=view.credits_by,
            run_url=view.run_url or item.run_url,
            finished_ms=finished_ms,
        )
        records[run.submission + suffix] = build_record(batches[item.batch], after, files, view.data)
        endings.append(end)
    if records:
        context.results.put(records)
    return endings


def reported(context: Context, endings: Sequence[Ending], moves: Sequence[Moved | Lost]) -> list[Follow]:
    """Log the endings that count and return the exports to wake."""
    follows = []
    for end, moved in zip(endings, moves, strict=True):
        if isinstance(moved, Moved) and moved.follow:
            follows.append(moved.follow)
            facts = {"submission": end.submission, "outcome": end.outcome.value, "reason": end.reason}
            context.log.info("submission.finished", extra=facts)
    return follows


def _ending(run: DueRun, view: RunView, finished_ms: int) -> Ending:
    assert view.outcome is not None
    reason, error = _reason(run, view)
    return Ending(run.submission, run.generation, view.outcome, reason, error, view, finished_ms)


def _reason(run: DueRun, view: RunView) -> tuple[str, ErrorNote | None]:
    """Return the reason word (and note) of an end."""
    match view.outcome:
        case Outcome.SUCCEEDED:
            return "completed", None
        case Outcome.CANCELLED if view.raw_status == CANCELLED_BY_US:
            return "cancelled", None
        case Outcome.CANCELLED:
            return "cancelled_at_provider", None
        case _ if view.raw_status and view.error_message is not None:
            return "run_failed", ErrorNote("provider", "run", view.error_message)
        case _ if view.raw_status == "failed":
            return "run_failed", ErrorNote("provider", "run", "the run failed; the provider gives no reason")
        case _:
            message = f"no end after {run.age_s:.0f} s; the run may still finish at the provider"
            return "timed_out", ErrorNote("timeout", "run", message)
