"""What can be set about an account: a provider credential with its limits.

The key itself is never part of it. An account carries the *name* of the environment variable that holds the key, and
the process that sends requests reads it at that moment; so settings can be printed, pickled and logged.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from config.rates import parse_rate
from paceline.errors import CredentialsError
from paceline.model import EndpointClass, Rate, SizeLimits

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]|_(?!_)){0,63}")
"""Account names: no colon (they are joined with agents by one), no `__` (it parts the words of a variable's name)."""

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,80}")

URLS = {"kolena": "https://agents-api.kolena.com", "kindo": "https://api.kindo.ai"}
"""Where each provider lives, and so the list of providers."""

KOLENA_WAITS = {"starter": "10/60s", "professional": "20/60s", "enterprise": "40/60s"}
"""Add-and-wait by tier, per organization: the one number on the vendor's page today (API-CONTRACT §1)."""

RATES = {
    # Kolena: from older copies of the vendor's page; deleting has no published number, so it is kept low.
    "kolena": {"add": "600/60s", "get": "1200/60s", "list": "1200/60s", "delete": "60/60s"},
    # Kindo publishes none: careful guesses, to be set by the operator; the limiter learns from 429.
    "kindo": {"add": "60/60s", "wait": "60/60s", "get": "300/60s", "list": "60/60s", "delete": "60/60s"},
}

SIZES: dict[str, dict[str, int]] = {
    "kolena": {"max_files": 300, "max_file_bytes": 250_000_000},
    # One body of 50 MB carries everything.
    "kindo": {"max_files": 300, "max_file_bytes": 50_000_000, "max_submission_bytes": 50_000_000},
}


def _rate(value: object) -> object:
    return value if isinstance(value, Rate) else parse_rate(value)


def _plain_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("not an address; write https://HOST, without user name or password")
    return value.rstrip("/")


def _is_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError("not an account name; use a-z, 0-9, - and _")
    return value


def _is_variable(value: str) -> str:
    if not VARIABLE.fullmatch(value):
        raise ValueError(
            'not the name of a variable; write the name, e.g. "KOLENA_API_KEY", and export the key under it'
        )
    return value


WrittenRate = Annotated[Rate, BeforeValidator(_rate), PlainSerializer(str)]


class Table(BaseModel):
    """Base of every table of settings: no unknown names, no changes afterwards, no input in pydantic's own messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class Limits(Table):
    """How many requests of each kind the account may send, over all workers together. Written `"40/60s"`."""

    add: WrittenRate = Field(description="starting a run")
    wait: WrittenRate = Field(description="starting a run and waiting in the call")
    get: WrittenRate = Field(description="asking after one run or agent")
    list: WrittenRate = Field(description="asking after many runs")
    delete: WrittenRate = Field(description="deleting a run")


class Account(Table):
    """One named credential at one provider."""

    name: Annotated[str, AfterValidator(_is_name)]
    provider: Literal["kolena", "kindo"] = Field(description="who runs the agents; needed unless the name says it")
    url: Annotated[str, AfterValidator(_plain_url)] = Field(
        description="the API's address", json_schema_extra={"hidden": True}
    )
    key_env: Annotated[str, AfterValidator(_is_variable)] = Field(
        description="the *name* of the environment variable that holds the key", json_schema_extra={"hidden": True}
    )
    tier: Literal["starter", "professional", "enterprise"] = Field(
        "starter", description="Kolena's plan; decides the default of `limits.wait`"
    )
    limits: Limits
    max_files: int = Field(gt=0, description="files in one submission")
    max_file_bytes: int = Field(gt=0, description="bytes of one file")
    max_submission_bytes: int | None = Field(
        None, gt=0, description="bytes of one submission; unset where the provider states no total"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Complete what was given by what the provider publishes."""
        if not isinstance(given, Mapping):
            return given
        name = str(given.get("name", ""))
        filled: dict[str, Any] = {"key_env": default_key_env(name), **given}
        if name in URLS:
            filled.setdefault("provider", name)
        provider = filled.get("provider")
        if provider in URLS:
            filled.setdefault("url", URLS[provider])
            filled.update({key: value for key, value in SIZES[provider].items() if key not in filled})
            limits = filled.get("limits", {})
            if isinstance(limits, Mapping):
                wait = KOLENA_WAITS.get(str(filled.get("tier", "starter")), KOLENA_WAITS["starter"])
                filled["limits"] = {"wait": wait, **RATES[provider], **limits}
        return filled

    @property
    def rates(self) -> Mapping[EndpointClass, Rate]:
        """The limits by endpoint class."""
        return {endpoint: getattr(self.limits, endpoint.value) for endpoint in EndpointClass}

    @property
    def size_limits(self) -> SizeLimits:
        """What one submission may hold."""
        return SizeLimits(self.max_files, self.max_file_bytes, self.max_submission_bytes)

    def key(self) -> str:
        """Read the key from this process's environment, now. Raises `CredentialsError` where it is missing."""
        return read_key(self.key_env, account=self.name)


def default_key_env(account: str) -> str:
    """Name the variable an account's key is looked for in, unless it says otherwise."""
    return account.upper().replace("-", "_") + "_API_KEY"


def read_key(key_env: str, *, account: str) -> str:
    """Read a key by the name of its variable. Raises `CredentialsError` if it is unset, empty or unfit for a header."""
    key = os.environ.get(key_env, "").strip()
    if not key:
        raise CredentialsError(f"account {account}: no key; set it with: export {key_env}=…")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise CredentialsError(
            f"account {account}: the value of {key_env} has characters no key has; copy it again, without quotes"
        )
    return key
