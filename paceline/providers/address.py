"""Decides where a key may be sent, and what may be a key."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from paceline.errors import AccessDenied, ConfigError, CredentialsError

_KEY = re.compile(r"[\x21-\x7e]+", re.ASCII)


def checked_key(key: str) -> str:
    """Return the key without white space around it; raise `CredentialsError` if no header could carry it."""
    key = key.strip()
    if not _KEY.fullmatch(key):
        raise CredentialsError("the provider's key is empty or holds characters that no key has; set it again")
    return key


def key_now(source: Callable[[], str] | None) -> str:
    """Return the key for a request that is about to begin, '' where there is no source.

    Raises `AccessDenied` where it can't be had, because its file went away, say: nothing was sent, and until a person
    acts nothing can be.
    """
    try:
        return checked_key(source()) if source is not None else ""
    except CredentialsError as error:
        raise AccessDenied(str(error)) from error


def checked_url(url: str, *, allow_http: bool = False) -> str:
    """Return a provider's base URL without a slash at its end; raise `ConfigError` if a key wouldn't be safe there.

    Safe is https, or http on loopback, or http anywhere with `allow_http`.
    """
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError as error:
        raise ConfigError("the provider's URL can't be understood; write it like https://host/path") from error
    stray = parts.username is not None or "?" in url or "#" in url or not url.isprintable() or " " in url
    if parts.scheme not in ("http", "https") or not host or stray:
        raise ConfigError("the provider's URL must be like https://host/path, without user, query or fragment")
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        raise ConfigError(f"{host} would get the key unencrypted; write https://, or allow http for this account")
    return url


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine: nobody else hears what is said to it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
