"""One process's runner and messenger, made at first use, after any fork."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from config.messages import Messenger
from config.queues import EXPORT_QUEUE
from config.services import Services, open_context, open_services
from config.settings import load_settings
from config.telemetry import telemetry_wanted
from paceline.formats import check_format
from paceline.model import Step
from paceline.runner import Runner
from worker.app import app
from worker.results import CeleryResults

if TYPE_CHECKING:
    from worker.tracing import Tracing

log = logging.getLogger("paceline.worker")

EXPORTS_WAITING = 100
"""So many messages are worked off in a few seconds; more of them are a backlog."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a worker process works with."""

    services: Services
    runner: Runner
    messenger: Messenger
    tracing: Tracing | None = None

    def carry(self, step: Step, keys: Sequence[str]) -> None:
        """Do one step, for one key or several, and send what follows from it."""
        with self.tracing.steps(step, keys) if self.tracing else nullcontext():
            follows = self.runner.run(step, *keys)
        self.messenger.send(follows)

    def rescue(self) -> None:
        """Restart what is overdue.

        While many exports wait for a worker, none is sent again: they are late, not lost. Each would be worked off in
        vain, the others would be later for it, and soon there would be nothing but repetitions.
        """
        follows = self.runner.rescue()
        redis: Any = self.services.redis
        if any(follow.step is Step.EXPORT for follow in follows) and redis.llen(EXPORT_QUEUE) > EXPORTS_WAITING:
            follows = [follow for follow in follows if follow.step is not Step.EXPORT]
        self.messenger.send(follows)


@cache
def runtime() -> Runtime:
    """Return this process's runtime. Raises `ConfigError` where the ledger is another version's."""
    services = open_services(load_settings())
    check_format(services.redis)
    context = open_context(services, CeleryResults(app), log)
    return Runtime(services, Runner(context), Messenger(app, services.ledger.place), _open_tracing(services))


def _open_tracing(services: Services) -> Tracing | None:
    if not telemetry_wanted("traces"):
        return None
    from worker.tracing import Tracing

    return Tracing(services)
