"""Beside the tasks, in every worker: restart what is overdue, and give a sign of life."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time

from redis.exceptions import RedisError

from config.services import worker_name
from paceline import redis_keys as keys
from paceline.errors import ConfigError
from worker.runtime import log, runtime

SIGN_TTL_S = 15


class Rescuer(threading.Thread):
    """Looks every `rescue_seconds`, for as long as the process lives; harmless however many there are."""

    def __init__(self, queues: list[str]) -> None:
        super().__init__(name="paceline-rescue", daemon=True)
        self._queues = queues
        self._over = threading.Event()
        self._told_at = -math.inf

    def run(self) -> None:
        """Look, until stopped. What goes wrong here is logged and tried again: nothing else would restart it."""
        while True:
            interval_s = 3.0
            try:
                interval_s = runtime().services.settings.rescue_seconds
                runtime().rescue()  # its scripts look at the ledger's format, before anything is written
                self.give_sign()
            except ConfigError as error:
                # A newer version has taken the ledger over: what it means by a state isn't known here.
                log.error("ledger.other_format", extra={"problem": str(error)})
                os.kill(os.getpid(), signal.SIGTERM)
                return
            except RedisError as error:
                log.warning("rescue.no_redis", extra={"error": type(error).__name__})
            except Exception:  # noqa: BLE001  # a process edge: this thread must outlive any defect
                log.exception("rescue.defect")
            if self._over.wait(min(interval_s, SIGN_TTL_S / 3)):
                return

    def give_sign(self) -> None:
        """Tell that this worker is alive and what it reads, unless that was told within a third of a sign's life."""
        if time.monotonic() - self._told_at < SIGN_TTL_S / 3:
            return
        addresses = {name: one.url for name, one in runtime().services.settings.accounts.items()}
        text = json.dumps({"worker": worker_name(), "queues": self._queues, "addresses": addresses})
        now_ms = runtime().services.views.now_ms()
        with runtime().services.redis.pipeline() as pipe:
            pipe.set(keys.worker(worker_name()), text, ex=SIGN_TTL_S)
            pipe.zadd(keys.WORKERS, {worker_name(): now_ms + SIGN_TTL_S * 1000})
            pipe.zremrangebyscore(keys.WORKERS, "-inf", now_ms)
            pipe.execute()
        self._told_at = time.monotonic()

    def stop(self) -> None:
        """Stop looking and take the sign of life back."""
        self._over.set()
        try:
            runtime().services.redis.delete(keys.worker(worker_name()))
        except RedisError:
            log.debug("rescue.sign_left")
