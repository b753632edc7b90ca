"""A Celery application as its own "First steps" writes it, to compare an idle fleet with."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("plain", broker=os.environ["PLAIN_BROKER"], backend=os.environ["PLAIN_BROKER"])


@app.task
def add(x: int, y: int) -> int:
    """Add."""
    return x + y
