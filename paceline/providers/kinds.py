"""What kinds of providers there are: packages name them in the entry-point group `paceline.providers`.

An entry point leads to a `ProviderKind`. Its module is imported by every command, so it holds facts only; the adapter
itself is imported by `open`. A package that can't be loaded is noticed only where its provider is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from paceline.errors import ConfigError, PacelineError
from paceline.model import EndpointClass, Rate, SizeLimits
from paceline.providers.base import Capabilities, Provider, Weights

if TYPE_CHECKING:
    from paceline.providers.http import HttpPolicy

GROUP = "paceline.providers"

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]|_(?!_)){0,63}")
"""Names of providers and accounts: no colon (they are joined with agents by one), no `__` (it parts a variable)."""

_SHOWN = 200
"""How many characters of an exception of another package are shown."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What an adapter is made from: one account's address, key and numbers.

    `key` is asked for at every request. `before_further_request` is called with the endpoint class before every request
    of one call but the first (further pages of a list): it takes a permit, or raises `Unavailable`. `options` are the
    account's further settings, as texts: at least all that the kind names.
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

    `name` is the entry point's and fit for an account (a-z, 0-9, - and _). `url` is the API's published address, empty
    where every account has its own. `rates` hold for every endpoint class; `tiers` replace some of them, by the
    account's `tier` (the first is the default). `agent_id` and `run_id` are patterns of whole ids, `agent_example` an
    id that shows how they look. `weights` says what files weigh in a submission, where that isn't their size; it gets
    the account's options. `options` are the further settings an account may have, each with its default.
    `together` says what a run makes of its files, as a sentence without a full stop.
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
    options: Mapping[str, str] = field(default_factory=dict)
    together: str = "one run gets all files of a submission together"


@cache
def _found() -> dict[str, tuple[EntryPoint, ...]]:
    """Find the entry points by name; several packages may bring one of the same name."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=GROUP):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def provider_names() -> tuple[str, ...]:
    """Name every provider that an installed package brings, in alphabetical order, Kolena first."""
    return tuple(sorted(_found(), key=lambda name: (name != "kolena", name)))


def provider_package(name: str) -> str:
    """Name the package, with its version, that brings a provider; empty where none does or it isn't known."""
    points = _found().get(name, ())
    return " and ".join(f"{point.dist.name} {point.dist.version}" for point in points if point.dist is not None)


@cache
def provider_kind(name: str) -> ProviderKind:
    """Return a kind by name. Raises `ConfigError` for one that no package brings, or that can't be loaded."""
    points = _found().get(name, ())
    if not points:
        raise ConfigError(f"no provider {name!r}; installed: {', '.join(provider_names()) or 'none'}")
    if len(points) > 1:
        raise ConfigError(f"provider {name!r} is brought by {provider_package(name)}; remove all but one")
    value = points[0].value
    try:
        kind = points[0].load()
    except Exception as error:
        raise ConfigError(
            f"provider {name!r} can't be loaded from {value} ({_line(error)}); mend or remove its package"
        ) from error
    if not isinstance(kind, ProviderKind) or kind.name != name:
        raise ConfigError(f"{value} isn't the ProviderKind of {name!r}; mend or remove the package")
    if wrong := _wrong(kind):
        raise ConfigError(f"provider {name!r} of {value}: {wrong}; mend or remove the package")
    return kind


def open_adapter(kind: ProviderKind, opening: Opening) -> Provider:
    """Open the adapter of an account. Raises `ConfigError` where it can't be imported or made."""
    try:
        return kind.open(opening)
    except PacelineError:
        raise
    except Exception as error:
        raise ConfigError(
            f"the adapter of provider {kind.name!r} can't be opened ({_line(error)}); mend or remove its package"
        ) from error


def _wrong(kind: ProviderKind) -> str | None:
    """Say what about a kind would only come to light later, as something else."""
    if not NAME.fullmatch(kind.name):
        return "its name is no name of an account: a-z, 0-9, - and _"
    if missing := [endpoint.value for endpoint in EndpointClass if endpoint not in kind.rates]:
        return f"it has no rate for {', '.join(missing)}"
    try:
        fits = re.fullmatch(kind.agent_id, kind.agent_example, re.ASCII)
        re.compile(kind.run_id)
    except re.error as error:
        return f"a pattern of its ids is wrong ({error})"
    if not fits or ":" in kind.agent_example:
        return f"its agent_example {kind.agent_example!r} is no id of an agent, or has a colon"
    return None


def _line(error: Exception) -> str:
    """Say in one line what a package's code raised."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    return f"{type(error).__name__}: {text[:_SHOWN]}" if text else type(error).__name__
