"""`paceline flower`: Celery's monitor on our application, for nobody but this machine unless a password is set."""

from __future__ import annotations

import ipaddress
import logging
import os
import sys

import click

from cli.session import session
from config.settings import load_settings
from paceline.errors import ConfigError
from paceline.secrets import read_secret

PASSWORD = "FLOWER_BASIC_AUTH"  # noqa: S105  # the name of the variable, which Flower reads itself


@click.command("flower")
@click.option("--port", type=click.IntRange(1, 65535), default=5555, show_default=True)
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
def command(port: int, address: str) -> None:
    """Watch workers and messages in Flower, until Ctrl-C.

    Its live pages need task events, which are off by default as they cost about 40 % of message throughput: start the
    workers with PACELINE_EVENTS=true. A submission's task has the submission's id.

    Other machines can reach it only if the environment variable FLOWER_BASIC_AUTH=USER:PASSWORD protects it, or a file
    with that in it, which FLOWER_BASIC_AUTH_FILE names.
    """
    login = read_secret(PASSWORD)
    check_reachable(address, password=login)
    if login:
        os.environ[PASSWORD] = login  # Flower knows nothing of files
    settings = load_settings()
    with session(settings):
        if not settings.events:
            click.echo("Task events are off: start workers with PACELINE_EVENTS=true to see tasks live.", err=True)
        click.echo(f"Starting Flower on http://{_shown(address)}:{port}; Ctrl-C ends it", err=True)
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
    user, colon, secret = password.partition(",")[0].partition(":")
    if not (user and colon and secret):
        raise ConfigError(
            f"--address {address!r} lets other machines see and stop workers;"
            f" export {PASSWORD}=USER:PASSWORD, or listen on 127.0.0.1"
        )


def is_loopback(address: str) -> bool:
    """Tell whether only this machine reaches the address; `''` listens everywhere."""
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address == "localhost"


def _shown(address: str) -> str:
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


def _serve(port: int, address: str) -> None:
    """Run Flower as Celery's own command would; its options are put so that no file or variable widens them."""
    from worker.app import app

    options = [f"--address={address.strip('[]')}", f"--port={port}", "--unix-socket="]
    sys.argv[1:] = []  # Flower looks at it beside what it is given
    try:
        app.start(["--quiet", "flower", *options])
    finally:
        logging.disable(logging.CRITICAL)  # its threads end with the process, and complain that Redis ended before
