"""`paceline cancel`: end a batch for good."""

from __future__ import annotations

import sys

import click

from cli.exits import Exit
from cli.session import pick_batch, send_on, session
from cli.target import stage_path
from config.settings import load_settings
from paceline.operating import cancel, cancel_effects
from producers.staging import remove_stage


@click.command("cancel")
@click.argument("batch")
@click.option("--yes", is_flag=True, help="Don't ask on a terminal.")
def command(batch: str, yes: bool) -> int:
    """Cancel BATCH for good: nothing more of it is sent, and its runs are ended where the provider can.

    What is being sent finishes its request, and what is uncertain is found out first. What runs had returned is kept,
    and everything is exported: what succeeded before, too. Cancelled submissions can be sent later all the same:
    `paceline retry BATCH --reason cancelled`.
    """
    settings = load_settings()
    with session(settings) as services:
        found = pick_batch(services.views, batch)
        if found.closed:
            click.echo(f"Batch {found.id} is complete already; there is nothing to cancel.", err=True)
            return Exit.NOTHING_TO_DO
        if sys.stdin.isatty() and not yes and not found.rebuilding:
            question = f"Cancel batch {found.id}? {', '.join(cancel_effects(found))}. What has run is paid for"
            click.confirm(question, abort=True, err=True)
        follows = cancel(
            services.ledger,
            services.views,
            found,
            message="cancelled by a person",
            drop_stage=lambda: remove_stage(stage_path(settings, found.id)),
        )
        click.echo(f"Cancelling batch {found.id}: paceline status {found.id}", err=True)
        send_on(services, follows)
    return Exit.DONE
