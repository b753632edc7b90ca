"""Which limit of an account a batch is held to."""

from __future__ import annotations

from config.accounts import Account
from paceline.model import EndpointClass
from paceline.starting import way_of
from paceline.views import BatchView


def class_of(batch: BatchView, account: Account) -> EndpointClass:
    """Return the class of the requests that start a batch's runs now."""
    return way_of(batch.choices, batch.complete_size, account.rates, account.kind.capabilities.waits_s)[0]
