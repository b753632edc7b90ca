"""Open clients of stores, and say in words what they complain about.

The driver is obstore (`pip install 'paceline[objectstore]'`), loaded at the first use. It hangs when it was used before
a fork, so clients are made per process. Credentials come from the environment, as the driver reads it; see
docs/object-stores.md. Every wait is bounded: a silent store fails a reading request within a minute.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import Any

from paceline.errors import UsageError
from paceline.stores.addresses import Address, is_odd

CONNECT_S, READ_S, WRITE_S = 5, 30, 300
"""Seconds without a byte of an answer. It comes when all was sent, so who writes has to wait for his own line, too."""

RETRIES, RETRY_S = 3, 15
"""A request is repeated within this time; the last try may take as long again as it may go without an answer."""

WHOLE_S = 12 * 3600
"""A file is read as slowly as it is sent, so a request as a whole is bounded by the upload's own deadline."""

_VARIABLES = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}
_KEYS = {
    "s3": "export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (~/.aws is not read), or AWS_SKIP_SIGNATURE=true for a"
    " public bucket",
    "gs": "export GOOGLE_APPLICATION_CREDENTIALS, the path of a service account's key",
    "az": "export AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_CREDENTIALS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY"),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_CLIENT_ID"),
}
_ENDPOINTS = {
    "s3": "check the network and AWS_ENDPOINT_URL",
    "gs": "check the network",
    "az": "check the network, AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ENDPOINT",
}
_METADATA_SERVERS = ("169.254.169.254", "169.254.170.", "/latest/api/token", "/latest/meta-data/", "computeMetadata")
"""Asked by the driver for credentials where the environment has none."""

_NO_KEYS = (*_METADATA_SERVERS, "Account must be specified", "MissingAccount", "Missing AccessKeyId")
_WRONG_REGION = ("redirect without LOCATION", "PermanentRedirect", "AuthorizationHeaderMalformed")
_WRONG_KEYS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AuthenticationFailed")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")


class StoreFailed(OSError):
    """A store can't be used now, or refuses us; nothing is said about a single object.

    `strerror` is in words; `denied` tells whether the credentials were taken, and may not do this.
    """

    def __init__(self, words: str, *, denied: bool = False) -> None:
        super().__init__(errno.EIO, words)
        self.denied = denied

    def __str__(self) -> str:
        return str(self.strerror)


class NoObject(FileNotFoundError):
    """The store answers, and has no such object (or, where it doesn't say which, no such bucket)."""


def driver() -> Any:
    """Load obstore. Raises `UsageError` that names the extra if it isn't installed."""
    try:
        import obstore
    except ImportError as error:
        raise UsageError("object stores need a further package: pip install 'paceline[objectstore]'") from error
    return obstore


def open_store(origin: str, *, to_write: bool = False) -> Any:
    """Return this process's client for an `Address.origin`; it may be used from many threads. Asks nothing yet.

    Raises `UsageError` without the driver, `StoreFailed` if the environment doesn't say what is needed.
    """
    driver()
    with asking(origin):
        return _open(os.getpid(), origin, WRITE_S if to_write else READ_S)


@lru_cache(maxsize=256)
def _open(process: int, origin: str, patience_s: int) -> Any:
    from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

    scheme, _, host = origin.partition("://")
    settings: dict[str, Any] = {
        "client_options": {
            "connect_timeout": f"{CONNECT_S}s",
            "read_timeout": f"{patience_s}s",
            "timeout": f"{WHOLE_S}s",
            "allow_http": allows_http(scheme, os.environ),
            "user_agent": "paceline",
        },
        "retry_config": {
            "max_retries": RETRIES,
            "retry_timeout": timedelta(seconds=RETRY_S),
            "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
        },
    }
    if scheme == "s3":
        return S3Store(host, **settings)
    if scheme == "gs":
        return GCSStore(host, **settings)
    if scheme == "az":
        return AzureStore(host, **settings)
    return HTTPStore.from_url(origin, **settings)


def allows_http(scheme: str, environment: Mapping[str, str]) -> bool:
    """Tell whether requests may go unencrypted: where the address, or an endpoint in the environment, says `http://`."""
    if scheme in ("http", "https"):
        return scheme == "http"
    prefix = _VARIABLES[scheme]
    if environment.get(f"{prefix}ALLOW_HTTP", "").lower() in ("1", "true", "yes"):
        return True
    named = (value for name, value in environment.items() if name.startswith(prefix) and "ENDPOINT" in name)
    return any(value.startswith("http://") for value in named)


def configured(environment: Mapping[str, str]) -> list[str]:
    """Name the stores for which the environment has something like credentials, and where they are looked for."""
    found = []
    for scheme, names in _CREDENTIALS.items():
        if any(environment.get(name) for name in names):
            prefix = _VARIABLES[scheme]
            where = next(
                (environment[name] for name in (f"{prefix}ENDPOINT_URL", f"{prefix}ENDPOINT") if name in environment),
                "",
            )
            found.append(f"{scheme}:// at {where}" if where else f"{scheme}://")
    return found


@contextmanager
def asking(where: str) -> Iterator[None]:
    """Turn the driver's complaints within the block into `StoreFailed` or `NoObject`. `where` is an address."""
    failures = (driver().exceptions.BaseError, ValueError)
    try:
        yield
    except NoObject:
        raise
    except FileNotFoundError as error:
        if any(word in str(error) for word in _NO_BUCKET):
            raise failure(error, where) from error
        raise NoObject(errno.ENOENT, f"{where} is not there") from error
    except failures as error:
        raise failure(error, where) from error


def failure(error: Exception, where: str) -> StoreFailed:
    """Say what a complaint of the driver means, and what would help.

    The driver has one class for most of them, so its text has to be looked at: for these words, and for nothing else.
    """
    said = str(error).partition("\n\nDebug source")[0]
    scheme, _, rest = where.partition("://")
    origin = f"{scheme}://{rest.partition('/')[0]}"
    status = next(iter(re.findall(r"status code: (\d{3})", said)), "")
    kind = type(error).__name__

    def has(words: tuple[str, ...]) -> bool:
        return any(word in said for word in words)

    if kind == "InvalidPathError" or "parse path" in said:
        odd = next((key for key in re.findall(r'[Pp]ath "(.*?)"', said, re.DOTALL) if is_odd(key)), "")
        name = f": {odd!r}" if odd else ""
        return StoreFailed(
            f"{where} holds a key with '//', '/./', '/../' or a control character, which can't be read{name}; name"
            " prefixes that don't hold it, or copy the object to another key"
        )
    if has(_NO_KEYS):
        return StoreFailed(f"no credentials for {origin}: {_KEYS.get(scheme, 'none are supported there')}")
    if has(_WRONG_REGION):
        return StoreFailed(f"{origin} is in another region: export AWS_REGION, or correct AWS_ENDPOINT_URL")
    if has(_WRONG_KEYS):
        return StoreFailed(f"{origin} refuses the credentials: {_KEYS.get(scheme, 'correct them')}")
    if has(_NO_BUCKET) or (status == "404" and "list request" in said):
        return StoreFailed(f"no such bucket: {origin}; check the spelling and AWS_ENDPOINT_URL")
    if status in ("401", "403") or kind in ("PermissionDeniedError", "UnauthenticatedError"):
        return StoreFailed(
            f"{where} denies access ({status or 'refused'}): allow this key to list and read it, or use another",
            denied=True,
        )
    if status == "429" or status.startswith("5"):
        return StoreFailed(f"{origin} fails ({status}): try again later")
    if "ontent-length" in said.lower() or "ContentLength" in said:
        return StoreFailed(f"{where}: the server doesn't say how large the file is; download it and name the copy")
    if status:
        return StoreFailed(f"{origin} doesn't answer as a store does ({status}): check the address")
    if "timed out" in said.lower() or "error sending request" in said or "HTTP error" in said or "request" in said:
        return StoreFailed(f"{origin} can't be reached: {_ENDPOINTS.get(scheme, 'check the address and the network')}")
    return StoreFailed(f"{origin} can't be used ({kind}): {_ENDPOINTS.get(scheme, 'check the address')}")


def client_of(address: Address, *, to_write: bool = False) -> Any:
    """Return this process's client for an address; raises as `open_store`."""
    return open_store(address.origin, to_write=to_write)
