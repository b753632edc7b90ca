"""Carry a batch through: plan in a thread, keep the fleet alive, show progress, notice the end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from cli.exits import Exit, exit_of_summary
from cli.fleet import Fleet
from cli.progress import Moment, Progress, duration, open_progress
from cli.target import Target
from config.leftovers import COMMAND, remove_pid, write_pid
from config.messages import Messenger, make_app
from config.services import Services
from paceline.errors import PacelineError
from paceline.limiter import PaceView
from paceline.manifest import ManifestBusy
from paceline.model import EndpointClass, State
from paceline.summary import summarize
from paceline.views import BatchView

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
        self.error: PacelineError | None = None

    def run(self) -> None:
        """Plan until done, stopped, or another process is found doing it."""
        from producers.enqueue import enqueue

        while not self._stopping.is_set():
            batch = self._services.views.batch(self._target.spec.batch_id())
            try:
                enqueue(
                    self._services.ledger,
                    batch,
                    self._target.source,
                    self._target.limits,
                    self._messenger.send,
                    exclude=self._target.exclude,
                    stopped=self._stopping.is_set,
                )
                return
            except ManifestBusy:
                self._stopping.wait(1.0)  # another command plans it; if that one dies, we go on
            except PacelineError as error:
                self.error = error
                return

    def stop(self) -> None:
        """Stop after the submission at hand."""
        self._stopping.set()
        self.join(10.0)


@dataclass(frozen=True, slots=True)
class Ending:
    """How following ended. `summary` is the last one seen."""

    exit: Exit
    summary: dict[str, object]
    batch: BatchView


def follow(target: Target, services: Services, interrupted: Interrupted) -> Ending:
    """Work on the batch until it is complete, held, blocked, or somebody interrupts."""
    batch_id = target.spec.batch_id()
    messenger = Messenger(make_app(target.settings), services.ledger.place)
    fleet = Fleet(target.settings, services, accounts=(target.account.name,))
    planner = Planner(target, services, messenger)
    progress = open_progress(title(services.views.batch(batch_id)))
    noted = f"{COMMAND}{os.getpid()}"
    write_pid(target.settings.home, noted)  # `paceline down` detaches us before it stops what we need
    try:
        fleet.tick()
        planner.start()
        return _watch(target, services, fleet, planner, messenger, progress, interrupted)
    finally:
        progress.close()
        planner.stop()
        _stop_fleet(fleet, interrupted)
        remove_pid(target.settings.home, noted)


def title(batch: BatchView) -> str:
    """Name a batch in a line: its name, source and agent."""
    return f"{printable(batch.name) or batch.id} · {batch.account}:{batch.agent} · {printable(batch.source)}"


def printable(text: str) -> str:
    """Make a name safe for a terminal."""
    from config.logs import printable as safe

    return safe(text)


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


def _watch(
    target: Target,
    services: Services,
    fleet: Fleet,
    planner: Planner,
    messenger: Messenger,
    progress: Progress,
    interrupted: Interrupted,
) -> Ending:
    rate = target.account.rates[EndpointClass.ADD]
    while True:
        fleet.tick()
        fleet.report_deaths(messenger.send)
        batch = services.views.batch(target.spec.batch_id())
        pace = services.limiter.view(target.account.name, EndpointClass.ADD, rate)
        summary = summarize(batch, services.views.now_ms(), rate)
        why = waiting_for(services, batch, pace)
        progress.show(Moment(summary, pace, not batch.listed, why))
        if planner.error is not None:
            raise planner.error
        code = _ended(services, batch, summary)
        if code is None and interrupted.times:
            code = Exit.DETACHED
        if code is not None:
            return Ending(code, summary, batch)
        interrupted.wake.wait(LOOK_S)


def _ended(services: Services, batch: BatchView, summary: dict[str, object]) -> Exit | None:
    if batch.closed:
        return exit_of_summary(summary)
    busy = sum(batch.by_state[state] for state in (State.SUBMITTING, State.UNCERTAIN, State.RUNNING, State.FINISHED))
    if busy:
        return None
    if batch.paused or services.views.account(batch.account).paused:
        return Exit.CONFIG
    if batch.listed and batch.by_state[State.HELD] and not batch.by_state[State.PLANNED]:
        return Exit.HELD
    return None


def waiting_for(services: Services, batch: BatchView, pace: PaceView) -> str | None:
    """Say what keeps a batch from its full pace, in a line; None if nothing does."""
    account = services.views.account(batch.account)
    if account.paused:
        return f"account {batch.account} is paused: {account.message or account.paused}"
    if batch.paused:
        return f"paused: {batch.paused_message or batch.paused}"
    if batch.trouble:
        return batch.trouble
    if pace.closed_s > 0:
        why = {
            "throttled": "the provider asked to slow down (429)",
            "unreachable": "the provider can't be reached",
            "clock": "the clock jumped; waiting one window to be sure of the pace",
            "restart": "Redis was restarted; waiting one window to be sure of the pace",
        }.get(pace.closed_why or "", pace.closed_why or "closed")
        return f"{why}; next try in {duration(pace.closed_s)}"
    if batch.by_state[State.UNCERTAIN]:
        number = batch.by_state[State.UNCERTAIN]
        return f"{number} without a clear answer: asking the provider before anything is sent again"
    return None
