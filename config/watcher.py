"""Runs a server for as long as somebody uses it; started as a script of its own by `config.embedded`.

    watcher.py USERS_LOCK GRACE_SECONDS SERVER ARGUMENT…

Standard input is a pipe whose other end only the owner holds: when the owner ends, however it ends, the kernel closes
it. Users hold shared locks on USERS_LOCK, which the kernel releases just as reliably. When the pipe is closed and no
user is left, the server gets SIGTERM, and SIGKILL after GRACE_SECONDS. So `kill -9` of a command leaves nothing behind,
and a command that ends doesn't take the server away from another one.

It imports little and is run without site packages, because it lives as long as the server.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import time

_POLL_SECONDS = 0.1


def main(arguments: list[str]) -> int:
    """Run the server to its end and return its exit code."""
    users_path, grace_s, *command = arguments
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    stopping = False

    def stop(signum: int, frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGCHLD, lambda signum, frame: None)
    with open(os.devnull, "rb") as nothing:
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, nothing.fileno(), 0)])
    pipe_open = True
    while (code := _ended(pid)) is None:
        if stopping or not (pipe_open or _in_use(users_path)):
            return _stop(pid, float(grace_s))
        ready, _, _ = select.select([woken, *([0] if pipe_open else [])], [], [], None if pipe_open else _POLL_SECONDS)
        if woken in ready:
            os.read(woken, 512)
        if 0 in ready:
            pipe_open = bool(os.read(0, 512))
    return code


_held: list[int] = []


def _in_use(users_path: str) -> bool:
    """Tell whether a user is left; when none is, keep new ones waiting until this process has ended."""
    users = os.open(users_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(users)
        return True
    _held.append(users)
    return False


def _stop(pid: int, grace_s: float) -> int:
    deadline = time.monotonic() + grace_s
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    while (code := _ended(pid)) is None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return code


def _ended(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


if __name__ == "__main__":
    sys.exit(abs(main(sys.argv[1:])))
