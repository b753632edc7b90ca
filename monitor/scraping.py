"""Flower's `/metrics`, behind its login: Flower itself gives it to everybody."""

from __future__ import annotations

from typing import Any

import tornado.web
from flower import urls  # type: ignore[import-untyped]  # it has no types
from flower.views import BaseHandler  # type: ignore[import-untyped]
from flower.views.monitor import Metrics  # type: ignore[import-untyped]
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from tornado.ioloop import IOLoop

from monitor.guard import foreign_host

PATH = "/metrics"


class GuardedMetrics(BaseHandler):  # type: ignore[misc]  # Flower has no types
    """Answers a scrape. Where Flower has a login, Prometheus sends it as basic authentication."""

    def prepare(self) -> None:
        """Refuse what was meant for another host."""
        options = self.application.options
        if foreign_host(self.request.host, listens_on=options.address, login=bool(options.basic_auth or options.auth)):
            raise tornado.web.HTTPError(403, "Another host's name: use 127.0.0.1 or localhost, or set a login")

    @tornado.web.authenticated
    async def get(self) -> None:
        """Write all metrics of this process in the format that is asked for.

        They are made on another thread: a Redis that doesn't answer must not hold up Flower's pages.
        """
        self.application.purge_offline_worker_metrics()
        encode, content_type = choose_encoder(self.request.headers.get("Accept", ""))
        text = await IOLoop.current().run_in_executor(None, encode, REGISTRY)
        self.set_header("Content-Type", content_type)
        self.write(text)


def guard_metrics() -> None:
    """Put `GuardedMetrics` in the place of Flower's handler. Call it before Flower's application is made."""
    urls.handlers[:] = [_guarded(handler) for handler in urls.handlers]


def _guarded(handler: Any) -> Any:
    return (PATH, GuardedMetrics) if isinstance(handler, tuple) and handler == (PATH, Metrics) else handler
