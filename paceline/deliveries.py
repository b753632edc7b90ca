"""Takes webhook deliveries: proves them, takes each once, and passes on what they hint at."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from paceline import redis_keys as keys
from paceline.hints import Hinted, Hints
from paceline.model import Follow
from paceline.providers.kolena_webhook import REMEMBERED_S, Delivery, Refused, check, read_headers, runs_in

log = logging.getLogger(__name__)

Send = Callable[[Iterable[Follow]], None]


class Deliveries:
    """The deliveries for one account. Thread-safe.

    `secret` is asked for at every delivery and kept nowhere. `send` sends wake-ups.
    """

    def __init__(
        self,
        account: str,
        redis: Redis,
        hints: Hints,
        send: Send,
        secret: Callable[[], bytes],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._account = account
        self._redis: Any = redis  # redis-py types replies as unions of every mode it has; ours are bytes
        self._hints = hints
        self._send = send
        self._secret = secret
        self._now_s = now_s

    def admit(self, headers: Mapping[str, Sequence[str]]) -> Delivery:
        """Look at the headers (in lower case) before the body is read. Raises `Refused`."""
        return read_headers(headers, self._now_s())

    def take(self, delivery: Delivery, body: bytes) -> str:
        """Take a delivery, and return a word for what it came to; one that was taken before does nothing.

        Raises `Refused`: 401 if it isn't signed, 400 if it is no JSON object, 503 if Redis can't be used, so that it
        comes again.
        """
        check(delivery, body, self._secret())
        value = _object(body)
        mark = keys.delivery(self._account, delivery.digest)
        try:
            if not self._redis.set(mark, 1, nx=True, ex=REMEMBERED_S):
                log.info("hook.delivery", extra={"account": self._account, "was": "replay"})
                return "replay"
            try:
                word, hinted = self._pass_on(value)
            except BaseException:
                with suppress(RedisError):
                    self._redis.delete(mark)
                raise
        except RedisError as error:
            raise Refused(503, "no_ledger") from error
        facts = {"account": self._account, "was": word, "about": hinted.about, "earlier": hinted.earlier}
        log.info("hook.delivery", extra=facts)
        return word

    def _pass_on(self, value: Mapping[str, Any]) -> tuple[str, Hinted]:
        runs = runs_in(value)
        if runs is None:
            return "unreadable", tell_bare(self._hints, self._send, self._account, self._hints.agents(self._account))
        if not runs:
            return "running", Hinted()
        hinted = self._hints.ended(self._account, runs)
        pass_on(self._send, hinted)
        return "hint" if hinted.about else "not_ours", hinted


def tell_bare(hints: Hints, send: Send, account: str, agents: Iterable[str]) -> Hinted:
    """Say that something happened to runs of these agents, without knowing to which."""
    hinted = sum((hints.something(account, agent) for agent in agents), Hinted())
    pass_on(send, hinted)
    return hinted


def pass_on(send: Send, hinted: Hinted) -> None:
    """Send what a hint wants sent. Where that fails, rescue wakes the chain a little later."""
    try:
        send(hinted.follows)
    except Exception as error:  # noqa: BLE001  # the broker's errors are kombu's, which the library doesn't know
        log.warning("hint.not_sent", extra={"error": type(error).__name__})


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "no_json") from error
    if not isinstance(value, dict):
        raise Refused(400, "no_object")
    return value
