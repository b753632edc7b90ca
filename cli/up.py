"""`paceline up`: Redis and workers in the background, until `paceline down`."""

from __future__ import annotations

import click

from cli.background import Background, start_background
from config.connections import shown_server
from config.logs import printable
from config.schema import Settings
from config.settings import load_settings


@click.command("up")
@click.option("--workers", type=click.IntRange(1, 64), metavar="N", help="Upload processes; one more does the rest.")
def command(workers: int | None) -> None:
    """Start Redis and workers in the background; return when they work.

    They have the settings and keys of this shell, and go on when it is closed. Doing it again changes nothing.
    `paceline down` stops them.
    """
    settings = load_settings()
    found = start_background(settings, workers)
    if found.new:
        click.echo(printable(f"Up: {what_runs(settings, found)}"), err=True)
    else:
        click.echo(printable(f"Up already: {what_runs(settings, found)}"), err=True)
        if workers is not None and workers + 1 != len(found.workers):
            click.echo("To change the number of workers: paceline down, then up again", err=True)
    logs = printable(str(settings.home / "log"))
    click.echo(f"Logs are in {logs}; stop everything with: paceline down", err=True)


def what_runs(settings: Settings, found: Background) -> str:
    """Name the processes in a line."""
    workers = ", ".join(f"{name} ({pid})" for name, pid in found.workers.items())
    redis = shown_server(settings) if settings.redis_url is not None else "embedded Redis"
    beat = "" if found.beat is None else f", beat ({found.beat})"
    return f"{redis}, supervisor ({found.supervisor}), {workers}{beat}"
