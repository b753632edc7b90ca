"""`paceline collect`: fetch late what was paid for."""

from __future__ import annotations

import click

from cli.exits import Exit
from cli.output import counted
from cli.session import pick_batch, send_on, session
from config.settings import load_settings
from paceline.model import Follow, State
from paceline.replies import Moved


@click.command("collect")
@click.argument("batch")
def command(batch: str) -> int:
    """Ask again after the runs of BATCH that were given up at the time limit (`timed_out`). Costs nothing.

    Those that have ended since get their results, and the output is written anew; the others time out again.
    """
    settings = load_settings()
    with session(settings) as services:
        found = pick_batch(services.views, batch)
        follows: list[Follow] = []
        asked = 0
        for item in services.views.submissions(found.id):
            if item.state is not State.EXPORTED or item.reason != "timed_out" or item.run_id is None:
                continue
            moved = services.ledger.collect(item.id, item.generation)
            if isinstance(moved, Moved):
                asked += 1
                follows += [moved.follow] if moved.follow else []
        if not asked:
            click.echo(f"Batch {found.id} has no run that was given up at the time limit.", err=True)
            return Exit.NOTHING_TO_DO
        click.echo(f"Asking again after {counted(asked, 'run')}: paceline status {found.id}", err=True)
        send_on(services, follows)
    return Exit.DONE
