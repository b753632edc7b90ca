"""Everything that can be set, with its default and a description.

The groups exist for readers: `docs/settings.md` shows one table for each, and a function that needs only the waiting
times can ask for `Waits`. In the file and in variable names there are no groups: `settle_seconds` and
`PACELINE_SETTLE_SECONDS`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from config.accounts import Account, Table, default_key_env, read_key
from config.redis_address import check_redis_address
from config.schedules import Schedule
from paceline.errors import ConfigError
from paceline.providers.kinds import provider_names


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Place(Table):
    """Where things are kept."""

    redis_url: SecretStr | None = Field(
        None,
        description="the Redis to use: `redis://`, `rediss://` or `unix://`; unset: an embedded one is started",
        json_schema_extra={"hidden": True},
    )
    home: Path = Field(
        Path(".paceline"), description="folder of the embedded Redis, manifests, logs and pid files, kept private"
    )
    keep_batches_days: float = Field(
        30, ge=0, description="how long `paceline gc` leaves complete batches in the ledger; 0: for ever"
    )
    allow_unsafe_redis: bool = Field(
        False, description="work with a Redis that could lose paid work (no append-only file, or eviction)"
    )
    redis_connect_seconds: float = Field(5, gt=0, description="connecting to Redis")
    redis_answer_seconds: float = Field(
        30, gt=2, description="waiting for an answer of Redis; longer than a slow disk holds up one write"
    )

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            check_redis_address(value.get_secret_value())
        return value


class Pace(Table):
    """How requests are let go."""

    permit_life_seconds: float = Field(1.0, gt=0, description="how old a permit may be when its first byte leaves")
    pace_margin_seconds: float = Field(
        0.1,
        ge=0,
        description="added to each rate window, with the permit's life, so that arrivals never exceed a limit",
    )
    retry_after_longest_seconds: float = Field(3600, gt=0, description="the longest `Retry-After` that is believed")
    retry_failed_runs: int = Field(
        0, ge=0, description="a run that failed is sent again by itself up to so many times; each is paid for"
    )
    feed_window: int = Field(64, gt=0, description="submissions released ahead of the permits, per account")


class Upload(Table):
    """How files are sent and answers read."""

    upload_base_seconds: float = Field(60, gt=0, description="time every POST has, whatever its size")
    upload_bytes_per_second: float = Field(
        1_000_000, gt=0, description="slowest acceptable upload; a POST's total deadline is base + bytes / this"
    )
    connect_seconds: float = Field(10, gt=0, description="connecting to a provider")
    read_seconds: float = Field(60, gt=0, description="between two reads of an answer")
    write_seconds: float = Field(60, gt=0, description="between two writes of a request")
    answer_bytes: int = Field(100_000_000, gt=0, description="the longest answer that is read, after decompression")


class Waits(Table):
    """How long to wait for what."""

    settle_seconds: float = Field(
        120,
        ge=0,
        description="after an unclear POST, how long a run may take to show up in lists before its absence counts",
    )
    hold_after_seconds: float = Field(
        3600, gt=0, description="an uncertain submission without proof after this long waits for a person"
    )
    lease_extra_seconds: float = Field(
        30, gt=0, description="past a POST's deadline, until its submission counts as abandoned by its worker"
    )
    poll_first_seconds: float = Field(1.5, gt=0, description="first question after a run, counted from its start")
    poll_again_seconds: float = Field(
        5,
        ge=0.5,
        description="between two questions about a run, young and one of few; the vendors say five to ten seconds",
    )
    poll_refused_seconds: float = Field(
        30, gt=0, le=60, description="next question after runs of an account whose key or credit was refused"
    )
    not_found_grace_seconds: float = Field(
        120, ge=0, description="how long after its start a run may be unknown to its provider"
    )
    run_limit_seconds: float = Field(
        21_600, gt=0, description="a run still going after this long is finished as `failed` (`timed_out`)"
    )
    rescue_seconds: float = Field(3, gt=0, description="between two looks for steps that are overdue")
    rescue_grace_seconds: float = Field(5, gt=0, description="how late a step may be before it is started again")
    export_again_seconds: float = Field(
        30, gt=0, le=30, description="an export that isn't recorded after this long is tried again"
    )
    release_lease_seconds: float = Field(
        30, gt=0, description="a submission released to the queue and not begun after this long is released again"
    )


class Fleet(Table):
    """Workers and their messages."""

    workers: int = Field(
        1, gt=0, le=64, description="upload processes of the embedded fleet; one more does everything else"
    )
    upload_threads: int = Field(8, gt=0, le=256, description="uploads at once in one process")
    control_threads: int = Field(4, gt=0, le=256, description="other steps at once in one process")
    events: bool = Field(
        False, description="send the task events that Flower's live pages show; costs about 40 % of message throughput"
    )
    message_wait_seconds: float = Field(
        1,
        gt=0,
        le=1,
        description="how long a worker's question for messages stays open; a worker that is told to end waits for it",
    )
    visibility_timeout_seconds: float = Field(
        86_400,
        gt=0,
        description="until kombu delivers an unacknowledged message again; our workers note none in Redis, so that it"
        " matters only for older ones beside them",
    )
    results_ttl_seconds: float = Field(
        604_800, ge=1, description="how long Celery's results backend keeps a run's payload"
    )


class Nights(Table):
    """When schedules are looked at, and how long to wait for what."""

    schedule_tick_seconds: float = Field(20, gt=0, description="between two looks at all schedules, sent by beat")
    schedule_late_seconds: float = Field(
        300, gt=0, description="a due time that is noticed later than this was missed: `catch_up` decides about it"
    )
    schedule_lease_seconds: float = Field(
        60, gt=0, description="a process that plans a night and is silent for so long is taken for dead"
    )
    schedule_retry_seconds: float = Field(
        60, gt=0, description="until a night is tried again that couldn't be started now, or told of; then doubled"
    )


class Watching(Table):
    """Where Flower shows workers, messages and batches."""

    flower_port: int = Field(5555, ge=1, le=65535, description="where `paceline flower` listens")
    flower_address: str = Field(
        "127.0.0.1", description="the address it listens on; one that other machines reach wants a login"
    )
    flower_login: SecretStr | None = Field(
        None,
        description="`USER:PASSWORD` that Flower asks for; so does the variable `FLOWER_BASIC_AUTH`, which wins",
        json_schema_extra={"hidden": True},
    )

    @field_validator("flower_login")
    @classmethod
    def _is_login(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            user, _, password = value.get_secret_value().partition(":")
            if not (user and password):
                raise ValueError("it must be USER:PASSWORD")
            if not value.get_secret_value().isascii():
                raise ValueError("it must be ASCII, as browsers don't agree on how to send anything else")
        return value


class Logs(Table):
    """What is logged."""

    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        "info", description="least important level shown"
    )
    log_format: Annotated[Literal["text", "json"], BeforeValidator(_lower)] = Field(
        "text", description="a line for people, or one JSON object per line"
    )


GROUPS: tuple[type[Table], ...] = (Place, Pace, Upload, Waits, Fleet, Nights, Watching, Logs)


class Settings(Place, Pace, Upload, Waits, Fleet, Nights, Watching, Logs):
    """All settings of one process. Built by `config.settings.load_settings`; constructing it directly reads nothing."""

    accounts: Mapping[str, Account] = Field(default_factory=dict, description="the accounts, by name")
    schedules: Mapping[str, Schedule] = Field(default_factory=dict, description="the schedules, by name")

    def account(self, word: str) -> Account:
        """Find an account by its name, or by its provider where that provider has only one.

        Raises `CredentialsError` for `kolena` or `kindo` without a key, `ConfigError` for a word that names nothing.
        """
        if word in self.accounts:
            return self.accounts[word]
        of_provider = [account for account in self.accounts.values() if account.provider == word]
        if len(of_provider) == 1:
            return of_provider[0]
        if of_provider:
            names = ", ".join(account.name for account in of_provider)
            raise ConfigError(f"{word} has several accounts; name one of them: {names}")
        if word in provider_names():
            read_key(default_key_env(word), account=word)
        known = sorted({*self.accounts, *(provider_names() if not self.accounts else ())})
        close = difflib.get_close_matches(word, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
        shown = re.sub(r"[^\w.-]", "?", word)[:40]
        raise ConfigError(f"no account {shown}; {hint}")
