"""Reads a rate limit as people write it."""

from __future__ import annotations

import re

from paceline.model import Rate

_UNITS_S = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_WRITTEN = re.compile(r"(\d{1,9})\s*/\s*(\d{0,9}(?:\.\d{1,6})?)\s*([a-z]+)")


def parse_rate(text: object) -> Rate:
    """Read `40/60s`, `40/min` or `600/1m`; raises ValueError for anything else, and for a limit or window of zero."""
    match = _WRITTEN.fullmatch(text.strip().lower()) if isinstance(text, str) else None
    limit, window_s = (int(match[1]), float(match[2] or 1) * _UNITS_S.get(match[3], 0.0)) if match else (0, 0.0)
    if limit < 1 or window_s <= 0:
        raise ValueError('not a rate; write REQUESTS/SECONDS, e.g. "40/60s"')
    return Rate(limit, window_s)
