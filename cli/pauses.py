"""Say who has paused what, and when, as every verb that shows a pause does."""

from __future__ import annotations

import getpass
import socket

from cli.output import local_time
from paceline.pauses import Pause


def whoami() -> str:
    """Name the person at this machine: USER@HOST."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in containers
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


def who_and_when(pause: Pause) -> str:
    """Write what is paused, since when and by whom, for people."""
    when = f"since {local_time(pause.since_ms)}" if pause.since_ms is not None else ""
    by = f"by {pause.by}" if pause.by else ""
    return " ".join(word for word in (pause.what, when, by) if word)
