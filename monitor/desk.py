"""What the pages read and act with: connections made at first use, and the verbs of `paceline.operating`."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from config.messages import Messenger, make_app
from config.schema import Settings
from config.services import Services, open_services
from monitor import batch_page
from monitor.board import Board
from paceline import operating
from paceline.batch_view import CANCELLED, BatchView
from paceline.errors import UnknownBatch, UsageError
from paceline.formats import check_format
from paceline.model import Follow
from paceline.views import Views
from paceline.wording import counted

log = logging.getLogger("paceline.flower")

ANSWER_S, CONNECT_S = 5.0, 2.0
"""A page says sooner than a batch would that Redis is away."""

THREADS = 4


class Desk:
    """One for Flower's process. Thread-safe; connects at first use, and again whenever Redis comes back."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="paceline-pages")

    @cached_property
    def _reading(self) -> Services:
        quick = {
            "redis_answer_seconds": min(ANSWER_S, self.settings.redis_answer_seconds),
            "redis_connect_seconds": min(CONNECT_S, self.settings.redis_connect_seconds),
        }
        return open_services(self.settings.model_copy(update=quick))

    @cached_property
    def _acting(self) -> Services:
        return open_services(self.settings)

    def board(self) -> Board:
        """Return what reads for the pages. Raises `ConfigError` for a ledger of another version."""
        return Board(self.views_of(self._reading).redis, self._reading.settings)

    def views(self) -> Views:
        """Return what reads single things."""
        return self.views_of(self._reading).views

    def views_of(self, services: Services) -> Services:
        """Check the ledger's version, which another process may have changed."""
        check_format(services.redis)
        return services

    def question(self, batch: str, verb: str, reason: str) -> dict[str, Any] | None:
        """Write what is to be confirmed; None for a batch that isn't there."""
        view = self.views().find_batch(batch)
        if view is None:
            return None
        if verb == "cancel":
            return batch_page.confirm_cancel(view, reachable=reachable(view))
        return batch_page.confirm_retry(view, reason, reachable=reachable(view))

    def act(self, batch: str, verb: str, *, reason: str, why: str, by: str, confirmed: int) -> str:
        """Do something to a batch and say what came of it. Raises what `paceline.operating` raises.

        A retry sends at most as many submissions as were `confirmed`, and none where there are more by now.
        """
        services = self.views_of(self._acting)
        view = services.views.find_batch(batch)
        if view is None:
            raise UnknownBatch(f"no batch {batch}")
        log.info("operator.acts", extra={"verb": verb, "batch": batch, "by": by})
        match verb:
            case "pause":
                return self._pause(services, view.account, view, why, by)
            case "resume":
                return self._resume(services, view.account, view)
            case "cancel":
                return self._cancel(services, view, by)
            case "retry":
                return self._retry(services, view, reason, confirmed)
        raise UsageError(f"no such verb: {verb}")

    def act_on_account(self, account: str, verb: str, *, why: str, by: str) -> str:
        """Do something to an account and say what came of it."""
        services = self.views_of(self._acting)
        if account not in self.settings.accounts and account not in services.views.accounts():
            raise UsageError(f"no account {account}")
        log.info("operator.acts", extra={"verb": verb, "account": account, "by": by})
        if verb == "pause":
            return self._pause(services, account, None, why, by)
        return self._resume(services, account, None)

    def _pause(self, services: Services, account: str, batch: BatchView | None, why: str, by: str) -> str:
        if batch is not None and batch.closed:
            return f"Batch {batch.id} is complete already."
        what = f"Batch {batch.id}" if batch else f"Account {account}"
        if operating.pause(services.ledger, account, batch=batch.id if batch else "", why=why[:500], by=by):
            return f"{what} is paused: nothing more is sent. What is under way goes on."
        return f"{what} was paused already, which stays."

    def _resume(self, services: Services, account: str, batch: BatchView | None) -> str:
        if batch is not None:
            operating.check_resumable(batch)
            if batch.closed:
                return f"Batch {batch.id} is complete; there is nothing to resume."
        was, follows = operating.resume(services.ledger, account, batch=batch.id if batch else "")
        self._send(services, follows)
        what = f"Batch {batch.id}" if batch else f"Account {account}"
        text = f"{what} goes on." if was else f"{what} wasn't paused."
        if batch is not None and services.views.account(account).paused:
            text += f" Its account {account} is still paused."
        return text

    def _cancel(self, services: Services, batch: BatchView, by: str) -> str:
        if batch.closed:
            return f"Batch {batch.id} is complete already; there is nothing to cancel."
        if not reachable(batch):
            raise UsageError(f"the batch's folder isn't on this machine; where it is: paceline cancel {batch.id}")
        follows = operating.cancel(services.ledger, services.views, batch, message=f"cancelled by {by}")
        self._send(services, follows)
        return f"Batch {batch.id} is being cancelled."

    def _retry(self, services: Services, batch: BatchView, reason: str, confirmed: int) -> str:
        operating.check_retry(batch)
        number = sum(batch_page.to_retry(batch, reason).values())
        if number > confirmed:  # each is paid for: the page that asked may be hours old
            raise UsageError(f"it would be {counted(number, 'submission')} by now, not {confirmed:,}; look once more")
        if batch.paused == CANCELLED and not reachable(batch):
            raise UsageError(f"the batch's folder isn't on this machine; where it is: paceline retry {batch.id}")
        items = islice(operating.failed_ones(services.views, batch, reason or None), confirmed)
        done = operating.retry(services.ledger, batch, items)
        self._send(services, done.follows)
        return (
            f"{counted(done.sent, 'submission')} will be sent again." if done.sent else "Nothing is left to send again."
        )

    def _send(self, services: Services, follows: list[Follow] | tuple[Follow, ...]) -> None:
        Messenger(make_app(self.settings), services.ledger.place).send(follows)


def reachable(batch: BatchView) -> bool:
    """Tell whether the folder is here in which it is noted that a batch is cancelled; a rebuilt ledger reads it."""
    return Path(batch.manifest).exists()
