"""End this process with the one that owns it, however that one ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress

OWNER_GONE_S = 30.0
"""For a process whose owner died: to finish what is under way, before it is ended the hard way."""


def stop_with(owner_fd: int) -> None:
    """Stop this process when the owner's end of the pipe closes: warmly first, then for good."""

    def watch() -> None:
        with suppress(OSError):
            while os.read(owner_fd, 512):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(OWNER_GONE_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="paceline-owner", daemon=True).start()
