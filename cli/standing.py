"""How a batch stands now: its summary, its account's pace, and what it waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cli.exits import Exit, exit_of_batch
from config.logs import printable
from config.pacing import class_of
from config.queues import submit_queue
from config.services import Services
from paceline.batch_view import CANCELLED
from paceline.ending import BY_PERSON
from paceline.limiter import PaceView
from paceline.model import Choice, Rate, State
from paceline.summary import summarize
from paceline.views import BatchView
from paceline.waiting import look_around, stopped_by

NO_PACE = PaceView(Rate(1, 1.0), 0, 0, None, 0.0, None, 0.0)
"""Stands for that of an account that isn't set here."""

_EXIT_OF_PAUSE = {
    BY_PERSON: Exit.RUNNING,
    Choice.MAX_RUNS: Exit.RUNNING,
    Choice.MAX_CREDITS: Exit.RUNNING,
    "too_many_failures": Exit.FAILURES,
}
"""What following a batch ends with that is paused for a reason; for any other, something has to be mended first."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A moment of a batch. `why` is None where nothing is waited for.

    `pace` is None where the account isn't set here, and may be of a batch that is complete.
    """

    batch: BatchView
    summary: dict[str, Any]
    pace: PaceView | None
    why: str | None

    @property
    def exit(self) -> Exit:
        """Return the exit code that it amounts to."""
        return exit_of_batch(self.batch, self.summary)


def look(services: Services, batch: BatchView) -> Standing:
    """Look at a batch that has just been read."""
    now_ms = services.views.now_ms()
    account = services.settings.accounts.get(batch.account)
    if account is None:
        summary, pace = summarize(batch, now_ms), None
    else:
        endpoint = class_of(batch, account)
        rate = account.rates[endpoint]
        summary, pace = summarize(batch, now_ms, rate), services.limiter.view(batch.account, endpoint, rate)
    return Standing(batch, summary, pace, _why(services, batch, pace))


def look_at_all(services: Services) -> list[Standing]:
    """Look at every batch, oldest first; however many of them are complete, that takes two or three round trips."""
    batches, now_ms = services.views.batches(), services.views.now_ms()
    return [
        Standing(batch, summarize(batch, now_ms), None, None) if batch.closed else look(services, batch)
        for batch in batches
    ]


def title(batch: BatchView) -> str:
    """Name a batch in a line: its name, source and agent."""
    return f"{printable(batch.name) or batch.id} · {batch.account}:{batch.agent} · {printable(batch.source)}"


def ended(services: Services, batch: BatchView, summary: dict[str, Any]) -> Exit | None:
    """Return what following a batch ends with, if nothing more will happen by itself; None if something will."""
    if batch.closed:
        return exit_of_batch(batch, summary)
    busy = sum(batch.by_state[state] for state in (State.SUBMITTING, State.UNCERTAIN, State.RUNNING, State.FINISHED))
    if busy or batch.closing or batch.paused == CANCELLED:
        return None  # what it has is being exported, or committed
    paused = services.views.account(batch.account).paused or batch.paused
    if paused in (Choice.MAX_RUNS, Choice.MAX_CREDITS) and batch.by_state[State.HELD]:
        return Exit.HELD
    if paused:
        return _EXIT_OF_PAUSE.get(paused, Exit.CONFIG)
    if batch.listed and batch.by_state[State.HELD] and not batch.by_state[State.PLANNED]:
        return Exit.HELD
    return None


def stays(services: Services, standing: Standing) -> bool:
    """Tell whether a batch stays as it is until a person does something: it is complete, held, or paused."""
    return standing.exit is not Exit.RUNNING or ended(services, standing.batch, standing.summary) is not None


def _why(services: Services, batch: BatchView, pace: PaceView | None) -> str | None:
    if batch.closed:
        return None
    around = look_around(services.views, services.circuit, batch.account)
    why = stopped_by(batch, around, pace, submit_queue(batch.account))
    return None if why is None else printable(why)
