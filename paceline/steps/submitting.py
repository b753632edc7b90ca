"""Send one submission: check its files, take the permit with the intent, POST, record what came of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from paceline.delays import reconcile_times_s, upload_deadline_s
from paceline.errors import (
    Ambiguous,
    Blocked,
    FileProblem,
    NotSent,
    PermitExpired,
    ProviderError,
    Refused,
    SourceUnreachable,
    Throttled,
)
from paceline.files import SourceRoot
from paceline.model import EndpointClass, ErrorNote, Follow, PlannedFile, State, Submission
from paceline.providers.base import Accepted, SubmitRequest, Upload
from paceline.replies import Begun, Duplicate, Lost, Moved
from paceline.steps.context import Account, Context
from paceline.views import BatchView


def submit(context: Context, submission_id: str) -> list[Follow]:
    """Carry a planned submission to the provider. Does nothing for one that is in any other state.

    Never raises for what a provider or a file does; errors of Redis pass through, and rescue takes over.
    """
    item = context.views.find_submission(submission_id)
    if item is None or item.state is not State.PLANNED:
        return []
    batch = context.views.batch(item.batch)
    account = context.account(batch.account)
    if batch.address != account.address:
        return _wrong_address(context, item, batch, account)
    files = context.views.files(submission_id)
    try:
        root = context.source(batch.source)
        for file in files:
            root.check(file)
    except SourceUnreachable as problem:
        context.log.error("source.unreachable", extra={"batch": batch.id, "source": batch.source})
        moved = context.ledger.pause(
            item.id, item.generation, reason="source_unreachable", message=str(problem), whole_account=False
        )
        return _follows(moved)
    except FileProblem as problem:
        return _bad_file(context, item, problem)
    return _begin(context, item, batch, account, root, files)


def _wrong_address(context: Context, item: Submission, batch: BatchView, account: Account) -> list[Follow]:
    """Stop a batch whose account means another server here: sending would pay at a place nobody asked for."""
    message = (
        f"worker {context.worker} sends account {account.name} to {account.address}, but the batch was begun with"
        f" {batch.address}; give the worker the same address, then: paceline resume {batch.id}"
    )
    context.log.error("account.wrong_address", extra={"batch": batch.id, "account": account.name})
    return _follows(
        context.ledger.pause(item.id, item.generation, reason="wrong_address", message=message, whole_account=False)
    )


def _begin(
    context: Context,
    item: Submission,
    batch: BatchView,
    account: Account,
    root: SourceRoot,
    files: tuple[PlannedFile, ...],
) -> list[Follow]:
    rate = account.rates[EndpointClass.ADD]
    waits = context.waits
    deadline_s = upload_deadline_s(item.size_bytes, base_s=waits.upload_base_s, bytes_per_s=waits.upload_bytes_per_s)
    asked_at = context.elapsed()  # before the script: the permit is younger than we think, never older
    begun = context.ledger.begin(
        item.id, item.generation, rate=rate, worker=context.worker, lease_s=deadline_s + waits.lease_extra_s
    )
    if not isinstance(begun, Begun):
        follow = getattr(begun, "follow", None)
        return [follow] if follow else []
    request = SubmitRequest(
        agent=batch.agent,
        external_id=item.external_id,
        uploads=[Upload(file.upload_name, file.path, file.size_bytes, partial(root.open, file)) for file in files],
        deadline_s=deadline_s,
        gate=_gate(context, asked_at, context.limiter.policy.life_s(rate)),
    )
    try:
        accepted = account.provider.submit(request)
    except (ProviderError, FileProblem) as error:
        return _refused(context, item, begun, account, error)
    except Exception:
        # A defect of ours, at a moment when bytes may have left: the one safe thing to know is that we don't know.
        context.log.exception("submission.defect", extra={"submission": item.id})
        return _doubt(context, item, begun, "defect")
    return _accepted(context, item, begun, accepted)


def _gate(context: Context, asked_at: float, life_s: float) -> Callable[[], None]:
    def check() -> None:
        age_s = context.elapsed() - asked_at
        if age_s > life_s:
            raise PermitExpired(f"the permit was {age_s:.3f} s old before the first byte (its life is {life_s:g} s)")

    return check


def _accepted(context: Context, item: Submission, begun: Begun, accepted: Accepted) -> list[Follow]:
    moved = context.ledger.accepted(
        item.id,
        accepted.run,
        attempt=begun.attempt,
        first_poll_s=context.waits.first_poll_s,
        digests=accepted.digests,
    )
    facts = {"submission": item.id, "run_id": accepted.run.run_id, "attempt": begun.attempt}
    if isinstance(moved, Duplicate):
        context.log.error("submission.duplicate_run", extra={**facts, "known_run_id": moved.known_run_id})
    else:
        context.log.info("submission.accepted", extra=facts)
    return _follows(moved)


def _refused(
    context: Context, item: Submission, begun: Begun, account: Account, error: ProviderError | FileProblem
) -> list[Follow]:
    """Turn what went wrong into the one verb that DESIGN §4 names for it."""
    ledger, rate = context.ledger, account.rates[EndpointClass.ADD]
    facts = {"submission": item.id, "attempt": begun.attempt, "error": type(error).__name__}
    context.log.warning("submission.not_accepted", extra={**facts, "status": getattr(error, "http_status", None)})
    match error:
        case PermitExpired():
            ledger.trouble(item.batch, f"{error}; if this stays so, set a longer PACELINE_PERMIT_LIFE_SECONDS")
            moved = ledger.put_back(item.id, begun.generation, reason="permit_expired", unused=True)
        case NotSent():
            context.limiter.close(account.name, EndpointClass.ADD, rate, seconds=None, why="unreachable")
            moved = ledger.put_back(item.id, begun.generation, reason="not_sent", unused=True)
        case Throttled(retry_after_s=seconds):
            context.limiter.close(account.name, EndpointClass.ADD, rate, seconds=seconds, why="throttled")
            moved = ledger.put_back(item.id, begun.generation, reason="throttled", unused=False, throttled=True)
        case Refused():
            note = ErrorNote("request", "submit", str(error), error.http_status)
            moved = ledger.reject(item.id, begun.generation, reason="rejected", error=note)
        case Blocked():
            moved = ledger.pause(item.id, begun.generation, reason=error.reason, message=str(error))
            context.log.error("account.paused", extra={"account": account.name, "reason": error.reason})
        case SourceUnreachable():
            moved = ledger.pause(
                item.id,
                begun.generation,
                reason=error.reason,
                message=str(error),
                whole_account=False,
            )
        case FileProblem() if begun.attempt > 1:
            # What an earlier attempt sent was something else: back among the planned, where the check holds it.
            moved = ledger.put_back(item.id, begun.generation, reason=error.reason, unused=False)
        case FileProblem():
            note = ErrorNote("file", "submit", str(error))
            moved = ledger.reject(item.id, begun.generation, reason=error.reason, error=note)
        case Ambiguous():
            return _doubt(context, item, begun, "ambiguous_answer")
        case _:
            return _doubt(context, item, begun, "unknown_error")
    return _follows(moved)


def _doubt(context: Context, item: Submission, begun: Begun, reason: str) -> list[Follow]:
    first_look_s = reconcile_times_s(context.waits.settle_s)[0]
    return _follows(context.ledger.uncertain(item.id, begun.generation, reason=reason, first_look_s=first_look_s))


def _bad_file(context: Context, item: Submission, problem: FileProblem) -> list[Follow]:
    """Fail a submission before anything is paid; after a first attempt a person decides: the payload would differ."""
    context.log.warning("submission.file_problem", extra={"submission": item.id, "reason": problem.reason})
    if item.attempt > 0:
        return _follows(context.ledger.hold(item.id, item.generation, reason=problem.reason))
    note = ErrorNote("file", "submit", str(problem))
    return _follows(context.ledger.reject(item.id, item.generation, reason=problem.reason, error=note))


def _follows(moved: Moved | Duplicate | Lost) -> list[Follow]:
    return [moved.follow] if isinstance(moved, Moved) and moved.follow else []
