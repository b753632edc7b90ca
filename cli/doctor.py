"""`paceline doctor`: check everything a batch needs, before it needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from cli import checks
from cli.checks import Check, failed
from cli.exits import Exit
from cli.output import counted, print_json
from cli.reading import reading
from cli.target import parse_agent
from config.logs import printable
from config.schema import Settings
from config.services import Services
from config.settings import FILE, load_settings
from paceline.errors import ConfigError, PacelineError

MARKS = {True: "✓", False: "✗", None: "·"}


@click.command("doctor")
@click.option("--agent", metavar="ACCOUNT:ID", help="Also ask the provider after this agent.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON list.")
def command(agent: str | None, as_json: bool) -> int:
    """Check settings, Redis, keys, providers and workers, and name the remedy for what is wrong.

    Costs one reading request per account, and nothing else. Exit code 6 if anything is wrong.
    """
    found = []
    for check in _all(agent):
        found.append(check)
        if not as_json:
            remedy = f"; {check.remedy}" if check.remedy else ""
            click.echo(f"{MARKS[check.ok]} {check.name:<16} {printable(check.found + remedy)}")
    wrong = sum(check.ok is False for check in found)
    if as_json:
        print_json([asdict(check) for check in found])
    click.echo(f"{wrong} of {len(found)} checks failed" if wrong else "all is well", err=True)
    return Exit.CONFIG if wrong else Exit.DONE


def _all(agent: str | None) -> Iterator[Check]:
    yield from checks.environment()
    yield from checks.providers()
    yield checks.object_stores()
    try:
        settings = load_settings()
    except PacelineError as error:
        yield failed("settings", error)
        return
    yield _settings(settings)
    yield checks.home(settings)
    if settings.redis_url is None:
        yield checks.embedded_server(settings)
    try:
        wanted = parse_agent(settings, agent) if agent is not None else None
    except ConfigError as error:
        yield failed("--agent", error)
        wanted = None
    yield from _with_ledger(settings, (wanted[0].name, wanted[1]) if wanted else None)


def _settings(settings: Settings) -> Check:
    named = os.environ.get("PACELINE_CONFIG")
    file = Path(named or FILE).expanduser()
    variables = [name for name in os.environ if name.startswith("PACELINE_") and os.environ[name]]
    where = str(file) if file.exists() else "no paceline.toml, which is fine"
    return Check("settings", True, f"{where}; {counted(len(variables), 'PACELINE_ variable')}, all known")


def _with_ledger(settings: Settings, wanted: tuple[str, str] | None) -> Iterator[Check]:
    """Check what stands behind Redis; accounts are checked even where it can't be used."""
    opened = False
    try:
        with reading(settings.model_copy(update={"allow_unsafe_redis": True})) as services:
            opened = True
            if services is None:
                yield Check("redis", None, "not started yet; the first `paceline run` or `up` does it")
            else:
                yield from checks.redis_server(settings, services)
                yield checks.workers(services)
            yield from checks.schedules(settings, services)
            yield from _accounts(settings, services, wanted)
    except PacelineError as error:
        yield failed("redis", error)
        if not opened:
            yield from _accounts(settings, None, wanted)


def _accounts(settings: Settings, services: Services | None, wanted: tuple[str, str] | None) -> Iterator[Check]:
    if not settings.accounts:
        yield Check("accounts", False, "none", "export KOLENA_API_KEY=… makes account kolena")
    for one in settings.accounts.values():
        agent = wanted[1] if wanted and wanted[0] == one.name else None
        yield from checks.account(settings, one, services, agent)
