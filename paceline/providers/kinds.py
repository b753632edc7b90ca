"""What kinds of providers there are: packages name them in the entry-point group `paceline.providers`.

An entry point leads to a `ProviderKind`. Its module is imported by every command, so it holds facts only; the adapter
itself is imported by `open`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from paceline.errors import ConfigError
from paceline.model import EndpointClass, Rate, SizeLimits
from paceline.providers.base import Capabilities, Provider, Weights

if TYPE_CHECKING:
    from paceline.providers.http import HttpPolicy

GROUP = "paceline.providers"


@dataclass(frozen=True, slots=True)
class Opening:
    """What an adapter is made from: one account's address, key and numbers.

    `key` is asked for at every request. `before_further_request` is called with the endpoint class before every request
    of one call but the first (further pages of a list): it takes a permit, or raises `Unavailable`. `options` are the
    account's further settings, as texts.
    """

    url: str
    key: Callable[[], str]
    policy: HttpPolicy
    size_limits: SizeLimits
    rates: Mapping[EndpointClass, Rate]
    before_further_request: Callable[[EndpointClass], None] = lambda _: None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProviderKind:
    """A provider as it is known before any key is: facts, and how to open its adapter.

    `rates` hold for every endpoint class; `tiers` replace some of them, by the account's `tier` (the first is the
    default). `agent_id` and `run_id` are patterns of whole ids, `agent_example` an id that shows how they look.
    `weights` says what files weigh in a submission, where that isn't their size; it gets the account's options.
    """

    name: str
    url: str
    capabilities: Capabilities
    size_limits: SizeLimits
    rates: Mapping[EndpointClass, Rate]
    agent_id: str
    agent_example: str
    run_id: str
    open: Callable[[Opening], Provider]
    tiers: Mapping[str, Mapping[EndpointClass, Rate]] = field(default_factory=dict)
    weights: Callable[[Mapping[str, str]], Weights | None] = lambda _options: None


@cache
def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def provider_names() -> tuple[str, ...]:
    """Name every provider that an installed package brings, in alphabetical order, Kolena first."""
    return tuple(sorted(_found(), key=lambda name: (name != "kolena", name)))


@cache
def provider_kind(name: str) -> ProviderKind:
    """Return a kind by name. Raises `ConfigError` for one that no package brings, or that can't be loaded."""
    point = _found().get(name)
    if point is None:
        raise ConfigError(f"no provider {name!r}; installed: {', '.join(provider_names()) or 'none'}")
    try:
        kind = point.load()
    except Exception as error:
        raise ConfigError(
            f"provider {name!r} can't be loaded from {point.value} ({type(error).__name__}: {error}); mend or remove"
            " the package that brings it"
        ) from error
    if not isinstance(kind, ProviderKind) or kind.name != name:
        raise ConfigError(f"{point.value} isn't the ProviderKind of {name!r}; mend or remove the package")
    return kind
