"""Bounds the memory that parsing JSON takes, before it is parsed.

A list of empty lists takes thirty times its bytes, and one emoji makes every character of a text four bytes wide: the
bytes of an answer say little about what it does to a worker.

Measured with CPython 3.11 (64 bit), and rounded up: an empty list or object 83 bytes, an object with one member 206, a
short string in a list 80 and a number 46 (both with the list's room for them).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

CONTAINER_BYTES = 85
MEMBER_BYTES = 130
ITEM_BYTES = 80

PIECE_BYTES = 1 << 20

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)  # possessive: else a long string fills its stack
_CONTINUATION = bytes(range(0x80, 0xC0))
_NARROW = bytes(range(0xC4))  # first bytes of characters up to U+00FF, and all that come second
_LESS_WIDE = bytes(range(0xF0))
_WIDE_ESCAPE = re.compile(rb"\\u(?!00)")
_WIDEST_ESCAPE = re.compile(rb"\\u[dD][89abAB]")


def heavier_than(limit_bytes: int, body: bytes | bytearray) -> bool:
    """Tell whether text and values of this JSON may take more memory together. Never says no where they do."""
    text = _characters(body) * _width(body, escapes=False)
    at_most = text + _characters(body) * _width(body, escapes=True) + _structure(body, 0, len(body))
    return at_most > limit_bytes and _counted(body, limit_bytes - text) > limit_bytes - text


def _counted(body: bytes | bytearray, enough: int) -> int:
    """Add up what the values take, as far as `enough`; a comma within a string is none."""
    total = at = 0
    for found in _STRING.finditer(body):
        string = found[0]
        total += _structure(body, at, found.start()) + len(string)
        if b"\\" in string or not string.isascii():
            total += _characters(string) * (_width(string, escapes=True) - 1)
        at = found.end()
        if total > enough:
            return total
    return total + _structure(body, at, len(body))


def _structure(body: bytes | bytearray, start: int, end: int) -> int:
    """Return the bytes of lists, objects and short values."""
    containers = body.count(b"[", start, end) + body.count(b"{", start, end)
    members, items = body.count(b":", start, end), body.count(b",", start, end)
    return CONTAINER_BYTES * containers + MEMBER_BYTES * members + ITEM_BYTES * items


def _characters(text: bytes | bytearray) -> int:
    if text.isascii():
        return len(text)
    return sum(len(piece.translate(None, _CONTINUATION)) for piece in _pieces(text))


def _width(text: bytes | bytearray, *, escapes: bool) -> int:
    """Return the bytes that CPython keeps for each character: 1, 2 or 4, as the widest of them needs."""
    escapes = escapes and b"\\u" in text
    if _any_but(_LESS_WIDE, text) or (escapes and _WIDEST_ESCAPE.search(text)):
        return 4
    if _any_but(_NARROW, text) or (escapes and _WIDE_ESCAPE.search(text)):
        return 2
    return 1


def _any_but(few: bytes, text: bytes | bytearray) -> bool:
    return not text.isascii() and any(piece.translate(None, few) for piece in _pieces(text))


def _pieces(text: bytes | bytearray) -> Iterator[bytes | bytearray]:
    """Cut a text, as `translate` makes a copy of all it is given."""
    return (text[at : at + PIECE_BYTES] for at in range(0, len(text), PIECE_BYTES))
