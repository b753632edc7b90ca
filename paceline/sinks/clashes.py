"""Find destinations that would write over one another: `--to out --to out/results.jsonl`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from paceline.batch_file import BATCH_FILE
from paceline.sinks.directory import MANIFEST, REPLACED, SUCCESS
from paceline.sinks.places import PlaceKind, kind_of, parts_folder, private_paths

_NAMES = (*REPLACED, MANIFEST, SUCCESS, BATCH_FILE, "parts")


def clash(places: Sequence[str], others: Iterable[str] = ()) -> tuple[str, str] | None:
    """Return a destination of `places`, and another of them or of `others`, that would write the same files.

    Those that are the same text are one destination, and no clash. Nothing is touched, so links aren't followed.
    """
    known = {place: _own(place) for place in (*places, *others)}
    for one in dict.fromkeys(places):
        for other in known:
            if one != other and (_meet(known[one], known[other]) or _meet(known[other], known[one])):
                return one, other
    return None


def _own(place: str) -> list[PurePosixPath]:
    """Return the files and folders that are the destination's own."""
    if kind_of(place) in (PlaceKind.FOLDER, PlaceKind.STORE):
        return [PurePosixPath(_plain(place), name) for name in _NAMES]
    return [PurePosixPath(_plain(path)) for path in dict.fromkeys([*private_paths(place), parts_folder(place)]) if path]


def _plain(path: str) -> str:
    return path if "://" in path else os.path.normpath(path)


def _meet(these: Sequence[PurePosixPath], those: Sequence[PurePosixPath]) -> bool:
    """Tell whether one of these is one of those, or lies beneath it."""
    return any(one == other or other in one.parents for one in these for other in those)
