"""The format version of a ledger, so that a process of another version leaves it alone.

It is looked at by every process when it opens the ledger, by every worker every few seconds, and by every script before
it does anything: a version that has taken the ledger over can rely on the others having stopped at that moment.
"""

from __future__ import annotations

from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from paceline import redis_keys as keys
from paceline.errors import ConfigError
from paceline.model import FORMAT_VERSION

FIELD = "format"
_CODE = "OTHERFORMAT"

FENCE = f"""\
do
  local format = redis.call('HGET', '{keys.META}', '{FIELD}')
  if format and format ~= '{FORMAT_VERSION}' then return redis.error_reply('{_CODE} ' .. format) end
end
"""
"""What stands before every script."""


class OtherFormat(ConfigError, ResponseError):
    """The ledger is of a format that this version leaves alone.

    To the steps it is a Redis that refuses: what they know goes into the spool, for the version that can hand it in.
    """

    def __init__(self, found: str) -> None:
        shown = "".join(character for character in found[:20] if character.isalnum())
        super().__init__(f"this ledger is of format {shown}, this paceline knows {FORMAT_VERSION}: {_remedy(found)}")


def _remedy(found: str) -> str:
    """Say what to do: a newer format wants a newer paceline, an older one the paceline that wrote it, once more."""
    if found.isascii() and found.isdigit() and int(found) < FORMAT_VERSION:
        return (
            "finish its batches with the version that wrote it, or rebuild them here with `paceline rebuild OUT` in"
            " another PACELINE_HOME or PACELINE_REDIS_URL"
        )
    return "use the version that wrote it, or another PACELINE_HOME or PACELINE_REDIS_URL"


def note_format(redis: Redis) -> None:
    """Write our version into a ledger that has none yet."""
    redis.hsetnx(keys.META, FIELD, str(FORMAT_VERSION))


def check_format(redis: Redis) -> None:
    """Raise `OtherFormat` if the ledger is of a version that this one doesn't know, newer or older."""
    found: Any = redis.hget(keys.META, FIELD)
    check_found(found)


def check_found(found: bytes | str | None) -> None:
    """Do so for what somebody has read of it already, together with other things."""
    text = found.decode("utf-8", "replace") if isinstance(found, bytes) else found
    if text is not None and text != str(FORMAT_VERSION):
        raise OtherFormat(text)


def as_other_format(error: ResponseError) -> OtherFormat | None:
    """Return what the fence of a script meant; None for any other refusal."""
    said = str(error).rpartition(" caused error: ")[2]  # behind the command, where it was one of several
    code, _, found = said.partition(" ")
    return OtherFormat(found) if code == _CODE else None
