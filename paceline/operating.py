"""What a person may do to batches and accounts: the verbs behind the command and the pages, without a word to anybody.

Each function checks, acts, and returns what came of it, with the wake-ups that somebody has to send.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from paceline.batch_file import Listed, record_cancelled, record_listed
from paceline.batch_view import CANCELLED, BatchView
from paceline.ending import BY_PERSON
from paceline.errors import LedgerLost, UsageError
from paceline.halving import REASON
from paceline.ledger import Ledger
from paceline.manifest import ManifestBusy, ManifestWriter
from paceline.model import Choice, Follow, Outcome, State, Submission
from paceline.providers.kinds import provider_kind, provider_names
from paceline.replies import Moved
from paceline.views import Views
from paceline.wording import counted

_UNRETRIED = ("timed_out", REASON)
"""Reasons of failures that aren't sent again: those are collected, or were split."""

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Retried:
    """What a retry came to: `sent` go again; `changed` of those asked for had a file that changed or vanished."""

    sent: int
    changed: int
    follows: tuple[Follow, ...]


def resume_command(account: str, batch: str = "") -> str:
    """Write the command that lets a batch, or else the account, go on."""
    return f"paceline resume {batch or f'--account {account}'}"


def rebuild_command(manifest: str) -> str:
    """Write the command that rebuilds the batch of a manifest."""
    return shlex.join(["paceline", "rebuild", str(Path(manifest).parent)])


def pause(ledger: Ledger, account: str, *, batch: str = "", why: str, by: str) -> bool:
    """Pause an account, or only a batch of it; False if it was paused already, which stays."""
    text = f"{why or 'paused by a person'} (go on with: {resume_command(account, batch)})"
    return ledger.pause_by_hand(account, batch=batch, message=text, by=by)


def check_resumable(batch: BatchView) -> None:
    """Raise `LedgerLost` or `UsageError` for a batch that a person's word alone doesn't let go on."""
    if batch.rebuilding:
        raise LedgerLost(f"batch {batch.id} isn't rebuilt yet; go on with: {rebuild_command(batch.manifest)}")
    if batch.paused == CANCELLED:
        raise UsageError(
            f"batch {batch.id} was cancelled; once it is complete, send what was cancelled with: paceline retry"
            f" {batch.id} --reason cancelled"
        )
    if batch.paused in (Choice.MAX_RUNS, Choice.MAX_CREDITS):
        raise UsageError(f"batch {batch.id} is at its limit ({batch.paused_message}); go on with its `paceline run …`")


def resume(ledger: Ledger, account: str, *, batch: str = "") -> tuple[bool, list[Follow]]:
    """Let an account, or a batch, go on; tell whether it was paused."""
    was, follow = ledger.resume(account, batch=batch)
    return was, [follow] if follow else []


def check_retry(batch: BatchView) -> None:
    """Raise `UsageError` while a batch is still being cancelled."""
    if batch.paused == CANCELLED and not batch.closed:
        raise UsageError(f"batch {batch.id} is still being cancelled: paceline status {batch.id} --watch")


def retryable(batch: BatchView) -> dict[str, int]:
    """Count what could be sent again, by reason; that was cancelled only if it is asked for by this reason.

    Read from the batch's totals, which count what isn't exported yet too.
    """
    return {reason: number for reason, number in batch.reasons.items() if reason not in _UNRETRIED}


def failed_ones(views: Views, batch: BatchView, reason: str | None = None) -> Iterator[Submission]:
    """Give what a retry would send again: all that failed, or what ended for one reason.

    Reads only those, but for batches that a worker of version 0.1 had a part in.
    """
    wanted = [name for name in batch.reasons if reason in (None, name)]
    found: Iterator[Submission]
    if views.all_ended(batch):
        found = chain.from_iterable(_ended(views, batch.id, name) for name in wanted)
    else:
        found = views.submissions(batch.id)
    outcome = Outcome.CANCELLED if reason == CANCELLED else Outcome.FAILED
    for item in found:
        given_up = item.state is State.EXPORTED and item.outcome is outcome and item.reason not in _UNRETRIED
        if given_up and reason in (None, item.reason):
            yield item


def _ended(views: Views, batch: str, reason: str) -> Iterator[Submission]:
    last = ""
    while ids := views.ended(batch, reason, _AT_ONCE, after=last):
        yield from views.some_submissions(ids)
        last = ids[-1]


def retry(ledger: Ledger, batch: BatchView, items: Iterable[Submission]) -> Retried:
    """Send failed submissions once more; each is paid for again."""
    if batch.paused == CANCELLED:
        record_cancelled(batch.manifest, cancelled=False)
        ledger.resume(batch.account, batch=batch.id, reason=CANCELLED)
    sent, changed, follows = 0, 0, dict[Follow, None]()
    for item in items:
        changed += item.reason in ("file_changed", "file_missing")
        moved = ledger.retry(item.id, item.generation, reason=BY_PERSON)
        if isinstance(moved, Moved):
            sent += 1
            if moved.follow:
                follows[moved.follow] = None
    return Retried(sent, changed, tuple(follows))


def cancel_effects(batch: BatchView) -> list[str]:
    """Say what cancelling a batch would end, in a few words each."""
    state, parts = batch.by_state, []
    if state[State.PLANNED] or not batch.listed:
        parts.append(f"{counted(state[State.PLANNED], 'submission')} will not be sent")
    if state[State.HELD]:
        parts.append(f"{state[State.HELD]:,} held will not be decided on")
    if running := state[State.RUNNING] + state[State.SUBMITTING] + state[State.UNCERTAIN]:
        can = batch.provider in provider_names() and provider_kind(batch.provider).capabilities.cancels
        parts.append(f"{counted(running, 'run')} will be {'ended' if can else 'followed to the end'}")
    return parts or ["nothing is left to be sent"]


def cancel(
    ledger: Ledger, views: Views, batch: BatchView, *, message: str, drop_stage: Callable[[], None] = lambda: None
) -> list[Follow]:
    """Cancel a batch that isn't complete. `drop_stage` removes what its listing has kept beside.

    Raises `LedgerLost` for one that isn't rebuilt yet, and `SinkError` where its folder can't be written to.
    """
    if batch.rebuilding:
        raise LedgerLost(f"batch {batch.id} isn't rebuilt yet: rebuild it first, so that its runs are known")
    record_cancelled(batch.manifest, cancelled=True)
    follow = ledger.cancel_batch(batch.id, message=message)
    return [*([follow] if follow else []), *_end_listing(ledger, views, batch, drop_stage)]


def _end_listing(ledger: Ledger, views: Views, batch: BatchView, drop_stage: Callable[[], None]) -> list[Follow]:
    """Call the listing complete where nobody goes on with it: what isn't listed is no part of a cancelled batch."""
    if batch.listed:
        return []
    try:
        with ManifestWriter.locked(batch.manifest, batch.id) as writer:
            now = views.batch(batch.id)
            if now.listed:
                return []
            writer.resume(now.manifest_bytes)
            record_listed(batch.manifest, batch.spec, Listed(now.manifest_bytes, now.files_skipped))
            follow = ledger.listed(batch.id, skipped=now.files_skipped, manifest_bytes=now.manifest_bytes)
            drop_stage()
            return [follow] if follow else []
    except ManifestBusy:
        return []  # the command that lists it goes on to the end; what it adds is cancelled
