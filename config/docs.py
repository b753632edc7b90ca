"""Writes `docs/settings.md` from the settings themselves: `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from config.accounts import Account, Limits
from config.names import Way, variable_of, written_toml
from config.schedules import Schedule
from config.schema import GROUPS
from paceline.model import EndpointClass
from paceline.providers.kinds import ProviderKind, provider_kind

_HEAD = """\
# Settings

Nothing has to be set but a key:

```sh
export KOLENA_API_KEY=…          # gives the account `kolena`
paceline run invoices/ --agent kolena:42 --to out
```

Everything else has a default. To change one, write it into `paceline.toml` in the current folder (or in the file that
`PACELINE_CONFIG` names):

```toml
settle_seconds = 60
redis_url = "redis://redis.internal:6379/0"

[accounts.kolena]
tier = "enterprise"
[accounts.kolena.limits]
add = "40/60s"

[accounts.archive]               # a second key of the same provider
provider = "kolena"
key_env = "ARCHIVE_KOLENA_KEY"   # the name of the variable, never the key
```

or set the variable beside it in the tables, which wins over the file. An empty variable counts as unset. A name that
doesn't exist is an error with a hint, in the file and in the environment, and nothing starts. All times are seconds.

Keys are never settings: they are read from the environment where they are used, and stand in no `paceline.toml`.
(Flower's login, a password in `redis_url` and the address in `tell` may: then keep the file to yourself.) Beside the
accounts' keys there are `PACELINE_WEBHOOK_SECRET`, with which deliveries to a webhook are signed (`whsec_` and Base64,
or any text of 16 bytes or more), and for PostgreSQL what libpq reads: `PGPASSWORD`, or `~/.pgpass`.

Docker, Kubernetes and systemd hand secrets out as files. Every secret can be had from one, by a variable with `_FILE`
behind its name; blank space around it doesn't count, and both variables at once are refused:

```sh
export KOLENA_API_KEY_FILE=/run/secrets/kolena_api_key       # gives the account `kolena` too
```

So it is for each account's key, `PACELINE_REDIS_URL` (which may hold a password), `PACELINE_WEBHOOK_SECRET`,
`KOLENA_WEBHOOK_SECRET`, `PACELINE_FLOWER_LOGIN` and `FLOWER_BASIC_AUTH`. A key's file is read at every request, so one
that is replaced needs no restart; Redis' address and Flower's login are read at the start.

*Made from the code by `make docs`; a test fails when this page is old.*
"""

_ACCOUNTS = """\
## Accounts

An account is a key at a provider, with its own limits. `KOLENA_API_KEY` gives the account `kolena`, `KINDO_API_KEY` the
account `kindo`; `KOLENA_API_URL` and `KINDO_API_URL` move them to another address. More accounts are tables
`[accounts.NAME]`, with names of a–z, 0–9, - and _; in variables NAME is written in capitals. **Keys** are read from the
environment or their file by the process that sends requests, at that moment, and are stored nowhere; a key in
`paceline.toml` is refused.
"""

_RATES = """\
### Limits

Written `REQUESTS/WINDOW`: `"40/60s"`, `"40/min"`, `"600/1m"`. They hold for all workers together. Kolena publishes
today only what `wait` starts from; the others stood on older pages or are careful guesses. A provider that answers 429
is believed over all of them.
"""


_SCHEDULES = """\
## Schedules

A table `[schedules.NAME]` is a batch that is [started by itself](schedules.md); names are like those of accounts. It
needs `cron`, `source`, `agent` and `to`. Relative paths start at the folder of `paceline.toml`. In a variable, a list
is written as JSON: `PACELINE_SCHEDULES__NIGHTLY__TELL=["notify", "--team", "data"]`.
"""


def pages() -> str:
    """Return the whole page as Markdown."""
    groups = [f"## {group.__name__}\n\n{group.__doc__}\n\n{_table(group, ())}" for group in GROUPS]
    accounts = f"{_ACCOUNTS}\n{_table(Account, ('accounts', 'NAME'))}"
    limits = f"{_RATES}\n{_table(Limits, ('accounts', 'NAME', 'limits'))}"
    schedules = f"{_SCHEDULES}\n{_table(Schedule, ('schedules', 'NAME'))}"
    return "\n".join([_HEAD, *groups, accounts, limits, _defaults(), schedules])


def _table(model: type[BaseModel], above: Way) -> str:
    rows = ["| setting | variable | default | |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if field.description:
            way = (*above, name, *{"options": ("OPTION",), "inputs": ("INPUT",)}.get(name, ()))
            rows.append(
                f"| `{'.'.join(way)}` | `{variable_of(way)}` | {_default(field, model)} | {field.description} |"
            )
    return "\n".join(rows) + "\n"


def _default(field: FieldInfo, model: type[BaseModel]) -> str:
    if field.default is PydanticUndefined and model is Schedule:
        return "needed" if field.is_required() else "none"
    if field.default is PydanticUndefined:
        return "see below" if field.is_required() else "the provider's"
    if field.default in ((), ""):
        return "none" if model is Schedule else f"`{written_toml(field.default)}`"
    return "unset" if field.default is None else f"`{written_toml(field.default)}`"


def _defaults() -> str:
    return (
        "\n".join(["### What a provider's accounts start from\n", "| | Kolena | Kindo |", "|---|---|---|", *_rows()])
        + "\n"
    )


def _rows() -> Iterator[str]:
    kinds = [provider_kind(name) for name in ("kolena", "kindo")]
    yield _row("url", [kind.url for kind in kinds])
    yield _row("key_env", ["`NAME_API_KEY`"] * len(kinds))
    for name in Limits.model_fields:
        yield _row(f"limits.{name}", [_rates(kind, EndpointClass(name)) for kind in kinds])
    for name in ("files", "file_bytes", "submission_bytes"):
        yield _row(f"max_{name}", [_number(getattr(kind.size_limits, name)) for kind in kinds])


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| `{name}` | {' | '.join(cells)} |"


def _rates(kind: ProviderKind, endpoint: EndpointClass) -> str:
    by_tier = [f"{rates[endpoint]} ({tier})" for tier, rates in kind.tiers.items() if endpoint in rates]
    return ", ".join(by_tier) or str(kind.rates[endpoint])


def _number(value: int | None) -> str:
    return "unset" if value is None else f"{value:,}"


if __name__ == "__main__":
    sys.stdout.write(pages())
