"""What can be set about a schedule: when a batch is started by itself, over what, and who is told of its end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from config.accounts import NAME, Table
from config.accounts import texts as _texts
from paceline.errors import UsageError
from paceline.schedules.deadline import check_deadline
from paceline.schedules.due import Cron
from paceline.schedules.rendering import check_fields
from paceline.sinks.places import canonical

_SQLITE = "sqlite:///"


def _several(value: object) -> object:
    """Take one text as a list of one; in a variable of the environment a list is written as JSON."""
    if isinstance(value, str):
        if value.startswith("["):
            try:
                return json.loads(value)
            except ValueError:
                return (value,)
        return (value,)
    return value


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _checked(check: Callable[[str], object]) -> Callable[[str], str]:
    def look(value: str) -> str:
        try:
            check(value)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return value

    return look


def _address_or_words(value: object) -> object:
    """Refuse a command that isn't a list: whether a text is one word or several can't be told."""
    if isinstance(value, str) and not value.startswith(("[", "http://", "https://")):
        raise ValueError('write an address, https://HOST/…, or a command as a list of words: ["/usr/local/bin/notify"]')
    return _several(value)


Texts = Annotated[tuple[str, ...], BeforeValidator(_several)]
Place = Annotated[str, AfterValidator(_checked(check_fields))]


class Schedule(Table):
    """A batch that is started by itself, at times."""

    name: str
    folder: Path
    cron: str = Field(
        description="when: minute, hour, day, month, weekday (`0 2 * * *`), or six fields with seconds first"
    )
    zone: str = Field("UTC", description="the time zone of `cron` and `deadline`, as `Europe/Berlin`")
    source: Annotated[tuple[Place, ...], BeforeValidator(_several)] = Field(
        description="what to run, as SOURCE of `paceline run`: a text or a list; `{date}`, `{time}`, `{year}`,"
        " `{month}`, `{day}` and `{name}` are filled in from the due time"
    )
    agent: str = Field(description="who runs it: `ACCOUNT:ID`")
    to: Annotated[tuple[Place, ...], BeforeValidator(_several)] = Field(
        description="where results go: a text or a list, with the same placeholders; what belongs to one batch must"
        " differ from due time to due time"
    )
    files_per_run: int | None = Field(None, gt=0, description="as `--files-per-run`")
    group_by: str | None = Field(None, description="as `--group-by`")
    cut_groups: bool = Field(False, description="as `--cut-groups`")
    pack_groups: bool = Field(False, description="as `--pack-groups`")
    include: Texts = Field((), description="as `--include`: a text or a list")
    exclude: Texts = Field((), description="as `--exclude`: a text or a list")
    hidden: bool = Field(False, description="as `--hidden`")
    case_sensitive: bool = Field(False, description="as `--case-sensitive`")
    skip_unchanged: bool = Field(False, description="leave out what succeeded before and hasn't changed since")
    checksum: bool = Field(False, description="with `skip_unchanged`: compare contents")
    priority: int = Field(0, ge=-1000, le=1000, description="as `--priority`")
    inputs: Annotated[Mapping[str, str], BeforeValidator(_texts)] = Field(
        default_factory=dict, description="further inputs of a Kindo agent, by name; a table"
    )
    wait_seconds: Annotated[str | None, BeforeValidator(_number_as_text)] = Field(
        None, description="as `--wait-seconds`: a number or `auto`"
    )
    max_runs: int | None = Field(None, ge=0, description="as `--max-runs`, for each night")
    max_credits: float | None = Field(None, ge=0, description="as `--max-credits`, for each night")
    max_failures: Annotated[str | None, BeforeValidator(_number_as_text)] = Field(
        None, description="as `--max-failures`: a number, a share like `5%`, or `none`"
    )
    isolate: bool = Field(False, description="as `--isolate`")
    isolate_runs: int | None = Field(None, ge=0, description="as `--isolate-runs`")
    catch_up: Literal["latest", "all", "none"] = Field(
        "latest", description="of the due times that passed while nothing ticked: start the last, all, or none"
    )
    overlap: Literal["skip", "queue"] = Field(
        "skip", description="while the night before isn't complete: leave the next out, or let it wait"
    )
    deadline: Annotated[str, AfterValidator(_checked(lambda text: text and check_deadline(text)))] = Field(
        "", description="by when a night must be done: `06:00`, the next time the clock of `zone` shows that, or `4h`"
    )
    tell: Annotated[tuple[str, ...], BeforeValidator(_address_or_words)] = Field(
        (),
        description="whom to tell what went wrong: a web address, or a command as a list of words",
        json_schema_extra={"hidden": True},
    )
    tell_success: bool = Field(False, description="tell of nights that went well, too")

    @field_validator("name")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError("no name of a schedule; use a-z, 0-9, - and _")
        return value

    @field_validator("zone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        return _checked(lambda zone: Cron("0 0 * * *", zone))(value)

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        return _checked(Cron)(value)

    @field_validator("source", "to")
    @classmethod
    def _is_something(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not value or not all(value):
            raise ValueError('it names nothing; e.g. "inbox"' if info.field_name == "source" else 'e.g. "out/{date}"')
        if info.field_name == "source" and ("-" in value or any(one.endswith(".plan") for one in value)):
            raise ValueError("neither stdin nor a saved plan can be run night after night; e.g. a folder, or x.csv")
        return value

    @field_validator("agent")
    @classmethod
    def _is_agent(cls, value: str) -> str:
        if not re.fullmatch(r"[^\s:]+:[^\s:]+", value):
            raise ValueError("write ACCOUNT:ID, e.g. kolena:42")
        return value

    @field_validator("tell")
    @classmethod
    def _is_reachable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value and value[0].lower().startswith(("http://", "https://")):
            parts = urlsplit(value[0])
            if len(value) > 1 or not parts.hostname or "@" in parts.netloc:
                raise ValueError("write one address, https://HOST/…, without user; or a command as a list of words")
        elif value and not value[0]:
            raise ValueError('a command is a list of words; e.g. ["/usr/local/bin/notify", "--team", "data"]')
        return value

    @field_validator("checksum")
    @classmethod
    def _compares(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not info.data.get("skip_unchanged"):
            raise ValueError("it says how skip_unchanged compares; set skip_unchanged, too, e.g. to true")
        return value

    @property
    def times(self) -> Cron:
        """Its due times."""
        return Cron(self.cron, self.zone)

    def source_path(self, text: str) -> str:
        """Return a rendered source with its path absolute: relative ones start at the folder of `paceline.toml`."""
        return text if "://" in text else str(self.folder / Path(text).expanduser())

    def place(self, text: str) -> str:
        """Return a rendered destination as batches know it. Raises `UsageError`."""
        if text.startswith(_SQLITE) and not text.startswith(_SQLITE + "/"):
            text = _SQLITE + quote(str(self.folder / unquote(text.removeprefix(_SQLITE))), safe="/")
        elif "://" not in text:
            slash = "/" if text.endswith("/") else ""
            text = str(self.folder / Path(text).expanduser()) + slash
        return canonical(text)
