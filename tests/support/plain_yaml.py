"""Reads the YAML that we write ourselves: mappings, lists, and words in single quotes. Anything else it refuses.

PyYAML is no dependency of the tests; where it is installed, `tests/sinks` holds this against it.
"""

from __future__ import annotations

import re
from typing import Any

_PAIR = re.compile(r"([A-Za-z_]\w*):(?: (.*))?")
_QUOTED = re.compile(r"'((?:[^']|'')*)'")


def read(text: str) -> Any:
    """Return the document. Raises `ValueError` that names the line."""
    lines = [
        (number, len(line) - len(line.lstrip()), line.strip())
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    value, rest = _block(lines, 0)
    if rest:
        raise ValueError(f"line {rest[0][0]}: indented otherwise")
    return value


Line = tuple[int, int, str]


def _block(lines: list[Line], indent: int) -> tuple[Any, list[Line]]:
    if lines[0][2].startswith("- "):
        items = []
        while lines and lines[0][1] == indent and lines[0][2].startswith("- "):
            number, _, text = lines[0]
            first = (number, indent + 2, text[2:])
            if _PAIR.fullmatch(text[2:]):
                item, lines = _block([first, *lines[1:]], indent + 2)
            else:
                item, lines = _scalar(number, text[2:]), lines[1:]
            items.append(item)
        return items, lines
    found: dict[str, Any] = {}
    while lines and lines[0][1] == indent:
        number, _, text = lines[0]
        pair = _PAIR.fullmatch(text)
        if pair is None or pair[1] in found:
            raise ValueError(f"line {number}: no pair, or one that is there already: {text}")
        if pair[2] is not None:
            found[pair[1]], lines = _scalar(number, pair[2]), lines[1:]
        elif len(lines) > 1 and lines[1][1] > indent:
            found[pair[1]], lines = _block(lines[1:], lines[1][1])
        else:
            raise ValueError(f"line {number}: nothing under {pair[1]}")
    return found, lines


def _scalar(number: int, text: str) -> Any:
    if text.startswith("[") and text.endswith("]"):
        return [_scalar(number, part.strip()) for part in text[1:-1].split(",")]
    quoted = _QUOTED.fullmatch(text)
    if quoted is None:
        raise ValueError(f"line {number}: not in single quotes: {text}")
    return quoted[1].replace("''", "'")
