"""The right Redis is opened, and one that could lose paid work is refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from kombu.utils.url import _parse_url
from redis.exceptions import AuthenticationError, BusyLoadingError, ConnectionError, NoPermissionError, TimeoutError

from config.connections import celery_url, check_redis, connect, redis_url, shown_server
from config.schema import Settings
from config.settings import load_settings
from paceline.errors import ConfigError, UnsafeRedis

SAFE = {"redis_version": "7.2.4", "aof_enabled": 1, "maxmemory_policy": "noeviction"}


class Told:
    """Answers INFO with what it was told, or fails with it."""

    def __init__(self, answer: dict[str, object] | Exception) -> None:
        self._answer = answer

    def info(self, section: str) -> dict[str, object]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def check(answer: dict[str, object] | Exception, *, allow_unsafe: bool = False) -> None:
    check_redis(cast("redis.Redis", Told(answer)), allow_unsafe)


def settings_for(url: str, home: str = "/srv/state") -> Settings:
    return load_settings({"PACELINE_REDIS_URL": url, "PACELINE_HOME": home}, Path("/nowhere"))


def options(client: redis.Redis) -> dict[str, Any]:
    return client.connection_pool.connection_kwargs


# --- which server


def test_without_an_address_it_is_the_embedded_servers_socket() -> None:
    assert redis_url(settings_for("")) == "unix:///srv/state/run/redis.sock"
    assert celery_url(settings_for("")) == "redis+socket:///srv/state/run/redis.sock?virtual_host=0"


def test_an_address_is_taken_as_it_is() -> None:
    for url in ("redis://h:1/2", "rediss://u:p@h/0?ssl_cert_reqs=none"):
        assert redis_url(settings_for(url)) == celery_url(settings_for(url)) == url


def test_celery_checks_certificates_unless_told_otherwise() -> None:
    assert celery_url(settings_for("rediss://h/0")) == "rediss://h/0?ssl_cert_reqs=required"


def test_a_socket_keeps_its_database_for_celery() -> None:
    assert celery_url(settings_for("unix:///x/y.sock?db=3")) == "redis+socket:///x/y.sock?virtual_host=3"


@pytest.mark.parametrize("home", ["/srv/a b", "/srv/a#b", "/srv/a%41?b", "/srv/ä"])
def test_any_path_of_home_is_the_same_socket_for_redis_and_celery(home: str) -> None:
    settings = settings_for("", home)

    assert options(connect(settings))["path"] == f"{home}/run/redis.sock"
    assert f"/{_parse_url(celery_url(settings)).path}" == f"{home}/run/redis.sock"


def test_a_password_is_not_shown() -> None:
    assert shown_server(settings_for("redis://me:hush@h:1/2")) == "redis://h:1/2"


# --- how


@pytest.mark.parametrize("url", ["", "redis://h", "rediss://h", "unix:///x.sock"])
def test_no_command_is_ever_repeated(url: str) -> None:
    assert connect(settings_for(url)).get_retry().get_retries() == 0  # type: ignore[union-attr]  # one is always set


def test_every_wait_has_an_end() -> None:
    given = options(connect(settings_for("redis://h")))

    assert (given["socket_timeout"], given["socket_connect_timeout"]) == (30, 5)


def test_the_address_decides_the_database() -> None:
    assert options(connect(settings_for("redis://h/3")))["db"] == 3


# --- whether it may be trusted


def test_a_safe_server_passes() -> None:
    check(SAFE)


def test_a_server_without_append_only_file_is_refused() -> None:
    with pytest.raises(UnsafeRedis, match=r"keeps no append-only file .* set appendonly yes"):
        check({**SAFE, "aof_enabled": 0})


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_evicts_is_refused(policy: str) -> None:
    with pytest.raises(UnsafeRedis, match=r"evicts keys .* set maxmemory-policy noeviction"):
        check({**SAFE, "maxmemory_policy": policy})


def test_an_unsafe_server_is_only_warned_about_when_told_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check({**SAFE, "aof_enabled": 0, "maxmemory_policy": "allkeys-lru"}, allow_unsafe=True)

    assert [record.message for record in caplog.records] == ["redis.unsafe", "redis.unsafe"]


def test_what_a_hosted_server_does_not_tell_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check({"redis_version": "7.2.4"})

    assert [record.message for record in caplog.records] == ["redis.unknown", "redis.unknown"]


@pytest.mark.parametrize("version", ["5.0.14", "6.0.16"])
def test_an_old_server_is_refused(version: str) -> None:
    with pytest.raises(ConfigError, match=rf"Redis {version} is too old; paceline needs 6\.2 or later"):
        check({**SAFE, "redis_version": version})


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ConnectionError("redis://:hush@h"), "no connection"),
        (TimeoutError("hush"), "it doesn't answer"),
        (AuthenticationError("hush"), "it refuses the password"),
        (NoPermissionError("hush"), "this user may not read INFO"),
        (BusyLoadingError("hush"), "it is still loading its data"),
    ],
)
def test_a_server_that_cannot_be_used_is_named_with_a_remedy(error: Exception, cause: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(error)

    assert str(caught.value) == (f"Redis can't be used ({cause}); start it, or correct or unset PACELINE_REDIS_URL")
