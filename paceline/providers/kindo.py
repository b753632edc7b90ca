"""Kindo's hosted agents: files travel inside an input's value."""

from __future__ import annotations

from paceline.errors import ConfigError
from paceline.providers.base import Provider
from paceline.providers.kinds import Opening


def Kindo(opening: Opening) -> Provider:
    """Open the adapter."""
    raise ConfigError(f"the provider at {opening.url} is not supported yet")
