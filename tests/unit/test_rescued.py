"""What a worker sends again of all that is overdue."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import fakeredis
import pytest

from config.queues import EXPORT_QUEUE
from paceline.model import Follow, Step
from worker.runtime import EXPORTS_WAITING, Runtime

OVERDUE = [Follow(Step.EXPORT, "b012345678-000001"), Follow(Step.FEED, "kolena")]


@pytest.mark.parametrize(("waiting", "sent"), [(EXPORTS_WAITING, OVERDUE), (EXPORTS_WAITING + 1, OVERDUE[1:])])
def test_late_exports_are_not_sent_again_while_many_wait(waiting: int, sent: list[Follow]) -> None:
    redis, found = fakeredis.FakeRedis(), list[Follow]()
    redis.rpush(EXPORT_QUEUE, *range(waiting))
    services: Any = SimpleNamespace(redis=redis)
    runner: Any = SimpleNamespace(rescue=lambda: list(OVERDUE))
    messenger: Any = SimpleNamespace(send=found.extend)

    Runtime(services, runner, messenger).rescue()

    assert found == sent
