"""Carry a night from its due time to a planned batch, and note how that ended.

A night is planned from what was pinned when its due time was noted. Whoever does it renews a lease; who has lost it
stops. Doing it again, or twice at once, changes nothing: the batch's id comes from schedule and due time, and planning
goes on behind what is registered.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from redis.exceptions import RedisError

from cli.asked import Asked
from cli.follow import LOST_REDIS, Interrupted, Planner
from cli.lost import rebuild_command
from cli.patience import ask
from cli.run import find_known, prepare
from cli.target import Target, excluded, make_target, manifest_of, never_listed
from config.leftovers import remove_pid, write_pid
from config.messages import Messenger, make_app
from config.schema import Settings
from config.services import Services, open_provider
from paceline.errors import Blocked, ConfigError, LedgerLost, NothingToDo, PacelineError, ProviderError, SinkError
from paceline.model import SCHEDULE, EndpointClass, external_id, submission_id
from paceline.removing import find_forgotten
from paceline.schedules.night import Night, NightState, Skip

LOOK_S = 0.05

LONGEST_PAUSE_S = 900.0
"""Between two tries to start a night, however often it couldn't be started."""

LOOKED_FOR = 20
"""Submissions that are asked after before a batch is begun: those that would have been sent first."""

log = logging.getLogger("paceline.schedule")


class LostNight(PacelineError):
    """Another process has taken the night over."""


def asked_of(night: Mapping[str, Any]) -> Asked:
    """Return the options that a night was pinned with. Raises `ConfigError` for one that another version wrote."""
    known = {field.name for field in fields(Asked)}
    asked: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in night["asked"].items()
    }
    if strange := sorted(asked.keys() - known):
        raise ConfigError(f"this night was noted by another version, with {', '.join(strange)}; start it with that one")
    return Asked(**asked)


def target_of(settings: Settings, night: Mapping[str, Any]) -> Target:
    """Return the batch that a night is. Raises as `make_target` does."""
    target = make_target(settings, asked_of(night))
    spec = replace(target.spec, options={**target.spec.options, SCHEDULE: night["schedule"]})
    return replace(target, spec=spec, manifest=manifest_of(settings, spec), exclude=never_listed(settings, spec))


def carry(services: Services, night: Night, holder: str, interrupted: Interrupted) -> PacelineError | None:
    """Plan a night's batch completely and note the end; return what stopped it, None where nothing did.

    Raises `LostNight` where another process has taken it over. What may work later is tried again by a later tick;
    what a person has to mend ends the night. Interrupted, it is put back.
    """
    name = f"carry-{night.schedule}-{os.getpid()}"
    write_pid(services.settings.home, name)
    lease = _Lease(services, night, holder)
    lease.start()
    try:
        done = _plan(services, night, lease, interrupted)
    except NothingToDo as error:
        _end(services, night, holder, NightState.SKIPPED, reason=Skip.NOTHING)
        return error
    except LOST_REDIS:
        return ConfigError("Redis went away; the night is taken again when its lease has run out")
    except (ProviderError, SinkError) as error:
        pause_s = min(services.settings.schedule_retry_seconds * 2 ** max(night.tries - 1, 0), LONGEST_PAUSE_S)
        begun = _is_begun(services, night)
        services.nights.put_back(night.schedule, night.due_ms, holder, error=str(error), again_s=pause_s, begun=begun)
        return error
    except LostNight:
        raise
    except PacelineError as error:
        _end(services, night, holder, NightState.FAILED, error=str(error))
        return error
    finally:
        lease.stop()
        remove_pid(services.settings.home, name)
    if done:
        _end(services, night, holder, NightState.STARTED)
    else:
        services.nights.put_back(night.schedule, night.due_ms, holder)
    return None


def _end(
    services: Services, night: Night, holder: str, state: NightState, *, reason: str = "", error: str = ""
) -> None:
    facts = {"schedule": night.schedule, "due": night.shown, "state": state.value}
    begun = state is NightState.STARTED or _is_begun(services, night)
    if services.nights.end(night.schedule, night.due_ms, holder, state, reason=reason, error=error, begun=begun):
        log.info("schedule.night", extra={**facts, **({"error": error} if error else {})})


def _is_begun(services: Services, night: Night) -> bool:
    """Tell whether the ledger has the batch that was noted last: from then on what is asked stays as it is."""
    found = services.nights.find(night.schedule, night.due_ms)
    return bool(found and found.batch and services.views.find_batch(found.batch))


def _plan(services: Services, night: Night, lease: _Lease, interrupted: Interrupted) -> bool:
    """Plan to the end; False if interrupted before."""
    target = target_of(services.settings, night.asked)
    batch_id = target.spec.batch_id()
    known = find_known(target, services)
    if (known is None and find_forgotten(services.redis, batch_id)) or (known is not None and known.closed):
        lease.keep(batch_id)  # a record that was lost: it was complete, and paid for
        return True
    if known is not None and known.listed:
        lease.keep(batch_id)
        return True
    if known is None:
        _look_at_source(target, services)
    lease.keep(batch_id)  # from here on what was asked stays as it is
    if known is None:
        _look_at_provider(target, services)
    prepare(target, services, known)
    planner = Planner(target, services, Messenger(make_app(target.settings), services.ledger.place))
    planner.start()
    try:
        while planner.is_alive() and not interrupted.wake.wait(LOOK_S):
            if lease.lost.is_set():
                raise LostNight(f"another process starts {night.schedule} of {night.shown}")
    finally:
        planner.stop()
    if planner.error is not None:
        raise planner.error
    return services.views.batch(batch_id).listed


def _look_at_source(target: Target, services: Services) -> None:
    """Notice an empty source before anything is noted of a batch. Raises `NothingToDo` or `UsageError`."""
    if next(iter(target.source.listing.entries(exclude=excluded(target, services))), None) is None:
        raise NothingToDo(target.source.nothing)


def _look_at_provider(target: Target, services: Services) -> None:
    """Notice that a night new to this ledger was begun in one that is lost. Raises `LedgerLost` or `ProviderError`.

    Its submissions have the same names in every ledger. What this machine has noted of them is of no use where another
    machine planned and sent them, and its Redis was emptied or put back since.
    """
    if not target.account.kind.capabilities.finds_many:
        return
    batch_id = target.spec.batch_id()
    ids = [external_id(submission_id(batch_id, index)) for index in range(1, LOOKED_FOR + 1)]
    provider = open_provider(target.account, target.settings, services.limiter)
    try:
        runs = ask(target.account, services.limiter, EndpointClass.LIST, lambda: provider.find(target.spec.agent, ids))
    except Blocked:
        return  # `prepare` asks again, and says what is to be done
    if runs and services.views.find_batch(batch_id) is None:  # else whoever had the night has begun it just now
        raise LedgerLost(
            f"the provider has runs of batch {batch_id} already, which this ledger doesn't know: was its Redis lost, or"
            f" put back? Where it was planned: {rebuild_command(target.manifest)}"
        )


class _Lease(threading.Thread):
    """Renews a night's lease until stopped; `lost` is set when another process has it."""

    def __init__(self, services: Services, night: Night, holder: str) -> None:
        super().__init__(name="paceline-lease", daemon=True)
        self._services, self._night, self._holder = services, night, holder
        self._over = threading.Event()
        self.lost = threading.Event()

    def keep(self, batch: str = "") -> None:
        """Renew it now, noting the batch. Raises `LostNight`."""
        lease_s = self._services.settings.schedule_lease_seconds
        if not self._services.nights.keep(self._night.schedule, self._night.due_ms, self._holder, lease_s, batch):
            self.lost.set()
            raise LostNight(f"another process starts {self._night.schedule} of {self._night.shown}")

    def run(self) -> None:
        """Renew it three times while it lasts."""
        while not self._over.wait(self._services.settings.schedule_lease_seconds / 3):
            try:
                self.keep()
            except LostNight:
                return
            except RedisError as error:
                log.warning("schedule.no_redis", extra={"error": type(error).__name__})

    def stop(self) -> None:
        """Stop renewing."""
        self._over.set()
