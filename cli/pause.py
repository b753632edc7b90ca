"""`paceline pause`: send nothing more for a batch, or for a whole account, until `resume`."""

from __future__ import annotations

import click

from cli.pauses import whoami
from cli.reading import no_such_thing, reading
from cli.session import pick_batch
from config.settings import load_settings
from paceline.errors import UsageError
from paceline.operating import pause, resume_command


@click.command("pause")
@click.argument("batch", required=False)
@click.option("--account", metavar="A", help="Pause everything that this account would send.")
@click.option("--reason", "why", default="", metavar="TEXT", help="Why; status and list show it, with who and when.")
def command(batch: str | None, account: str | None, why: str) -> None:
    """Pause BATCH, or an account: nothing more is submitted.

    Runs that the provider has go on and are exported. A pause that stands already keeps its reason.
    """
    settings = load_settings()
    one_of(batch, account)
    with reading(settings) as services:
        if services is None:
            raise no_such_thing(settings, batch or account or "")
        if batch is not None:
            found = pick_batch(services.views, batch)
            account_name, batch_id, word = found.account, found.id, f"batch {found.id}"
            if found.closed:
                click.echo(f"Batch {found.id} is complete already.", err=True)
                return
        else:
            account_name, batch_id = settings.account(account or "").name, ""
            word = f"account {account_name}"
        remedy = resume_command(account_name, batch_id)
        if pause(services.ledger, account_name, batch=batch_id, why=why, by=whoami()):
            click.echo(f"Paused {word}; go on with: {remedy}", err=True)
        else:
            click.echo(f"{word.capitalize()} was paused already, which stays; go on with: {remedy}", err=True)


def one_of(batch: str | None, account: str | None) -> None:
    """Raise `UsageError` unless exactly one of the two is named."""
    if (batch is None) == (account is None):
        raise UsageError("name either a BATCH or --account A")
