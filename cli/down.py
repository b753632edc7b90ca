"""`paceline down`: stop whatever runs under `PACELINE_HOME`."""

from __future__ import annotations

import click

from cli.exits import Exit
from cli.fleet import STOP_S
from config.leftovers import leftovers, stop_leftovers
from config.logs import printable
from config.settings import load_settings

GRACE_S = STOP_S + 5.0
"""Longer than a supervisor gives its workers to finish their uploads."""


@click.command("down")
def command() -> int:
    """Stop what runs under PACELINE_HOME: commands, supervisor, workers, Redis.

    Uploads under way may finish. Nothing is lost: the next `run` or `up` goes on. A Redis that PACELINE_REDIS_URL names
    isn't ours, and goes on too.
    """
    home = load_settings().home
    if any(one.name.startswith("worker-") for one in leftovers(home)):
        click.echo("Stopping; uploads under way may finish …", err=True)
    stopped = stop_leftovers(home, GRACE_S)
    left = leftovers(home)
    for one in stopped:
        click.echo(f"stopped {one.name} ({one.pid})", err=True)
    if left:
        click.echo(f"paceline: {', '.join(f'{one.name} ({one.pid})' for one in left)} can't be stopped", err=True)
        return Exit.FAILURES
    if not stopped:
        click.echo(printable(f"Nothing runs under {home}."), err=True)
    return Exit.DONE
