"""Write a finished submission to every sink, then say so; the last one closes the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from paceline import halving
from paceline.batch_view import CANCELLED, BatchView
from paceline.errors import PacelineError, ProviderError, SinkBusy, Unavailable
from paceline.model import EndpointClass, ErrorNote, Follow, Outcome, State, Submission
from paceline.records import build_part, credits_by
from paceline.remembering import remember
from paceline.replies import Lost, Moved
from paceline.results import kept_of
from paceline.sinks.base import Part
from paceline.sinks.places import PlaceKind, kind_of, written_in_turn
from paceline.steps.context import Context


def export(context: Context, submission_id: str) -> list[Follow]:
    """Export a finished submission, once however often it is asked.

    A sink that can't be written, or a result that can't be had right now, leaves it finished: rescue asks again.
    """
    item = context.views.find_submission(submission_id)
    if item is None or item.state is not State.FINISHED:
        return []
    batch = context.views.batch(item.batch)
    if _tries_again(item, context.waits.retry_failed_runs) and batch.paused != CANCELLED:
        context.log.warning("submission.retried", extra={"submission": item.id, "attempt": item.attempt})
        again = context.ledger.retry(item.id, item.generation, reason="policy")
        return [again.follow] if isinstance(again, Moved) and again.follow else []
    if _may_be_split(item) and halving.divisible(context.views.files(item.id)):
        decided = context.ledger.isolate(item.id, item.generation)
        if isinstance(decided, Lost):
            return []
        item = replace(item, reason=halving.REASON) if decided else item
    try:
        data, item = _data(context, item, batch)
        files = context.views.files(item.id)
        digests = context.views.digests(item.id)
        part = build_part(batch, item, files, digests, data)
        _write(context, batch, part)
    except ProviderError as error:
        context.log.warning("export.postponed", extra={"submission": item.id, "error": type(error).__name__})
        return []
    except SinkBusy as error:
        context.log.info("export.postponed", extra={"submission": item.id, "error": type(error).__name__})
        return []
    except PacelineError as error:
        context.log.error("export.failed", extra={"submission": item.id, "problem": str(error)})
        context.ledger.trouble(batch.id, str(error))
        return []
    if batch.trouble:
        context.ledger.trouble(batch.id, "")
    remember(context.known, context.views, batch, item, files, digests)
    if item.reason == halving.REASON:
        context.log.warning("submission.split", extra={"submission": item.id, "files": item.files})
        split = context.ledger.split(item.id, item.generation, files)
        return [split.follow] if isinstance(split, Moved) and split.follow else []
    moved = context.ledger.exported(item.id, item.generation)
    if not isinstance(moved, Moved):
        return []
    context.log.info("submission.exported", extra={"submission": item.id})
    return [moved.follow] if moved.follow else []


def _write(context: Context, batch: BatchView, part: Part) -> None:
    """Write to every destination, also where one fails; raises what the first of them said, a failure before a wait.

    A webhook comes last, and only where all others have the part: it would get it anew with every try.
    """
    failures: list[PacelineError] = []
    for destination in written_in_turn(batch.to):
        if failures and kind_of(destination) is PlaceKind.WEBHOOK:
            break
        try:
            with context.turns.at(destination):
                context.sink(destination).write(part)
        except PacelineError as error:
            failures.append(error)
    if failures:
        raise min(failures, key=lambda one: isinstance(one, SinkBusy))


def _tries_again(item: Submission, retries: int) -> bool:
    """Tell whether a run that failed at the provider is sent again by policy."""
    return item.outcome is Outcome.FAILED and item.reason == "run_failed" and item.attempt <= retries


def _may_be_split(item: Submission) -> bool:
    """Tell whether a submission failed for what may be the fault of one of its files."""
    return item.outcome is Outcome.FAILED and item.reason in halving.REASONS and item.files > 1


def _data(context: Context, item: Submission, batch: BatchView) -> tuple[Mapping[str, Any], Submission]:
    """Return what the run returned: from the results backend, else from the provider, who still has it.

    Where neither has it any more, the submission comes back with a note that says so. Raises `ProviderError` where the
    provider can't be asked now.
    """
    kept = kept_of(context.results, item)
    if kept is not None:
        return dict(kept["data"]), replace(item, credits_by=credits_by(kept))
    if item.run_id is None or not item.raw_status:
        return {}, item
    account = context.account(batch.account)
    if account.address != batch.address:
        raise Unavailable("this worker's account is at another address")
    if context.limiter.take(account.name, EndpointClass.GET, account.rates[EndpointClass.GET]) > 0:
        raise Unavailable("no permit now")
    context.ledger.count_requests({batch.id: 1}, EndpointClass.GET)
    run = account.provider.get(batch.agent, item.run_id)
    if run is not None:
        return run.data, replace(item, credits_by=run.credits_by)
    note = ErrorNote("provider", "export", "the result is gone from the results backend and from the provider", 404)
    return {}, replace(item, error=note.as_dict())
