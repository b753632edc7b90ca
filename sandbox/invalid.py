"""What is wrong with a request, said the way FastAPI says it: 422 with a list of places and reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from sandbox.agent import to_json
from sandbox.answers import Answer

Problem = dict[str, Any]


class Invalid(Exception):
    """The request can't be understood; ``problems`` are FastAPI's ``{"type", "loc", "msg", "input", "ctx"?}``."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems)
        self.problems = problems

    def answer(self) -> Answer:
        """Make it the 422 that FastAPI answers."""
        return Answer(422, to_json({"detail": self.problems}))


def problem(kind: str, loc: Sequence[str | int], msg: str, given: object, **ctx: object) -> Problem:
    """Describe one thing that is wrong."""
    found: Problem = {"type": kind, "loc": list(loc), "msg": msg, "input": given}
    if ctx:
        found["ctx"] = ctx
    return found


def integer(text: str, loc: Sequence[str | int], low: int | None = None, high: int | None = None) -> int:
    """Read an integer from ``low`` to ``high``, both included; raise Invalid for anything else."""
    try:
        # 19 digits: what fits 64 bits; int() also takes underscores, which pydantic doesn't
        number = int(text) if len(text) < 20 and "_" not in text else None
    except ValueError:
        number = None
    if number is None:
        msg = "Input should be a valid integer, unable to parse string as an integer"
        raise Invalid(problem("int_parsing", loc, msg, text))
    if low is not None and number < low:
        msg = f"Input should be greater than or equal to {low}"
        raise Invalid(problem("greater_than_equal", loc, msg, text, ge=low))
    if high is not None and number > high:
        raise Invalid(problem("less_than_equal", loc, f"Input should be less than or equal to {high}", text, le=high))
    return number


def moment_us(text: str, loc: Sequence[str | int]) -> int:
    """Read an ISO 8601 time, naive ones as UTC, as microseconds since 1970; raise Invalid for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        msg = "Input should be a valid datetime or date, invalid character in year"
        raise Invalid(problem("datetime_from_date_parsing", loc, msg, text, error="invalid datetime")) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


class Query:
    """A query string whose values are checked as they are taken."""

    def __init__(self, query: bytes) -> None:
        self._values = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=100_000)

    def integer(self, name: str, default: int, low: int, high: int | None = None) -> int:
        """Read an integer between bounds; ``default`` when the name isn't there, the last of several."""
        values = self._values.get(name)
        return default if values is None else integer(values[-1], ("query", name), low, high)

    def integers(self, name: str) -> list[int] | None:
        """Read a repeated integer; None when the name isn't there at all."""
        values = self._values.get(name)
        if values is None:
            return None
        return [integer(value, ("query", name, index)) for index, value in enumerate(values)]

    def texts(self, name: str) -> list[str] | None:
        """Read a repeated text; None when the name isn't there at all."""
        return self._values.get(name)

    def text(self, name: str) -> str | None:
        """Read a text; None when the name isn't there, the last of several."""
        values = self._values.get(name)
        return None if values is None else values[-1]

    def moment_us(self, name: str) -> int | None:
        """Read a time as microseconds since 1970; None when the name isn't there."""
        values = self._values.get(name)
        return None if values is None else moment_us(values[-1], ("query", name))

    def choice(self, name: str, words: Sequence[str]) -> str | None:
        """Read one of a few words; None when the name isn't there."""
        value = self.text(name)
        if value is None or value in words:
            return value
        expected = ", ".join(f"'{word}'" for word in words[:-1]) + f" or '{words[-1]}'"
        raise Invalid(problem("enum", ("query", name), f"Input should be {expected}", value, expected=expected))


def path_integer(parameters: Mapping[str, str], name: str) -> int:
    """Read an id from the path; raise Invalid if it is no integer."""
    return integer(parameters[name], ("path", name))
