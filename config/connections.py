"""Opens Redis: which server, with which timeouts, and whether it may be trusted with paid work."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from config.embedded import EmbeddedServer
from config.masking import Mask
from config.redis_address import ledger_of
from config.schema import Settings
from paceline.errors import ConfigError, UnsafeRedis
from paceline.sinks.places import SECRET_ENV

if TYPE_CHECKING:
    import redis

    from config.accounts import Account

# redis-py takes 0.15 s to import; a command that only prints help doesn't need it.

OLDEST = (6, 2)
"""Redis 6.2 brought the commands the scripts use; Valkey reports 7.2 and later here."""

IDLE_CHECK_SECONDS = 30
"""A connection unused this long is tried with PING first, so that a silently dropped one costs no command."""

log = logging.getLogger(__name__)


def redis_url(settings: Settings) -> str:
    """Name the server as redis-py writes it: the configured one, else the embedded one. May hold a password."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    return f"unix://{quote(str(EmbeddedServer(settings.home).socket_path))}"


def celery_url(settings: Settings) -> str:
    """Name the same server as Celery writes it. May hold a password."""
    url = redis_url(settings)
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    if parts.scheme == "unix":
        database = query.pop("db", "0")
        return f"redis+socket://{parts.netloc}{parts.path}?{urlencode({'virtual_host': database, **query})}"
    if parts.scheme == "rediss" and "ssl_cert_reqs" not in query:
        # Celery refuses rediss:// without saying so; redis-py's own default is the same.
        return parts._replace(query=urlencode({**query, "ssl_cert_reqs": "required"})).geturl()
    return url


def shown_server(settings: Settings) -> str:
    """Name the server to a person, without password."""
    parts = urlsplit(redis_url(settings))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def belongs_here(settings: Settings, account: Account) -> bool:
    """Tell whether batches of this account may be started in the Redis of these settings."""
    return not account.redis or ledger_of(account.redis) == ledger_of(redis_url(settings))


def check_belongs(settings: Settings, account: Account) -> None:
    """Raise `ConfigError` where batches of this account are to be started in another Redis.

    The limits of an account are kept in one ledger; a second one would let through as much again.
    """
    if not belongs_here(settings, account):
        there, here = ledger_of(account.redis), ledger_of(redis_url(settings))
        raise ConfigError(
            f"account {account.name} belongs to the fleet on {there}, and this one is on {here};"
            f" set PACELINE_REDIS_URL to that, or accounts.{account.name}.redis to this"
        )


def mask_of(settings: Settings, *further: str) -> Mask:
    """Return what hides all keys and secrets, the password in the server's address, and `further` variables."""
    password = urlsplit(redis_url(settings)).password if settings.redis_url is not None else None
    hidden: tuple[str, ...] = (password, unquote(password)) if password else ()
    if settings.flower_login is not None:
        hidden += (settings.flower_login.get_secret_value().partition(":")[2],)
    keys = (account.key_env for account in settings.accounts.values())
    return Mask((*keys, SECRET_ENV, *further), hidden)


def connect(settings: Settings, *, decode_responses: bool = False) -> redis.Redis:
    """Return a client for the server; connects at the first command. Thread-safe; make one per process, after a fork.

    Nothing is ever sent twice: after a lost answer nobody knows whether a script ran, and only its caller can tell
    whether running it again is harmless. redis-py's default would repeat it up to ten times.
    """
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    options: dict[str, Any] = {
        "socket_timeout": settings.redis_answer_seconds,
        "health_check_interval": IDLE_CHECK_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "client_name": "paceline",
        "decode_responses": decode_responses,
    }
    url = redis_url(settings)
    if not url.startswith("unix"):
        options |= {"socket_connect_timeout": settings.redis_connect_seconds, "socket_keepalive": True}
    return redis.Redis.from_url(url, **options)


def check_redis(client: redis.Redis, allow_unsafe: bool) -> None:
    """Refuse a server that could lose paid work; with `allow_unsafe`, warn instead.

    Looks at `INFO` only, which hosted services permit where they forbid `CONFIG`; what even that doesn't tell is
    warned about. Raises `ConfigError` for a server that is out of reach or too old, `UnsafeRedis` otherwise.
    """
    from redis.exceptions import RedisError

    try:
        info = client.info("everything")
    except RedisError as error:
        raise ConfigError(
            f"Redis can't be used ({_cause(error)}); start it, or correct or unset PACELINE_REDIS_URL"
        ) from error
    version = str(info.get("redis_version", ""))
    if _version(version) and _version(version) < OLDEST:
        raise ConfigError(f"Redis {version} is too old; paceline needs 6.2 or later")
    for fact, expected, problem in (
        ("aof_enabled", "1", "keeps no append-only file and loses paid work when it stops; set appendonly yes"),
        ("maxmemory_policy", "noeviction", "evicts keys when memory is short; set maxmemory-policy noeviction"),
    ):
        found = info.get(fact)
        if found is None:
            log.warning("redis.unknown", extra={"fact": fact, "wanted": expected})
        elif str(found) == expected:
            continue
        elif not allow_unsafe:
            raise UnsafeRedis(f"Redis {problem} (or PACELINE_ALLOW_UNSAFE_REDIS=true to take the risk)")
        else:
            log.warning("redis.unsafe", extra={"fact": fact, "found": found, "wanted": expected})


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def _cause(error: Exception) -> str:
    """Say in a word why; the library's own text may quote the address with its password."""
    words = {
        "AuthenticationError": "it refuses the password",
        "NoPermissionError": "this user may not read INFO",
        "BusyLoadingError": "it is still loading its data",
        "TimeoutError": "it doesn't answer",
        "ConnectionError": "no connection",
    }
    return next((words[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in words), type(error).__name__)
