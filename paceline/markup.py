"""Put texts into HTML and SVG so that they are shown and never obeyed.

Names of files, agents and batches, and what providers say, may hold any character. Escaping `<` isn't enough: a mark
of direction turns the rest of the line round, and a lone surrogate (a byte that isn't UTF-8) can't be written at all.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from urllib.parse import urlsplit


class Markup(str):
    """HTML or SVG that is safe to put into a page as it is; a plain `str` isn't, and has to go through `escaped`."""

    __slots__ = ()


def visible(text: str) -> str:
    """Show characters that can't be seen, or do something, as escapes: just as the command shows them on a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def escaped(value: object) -> Markup:
    """Write a value as text of a page, or within quotes as an attribute's value."""
    return Markup(html.escape(visible(str(value)), quote=True))


def joined(parts: Iterable[Markup]) -> Markup:
    """Put pieces one after the other."""
    return Markup("".join(parts))


def web_address(text: str | None) -> str | None:
    """Return an address that a page may link to: http or https with a host; None for anything else."""
    if not text or visible(text) != text or " " in text:
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return text if parts.scheme in ("http", "https") and parts.netloc else None
