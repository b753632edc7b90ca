"""Finds and fills the parts of a page that are written by a program, between two comments.

<!-- generated: NAME -->
…
<!-- end: NAME -->
"""

from __future__ import annotations

import re


def put(page: str, name: str, text: str) -> str:
    """Return the page with `text` as its block `name`. Raises `ValueError` unless the page has that block once."""
    pattern = re.compile(rf"(<!-- generated: {re.escape(name)} -->\n).*?(<!-- end: {re.escape(name)} -->)", re.S)
    filled, times = pattern.subn(lambda found: f"{found[1]}\n{text.strip()}\n\n{found[2]}", page)
    if times != 1:
        raise ValueError(f"the page has {times} blocks named {name!r}, not one")
    return filled


def names(page: str) -> tuple[str, ...]:
    """List the blocks of a page, in order."""
    return tuple(re.findall(r"^<!-- generated: (\S+) -->$", page, re.M))
