"""Read the parts that destinations keep, in folders or object stores, one submission at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from paceline.sinks.base import Part
from paceline.sinks.part_files import PartFiles
from paceline.sinks.places import PlaceKind, kind_of, parts_folder
from paceline.sinks.store import StoreSink


class Kept(Protocol):
    """The parts at one destination. Raises `SinkError` where an object store doesn't answer."""

    def find(self, submission: str) -> Part | None:
        """Return a submission's part; None where there is none, or a damaged one."""

    def names(self, batch: str) -> Iterator[str]:
        """Give the submissions of a batch that have one."""


def kept_parts(place: str) -> Kept | None:
    """Return what reads a destination's parts; None for one that keeps none. Raises `UsageError` without its driver."""
    if kind_of(place) is PlaceKind.STORE:
        return StoreSink(place)
    folder = parts_folder(place)
    return PartFiles(folder) if folder else None
