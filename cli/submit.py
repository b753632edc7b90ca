"""`paceline submit`: plan a batch completely, leave it to the workers, and return."""

from __future__ import annotations

import os
import time

import click

from cli.asked import Asked, asking
from cli.background import start_background
from cli.exits import Exit
from cli.follow import Interrupted, Planner
from cli.known import known_files, say_how_to_look_again, say_nothing_new
from cli.lost import noticing_loss, say_forgotten
from cli.output import print_json
from cli.run import find_known, prepare
from cli.session import session
from cli.target import Target, make_target
from cli.up import what_runs
from config.leftovers import COMMAND, remove_pid, write_pid
from config.logs import printable
from config.messages import Messenger, make_app
from config.queues import queue_names
from config.schema import Settings
from config.services import Services
from config.settings import load_settings
from paceline.removing import find_forgotten
from paceline.summary import summarize

SHOW_EVERY_S = 5.0

LOOK_S = 0.05


@click.command("submit")
@asking(agent_and_to=True)
@click.option("--json", "as_json", is_flag=True, help="Print the batch's summary as JSON instead of its id.")
def command(asked: Asked, as_json: bool) -> int:
    """Start a batch over SOURCE (as for run) and return its id, leaving the work to workers in the background.

    Returns when all of SOURCE is listed and planned, which takes under a minute per million files; sending begins
    meanwhile. Without PACELINE_REDIS_URL it starts Redis and workers in the background as `paceline up` does; with it,
    workers must be running. Follow the batch with `paceline status --watch`, or with `paceline run` and these options.
    """
    settings = load_settings()
    target = make_target(settings, asked)
    interrupted = Interrupted()
    with interrupted.watching(), session(settings) as services:
        known = find_known(target, services)
        code = Exit.DONE
        if known is None and (gone := find_forgotten(services.redis, target.spec.batch_id())):
            say_forgotten(target.spec, gone, as_json=as_json)
            if not as_json:
                click.echo(target.spec.batch_id())
            return code
        if known is not None and known.closed:
            click.echo(f"Batch {known.id} is complete already; nothing was sent, nothing was paid.", err=True)
            say_how_to_look_again(known.spec)
        else:
            with noticing_loss(prepare(target, services, known)):
                make_sure_of_workers(settings, target.account.name, services)
                code = _plan(target, services, interrupted)
        _report(target, services, code, as_json=as_json)
    return code


def make_sure_of_workers(settings: Settings, account: str, services: Services) -> None:
    """Start Redis and workers in the background where ours are used; else say which queues of an account nobody reads.

    `account` may be followed by an agent.
    """
    if settings.redis_url is None:
        found = start_background(settings)
        if found.new:
            click.echo(printable(f"Started in the background: {what_runs(settings, found)}"), err=True)
            click.echo("They go on when this command ends; stop them with: paceline down", err=True)
        return
    read = services.views.queues_read()
    unread = [queue for queue in queue_names([settings.account(account.partition(":")[0]).name]) if queue not in read]
    if unread:
        queues_text = ", ".join(unread)
        click.echo(
            f"No live worker reads {queues_text}: the batch waits until one does; start some with: paceline up",
            err=True,
        )


def _plan(target: Target, services: Services, interrupted: Interrupted) -> Exit:
    """Plan until everything is; DETACHED if a person stopped it. Raises what stopped the planner."""
    noted = f"{COMMAND}{os.getpid()}"
    write_pid(target.settings.home, noted)
    planner = Planner(target, services, Messenger(make_app(target.settings), services.ledger.place))
    planner.start()
    try:
        shown_at = time.monotonic()
        while planner.is_alive() and not interrupted.wake.wait(LOOK_S):
            if time.monotonic() - shown_at > SHOW_EVERY_S:
                shown_at = time.monotonic()
                batch = services.views.batch(target.spec.batch_id())
                click.echo(f"planned {batch.files:,} files in {batch.total:,} submissions so far …", err=True)
    finally:
        planner.stop()
        remove_pid(target.settings.home, noted)
    if planner.error is not None:
        raise planner.error
    batch = services.views.batch(target.spec.batch_id())
    if not batch.listed:
        return Exit.DETACHED
    if not batch.total and known_files(batch.left_out):
        return Exit.NOTHING_TO_DO
    return Exit.DONE if batch.total else Exit.NOTHING_USABLE


def _report(target: Target, services: Services, code: Exit, *, as_json: bool) -> None:
    batch = services.views.batch(target.spec.batch_id())
    if as_json:
        print_json(summarize(batch, services.views.now_ms()))
    else:
        click.echo(batch.id)
    if code is Exit.DETACHED:
        click.echo(f"Stopped after {batch.total:,} submissions; the same command again plans the rest.", err=True)
    elif code is Exit.NOTHING_TO_DO:
        say_nothing_new(batch.spec, batch.left_out, services)
    elif not batch.closed:
        click.echo(
            f"Planned {batch.files:,} files in {batch.total:,} submissions, {batch.files_skipped:,} files left out.",
            err=True,
        )
        click.echo(f"Follow it with: paceline status {batch.id} --watch", err=True)
