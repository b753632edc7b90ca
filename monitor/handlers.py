"""Answers requests for our pages, in Flower's process, behind its login; reading is left to threads."""

from __future__ import annotations

import asyncio
import logging
import socket
from base64 import b64decode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from tornado.web import HTTPError, RequestHandler, authenticated

from monitor import batch_page, batches_page, submission_page
from monitor.board import BROKEN
from monitor.desk import Desk
from monitor.guard import foreign_host, foreign_origin
from monitor.seen import tasks_seen
from monitor.shown import clean
from paceline.errors import PacelineError

if TYPE_CHECKING:
    FlowerHandler = RequestHandler
else:
    from flower.views import BaseHandler as FlowerHandler

log = logging.getLogger("paceline.flower")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline: what a batch is named can't do anything here, escaped or not."""

LIVE = ("batches", "batch", "submissions", "submission")
"""Pages that keep themselves up to date: those have a part that the script asks for."""

NOTE = "paceline_note"
"""The cookie that takes a sentence from an action to the page shown next."""

AWAY = "Redis doesn't answer. Nothing is lost; this page looks again by itself."


class Page(FlowerHandler):
    """What our handlers have in common. `desk` is what they read and act with."""

    def initialize(self, desk: Desk) -> None:
        """Take what all share."""
        self.desk = desk

    def set_default_headers(self) -> None:
        """Allow nobody else to read, frame or keep a page."""
        super().set_default_headers()
        for name in ("Allow-Origin", "Allow-Headers", "Allow-Methods"):
            self.clear_header(f"Access-Control-{name}")
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    @property
    def login(self) -> bool:
        """Tell whether Flower asks who it is."""
        options = self.application.options  # type: ignore[attr-defined]  # Flower's application, not Tornado's
        return bool(options.basic_auth or options.auth)

    @property
    def read_only(self) -> bool:
        """Tell whether Flower was told to change nothing."""
        return bool(self.application.options.read_only)  # type: ignore[attr-defined]

    def prepare(self) -> None:
        """Refuse what was meant for another host."""
        address = self.application.options.address  # type: ignore[attr-defined]
        if foreign_host(self.request.host, listens_on=address, login=self.login):
            raise HTTPError(403, "Another host's name: use 127.0.0.1 or localhost, or set a login")

    def check_xsrf_cookie(self) -> None:
        """Check every form, with or without a login; Tornado asks for this before `prepare`."""
        self.prepare()
        if foreign_origin(self.request.headers, self.request.host):
            raise HTTPError(403, "Cross-site request forbidden")
        RequestHandler.check_xsrf_cookie(self)

    def who(self) -> str:
        """Name the person for the record: the login's user."""
        scheme, _, coded = self.request.headers.get("Authorization", "").partition(" ")
        if self.application.options.basic_auth and scheme == "Basic":  # type: ignore[attr-defined]  # checked by Flower
            return f"{b64decode(coded).decode('utf-8', 'replace').partition(':')[0]} from Flower"
        user = self.current_user
        return f"{user if isinstance(user, str) else f'somebody@{socket.gethostname()}'} from Flower"

    async def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do what may block beside Flower's loop."""
        return await asyncio.get_running_loop().run_in_executor(self.desk.threads, work, *arguments)

    async def show(self, template: str, read: Callable[[], dict[str, Any] | None]) -> None:
        """Read a page's model and write it: only what changes by itself where the script asks for that."""
        part = bool(self.get_query_argument("part", "")) and template in LIVE
        try:
            model = await self.in_thread(read)
        except (RedisError, PacelineError) as error:
            log.warning("page.unread", extra={"error": type(error).__name__})
            self.set_status(503)
            text = f"The ledger can't be read: {error}" if isinstance(error, PacelineError) else AWAY
            model, template = {"id": "", "text": text}, "away"
        except BROKEN as error:
            log.warning("page.damaged", extra={"error": type(error).__name__})
            self.set_status(500)
            model, template = {"id": "", "text": "What the ledger has of this can't be read."}, "away"
        if model is None:
            raise HTTPError(404, "The ledger doesn't have that (any more)")
        self.render(
            f"paceline-{template}{'-part' if part else ''}.html", m=clean(model), note=self.take_note(part), page=self
        )

    def take_note(self, part: bool) -> dict[str, str] | None:
        """Return what the last action has to say, once."""
        raw = None if part else self.get_secure_cookie(NOTE, max_age_days=1)
        if not raw:
            return None
        self.clear_cookie(NOTE)
        look, _, text = raw.decode().partition(" ")
        found: dict[str, str] = clean({"look": look, "text": text})
        return found

    def leave_note(self, text: str, *, good: bool) -> None:
        """Keep a sentence for the page shown next."""
        self.set_secure_cookie(NOTE, f"{'success' if good else 'danger'} {clean(text)[:1000]}", expires_days=1)


class Batches(Page):
    """All batches."""

    @authenticated
    async def get(self) -> None:
        """Show a page of them."""
        state, text = self.get_query_argument("state", ""), self.get_query_argument("q", "")
        page = number(self.get_query_argument("page", "1"))
        await self.show("batches", lambda: batches_page.make(self.desk.board(), state=state, text=text, page=page))


class Batch(Page):
    """One batch."""

    @authenticated
    async def get(self, batch: str) -> None:
        """Show it."""
        await self.show("batch", lambda: batch_page.make(self.desk.board(), batch))


class Submissions(Page):
    """The submissions of a batch."""

    @authenticated
    async def get(self, batch: str) -> None:
        """Show a page of them: by number, or by the reason that they ended for."""
        reason, after = self.get_query_argument("reason", ""), self.get_query_argument("after", "")
        page, go = number(self.get_query_argument("page", "1")), number(self.get_query_argument("number", "0"))
        page = (go - 1) // batch_page.PAGE + 1 if go > 0 else page

        def read() -> dict[str, Any] | None:
            desk = self.desk
            return batch_page.submissions(desk.board(), desk.views(), batch, page=page, reason=reason, after=after)

        await self.show("submissions", read)


class Submission(Page):
    """One submission."""

    @authenticated
    async def get(self, submission: str) -> None:
        """Show it."""
        page = number(self.get_query_argument("page", "1"))
        seen = tasks_seen(self.application.events.state, submission)  # type: ignore[attr-defined]

        def read() -> dict[str, Any] | None:
            found = submission_page.make(self.desk.views(), submission, page=page)
            return None if found is None else found | {"tasks": seen}

        await self.show("submission", read)


class Act(Page):
    """What a person does: a POST that ends with a note on the page it came from."""

    async def done(self, back: str, work: Callable[[], str]) -> None:
        """Act in a thread, note what came of it, and go back."""
        if self.read_only:
            raise HTTPError(403, "Flower is read-only")
        try:
            text, good = await self.in_thread(work), True
        except PacelineError as error:  # first: a ledger of another version is both
            text, good = f"Not done: {error}", False
        except (RedisError, OperationalError) as error:
            log.warning("act.no_redis", extra={"error": type(error).__name__})
            text, good = "Redis didn't answer; look whether it was done before you try again.", False
        self.leave_note(text, good=good)
        self.redirect(back, status=303)


class BatchAct(Act):
    """What is done to a batch; `retry` and `cancel` are confirmed on a page of their own."""

    @authenticated
    async def get(self, batch: str, verb: str) -> None:
        """Ask for the confirmation."""
        if verb not in ("retry", "cancel"):
            raise HTTPError(405)
        reason = self.get_query_argument("reason", "")
        await self.show("confirm", lambda: self.desk.question(batch, verb, reason))

    @authenticated
    async def post(self, batch: str, verb: str) -> None:
        """Do it."""
        reason, why, by = self.get_body_argument("reason", ""), self.get_body_argument("why", ""), self.who()
        confirmed = number(self.get_body_argument("number", "0"))
        await self.done(
            self.reverse_url("batch", batch),
            lambda: self.desk.act(batch, verb, reason=reason, why=why, by=by, confirmed=confirmed),
        )


class AccountAct(Act):
    """What is done to an account."""

    @authenticated
    async def post(self, account: str, verb: str) -> None:
        """Do it."""
        back, why, by = self.get_body_argument("back", ""), self.get_body_argument("why", ""), self.who()
        place = self.reverse_url("batch", back) if back.isalnum() else self.reverse_url("batches")
        await self.done(place, lambda: self.desk.act_on_account(account, verb, why=why, by=by))


def number(text: str) -> int:
    """Read a number of an address; anything else counts as 1."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 1
