"""The task behind schedules: note what is due, start its planning in a process of its own, tell whom it concerns.

Listing a source may take minutes, and a receiver may be slow: neither is waited for here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from contextlib import suppress
from functools import partial

from redis.exceptions import RedisError

from config.celeryconfig import SCHEDULE_TASK
from config.pinning import is_ours, plan_of
from config.schedules import Schedule
from config.services import Services, worker_name
from config.settings import SECRET_SETTINGS
from paceline.durable import private_dir
from paceline.errors import SinkError
from paceline.schedules.ends import find_end
from paceline.schedules.judging import End, Event, events, is_through, settled_as
from paceline.schedules.night import Night
from paceline.schedules.telling import MOST_TRIES, message, message_id, tell
from paceline.schedules.ticking import Carry, tick
from worker.app import app
from worker.runtime import log, runtime


@app.task(name=SCHEDULE_TASK)
def look(*given: object, **named: object) -> None:
    """Look at every schedule once; harmless however often, and however many do."""
    services = runtime().services
    for schedule in services.settings.schedules.values():
        if not is_ours(services.settings, schedule):
            continue
        try:
            take_turn(services, schedule)
        except RedisError as error:
            log.warning("schedule.no_redis", extra={"schedule": schedule.name, "error": type(error).__name__})
        except Exception:  # noqa: BLE001  # one schedule's defect must not keep the others from their nights
            log.exception("schedule.defect", extra={"schedule": schedule.name})


def take_turn(services: Services, schedule: Schedule) -> None:
    """Note what is due of a schedule, start what can be started, and tell what is to be told."""
    now_ms = services.views.now_ms()
    lease_s = services.settings.schedule_lease_seconds

    def complete(night: Night) -> bool:
        return is_through(night, find_end(services.redis, services.views, night, now_ms))

    carry = tick(plan_of(services.settings, schedule), services.nights, complete, new_holder, lease_s)
    if carry is not None:
        start_carrier(services, carry)
    judge(services, schedule, now_ms)


def new_holder() -> str:
    """Name one attempt of this process to start a night."""
    return f"{worker_name()}#{uuid.uuid4().hex[:8]}"


def start_carrier(services: Services, carry: Carry) -> subprocess.Popen[bytes]:
    """Start the process that plans a night; should it die, the night can be taken again at once."""
    home = services.settings.home
    path = home / "log" / f"schedule-{carry.schedule}.log"
    private_dir(path.parent)
    # -P: a file of the present folder named like a module of ours must not be imported instead.
    command = [sys.executable, "-P", "-m", "cli.main", "schedule", "carry", carry.schedule, str(carry.due_ms)]
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab") as out:
        process = subprocess.Popen(
            [*command, "--holder", carry.holder],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, "PACELINE_HOME": str(home)},
            start_new_session=True,  # it plans on when this worker is stopped
        )
    log.info("schedule.starting", extra={"schedule": carry.schedule, "due_ms": carry.due_ms, "pid": process.pid})
    threading.Thread(target=_reap, args=(services, carry, process), name="paceline-carrier", daemon=True).start()
    return process


def _reap(services: Services, carry: Carry, process: subprocess.Popen[bytes]) -> None:
    code = process.wait()
    with suppress(RedisError):  # the lease runs out by itself
        if services.nights.put_back(carry.schedule, carry.due_ms, carry.holder):
            log.warning("schedule.carrier_died", extra={"schedule": carry.schedule, "code": code})


def judge(services: Services, schedule: Schedule, now_ms: int) -> None:
    """Start to tell what is to be told of the nights that aren't through, and settle those that are."""
    for night in services.nights.last(schedule.name):
        if night.settled:
            continue
        end = find_end(services.redis, services.views, night, now_ms)
        wanted = events(night, end, now_ms, tell_success=schedule.tell_success) if schedule.tell else []
        told = [event for event in wanted if _is_told(services, schedule, night, event, end)]
        if is_through(night, end) and told == wanted:
            services.nights.settle(night, settled_as(night, end))


def _is_told(services: Services, schedule: Schedule, night: Night, event: Event, end: End) -> bool:
    if event in night.told:
        return True
    tries = services.nights.tell(night, event, max(services.settings.schedule_retry_seconds, 1.0), MOST_TRIES)
    if tries > 0:
        target = partial(_tell, services, schedule, night, event, end)
        threading.Thread(target=target, name="paceline-tell", daemon=True).start()
    if tries < 0 and event not in night.told:
        log.error("schedule.not_told", extra={"schedule": night.schedule, "due": night.shown, "told_of": event.value})
    return tries < 0


def _tell(services: Services, schedule: Schedule, night: Night, event: Event, end: End) -> None:
    facts = {"schedule": night.schedule, "due": night.shown, "told_of": event.value}
    secrets = [account.key_env for account in services.settings.accounts.values()]
    secrets += [*SECRET_SETTINGS.values(), "FLOWER_BASIC_AUTH", "KOLENA_WEBHOOK_SECRET", "OTEL_EXPORTER_OTLP_HEADERS"]
    try:
        value = message(event, night, end)
        tell(schedule.tell, message_id(event, night), value, folder=str(schedule.folder), secrets=secrets)
        services.nights.note_told(night, event, services.views.now_ms())
    except SinkError as error:
        log.warning("schedule.tell_failed", extra={**facts, "problem": str(error)})
    except RedisError as error:
        log.warning("schedule.no_redis", extra={**facts, "error": type(error).__name__})
    else:
        log.info("schedule.told", extra=facts)
