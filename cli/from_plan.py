"""What `run` and `submit` make of a saved plan: the batch it was made for, or a refusal before anything is sent."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.asked import Asked, choices_of, inputs_of, merged, set_options
from cli.output import counted, local_time
from cli.progress import duration
from cli.target import Target, manifest_of, never_listed, parse_agent, refuse_halving_groups
from config.connections import check_belongs
from config.logs import printable
from paceline.errors import ConfigError, FileProblem, SourceUnreachable, UsageError
from paceline.model import INPUT, BatchSpec, Choice, PlannedSubmission, SizeLimits
from paceline.roots import is_address, open_root
from paceline.sinks.places import canonical

if TYPE_CHECKING:
    from config.accounts import Account
    from config.schema import Settings
    from paceline.views import BatchView
    from producers.grouping import Grouping
    from producers.saved import Header, Saved

LOOKED_AT = 20_000
"""Files that are looked at before a plan is begun; each takes as long as in a listing."""

DAY_S = 86_400.0


def target_of(settings: Settings, asked: Asked) -> Target:
    """Take the batch from the plan. What was given besides must say the same; choices may differ, and then hold.

    Raises `UsageError` for a plan that was changed, doesn't fit what was given, or can't be run as it is any more.
    """
    from producers.saved import read_plan
    from producers.sources import Source, SourceKind

    if len(asked.sources) != 1:
        raise UsageError("a saved plan is run alone: name nothing beside it")
    saved = read_plan(asked.sources[0])
    header = saved.header
    spec = header.spec
    _refuse_other_options(asked, spec, saved.path)
    account = settings.account(spec.account)
    check_belongs(settings, account)
    _refuse_other_account(account, header, saved.path)
    if asked.agent and (given := parse_agent(settings, asked.agent)) != (account, spec.agent):
        raise _other("--agent", f"{given[0].name}:{given[1]}", f"{spec.account}:{spec.agent}", saved.path)
    made = choices_of(asked, account)
    grouping = _grouping(saved)
    refuse_halving_groups(asked, grouping)
    source = Source(spec.source, SourceKind.PLAN, saved, saved=saved)
    now = replace(spec, choices=made, priority=asked.priority or spec.priority)
    return Target(
        settings,
        account,
        source,
        now,
        account.size_limits,
        manifest_of(settings, spec),
        never_listed(settings, spec),
        grouping,
        planned=spec.choices,
    )


def check_fits(target: Target, settled: Mapping[str, str]) -> None:
    """Make sure that the plan's submissions stay within the limits as the agent turned out to be.

    What a submission weighs without files depends on it (the name of Kindo's input); the cuts left room for that.
    Raises `UsageError`.
    """
    saved, weights = target.source.saved, target.weights(settled)
    if saved is None or weights is None:
        return
    room, needed = saved.header.empty_bytes, weights.empty(target.spec.inputs)
    if needed > room:
        raise UsageError(
            f"plan {saved.path!r} leaves {room:,} bytes of a request for what isn't files, agent {target.spec.agent}"
            f" needs {needed:,}; nothing was sent. Set the account's `input` to {settled.get('input', '')!r}, and plan"
            " anew"
        )


def check_batch(target: Target, batch: BatchView | None) -> None:
    """Make sure that what is registered of the batch is this plan's; of a new one, that it can begin now.

    Raises `UsageError`.
    """
    saved = target.source.saved
    if saved is None:
        return
    if batch is not None:
        saved.check_begun(batch.manifest, batch.manifest_bytes, whole=batch.listed)
        return
    if not is_address(target.spec.source) and not Path(target.spec.source).exists():
        raise UsageError(f"the files of plan {saved.path!r} aren't there: mount or bring back {target.spec.source!r}")
    _refuse_passed_due(merged(target.planned, target.spec.choices), saved.path)


def say_other(target: Target, batch: BatchView) -> None:
    """Tell a person where a complete batch isn't what this plan says."""
    try:
        check_batch(target, batch)
    except UsageError:
        click.echo("It was made from another listing than this plan's; for this one, plan with another --to.", err=True)


def say_plan(target: Target, batch: BatchView | None) -> None:
    """Tell a person what is run: how old the plan is, and, before it is begun, whether its files are as they were."""
    saved = target.source.saved
    if saved is None:
        return
    header, facts = saved.header, saved.header.facts
    ago = age(time.time() - header.made_ms / 1000)
    what = f"{counted(facts.files, 'file')} in {counted(facts.submissions, 'submission')}"
    click.echo(printable(f"Plan {saved.path}: {what}, made {ago} ({local_time(header.made_ms)})."), err=True)
    if batch is not None or is_address(target.spec.source):
        return
    looked, right, wrong = _changed(saved)
    if wrong and not right:
        raise UsageError(
            f"plan {saved.path!r} is too old: none of {counted(wrong, 'submission')} has its files as they were;"
            " nothing was sent. Plan anew"
        )
    if wrong:
        some = "" if looked == facts.files else f"of the first {looked:,} files, "
        have = "has" if wrong == 1 else "have"
        click.echo(
            f"WARNING: {some}{counted(wrong, 'submission')} {have} a file that changed or vanished since; what can't"
            " be sent as planned ends as failed, unsent and unpaid; another --to with --skip-unchanged sends it later.",
            err=True,
        )


def age(seconds: float) -> str:
    """Write how long ago something was."""
    if seconds < 90:
        return "just now"
    if seconds < DAY_S:
        return f"{duration(seconds)} ago"
    return f"{counted(int(seconds // DAY_S), 'day')} ago"


def _grouping(saved: Saved) -> Grouping | None:
    """Return how a plan's files were grouped: by what was asked for, or by a list's own column."""
    from producers.grouping import parse_grouping

    options = saved.header.spec.options
    how, listed = options.get("groups", "").split(), False
    if "group_by" not in options and "source:list" in options:
        listed = bool(how) or any(entry.group for entry in islice(saved.entries(), LOOKED_AT))
    return parse_grouping(options.get("group_by"), cut="cut" in how, pack="pack" in how, listed=listed)


def _changed(saved: Saved) -> tuple[int, int, int]:
    """Look at the first files. Returns how many, how many submissions can be sent, and how many can't any more."""
    looked = right = wrong = 0
    root = open_root(saved.header.spec.source)
    for entry in _submissions(saved):
        looked += len(entry.files)
        try:
            root.check_all(entry.files)
            right += 1
        except SourceUnreachable as error:
            raise UsageError(f"the files of plan {saved.path!r} can't be reached: {error}") from error
        except FileProblem:
            wrong += 1
        if looked >= LOOKED_AT:
            break
    return looked, right, wrong


def _submissions(saved: Saved) -> Iterator[PlannedSubmission]:
    from producers.planning import Resume

    return (entry for entry in saved.planned(Resume()) if isinstance(entry, PlannedSubmission))


def _refuse_other_options(asked: Asked, spec: BatchSpec, path: str) -> None:
    from producers.filters import Rules

    rules = Rules(asked.include, asked.exclude, asked.case_sensitive, asked.hidden)
    options = {**inputs_of(asked), **set_options(asked), **dict(rules.options())}
    for name, value in options.items():
        if spec.options.get(name, "") != value:
            raise _other(_option(name), value, spec.options.get(name, "") or "none", path)
    if asked.files_per_run not in (None, spec.files_per_run):
        raise _other("--files-per-run", str(asked.files_per_run), str(spec.files_per_run), path)
    if asked.name and asked.name != spec.name:
        raise _other("--name", asked.name, spec.name or "none", path)
    if asked.to and sorted(map(canonical, asked.to)) != sorted(spec.to):
        raise _other("--to", " ".join(asked.to), " ".join(spec.to), path)


_OPTIONS = {"groups": "--cut-groups and --pack-groups", "skip": "--skip-unchanged", "source:case": "--case-sensitive"}


def _option(name: str) -> str:
    """Return what is typed for an option of a batch."""
    if name.startswith(INPUT):
        return f"--input {name.removeprefix(INPUT)}"
    return _OPTIONS.get(name, f"--{name.removeprefix('source:').replace('_', '-')}")


def _other(option: str, given: str, planned: str, path: str) -> UsageError:
    return UsageError(
        f"{option} {given!r} isn't what plan {path!r} was made with, which is {planned!r}; leave it out, or plan anew"
    )


def _refuse_other_account(account: Account, header: Header, path: str) -> None:
    from producers.saved import fingerprint

    spec = header.spec
    if (account.provider, account.url) != (spec.provider, spec.address):
        raise ConfigError(
            f"plan {path!r} was made for {spec.address}, account {account.name} is at {account.url} here; nothing was"
            " sent. Correct its address, or plan anew"
        )
    if account.size_limits != header.limits:
        was, now = _shown(header.limits), _shown(account.size_limits)
        raise UsageError(
            f"plan {path!r} was cut for other limits of account {account.name} ({was}) than are set now ({now});"
            " nothing was sent. Plan anew"
        )
    if fingerprint(account.opening_options) != header.weighing:
        raise UsageError(
            f"plan {path!r} was made while account {account.name} had other settings (`input`, `send`, `reference_url`"
            " or `options`); nothing was sent. Plan anew, or set them as they were"
        )


def _shown(limits: SizeLimits) -> str:
    whole = "any size" if limits.submission_bytes is None else f"{limits.submission_bytes:,} bytes"
    return f"{limits.files} files a run, {limits.file_bytes:,} bytes a file, {whole} in all"


def _refuse_passed_due(choices: Mapping[str, str], path: str) -> None:
    due = choices.get(Choice.DUE)
    if due and datetime.fromisoformat(due) < datetime.now(UTC):
        raise UsageError(f"the due date of plan {path!r}, {due}, has passed: give another one with --due")
