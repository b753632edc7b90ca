"""How much work a measurement is given."""

from __future__ import annotations

from enum import StrEnum


class Size(StrEnum):
    """The amount of work; only `normal` and `long` are worth writing down."""

    QUICK = "quick"  # seconds: to see that the benchmark itself works
    NORMAL = "normal"  # the sizes the targets are stated for
    LONG = "long"  # with the measurements that take minutes
