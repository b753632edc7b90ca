"""Say which of the files that are found belong to the set."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """What was asked of a set beside its place; the defaults take everything but hidden files.

    `include` and `exclude` are patterns; `case_sensitive` is how they, and a glob, are compared.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    case_sensitive: bool = False
    hidden: bool = False

    def options(self) -> tuple[tuple[str, str], ...]:
        """Return what differs from the defaults, as options of a batch: other rules are another batch."""
        said = {
            "include": json.dumps(self.include) if self.include else "",
            "exclude": json.dumps(self.exclude) if self.exclude else "",
            "case": "sensitive" if self.case_sensitive else "",
            "hidden": "yes" if self.hidden else "",
        }
        return tuple((f"source:{name}", value) for name, value in said.items() if value)
