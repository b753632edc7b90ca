"""Wake-ups as they stand in the queues of a real server."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.messages import Messenger, make_app
from config.settings import load_settings
from paceline.model import Follow, Step
from tests.support.server import RedisServer

BATCH = "b000000000"


def exports(number: int) -> list[Follow]:
    """Wake-ups of so many exports."""
    return [Follow(Step.EXPORT, f"{BATCH}-{index:06d}") for index in range(1, number + 1)]


@pytest.fixture
def messenger(real_redis: Any, server: Path, tmp_path: Path) -> Iterator[Messenger]:
    """A messenger to the real server."""
    app = make_app(load_settings({"PACELINE_REDIS_URL": f"unix://{server}"}, tmp_path))
    with app:
        yield Messenger(app, lambda _batch: ("kolena", "1"))
    real_redis.flushall()  # the queues are what this test is about


def queued(redis: Any, queue: str) -> list[tuple[str, list[str], bool]]:
    """Return a queue's messages, oldest first: task id, arguments, whether it has to wait."""
    found = []
    for raw in reversed(redis.lrange(queue, 0, -1)):
        message = json.loads(raw)
        arguments = json.loads(base64.b64decode(message["body"]))[0]
        found.append((message["headers"]["id"], arguments, message["headers"]["eta"] is not None))
    return found


def test_each_wake_up_is_on_the_queue_of_its_kind_and_exports_travel_together(
    messenger: Messenger, real_redis: Any
) -> None:
    submits = [Follow(Step.SUBMIT, f"{BATCH}-{index:06d}") for index in (7, 8)]
    messenger.send([*exports(17), *submits, Follow(Step.FEED, "kolena", 2.0)])
    assert queued(real_redis, "submit.kolena") == [(one.key, [one.key], False) for one in submits]
    assert queued(real_redis, "export") == [
        (f"{BATCH}-000001.export", [one.key for one in exports(16)], False),
        (f"{BATCH}-000017.export", [f"{BATCH}-000017"], False),
    ]
    ((_, arguments, waits),) = queued(real_redis, "control")
    assert (arguments, waits) == (["kolena"], True)


def test_many_messages_go_through_one_connection(messenger: Messenger, real_redis: Any) -> None:
    messenger.send(exports(1))  # the connection, and what is declared at first use
    before = real_redis.info("stats")["total_connections_received"]
    messenger.send([Follow(Step.SUBMIT, f"{BATCH}-{index:06d}") for index in range(1, 65)])
    assert real_redis.llen("submit.kolena") == 64
    assert real_redis.info("stats")["total_connections_received"] == before


def test_messages_whose_connection_was_cut_are_sent_all_the_same(messenger: Messenger, real_redis: Any) -> None:
    messenger.send(exports(1))
    real_redis.client_kill_filter(_type="normal", skipme=True)
    messenger.send([Follow(Step.SUBMIT, f"{BATCH}-{index:06d}") for index in (1, 2, 3)])
    assert {row[0] for row in queued(real_redis, "submit.kolena")} == {f"{BATCH}-{index:06d}" for index in (1, 2, 3)}


def test_nothing_to_send_opens_no_connection(messenger: Messenger, real_redis: Any) -> None:
    before = real_redis.info("stats")["total_connections_received"]
    messenger.send([])
    assert real_redis.info("stats")["total_connections_received"] == before


def test_a_server_that_goes_away_in_the_middle_of_sending_gets_all_of_it_afterwards(tmp_path: Path) -> None:
    first, second = "b111111111", "b222222222"
    asked: list[str] = []
    with RedisServer(tmp_path / "redis") as server:

        def place(batch: str) -> tuple[str, str]:
            asked.append(batch)
            if asked == [first, second]:
                server.kill()
            elif asked == [first, second, first]:
                server.start()
            return batch, "1"

        app = make_app(load_settings({"PACELINE_REDIS_URL": server.url}, tmp_path))
        with app:
            Messenger(app, place).send([Follow(Step.SUBMIT, f"{batch}-000001") for batch in (first, second)])
        for batch in (first, second):
            assert queued(server.client(), f"submit.{batch}") == [(f"{batch}-000001", [f"{batch}-000001"], False)]
