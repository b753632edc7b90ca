"""One request before thousands: is the key good, the provider there, the agent known?"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from cli.target import Target
from config.services import Services, open_provider
from paceline.errors import (
    AccessDenied,
    AgentUnknown,
    ConfigError,
    CredentialsError,
    NoCredit,
    ProviderError,
    Throttled,
)
from paceline.model import BatchSpec, EndpointClass, PlannedSubmission, SkippedFile
from paceline.providers.base import AgentInfo
from paceline.secrets import source_of

if TYPE_CHECKING:
    from config.accounts import Account
    from producers.saved import Saved

TRIES = 3
PAUSE_S = 1.0


def check_agent(target: Target, services: Services) -> AgentInfo:
    """Look the agent up, with the account's pace.

    Raises `CredentialsError` for a missing or refused key, `ConfigError` for an unknown agent, `ProviderError` where
    the provider can't be reached in three tries.
    """
    account = target.account
    account.key()
    provider = open_provider(account, target.settings)
    rate = account.rates[EndpointClass.GET]
    for attempt in range(1, TRIES + 1):
        while (wait_s := services.limiter.take(account.name, EndpointClass.GET, rate)) > 0:
            time.sleep(min(wait_s, PAUSE_S))
        try:
            return provider.describe_agent(target.spec.agent)
        except AccessDenied as error:
            named = source_of(account.key_env)
            raise CredentialsError(
                f"{account.url} refuses the key in {named} ({error.http_status}); correct it and run again"
            ) from error
        except AgentUnknown as error:
            raise ConfigError(
                f"{account.url} has no agent {target.spec.agent} (or the key may not use it); check --agent"
            ) from error
        except NoCredit as error:
            raise ConfigError(f"account {account.name} has no credit left; add some and run again") from error
        except Throttled as error:
            services.limiter.close(account.name, EndpointClass.GET, rate, seconds=error.retry_after_s, why="throttled")
        except ProviderError as error:
            if attempt == TRIES:
                raise type(error)(
                    f"{account.url} can't be used now: {error}; nothing was sent, try again later"
                ) from error
            time.sleep(PAUSE_S)
    raise ConfigError(f"{account.url} refuses every request for now (429); try again in a few minutes")


def warn_of_second_payments(account: Account) -> None:
    """Say what `on_uncertain` may cost, where it has any effect."""
    if account.on_uncertain != "resubmit" or account.kind.capabilities.finds_many:
        return
    click.echo(
        f"WARNING: account {account.name} sends a submission again when its answer is lost (on_uncertain ="
        f' "resubmit"). {account.provider} can\'t be asked whether it has it: each of those may run twice or more, and'
        ' is paid for each time. Take the setting back to "hold" to decide yourself.',
        err=True,
    )


def say_what_shares_runs(target: Target, exclude: Collection[str]) -> None:
    """Warn before anything is paid if files will share runs that may have nothing to do with each other.

    Judged by the first files of the source. Raises `UsageError` for a column to group by that isn't there.
    """
    from paceline.chunking import chunk
    from producers.contents import Contents

    first: Iterable[PlannedSubmission | SkippedFile]
    if target.source.saved is not None:
        begin = list(islice(_planned(target.source.saved), 2))
        if _is_grouped(target.spec, begin):
            return
        first = begin
    else:
        entries = target.source.listing.entries(exclude=exclude)
        if target.grouping is not None:
            target.grouping.check(entries)
            return
        first = chunk(islice(entries, target.spec.files_per_run + 1), target.limits, target.spec.files_per_run)
    if warning := Contents(target.way).add_all(first).warning:
        click.echo(f"{warning}. `paceline plan` says what each run will contain.", err=True)


def _planned(saved: Saved) -> Iterator[PlannedSubmission]:
    from producers.planning import Resume

    return (entry for entry in saved.planned(Resume()) if isinstance(entry, PlannedSubmission))


def _is_grouped(spec: BatchSpec, first: Iterable[PlannedSubmission]) -> bool:
    """Tell whether somebody said what belongs together in a saved plan: an option, or a list with groups."""
    return not {"group_by", "groups"}.isdisjoint(spec.options) or any(
        file.group for entry in first for file in entry.files
    )


def settle(target: Target, agent: AgentInfo) -> dict[str, str]:
    """Check the agent and its inputs, and say what holds for the whole batch from now on. Raises `ConfigError`."""
    if agent.unfit:
        raise ConfigError(f"agent {agent.agent} can't be run: {agent.unfit}")
    return dict(open_provider(target.account, target.settings).settle(agent, target.spec.inputs))
