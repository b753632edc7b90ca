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
from paceline.operating import check_retry, failed_ones, retry
from paceline.views import BatchView


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
        check_retry(found)
        items = list(failed_ones(services.views, found, reason))
        if not items:
            click.echo(_nothing(services, found, reason), err=True)
            return Exit.NOTHING_TO_DO
        if sys.stdin.isatty() and not yes:
            click.confirm(f"Send {counted(len(items), 'submission')} again, and pay for each?", abort=True, err=True)
        done = retry(services.ledger, found, items)
        click.echo(f"Sending {counted(done.sent, 'submission')} again: paceline status {found.id}", err=True)
        if done.changed:
            click.echo(
                f"{counted(done.changed, 'submission')} had a file that changed or vanished: that can only be sent with"
                " the files as planned. To send them as they are now, run with another --to and --skip-unchanged.",
                err=True,
            )
        stopped = services.views.batch(found.id).paused
        if stopped is not None:
            click.echo(
                f"It is paused ({printable(stopped)}), so nothing is sent yet: paceline status {found.id}", err=True
            )
        send_on(services, done.follows)
    return Exit.DONE


def _nothing(services: Services, batch: BatchView, reason: str | None) -> str:
    """Say that there is nothing to retry, and what there is instead."""
    if reason == "timed_out":
        return f"What timed out isn't sent again, but fetched: paceline collect {batch.id}"
    reasons = Counter(item.reason for item in failed_ones(services.views, batch))
    if reason is None or not reasons:
        return f"Batch {batch.id} has nothing that failed."
    there = ", ".join(f"{name} ({number:,})" for name, number in sorted(reasons.items(), key=str))
    return printable(f"Batch {batch.id} has nothing that failed with {reason!r}; the reasons there are: {there}")
