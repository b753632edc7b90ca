"""Tell somebody of a night: post it to a web address, or hand it to a command on its standard input."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from paceline import jsonl
from paceline.errors import SinkError
from paceline.schedules.judging import End, Event, describe
from paceline.schedules.night import Night
from paceline.secrets import SUFFIX, has_secret
from paceline.sinks.places import SECRET_ENV
from paceline.sinks.posting import Receiver, read_secret
from paceline.times import iso

COMMAND_S = 60.0
"""A command may take so long."""

MOST_TRIES = 12
"""Of telling one event; with pauses that are doubled each time, up to an hour, that is most of a day."""


def message(event: Event, night: Night, end: End) -> dict[str, Any]:
    """Return what is told: an event of a night, with the batch's summary where there is one, and a line for people."""
    return {
        "event": event.value,
        "schedule": night.schedule,
        "due": night.shown,
        "deadline": iso(night.deadline_ms) if night.deadline_ms is not None else None,
        "state": night.state.value,
        "reason": night.reason or None,
        "error": night.error or None,
        "batch": night.batch,
        "text": describe(event, night, end),
        "summary": end.summary,
    }


def message_id(event: Event, night: Night) -> str:
    """Name an event: it is the same for every try, so that a receiver knows what it has already.

    A night that a person starts again has new events.
    """
    return f"{night.schedule}_{night.due_ms}_{event.value}" + (f"_{night.again}" if night.again else "")


def tell(to: Sequence[str], name: str, value: dict[str, Any], *, folder: str, secrets: Collection[str]) -> None:
    """Tell, and return when it was taken. Blocks for up to a minute or so. Raises `SinkError`.

    A delivery is signed where `PACELINE_WEBHOOK_SECRET` is set. A command runs in `folder`, without the variables that
    `secrets` names; its end with 0 counts.
    """
    body = jsonl.encode(value)
    if to[0].lower().startswith(("http://", "https://")):
        Receiver(to[0], allow_http=True).deliver(name, body, read_secret if has_secret(SECRET_ENV) else None)
        return
    hidden = {one + end for one in (*secrets, SECRET_ENV) for end in ("", SUFFIX)}
    environment = {key: text for key, text in os.environ.items() if key not in hidden}
    try:
        process = subprocess.Popen(
            list(to),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={**environment, "SCHEDULE_EVENT_ID": name},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise SinkError(f"command {to[0]!r} can't be started ({why}); correct `tell`") from error
    with suppress(BrokenPipeError):  # it need not read
        try:
            process.communicate(body, COMMAND_S)
        except subprocess.TimeoutExpired as error:
            raise SinkError(f"command {to[0]!r} took longer than {COMMAND_S:g} s and was ended") from error
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and what it has left running
            process.wait()
    if process.returncode:
        raise SinkError(f"command {to[0]!r} ended with {process.returncode}")
