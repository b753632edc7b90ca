"""`paceline flower`: Celery's monitor on our application, for nobody but this machine unless a password is set."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from cli.session import session
from config.settings import load_settings
from monitor.guard import is_loopback
from paceline.errors import ConfigError
from paceline.secrets import read_secret

PASSWORD = "FLOWER_BASIC_AUTH"  # noqa: S105  # the name of the variable, which Flower reads itself


@click.command("flower")
@click.option("--port", type=click.IntRange(1, 65535), help="Where to listen; default: the setting flower_port.")
@click.option("--address", help="Where to listen; default: the setting flower_address, this machine alone.")
def command(port: int | None, address: str | None) -> None:
    """Watch batches, workers and messages in Flower, until Ctrl-C.

    Its live pages need task events, which are off by default as they cost about 40 % of message throughput: start the
    workers with PACELINE_EVENTS=true. A submission's task has the submission's id.

    Other machines can reach it only if the setting flower_login=USER:PASSWORD protects it, or the environment variable
    FLOWER_BASIC_AUTH=USER:PASSWORD, or a file with that in it, which FLOWER_BASIC_AUTH_FILE names.
    """
    settings = load_settings()
    if given := read_secret(PASSWORD):
        if not given.isascii():  # Flower can't compare it: nobody would get in
            raise ConfigError(f"{PASSWORD} must be ASCII, as browsers don't agree on how to send anything else")
        os.environ[PASSWORD] = given  # Flower knows nothing of files
    logins = [one for one in given.split(",") if one]  # as Flower takes the variable; each opens the door
    if settings.flower_login is not None and not logins:
        logins = [settings.flower_login.get_secret_value()]
    port, address = port or settings.flower_port, settings.flower_address if address is None else address
    for login in logins or [""]:
        check_reachable(address, password=login)
    with session(settings):
        if not settings.events:
            click.echo("Task events are off: start workers with PACELINE_EVENTS=true to see tasks live.", err=True)
        click.echo(f"Starting Flower on http://{_shown(address)}:{port}/batches; Ctrl-C ends it", err=True)
        try:
            _serve(port, address)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise ConfigError(
                f"can't listen on {address}:{port} ({why}); choose another --port or --address"
            ) from error


def check_reachable(address: str, *, password: str) -> None:
    """Raise `ConfigError` for an address that other machines reach while no password protects it."""
    if is_loopback(address):
        return
    user, _, secret = password.partition(":")
    if not (user and secret):
        raise ConfigError(
            f"--address {address!r} lets other machines see and stop workers;"
            f" set flower_login to USER:PASSWORD, export {PASSWORD}=USER:PASSWORD, or listen on 127.0.0.1"
        )


def _shown(address: str) -> str:
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


def _serve(port: int, address: str) -> None:
    """Run Flower as Celery's own command would; its options are put so that no file or variable widens them."""
    from monitor import __file__ as extension
    from worker.app import app

    conf = Path(extension).with_name("flowerconfig.py")
    options = [f"--conf={conf}", f"--address={address.strip('[]')}", f"--port={port}", "--unix-socket="]
    sys.argv[1:] = []  # Flower looks at it beside what it is given
    try:
        app.start(["--quiet", "flower", *options])
    finally:
        logging.disable(logging.CRITICAL)  # its threads end with the process, and complain that Redis ended before
