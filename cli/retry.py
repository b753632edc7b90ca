"""`paceline retry`: send what failed once more."""

from __future__ import annotations

import sys

import click

from cli.exits import Exit
from cli.run import counted
from cli.session import pick_batch, send_on, session
from config.services import Services
from config.settings import load_settings
from paceline.halving import REASON
from paceline.ledger import BY_PERSON
from paceline.model import Follow, Outcome, State, Submission
from paceline.replies import Moved
from paceline.views import BatchView


@click.command("retry")
@click.argument("batch")
@click.option("--reason", metavar="R", help="Only what failed with this reason, like run_failed.")
@click.option("--yes", is_flag=True, help="Don't ask on a terminal.")
def command(batch: str, reason: str | None, yes: bool) -> int:
    """Send the failed submissions of BATCH once more, as new attempts. Each is paid for again.

    What was given up at the time limit isn't sent again: `paceline collect` fetches it. Of what was split in halves,
    those that failed are sent. Earlier runs stay on record.
    """
    settings = load_settings()
    with session(settings) as services:
        found = pick_batch(services.views, batch)
        items = _failed(services, found, reason)
        if not items:
            click.echo(f"Batch {found.id} has nothing that failed{f' with {reason}' if reason else ''}.", err=True)
            return Exit.NOTHING_TO_DO
        if sys.stdin.isatty() and not yes:
            click.confirm(f"Send {counted(len(items), 'submission')} again, and pay for each?", abort=True, err=True)
        follows: list[Follow] = []
        sent = 0
        for item in items:
            moved = services.ledger.retry(item.id, item.generation, reason=BY_PERSON)
            if isinstance(moved, Moved):
                sent += 1
                follows += [moved.follow] if moved.follow else []
        click.echo(f"Sending {counted(sent, 'submission')} again: paceline status {found.id}", err=True)
        send_on(services, follows)
    return Exit.DONE


def _failed(services: Services, batch: BatchView, reason: str | None) -> list[Submission]:
    return [
        item
        for item in services.views.submissions(batch.id)
        if item.state is State.EXPORTED
        and item.outcome is Outcome.FAILED
        and item.reason not in ("timed_out", REASON)
        and reason in (None, item.reason)
    ]
