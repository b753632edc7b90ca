"""Leave out of a plan what was paid for already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from paceline.model import SkippedFile, SourceFile
from producers.staging import Group


class Known(Protocol):
    """What succeeded before with this agent and options."""

    def sift(self, entries: Iterable[SourceFile | SkippedFile]) -> Iterator[SourceFile | SkippedFile]:
        """Give the entries in their order, known files as skipped ones."""

    def sift_groups(self, groups: Iterable[Group]) -> Iterator[Group | SkippedFile]:
        """Give the groups in their order; of one that is known as a whole its files, as skipped ones."""
