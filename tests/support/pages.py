"""Flower with our pages in this process, on a ledger that holds batches in every state."""

from __future__ import annotations

import asyncio
import base64
import html
import http.client
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

from flower import app as flower_app  # type: ignore[import-untyped]  # it has no types
from flower import urls
from flower.options import options  # type: ignore[import-untyped]
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets

from config.messages import make_app
from config.settings import load_settings
from monitor.desk import Desk
from monitor.extension import readable, routes
from monitor.templating import PagesLoader
from paceline.errors import Ambiguous
from paceline.model import BatchSpec, Outcome, PlannedFile, PlannedSubmission, submission_id
from paceline.providers.base import SubmitRequest
from tests.support.world import CLOCK_KEY, World

LOGIN = ("ana", "correct horse")

NASTY = '<script>alert("x")</script>'


@dataclass(frozen=True)
class Answer:
    """What came back: `text` with entities as they are."""

    code: int
    text: str
    headers: Mapping[str, str]

    @property
    def words(self) -> str:
        """Return what a person reads, in one line."""
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", self.text)).split())


@dataclass
class Served:
    """A Flower that listens on `port`; a client with a cookie jar."""

    port: int
    login: tuple[str, str] | None = None
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, path: str, *, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request as a browser would; redirects are not followed."""
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if self.login:
            sent["Authorization"] = "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
        body = None
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(form)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            method = "GET" if form is None else "POST"
            connection.request(method, path, body=body, headers={**sent, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0].strip('"')
        return Answer(answer.status, text, {name.lower(): value for name, value in answer.getheaders()})

    def token(self, path: str) -> str:
        """Fetch a page and return the token of its forms."""
        found = re.search(r'name="_xsrf" value="([^"]+)"', self.ask(path).text)
        assert found is not None, f"no token on {path}"
        return found[1]

    def act(self, path: str, *, page: str, **fields: str) -> Answer:
        """Send a form as the page has it, and return the page that comes after."""
        done = self.ask(path, form={"_xsrf": self.token(page), **fields}, headers={"Origin": self.url})
        assert done.code == 303, done.words
        return self.ask(done.headers["location"])


@contextmanager
def served(
    redis_url: str, home: Path, *, login: tuple[str, str] | None = None, account: str = "fake", **more: object
) -> Iterator[Served]:
    """Run Flower in a thread, with our pages; `more` are Flower's options."""
    environ = {"PACELINE_REDIS_URL": redis_url, "PACELINE_HOME": str(home), "FAKE_KEY": "sk-canary-flower"}
    name = f"PACELINE_ACCOUNTS__{account.upper()}__"
    environ |= {f"{name}PROVIDER": "kolena", f"{name}KEY_ENV": "FAKE_KEY", f"{name}LIMITS__ADD": "40/60s"}
    settings = load_settings(environ, home)
    chosen = {**options.as_dict(), "basic_auth": [":".join(login)] if login else [], "address": "127.0.0.1", **more}
    handlers = [*urls.handlers[:-1], *routes(Desk(settings)), urls.handlers[-1]]
    given = {**urls.settings, "template_loader": PagesLoader(urls.settings["template_path"])}
    started: list[tuple[IOLoop, int]] = []
    ready = threading.Event()

    def run() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        loop = IOLoop.current()
        former, flower_app.default_handlers = flower_app.default_handlers, handlers
        try:
            shown = SimpleNamespace(**chosen | {"format_task": readable})
            application = flower_app.Flower(options=shown, capp=make_app(settings), io_loop=loop, **given)
        finally:
            flower_app.default_handlers = former
        server = HTTPServer(application)
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        started.append((loop, sockets[0].getsockname()[1]))
        ready.set()
        loop.start()
        server.stop()
        loop.close(all_fds=True)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(60)
    loop, port = started[0]
    try:
        yield Served(port, login)
    finally:
        loop.add_callback(loop.stop)
        thread.join(30)


class Ledger:
    """Batches in every state, made by a world whose clock is half an hour behind; `ids` has them by what they show."""

    def __init__(self, client: Any, folder: Path) -> None:
        self.folder = folder
        self.world = World(client)
        self.world.clock = time.time() - 1800
        client.set(CLOCK_KEY, round(self.world.clock * 1000))
        self.ids: dict[str, str] = {}

    def fill(self) -> Ledger:
        """Make them."""
        world = self.world
        failing: set[str] = set()
        world.provider.outcome = lambda external: Outcome.FAILED if external in failing else Outcome.SUCCEEDED
        self.ids["complete"] = self.plan("invoices 2026-10", 24)
        failing |= {self._external("complete", n) for n in (3, 7, 11)}
        world.run()
        self.ids["paused"] = self.plan(NASTY, 5, files=(NASTY, "\udcff\udcfe.txt", "ok.txt"))
        world.ledger.pause_by_hand(
            "fake", batch=self.ids["paused"], message=f"over budget {NASTY}", by="ana@example.org"
        )
        world.provider.run_s = 4000.0
        self.ids["running"] = self.plan("letters", 60)
        world.run(70)
        self.ids["held"] = self.plan("contracts <b>old</b>", 6)
        self._lost = {self._external("held", n) for n in (2, 5)}
        world.provider.on_submit = self._lose
        world.run(300, until=lambda: world.states(self.ids["held"]).get("uncertain") == 2)
        item = world.views.submission(self.submission("held", 2))
        world.ledger.hold(item.id, item.generation, reason="not_provable")
        return self

    _lost: frozenset[str] | set[str] = frozenset()

    def _lose(self, request: SubmitRequest) -> None:
        if request.external_id in self._lost:
            raise Ambiguous(f"the connection broke {NASTY}")

    def _external(self, which: str, number: int) -> str:
        return f"{self.ids[which]}.{submission_id(self.ids[which], number)}"

    def submission(self, which: str, number: int) -> str:
        """Name a submission."""
        return submission_id(self.ids[which], number)

    def plan(self, name: str, submissions: int, *, files: tuple[str, ...] = ("a.txt", "b.txt", "c.txt")) -> str:
        """Plan a batch whose folder is there."""
        spec = BatchSpec(
            source=str(self.folder / "in"),
            account="fake",
            provider="fake",
            agent="7",
            to=(str(self.folder / "out"),),
            files_per_run=len(files),
            name=name,
        )
        batch = spec.batch_id()
        manifest = self.folder / batch / "manifest.jsonl"
        manifest.parent.mkdir(parents=True)
        manifest.write_bytes(b"")
        self.world.ledger.open_batch(spec, manifest=str(manifest))
        for index in range(1, submissions + 1):
            rows = tuple(
                PlannedFile(f"{index:04d}/{one}", 1000 * at + 10, 1, f"{at}{one}") for at, one in enumerate(files)
            )
            self.world.ledger.plan(batch, PlannedSubmission(index, rows), manifest_bytes=0)
        self.world.ledger.listed(batch, skipped=0, manifest_bytes=0)
        return batch
