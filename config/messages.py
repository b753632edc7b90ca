"""Sends wake-ups as Celery messages: ids only, each on the queue of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from config.queues import CONTROL_QUEUE, EXPORT_QUEUE, submit_queue
from config.schema import Settings
from paceline.bundling import bundled
from paceline.model import Follow, Step, batch_of

if TYPE_CHECKING:
    from celery import Celery

TASKS = {step: f"paceline.{step.value}" for step in Step}
"""The name of the task that carries out each step; its argument is the step's key, several for exports."""

_SOON_S = 0.01
"""A countdown shorter than this is none: holding such a message back costs more than it saves."""


def make_app(settings: Settings) -> Celery:
    """Return a Celery application with our configuration and no tasks."""
    from celery import Celery

    from config import transport
    from config.celeryconfig import celery_settings

    transport.install()
    app = Celery("paceline", set_as_current=False)
    app.conf.update(celery_settings(settings))
    return app


def export_task(submission: str) -> str:
    """Name the task that exports a submission."""
    return f"{submission}.export"


class Messenger:
    """Sends wake-ups. Losing one costs time only, so nothing here waits for Redis longer than its socket does."""

    def __init__(self, app: Celery, place: Callable[[str], tuple[str, str]]) -> None:
        self._app = app
        self._place = place

    def send(self, follows: Iterable[Follow]) -> None:
        """Send messages; a submission's message carries its id as the task's, so that its result is found under it.

        That of exports carries the first one's id with `.export`, so that a page can lead to both.
        """
        bundles = list(bundled(follows))
        if len(bundles) > 1 and self._send_together(bundles):
            return
        for bundle in bundles:
            self._send(bundle)

    def _send_together(self, bundles: Sequence[Sequence[Follow]]) -> bool:
        """Send in one round trip; False if that may have failed. Sending each again, with retries, is harmless then."""
        from kombu import exceptions as kombu_errors

        broken = (kombu_errors.BatchPublishError, kombu_errors.OperationalError)  # type: ignore[attr-defined]  # newer

        try:
            with self._app.producer_or_acquire() as producer, producer.batch():
                for bundle in bundles:
                    self._send(bundle, producer)
        except broken:
            return False
        return True

    def _send(self, bundle: Sequence[Follow], producer: Any = None) -> None:
        first = bundle[0]
        options: dict[str, Any] = {"queue": self._queue(first), "ignore_result": True, "producer": producer}
        if producer is not None:
            options["retry"] = False  # it would go on over another connection, which the batch isn't of
        if first.step is Step.SUBMIT:
            options["task_id"] = first.key
        elif first.step is Step.EXPORT:
            options["task_id"] = export_task(first.key)
        if first.countdown_s > _SOON_S:
            options["countdown"] = first.countdown_s
        self._app.send_task(TASKS[first.step], args=[follow.key for follow in bundle], **options)

    def _queue(self, follow: Follow) -> str:
        match follow.step:
            case Step.SUBMIT:
                return submit_queue(self._place(batch_of(follow.key))[0])
            case Step.EXPORT:
                return EXPORT_QUEUE
            case _:
                return CONTROL_QUEUE
