"""Fixtures of all tests: worlds and Redis servers that are checked for leaked keys when a test ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from config.embedded import EmbeddedServer
from paceline import redis_keys as keys
from paceline.redis_keys import PERMANENT
from tests.support import world as worlds
from tests.support.quick_redis import Databases

_ALLOWED = re.compile("|".join(f"(?:{pattern})" for pattern in PERMANENT))


def leaked_keys(client: Any) -> list[str]:
    """Return the keys that would live for ever though they are not on the permanent list."""
    names = [name.decode() for name in client.keys("*")]
    return sorted(
        name
        for name in names
        if client.ttl(name) == -1 and not _ALLOWED.fullmatch(name) and not name.startswith("pl:test:")
    )


@pytest.fixture(autouse=True)
def no_key_is_leaked() -> Iterator[None]:
    """Fail any test whose world ends with a key that nothing will ever remove."""
    worlds.MADE.clear()
    yield
    for made in worlds.MADE:
        assert leaked_keys(made.redis) == []
        assert_index_of_reasons(made)
    worlds.MADE.clear()


def assert_index_of_reasons(made: worlds.World) -> None:
    """Check that what didn't succeed is found by its reason, whatever happened in a world."""
    for batch in made.views.batches():
        found = {reason: made.views.ended(batch.id, reason, batch.total + 1) for reason in batch.reasons}
        assert {reason: len(ids) for reason, ids in found.items()} == batch.reasons
        assert made.redis.zcard(keys.ended(batch.id)) == sum(batch.reasons.values())
        by_id = {item: reason for reason, ids in found.items() for item in ids}
        assert {item.id: item.reason for item in made.views.some_submissions(list(by_id))} == by_id


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run one real Redis server for all tests of this process; yields its socket."""
    with EmbeddedServer(tmp_path_factory.mktemp("redis")) as running:
        with redis.Redis(unix_socket_path=str(running.socket_path)) as client:
            client.config_set("appendfsync", "everysec")  # no test pulls its plug, and a busy disk makes them slow
        yield running.socket_path


@pytest.fixture(scope="session", autouse=True)
def quick_worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let worlds live on a real server, which is started for the first of them."""
    opened: list[tuple[EmbeddedServer, Databases]] = []

    def new() -> Any:
        if not opened:
            server = EmbeddedServer(tmp_path_factory.mktemp("worlds"))
            server.start()
            opened.append((server, Databases(server.socket_path)))
        return opened[0][1].next()

    worlds.NEW_REDIS[0] = new
    yield
    for server, databases in opened:
        databases.close()
        server.stop()


@pytest.fixture
def real_redis(server: Path) -> Iterator[Any]:
    """Give a client of an empty real server, and check for leaked keys afterwards."""
    client = redis.Redis(unix_socket_path=str(server))
    client.flushall()
    yield client
    leaked = leaked_keys(client)
    client.close()
    assert leaked == []
