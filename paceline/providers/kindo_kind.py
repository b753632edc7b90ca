"""Kindo as a kind of provider. It publishes no numbers: the rates are careful guesses, for the operator to set."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from paceline.model import EndpointClass, Rate, SizeLimits
from paceline.providers.base import Capabilities, Provider, Weights
from paceline.providers.kinds import Opening, ProviderKind

CAPABILITIES = Capabilities(
    uploads_files=False,
    asks_after_many=0,
    finds_many=0,
    cancels=False,
    waits_s=0,
    due_dates=False,
    partial_results=False,
    reports_credits=False,
)
BODY_BYTES = 50_000_000
"""The whole request, as it is sent [doc]; MB as 10^6."""

SIZE_LIMITS = SizeLimits(files=300, file_bytes=BODY_BYTES, submission_bytes=BODY_BYTES)
RATES: Mapping[EndpointClass, Rate] = MappingProxyType(
    {
        EndpointClass.ADD: Rate(60, 60.0),
        EndpointClass.WAIT: Rate(60, 60.0),  # there is no such call
        EndpointClass.GET: Rate(300, 60.0),
        EndpointClass.LIST: Rate(60, 60.0),
        EndpointClass.DELETE: Rate(60, 60.0),
    }
)
UUID = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"


def _open(opening: Opening) -> Provider:
    from paceline.providers.kindo import Kindo

    return Kindo(opening)


def _weights(options: Mapping[str, str]) -> Weights:
    from paceline.providers.kindo_body import Weighing

    return Weighing(options)


KIND = ProviderKind(
    name="kindo",
    url="https://api.kindo.ai",
    capabilities=CAPABILITIES,
    size_limits=SIZE_LIMITS,
    rates=RATES,
    agent_id=UUID,
    agent_example="3f0c1d2e-5a6b-4c7d-8e9f-0a1b2c3d4e5f",
    run_id=UUID,
    open=_open,
    weights=_weights,
    together="Kindo gets ALL documents of a run in one input, and returns one answer for them together",
)
