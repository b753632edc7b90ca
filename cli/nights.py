"""What the verbs about schedules share: find one by name, and show a night."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from config.pinning import check_schedule, pin
from config.schedules import Schedule
from config.schema import Settings
from config.services import Services
from paceline.ending import Ended
from paceline.errors import ConfigError, UsageError
from paceline.schedules.beats import live_beats
from paceline.schedules.due import at_ms, written
from paceline.schedules.ends import find_end
from paceline.schedules.night import Night, NightState
from paceline.schedules.ticking import key_of
from paceline.times import iso

NO_BEAT = "no live beat sends ticks, so nothing is started: paceline up, or paceline beat beside workers"


@dataclass(frozen=True, slots=True)
class NightShown:
    """A night for people and programs. `state` is how its batch stands, where it was started."""

    night: Night
    state: str

    def as_dict(self) -> dict[str, Any]:
        """Return the form that `--json` prints."""
        night = self.night
        return {
            "due": night.shown or iso(night.due_ms),
            "state": self.state,
            "reason": night.reason or None,
            "error": night.error or None,
            "batch": night.batch,
            "deadline": None if night.deadline_ms is None else iso(night.deadline_ms),
            "told": {event: _told(at) for event, at in sorted(night.told.items())},
        }

    @property
    def why(self) -> str:
        """Return the reason or the error."""
        return self.night.reason or self.night.error

    @property
    def told(self) -> str:
        """Return what somebody was told of, or wasn't."""
        return ", ".join(
            f"{event}{'' if at.isdigit() else f' ({at})'}" for event, at in sorted(self.night.told.items())
        )


def _told(at: str) -> str:
    return iso(int(at)) if at.isdigit() else at


def shown(services: Services, night: Night, now_ms: int) -> NightShown:
    """Look up how a night stands."""
    if night.state is not NightState.STARTED:
        return NightShown(night, night.state.value)
    end = find_end(services.redis, services.views, night, now_ms)
    if end.ended is Ended.GONE and night.settled:
        return NightShown(night, night.settled)
    return NightShown(night, "running" if end.ended is Ended.OPEN else end.ended.value)


def pick_schedule(settings: Settings, name: str) -> Schedule:
    """Find a schedule by name. Raises `UsageError` that says what there is."""
    if name in settings.schedules:
        return settings.schedules[name]
    if not settings.schedules:
        raise UsageError(f"no schedule {name!r}: paceline.toml has none; see docs/schedules.md")
    close = difflib.get_close_matches(name, settings.schedules, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(settings.schedules)}"
    raise UsageError(f"no schedule {name!r}; {hint}")


def parse_due(schedule: Schedule, text: str, now: datetime, is_noted: Callable[[datetime], bool]) -> datetime:
    """Read a due time that has passed; one without an offset is in the schedule's zone. Raises `UsageError`.

    A night that `is_noted` was due, whatever cron says by now: started in between by a person, or under another cron.
    """
    times = schedule.times
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(f"--due {text!r}: no time; write it like 2026-11-23T02:00") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=times.zone)
    if moment > now:
        raise UsageError(f"--due {text!r} is still to come; without --due a night is started now")
    if not times.is_due(moment) and not is_noted(moment):
        before = times.between(at_ms(0), moment, 1)
        hint = f"; the one before was {written(before[0])}" if before else ""
        raise UsageError(f"--due {text!r} is no due time of {schedule.name}{hint}")
    return moment.astimezone(times.zone)


def check_night(settings: Settings, schedule: Schedule, now: datetime) -> None:
    """Look at what can be known before a night comes. Raises `ConfigError` that names the setting and the remedy."""
    from cli.carrying import asked_of
    from cli.target import check_options

    check_schedule(settings, schedule, now)
    try:
        (due,) = schedule.times.next(now, 1)
        check_options(asked_of(pin(schedule, due)), settings.account(schedule.agent.partition(":")[0]))
    except UsageError as error:
        raise ConfigError(f"schedules.{schedule.name}.{_as_settings(str(error))}") from error


def _as_settings(text: str) -> str:
    """Name settings where a message names options: `--group-by 'x'` is `group_by 'x'`."""
    return re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda found: found[1].replace("-", "_"), text)


def problem_of(settings: Settings, schedule: Schedule, now: datetime) -> str | None:
    """Return what keeps a schedule from working, None where nothing is known to."""
    try:
        check_night(settings, schedule, now)
    except ConfigError as error:
        return str(error)
    return None


def other_times(services: Services, schedule: Schedule) -> str | None:
    """Return what is wrong where ticks go by another cron or zone than these settings say."""
    found = services.nights.times(schedule.name)
    if found in (None, key_of(schedule.times)) or not live_beats(services.redis, services.views.now_ms()):
        return None
    return (
        f"schedules.{schedule.name}: workers go by {found}; make paceline.toml the same on every machine, then start"
        " workers and beat anew"
    )


def beatless(settings: Settings, services: Services) -> bool:
    """Tell whether there are schedules, and nobody who sends ticks."""
    return bool(settings.schedules) and not live_beats(services.redis, services.views.now_ms())


def as_json(schedule: Schedule, rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `schedule list --json` says of one."""
    return {"schedule": schedule.name, "cron": schedule.cron, "zone": schedule.zone, "agent": schedule.agent, **rows}


def next_times(schedule: Schedule, now: datetime, number: int) -> Iterator[str]:
    """Write the next due times as the schedule's zone shows them."""
    return (written(due) for due in schedule.times.next(now, number))
