"""Beat: sends a tick every few seconds, and tells that it lives.

What is due is decided by whoever takes the tick, so nothing is remembered here and no file is kept.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from celery.beat import Scheduler
from redis.exceptions import RedisError

from config.services import worker_name
from paceline.schedules.beats import end_beat, note_beat
from worker.runtime import runtime

SIGN_TTL_S = 15.0
"""Of a sign of life, which is given at least every five seconds."""

log = logging.getLogger("paceline.beat")


class Ticks(Scheduler):
    """Celery's scheduler that keeps its entries in memory; the first tick is sent at once."""

    def setup_schedule(self) -> None:
        """Take the entries of the settings, as if they were last sent long ago."""
        super().setup_schedule()
        for entry in self.schedule.values():
            entry.last_run_at = entry.default_now() - timedelta(days=1)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due, give a sign of life, and return the seconds until the next look."""
        wait_s = float(super().tick(*args, **kwargs))
        try:
            services = runtime().services
            note_beat(services.redis, worker_name(), services.views.now_ms(), SIGN_TTL_S)
        except RedisError as error:
            log.warning("beat.no_redis", extra={"error": type(error).__name__})
        return min(wait_s, SIGN_TTL_S / 3)

    def close(self) -> None:
        """Take the sign of life back."""
        try:
            end_beat(runtime().services.redis, worker_name())
        except RedisError:
            log.debug("beat.sign_left")
        super().close()
