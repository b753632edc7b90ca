"""Record what came of a request, now or, where the ledger can't be reached, as soon as it can.

What a provider has answered is known once. So it is kept on this machine's disk until the ledger has it: an accepted
run before the ledger is even asked, anything else when the ledger fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from redis.exceptions import RedisError

from paceline.delays import reconcile_times_s
from paceline.errors import SinkError, UnknownBatch
from paceline.lifecycle import Verb
from paceline.model import ErrorNote, Follow, RunView, State, Submission
from paceline.replies import Duplicate, Lost, Moved
from paceline.spool import Request, Verdict, fingerprint
from paceline.steps.context import Context

AT_ONCE = 200
"""So many verdicts are handed in per turn."""


def accept(
    context: Context, request: Request, run: RunView, digests: Sequence[bytes], permit_life_s: float | None = None
) -> list[Follow]:
    """Record the run that a request was answered with: on this machine's disk, then in the ledger.

    `permit_life_s` is told of a request of the class `add`, whose permit's life ends with the answer.
    """
    facts = {"run_id": run.run_id, "run_url": run.run_url}
    verdict = Verdict(request, Verb.ACCEPTED, facts)
    try:
        context.spool.keep(verdict)
    except SinkError as error:
        context.log.error("spool.failed", extra={"submission": request.submission, "problem": str(error)})
    # Digests are large and can be had again by reading the files: they are spooled only where they would be lost.
    whole = replace(verdict, facts={**facts, "digests": b"".join(digests).hex()})
    return record(context, whole, spooled=True, permit_life_s=permit_life_s)


def record(
    context: Context, verdict: Verdict, *, spooled: bool = False, permit_life_s: float | None = None
) -> list[Follow]:
    """Hand a verdict to the ledger; where that fails, keep it and return nothing."""
    try:
        moved = apply(context, verdict, permit_life_s=permit_life_s)
    except RedisError as error:
        keep(context, verdict, error)
        return []
    if spooled and not isinstance(moved, Lost):
        _done(context, verdict)
    return _follow(moved)


def keep(context: Context, verdict: Verdict, error: RedisError) -> None:
    """Keep a verdict that the ledger can't take now."""
    facts = {"submission": verdict.request.submission, "verb": verdict.verb.value, "error": type(error).__name__}
    try:
        context.spool.keep(verdict)
    except SinkError as problem:
        # Its lease runs out, and the provider is asked.
        context.log.error("spool.failed", extra={**facts, "problem": str(problem)})
    else:
        context.log.warning("spool.kept", extra=facts)


def hand_in(context: Context) -> list[Follow]:
    """Hand in what waits. A run whose submission the ledger doesn't know stays: the ledger may be rebuilt."""
    follows: list[Follow] = []
    try:
        waiting = context.spool.waiting()
    except SinkError as error:
        context.log.error("spool.failed", extra={"problem": str(error)})
        return []
    if len(waiting) > AT_ONCE:  # each in its turn: some may wait for a ledger that is never rebuilt
        start = int(context.elapsed()) * AT_ONCE % len(waiting)
        waiting = [*waiting[start:], *waiting[:start]][:AT_ONCE]
    for verdict in waiting:
        try:
            moved = apply(context, verdict)
        except RedisError:
            raise
        except Exception:
            # A damaged line, or another version's: the others must not wait for it.
            context.log.exception("spool.unusable", extra={"submission": verdict.request.submission})
            _done(context, verdict)
            continue
        if verdict.verb is Verb.ACCEPTED and isinstance(moved, Lost):
            continue
        _done(context, verdict)
        if isinstance(moved, Moved):
            context.log.warning(
                "spool.handed_in", extra={"submission": verdict.request.submission, "verb": verdict.verb.value}
            )
            follows += moved.follows
    return follows


def remembered(context: Context, item: Submission) -> list[Follow] | None:
    """Use what this machine knows of a submission and the ledger doesn't; None if it knows nothing more.

    A run is handed in again. Of a request that the ledger forgot, the submission becomes uncertain (again). Where the
    request was for other files than those planned now, a person decides: an old run must not pass for a new one.
    """
    try:
        latest, accepted = context.spool.latest(item.id), context.spool.accepted(item.id)
    except SinkError as error:
        context.log.error("spool.failed", extra={"submission": item.id, "problem": str(error)})
        return None
    if latest is None:
        return None
    files = fingerprint(context.views.files(item.id))
    if latest.generation > item.begun_generation:
        context.log.error("ledger.rolled_back", extra={"submission": item.id, "generation": latest.generation})
        if accepted is not None and accepted.request == latest and latest.files == files:
            return _hand_in_again(context, accepted)
        over_s = context.lease_s(item)
        moved = context.ledger.doubt(
            item.id, item.generation, forgotten=latest.generation, attempt=latest.attempt, over_s=over_s
        )
        return _follow(moved)
    if item.state is not State.UNCERTAIN:
        return None
    if latest.files != files:
        return _follow(context.ledger.hold(item.id, item.generation, reason="files_differ"))
    if accepted is None or accepted.request.attempt < item.attempt:
        return None
    return _hand_in_again(context, accepted)


def _hand_in_again(context: Context, accepted: Verdict) -> list[Follow]:
    facts = {"submission": accepted.request.submission, "run_id": accepted.facts["run_id"]}
    context.log.warning("spool.remembered", extra=facts)
    return _follow(apply(context, accepted))


def _follow(moved: Moved | Duplicate | Lost) -> list[Follow]:
    return moved.follows if isinstance(moved, Moved) else []


def _done(context: Context, verdict: Verdict) -> None:
    try:
        context.spool.handed_in(verdict)
    except SinkError as error:  # it will be handed in again, which changes nothing
        context.log.error("spool.failed", extra={"submission": verdict.request.submission, "problem": str(error)})


def apply(context: Context, verdict: Verdict, *, permit_life_s: float | None = None) -> Moved | Duplicate | Lost:
    """Carry out a verdict's verb; repeating it changes nothing. Raises redis-py's errors."""
    try:
        return _apply(context, verdict, permit_life_s)
    except UnknownBatch:
        return Lost()


def _apply(context: Context, verdict: Verdict, permit_life_s: float | None) -> Moved | Duplicate | Lost:
    ledger, request, facts = context.ledger, verdict.request, dict(verdict.facts)
    name, generation = request.submission, request.generation
    match verdict.verb:
        case Verb.ACCEPTED:
            return _accepted(context, request, facts, permit_life_s)
        case Verb.PUT_BACK:
            return ledger.put_back(name, generation, token=request.token, **facts)
        case Verb.PAUSE:
            return ledger.pause(name, generation, token=request.token, **facts)
        case Verb.REJECT:
            note = ErrorNote(**facts["error"])
            return ledger.reject(name, generation, reason=facts["reason"], error=note, token=request.token)
        case _:
            first_look_s = reconcile_times_s(context.waits.settle_s)[0]
            return ledger.uncertain(
                name, generation, reason=facts["reason"], first_look_s=first_look_s, token=request.token
            )


def _accepted(
    context: Context, request: Request, facts: dict[str, str], permit_life_s: float | None
) -> Moved | Duplicate | Lost:
    digests = bytes.fromhex(facts.get("digests", ""))
    moved = context.ledger.accepted(
        request.submission,
        RunView(facts["run_id"], None, "", None, run_url=facts.get("run_url")),
        attempt=request.attempt,
        first_poll_s=context.waits.first_poll_s,
        digests=[digests[at : at + 32] for at in range(0, len(digests), 32)],
        permit_life_s=permit_life_s,
    )
    said = {"submission": request.submission, "run_id": facts["run_id"], "attempt": request.attempt}
    if isinstance(moved, Duplicate):
        context.log.error("submission.duplicate_run", extra={**said, "known_run_id": moved.known_run_id})
    elif isinstance(moved, Moved):
        context.log.info("submission.accepted", extra=said)
    else:
        context.log.error("submission.unknown_run", extra=said)
    return moved
