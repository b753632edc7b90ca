"""`paceline beat`: send the ticks that start schedules, until Ctrl-C."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import click

from cli.owner import stop_with
from config.settings import load_settings


@click.command("beat")
@click.option("--owner-fd", type=int, hidden=True, help="Stop when the other end of this pipe is closed.")
def command(owner_fd: int | None) -> None:
    """Send the ticks that start schedules, in the foreground. Several may run: each night is started once.

    Workers take the ticks: `paceline up` starts both. Exit code 6 if a schedule can't work.
    """
    from cli.nights import check_night
    from config.connections import check_redis, connect, mask_of
    from config.logs import setup_logging

    settings = load_settings()
    if not settings.schedules:
        click.echo(
            "There is no schedule to tick for: write [schedules.NAME] into paceline.toml, then start anew", err=True
        )
    for schedule in settings.schedules.values():
        check_night(settings, schedule, datetime.now(UTC))
    check_redis(connect(settings), settings.allow_unsafe_redis)
    if owner_fd is not None:
        stop_with(owner_fd)
    os.environ.setdefault("PACELINE_HOME", str(settings.home))
    setup_logging(settings.log_level, settings.log_format, mask=mask_of(settings))
    from worker.app import app

    app.Beat(loglevel=settings.log_level.upper(), quiet=True, schedule="").run()
