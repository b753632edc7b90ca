"""`paceline resume`: let a paused batch or account go on."""

from __future__ import annotations

import click

from cli.pause import one_of
from cli.reading import no_such_thing, reading
from cli.session import pick_batch
from config.messages import Messenger, make_app
from config.settings import load_settings
from paceline.batch_view import CANCELLED
from paceline.operating import check_resumable, resume, resume_command


@click.command("resume")
@click.argument("batch", required=False)
@click.option("--account", metavar="A", help="Let this account send again.")
def command(batch: str | None, account: str | None) -> None:
    """Let BATCH, or an account, go on after a pause, whatever the reason was.

    Mend the cause first: a refused key pauses its account again at once. Workers aren't started.
    """
    settings = load_settings()
    one_of(batch, account)
    with reading(settings) as services:
        if services is None:
            raise no_such_thing(settings, batch or account or "")
        batch_id, word = "", ""
        if batch is not None:
            found = pick_batch(services.views, batch)
            if found.closed and not found.rebuilding and found.paused != CANCELLED:
                click.echo(f"Batch {found.id} is complete; there is nothing to resume.", err=True)
                return
            check_resumable(found)
            account_name, batch_id, word = found.account, found.id, f"Batch {found.id}"
        else:
            account_name = settings.account(account or "").name
            word = f"Account {account_name}"
        was, follows = resume(services.ledger, account_name, batch=batch_id)
        if follows:
            Messenger(make_app(settings), services.ledger.place).send(follows)
        click.echo(f"{word} goes on." if was else f"{word} wasn't paused.", err=True)
        if batch_id and services.views.account(account_name).paused:
            remedy = resume_command(account_name)
            click.echo(f"Its account {account_name} is still paused; let it go on with: {remedy}", err=True)
        if was and not services.views.workers():
            click.echo("No worker is alive; start some with: paceline up", err=True)
