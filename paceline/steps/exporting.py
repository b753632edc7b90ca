"""Write a finished submission to every sink, then say so; the last one closes the batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paceline.errors import ProviderError, SinkError
from paceline.model import EndpointClass, Follow, State, Submission
from paceline.records import build_part
from paceline.replies import Moved
from paceline.steps.context import Context
from paceline.views import BatchView


def export(context: Context, submission_id: str) -> list[Follow]:
    """Export a finished submission, once however often it is asked.

    A sink that can't be written, or a result that can't be had right now, leaves it finished: rescue asks again.
    """
    item = context.views.find_submission(submission_id)
    if item is None or item.state is not State.FINISHED:
        return []
    batch = context.views.batch(item.batch)
    try:
        data = _data(context, item, batch)
        part = build_part(batch, item, context.views.files(item.id), context.views.digests(item.id), data)
        for destination in batch.to:
            context.sink(destination).write(part)
    except SinkError as error:
        context.log.error("export.failed", extra={"submission": item.id, "problem": str(error)})
        return []
    except ProviderError as error:
        context.log.warning("export.postponed", extra={"submission": item.id, "error": type(error).__name__})
        return []
    moved = context.ledger.exported(item.id, item.generation)
    if not isinstance(moved, Moved):
        return []
    context.log.info("submission.exported", extra={"submission": item.id})
    return [moved.follow] if moved.follow else []


def _data(context: Context, item: Submission, batch: BatchView) -> Mapping[str, Any]:
    """Return what the run returned: from the results backend, else from the provider, who still has it."""
    kept = context.results.get(item.id)
    if kept is not None:
        return dict(kept["data"])
    if item.run_id is None or item.raw_status in (None, ""):
        return {}
    account = context.account(batch.account)
    context.ledger.count_requests({batch.id: 1}, EndpointClass.GET)
    run = account.provider.get(batch.agent, item.run_id)
    return run.data if run else {}
