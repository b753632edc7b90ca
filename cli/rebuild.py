"""`paceline rebuild`: the ledger of a batch anew, after Redis was lost."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from cli.lost import run_command
from cli.output import counted, print_fields, print_json
from cli.run import refuse_two_addresses
from cli.session import session
from config.leftovers import leftovers
from config.logs import printable
from config.schema import Settings
from config.services import Services
from config.settings import load_settings
from paceline.delays import upload_deadline_s
from paceline.errors import ConfigError, UsageError
from paceline.model import BatchSpec
from paceline.rebuilding import KnownBatch, Rebuilt, open_output, rebuild


@click.command("rebuild")
@click.argument("out", metavar="OUT")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def command(out: str, as_json: bool) -> None:
    """Rebuild the ledger of the batch in OUT, its first --to folder, after Redis was lost.

    Of a batch without a folder among its --to, OUT is PACELINE_HOME/batches/BATCH. Needs batch.json and manifest.jsonl
    there. What has its record there is restored; after anything else the
    provider is asked, by the workers of the next `paceline run`, before it is sent again; where it can't be (Kindo), a
    person decides. Sends and pays nothing.

    Only if no other Redis has the batch: two ledgers that don't know of each other would both send what is left.
    """
    settings = load_settings()
    folder = str(Path(out).expanduser().absolute())
    spec = open_output(folder).spec
    _check_account(settings, spec)
    with session(settings) as services:
        refuse_two_addresses(spec.account, spec.address, services)
        may_live = _senders_may_live(settings, services)
        try:
            found = rebuild(
                services.ledger,
                services.views,
                folder,
                sending_s=lambda size_bytes: _sending_s(settings, size_bytes) if may_live else 0.0,
                known=services.known,
                paused_message=f"being rebuilt; if that was interrupted: {shlex.join(['paceline', 'rebuild', folder])}",
            )
        except KnownBatch as error:
            raise UsageError(f"{error}; go on with: {run_command(spec)}") from error
        state = services.views.batch(found.batch).state.value
    if as_json:
        print_json(_report(found, spec, state))
    else:
        _print(found, spec, state, askable=settings.account(spec.account).kind.capabilities.finds_many > 0)


def _check_account(settings: Settings, spec: BatchSpec) -> None:
    """Raise `ConfigError` unless the batch's account is set here, at the address it was begun at."""
    account = settings.account(spec.account)
    if account.url != spec.address:
        raise ConfigError(
            f"batch {spec.batch_id()} was begun at {spec.address}, account {spec.account} is at {account.url} here;"
            " correct its address: what was sent is only known there"
        )


def _senders_may_live(settings: Settings, services: Services) -> bool:
    """Tell whether some worker may still be sending what it began before the ledger was lost."""
    if settings.redis_url is not None:
        return True  # workers may be on any machine, and their signs of life were lost too
    ours = any(one.name.startswith("worker-") for one in leftovers(settings.home))
    return ours or bool(services.views.workers())


def _sending_s(settings: Settings, size_bytes: int) -> float:
    base_s, pace = settings.upload_base_seconds, settings.upload_bytes_per_second
    return upload_deadline_s(size_bytes, base_s=base_s, bytes_per_s=pace) + settings.lease_extra_seconds


def _report(found: Rebuilt, spec: BatchSpec, state: str) -> dict[str, object]:
    return {
        "batch": found.batch,
        "state": state,
        "listed": found.listed,
        "files": found.files,
        "submissions": {
            "total": found.restored + found.in_doubt,
            "restored": found.restored,
            "in_doubt": found.in_doubt,
        },
        "next": run_command(spec),
    }


def _print(found: Rebuilt, spec: BatchSpec, state: str, *, askable: bool) -> None:
    total = found.restored + found.in_doubt
    asked = "the provider is asked before anything is sent"
    if found.in_doubt and not askable:
        asked = f"{spec.provider} can't be asked what it has, so they will be held: paceline resolve SUBMISSION"
    click.echo(f"Batch {printable(spec.name) or found.batch} is rebuilt: {counted(total, 'submission')}")
    fields = [
        ("restored", f"{found.restored:,} with their records"),
        ("in doubt", f"{found.in_doubt:,}: {asked}"),
    ]
    if not found.listed:
        fields.append(("not planned", "the rest of the source, which wasn't listed to its end"))
    print_fields(fields)
    if state == "complete":
        click.echo("It was complete, and is again; there is nothing left to do.", err=True)
    else:
        click.echo(f"Go on with:  {printable(run_command(spec))}", err=True)
