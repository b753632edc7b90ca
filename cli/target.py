"""What a batch is asked to be: the options that `run`, `submit` and `plan` share, checked and made absolute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from paceline.errors import UsageError
from paceline.model import BatchSpec, SizeLimits

if TYPE_CHECKING:
    from config.accounts import Account
    from config.schema import Settings
    from paceline.views import Views
    from producers.sources import Source

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Target:
    """A batch that could be started: where its files are, who runs them, where results go.

    `limits` are the account's, with the files per run asked for; `manifest` is a path; `exclude` folders of ours that
    are never part of the file set.
    """

    settings: Settings
    account: Account
    source: Source
    spec: BatchSpec
    limits: SizeLimits
    manifest: str
    exclude: tuple[str, ...]


def target_options(function: F) -> F:
    """Add the options that say what a batch is."""
    agent = click.option("--agent", required=True, metavar="ACCOUNT:ID", help="Like kolena:42: who runs the files.")
    return agent(file_set_options(function))


def file_set_options(function: F) -> F:
    """Add those of the options that don't say who runs the files."""
    options = [
        click.argument("source"),
        click.option("--files-per-run", type=click.IntRange(1), metavar="N", help="Files in one run; default: 300."),
        click.option("--name", default="", help="A name for the batch; a different name is a different batch."),
        click.option(
            "--priority",
            type=click.IntRange(-1000, 1000),
            default=0,
            show_default=True,
            help="Higher goes first on an account.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def to_option(*, required: bool) -> Callable[[F], F]:
    """Add `--to`."""
    text = "Folder for the results; made if missing. Repeatable."
    return click.option("--to", "to", multiple=True, required=required, metavar="FOLDER", help=text)


def make_target(
    settings: Settings,
    source_text: str,
    *,
    agent: str,
    to: tuple[str, ...],
    files_per_run: int | None,
    name: str,
    priority: int,
) -> Target:
    """Check the options against the settings. Raises `UsageError` or `ConfigError`; touches nothing."""
    from producers.sources import resolve_source

    source = resolve_source(source_text)
    account, agent_id = parse_agent(settings, agent)
    most = account.size_limits.files
    if files_per_run is not None and files_per_run > most:
        raise UsageError(f"--files-per-run {files_per_run}: account {account.name} takes at most {most} files a run")
    outputs = tuple(str(Path(folder).expanduser().absolute()) if "://" not in folder else folder for folder in to)
    for folder in outputs:
        if folder == source.location:
            raise UsageError(f"--to {folder!r} is the source itself: results would become part of the file set")
    spec = BatchSpec(
        source=source.location,
        account=account.name,
        provider=account.provider,
        agent=agent_id,
        to=outputs,
        files_per_run=files_per_run or most,
        name=name,
        priority=priority,
        address=account.url,
    )
    limits = SizeLimits(most, account.size_limits.file_bytes, account.size_limits.submission_bytes)
    kept = str(settings.home / "batches" / spec.batch_id())
    manifest = str(Path(outputs[0] if outputs else kept) / "manifest.jsonl")
    return Target(settings, account, source, spec, limits, manifest, (*outputs, str(settings.home)))


def excluded(target: Target, views: Views) -> tuple[str, ...]:
    """List the folders that are never part of the file set: ours, and every batch's output inside the source."""
    root = Path(target.source.location)
    batches = [views.find_batch(batch_id) for batch_id in views.batch_ids()]
    outputs = {folder for batch in batches if batch is not None for folder in batch.to}
    return (*target.exclude, *sorted(folder for folder in outputs if root in Path(folder).parents))


def parse_agent(settings: Settings, text: str) -> tuple[Account, str]:
    """Take `ACCOUNT:ID` or `PROVIDER:ID` apart. Raises `UsageError`, or `ConfigError` for an unknown account."""
    word, colon, agent = text.partition(":")
    if not word or not colon or not agent or any(c.isspace() or c == ":" for c in agent):
        raise UsageError(f"--agent {text!r}: write ACCOUNT:ID, like kolena:42")
    account = settings.account(word)
    if account.provider == "kolena" and not (agent.isascii() and agent.isdigit()):
        raise UsageError(f"--agent {text!r}: a Kolena agent's id is a number, like kolena:42")
    return account, agent
