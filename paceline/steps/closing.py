"""Close a batch whose submissions are all exported: audit it against the provider, then commit its final output."""

from __future__ import annotations

from itertools import islice

from paceline.errors import PacelineError, ProviderError, SinkBusy, Unavailable
from paceline.model import EndpointClass, Follow
from paceline.remembering import remember_last
from paceline.sinks.base import Closing
from paceline.sinks.places import written_in_turn
from paceline.steps.context import Context
from paceline.steps.reconciling import audit
from paceline.summary import summarize
from paceline.views import BatchView

AUDIT_TRIES = 5

CALLS_PER_TURN = 10
"""Then other messages on the queue have their turn, and the chain's claim is renewed."""

RETRY_S = 10.0


def close(context: Context, batch_id: str) -> tuple[list[Follow], float | None]:
    """Carry a batch's closing as far as it goes now. Returns the seconds until it goes on, None when it is done."""
    batch = context.views.batch(batch_id)
    if batch.closed or not batch.closing:
        return [], None
    wait_s = _audit(context, batch)
    if wait_s is not None:
        return [], wait_s
    batch = context.views.batch(batch_id)
    closing = Closing(
        batch=batch.id,
        manifest=batch.manifest,
        submissions=batch.in_manifest,
        summary=summarize(batch, context.views.now_ms(), complete=True),
        still_open=lambda: not context.views.batch(batch_id).closed,
    )
    try:
        for destination in written_in_turn(batch.to):
            with context.turns.at(destination):
                context.sink(destination).commit(closing)
    except SinkBusy:
        return [], RETRY_S
    except PacelineError as error:
        context.log.error("batch.commit_failed", extra={"batch": batch.id, "problem": str(error)})
        context.ledger.trouble(batch.id, str(error))
        return [], RETRY_S
    if batch.trouble:
        context.ledger.trouble(batch.id, "")
    remember_last(context.known, context.views, batch)
    context.ledger.close_batch(batch.id)
    context.log.info("batch.complete", extra={"batch": batch.id, "submissions": batch.total})
    return [], None


def _audit(context: Context, batch: BatchView) -> float | None:
    """Audit from where it stopped; return the seconds to wait before going on, None when there is nothing left.

    A provider that can't be asked five times in a row, or doesn't show runs that it had, ends the audit: the output
    doesn't wait for it for ever. The batch then says how far the audit came.
    """
    account = context.account(batch.account)
    step = account.provider.capabilities.finds_many
    if not step:
        return None
    index, tries = context.ledger.audit_progress(batch.id)
    calls = 0
    while index <= batch.total and tries < AUDIT_TRIES:
        if calls == CALLS_PER_TURN:
            return 0.0
        calls += 1
        wait_s = context.circuit.look(account.name).wait_s
        wait_s = wait_s or context.limiter.take(account.name, EndpointClass.LIST, account.rates[EndpointClass.LIST])
        if wait_s > 0:
            return wait_s
        asked = list(islice(context.views.ids(batch, index - 1), step))
        try:
            missing = audit(context, account, batch.agent, asked)
            if missing:
                raise Unavailable(f"the provider's answer lacks {missing} runs that it had")
        except ProviderError as error:
            context.log.warning("audit.failed", extra={"batch": batch.id, "problem": str(error)})
            context.ledger.audited(batch.id, index, tries + 1)
            return RETRY_S / 5 * (tries + 1)
        index, tries = index + len(asked), 0
        context.ledger.audited(batch.id, index, tries)
    return None
