"""`paceline verify`: manifest, ledger, provider and output of a batch held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from cli.exits import Exit
from cli.lost import rebuild_command
from cli.output import print_fields, print_json
from cli.patience import ask
from cli.reading import no_such_thing, reading
from cli.session import pick_batch
from config.accounts import Account
from config.logs import printable
from config.schema import Settings
from config.services import Services, open_provider
from config.settings import load_settings
from paceline.batch_file import BATCH_FILE, BatchFile, find_batch_file
from paceline.errors import ConfigError, UsageError
from paceline.manifest import read_manifest
from paceline.model import EndpointClass, RunView, batch_of
from paceline.providers.base import Provider
from paceline.roots import open_root
from paceline.sinks.directory import MANIFEST
from paceline.sinks.places import folders
from paceline.verifying.findings import Difference, Findings, Kind
from paceline.verifying.whole import Subject, Verdict, verify
from paceline.views import BatchView

SHOWN = 50
CHECKED = ("manifest_rows", "skipped", "submissions", "files", "runs", "records", "file_records", "digests", "open")
"""What is counted, in the order of `--json`; `open` is what of it is under way."""


@click.command("verify")
@click.argument("batch", metavar="BATCH|OUT")
@click.option("--digests", is_flag=True, help="Read the source files again: are they what was sent?")
@click.option("--without-ledger", is_flag=True, help="Don't ask the ledger: hold OUT against the provider alone.")
@click.option("--json", "as_json", is_flag=True, help="Print what was checked and all differences as JSON.")
def command(batch: str, digests: bool, without_ledger: bool, as_json: bool) -> int:
    """Prove that each file of a batch is in one submission, and each submission was paid for once.

    Holds manifest, ledger, provider and output against each other and changes none of them. BATCH is an id, the
    beginning of one, or a name; OUT is a batch's first --to folder. Where the ledger doesn't know OUT's batch, that is
    a difference, unless --without-ledger.

    Outputs are folders and single files, by their parts. Others, and a Parquet file, aren't read back: they are named.

    Exit code 0: nothing differs. 1: something does. 3: nothing does, but something is under way. 4: only what is held
    is left.
    """
    settings = load_settings()
    shown = _Shown()
    with nullcontext() if without_ledger else reading(settings) as used:
        found = _find(settings, used, batch)
        findings = Findings(shown.take)
        if not without_ledger and found.view is None:
            findings.differs(Kind.LEDGER_MISSING, expected=found.batch, found=rebuild_command(found.manifest))
        subject = _subject(settings, used, found, digests)
        verdict = verify(subject, used.views if used and found.view else None, findings)
    if as_json:
        everything = [one.as_dict() for one in shown.differences]
        checked = {name: findings.checked[name] for name in CHECKED}
        unread = list(verdict.unread)
        print_json({"batch": found.batch, "checked": checked, "not_read": unread, "differences": everything})
    else:
        _print(subject, findings, verdict, shown)
    return _exit(findings, verdict)


@dataclass(frozen=True, slots=True)
class _Found:
    """A batch, by its ledger or by what its folder says; `view` is None where the ledger doesn't know it."""

    batch: str
    account: str
    agent: str
    manifest: str
    to: tuple[str, ...]
    source: str
    address: str
    view: BatchView | None
    file: BatchFile | None


@dataclass
class _Shown:
    """Keeps the differences."""

    differences: list[Difference] = field(default_factory=list)

    def take(self, difference: Difference) -> None:
        self.differences.append(difference)


def _find(settings: Settings, services: Services | None, text: str) -> _Found:
    if not text:
        raise UsageError("name a batch, or the folder of its results")
    folder = Path(text).expanduser().absolute()
    if folder.is_dir() and any((folder / name).exists() for name in (BATCH_FILE, MANIFEST)):
        return _in_folder(services, folder)
    if services is None:
        raise no_such_thing(settings, text)
    return _known(pick_batch(services.views, text))


def _known(view: BatchView) -> _Found:
    file = find_batch_file(str(Path(view.manifest).with_name(BATCH_FILE)))
    return _Found(view.id, view.account, view.agent, view.manifest, view.to, view.source, view.address, view, file)


def _in_folder(services: Services | None, folder: Path) -> _Found:
    """Find the batch of a folder. Raises `UsageError` where nothing says which it is."""
    file = find_batch_file(str(folder / BATCH_FILE))
    batch = file.spec.batch_id() if file else _batch_of_manifest(folder / MANIFEST)
    view = services.views.find_batch(batch) if services is not None and batch else None
    if view is not None:
        return _known(view)
    if file is None:
        raise UsageError(
            f"{str(folder)!r} has no {BATCH_FILE}, and the ledger doesn't know its batch; name the first --to"
        )
    spec = file.spec
    manifest = str(folder / MANIFEST)
    first = next(iter(folders(spec.to)), None)  # may have been moved
    places = tuple(str(folder) if place == first else place for place in spec.to)
    return _Found(batch or "", spec.account, spec.agent, manifest, places, spec.source, spec.address, None, file)


def _batch_of_manifest(path: Path) -> str | None:
    try:
        return next((batch_of(row.submission) for row in read_manifest(str(path)) if row.submission), None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _subject(settings: Settings, services: Services | None, found: _Found, digests: bool) -> Subject:
    account = settings.account(found.account)
    if account.url != found.address:
        raise ConfigError(
            f"batch {found.batch} was begun at {found.address}, account {found.account} is at {account.url} here;"
            " correct its address"
        )
    account.key()
    provider = open_provider(account, settings, services.limiter if services else None)
    step = provider.capabilities.finds_many
    listed = found.file.listed if found.file else None
    view = found.view
    length = view.manifest_bytes if view else listed.manifest_bytes if listed else None
    return Subject(
        batch=found.batch,
        manifest=found.manifest,
        to=found.to,
        manifest_bytes=length,
        listed=view.listed if view else listed is not None,
        view=view,
        find=_Asking(account, provider, found.agent, services) if step else None,
        step=step,
        settle_s=settings.settle_seconds,
        root=open_root(found.source) if digests else None,
    )


@dataclass(frozen=True, slots=True)
class _Asking:
    """Lists runs with the account's pace; without a ledger, evenly."""

    account: Account
    provider: Provider
    agent: str
    services: Services | None

    def __call__(self, external_ids: Sequence[str]) -> Sequence[RunView]:
        """List the runs. Raises `ProviderError` after three tries."""
        limiter = self.services.limiter if self.services is not None else None
        return ask(self.account, limiter, EndpointClass.LIST, lambda: self.provider.find(self.agent, external_ids))


def _exit(findings: Findings, verdict: Verdict) -> Exit:
    if findings.differences:
        return Exit.FAILURES
    if verdict.open and verdict.open == verdict.held:
        return Exit.HELD
    return Exit.DONE if verdict.ended and not verdict.open else Exit.RUNNING


def _print(subject: Subject, findings: Findings, verdict: Verdict, shown: _Shown) -> None:
    differences = shown.differences
    for one in differences[:SHOWN]:
        click.echo(printable(_line(one)))
    if len(differences) > SHOWN:
        click.echo(f"… and {len(differences) - SHOWN:,} more: --json lists all of them")
    if differences:
        click.echo()
    count = findings.checked
    click.echo(
        f"Batch {subject.batch}: {'nothing differs' if not differences else f'{len(differences):,} differences'}"
    )
    fields = [
        ("manifest", f"{count['manifest_rows']:,} rows · {count['skipped']:,} left out"),
        ("submissions", f"{count['submissions']:,} with {count['files']:,} files"),
        (
            "runs",
            f"{count['runs']:,} at the provider" if subject.find else "not checked: this provider can't list them",
        ),
        ("records", f"{count['records']:,} of submissions · {count['file_records']:,} of files"),
    ]
    fields += [("not read", place) for place in verdict.unread]
    if count["digests"]:
        fields.append(("digests", f"{count['digests']:,} files are what was sent"))
    if verdict.open:
        held = f", {verdict.held:,} of them held" if verdict.held else ""
        fields.append(("open", f"{verdict.open:,} submissions under way{held}"))
    elif not verdict.ended:
        fields.append(("open", "the batch itself isn't complete"))
    print_fields(fields)


def _line(one: Difference) -> str:
    sides: list[tuple[str, Any]] = [("expected", one.expected), ("found", one.found)]
    said = ", ".join(f"{word} {_value(value)}" for word, value in sides if value is not None)
    return "  ".join(word for word in (one.kind.value, one.submission, one.path, said) if word)


def _value(value: Any) -> str:
    return " ".join(f"{name}={fact}" for name, fact in value.items()) if isinstance(value, dict) else str(value)
