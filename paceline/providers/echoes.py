"""Hides our own key where a provider sends it back: in an error, a link, a result.

What an answer holds goes to Redis, to logs and into results. Keys don't belong there, whoever wrote them.
"""

from __future__ import annotations

import re

LEAST_SECRET = 8
"""A shorter value is no key, and may well be a word of the results."""

HIDDEN = b"***"


def hide_echo(body: bytes | bytearray, secret: str) -> bytes | bytearray:
    """Replace `secret` in JSON, however it is escaped there or in a URL. Returns the same object where it isn't."""
    if len(secret) < LEAST_SECRET or not _may_hold(body, secret):
        return body
    return re.sub(b"".join(map(_ways, secret)), HIDDEN, body)


def _may_hold(body: bytes | bytearray, secret: str) -> bool:
    """Tell quickly whether a closer look is worth it: that is a tenth as fast."""
    return secret.encode() in body or b"\\u00" in body or (not secret.isalnum() and (b"\\" in body or b"%" in body))


def _ways(character: str) -> bytes:
    r"""Return a pattern for one character: as it is, `\u0041`, `%41`, and `\/` where JSON has such an escape."""
    code = b"%02x" % ord(character)
    ways = [re.escape(character.encode()), b"\\\\u00(?i:" + code + b")", b"%(?i:" + code + b")"]
    if character in '"/\\':
        ways.append(re.escape(b"\\" + character.encode()))
    return b"(?:" + b"|".join(reversed(ways)) + b")"
