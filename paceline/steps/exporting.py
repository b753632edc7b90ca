"""Write finished submissions to every sink, then say so; the last one closes the batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from redis.exceptions import RedisError

from paceline import halving
from paceline.batch_view import CANCELLED, BatchView
from paceline.errors import PacelineError, ProviderError, SinkBusy, Unavailable
from paceline.model import EndpointClass, ErrorNote, Follow, Outcome, State, Step, Submission
from paceline.records import build_part, credits_by
from paceline.remembering import remember
from paceline.replies import Lost, Moved
from paceline.results import kept_of
from paceline.sinks.base import Part
from paceline.sinks.places import PlaceKind, kind_of, written_in_turn
from paceline.steps.context import Context
from paceline.views import Whole

FRESH_S = 1.0
"""A submission read longer ago than this is read again before it is written: a person may have sent it anew."""


@dataclass(slots=True)
class _Ready:
    """A submission whose part can be written. The part isn't kept: it may be large, and there are several."""

    whole: Whole
    item: Submission

    @property
    def splits(self) -> bool:
        return self.item.reason == halving.REASON


def export(context: Context, submissions: Sequence[str]) -> list[Follow]:
    """Export finished submissions, each once however often it is asked; returns what follows from that.

    A sink that can't be written, or a result that can't be had right now, leaves a submission finished: rescue asks
    again. Where writing takes long, or one meets a defect, what is left is handed back, each for a turn of its own.
    """
    if len(submissions) == 1:
        return _export(context, submissions)
    try:
        return _export(context, submissions)
    except RedisError:
        raise
    except Exception:  # noqa: BLE001  # a defect, met by one of them: it must not keep the others from being written
        return [Follow(Step.EXPORT, submission, alone=True) for submission in submissions]


def _export(context: Context, submissions: Sequence[str]) -> list[Follow]:
    read_at = context.elapsed()
    wanted = list(dict.fromkeys(submissions))
    found = [one for one in context.views.whole(wanted) if one.item.state is State.FINISHED]
    follows: list[Follow] = []
    written: list[_Ready] = []
    failed: set[str] = set()

    def is_late(one: Whole) -> bool:
        late = len(found) > 1 and context.elapsed() - read_at > FRESH_S
        if late:
            follows.append(Follow(Step.EXPORT, one.item.id, alone=True))
        return late

    try:
        for one, part in _with_data(context, found, follows, is_late):
            if not is_late(one.whole) and _is_written(context, one, part, failed):
                written.append(one)
    except RedisError:
        raise
    except Exception:
        if not written:
            raise
        done = {one.item.id for one in written} | {follow.key for follow in follows}
        follows += [Follow(Step.EXPORT, one.item.id, alone=True) for one in found if one.item.id not in done]
    return follows + _recorded(context, written, failed)


def _with_data(
    context: Context, found: Sequence[Whole], follows: list[Follow], is_late: Callable[[Whole], bool]
) -> Iterator[tuple[_Ready, Part]]:
    """Give those whose part can be written, and add what follows for the others. Nothing is decided on one that is
    late: its batch may have been cancelled since it was read.
    """
    kept = kept_of(context.results, [one.item for one in found])
    for one in found:
        if is_late(one):
            continue
        item, batch = one.item, one.batch
        if _tries_again(item, context.waits.retry_failed_runs) and batch.paused != CANCELLED:
            context.log.warning("submission.retried", extra={"submission": item.id, "attempt": item.attempt})
            again = context.ledger.retry(item.id, item.generation, reason="policy")
            follows += [again.follow] if isinstance(again, Moved) and again.follow else []
            continue
        if _may_be_split(item) and halving.divisible(one.files):
            decided = context.ledger.isolate(item.id, item.generation)
            if isinstance(decided, Lost):
                continue
            item = replace(item, reason=halving.REASON) if decided else item
        try:
            data, item = _data(context, item, batch, kept(item))
        except ProviderError as error:
            context.log.warning("export.postponed", extra={"submission": item.id, "error": type(error).__name__})
            continue
        yield _Ready(one, item), build_part(batch, item, one.files, one.digests, data)


def _is_written(context: Context, one: _Ready, part: Part, failed: set[str]) -> bool:
    """Write a part; where that fails, say so and add its batch to `failed`."""
    try:
        _write(context, one.whole.batch, part)
    except SinkBusy as error:
        context.log.info("export.postponed", extra={"submission": one.item.id, "error": type(error).__name__})
        return False
    except PacelineError as error:
        context.log.error("export.failed", extra={"submission": one.item.id, "problem": str(error)})
        context.ledger.trouble(one.whole.batch.id, str(error))
        failed.add(one.whole.batch.id)
        return False
    return True


def _recorded(context: Context, written: Sequence[_Ready], failed: Collection[str]) -> list[Follow]:
    """Note what the written ones have answered, then that they are exported. In `failed` batches trouble goes on."""
    for batch in {one.whole.batch.id: one.whole.batch for one in written}.values():
        if batch.trouble and batch.id not in failed:
            context.ledger.trouble(batch.id, "")
        ended = [(one.item, one.whole.files, one.whole.digests) for one in written if one.whole.batch.id == batch.id]
        remember(context.known, context.views, batch, ended)
    follows = []
    for one in written:
        if one.splits:
            context.log.warning("submission.split", extra={"submission": one.item.id, "files": one.item.files})
            split = context.ledger.split(one.item.id, one.item.generation, one.whole.files)
            follows += [split.follow] if isinstance(split, Moved) and split.follow else []
    whole = [one.item for one in written if not one.splits]
    moves = context.ledger.exported_all([(item.id, item.generation) for item in whole])
    for item, moved in zip(whole, moves, strict=True):
        if isinstance(moved, Moved):
            context.log.info("submission.exported", extra={"submission": item.id})
            follows += [moved.follow] if moved.follow else []
    return follows


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


def _data(
    context: Context, item: Submission, batch: BatchView, kept: Mapping[str, Any] | None
) -> tuple[Mapping[str, Any], Submission]:
    """Return what the run returned: from the results backend, else from the provider, who still has it.

    Where neither has it any more, the submission comes back with a note that says so. Raises `ProviderError` where the
    provider can't be asked now.
    """
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
