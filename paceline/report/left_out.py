"""Find names of files that were left out, a few for each reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from paceline.manifest import read_manifest
from paceline.report.numbers import Skipped

_EXAMPLES = 3
_ROWS = 200_000
"""How far the manifest is read: half a second's worth."""


def with_names(rows: Sequence[Skipped], manifest: str) -> list[Skipped]:
    """Return the rows, the largest first, with some names as far as they stand near the beginning of the manifest."""
    found: dict[str, list[str]] = {row.reason: [] for row in rows}
    try:
        for row in islice(read_manifest(manifest), _ROWS if rows else 0):
            if row.submission is None and row.reason is not None:
                names = found.setdefault(row.reason.value, [])
                if len(names) < _EXAMPLES:
                    names.append(row.path)
                if all(len(found[wanted.reason]) >= _EXAMPLES for wanted in rows):
                    break
    except (OSError, ValueError):  # on another machine, gone, or being written: the numbers stand without it
        pass
    return sorted((replace(row, examples=tuple(found[row.reason])) for row in rows), key=lambda row: -row.files)
