"""`paceline schedule`: what is started by itself, when, and how it went."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import click

from cli import nights
from cli.exits import Exit
from cli.nights import pick_schedule
from cli.output import local_time, print_columns, print_fields, print_json
from cli.reading import nothing_here, reading
from config.logs import printable
from config.schedules import Schedule
from config.schema import Settings
from config.services import Services
from config.settings import load_settings
from paceline.errors import ConfigError, PacelineError, UnsafeRedis
from paceline.schedules.due import at_ms
from paceline.times import iso

WHY_CHARACTERS = 80
"""Shown of an error; `--json` has all of it."""


@click.group("schedule")
def command() -> None:
    """See and steer the batches that are started by themselves: [schedules.NAME] in paceline.toml.

    `paceline up`, or `paceline beat` beside workers, starts them at their times.
    """


@command.command("list")
@click.option("--next", "number", type=click.IntRange(0, 1000), default=1, show_default=True, metavar="N")
@click.option("--json", "as_json", is_flag=True, help="Print a list of schedules as JSON.")
def list_(number: int, as_json: bool) -> int:
    """Show every schedule: its last night, its next N due times, and what is wrong with it.

    Exit code 6 if one of them can't work.
    """
    settings = load_settings()
    with ExitStack() as stack:
        services, note = _at_hand(stack, settings)
        rows = [_row(settings, services, schedule, number) for schedule in settings.schedules.values()]
        beatless = services is None or nights.beatless(settings, services)
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            _print(row)
    if not rows:
        click.echo("No schedule: write [schedules.NAME] into paceline.toml, see docs/schedules.md", err=True)
        return Exit.NOTHING_TO_DO
    if note or beatless:
        click.echo(printable(note or f"Note: {nights.NO_BEAT}"), err=True)
    return Exit.CONFIG if any(row["problem"] for row in rows) else Exit.DONE


def _at_hand(stack: ExitStack, settings: Settings) -> tuple[Services | None, str]:
    """Open the ledger where there is one; due times can be told without."""
    from redis.exceptions import RedisError

    try:
        return stack.enter_context(reading(settings)), ""
    except (ConfigError, UnsafeRedis, RedisError) as error:
        said = str(error) if isinstance(error, PacelineError) else "Redis went away"
        return None, f"The ledger can't be read, so nothing is known of past nights: {said}"


def _row(settings: Settings, services: Services | None, schedule: Schedule, number: int) -> dict[str, Any]:
    last = pause = None
    now = datetime.now(UTC)
    if services is not None:
        now_ms = services.views.now_ms()
        now = at_ms(now_ms)
        found = services.nights.last(schedule.name, 1)
        last = nights.shown(services, found[-1], now_ms).as_dict() if found else None
        if paused := services.nights.find_pause(schedule.name):
            pause = {"since": iso(paused.since_ms), "by": paused.by, "reason": paused.reason}
    facts = {
        "paused": pause,
        "last": last,
        "next": list(nights.next_times(schedule, now, number)),
        "problem": nights.problem_of(settings, schedule, now)
        or (nights.other_times(services, schedule) if services is not None else None),
    }
    return nights.as_json(schedule, facts)


def _print(row: dict[str, Any]) -> None:
    click.echo(printable(f"{row['schedule']}: {row['cron']} in {row['zone']}, {row['agent']}"))
    fields = []
    if last := row["last"]:
        words = [last["due"], last["state"], last["batch"] or "", last["reason"] or last["error"] or ""]
        fields.append(("last", "  ".join(filter(None, words))))
    fields += [("next" if at == 0 else "", due) for at, due in enumerate(row["next"])]
    if pause := row["paused"]:
        fields.append(("paused", f"since {pause['since']} by {pause['by']} {pause['reason']}"))
    if row["problem"]:
        fields.append(("PROBLEM", row["problem"]))
    print_fields(fields)


@command.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print a list of nights as JSON.")
def show(name: str, as_json: bool) -> int:
    """Show the last nights of a schedule: how each stands, why it was left out, what was told of it."""
    settings = load_settings()
    schedule = pick_schedule(settings, name)
    with reading(settings) as services:
        if services is None:
            click.echo(printable(nothing_here(settings)), err=True)
            found = []
        else:
            now_ms = services.views.now_ms()
            found = [nights.shown(services, night, now_ms) for night in services.nights.last(schedule.name)]
    if as_json:
        print_json([one.as_dict() for one in found])
    elif found:
        rows = [(one.as_dict()["due"], one.state, one.night.batch or "", _short(one.why), one.told) for one in found]
        print_columns([("DUE", "STATE", "BATCH", "WHY", "TOLD"), *rows])
    else:
        click.echo(f"{name} has had no night yet", err=True)
    return Exit.DONE


def _short(text: str) -> str:
    return text if len(text) <= WHY_CHARACTERS else text[: WHY_CHARACTERS - 1] + "…"


@command.command("run")
@click.argument("name")
@click.option("--due", metavar="TIME", help="The night of this due time, like 2026-11-23T02:00, instead of one more.")
def run(name: str, due: str | None) -> int:
    """Start a night of a schedule now, and print the id of its batch.

    With --due it is a night that was left out, or couldn't be started: the same batch that its time would have started,
    so that it is never paid for twice. It is planned here; workers do the rest.
    """
    from cli.nights_run import run_night

    settings = load_settings()
    return run_night(settings, pick_schedule(settings, name), due)


@command.command("pause")
@click.argument("name")
@click.option("--reason", "why", default="", metavar="TEXT", help="Why; list shows it, with who and when.")
def pause(name: str, why: str) -> None:
    """Start no more nights of a schedule until `resume`. What is started goes on.

    Due times meanwhile are left out, and not caught up.
    """
    from cli.pauses import whoami
    from cli.session import session

    settings = load_settings()
    schedule = pick_schedule(settings, name)
    with session(settings) as services:
        new = services.nights.pause(schedule.name, services.views.now_ms(), whoami(), why)
    word = "Paused" if new else "Paused already:"
    click.echo(f"{word} {name}; go on with: paceline schedule resume {name}", err=True)


@command.command("resume")
@click.argument("name")
def resume(name: str) -> int:
    """Let a paused schedule go on with its next due time."""
    from cli.session import session
    from config.pinning import plan_of
    from paceline.schedules.ticking import note_paused

    settings = load_settings()
    schedule = pick_schedule(settings, name)
    with session(settings) as services:
        since = services.nights.find_pause(schedule.name)
        if since is not None:
            note_paused(plan_of(settings, schedule), services.nights)
            services.nights.resume(schedule.name)
        upcoming = next(nights.next_times(schedule, at_ms(services.views.now_ms()), 1), "never")
    if since is None:
        click.echo(f"{name} isn't paused; its next night: {upcoming}", err=True)
        return Exit.NOTHING_TO_DO
    click.echo(f"Resumed {name}, paused since {local_time(since.since_ms)}; its next night: {upcoming}", err=True)
    return Exit.DONE


@command.command("carry", hidden=True)
@click.argument("name")
@click.argument("due_ms", type=int)
@click.option("--holder", required=True)
def carry(name: str, due_ms: int, holder: str) -> int:
    """Plan a night that a worker has taken. Started by workers."""
    from cli.nights_run import carry_night

    return carry_night(load_settings(), name, due_ms, holder)
