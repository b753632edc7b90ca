"""`paceline retry`: send what failed once more."""

from __future__ import annotations

import sys
from collections import Counter

import click

from cli.exits import Exit
from cli.output import counted
from cli.session import pick_batch, send_on, session
from config.logs import printable
from config.services import Services
from config.settings import load_settings
from paceline.batch_file import record_cancelled
from paceline.batch_view import CANCELLED
from paceline.decisions import BY_PERSON
from paceline.errors import UsageError
from paceline.halving import REASON
from paceline.model import Follow, Outcome, State, Submission
from paceline.replies import Moved
from paceline.views import BatchView

_CHANGED = ("file_changed", "file_missing")
"""Reasons that another attempt comes to as well, unless somebody puts the files back."""


@click.command("retry")
@click.argument("batch")
@click.option("--reason", metavar="R", help="Only what failed with this reason, like run_failed.")
@click.option("--yes", is_flag=True, help="Don't ask on a terminal.")
def command(batch: str, reason: str | None, yes: bool) -> int:
    """Send the failed submissions of BATCH once more, as new attempts. Each is paid for again.

    What was given up at the time limit isn't sent again: `paceline collect` fetches it. Of what was split in halves,
    those that failed are sent. What was cancelled is sent only with --reason cancelled. Earlier runs stay on record.
    """
    settings = load_settings()
    with session(settings) as services:
        found = pick_batch(services.views, batch)
        if found.paused == CANCELLED and not found.closed:
            raise UsageError(f"batch {found.id} is still being cancelled: paceline status {found.id} --watch")
        items = [item for item in _failed(services, found, reason) if reason in (None, item.reason)]
        if not items:
            click.echo(_nothing(services, found, reason), err=True)
            return Exit.NOTHING_TO_DO
        if sys.stdin.isatty() and not yes:
            click.confirm(f"Send {counted(len(items), 'submission')} again, and pay for each?", abort=True, err=True)
        if found.paused == CANCELLED:
            record_cancelled(found.manifest, cancelled=False)
            services.ledger.resume(found.account, batch=found.id, reason=CANCELLED)
        follows: list[Follow] = []
        sent = 0
        for item in items:
            moved = services.ledger.retry(item.id, item.generation, reason=BY_PERSON)
            if isinstance(moved, Moved):
                sent += 1
                follows += [moved.follow] if moved.follow else []
        click.echo(f"Sending {counted(sent, 'submission')} again: paceline status {found.id}", err=True)
        changed = sum(item.reason in _CHANGED for item in items)
        if changed:
            click.echo(
                f"{counted(changed, 'submission')} had a file that changed or vanished: that can only be sent with the"
                " files as planned. To send them as they are now, run with another --to and --skip-unchanged.",
                err=True,
            )
        stopped = services.views.batch(found.id).paused
        if stopped is not None:
            click.echo(
                f"It is paused ({printable(stopped)}), so nothing is sent yet: paceline status {found.id}", err=True
            )
        send_on(services, follows)
    return Exit.DONE


def _failed(services: Services, batch: BatchView, reason: str | None) -> list[Submission]:
    return [
        item
        for item in services.views.submissions(batch.id)
        if item.state is State.EXPORTED
        and (item.outcome is Outcome.FAILED if reason != CANCELLED else item.outcome is Outcome.CANCELLED)
        and item.reason not in ("timed_out", REASON)
    ]


def _nothing(services: Services, batch: BatchView, reason: str | None) -> str:
    """Say that there is nothing to retry, and what there is instead."""
    if reason == "timed_out":
        return f"What timed out isn't sent again, but fetched: paceline collect {batch.id}"
    reasons = Counter(item.reason for item in _failed(services, batch, None))
    if reason is None or not reasons:
        return f"Batch {batch.id} has nothing that failed."
    there = ", ".join(f"{name} ({number:,})" for name, number in sorted(reasons.items(), key=str))
    return printable(f"Batch {batch.id} has nothing that failed with {reason!r}; the reasons there are: {there}")
