"""The tasks: each carries one step. They take one id, may run twice at once, and may never run at all.

Their signatures take anything: Celery would log the arguments of a call that doesn't fit, whoever made it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from redis.exceptions import RedisError

from paceline.bundling import EXPORTS_AT_ONCE
from paceline.errors import LedgerError
from paceline.model import SUBMISSION_ID, Step
from worker.app import app
from worker.runtime import log, runtime

_KEYS = {
    Step.SUBMIT: re.compile(SUBMISSION_ID, re.ASCII),
    Step.EXPORT: re.compile(SUBMISSION_ID, re.ASCII),
    Step.FEED: re.compile(r"[a-z0-9_-]{1,64}"),
    Step.POLL: re.compile(r"[a-z0-9_-]{1,64}:[^\s:]{1,200}"),
    Step.RECONCILE: re.compile(r"[a-z0-9_-]{1,64}:[^\s:]{1,200}"),
    Step.CLOSE: re.compile(r"b[0-9a-z]{9}"),
    Step.CANCEL: re.compile(r"b[0-9a-z]{9}"),
}

_MOST_KEYS = {Step.EXPORT: EXPORTS_AT_ONCE}
"""How many keys a message of a step may have, where it isn't one."""


def _carry(step: Step, given: tuple[object, ...], named: Mapping[str, object]) -> None:
    """Carry a step, unless a key is none of its: who can write to the broker must not get further than a log line."""
    keys = [key for key in given if isinstance(key, str) and _KEYS[step].fullmatch(key)]
    if named or len(keys) != len(given) or not 1 <= len(keys) <= _MOST_KEYS.get(step, 1):
        log.warning("task.forged", extra={"step": step.value})
        return
    try:
        runtime().carry(step, keys)
    except LedgerError as error:
        log.warning("task.unknown", extra={"step": step.value, "error": type(error).__name__})
    except RedisError as error:  # away, or another version's: rescue starts it again, here or elsewhere
        log.warning("task.no_redis", extra={"step": step.value, "error": type(error).__name__})


@app.task(name="paceline.submit")
def submit(*submission_id: object, **named: object) -> None:
    """Send a planned submission to its provider."""
    _carry(Step.SUBMIT, submission_id, named)


@app.task(name="paceline.export")
def export(*submission_ids: object, **named: object) -> None:
    """Write finished submissions to their sinks."""
    _carry(Step.EXPORT, submission_ids, named)


@app.task(name="paceline.feed")
def feed(*account: object, **named: object) -> None:
    """Release what an account's permits allow."""
    _carry(Step.FEED, account, named)


@app.task(name="paceline.poll")
def poll(*account_and_agent: object, **named: object) -> None:
    """Ask after the runs of an agent that are due."""
    _carry(Step.POLL, account_and_agent, named)


@app.task(name="paceline.reconcile")
def reconcile(*account_and_agent: object, **named: object) -> None:
    """Look for the uncertain submissions of an agent."""
    _carry(Step.RECONCILE, account_and_agent, named)


@app.task(name="paceline.close")
def close(*batch: object, **named: object) -> None:
    """Audit a batch and commit its final output."""
    _carry(Step.CLOSE, batch, named)


@app.task(name="paceline.cancel")
def cancel(*batch: object, **named: object) -> None:
    """End what a cancelled batch still has under way."""
    _carry(Step.CANCEL, batch, named)
