"""`paceline alive`: a quick look whether a part of the fleet is alive here, for health checks of containers."""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING

import click

from cli.exits import Exit
from paceline.errors import PacelineError

if TYPE_CHECKING:
    from config.schema import Settings

ANSWER_S = 3.0
"""A health check is ended by whoever asked after some 5 s; this leaves time to say why."""

FLOWER_PORT = 5555


@click.command("alive")
@click.argument("part", type=click.Choice(["worker", "beat", "flower"]))
@click.option("--port", type=click.IntRange(1, 65535), default=FLOWER_PORT, show_default=True, help="Flower's.")
@click.option("--redis-may-be-away", is_flag=True, help="Exit 0 too where Redis can't be asked.")
def command(part: str, port: int, redis_may_be_away: bool) -> int:
    """Tell whether a part of the fleet is alive on this machine, or in this container: exit 0, else 1.

    A worker or beat is alive if its process is here and gave its sign of life to Redis within 15 s; others' count for
    nothing. Flower is alive if it answers. Prints one line that says what was found.

    Without Redis nothing can be told. With --redis-may-be-away that is no failure: for a probe that kills what fails
    it, which would only cut off the uploads under way.
    """
    found, alive = _flower(port) if part == "flower" else _by_sign(part, redis_may_be_away)
    click.echo(found)
    return Exit.DONE if alive else Exit.FAILURES


def _by_sign(part: str, redis_may_be_away: bool) -> tuple[str, bool]:
    from redis.exceptions import RedisError

    from config.logs import printable
    from config.settings import load_settings

    try:
        settings = load_settings()
    except PacelineError as error:
        return f"no {part} can be alive: {printable(str(error))}", False
    quick = {"redis_answer_seconds": ANSWER_S, "redis_connect_seconds": ANSWER_S}
    try:
        signs = signs_here(settings.model_copy(update=quick), part)
    except RedisError as error:
        return f"can't tell: Redis can't be asked ({type(error).__name__})", redis_may_be_away
    if not signs:
        return f"no {part} of this machine has given a sign of life within 15 s", False
    return f"alive: {printable(', '.join(sorted(signs)))}", True


def signs_here(settings: Settings, part: str) -> list[str]:
    """Return the names of the workers, or beats, whose sign of life stands and whose process is here. Asks Redis."""
    from config.connections import connect
    from config.services import is_gone
    from paceline.clocks import machine_id
    from paceline.schedules.beats import live_beats
    from paceline.views import Views

    client = connect(settings)
    views = Views(client)
    try:
        if part == "beat":
            names = live_beats(client, views.now_ms())
        else:
            names = [str(sign.get("worker")) for sign in views.workers()]
    finally:
        client.close()
    here = machine_id()
    if not here:  # a system that doesn't tell: the host's name has to do
        return [name for name in names if name.startswith(f"{socket.gethostname()}:")]
    return [name for name in names if name.endswith(f"@{here}") and not is_gone(name)]


def _flower(port: int) -> tuple[str, bool]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    try:
        connection.request("GET", "/healthcheck")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"Flower doesn't answer on port {port} ({type(error).__name__})", False
    finally:
        connection.close()
    return f"Flower answers on port {port} ({status})", status == 200
