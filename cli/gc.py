"""`paceline gc`: remove old, complete batches from the ledger."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from cli import forgetting
from cli.output import local_time, print_columns, print_json
from cli.reading import no_such_thing, reading
from cli.session import pick_batch
from config.logs import printable
from config.messages import make_app
from config.schema import Settings
from config.services import Services
from config.settings import load_settings
from paceline.errors import UsageError
from paceline.removing import Remover, is_removable
from paceline.scripts import Scripts
from paceline.sinks.committed import stands
from paceline.summary import summarize
from paceline.times import iso
from paceline.views import BatchView
from worker.results import CeleryResults

DAY_S = 86_400.0


@click.command("gc")
@click.option(
    "--older-than", type=click.FloatRange(0), metavar="DAYS", help="Complete for so long; default: keep_batches_days."
)
@click.option("--batch", "batches", multiple=True, metavar="BATCH", help="This one, however old. Repeatable.")
@click.option(
    "--forget-known", metavar="ACCOUNT:ID", help="Instead: forget what this agent has answered, for --skip-unchanged."
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.option("--yes", is_flag=True, help="Don't ask; needed where there is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print what is (or would be) removed as JSON.")
def command(
    older_than: float | None,
    batches: tuple[str, ...],
    forget_known: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove complete batches from the ledger, with what the results backend has of them, and old plans and lists.

    Outputs stay, and so does the knowledge that a batch was paid for: the same `paceline run` says that it is complete.
    Nothing is removed of a batch that isn't complete. One whose output isn't where it was written is left alone
    unless --batch names it; databases and places elsewhere aren't looked at. What is removed can't be retried or
    collected; `paceline rebuild OUT` brings it back. What --skip-unchanged knows stays known, unless --forget-known
    says otherwise.
    """
    settings = load_settings()
    if forget_known is not None:
        if older_than is not None or batches:
            raise UsageError("--forget-known removes no batches: call it without --older-than and --batch")
        ask = _nobody if yes else _ask
        with reading(settings) as services:
            forgetting.forget_known(settings, services, forget_known, dry_run=dry_run, as_json=as_json, ask=ask)
        return
    days = _days(settings, older_than, batches)
    with reading(settings) as services:
        if services is None and batches:
            raise no_such_thing(settings, batches[0])
        doomed = _choose(settings, services, batches, days)
        if as_json:
            print_json(_report(doomed, dry_run))
        else:
            _show(doomed)
        if dry_run or doomed.nothing:
            return
        if not yes:
            _ask(f"Remove {doomed}? Outputs stay.")
        _remove(settings, services, doomed)


def _days(settings: Settings, older_than: float | None, batches: tuple[str, ...]) -> float:
    """Return the age from which batches are removed. Raises `UsageError` where nothing says which."""
    if older_than is not None and batches:
        raise UsageError("say either --older-than DAYS or --batch BATCH")
    if older_than is not None:
        return older_than
    if not settings.keep_batches_days and not batches:
        raise UsageError("keep_batches_days is 0: batches are kept for ever; say --older-than DAYS or --batch BATCH")
    return settings.keep_batches_days


@dataclass
class _Doomed:
    """What is to be removed: batches, the ids of those whose removal was interrupted, plans, lists that were kept.

    `stages` are listings that were to be planned and never were. `kept` are batches that are old enough, but whose
    output isn't there.
    """

    batches: list[BatchView] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    plans: list[Path] = field(default_factory=list)
    lists: list[Path] = field(default_factory=list)
    stages: list[Path] = field(default_factory=list)
    kept: list[BatchView] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        return not (self.batches or self.unfinished or self.plans or self.lists or self.stages)

    def __str__(self) -> str:
        found = [(len(self.batches), "batch", "batches"), (len(self.plans), "plan", "plans")]
        found += [(len(self.lists), "list", "lists"), (len(self.stages), "staged listing", "staged listings")]
        found += [(len(self.unfinished), "interrupted removal", "interrupted removals")]
        return ", ".join(f"{number:,} {one if number == 1 else many}" for number, one, many in found if number)


def _choose(settings: Settings, services: Services | None, words: tuple[str, ...], days: float) -> _Doomed:
    doomed = _Doomed()
    if services is not None:
        doomed.unfinished = _remover(services).unfinished()
        oldest_ms = services.views.now_ms() - days * DAY_S * 1000
        found = [pick_batch(services.views, word) for word in words]
        for batch in found:
            if not is_removable(batch):
                raise UsageError(f"batch {batch.id} is {batch.state}, not complete: nothing of it is removed")
        doomed.batches = list({batch.id: batch for batch in found}.values())
        for batch in services.views.batches() if not words else ():
            if is_removable(batch) and (batch.finished_ms or 0) <= oldest_ms:
                gone = any(stands(place, batch.id) is False for place in batch.to)
                (doomed.kept if gone else doomed.batches).append(batch)
    folder = settings.home / "plans"
    if words:
        kept = (folder / f"{batch.id}{end}" for batch in doomed.batches for end in (".jsonl", ".plan"))
        doomed.plans = [path for path in kept if path.exists()]
    elif folder.is_dir():
        doomed.plans = sorted(path for path in folder.iterdir() if _is_old_plan(path, days))
    lists = settings.home / "lists"
    if not words and lists.is_dir():
        doomed.lists = sorted(path for path in lists.iterdir() if _is_old_list(path, days))
    staged = settings.home / "staged"
    if not words and staged.is_dir():
        doomed.stages = sorted(path for path in staged.iterdir() if _is_abandoned(path, services, days))
    return doomed


def _is_old_list(path: Path, days: float) -> bool:
    """Tell whether a list was last given so long ago that nobody can still be planning it."""
    return path.is_file() and path.stat().st_mtime <= time.time() - max(days, 1.0) * DAY_S


def _is_abandoned(stage: Path, services: Services | None, days: float) -> bool:
    """Tell whether a staged listing is old, and of no batch that is still being planned."""
    if services is None or stage.stat().st_mtime > time.time() - max(days, 1.0) * DAY_S:
        return False
    batch = services.views.find_batch(stage.name.partition(".")[0])
    return batch is None or batch.listed


def _is_old_plan(path: Path, days: float) -> bool:
    """Tell whether a plan is so old; one that was cut off, only if nobody can still be writing it."""
    least = {".jsonl": days, ".plan": days, ".part": max(days, 1.0)}.get(path.suffix)
    return least is not None and path.is_file() and path.stat().st_mtime <= time.time() - least * DAY_S


def _remover(services: Services) -> Remover:
    return Remover(services.redis, Scripts(services.redis), CeleryResults(make_app(services.settings)).key)


def _remove(settings: Settings, services: Services | None, doomed: _Doomed) -> None:
    if services is not None:
        remover = _remover(services)
        for name in doomed.unfinished:
            remover.finish(name)
        for batch in list(doomed.batches):
            if not remover.remove(batch, summarize(batch, services.views.now_ms())):
                doomed.batches.remove(batch)
                click.echo(f"Batch {batch.id} isn't complete any more, and stays.", err=True)
    for path in (*doomed.plans, *doomed.lists, *doomed.stages):
        with suppress(FileNotFoundError):
            path.unlink()
    click.echo(f"Removed {doomed}." if not doomed.nothing else "Removed nothing.", err=True)


def _nobody(_question: str) -> None:
    """Ask nobody."""


def _ask(question: str) -> None:
    """Ask a person. Raises `UsageError` where there is nobody to ask."""
    if not _on_terminal():
        raise UsageError("there is no terminal to ask on: add --yes to remove this, or --dry-run to see it")
    click.confirm(question, abort=True, err=True)


def _on_terminal() -> bool:
    return sys.stdin.isatty()


def _report(doomed: _Doomed, dry_run: bool) -> dict[str, Any]:
    rows = [
        {
            "batch": batch.id,
            "name": batch.name,
            "finished_at": iso(batch.finished_ms or 0),
            "submissions": batch.total,
            "to": list(batch.to),
        }
        for batch in doomed.batches
    ]
    return {
        "dry_run": dry_run,
        "batches": rows,
        "unfinished": doomed.unfinished,
        "plans": [str(path) for path in doomed.plans],
        "lists": [str(path) for path in doomed.lists],
        "staged": [str(path) for path in doomed.stages],
        "kept": [batch.id for batch in doomed.kept],
    }


def _show(doomed: _Doomed) -> None:
    if doomed.batches:
        rows = [
            (batch.id, batch.name, local_time(batch.finished_ms or 0), f"{batch.total:,}", " ".join(batch.to))
            for batch in doomed.batches
        ]
        print_columns([("BATCH", "NAME", "COMPLETE SINCE", "SUBMISSIONS", "OUTPUT, WHICH STAYS"), *rows])
    unseen = sorted({place for batch in doomed.batches for place in batch.to if stands(place, batch.id) is None})
    if unseen:
        click.echo(f"Not looked at, what is there: {printable(', '.join(unseen))}", err=True)
    for path in doomed.plans:
        click.echo(f"plan {printable(str(path))}")
    for path in doomed.lists:
        click.echo(f"list {printable(str(path))}")
    for path in doomed.stages:
        click.echo(f"staged listing {printable(str(path))}")
    for name in doomed.unfinished:
        click.echo(f"batch {name}: what an interrupted removal left")
    for batch in doomed.kept:
        where = printable(", ".join(place for place in batch.to if stands(place, batch.id) is False))
        click.echo(
            f"Batch {batch.id} stays, because its output isn't complete at {where}; to remove it: "
            f"paceline gc --batch {batch.id}",
            err=True,
        )
    if doomed.nothing:
        click.echo("Nothing to remove.", err=True)
