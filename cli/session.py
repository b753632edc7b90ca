"""What a verb needs to talk to the ledger: settings, Redis, services, and a clean end to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import click

from cli.fleet import start_redis
from config.connections import check_redis, mask_of, shown_server
from config.logs import format_stray_lines
from config.messages import Messenger, make_app
from config.schema import Settings
from config.services import Services, open_services
from config.settings import load_settings
from paceline.errors import ConfigError, UnknownBatch, UsageError
from paceline.formats import check_format
from paceline.model import Follow
from paceline.views import BatchView, Views


@contextmanager
def session(settings: Settings | None = None) -> Iterator[Services]:
    """Open the services; an embedded server that this starts ends with it, unless others use it by then.

    Raises `ConfigError` or `UnsafeRedis` before anything is done, and `ConfigError` where Redis is lost on the way.
    """
    from redis.exceptions import ConnectionError as NoConnection
    from redis.exceptions import TimeoutError as NoAnswer

    chosen = settings or load_settings()
    format_stray_lines(chosen.log_format, mask_of(chosen))
    server = start_redis(chosen)
    try:
        services = open_services(chosen)
        if server is None:
            check_redis(services.redis, chosen.allow_unsafe_redis)
        check_format(services.redis)
        yield services
        services.redis.close()
    except (NoConnection, NoAnswer) as error:
        raise ConfigError(f"{shown_server(chosen)} went away; nothing is lost, run the same command again") from error
    finally:
        if server is not None:
            server.stop()


def send_on(services: Services, follows: Iterable[Follow]) -> None:
    """Wake what follows from a person's decision, and say so where nobody is there to be woken."""
    Messenger(make_app(services.settings), services.ledger.place).send(follows)
    if not services.views.workers():
        click.echo("No worker is alive: go on with the same `paceline run …`, or with `paceline up`.", err=True)


def pick_batch(views: Views, text: str) -> BatchView:
    """Find a batch by id, by the beginning of its id, or by name. Raises `UnknownBatch` that says what there is.

    No text names no batch: `UsageError`.
    """
    if not text:
        raise UsageError("no batch is named; `paceline list` shows all of them")
    ids = views.batch_ids()
    hits = [batch for batch in ids if batch == text] or [batch for batch in ids if batch.startswith(text)]
    if not hits:
        named = [view for view in map(views.find_batch, ids) if view is not None and view.name == text]
        hits = [view.id for view in named]
    if len(hits) > 1:
        raise UnknownBatch(f"{text!r} means several batches: {', '.join(hits[:5])}; write more of the id")
    if not hits:
        raise UnknownBatch(f"no batch {text!r}; `paceline list` shows all of them")
    return views.batch(hits[0])
