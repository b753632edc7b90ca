"""`paceline cancel`: end a batch for good."""

from __future__ import annotations

import sys

import click

from cli.exits import Exit
from cli.output import counted
from cli.session import pick_batch, send_on, session
from cli.target import stage_path
from config.services import Services
from config.settings import load_settings
from paceline.batch_file import Listed, record_cancelled, record_listed
from paceline.errors import LedgerLost
from paceline.manifest import ManifestBusy, ManifestWriter
from paceline.model import State
from paceline.providers.kinds import provider_kind
from paceline.views import BatchView
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
        if found.rebuilding:
            raise LedgerLost(f"batch {found.id} isn't rebuilt yet: rebuild it first, so that its runs are known")
        question = _question(found)
        if sys.stdin.isatty() and not yes:
            click.confirm(question, abort=True, err=True)
        record_cancelled(found.manifest, cancelled=True)
        follow = services.ledger.cancel_batch(found.id, message="cancelled by a person")
        _end_listing(services, found)
        click.echo(f"Cancelling batch {found.id}: paceline status {found.id}", err=True)
        send_on(services, [follow] if follow else [])
    return Exit.DONE


def _question(batch: BatchView) -> str:
    state = batch.by_state
    parts = [f"{counted(state[State.PLANNED], 'submission')} will not be sent"]
    if state[State.HELD]:
        parts.append(f"{state[State.HELD]:,} held will not be decided on")
    if running := state[State.RUNNING] + state[State.SUBMITTING] + state[State.UNCERTAIN]:
        can = provider_kind(batch.provider).capabilities.cancels
        parts.append(f"{counted(running, 'run')} will be {'ended' if can else 'followed to the end'}")
    return f"Cancel batch {batch.id}? {', '.join(parts)}. What has run is paid for"


def _end_listing(services: Services, batch: BatchView) -> None:
    """Call the listing complete where nobody goes on with it: what isn't listed is no part of a cancelled batch."""
    if batch.listed:
        return
    try:
        with ManifestWriter.locked(batch.manifest, batch.id) as writer:
            now = services.views.batch(batch.id)
            if now.listed:
                return
            writer.resume(now.manifest_bytes)
            record_listed(batch.manifest, batch.spec, Listed(now.manifest_bytes, now.files_skipped))
            follow = services.ledger.listed(batch.id, skipped=now.files_skipped, manifest_bytes=now.manifest_bytes)
            send_on(services, [follow] if follow else [])
            remove_stage(stage_path(services.settings, batch.id))
    except ManifestBusy:
        pass  # the command that lists it goes on to the end; what it adds is cancelled
