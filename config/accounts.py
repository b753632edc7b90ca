"""What can be set about an account: a provider credential with its limits.

The key itself is never part of it. An account carries the *name* of the environment variable that holds the key (or,
with `_FILE` behind it, names a file), and the process that sends requests reads it at that moment; so settings can
be printed, pickled and logged.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
    model_validator,
)

from config.rates import parse_rate
from config.redis_address import check_redis_address
from paceline.errors import CredentialsError
from paceline.model import EndpointClass, Rate, SizeLimits
from paceline.providers import kinds
from paceline.providers.kinds import ProviderKind, provider_kind, provider_names
from paceline.secrets import read_secret, source_of

NAME = kinds.NAME
"""Account names: a provider's own name is one."""

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,80}")


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


def _is_provider(value: str) -> str:
    if value not in provider_names():
        close = difflib.get_close_matches(value, provider_names(), n=1)
        hint = "" if close else "; install the package that brings any other"
        raise ValueError(f"it must be {_either(provider_names())}{hint}")
    return value


def texts(value: object) -> object:
    """Take numbers and truth values in a table of options as the texts a variable would hold."""
    if not isinstance(value, Mapping):
        return value
    written = {True: "true", False: "false"}
    return {
        name: written[one] if isinstance(one, bool) else str(one) if isinstance(one, int | float) else one
        for name, one in value.items()
    }


def _is_variable(value: str) -> str:
    if not VARIABLE.fullmatch(value):
        raise ValueError(
            'not the name of a variable; write the name, e.g. "KOLENA_API_KEY", and export the key under it'
        )
    return value


def _is_ledger(value: str) -> str:
    if value:
        check_redis_address(value)
        if "@" in value:
            raise ValueError("write it without user name and password; redis_url has them")
    return value


def _wait(value: object) -> object:
    """Take `auto`, or a number, as a variable of the environment writes it."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


WrittenRate = Annotated[Rate, BeforeValidator(_rate), PlainSerializer(str)]


class Table(BaseModel):
    """Base of every table of settings: no unknown names, no changes afterwards, no input in pydantic's own messages."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        defer_build=True,  # only `Settings` as a whole is looked at, not each of its groups and tables
    )


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
    provider: Annotated[str, AfterValidator(_is_provider)] = Field(
        description="who runs the agents: `kolena`, `kindo`, or what an installed package brings; needed unless the"
        " name says it"
    )
    url: Annotated[str, AfterValidator(_plain_url)] = Field(
        description="the API's address", json_schema_extra={"hidden": True}
    )
    key_env: Annotated[str, AfterValidator(_is_variable)] = Field(
        description="the *name* of the environment variable that holds the key", json_schema_extra={"hidden": True}
    )
    tier: str = Field(
        "starter", description="the plan: Kolena's `starter`, `professional` or `enterprise` decides `limits.wait`"
    )
    limits: Limits
    max_files: int = Field(gt=0, description="files in one submission")
    max_file_bytes: int = Field(gt=0, description="bytes of one file; Kindo: as it stands in the request")
    max_submission_bytes: int | None = Field(
        None,
        gt=0,
        description="bytes of one submission; Kindo: of the whole request; unset where the provider states no total",
    )
    wait_seconds: Annotated[int | Literal["auto"], BeforeValidator(_wait)] = Field(
        0,
        description="wait so long for a run's end in the call that starts it, where the provider can (Kolena: 1 to"
        ' 120); `"auto"`: only for batches small enough to gain by it; 0: never',
    )
    on_uncertain: Literal["hold", "resubmit"] = Field(
        "hold",
        description="what becomes of a submission of which nobody can tell whether it was accepted, where the provider"
        " can't be asked: `hold` it for a person, or `resubmit` it after `settle_seconds`, up to three attempts in all,"
        " **which pays twice if it was**",
    )
    redis: Annotated[str, AfterValidator(_is_ledger)] = Field(
        "",
        description="the one Redis in which batches are started for this account, without password: where several"
        " fleets share this file, [each with a Redis of its own](scaling.md#several-redis); unset: any",
        json_schema_extra={"hidden": True},
    )
    input: str = Field(
        "", description="Kindo: the agent's input that takes the files; unset: `documents`, or the only one it has"
    )
    send: Literal["content", "reference"] = Field(
        "content", description="Kindo: put files' contents into the input, or links to them (`reference_url`)"
    )
    reference_url: str = Field(
        "", description="Kindo: with `send`, the address that a file's path within the source is appended to"
    )
    options: Annotated[Mapping[str, str], BeforeValidator(texts)] = Field(
        default_factory=dict,
        description="further settings of a [provider that another package brings](providers.md); a table",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Complete what was given by what the provider publishes."""
        if not isinstance(given, Mapping):
            return given
        name = str(given.get("name", ""))
        filled: dict[str, Any] = {"key_env": default_key_env(name), **given}
        if name in provider_names():
            filled.setdefault("provider", name)
        if filled.get("provider") not in provider_names():
            return filled
        kind = provider_kind(filled["provider"])
        if kind.url:
            filled.setdefault("url", kind.url)
        if kind.tiers:
            filled.setdefault("tier", next(iter(kind.tiers)))
        sizes = kind.size_limits
        filled.setdefault("max_files", sizes.files)
        filled.setdefault("max_file_bytes", sizes.file_bytes)
        filled.setdefault("max_submission_bytes", sizes.submission_bytes)
        limits = filled.get("limits", {})
        if isinstance(limits, Mapping):
            published = {**kind.rates, **kind.tiers.get(str(filled.get("tier")), {})}
            filled["limits"] = {**{endpoint.value: rate for endpoint, rate in published.items()}, **limits}
        return filled

    @field_validator("tier")
    @classmethod
    def _is_tier(cls, value: str, info: ValidationInfo) -> str:
        provider = info.data.get("provider")
        tiers = list(provider_kind(provider).tiers) if provider else []
        if tiers and value not in tiers:
            raise ValueError(f"it must be {_either(tiers)}; e.g. {tiers[0]}")
        return value

    @field_validator("options")
    @classmethod
    def _are_options(cls, value: Mapping[str, str], info: ValidationInfo) -> Mapping[str, str]:
        provider = info.data.get("provider")
        known = provider_kind(provider).options if provider else value
        for name in value:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known) or 'none'}"
                raise ValueError(f"{provider} has no option {name}; {hint}")
        return {**known, **value}

    @model_validator(mode="after")
    def _fits_provider(self) -> Account:
        longest = self.kind.capabilities.waits_s
        if self.wait_seconds and not longest:
            raise ValueError(f"{self.provider} can't wait for runs; remove wait_seconds")
        if isinstance(self.wait_seconds, int) and self.wait_seconds > longest:
            raise ValueError(f"wait_seconds must be 0 to {longest}, or auto")
        if self.send == "reference" and not self.reference_url:
            raise ValueError('send = "reference" needs reference_url')
        return self

    @property
    def kind(self) -> ProviderKind:
        """What is known of its provider."""
        return provider_kind(self.provider)

    @property
    def opening_options(self) -> Mapping[str, str]:
        """The settings that its adapter reads by name."""
        own = {"input": self.input, "send": self.send, "reference_url": self.reference_url}
        return {**own, **self.options}

    @property
    def rates(self) -> Mapping[EndpointClass, Rate]:
        """The limits by endpoint class."""
        return {endpoint: getattr(self.limits, endpoint.value) for endpoint in EndpointClass}

    @property
    def size_limits(self) -> SizeLimits:
        """What one submission may hold."""
        return SizeLimits(self.max_files, self.max_file_bytes, self.max_submission_bytes)

    def key(self) -> str:
        """Read the key from this process's environment or its file, now. Raises `CredentialsError` as `read_key`."""
        return read_key(self.key_env, account=self.name)


def _either(words: Sequence[str]) -> str:
    """Join words as in 'a', 'b' or 'c'."""
    shown = [repr(word) for word in words]
    return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def default_url_env(provider: str) -> str:
    """Name the variable a provider's own address is looked for in."""
    return provider.upper().replace("-", "_") + "_API_URL"


def default_key_env(account: str) -> str:
    """Name the variable an account's key is looked for in, unless it says otherwise."""
    return account.upper().replace("-", "_") + "_API_KEY"


def read_key(key_env: str, *, account: str) -> str:
    """Read a key by the name of its variable, or from the file that `KEY_ENV_FILE` names.

    Raises `CredentialsError` if it is unset, empty, unreadable or unfit for a header.
    """
    try:
        key = read_secret(key_env)
    except CredentialsError as error:
        raise CredentialsError(f"account {account}: {error}") from error
    if not key:
        raise CredentialsError(f"account {account}: no key; set it with: export {key_env}=…")
    if not key.isascii() or not key.isprintable() or " " in key:
        named = source_of(key_env)
        raise CredentialsError(
            f"account {account}: the value of {named} has characters no key has; copy it again, without quotes"
        )
    return key
