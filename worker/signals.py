"""Connects the worker's life to ours: logging, rescue, the sign of life."""

from __future__ import annotations

import warnings
from typing import Any

from celery.exceptions import SecurityWarning
from celery.signals import setup_logging, worker_ready, worker_shutting_down

from config.connections import mask_of
from config.logs import setup_logging as set_up
from worker.rescue import Rescuer
from worker.runtime import runtime

# Celery warns root that messages could carry code; ours are JSON, and nothing else is accepted.
warnings.simplefilter("ignore", SecurityWarning)

_rescuers: list[Rescuer] = []


@setup_logging.connect
def use_our_logging(**_: Any) -> None:
    """Log our way; having a receiver at all keeps Celery from setting up its own."""
    settings = runtime().services.settings
    set_up(settings.log_level, settings.log_format, mask=mask_of(settings))


@worker_ready.connect
def start_rescue(sender: Any, **_: Any) -> None:
    """Start the rescue thread when the worker takes messages."""
    rescuer = Rescuer(sorted(queue.name for queue in sender.task_consumer.queues))
    _rescuers.append(rescuer)
    rescuer.start()


@worker_shutting_down.connect
def stop_rescue(**_: Any) -> None:
    """Stop it when the worker goes."""
    for rescuer in _rescuers:
        rescuer.stop()
