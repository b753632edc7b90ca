"""The options that say what a batch is and how it is run: one list for `run`, `submit` and `plan`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from paceline.errors import UsageError
from paceline.model import INPUT, Choice

if TYPE_CHECKING:
    from config.accounts import Account

F = TypeVar("F", bound=Callable[..., Any])

ISOLATE_RUNS = 50
"""Of `--isolate` without a number: one bad file among 300 takes up to 18 runs to name."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, as it was written; None and empty: not said."""

    sources: tuple[str, ...]
    agent: str | None
    to: tuple[str, ...]
    files_per_run: int | None = None
    name: str = ""
    priority: int = 0
    inputs: tuple[str, ...] = ()
    wait_seconds: str | None = None
    due: str | None = None
    max_runs: int | None = None
    max_credits: float | None = None
    max_failures: str | None = None
    isolate: bool = False
    isolate_runs: int | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    case_sensitive: bool = False
    hidden: bool = False
    group_by: str | None = None
    cut_groups: bool = False
    pack_groups: bool = False
    skip_unchanged: bool = False
    checksum: bool = False


def asking(*, agent_and_to: bool) -> Callable[[F], F]:
    """Add the options, and hand them to the function as `asked`.

    `agent_and_to`: both must be given, unless SOURCE is a saved plan, which says them.
    """

    def decorate(function: F) -> F:
        @wraps(function)
        def command(*args: Any, **given: Any) -> Any:
            asked = Asked(**{field.name: given.pop(field.name) for field in fields(Asked)})
            if agent_and_to:
                _need_agent_and_to(asked)
            return function(*args, asked=asked, **given)

        decorated: Any = command
        for option in reversed(_options(agent_and_to)):
            decorated = option(decorated)
        found: F = decorated
        return found

    return decorate


def _need_agent_and_to(asked: Asked) -> None:
    """Complain as Click does. Raises `click.UsageError`."""
    from producers.saved import looks_saved

    missing = [option for option, given in (("--agent", asked.agent), ("--to", asked.to)) if not given]
    if missing and not any(map(looks_saved, asked.sources)):
        raise click.UsageError(f"Missing option '{missing[0]}'.", click.get_current_context(silent=True))


def _options(agent_and_to: bool) -> list[Callable[[Any], Any]]:
    unless = "  [required, but for a saved plan]" if agent_and_to else ""
    agent_help = f"Like kolena:42: who runs the files.{unless}"
    if not agent_and_to:
        agent_help = "Like kolena:42; default: your only account, else kolena."
    return [
        click.argument("sources", nargs=-1, required=True, metavar="SOURCE..."),
        click.option(
            "--agent",
            metavar="ACCOUNT:ID" if agent_and_to else "ACCOUNT[:ID]",
            help=agent_help,
        ),
        click.option(
            "--to",
            multiple=True,
            metavar="DEST",
            help=f"Where results go: a folder, x.jsonl, x.csv, x.parquet, a database … Repeatable.{unless}",
        ),
        click.option("--files-per-run", type=click.IntRange(1), metavar="N", help="Files in one run; default: 300."),
        click.option("--name", default="", help="A name for the batch; a different name is a different batch."),
        click.option(
            "--priority",
            type=click.IntRange(-1000, 1000),
            default=0,
            show_default=True,
            help="Higher goes first on an account.",
        ),
        click.option(
            "--input",
            "inputs",
            multiple=True,
            metavar="NAME=VALUE",
            help="A further input of a Kindo agent. Repeatable; other inputs are another batch.",
        ),
        click.option(
            "--wait-seconds",
            metavar="N|auto",
            help="Wait so long for a run's end in the call that starts it; auto: for small batches. 0: don't.",
        ),
        click.option("--due", metavar="TIME", help="When runs are due, for the provider: like 2026-12-01T18:00+01:00."),
        click.option(
            "--max-runs", type=click.IntRange(0), metavar="N", help="Never start more runs than this; 0: no limit."
        ),
        click.option(
            "--max-credits",
            type=click.FloatRange(0),
            metavar="N",
            help="Start no run that could pass so many credits; 0: no limit.",
        ),
        click.option(
            "--max-failures",
            metavar="N|P%|none",
            help="Stop, and exit 1, above so many failed submissions; a share counts from 20 on.",
        ),
        click.option("--isolate", is_flag=True, help="Halve what failed until the bad files are named; costs runs."),
        click.option(
            "--isolate-runs",
            type=click.IntRange(0),
            metavar="N",
            help=f"Runs that halving may cost in all; default with --isolate: {ISOLATE_RUNS}.",
        ),
        click.option("--include", multiple=True, metavar="PATTERN", help="Only files like this: '*.pdf'. Repeatable."),
        click.option("--exclude", multiple=True, metavar="PATTERN", help="No files or folders like this. Repeatable."),
        click.option("--case-sensitive", is_flag=True, help="Patterns tell A from a; without it they don't."),
        click.option("--hidden", is_flag=True, help="Hidden files and folders (a leading dot) too."),
        click.option(
            "--group-by",
            metavar="RULE",
            help="What belongs together in one run: directory, column:NAME (of a list) or regex:PATTERN (of the path).",
        ),
        click.option("--cut-groups", is_flag=True, help="Cut a group too large for one run instead of leaving it out."),
        click.option("--pack-groups", is_flag=True, help="Let several groups share a run; each stays whole."),
        click.option(
            "--skip-unchanged",
            is_flag=True,
            help="Leave out what succeeded before with this agent and options, and hasn't changed since.",
        ),
        click.option("--checksum", is_flag=True, help="With --skip-unchanged: compare contents, not size and time."),
    ]


def set_options(asked: Asked) -> dict[str, str]:
    """Return what changes which files are in the batch, and how they are cut, as options of it. Raises `UsageError`."""
    if asked.checksum and not asked.skip_unchanged:
        raise UsageError("--checksum says how --skip-unchanged compares: add --skip-unchanged")
    said = {
        "group_by": asked.group_by or "",
        "groups": " ".join(["cut"] * asked.cut_groups + ["pack"] * asked.pack_groups),
        "skip": ("content" if asked.checksum else "unchanged") if asked.skip_unchanged else "",
    }
    return {name: value for name, value in said.items() if value}


def inputs_of(asked: Asked) -> dict[str, str]:
    """Return the agent's inputs as options of the batch. Raises `UsageError`."""
    found: dict[str, str] = {}
    for text in asked.inputs:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise UsageError(f"--input {text!r}: write NAME=VALUE")
        if INPUT + name in found:
            raise UsageError(f"--input {name!r} is given twice")
        found[INPUT + name] = value
    return found


def choices_of(asked: Asked, account: Account) -> dict[str, str]:
    """Return the choices that were made, checked against what the provider can do. Raises `UsageError`."""
    can, provider = account.kind.capabilities, account.provider
    made: dict[str, str] = {}
    if asked.wait_seconds is not None:
        made[Choice.WAIT] = _wait(asked.wait_seconds, provider, can.waits_s)
    if asked.due is not None:
        if not can.due_dates:
            raise UsageError(f"--due: {provider} takes no due date; leave it out")
        if asked.wait_seconds not in (None, "0"):
            raise UsageError("--due and --wait-seconds: the call that waits takes no due date; leave one of them out")
        made[Choice.DUE] = _due(asked.due)
    if asked.max_runs is not None:
        made[Choice.MAX_RUNS] = str(asked.max_runs or "")
    if asked.max_credits is not None:
        if not math.isfinite(asked.max_credits):
            raise UsageError(f"--max-credits {asked.max_credits}: write a number of credits")
        if asked.max_credits and not can.reports_credits:
            raise UsageError(f"--max-credits: {provider} doesn't say what a run costs; use --max-runs")
        made[Choice.MAX_CREDITS] = repr(asked.max_credits).removesuffix(".0") if asked.max_credits else ""
    if asked.max_failures is not None:
        made[Choice.MAX_FAILURES] = _tolerance(asked.max_failures)
    if asked.isolate or asked.isolate_runs is not None:
        most = ISOLATE_RUNS if asked.isolate_runs is None else asked.isolate_runs
        made[Choice.ISOLATE] = str(most or "")
    return made


def default_choices(account: Account) -> dict[str, str]:
    """Return what an account wants for a new batch that says nothing else."""
    return {Choice.WAIT: str(account.wait_seconds)} if account.wait_seconds else {}


def merged(before: Mapping[str, str], made: Mapping[str, str]) -> dict[str, str]:
    """Return the choices that hold after some were made; an empty one is taken back."""
    return {name: value for name, value in {**before, **made}.items() if value}


def _wait(text: str, provider: str, longest: int) -> str:
    if text != "auto" and not re.fullmatch("[0-9]{1,9}", text, re.ASCII):
        raise UsageError(f"--wait-seconds {text!r}: write a number of seconds, or auto")
    if text != "0" and not longest:
        raise UsageError(f"--wait-seconds: {provider} can't wait for runs; leave it out")
    if text != "auto" and int(text) > longest:
        raise UsageError(f"--wait-seconds {text}: {provider} waits at most {longest} seconds")
    return text if text == "auto" else str(int(text))


def _due(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--due {text!r}: no time; write it like 2026-12-01T18:00+01:00") from error
    if moment < datetime.now(UTC):
        raise UsageError(f"--due {text!r} has passed already")
    return moment.isoformat(timespec="seconds")


def _tolerance(text: str) -> str:
    if text == "none":
        return ""
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        return str(int(text))
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?%", text, re.ASCII) and float(text[:-1]) <= 100:
        return f"{float(text[:-1]):g}%"
    raise UsageError(f"--max-failures {text!r}: write a number of submissions, a share like 5%, or none")
