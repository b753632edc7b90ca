"""`paceline worker`: one Celery worker in the foreground, reading the queues of a role."""

from __future__ import annotations

import os
import socket
import sys

import click

from cli.exits import Exit
from cli.importing import importing
from cli.owner import stop_with


def celery_name(name: str) -> str:
    """Name this process among the workers of all machines, as Celery and Flower know it.

    Two of one name would be one in Flower; in containers, every worker may have the same process id.
    """
    return f"{name}-{os.getpid()}@{socket.gethostname()}"


@click.command("worker")
@click.option(
    "--role",
    type=click.Choice(["upload", "control", "export", "rest", "all"]),
    default="all",
    show_default=True,
    help="Which queues to read; rest is control and export.",
)
@click.option("--threads", type=click.IntRange(1, 256), help="Steps at once; default: as the settings say.")
@click.option("--name", default="", help="Name in Flower and in logs.")
@click.option("--owner-fd", type=int, hidden=True, help="Stop when the other end of this pipe is closed.")
def command(role: str, threads: int | None, name: str, owner_fd: int | None) -> None:
    """Run one worker in the foreground."""
    from config.connections import check_redis, connect
    from config.queues import CONTROL_QUEUE, EXPORT_QUEUE, queue_names
    from config.settings import load_settings
    from paceline.secrets import has_secret

    settings = load_settings()
    for account in settings.accounts.values():
        if has_secret(account.key_env):  # one without a key may be other workers'; a file that is broken is a mistake
            account.key()
    check_redis(connect(settings), settings.allow_unsafe_redis)
    if owner_fd is not None:
        stop_with(owner_fd)
    queues = (
        (CONTROL_QUEUE, EXPORT_QUEUE) if role == "rest" else queue_names(settings.accounts, role)  # type: ignore[arg-type]  # click has checked it
    )
    most = {"upload": settings.upload_threads, "all": settings.upload_threads + settings.control_threads}
    with importing():
        from worker.app import app

        worker = app.Worker(
            hostname=celery_name(name or role),
            queues=list(queues),
            concurrency=threads or most.get(role, settings.control_threads),
            pool="threads",
            loglevel=settings.log_level.upper(),
            without_mingle=True,  # a second at every start, for revocations we don't use
            without_gossip=True,
            quiet=True,
        )
    worker.start()
    sys.exit(int(worker.exitcode or Exit.DONE))
