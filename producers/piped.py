"""Read paths from stdin: one a line, or separated by NUL as `find -print0` writes them.

A NUL in the first megabyte says which: no path is that long. Lines may end in CR LF, and empty ones don't count. Any
name survives, whatever its bytes; one with a line end in it, or a CR at its end, needs NUL.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import BinaryIO

from paceline.errors import UsageError
from producers.lists import Named

_BLOCK = 1 << 20
_MARK = b"\xef\xbb\xbf"


def read_stdin() -> Iterator[Named]:
    """Read the list on stdin. Raises `UsageError` where none can come: nothing is piped in."""
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("source '-': stdin is closed; pipe paths into it: find docs -type f -print0 | paceline run -")
    if sys.stdin.isatty():
        raise UsageError(
            "source '-' reads paths from stdin, which is a terminal here; pipe them into it:"
            " find docs -type f -print0 | paceline run -"
        )
    return read_paths(sys.stdin.buffer)


def read_paths(stream: BinaryIO) -> Iterator[Named]:
    """Read paths from a stream. Lines are counted from 1, empty ones too; between NULs, names are counted."""
    block = stream.read(_BLOCK)
    end = b"\0" if b"\0" in block else b"\n"
    if end == b"\n":
        block = block.removeprefix(_MARK)
    number, rest = 0, b""
    while block:
        *whole, rest = (rest + block).split(end)
        for name in whole:
            number += 1
            yield from _named(name, number, end)
        block = stream.read(_BLOCK)
    yield from _named(rest, number + 1, end)


def _named(name: bytes, number: int, end: bytes) -> Iterator[Named]:
    if end == b"\n":
        name = name.removesuffix(b"\r")
        if b"\0" in name:
            raise UsageError(f"stdin, line {number}: a NUL in a list of lines; separate all names by NUL, or none")
    if name:
        yield Named(name.decode("utf-8", "surrogateescape"), number)
