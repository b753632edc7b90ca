"""Ask a provider what the runs of a batch's agent have used, by its own records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cli.output import amount, local_time
from cli.patience import ask
from config.services import Services, open_provider
from paceline.errors import ConfigError
from paceline.model import EndpointClass
from paceline.providers.base import Usage
from paceline.times import iso
from paceline.views import BatchView


@dataclass(frozen=True, slots=True)
class Used:
    """What an agent's runs have used since a batch was begun; `usage` is None where the provider keeps no records."""

    agent: str
    since_ms: int
    usage: Usage | None

    def as_dict(self) -> dict[str, Any] | None:
        """Return the form that `--json` prints."""
        if self.usage is None:
            return None
        return {"since": iso(self.since_ms), "credits": self.usage.credits, "records": self.usage.records}

    def text(self, ours: float | None) -> str:
        """Write it beside what this batch's runs have reported."""
        if self.usage is None:
            return "keeps no records of usage"
        mine = "" if ours is None else f"; this batch's runs report {amount(ours)}"
        whose = f"by all runs of {self.agent} since {local_time(self.since_ms)}, other batches' too"
        return f"{amount(self.usage.credits)} credits in {self.usage.records:,} records, {whose}{mine}"


def ask_usage(services: Services, batch: BatchView) -> Used:
    """Ask, with the account's list permits. Raises `ConfigError`, or `ProviderError` after three tries."""
    account = services.settings.account(batch.account)
    if account.url != batch.address:
        raise ConfigError(
            f"batch {batch.id} was begun at {batch.address}, account {account.name} is at {account.url} here;"
            " correct its address"
        )
    account.key()
    provider = open_provider(account, services.settings, services.limiter)
    since_ms = min(batch.created_ms, batch.started_ms or batch.created_ms)  # created: when it was rebuilt, if it was
    since = datetime.fromtimestamp(since_ms / 1000, UTC)
    found = ask(account, services.limiter, EndpointClass.LIST, lambda: provider.usage(batch.agent, since))
    return Used(f"{account.name}:{batch.agent}", since_ms, found)
