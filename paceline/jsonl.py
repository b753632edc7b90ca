"""Write and read JSON lines that survive every file name.

A name whose bytes aren't UTF-8 holds lone surrogates, which no UTF-8 file can. Such a line, and only such a line, is
written in ASCII with `\\u` escapes: the file stays valid UTF-8, readable where names are, and Python reads back the
very same `str`. So is a line with characters that some readers take for line ends, or terminals for commands.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, BinaryIO

_COMPACT = (",", ":")
_HARMFUL = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters that JSON lets through, line ends of Unicode (Node.js ends lines there), marks of direction."""


def encode(value: Mapping[str, Any]) -> bytes:
    """Serialize an object as one line, without the newline. Keys keep their order.

    Numbers JSON has no word for (NaN, the infinities) become null: a provider's odd value must not block a record.
    """
    try:
        return _dump(value)
    except ValueError:
        return _dump(_without_odd_numbers(value))


def encode_pretty(value: Mapping[str, Any]) -> bytes:
    """Serialize an object for people: indented, with a newline at the end."""
    line = encode(value)
    text = json.dumps(json.loads(line), indent=2, ensure_ascii=line.isascii())
    return text.encode() + b"\n"


def quote(text: str) -> str:
    """Return a JSON string literal, in characters; in ASCII if `text` can't be encoded, or isn't harmless."""
    return encode_basestring(text) if _encodable(text) and is_harmless(text) else encode_basestring_ascii(text)


def is_harmless(text: str) -> bool:
    """Tell whether JSON without escapes of its own is one line for every reader, and no command to any terminal."""
    return not _HARMFUL.search(text)


def decode(line: bytes) -> dict[str, Any]:
    """Parse one line. Raises `ValueError` unless it holds an object."""
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def read(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """Parse a stream line by line, from where it stands. Lines end with a newline byte and nothing else."""
    return map(decode, stream)


def _dump(value: object) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=_COMPACT)
        if is_harmless(text):
            return text.encode()
    except UnicodeEncodeError:
        pass
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=_COMPACT).encode()


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _without_odd_numbers(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_odd_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_odd_numbers(item) for item in value]
    return value
