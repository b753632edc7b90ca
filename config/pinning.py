"""Write down what a night's batch is made from, when its due time is noted: later edits of the settings don't matter.

    {"schedule": "nightly@2026-11-23T01:00:00Z", "name": "nightly 2026-11-23 02:00", "due": "2026-11-23T02:00+01:00",
     "deadline_ms": 1795413600000 or null, "asked": {…}}

`asked` has the fields of `cli.asked.Asked` that a schedule can say, with paths absolute. No secret is in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from config.connections import belongs_here
from config.schedules import Schedule
from config.schema import Settings
from paceline.errors import ConfigError, UsageError
from paceline.schedules.deadline import deadline_of
from paceline.schedules.deciding import Rules
from paceline.schedules.due import ms_of, written
from paceline.schedules.rendering import render
from paceline.schedules.ticking import Plan
from paceline.sinks.clashes import clash
from paceline.sinks.places import PlaceKind, kind_of

LOOKED_AT = 400
"""Due times whose destinations are compared: every night of a year, and every quarter of an hour of four days."""

_OWN = (PlaceKind.FOLDER, PlaceKind.JSONL, PlaceKind.CSV, PlaceKind.PARQUET, PlaceKind.STORE)
"""Destinations that belong to one batch."""

_SAID = (
    "agent",
    "files_per_run",
    "group_by",
    "cut_groups",
    "pack_groups",
    "include",
    "exclude",
    "hidden",
    "case_sensitive",
    "skip_unchanged",
    "checksum",
    "priority",
    "wait_seconds",
    "max_runs",
    "max_credits",
    "max_failures",
    "isolate",
    "isolate_runs",
)


def pin(schedule: Schedule, due: datetime) -> dict[str, Any]:
    """Return what the night of a due time is made from. Raises `UsageError` for a destination of no known form."""
    local = due.astimezone(schedule.times.zone)
    deadline = deadline_of(schedule.deadline, due, schedule.times.zone) if schedule.deadline else None
    name = f"{schedule.name} {local:%Y-%m-%d %H:%M}{f':{local:%S}' if local.second else ''}"
    return {
        "schedule": f"{schedule.name}@{due.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z",
        "name": name,
        "due": written(local),
        "deadline_ms": None if deadline is None else ms_of(deadline),
        "asked": {
            **{said: getattr(schedule, said) for said in _SAID},
            "name": name,
            "sources": [schedule.source_path(render(text, schedule.name, local)) for text in schedule.source],
            # What a person starts in between must not take the place of that day's night.
            "to": _places(schedule, local, extra=not schedule.times.is_due(due)),
            "inputs": [f"{key}={value}" for key, value in schedule.inputs.items()],
        },
    }


def rules_of(settings: Settings, schedule: Schedule) -> Rules:
    """Return how a schedule treats due times."""
    return Rules(schedule.catch_up, schedule.overlap == "queue", settings.schedule_late_seconds)


def plan_of(settings: Settings, schedule: Schedule) -> Plan:
    """Return what a tick has to know of a schedule."""
    return Plan(schedule.name, schedule.times, rules_of(settings, schedule), lambda due: pin(schedule, due))


def is_ours(settings: Settings, schedule: Schedule) -> bool:
    """Tell whether this fleet starts a schedule's nights: false if its account belongs to another Redis."""
    try:
        account = settings.account(schedule.agent.partition(":")[0])
    except ConfigError:
        return True  # whoever starts its next night says so
    return belongs_here(settings, account)


def check_schedule(settings: Settings, schedule: Schedule, now: datetime) -> None:
    """Look at what can be known before a night comes. Raises `ConfigError` that names the setting and the remedy."""
    problem = next(_problems(settings, schedule, now), None)
    if problem is not None:
        raise ConfigError(f"schedules.{schedule.name}.{problem}")


def _problems(settings: Settings, schedule: Schedule, now: datetime) -> Iterator[str]:
    try:
        settings.account(schedule.agent.partition(":")[0])
    except ConfigError as error:
        yield f"agent: {error}"
    first: dict[str, datetime] = {}
    try:
        two = [_places(schedule, due) for due in schedule.times.next(now, 2)]
        if met := clash(two[0], two[-1]):  # of all of them would take minutes
            yield f"to: {met[0]!r} and {met[1]!r} would write the same files; name another place"
        for due in islice(schedule.times.after(now), LOOKED_AT):
            for place in _places(schedule, due):
                if kind_of(place) in _OWN and first.setdefault(place, due) != due:
                    yield (
                        f"to: {place!r} is meant by two due times, {written(first[place])} and {written(due)};"
                        f" {_remedy(first[place], due)}"
                    )
    except UsageError as error:
        yield f"to: {error}"


def _places(schedule: Schedule, due: datetime, *, extra: bool = False) -> list[str]:
    return [schedule.place(render(text, schedule.name, due, extra=extra)) for text in schedule.to]


def _remedy(one: datetime, other: datetime) -> str:
    same_time = one.time() == other.time() and one.date() != other.date()
    return "add {date} to it" if same_time else "add {date} and {time} to it"
