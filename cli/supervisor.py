"""The process that `up` leaves in the background: it owns the embedded Redis and the workers until SIGTERM.

    python -m cli.supervisor

Its settings are those of the shell that started it. It writes no output of its own but logs, to `home/log`.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
from pathlib import Path

from redis.exceptions import RedisError

from cli.exits import Exit, exit_of
from cli.fleet import Fleet, start_redis
from cli.follow import Interrupted
from config.connections import check_redis, mask_of
from config.leftovers import remove_pid, write_pid
from config.logs import setup_logging
from config.messages import Messenger, make_app
from config.schema import Settings
from config.services import Services, open_services
from config.settings import load_settings
from paceline.durable import private_dir
from paceline.errors import PacelineError
from paceline.formats import OtherFormat, check_format

NAME = "supervisor"
"""Of its pid file and its log."""

TICK_S = 1.0

log = logging.getLogger("paceline.supervisor")


def main() -> int:
    """Supervise until SIGTERM or SIGINT; return an exit code. Where another supervises already, end at once with 0."""
    os.umask(0o077)
    settings = load_settings()
    setup_logging(settings.log_level, settings.log_format, mask=mask_of(settings))
    lock = _lock(settings.home)
    if lock is None:
        log.info("supervisor.already_up")
        return Exit.DONE
    interrupted = Interrupted()
    write_pid(settings.home, NAME)
    try:
        with interrupted.watching():
            supervise(settings, interrupted)
        log.info("supervisor.stopped")
        return Exit.DONE
    except PacelineError as error:
        log.error("supervisor.failed", extra={"error": str(error)})
        return exit_of(error)
    finally:
        remove_pid(settings.home, NAME)
        os.close(lock)


def supervise(settings: Settings, interrupted: Interrupted) -> None:
    """Keep Redis and the fleet alive until interrupted, then let uploads finish. Raises `PacelineError`."""
    server = start_redis(settings)
    try:
        services = open_services(settings)
        if server is None:
            check_redis(services.redis, settings.allow_unsafe_redis)
        messenger = Messenger(make_app(settings), services.ledger.place)
        fleet = Fleet(settings, services, accounts=tuple(settings.accounts), standing=True)
        log.info("supervisor.started", extra={"workers": settings.workers + 1})
        try:
            while not interrupted.times:
                if server is not None:
                    server.start()  # again, should it have died; otherwise a PING
                _tick(services, fleet, messenger)
                interrupted.wake.wait(TICK_S)
        finally:
            log.info("supervisor.stopping")
            fleet.stop()
            _close(services)
    finally:
        if server is not None:
            server.stop()


def _tick(services: Services, fleet: Fleet, messenger: Messenger) -> None:
    from kombu.exceptions import OperationalError

    try:
        check_format(services.redis)  # first of all, and again: a newer version may take the ledger over
        fleet.tick()
        fleet.report_deaths(messenger.send)
    except OtherFormat:
        raise
    except (RedisError, OperationalError) as error:
        # A configured Redis comes back, or a person sees this; the workers wait for it too.
        log.warning("supervisor.no_redis", extra={"error": type(error).__name__})


def _close(services: Services) -> None:
    try:
        services.redis.close()
    except RedisError:
        log.debug("supervisor.close_failed")


def _lock(home: Path) -> int | None:
    """Become the only supervisor of a home; None where there is one."""
    path = home / "run" / "supervisor.lock"
    private_dir(path.parent)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


if __name__ == "__main__":
    sys.exit(int(main()))
