"""Carry a batch through: plan in a thread, keep the fleet alive, show progress, notice the end."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as NoAnswer

from cli.exits import Exit
from cli.fleet import Fleet, start_redis
from cli.known import sieve_for
from cli.progress import Moment, Progress, duration, open_progress
from cli.standing import ended, title
from cli.target import Target, excluded
from config.embedded import EmbeddedServer
from config.leftovers import COMMAND, remove_pid, write_pid
from config.logs import printable
from config.messages import Messenger, make_app
from config.pacing import class_of
from config.services import Services
from paceline.errors import ConfigError, PacelineError
from paceline.formats import check_format
from paceline.limiter import PaceView
from paceline.manifest import ManifestBusy
from paceline.summary import summarize
from paceline.views import BatchView
from paceline.waiting import look_around, slowed_by

LOST_REDIS = (NoConnection, NoAnswer, OperationalError)
"""What redis-py and kombu raise when the server is away."""

LOOK_S = 0.5
"""Between two looks at the ledger."""


class Interrupted:
    """Whether, and how often, a person asked to stop: Ctrl-C or SIGTERM."""

    def __init__(self) -> None:
        self.times = 0
        self.wake = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[Interrupted]:
        """Count signals instead of dying from them."""
        former = {number: signal.signal(number, self._count) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _count(self, _number: int, _frame: FrameType | None) -> None:
        self.times += 1
        self.wake.set()


class Planner(threading.Thread):
    """Plans the batch beside the work; `error` is what stopped it."""

    def __init__(self, target: Target, services: Services, messenger: Messenger) -> None:
        super().__init__(name="paceline-planner", daemon=True)
        self._target = target
        self._services = services
        self._messenger = messenger
        self._stopping = threading.Event()
        self.sieve = sieve_for(target, services.known)
        self.error: PacelineError | None = None

    def run(self) -> None:
        """Plan until done, stopped, or another process is found doing it."""
        from producers.enqueue import enqueue

        while not self._stopping.is_set():
            try:
                batch = self._services.views.batch(self._target.spec.batch_id())
                enqueue(
                    self._services.ledger,
                    self._services.views,
                    batch,
                    self._target.source,
                    self._target.limits,
                    self._messenger.send,
                    exclude=excluded(self._target, self._services),
                    stopped=self._stopping.is_set,
                    weights=self._target.weights(batch.settled),
                    grouping=self._target.grouping,
                    known=self.sieve,
                    stage=self._target.stage,
                )
                return
            except ManifestBusy:
                self._stopping.wait(1.0)  # another command plans it; if that one dies, we go on
            except LOST_REDIS:
                self._stopping.wait(1.0)  # what is registered stays; planning goes on behind it
            except PacelineError as error:
                self.error = error
                return
            except Exception as error:
                logging.getLogger("paceline.planner").exception("planner.defect")
                self.error = ConfigError(f"planning stopped ({type(error).__name__}: {error}); run the command again")
                return

    def stop(self) -> None:
        """Stop after the submission at hand."""
        self._stopping.set()
        self.join(10.0)


@dataclass(frozen=True, slots=True)
class Ending:
    """How following ended. `summary` is the last one seen, `why` what it waited for then, None for nothing special."""

    exit: Exit
    why: str | None
    summary: dict[str, Any]
    batch: BatchView


def follow(target: Target, services: Services, interrupted: Interrupted) -> Ending:
    """Work on the batch until it is complete, held, blocked, or somebody interrupts."""
    with ExitStack() as ending:
        noted = f"{COMMAND}{os.getpid()}"
        write_pid(target.settings.home, noted)  # `paceline down` detaches us before it stops what we need
        ending.callback(remove_pid, target.settings.home, noted)
        server = start_redis(target.settings)
        if server is not None:
            ending.callback(server.stop)
        fleet = Fleet(target.settings, services, accounts=(target.account.name,))
        ending.callback(_stop_fleet, fleet, interrupted)
        fleet.tick()  # first: while its workers get ready, which takes longest, we import Celery and more
        messenger = Messenger(make_app(target.settings), services.ledger.place)
        planner = Planner(target, services, messenger)
        planner.start()
        ending.callback(planner.stop)
        progress = open_progress(title(services.views.batch(target.spec.batch_id())))
        ending.callback(progress.close)
        return _watch(_Look(target, services, fleet, planner, messenger, progress), server, interrupted)


def _stop_fleet(fleet: Fleet, interrupted: Interrupted) -> None:
    import click

    if fleet.owned and interrupted.times:
        click.echo("Letting the uploads under way finish (Ctrl-C again to leave at once) …", err=True)
    before = interrupted.times
    stopper = threading.Thread(target=fleet.stop, daemon=True)
    stopper.start()
    while stopper.is_alive():
        stopper.join(0.1)
        if interrupted.times > max(before, 1):
            fleet.kill()
            before = interrupted.times


@dataclass
class _Look:
    """One look at the batch, again and again."""

    target: Target
    services: Services
    fleet: Fleet
    planner: Planner
    messenger: Messenger
    progress: Progress
    last: Ending | None = None

    def take(self) -> Exit | None:
        """Keep the fleet alive, show how things stand, and tell whether that is the end."""
        check_format(self.services.redis)
        self.fleet.tick()
        self.fleet.report_deaths(self.messenger.send)
        services, account = self.services, self.target.account
        batch = services.views.batch(self.target.spec.batch_id())
        endpoint = class_of(batch, account)
        rate = account.rates[endpoint]
        pace = services.limiter.view(account.name, endpoint, rate)
        summary = summarize(batch, services.views.now_ms(), rate)
        why = waiting_for(services, batch, pace)
        sieve = self.planner.sieve
        if why is None and sieve is not None and sieve.compared and not batch.listed:
            why = f"looking for what is new: {sieve.left_out:,} of {sieve.compared:,} files are known"
        self.progress.show(Moment(summary, pace, not batch.listed, why))
        if self.planner.error is not None:
            raise self.planner.error
        code = ended(services, batch, summary)
        self.last = Ending(Exit.DETACHED if code is None else code, why, summary, batch)
        return code


def _watch(look: _Look, server: EmbeddedServer | None, interrupted: Interrupted) -> Ending:
    """Look until the end, or until somebody interrupts. A Redis that goes away comes back, or is started again."""
    away_since: float | None = None
    while True:
        try:
            if look.take() is not None and look.last:
                return look.last
            away_since = None
        except LOST_REDIS:
            away_since = away_since or time.monotonic()
            look.progress.say(f"Redis went away {duration(time.monotonic() - away_since)} ago; waiting for it")
            if server is not None:
                server.start()
        if interrupted.times:
            if look.last is None:
                raise ConfigError("Redis went away before anything could be shown; nothing is lost, run it again")
            return look.last
        interrupted.wake.wait(LOOK_S)


def waiting_for(services: Services, batch: BatchView, pace: PaceView) -> str | None:
    """Say what keeps a batch from its full pace, in a line fit for a terminal; None if nothing does."""
    why = slowed_by(batch, look_around(services.views, services.circuit, batch.account), pace)
    return None if why is None else printable(why)  # reasons quote people, providers and names of folders
