"""Flower's `/metrics` is behind its login, its `/healthcheck` isn't; both are Flower's own application."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from flower import urls  # type: ignore[import-untyped]  # it has no types
from flower.app import Flower  # type: ignore[import-untyped]
from flower.events import Events  # type: ignore[import-untyped]
from flower.options import default_options  # type: ignore[import-untyped]
from prometheus_client import REGISTRY
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port
from tornado.web import RequestHandler

from monitor import metrics
from tests.support.scrape import one, read_text, settings_for, url_of

LOGIN = "watcher:canary-password"


@pytest.fixture(autouse=True)
def flower_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave Flower's routes and the registry of this process as they were."""
    before, collectors = list(urls.handlers), set(REGISTRY._collector_to_names)
    monkeypatch.setattr(metrics, "_installed", [])
    monkeypatch.setattr(RequestHandler, "_template_loaders", {})  # an error page keeps a loader that lacks ours
    yield
    urls.handlers[:] = before
    for collector in set(REGISTRY._collector_to_names) - collectors:
        if isinstance(collector, metrics.LedgerCollector):
            REGISTRY.unregister(collector)


def ask(paths: Mapping[str, dict[str, Any]], *, login: str = "", prefix: str = "") -> list[HTTPResponse]:
    """Serve Flower in this process, and return its answers, in order, to requests with these arguments."""

    async def serve() -> list[HTTPResponse]:
        loop = IOLoop.current()
        options = default_options
        before = options.basic_auth, options.url_prefix
        options.basic_auth, options.url_prefix = ([login] if login else []), prefix
        capp = Celery("paceline", broker="memory://", set_as_current=False)
        try:
            events = Events(capp, loop, max_tasks_in_memory=10, max_workers_in_memory=10)
            app = Flower(options=options, capp=capp, events=events, io_loop=loop, **urls.settings)
            listening, port = bind_unused_port()
            server = HTTPServer(app)
            server.add_socket(listening)
            client = AsyncHTTPClient()
            found = []
            for path, arguments in paths.items():
                request: Any = HTTPRequest(f"http://127.0.0.1:{port}{path}", follow_redirects=False, **arguments)
                found.append(await client.fetch(request, raise_error=False))
            server.stop()
            await server.close_all_connections()
            return found
        finally:
            options.basic_auth, options.url_prefix = before

    return asyncio.run(serve())


@pytest.fixture
def installed(real_redis: Any, tmp_path: Path) -> None:
    metrics.install(settings_for(tmp_path, url_of(real_redis)))


@pytest.mark.usefixtures("installed")
def test_metrics_are_on_flowers_page_beside_its_own() -> None:
    (answer,) = ask({"/metrics": {}})
    assert answer.code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    found = read_text(answer.body.decode())
    assert one(found, "paceline_up") == 1
    assert one(found, "paceline_permit_limit", account="fake", class_="add") == 40
    assert any(name.startswith(("process_", "python_")) for name, _ in found)


@pytest.mark.usefixtures("installed")
def test_metrics_want_the_login_and_the_health_check_does_not() -> None:
    name, _, password = LOGIN.partition(":")
    wrong, nobody, health, right = ask(
        {
            "/metrics?1": {"auth_username": name, "auth_password": "guess"},
            "/metrics?2": {},
            "/healthcheck": {},
            "/metrics?3": {"auth_username": name, "auth_password": password},
        },
        login=LOGIN,
    )
    assert (wrong.code, nobody.code) == (401, 401)
    assert b"paceline" not in wrong.body + nobody.body
    assert nobody.headers["WWW-Authenticate"].startswith("Basic")
    assert (health.code, health.body) == (200, b"OK")
    assert right.code == 200
    assert b"paceline_up 1" in right.body


@pytest.mark.usefixtures("installed")
def test_the_login_holds_under_a_prefix_too() -> None:
    nobody, elsewhere = ask({"/watch/metrics": {}, "/metrics": {}}, login=LOGIN, prefix="watch")
    assert (nobody.code, elsewhere.code) == (401, 404)


def test_a_redis_that_is_gone_is_no_error_of_flowers(tmp_path: Path) -> None:
    metrics.install(settings_for(tmp_path, f"unix://{tmp_path}/none"))
    (answer,) = ask({"/metrics": {}})
    assert answer.code == 200
    assert b"paceline_up 0" in answer.body


@pytest.mark.usefixtures("installed")
def test_a_name_that_was_made_to_lead_here_gets_no_metrics_without_a_login() -> None:
    name, _, password = LOGIN.partition(":")
    rebound = {"headers": {"Host": "evil.example:5555"}}
    refused, here = ask({"/metrics?1": rebound, "/metrics?2": {"headers": {"Host": "localhost:5555"}}})
    assert (refused.code, here.code) == (403, 200)
    assert b"paceline_" not in refused.body
    (behind,) = ask({"/metrics": {**rebound, "auth_username": name, "auth_password": password}}, login=LOGIN)
    assert behind.code == 200
