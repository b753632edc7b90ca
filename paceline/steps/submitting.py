"""Send one submission: check its files, take the permit with the intent, POST, record what came of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from paceline.errors import (
    Ambiguous,
    Blocked,
    FileProblem,
    NotSent,
    PermitExpired,
    ProviderError,
    Refused,
    SinkError,
    SourceUnreachable,
    Throttled,
)
from paceline.files import SourceRoot
from paceline.ledger import STARTING
from paceline.lifecycle import Verb
from paceline.model import (
    Choice,
    EndpointClass,
    ErrorNote,
    Follow,
    PlannedFile,
    RunView,
    State,
    Submission,
    batch_of,
)
from paceline.providers.base import SubmitRequest, Upload
from paceline.replies import Begun, DueRun, Lost, Moved
from paceline.roots import Root, held
from paceline.spool import Request, Verdict, fingerprint
from paceline.starting import way_of
from paceline.steps.context import Account, Context
from paceline.steps.finishing import finish
from paceline.steps.following import decide
from paceline.steps.verdicts import accept, keep, record, remembered
from paceline.views import BatchView


def submit(context: Context, submission_id: str) -> list[Follow]:
    """Carry a planned submission to the provider. Does nothing for one that is in any other state.

    Never raises for what a provider or a file does. Errors of Redis before the request pass through, and rescue takes
    over; what a request came to is kept until Redis has it.
    """
    whole = next(iter(context.views.whole([submission_id])), None)
    if whole is None or whole.item.state is not State.PLANNED:
        return []
    item, batch = whole.item, whole.batch
    account = context.account(batch.account)
    if batch.address != account.address:
        return _wrong_address(context, item, batch, account)
    known = _remembered(context, item, account)
    if known is not None:
        return known
    files = whole.files
    with ExitStack() as stack:
        try:
            root = stack.enter_context(held(context.source(batch.source)))
            root.check_all(files)
        except SourceUnreachable as problem:
            context.log.error("source.unreachable", extra={"batch": batch.id, "source": batch.source})
            moved = context.ledger.pause(
                item.id, item.generation, reason="source_unreachable", message=str(problem), whole_account=False
            )
            return _follows(moved)
        except FileProblem as problem:
            return _bad_file(context, item, problem)
        return _begin(context, item, batch, account, root, files)


def _remembered(context: Context, item: Submission, account: Account) -> list[Follow] | None:
    """Stop before a second payment: this machine may have begun a request that the ledger doesn't know any more."""
    try:
        latest = context.spool.latest(item.id)
    except SinkError as error:
        return _no_spool(context, account, item.id, error)
    if latest is None or latest.generation <= item.begun_generation:
        return None
    # What else was sent meanwhile is forgotten too, so the pace begins anew.
    for endpoint in STARTING:
        rate = account.rates[endpoint]
        context.limiter.close(account.name, endpoint, rate, seconds=rate.window_s, why="rollback")
    return remembered(context, item)


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
    root: Root,
    files: tuple[PlannedFile, ...],
) -> list[Follow]:
    endpoint, wait_s = way_of(batch.choices, batch.complete_size, account.rates, account.provider.capabilities.waits_s)
    rate = account.rates[endpoint]
    waits = context.waits
    deadline_s, lease_s = waits.deadline_s(item.size_bytes), waits.lease_s(item.size_bytes) + wait_s
    token = secrets.token_hex(4)
    asked_at = context.elapsed()  # before the script: the permit is younger than we think, never older
    try:
        begun = context.ledger.begin(
            item.id,
            item.generation,
            rate=rate,
            worker=context.worker,
            lease_s=lease_s,
            token=token,
            can_ask=account.provider.capabilities.finds_many > 0,
            endpoint=endpoint,
        )
    except RedisError as error:
        # The intent may stand; then it is ours by its token, and nobody has sent anything.
        unsent = Request(item.id, item.generation + 1, item.attempt + 1, token)
        keep(context, Verdict(unsent, Verb.PUT_BACK, _unused("not_sent", endpoint)), error)
        raise
    if not isinstance(begun, Begun):
        follow = getattr(begun, "follow", None)
        return [follow] if follow else []
    request = Request(item.id, begun.generation, begun.attempt, token, fingerprint(files))
    try:
        context.spool.begun(request)
    except SinkError as error:
        _no_spool(context, account, item.id, error)
        return record(context, Verdict(request, Verb.PUT_BACK, _unused("spool_unwritable", endpoint)))
    post = SubmitRequest(
        agent=batch.agent,
        external_id=item.external_id,
        uploads=[_upload(root, file) for file in files],
        deadline_s=deadline_s,
        gate=_gate(context, asked_at, context.limiter.policy.life_s(rate)),
        due=datetime.fromisoformat(batch.choices[Choice.DUE]) if batch.choices.get(Choice.DUE) else None,
        inputs=batch.spec.inputs,
        settled=batch.settled,
        wait_s=wait_s,
    )
    try:
        accepted = account.provider.submit(post)
    except (ProviderError, FileProblem) as error:
        return _refused(context, account, request, error, endpoint)
    except Exception:
        # A defect of ours, at a moment when bytes may have left: the one safe thing to know is that we don't know.
        context.log.exception("submission.defect", extra={"submission": item.id})
        return record(context, Verdict(request, Verb.UNCERTAIN, {"reason": "defect"}))
    life_s = context.limiter.policy.life_s(rate) if endpoint is EndpointClass.ADD else None
    follows = accept(context, request, accepted.run, accepted.digests, life_s)
    return follows + _finish_at_once(context, request, accepted.run) if wait_s and accepted.run.outcome else follows


def _upload(root: Root, file: PlannedFile) -> Upload:
    read = partial(root.read, file) if isinstance(root, SourceRoot) else None
    return Upload(file.upload_name, file.path, file.size_bytes, partial(root.open, file), read)


def _finish_at_once(context: Context, request: Request, run: RunView) -> list[Follow]:
    """Finish a run whose end came with the answer; whatever goes wrong here, polling makes good."""
    try:
        item = context.views.find_submission(request.submission)
        if item is None or item.state is not State.RUNNING or item.run_id != run.run_id:
            return []
        due = DueRun(item.id, run.run_id, item.generation, 0.0)
        ending = decide(due, run, context.waits)
        return finish(context, [(due, ending)], context.views.now_ms()) if ending else []
    except RedisError as error:
        context.log.warning("submission.not_finished", extra={"submission": request.submission, "error": str(error)})
        return []


def _no_spool(context: Context, account: Account, submission: str, error: SinkError) -> list[Follow]:
    """Send nothing that this machine can't note first."""
    context.log.error("spool.failed", extra={"submission": submission, "problem": str(error)})
    for endpoint in STARTING:
        context.limiter.close(account.name, endpoint, account.rates[endpoint], seconds=None, why="spool")
    context.ledger.trouble(batch_of(submission), f"worker {context.worker}: {error}")
    return []


def _gate(context: Context, asked_at: float, life_s: float) -> Callable[[], None]:
    def check() -> None:
        age_s = context.elapsed() - asked_at
        if age_s > life_s:
            raise PermitExpired(f"the permit was {age_s:.3f} s old before the first byte (its life is {life_s:g} s)")

    return check


def _unused(reason: str, endpoint: EndpointClass) -> dict[str, Any]:
    """Return the facts of a submission that is put back with its permit."""
    return {"reason": reason, "unused": True, "endpoint": endpoint.value}


def _refused(
    context: Context, account: Account, request: Request, error: ProviderError | FileProblem, endpoint: EndpointClass
) -> list[Follow]:
    """Turn what went wrong into the one verb that DESIGN §4 names for it."""
    facts = {"submission": request.submission, "attempt": request.attempt, "error": type(error).__name__}
    context.log.warning("submission.not_accepted", extra={**facts, "status": getattr(error, "http_status", None)})
    verdict = _verdict(request, error, endpoint)
    try:
        follows = _slow_down(context, account, request, error, endpoint)
    except RedisError as problem:
        keep(context, verdict, problem)
        return []
    return follows + record(context, verdict)


def _slow_down(
    context: Context, account: Account, request: Request, error: ProviderError | FileProblem, endpoint: EndpointClass
) -> list[Follow]:
    """Do what the whole account has to do about it, before the submission can be sent again."""
    rate = account.rates[endpoint]
    name, submission = account.name, request.submission
    match error:
        case PermitExpired():
            message = f"{error}; if this stays so, set a longer PACELINE_PERMIT_LIFE_SECONDS"
            context.ledger.trouble(batch_of(submission), message)
        case NotSent():
            context.circuit.failed(name, str(error), submission=submission, surely=True)
        case Ambiguous() if error.http_status is None or error.http_status == 408 or error.http_status >= 500:
            context.circuit.failed(name, str(error), submission=submission)
        case Throttled(retry_after_s=seconds):
            context.limiter.close(name, endpoint, rate, seconds=seconds, why="throttled")
            return context.circuit.answered(name, submission=True)
        case Refused():
            return context.circuit.answered(name, submission=True)
        case Blocked():
            context.log.error("account.paused", extra={"account": name, "reason": error.reason})
            return context.circuit.answered(name, submission=True)
    return []


def _verdict(request: Request, error: ProviderError | FileProblem, endpoint: EndpointClass) -> Verdict:
    verb, facts = Verb.PUT_BACK, dict[str, Any]()
    match error:
        case PermitExpired():
            facts = _unused("permit_expired", endpoint)
        case NotSent():
            facts = _unused("not_sent", endpoint)
        case Throttled():
            facts = {"reason": "throttled", "unused": False, "throttled": True, "endpoint": endpoint.value}
        case Refused():
            note = ErrorNote("request", "submit", str(error), error.http_status)
            verb, facts = Verb.REJECT, {"reason": "rejected", "error": note.as_dict()}
        case Blocked():
            verb, facts = Verb.PAUSE, {"reason": error.reason, "message": str(error)}
        case SourceUnreachable():
            verb, facts = Verb.PAUSE, {"reason": error.reason, "message": str(error), "whole_account": False}
        case FileProblem() if request.attempt > 1:
            # What an earlier attempt sent was something else: back among the planned, where the check holds it.
            facts = {"reason": error.reason, "unused": False}
        case FileProblem():
            note = ErrorNote("file", "submit", str(error))
            verb, facts = Verb.REJECT, {"reason": error.reason, "error": note.as_dict()}
        case Ambiguous():
            verb, facts = Verb.UNCERTAIN, {"reason": "ambiguous_answer"}
        case _:
            verb, facts = Verb.UNCERTAIN, {"reason": "unknown_error"}
    return Verdict(request, verb, facts)


def _bad_file(context: Context, item: Submission, problem: FileProblem) -> list[Follow]:
    """Fail a submission before anything is paid; after a first attempt a person decides: the payload would differ."""
    context.log.warning("submission.file_problem", extra={"submission": item.id, "reason": problem.reason})
    if item.attempt > 0:
        return _follows(context.ledger.hold(item.id, item.generation, reason=problem.reason))
    note = ErrorNote("file", "submit", str(problem))
    return _follows(context.ledger.reject(item.id, item.generation, reason=problem.reason, error=note))


def _follows(moved: Moved | Lost) -> list[Follow]:
    return [moved.follow] if isinstance(moved, Moved) and moved.follow else []
