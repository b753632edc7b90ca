"""`paceline gc --forget-known`: forget what an agent has answered, so that everything counts as new again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from cli.output import local_time, print_columns, print_json
from cli.target import parse_agent
from config.schema import Settings
from config.services import Services
from paceline.known import KnownScope
from paceline.times import iso


def forget_known(
    settings: Settings,
    services: Services | None,
    agent: str,
    *,
    dry_run: bool,
    as_json: bool,
    ask: Callable[[str], None],
) -> None:
    """Forget what the agent, written ACCOUNT:ID, has answered at the account's address, with whatever options.

    `ask` raises where a person doesn't want that. Raises `UsageError` or `ConfigError` for no such agent.
    """
    account, agent_id = parse_agent(settings, agent)
    wanted = {"provider": account.provider, "address": account.url, "agent": agent_id}
    known = services.known.scopes() if services else []
    doomed = [one for one in known if wanted.items() <= one.facts.items()]
    if as_json:
        print_json({"dry_run": dry_run, "known": [_row(one) for one in doomed]})
    elif doomed:
        rows = [(one.name, options_text(one), one.batch, local_time(one.at_ms)) for one in doomed]
        print_columns([("KNOWN", "OPTIONS", "LAST BATCH", "LAST NOTED"), *rows])
    if not doomed:
        click.echo(f"Nothing is known of {agent}.", err=True)
    if dry_run or services is None or not doomed:
        return
    ask(f"Forget what {agent} has answered? With --skip-unchanged, all its files are then sent, and paid for, again.")
    for one in doomed:
        services.known.forget(one.name)
    click.echo(f"Forgot what {agent} has answered.", err=True)


def options_text(known: KnownScope) -> str:
    """Write the options under which files are known: `25 files a run · group_by=directory`."""
    facts = known.facts
    said = [f"{name}={facts[name]}" for name in ("group_by", "groups") if facts.get(name)]
    said += [f"{name}={value}" for name, value in facts.get("inputs", {}).items()]
    return " · ".join([f"{facts['files_per_run']} files a run", *said])


def _row(known: KnownScope) -> dict[str, Any]:
    return {"known": known.name, **known.facts, "batch": known.batch, "noted_at": iso(known.at_ms)}
