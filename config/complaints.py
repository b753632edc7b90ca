"""Turns pydantic's errors about values into one line a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from config.names import NAMED, Origin, Way, plain
from config.schema import Settings
from paceline.errors import ConfigError
from paceline.providers.kinds import provider_names

_LONGEST_SHOWN = 60


def bad_value(error: ValidationError, origins: Mapping[Way, Origin], values: Mapping[Way, object]) -> ConfigError:
    """Describe one bad value: its name and place, itself unless it may hold a secret, what is wrong, the remedy."""
    # What is missing is mostly missing because something else is wrong.
    first = min(error.errors(include_url=False), key=lambda details: details["type"] == "missing")
    way = tuple(str(part) for part in first["loc"])
    if first["type"] != "missing":  # of a list, the item that is wrong
        way = next((way[:end] for end in range(len(way), 0, -1) if way[:end] in origins), way)
    if first["type"] == "missing":
        return _missing(way, origins)
    origin = origins.get(way, Origin(".".join(way), "settings"))
    field = _field(way)
    hidden = bool(field and field.json_schema_extra)
    shown = "" if hidden or way not in values else f" is {_short(values[way])}"
    reason = _reason(first)
    default = field.default if field else None
    needs_example = not hidden and "e.g." not in reason and default is not None and default is not PydanticUndefined
    example = f"; e.g. {origin.set_to(default)}" if needs_example else ""
    return ConfigError(f"{origin}{shown}: {reason}{example}")


def _missing(way: Way, origins: Mapping[Way, Origin]) -> ConfigError:
    """Describe an account that doesn't say whose or where it is, or a schedule without its essentials."""
    account = way[1]
    origin = next(origin for known, origin in origins.items() if known[:2] == way[:2])
    if way[0] == "schedules":
        example = {"cron": "0 2 * * *", "source": "inbox", "agent": "kolena:42", "to": "out/{date}"}[way[2]]
        return ConfigError(
            f"schedule {account} ({plain(origin.place or 'environment')}) has no {way[2]};"
            f" set {origin.beside(way)}, e.g. to {example!r}"
        )
    if way[2] == "url":
        return ConfigError(f"{origin}: account {account} has no address; set {origin.beside(way)} to the API's")
    close = difflib.get_close_matches(account, provider_names(), n=1)
    remedy = f"set {origin.beside(way)} to {' or '.join(provider_names())}"
    hint = f"did you mean account {close[0]}?" if close else remedy
    return ConfigError(f"{origin}: account {account} has no provider; {hint}")


def _field(way: Way) -> FieldInfo | None:
    model: type[BaseModel] = Settings
    if way[0] in NAMED and len(way) > 2:
        model, way = NAMED[way[0]], way[2:]
    field = model.model_fields.get(way[0])
    for part in way[1:]:
        kind = field.annotation if field else None
        field = kind.model_fields.get(part) if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    return field


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _reason(details: ErrorDetails) -> str:
    """Say what is wrong in our own words; pydantic's would quote its documentation."""
    context = details.get("ctx", {})
    bounds = {"greater_than": ("more than", "gt"), "greater_than_equal": ("at least", "ge")}
    bounds |= {"less_than_equal": ("at most", "le"), "less_than": ("less than", "lt")}
    kind = details["type"]
    if kind == "value_error":
        return str(context["error"])
    if kind in bounds:
        words, key = bounds[kind]
        return f"it must be {words} {context[key]:g}"
    if kind == "literal_error":
        return f"it must be {context['expected']}"
    if kind.startswith("bool"):
        return "it must be true or false"
    if kind.startswith(("int", "float", "finite")):
        return "it must be a whole number" if kind.startswith("int") else "it must be a number"
    return "it has the wrong type"
