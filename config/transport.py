"""kombu's Redis transport, for a worker that outlives its Redis.

When the connection is lost, kombu closes the channel and then wants to give the messages it holds back over that same
connection; there is none, an `AttributeError` results, and Celery takes it for unrecoverable: the worker ends. The
messages are hints, and the ledger knows what they were about. So on a lost connection nothing is given back and
nothing acknowledged.

It also talks less: kombu makes a Redis client for every command that it sends, a tenth of a busy worker's time.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis

NAME = f"{__name__}:Transport"


def install() -> None:
    """Let the schemes redis and rediss (and redis+socket) mean this transport."""
    TRANSPORT_ALIASES.update(redis=NAME, rediss=NAME)


class Channel(kombu_redis.Channel):
    """A channel that can be closed, and asked to acknowledge, when its connection is gone."""

    _kept_client: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Return one client per connection pool; the one that waits in BRPOP has a connection of its own."""
        if asynchronous:
            return super()._create_client(asynchronous)  # type: ignore[misc]  # unknown to kombu's stubs
        if self._kept_client is None or self._kept_client.connection_pool is not self.pool:
            self._kept_client = super()._create_client()  # type: ignore[misc]
        return self._kept_client

    def close(self) -> None:
        """Close, giving messages back only where there is a connection to do it."""
        if self._is_cut_off():
            self.do_restore = False
        super().close()

    def basic_ack(self, delivery_tag: Any, multiple: bool = False) -> None:
        """Acknowledge, or leave the message to be delivered again."""
        if not self.closed and not self._is_cut_off():
            super().basic_ack(delivery_tag, multiple)

    def basic_reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        """Reject, or leave the message to be delivered again."""
        if not self.closed and not self._is_cut_off():
            super().basic_reject(delivery_tag, requeue)

    def _is_cut_off(self) -> bool:
        return self.connection is None or self.connection.client is None


class Transport(kombu_redis.Transport):
    """The transport with that channel."""

    Channel = Channel
