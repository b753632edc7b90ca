"""What `doctor` looks at: each check says what it found and, where something is wrong, the remedy."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from config.accounts import Account
from config.connections import check_belongs, check_redis, shown_server
from config.schema import Settings
from config.services import Services, open_provider
from paceline.errors import (
    AccessDenied,
    AgentUnknown,
    ConfigError,
    CredentialsError,
    NoCredit,
    PacelineError,
    Throttled,
    UnsafeRedis,
)
from paceline.model import EndpointClass
from paceline.providers.base import AgentInfo
from paceline.providers.kinds import provider_kind, provider_names, provider_package
from paceline.secrets import source_of

OLDEST_PYTHON = (3, 11)

LEAST_DESCRIPTORS = 512
"""A worker of 16 threads has about 100 open: sockets to Redis and provider, a file per upload, its libraries'."""

SLOW_MS = 20.0
"""A round trip above this makes a step, of about ten, last longer than a fifth of a second."""

MOST_SKEW_S = 2.0

PERMIT_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `ok` is None where nothing is wrong but there is something to know; `remedy` stands with False."""

    name: str
    ok: bool | None
    found: str
    remedy: str = ""


def environment() -> Iterator[Check]:
    """Look at Python and at what the system allows this user."""
    python = platform.python_version()
    fine = sys.version_info >= OLDEST_PYTHON
    yield Check("python", fine, f"{python}, paceline {version('paceline')}", "" if fine else "install Python 3.11+")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fine = soft == resource.RLIM_INFINITY or soft >= LEAST_DESCRIPTORS
    yield Check("descriptors", fine, f"{soft} open files allowed", "" if fine else f"ulimit -n {min(hard, 4096)}")


def providers() -> Iterator[Check]:
    """List what packages bring. One that can't be loaded is no failure here: its accounts would say so."""
    good, bad = [], []
    for name in provider_names():
        try:
            provider_kind(name)
        except ConfigError as error:
            bad.append(Check("providers", None, str(error)))
        else:
            good.append(f"{name} ({provider_package(name) or 'unknown package'})")
    yield Check("providers", True, ", ".join(good) or "none")
    yield from bad


def object_stores() -> Check:
    """Look for the driver of object stores, and whether the environment has credentials for any. Asks none of them."""
    from paceline.errors import UsageError
    from paceline.stores.clients import configured, driver

    try:
        found = f"obstore {driver().__version__}"
    except UsageError:
        return Check(
            "object stores", None, "not installed; for s3://, gs://, az:// pip install 'paceline[objectstore]'"
        )
    known = ", ".join(configured(os.environ)) or "none in the environment"
    return Check("object stores", True, f"{found}; credentials: {known}")


def home(settings: Settings) -> Check:
    """Look whether the home can be written, without making it."""
    place: Path = settings.home
    while not place.exists() and place != place.parent:
        place = place.parent
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK, effective_ids=True):
        return Check("home", True, str(settings.home) + ("" if place == settings.home else " (will be made)"))
    return Check("home", False, f"{settings.home} can't be written", "set PACELINE_HOME to a folder of yours")


def embedded_server(settings: Settings) -> Check:
    """Look for the server that would be started. Starts nothing but its `--version`."""
    from config.server_binary import find_server

    try:
        binary, (major, minor) = find_server()
    except ConfigError as error:
        return failed("embedded server", error)
    return Check("embedded server", True, f"{binary} {major}.{minor}")


def redis_server(settings: Settings, services: Services) -> Iterator[Check]:
    """Look at the server in use: safe for paid work, quick, its clock right."""
    try:
        check_redis(services.redis, allow_unsafe=False)
    except UnsafeRedis as error:
        if settings.allow_unsafe_redis:
            yield Check("redis", None, f"could lose paid work, as PACELINE_ALLOW_UNSAFE_REDIS permits: {error}")
        else:
            yield failed("redis", error)
    client: Any = services.redis  # redis-py types replies as unions of every mode it has
    info = client.info("server")
    spoken = info.get("valkey_version") or info.get("redis_version", "unknown")
    yield Check("redis version", True, f"{shown_server(settings)}, version {spoken}")
    yield _fsync(client)
    times = []
    for _ in range(21):
        begun = time.perf_counter()
        client.ping()
        times.append((time.perf_counter() - begun) * 1000)
    latency = statistics.median(times)
    fine = latency < SLOW_MS
    remedy = "" if fine else "use a Redis nearer to this machine; every step takes several round trips"
    yield Check("redis latency", fine, f"{latency:.2f} ms", remedy)
    skew = services.views.now_ms() / 1000 - time.time()
    fine = abs(skew) < MOST_SKEW_S
    remedy = "" if fine else "set both clocks (NTP); times in records and dates in Retry-After are off by as much"
    yield Check("clock", fine, f"Redis is {abs(skew):.3f} s {'ahead' if skew >= 0 else 'behind'}", remedy)


def _fsync(client: Any) -> Check:
    from redis.exceptions import RedisError

    try:
        mode = str(client.config_get("appendfsync").get("appendfsync", "unknown"))
    except RedisError:
        mode = "unknown"
    note = {
        "always": "every write is on the disk before it is answered",
        "everysec": "after a power cut, what the last second did is asked of the provider again",
        "no": "after a power cut, what the last half minute did is asked of the provider again",
    }.get(mode, "this server doesn't tell")
    return Check("appendfsync", True if mode == "always" else None, f"{mode}: {note}")


def workers(services: Services) -> Check:
    """Look for signs of life."""
    alive = sorted(str(sign.get("worker")) for sign in services.views.workers())
    if alive:
        return Check("workers", True, f"{len(alive)} alive: {', '.join(alive)}")
    return Check("workers", None, "none alive; `paceline run` starts its own, `paceline up` some in the background")


def schedules(settings: Settings, services: Services | None) -> Iterator[Check]:
    """Look whether schedules can work, and whether anybody starts them."""
    from cli.nights import beatless, problem_of

    if not settings.schedules:
        return
    now = datetime.now(UTC)
    for schedule in settings.schedules.values():
        if problem := problem_of(settings, schedule, now):
            yield failed(f"schedule {schedule.name}", ConfigError(problem))
    found = ", ".join(settings.schedules)
    if services is None or beatless(settings, services):
        note = "no live beat sends ticks, so nothing is started; `paceline up` does it, or `paceline beat`"
        yield Check("schedules", None, f"{found}: {note}")
    else:
        yield Check("schedules", True, found)


def account(settings: Settings, one: Account, services: Services | None, agent: str | None) -> Iterator[Check]:
    """Look whether the account's key is there, and with one request whether the provider takes it."""
    name = f"account {one.name}"
    try:
        one.key()
    except CredentialsError as error:
        yield failed(name, error)
        return
    key_from = source_of(one.key_env) or one.key_env
    yield Check(name, True, f"key in {key_from}, {one.limits.add} add, {one.url}")
    try:
        check_belongs(settings, one)
    except ConfigError as error:
        yield Check(name, None, f"{error}")
    asked = agent or one.kind.agent_example  # known or not, the answer tells whether the key is accepted
    try:
        found = _ask(settings, one, services, asked)
    except AccessDenied as error:
        hint = "" if agent else f" (or give --agent {one.name}:ID: it may be agent {asked} that is refused)"
        remedy = f"correct {key_from}{hint}"
        yield Check(f"provider {one.name}", False, f"{one.url} refuses the key ({error.http_status})", remedy)
    except AgentUnknown:
        yield Check(f"provider {one.name}", True, "reachable, key accepted")
        if agent:
            yield Check(f"agent {one.name}:{agent}", False, "not known to the provider", "check the id in its URL")
    except NoCredit:
        yield Check(f"provider {one.name}", False, "no credit left", "add some credit")
    except ConfigError as error:
        yield failed(f"provider {one.name}", error)
    except PacelineError as error:
        remedy = "check its address and the network, or try again later"
        yield Check(f"provider {one.name}", False, str(error), remedy)
    else:
        yield Check(f"provider {one.name}", True, "reachable, key accepted")
        if agent:
            inputs = f"; inputs: {', '.join(found.inputs) or 'none'}" if found.inputs is not None else ""
            remedy = f"it can't be run: {found.unfit}" if found.unfit else ""
            yield Check(f"agent {one.name}:{agent}", not found.unfit, (found.name or "known") + inputs, remedy)


def _ask(settings: Settings, one: Account, services: Services | None, agent: str) -> AgentInfo:
    """Ask after an agent, with the account's pace where there is a ledger that keeps it."""
    provider = open_provider(one, settings)
    rate = one.rates[EndpointClass.GET]
    deadline = time.monotonic() + PERMIT_WAIT_S
    while services is not None:
        wait_s = services.limiter.take(one.name, EndpointClass.GET, rate)
        if wait_s <= 0:
            break
        if time.monotonic() + wait_s > deadline:
            raise Throttled("not asked: the account's pace for reading is used up", retry_after_s=wait_s)
        time.sleep(wait_s)
    return provider.describe_agent(agent)


def failed(name: str, error: PacelineError) -> Check:
    """Turn an error, whose text ends with the remedy, into a finding."""
    found, _, remedy = str(error).rpartition("; ")
    return Check(name, False, (found or remedy).removeprefix(f"{name}: "), remedy if found else "")
