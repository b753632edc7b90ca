"""Open the ledger for a verb that only reads, without leaving anything where nothing has been yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cli.session import session
from config.schema import Settings
from config.services import Services
from paceline.errors import UnknownBatch


@contextmanager
def reading(settings: Settings) -> Iterator[Services | None]:
    """Open the services; None where there is no ledger: no Redis is named, and `home` has never held one."""
    if settings.redis_url is None and not (settings.home / "redis").is_dir():
        yield None
        return
    with session(settings) as services:
        yield services


def nothing_here(settings: Settings) -> str:
    """Say that there is no ledger, and how to come to one."""
    return f"nothing here yet: {settings.home} holds no batches; begin with: paceline run SOURCE --agent … --to …"


def no_such_thing(settings: Settings, text: str) -> UnknownBatch:
    """Build the error for a batch or submission that was named where there is no ledger at all."""
    return UnknownBatch(f"no {text!r}: {settings.home} holds no batches; set PACELINE_HOME or PACELINE_REDIS_URL")
