"""Write a night's source and destinations: `out/{date}` becomes `out/2026-11-23`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import datetime

from paceline.errors import UsageError

NAMES = ("date", "time", "year", "month", "day", "name")

_FIELD = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}")
_OPEN = re.compile(rf"(?<!\{{)\{{({'|'.join(NAMES)})(?![\w}}])")


def check_fields(text: str) -> None:
    """Raise `UsageError` for a placeholder that doesn't exist, or begins like one and isn't: `{date` or `{date:%d}`."""
    _replace(text, dict.fromkeys(NAMES, ""))
    if found := _OPEN.search(text):
        raise UsageError(f"{found[0]} is no placeholder; write {{{found[1]}}}, with nothing else between the braces")


def render(text: str, name: str, due: datetime, *, extra: bool = False) -> str:
    """Fill in the placeholders from a due time in the schedule's zone.

    `{date}` is 2026-11-23, `{time}` 0200 (020030 where the due time has seconds; 0200-2 when clocks show that for the
    second time in a night), `{name}` the schedule's; then `{year}`, `{month}`, `{day}`. `{{` and `}}` stand for braces.
    Raises `UsageError` for any other. With `extra`, the result is like that of no due time: the time stands in it
    to the second, behind the day where there is no `{time}`.
    """
    fields = fields_of(name, due)
    if extra:
        fields["time"] = due.strftime("%H%M%S")
        if "{time}" not in text:
            fields |= {part: f"{fields[part]}T{fields['time']}" for part in ("date", "day")}
    return _replace(text, fields)


def fields_of(name: str, due: datetime) -> dict[str, str]:
    """Return what the placeholders stand for."""
    again = "-2" if due.fold else ""  # shown for the second time: clocks were set back
    return {
        "date": due.strftime("%Y-%m-%d"),
        "time": due.strftime("%H%M%S" if due.second else "%H%M") + again,
        "year": due.strftime("%Y"),
        "month": due.strftime("%m"),
        "day": due.strftime("%d"),
        "name": name,
    }


def _replace(text: str, fields: Mapping[str, str]) -> str:
    def one(found: re.Match[str]) -> str:
        if not found[1]:
            return found[0][0]
        if found[1] not in fields:
            close = difflib.get_close_matches(found[1], NAMES, n=1)
            hint = (
                f"did you mean {{{close[0]}}}?" if close else f"there are {', '.join(f'{{{name}}}' for name in NAMES)}"
            )
            raise UsageError(f"no placeholder {{{found[1]}}}; {hint}")
        return fields[found[1]]

    return _FIELD.sub(one, text)
