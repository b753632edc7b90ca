"""Checks the address of a Redis without ever quoting it: it may hold a password, in places nobody thinks of."""

from __future__ import annotations

from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

SCHEMES = ("redis", "rediss", "unix")


def check_redis_address(url: str) -> None:
    """Raise `ValueError` for an address that can't be used.

    A `/`, `?` or `#` within a password moves the rest of it to where port, path or options are, and whatever quotes
    those then shows it. A password among the options is refused too: they are shown where passwords are not.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in SCHEMES and bool(parts.path if parts.scheme == "unix" else parts.hostname)
    except ValueError:
        known = False
    if not known:
        raise ValueError("not a Redis address; write redis://HOST:6379/0, rediss://… or unix:///PATH")
    if not _is_whole(parts):
        raise ValueError(
            "its port or database is no number; write redis://HOST:6379/0, and / ? # @ % in a password as %2F %3F %23"
            " %40 %25"
        )
    if {"password", "username"} & parse_qs(parts.query, keep_blank_values=True).keys():
        raise ValueError("a password among its options; write redis://:PASSWORD@HOST:6379/0 or unix://:PASSWORD@/PATH")


def _is_whole(parts: SplitResult) -> bool:
    """Tell whether port and database are where they belong."""
    if parts.scheme == "unix":
        return not parts.fragment
    try:
        _ = parts.port
    except ValueError:
        return False
    database = parts.path.strip("/")
    return not parts.fragment and (not database or (database.isascii() and database.isdigit()))


def ledger_of(url: str) -> str:
    """Return what tells two Redis databases apart in their addresses: host, port and database, or path and database.

    Without user name, password and options, so that it can be shown.
    """
    parts = urlsplit(url)
    database = parts.path.strip("/") or "0"
    if parts.scheme == "unix":
        database = parse_qs(parts.query).get("db", ["0"])[0]
        return f"unix://{unquote(parts.path)}" + ("" if database == "0" else f"?db={database}")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"redis://{host}:{parts.port or 6379}/{int(database)}"
