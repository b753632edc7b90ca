"""What a batch is asked to be: the options that `run`, `submit` and `plan` share, checked and made absolute."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cli.asked import Asked, choices_of, inputs_of, set_options
from config.connections import check_belongs
from paceline.errors import UsageError
from paceline.model import BatchSpec, SizeLimits
from paceline.sinks.clashes import clash
from paceline.sinks.places import canonical, folders, local_path, written_places

if TYPE_CHECKING:
    from config.accounts import Account
    from config.schema import Settings
    from config.services import Services
    from paceline.providers.base import Weights
    from producers.contents import Way
    from producers.grouping import Grouping
    from producers.sources import Source


@dataclass(frozen=True, slots=True)
class Target:
    """A batch that could be started: where its files are, who runs them, where results go.

    `limits` are the account's, with the files per run asked for; `manifest` is a path; `exclude` folders of ours that
    are never part of the file set; `grouping` keeps files together.
    """

    settings: Settings
    account: Account
    source: Source
    spec: BatchSpec
    limits: SizeLimits
    manifest: str
    exclude: tuple[str, ...]
    grouping: Grouping | None = None
    planned: Mapping[str, str] = field(default_factory=dict)

    @property
    def stage(self) -> str:
        """Return where a listing is kept that has to be complete before the first submission is known."""
        return stage_path(self.settings, self.spec.batch_id())

    @property
    def way(self) -> Way:
        """Return how files become runs, for telling what each will contain."""
        from producers.contents import Way

        chosen = self.spec.files_per_run < self.limits.files
        return Way(self.grouping, self.account.kind.together, self.source.listing.ordered, chosen)

    def weights(self, settled: Mapping[str, str]) -> Weights | None:
        """Return what files weigh in a submission of a batch that began with `settled`; None where it is their size."""
        return self.account.kind.weights({**self.account.opening_options, **settled})


def stage_path(settings: Settings, batch: str) -> str:
    """Name the file in which a batch's listing is staged."""
    return str(settings.home / "staged" / batch)


def make_target(settings: Settings, asked: Asked) -> Target:
    """Check the options against the settings. Raises `UsageError` or `ConfigError`.

    Touches nothing, but for a list that is kept under `PACELINE_HOME`.
    """
    from producers.filters import Rules
    from producers.grouping import parse_grouping
    from producers.saved import looks_saved
    from producers.sources import resolve_sources

    if any(map(looks_saved, asked.sources)):
        from cli.from_plan import target_of

        return target_of(settings, asked)
    outputs = tuple(dict.fromkeys(map(canonical, asked.to)))
    written = [path for place in outputs for path in written_places(place)]
    rules = Rules(asked.include, asked.exclude, asked.case_sensitive, asked.hidden)
    source = resolve_sources(asked.sources, rules, settings.home, written)
    grouping = parse_grouping(asked.group_by, cut=asked.cut_groups, pack=asked.pack_groups, listed=source.groups)
    refuse_halving_groups(asked, grouping)
    account, agent_id = parse_agent(settings, asked.agent or "")
    check_belongs(settings, account)
    if any("\ud800" <= letter <= "\udfff" for letter in asked.name):
        raise UsageError(f"--name {asked.name!r}: it isn't UTF-8; write another one")
    sizes = account.size_limits
    refuse_too_many_files(asked, account)
    for place in outputs:
        if source.location.rstrip("/") in (place, local_path(place)):
            raise UsageError(f"--to {place!r} is the source itself: results would become part of the file set")
    if met := clash(outputs):
        raise UsageError(f"--to {met[0]!r} and --to {met[1]!r} would write the same files: name another place")
    spec = BatchSpec(
        source=source.location,
        account=account.name,
        provider=account.provider,
        agent=agent_id,
        to=outputs,
        files_per_run=asked.files_per_run or sizes.files,
        name=asked.name,
        options={**inputs_of(asked), **set_options(asked), **dict(source.options)},
        priority=asked.priority,
        address=account.url,
        choices=choices_of(asked, account),
    )
    return Target(
        settings, account, source, spec, sizes, manifest_of(settings, spec), never_listed(settings, spec), grouping
    )


def check_options(asked: Asked, account: Account) -> None:
    """Check what needs neither the source nor the provider. Raises `UsageError`."""
    from producers.filters import Rules
    from producers.grouping import parse_grouping

    Rules(asked.include, asked.exclude, asked.case_sensitive, asked.hidden).filter()
    if asked.group_by is not None:  # otherwise a list may say it
        grouping = parse_grouping(asked.group_by, cut=asked.cut_groups, pack=asked.pack_groups, listed=True)
        refuse_halving_groups(asked, grouping)
    refuse_too_many_files(asked, account)
    inputs_of(asked)
    set_options(asked)
    choices_of(asked, account)


def refuse_too_many_files(asked: Asked, account: Account) -> None:
    """Refuse runs of more files than the account takes. Raises `UsageError`."""
    most = account.size_limits.files
    if asked.files_per_run is not None and asked.files_per_run > most:
        raise UsageError(
            f"--files-per-run {asked.files_per_run}: account {account.name} takes at most {most} files a run"
        )


def refuse_halving_groups(asked: Asked, grouping: Grouping | None) -> None:
    """Refuse `--isolate` where each run is one group, which is never halved. Raises `UsageError`."""
    if grouping is not None and not grouping.pack and (asked.isolate or asked.isolate_runs):
        raise UsageError(
            "--isolate halves a run that failed, and a group stays whole: leave it out, or add --pack-groups, then runs"
            " of several groups are halved between them"
        )


def manifest_of(settings: Settings, spec: BatchSpec) -> str:
    """Return where a batch's manifest is: in its first folder, else in our own."""
    kept = str(settings.home / "batches" / spec.batch_id())
    return str(Path(next(iter(folders(spec.to)), kept)) / "manifest.jsonl")


def never_listed(settings: Settings, spec: BatchSpec) -> tuple[str, ...]:
    """List the folders and files that are no part of any file set: a batch's own output, and our home."""
    return (*(path for place in spec.to for path in written_places(place)), str(settings.home))


def excluded(target: Target, services: Services) -> tuple[str, ...]:
    """List the folders that are never part of the file set: ours, and every batch's output inside the source.

    Batches that `paceline gc` has removed count too: their results would be sent, and paid for.
    """
    from paceline.removing import all_forgotten

    root, views = target.source.location, services.views
    batches = [views.find_batch(batch_id) for batch_id in views.batch_ids()]
    places = {place for batch in batches if batch is not None for place in batch.to}
    places |= {place for gone in all_forgotten(services.redis) for place in gone.to}
    outputs = {path for place in places for path in written_places(place)}
    return (*target.exclude, *sorted(path for path in outputs if _lies_in(path, root)))


def _lies_in(place: str, root: str) -> bool:
    """Tell whether an output lies beneath a source, whatever symlinks or `..` it was named by."""
    path = place if "://" in place else os.path.realpath(place)
    return Path(root) in Path(path).parents


def parse_agent(settings: Settings, text: str) -> tuple[Account, str]:
    """Take `ACCOUNT:ID` or `PROVIDER:ID` apart. Raises `UsageError`, or `ConfigError` for an unknown account."""
    word, colon, agent = text.partition(":")
    if not word or not colon or not agent or any(c.isspace() or c == ":" for c in agent):
        raise UsageError(f"--agent {text!r}: write ACCOUNT:ID, like kolena:42")
    account = settings.account(word)
    if not re.fullmatch(account.kind.agent_id, agent, re.ASCII):
        example = f"{word}:{account.kind.agent_example}"
        raise UsageError(f"--agent {text!r}: not an agent's id at {account.provider}; write it like {example}")
    return account, agent
