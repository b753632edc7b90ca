"""The tasks: each carries one step. They take one id, may run twice at once, and may never run at all."""

from __future__ import annotations

import re

from paceline.errors import LedgerError
from paceline.model import Step
from worker.app import app
from worker.runtime import log, runtime

_KEYS = {
    Step.SUBMIT: re.compile(r"b[0-9a-z]{9}-\d{6,9}"),
    Step.EXPORT: re.compile(r"b[0-9a-z]{9}-\d{6,9}"),
    Step.FEED: re.compile(r"[a-z0-9_-]{1,64}"),
    Step.POLL: re.compile(r"[a-z0-9_-]{1,64}:[^\s:]{1,200}"),
    Step.RECONCILE: re.compile(r"[a-z0-9_-]{1,64}:[^\s:]{1,200}"),
    Step.CLOSE: re.compile(r"b[0-9a-z]{9}"),
}


def _carry(step: Step, key: object) -> None:
    """Carry a step, unless its key is none: whoever can write to the broker must not get further than a log line."""
    if not isinstance(key, str) or not _KEYS[step].fullmatch(key):
        log.warning("task.forged", extra={"step": step.value})
        return
    try:
        runtime().carry(step, key)
    except LedgerError as error:
        log.warning("task.unknown", extra={"step": step.value, "error": type(error).__name__})


@app.task(name="paceline.submit")
def submit(submission_id: str) -> None:
    """Send a planned submission to its provider."""
    _carry(Step.SUBMIT, submission_id)


@app.task(name="paceline.export")
def export(submission_id: str) -> None:
    """Write a finished submission to its sinks."""
    _carry(Step.EXPORT, submission_id)


@app.task(name="paceline.feed")
def feed(account: str) -> None:
    """Release what an account's permits allow."""
    _carry(Step.FEED, account)


@app.task(name="paceline.poll")
def poll(account_and_agent: str) -> None:
    """Ask after the runs of an agent that are due."""
    _carry(Step.POLL, account_and_agent)


@app.task(name="paceline.reconcile")
def reconcile(account_and_agent: str) -> None:
    """Look for the uncertain submissions of an agent."""
    _carry(Step.RECONCILE, account_and_agent)


@app.task(name="paceline.close")
def close(batch: str) -> None:
    """Audit a batch and commit its final output."""
    _carry(Step.CLOSE, batch)
