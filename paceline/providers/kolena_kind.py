"""Kolena as a kind of provider: its published numbers. Marks as in `paceline.providers.kolena`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from paceline.model import EndpointClass, Rate, SizeLimits
from paceline.providers.base import Capabilities, Provider
from paceline.providers.kinds import Opening, ProviderKind

CAPABILITIES = Capabilities(
    uploads_files=True,
    asks_after_many=300,
    finds_many=100,
    cancels=True,
    waits_s=120,
    due_dates=True,
    partial_results=True,
    reports_credits=True,
)
SIZE_LIMITS = SizeLimits(files=300, file_bytes=250_000_000)  # MB as 10^6: the smaller reading [doc, guess]
RATES: Mapping[EndpointClass, Rate] = MappingProxyType(
    {
        EndpointClass.ADD: Rate(600, 60.0),  # older copies of the vendor's pages
        EndpointClass.WAIT: Rate(10, 60.0),  # per organization, of the smallest plan [doc]
        EndpointClass.GET: Rate(1200, 60.0),
        EndpointClass.LIST: Rate(1200, 60.0),
        EndpointClass.DELETE: Rate(60, 60.0),  # nothing is published, so it is kept low
    }
)
TIERS: Mapping[str, Mapping[EndpointClass, Rate]] = MappingProxyType(
    {
        "starter": {EndpointClass.WAIT: Rate(10, 60.0)},
        "professional": {EndpointClass.WAIT: Rate(20, 60.0)},
        "enterprise": {EndpointClass.WAIT: Rate(40, 60.0)},
    }
)
"""Add-and-wait by plan: the one number on the vendor's page today [doc]."""


def _open(opening: Opening) -> Provider:
    from paceline.providers.kolena import Kolena

    return Kolena(
        opening.url,
        opening.key,
        policy=opening.policy,
        size_limits=opening.size_limits,
        rates=opening.rates,
        before_further_request=opening.before_further_request,
    )


KIND = ProviderKind(
    name="kolena",
    url="https://agents-api.kolena.com",
    capabilities=CAPABILITIES,
    size_limits=SIZE_LIMITS,
    rates=RATES,
    tiers=TIERS,
    agent_id=r"[0-9]{1,18}",
    agent_example="42",
    run_id=r"[0-9]{1,18}",
    open=_open,
    together="Kolena answers each prompt once for ALL files of a run",
)
