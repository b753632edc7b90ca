"""Finds the tasks of a submission among those that Flower has seen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from config.messages import TASKS, export_task
from paceline.model import Step

_WRITTEN = re.compile(r"[\[(]('[^'\\]*'(?:, '[^'\\]*')*),?[\])]")


def ids_of(arguments: str) -> Sequence[str]:
    """Return the ids that a task was given, of what Celery's events say of its arguments; () if they are others."""
    written = _WRITTEN.fullmatch(arguments)
    return () if written is None else written[1][1:-1].split("', '")


def tasks_seen(state: Any, submission: str) -> list[str]:
    """Return the ids of a submission's tasks in Flower's `state`, that of its sending first.

    One message wakes several exports, and is named after the first of them: it tells the others by its arguments.
    """
    named = [one for one in (submission, export_task(submission)) if one in state.tasks]
    exports = {task.uuid for task in state.tasks_by_type[TASKS[Step.EXPORT]] if f"'{submission}'" in (task.args or "")}
    return named + sorted(one for one in exports.difference(named) if one in state.tasks)  # Celery forgets there later
