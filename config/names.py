"""Knows the name of every setting, so that a misspelt one is refused with a hint instead of being ignored.

pydantic refuses unknown names in a table, but nothing looks at environment variables that match no setting: this does
for both, with the same words.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from pydantic import BaseModel

from config.accounts import NAME, Account, default_key_env
from config.schedules import Schedule
from config.schema import Settings
from paceline.errors import ConfigError
from paceline.providers.kinds import provider_names
from paceline.sinks.places import SECRET_ENV

PREFIX = "PACELINE_"

Way = tuple[str, ...]
"""The way to a setting, as `("accounts", "kolena", "limits", "add")`."""

Tree = Mapping[str, "Tree | None"]
"""Names of settings; None marks a setting, a tree a table."""

NAMED: Mapping[str, type[BaseModel]] = {"accounts": Account, "schedules": Schedule}
"""Tables of tables with names of the user's own."""

FREE: Mapping[str, str] = {"accounts": "options", "schedules": "inputs"}
"""The table in each of those whose names are somebody else's, a provider's or an agent's."""

_KEYLIKE = re.compile(r"(?:.*_)?(?:key|apikey|token|secret|password|passwd|bearer|authorization|credentials?)")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written: `name` as it stands there, `place` a file or None for the environment."""

    name: str
    place: str | None = None

    def __str__(self) -> str:
        return f"{plain(self.name)} ({plain(self.place or 'environment')})"

    def set_to(self, value: object) -> str:
        """Write an assignment in the language of the place."""
        if self.place is None:
            return f"{self.name}={str(value).lower() if isinstance(value, bool) else value}"
        return f"{self.name} = {written_toml(value)}"

    def beside(self, way: Way) -> str:
        """Name another setting in the language of the place."""
        return variable_of(way) if self.place is None else ".".join(way)


def written_toml(value: object) -> str:
    """Write a value of a setting as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else f'"{value}"'


def plain(text: str) -> str:
    """Make text fit for one line of a terminal: nothing unprintable, not too long."""
    return "".join(c if c.isprintable() else "?" for c in text[:200])


def variable_of(way: Way) -> str:
    """Name the variable that sets what stands at the end of `way`."""
    return PREFIX + "__".join(way).upper()


@cache
def tree_of(model: type[BaseModel]) -> Tree:
    """Collect the names that can be written in a table."""
    names: dict[str, Tree | None] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        names[name] = tree_of(kind) if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    for given in ("name", "folder") if model in NAMED.values() else ():
        names.pop(given, None)
    return names


def all_ways(accounts: Iterable[str], schedules: Iterable[str] = ()) -> Iterator[Way]:
    """List the way to every setting there is, for these accounts and schedules."""

    def walk(tree: Tree, above: Way) -> Iterator[Way]:
        for name, below in tree.items():
            if below is None:
                yield (*above, name)
            else:
                yield from walk(below, (*above, name))

    for way in walk(tree_of(Settings), ()):
        if way[0] not in NAMED:
            yield way
    for table, names in (("accounts", accounts), ("schedules", schedules)):
        for name in names:
            yield from walk(tree_of(NAMED[table]), (table, name))


def check_way(way: Way, origin: Origin, *, is_table: bool, accounts: Iterable[str]) -> None:
    """Raise `ConfigError` unless `way` leads to a setting (or, for an empty table, to a table)."""
    if way[0] in NAMED and len(way) > 1:
        if not NAME.fullmatch(way[1]):
            kind = way[0].removesuffix("s")
            raise ConfigError(f"{origin}: no {kind} name; use a-z, 0-9, - and _, beginning with a letter or digit")
        below: Tree | None = tree_of(NAMED[way[0]])
        rest = way[2:]
    else:
        below = {**tree_of(Settings), **{table: tree_of(model) for table, model in NAMED.items()}}
        rest = way
    if way[0] in NAMED and way[2:3] == (FREE[way[0]],) and _is_option(way, origin, is_table=is_table):
        return
    for part in rest:
        if below is None or part not in below:
            raise _unknown(way, origin, accounts)
        below = below[part]
    if (below is not None) != is_table:
        named = {"accounts": ("kolena",), "schedules": ("nightly",)}.get(".".join(way), ())
        example = (*way, *named, next(iter(below or {"": None})))
        remedy = f"is a table; set a name in it, such as {origin.beside(example)}" if below else "is no table"
        raise ConfigError(f"{origin} {remedy}")


def _is_option(way: Way, origin: Origin, *, is_table: bool) -> bool:
    """Tell whether this is the table of a provider's options (or an agent's inputs), or one of them.

    Its names are the provider's, or the agent's.
    """
    if len(way) == 3 and not is_table:
        example = "run_path" if way[0] == "accounts" else "region"
        raise ConfigError(f"{origin} is a table; set a name in it, such as {origin.beside((*way, example))}")
    if len(way) == 4 and way[0] == "accounts" and _KEYLIKE.fullmatch(way[3].lower()):
        raise _key(way, origin)
    return len(way) == 3 or (len(way) == 4 and not is_table)


def _key(way: Way, origin: Origin) -> ConfigError:
    if variable_of(way) == SECRET_ENV:
        return ConfigError(f"{origin}: secrets are never part of the settings; remove it and export it as {SECRET_ENV}")
    account = way[1] if way[0] == "accounts" and len(way) > 1 else "kolena"
    return ConfigError(
        f"{origin}: keys are never part of the settings; remove it and export the key as {default_key_env(account)}"
        f" (or name another variable in {origin.beside(('accounts', account, 'key_env'))})"
    )


def _unknown(way: Way, origin: Origin, accounts: Iterable[str]) -> ConfigError:
    accounts = {*provider_names(), *accounts}
    schedules = way[1:2] if way[0].startswith("sch") else ()
    known = {".".join(known): known for known in all_ways(sorted(accounts), schedules)}
    close = difflib.get_close_matches(".".join(way), known, n=1, cutoff=0.7)
    if _KEYLIKE.fullmatch(way[-1]):
        return _key(way, origin)
    hint = f"did you mean {origin.beside(known[close[0]])}?" if close else "see docs/settings.md for the names"
    return ConfigError(f"{origin}: no such setting; {hint}")
