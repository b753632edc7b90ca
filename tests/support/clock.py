"""A clock that a test moves by hand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Clock:
    """Tells the same time until it is moved."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s
