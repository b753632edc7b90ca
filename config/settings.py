"""Loads the settings: defaults, then `paceline.toml`, then the environment.

Every name is checked before any value is looked at, because a misspelt setting that is silently ignored costs money
here. Whatever is wrong becomes one `ConfigError` of one line: the name, where it stands, and the remedy.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from config.accounts import NAME, Account, default_key_env, default_url_env
from config.complaints import bad_value
from config.names import NAMED, PREFIX, Origin, Way, check_way, plain
from config.schema import Settings
from paceline.errors import ConfigError
from paceline.providers.kinds import provider_names
from paceline.secrets import SUFFIX, has_secret, read_secret
from paceline.sinks.places import SECRET_ENV

__all__ = ["Account", "Settings", "load_settings"]

FILE = "paceline.toml"

REDIS_URL = "PACELINE_REDIS_URL"

NOT_SETTINGS = frozenset({"PACELINE_CONFIG", SECRET_ENV, SECRET_ENV + SUFFIX, REDIS_URL + SUFFIX})
"""Variables with our prefix that are no settings: a secret is read where it is used, and kept nowhere.

The file with Redis' address is read here, as the address may hold a password.
"""

Found = tuple[Way, object, Origin]


def load_settings(environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Settings:
    """Load and check all settings.

    `environ` and `cwd` stand for this process's own where they are None. An empty variable counts as unset; relative
    paths start at `cwd`, and `home` is absolute afterwards. Reads at most `paceline.toml` and the file with Redis'
    address, writes nothing, blocks for nothing. Raises `ConfigError`.
    """
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else cwd
    written = [*_from_file(environ, cwd), *_from_vendor_variables(environ)]
    accounts = {way[1] for way, _, _ in written if way[0] == "accounts"}
    written += _from_variables(environ, accounts)
    if environ.get(REDIS_URL + SUFFIX):
        written.append((("redis_url",), read_secret(REDIS_URL, environ, cwd), Origin(REDIS_URL + SUFFIX)))
    try:
        settings = Settings.model_validate(_nest(written, _file(environ, cwd).parent))
    except ValidationError as error:
        origins = {way: origin for way, _, origin in written}
        raise bad_value(error, origins, {way: value for way, value, _ in written}) from None
    return settings.model_copy(update={"home": (cwd / settings.home.expanduser()).absolute()})


def _nest(written: list[Found], folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for way, value, _ in written:
        table = values
        for part in way[:-1]:
            table = table.setdefault(part, {})
        if value == {}:
            table.setdefault(way[-1], {})
        else:
            table[way[-1]] = value
    for kind in NAMED:
        for name, one in values.get(kind, {}).items():
            one["name"] = name
    for schedule in values.get("schedules", {}).values():
        schedule["folder"] = folder
    return values


def _file(environ: Mapping[str, str], cwd: Path) -> Path:
    """Name the file that settings are read from, whether it is there or not."""
    return (cwd / Path(environ.get("PACELINE_CONFIG") or FILE).expanduser()).absolute()


def _from_file(environ: Mapping[str, str], cwd: Path) -> Iterator[Found]:
    named = environ.get("PACELINE_CONFIG")
    file = _file(environ, cwd)
    shown = plain(named or FILE)
    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        if named:
            raise ConfigError(f"PACELINE_CONFIG names {shown}, which doesn't exist; correct it or unset it") from None
        return
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{shown} is no valid TOML: {plain(str(error))}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{shown} isn't UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{shown} can't be read ({error.strerror}); correct its path or permissions") from None
    accounts = table.get("accounts")
    for way, value in _leaves(table):
        origin = Origin(".".join(way), shown)
        check_way(way, origin, is_table=value == {}, accounts=accounts if isinstance(accounts, dict) else ())
        yield way, value, origin


def _leaves(table: Mapping[str, object], above: Way = ()) -> Iterator[tuple[Way, object]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _from_vendor_variables(environ: Mapping[str, str]) -> Iterator[Found]:
    """Find the accounts that need no configuration: those whose key or address is set the vendors' way."""
    for name in filter(NAME.fullmatch, provider_names()):
        key, url = default_key_env(name), default_url_env(name)
        if has_secret(key, environ):
            yield ("accounts", name), {}, Origin(key)
        if environ.get(url):
            yield ("accounts", name, "url"), environ[url], Origin(url)


def _from_variables(environ: Mapping[str, str], accounts: set[str]) -> Iterator[Found]:
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in NOT_SETTINGS:
            continue
        way = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        origin = Origin(variable)
        check_way(way, origin, is_table=False, accounts=accounts)
        if environ[variable]:
            yield way, environ[variable], origin
