"""Builds the library's objects from the settings: the one place where the two meet."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from config.connections import connect
from config.processes import look_up
from config.schema import Settings
from paceline.chains import Chains
from paceline.circuit import Circuit
from paceline.clocks import machine_id
from paceline.errors import Unavailable
from paceline.known import KnownFiles
from paceline.ledger import Ledger
from paceline.limiter import Limiter, PacePolicy
from paceline.model import EndpointClass
from paceline.providers.base import Provider
from paceline.providers.kinds import Opening, open_adapter
from paceline.results import Results
from paceline.roots import open_root
from paceline.schedules.nights import Nights
from paceline.scripts import Scripts
from paceline.sinks.registry import shared_sink
from paceline.spool import FileSpool
from paceline.steps.context import Account, Context, Waits
from paceline.views import Views

if TYPE_CHECKING:
    import redis

    from config.accounts import Account as AccountSettings


WHOLE_READ_S = 20.0
"""For a read as a whole: well within the claim of the chain that asks."""


@dataclass(frozen=True, slots=True)
class Services:
    """The state in Redis, for one process. Make it after a fork; thread-safe."""

    settings: Settings
    redis: redis.Redis
    ledger: Ledger
    chains: Chains
    limiter: Limiter
    circuit: Circuit
    views: Views
    known: KnownFiles
    nights: Nights


def open_services(settings: Settings) -> Services:
    """Open the ledger and its company. Connects at the first use."""
    client = connect(settings)
    scripts = Scripts(client)
    policy = pace_policy(settings)
    ledger = Ledger(client, scripts, policy)
    limiter = Limiter(client, scripts, policy)
    circuit, views, known = Circuit(client, scripts), Views(client), KnownFiles(client, scripts)
    nights = Nights(client, scripts)
    return Services(settings, client, ledger, Chains(scripts), limiter, circuit, views, known, nights)


def pace_policy(settings: Settings) -> PacePolicy:
    """Return how permits are granted. The embedded server syncs every write, so it forgets none when it restarts."""
    return PacePolicy(
        permit_life_s=settings.permit_life_seconds,
        margin_s=settings.pace_margin_seconds,
        retry_after_longest_s=settings.retry_after_longest_seconds,
        durable=settings.redis_url is None,
    )


def waits(settings: Settings) -> Waits:
    """Return the steps' waiting times."""
    return Waits(
        settle_s=settings.settle_seconds,
        hold_after_s=settings.hold_after_seconds,
        first_poll_s=settings.poll_first_seconds,
        poll_again_s=settings.poll_again_seconds,
        poll_refused_s=settings.poll_refused_seconds,
        not_found_grace_s=settings.not_found_grace_seconds,
        run_limit_s=settings.run_limit_seconds,
        upload_base_s=settings.upload_base_seconds,
        upload_bytes_per_s=settings.upload_bytes_per_second,
        lease_extra_s=settings.lease_extra_seconds,
        release_lease_s=settings.release_lease_seconds,
        rescue_grace_s=settings.rescue_grace_seconds,
        export_again_s=settings.export_again_seconds,
        feed_window=settings.feed_window,
        retry_failed_runs=settings.retry_failed_runs,
    )


def open_provider(account: AccountSettings, settings: Settings, limiter: Limiter | None = None) -> Provider:
    """Return the adapter of an account.

    With a limiter, every further page of a list takes a permit too.
    """
    from paceline.providers.http import HttpPolicy

    policy = HttpPolicy(
        connect_s=settings.connect_seconds,
        read_s=settings.read_seconds,
        write_s=settings.write_seconds,
        whole_read_s=WHOLE_READ_S,
        answer_bytes=settings.answer_bytes,
    )

    def take_another(endpoint: EndpointClass) -> None:
        if limiter is not None and limiter.take(account.name, endpoint, account.rates[endpoint]) > 0:
            raise Unavailable(f"no permit for another {endpoint} request now")

    return open_adapter(
        account.kind,
        Opening(
            url=account.url,
            key=account.key,
            policy=policy,
            size_limits=account.size_limits,
            rates=account.rates,
            before_further_request=take_another,
            options=account.opening_options,
        ),
    )


def open_context(services: Services, results: Results, log: logging.Logger) -> Context:
    """Return what the steps of a worker process need, with every account."""
    settings = services.settings
    accounts = {}
    for name, account in settings.accounts.items():
        provider = open_provider(account, settings, services.limiter)
        accounts[name] = Account(name, provider, account.rates, account.url, account.on_uncertain == "resubmit")
    return Context(
        ledger=services.ledger,
        chains=services.chains,
        limiter=services.limiter,
        circuit=services.circuit,
        views=services.views,
        known=services.known,
        results=results,
        accounts=accounts,
        source=open_root,
        sink=shared_sink,
        spool=FileSpool(str(settings.home / "spool")),
        waits=waits(settings),
        worker=worker_name(),
        log=log,
    )


def worker_name(pid: int | None = None) -> str:
    """Name this process (or `pid`, of this machine) among all workers: host, process id, machine."""
    return f"{socket.gethostname()}:{os.getpid() if pid is None else pid}@{machine_id()}"


def is_gone(worker: str) -> bool:
    """Tell whether a worker is known to have ended: it is of this machine, and its process isn't there.

    The host's name must be ours too: a machine that was copied while it ran has the same boot and the same process ids.
    """
    name, _, machine = worker.rpartition("@")
    host, _, pid = name.rpartition(":")
    if not machine or machine != machine_id() or host != socket.gethostname():
        return False
    return pid.isdigit() and look_up(int(pid)) is None
