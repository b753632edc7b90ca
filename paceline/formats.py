"""The format version of a ledger, so that a process of another version leaves it alone."""

from __future__ import annotations

from typing import Any

from redis import Redis

from paceline import redis_keys as keys
from paceline.errors import ConfigError
from paceline.model import FORMAT_VERSION

_FIELD = "format"


def note_format(redis: Redis) -> None:
    """Write our version into a ledger that has none yet."""
    redis.hsetnx(keys.META, _FIELD, str(FORMAT_VERSION))


def check_format(redis: Redis) -> None:
    """Raise `ConfigError` if the ledger is of a version that this one doesn't know."""
    found: Any = redis.hget(keys.META, _FIELD)
    if found is not None and found.decode("utf-8", "replace") != str(FORMAT_VERSION):
        shown = "".join(character for character in found.decode("utf-8", "replace")[:20] if character.isalnum())
        raise ConfigError(
            f"this ledger is of format {shown}, this paceline knows {FORMAT_VERSION}: use the version that wrote it,"
            " or another PACELINE_HOME or PACELINE_REDIS_URL"
        )
