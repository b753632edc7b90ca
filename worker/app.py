"""The Celery application: `celery -A worker.app worker`, or `paceline worker`."""

from __future__ import annotations

import sys

from celery import Celery

from config.logs import printable
from config.messages import make_app
from config.settings import load_settings
from paceline.errors import PacelineError


def _build() -> Celery:
    try:
        return make_app(load_settings())
    except PacelineError as error:
        sys.exit(
            f"paceline: {printable(str(error))}"
        )  # Celery imports this module; a traceback would bury the one line that helps


app = _build()
app.conf.update(imports=("worker.tasks", "worker.schedules", "worker.signals"))
