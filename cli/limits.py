"""`paceline limits`: the pace of every account, as allowed, as learned and as used."""

from __future__ import annotations

from typing import Any

import click

from cli.output import print_columns, print_json
from cli.progress import duration
from cli.reading import reading
from config.accounts import Account
from config.services import Services
from config.settings import load_settings
from paceline.limiter import PaceView
from paceline.model import State


@click.command("limits")
@click.option("--account", metavar="A", help="Only this account.")
@click.option("--json", "as_json", is_flag=True, help="Print a list, an entry per account and class, as JSON.")
def command(account: str | None, as_json: bool) -> None:
    """Show how many requests each account may send, has sent, and when the next one may go."""
    settings = load_settings()
    accounts = [settings.account(account)] if account else list(settings.accounts.values())
    with reading(settings) as services:
        rows = [row for one in accounts for row in _rows(services, one)]
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("no account yet; export KOLENA_API_KEY=… (or KINDO_API_KEY=…) makes one", err=True)
    else:
        head = ("ACCOUNT", "CLASS", "ALLOWED", "LEARNED", "USED", "WAITING", "NEXT", "NOTE")
        print_columns([head, *map(_cells, rows)])


def _rows(services: Services | None, account: Account) -> list[dict[str, Any]]:
    """Describe an account's classes. `waiting` counts submissions, so it stands with `add` alone."""
    waiting, paused = 0, None
    if services is not None:
        waiting = _waiting(services, account.name)
        paused = services.views.account(account.name).paused
    rows = []
    for endpoint, rate in account.rates.items():
        pace = PaceView(rate, 0, 0, None, 0.0, None, 0.0)
        if services is not None:
            pace = services.limiter.view(account.name, endpoint, rate)
        rows.append(
            {
                "account": account.name,
                "class": endpoint.value,
                "allowed": str(rate),
                "learned": pace.learned,
                "used": pace.used,
                "used_last_minute": pace.used_last_minute,
                "waiting": waiting if endpoint.value == "add" else None,
                "closed_seconds": round(pace.closed_s, 3),
                "closed_why": pace.closed_why,
                "next_free_seconds": round(pace.next_free_s, 3),
                "paused": paused,
            }
        )
    return rows


def _waiting(services: Services, account: str) -> int:
    """Count the account's submissions that wait for their turn, released ones too: both are `planned`."""
    batches = map(services.views.find_batch, services.views.batch_ids())
    return sum(batch.by_state[State.PLANNED] for batch in batches if batch is not None and batch.account == account)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    notes = []
    if row["paused"]:
        notes.append(f"account paused: {row['paused']}")
    if row["closed_seconds"]:
        notes.append(f"closed for {duration(row['closed_seconds'])}: {row['closed_why'] or 'no reason on record'}")
    return (
        row["account"],
        row["class"],
        row["allowed"],
        "-" if row["learned"] is None else str(row["learned"]),
        str(row["used"]),
        "-" if row["waiting"] is None else str(row["waiting"]),
        f"in {duration(row['next_free_seconds'])}" if row["next_free_seconds"] else "now",
        "; ".join(notes),
    )
