"""Start a night: on a person's word, or for the worker that took it."""

from __future__ import annotations

import uuid
from datetime import datetime

import click

from cli.carrying import LostNight, carry, target_of
from cli.exits import Exit, exit_of
from cli.follow import Interrupted
from cli.nights import parse_due
from cli.session import session
from cli.submit import make_sure_of_workers
from config.connections import mask_of
from config.logs import setup_logging
from config.pinning import pin
from config.schedules import Schedule
from config.schema import Settings
from config.services import Services, worker_name
from paceline.errors import PacelineError, UsageError
from paceline.schedules.due import at_ms, ms_of
from paceline.schedules.night import Night, NightState


def run_night(settings: Settings, schedule: Schedule, due_text: str | None) -> int:
    """Start a night in this process, and print the id of its batch. Raises `PacelineError`."""
    interrupted = Interrupted()
    with interrupted.watching(), session(settings) as services:
        now = at_ms(services.views.now_ms() // 1000 * 1000)

        def is_noted(moment: datetime) -> bool:
            return services.nights.find(schedule.name, ms_of(moment)) is not None

        due = parse_due(schedule, due_text, now, is_noted) if due_text else now.astimezone(schedule.times.zone)
        holder = f"{worker_name()}#{uuid.uuid4().hex[:8]}"
        night, mine = _take(services, schedule, due, holder)
        if not mine:
            click.echo(f"The night of {night.shown} is {night.state.value} already.", err=True)
            if night.batch:
                click.echo(night.batch)
            return Exit.DONE
        make_sure_of_workers(settings, night.asked["asked"]["agent"], services)
        error = carry(services, night, holder, interrupted)
        if error is not None:
            raise error
        found = services.nights.find(schedule.name, night.due_ms)
    if found is None or found.state is not NightState.STARTED:
        click.echo(
            f"Detached: the next tick goes on with it, or: paceline schedule run {schedule.name} --due {night.shown}",
            err=True,
        )
        if found is not None and found.batch:
            click.echo(f"To stop it: paceline cancel {found.batch}", err=True)
        return Exit.DETACHED
    click.echo(found.batch)
    click.echo(f"Planned; follow it with: paceline status {found.batch} --watch", err=True)
    return Exit.DONE


def _take(services: Services, schedule: Schedule, due: datetime, holder: str) -> tuple[Night, bool]:
    """Note the night, or find it, and take it if it isn't started; tell whether it is ours."""
    asked, due_ms = pin(schedule, due), ms_of(due)
    lease_s = services.settings.schedule_lease_seconds
    before = services.nights.find(schedule.name, due_ms)
    if before is None:
        target_of(services.settings, asked)  # what is wrong with it is said before anything is noted
        state = NightState.STARTING
        mine = (
            services.nights.claim(schedule.name, due_ms, state, asked, holder=holder, lease_s=lease_s, decided_ms=None)
            == 1
        )
    else:
        mine = services.nights.again(schedule.name, due_ms, holder, lease_s, asked)
    night = services.nights.find(schedule.name, due_ms)
    if night is None:
        raise UsageError(f"the night of {asked['due']} was forgotten just now; run it again")
    return night, mine


def carry_night(settings: Settings, name: str, due_ms: int, holder: str) -> int:
    """Plan a night for the worker that took it; its log is what is said here."""
    setup_logging(settings.log_level, settings.log_format, mask=mask_of(settings))
    interrupted = Interrupted()
    with interrupted.watching(), session(settings) as services:
        night = services.nights.find(name, due_ms)
        if night is None or night.state is not NightState.STARTING or night.holder != holder:
            return Exit.DONE  # another one has it, or it is started
        try:
            error: PacelineError | None = carry(services, night, holder, interrupted)
        except LostNight:
            return Exit.DONE
        return Exit.DONE if error is None else exit_of(error)
