"""Take an address apart: which store, which key. Nothing here touches a store or needs a driver.

    s3://bucket/key  gs://bucket/key  az://container/key    keys stand as they are, nothing is decoded
    https://host/path  http://host:8080/path                one file each; `%20` is a space, as in every URL

Where the key ends with `/`, or is empty, the address means everything beneath it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from paceline.errors import UsageError

STORES = ("s3", "gs", "az")
WEB = ("https", "http")
FORMS = "s3://bucket/prefix/, gs://bucket/prefix/, az://container/prefix/ or https://host/file"
_LIKE = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "azure": "az", "adl": "az", "wasbs": "az"}


@dataclass(frozen=True, slots=True)
class Address:
    """A place in a store. `host` is the bucket, the container, or host and port; `key` has no slash in front."""

    scheme: str
    host: str
    key: str

    @property
    def origin(self) -> str:
        """Return what a client is made for."""
        return f"{self.scheme}://{self.host}"

    @property
    def is_web(self) -> bool:
        """Tell whether it is a web server's, which can't be listed."""
        return self.scheme in WEB

    @property
    def is_prefix(self) -> bool:
        """Tell whether it means everything beneath it."""
        return not self.key or self.key.endswith("/")

    @property
    def folder(self) -> str:
        """Return the key up to the last slash, with it; empty at the top."""
        return self.key[: self.key.rfind("/") + 1]

    @property
    def name(self) -> str:
        """Return the key behind the last slash."""
        return self.key[self.key.rfind("/") + 1 :]


def parse_address(text: str) -> Address:
    """Take an address apart.

    Raises `UsageError` for an unknown scheme, a missing bucket, a password or a query (both would be seen by everyone,
    and a signed query ends one day), and for a key that the driver can't ask for.
    """
    scheme, sign, rest = text.partition("://")
    scheme = scheme.lower()
    if not sign or scheme not in (*STORES, *WEB):
        meant = f"write {_LIKE[scheme]}://…" if scheme in _LIKE else f"name {FORMS}"
        raise UsageError(f"{scheme}://… is no address that can be read: {meant}")
    host, _, key = rest.partition("/")
    plain = re.split(r"[?#]" if scheme in WEB else r"[?]", rest, maxsplit=1)[0]
    shown = f"{scheme}://{plain.rpartition('@')[2] if '@' in host else plain}"
    if "@" in host:
        raise UsageError(f"{shown!r} was given with a user or a password, which everyone would see: leave it out")
    if "?" in rest or (scheme in WEB and "#" in rest):
        raise UsageError(
            f"{shown!r} was given with a '?' or '#' behind it: queries are not supported, as signatures in them end and"
            " would be seen by everyone; let the environment hold the credentials"
        )
    if not host:
        raise UsageError(f"{text!r} names no {'host' if scheme in WEB else 'bucket'}: name {FORMS}")
    if scheme in WEB:
        key = unquote(key, errors="surrogateescape")
        if not key or key.endswith("/"):
            raise UsageError(f"{shown!r} can't be listed: a web server has no list of its files; name each file's URL")
    refuse_odd(key, shown)
    return Address(scheme, host if scheme in STORES else host.lower(), key)


def is_odd(key: str) -> bool:
    """Tell whether the driver can't ask for a key: it refuses empty, `.` and `..` components and control characters."""
    components = key.removesuffix("/").split("/") if key else []
    if any(component in ("", ".", "..") for component in components):
        return True
    return any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in key)


def refuse_odd(key: str, shown: str) -> None:
    """Raise `UsageError` for such a key."""
    if is_odd(key):
        raise UsageError(
            f"{shown!r}: keys with '//', '/./', '/../' or control characters can't be read; copy the object to another"
            " key"
        )
