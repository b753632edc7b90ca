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
from config.schema import Settings
from paceline.errors import ConfigError
from paceline.providers.kinds import provider_names
from paceline.sinks.places import SECRET_ENV

PREFIX = "PACELINE_"

Way = tuple[str, ...]
"""The way to a setting, as `("accounts", "kolena", "limits", "add")`."""

Tree = Mapping[str, "Tree | None"]
"""Names of settings; None marks a setting, a tree a table."""

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
    if model is Account:
        del names["name"]
    return names


def all_ways(accounts: Iterable[str]) -> Iterator[Way]:
    """List the way to every setting there is, for these accounts."""

    def walk(tree: Tree, above: Way) -> Iterator[Way]:
        for name, below in tree.items():
            if below is None:
                yield (*above, name)
            else:
                yield from walk(below, (*above, name))

    for way in walk(tree_of(Settings), ()):
        if way != ("accounts",):
            yield way
    for account in accounts:
        yield from walk(tree_of(Account), ("accounts", account))


def check_way(way: Way, origin: Origin, *, is_table: bool, accounts: Iterable[str]) -> None:
    """Raise `ConfigError` unless `way` leads to a setting (or, for an empty table, to a table)."""
    if way[0] == "accounts" and len(way) > 1:
        if not NAME.fullmatch(way[1]):
            raise ConfigError(f"{origin}: no account name; use a-z, 0-9, - and _, beginning with a letter or digit")
        below: Tree | None = tree_of(Account)
        rest = way[2:]
    else:
        below = {**tree_of(Settings), "accounts": tree_of(Account)}
        rest = way
    if way[0] == "accounts" and way[2:3] == ("options",) and _is_option(way, origin, is_table=is_table):
        return
    for part in rest:
        if below is None or part not in below:
            raise _unknown(way, origin, accounts)
        below = below[part]
    if (below is not None) != is_table:
        example = (*way, *(("kolena",) if way == ("accounts",) else ()), next(iter(below or {"": None})))
        remedy = f"is a table; set a name in it, such as {origin.beside(example)}" if below else "is no table"
        raise ConfigError(f"{origin} {remedy}")


def _is_option(way: Way, origin: Origin, *, is_table: bool) -> bool:
    """Tell whether this is the table of a provider's options, or one of them; its names are the provider's."""
    if len(way) == 3 and not is_table:
        raise ConfigError(f"{origin} is a table; set a name in it, such as {origin.beside((*way, 'run_path'))}")
    if len(way) == 4 and _KEYLIKE.fullmatch(way[3].lower()):
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
    known = {".".join(known): known for known in all_ways(sorted(accounts))}
    close = difflib.get_close_matches(".".join(way), known, n=1, cutoff=0.7)
    if _KEYLIKE.fullmatch(way[-1]):
        return _key(way, origin)
    hint = f"did you mean {origin.beside(known[close[0]])}?" if close else "see docs/settings.md for the names"
    return ConfigError(f"{origin}: no such setting; {hint}")
