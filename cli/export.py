"""`paceline export`: a batch's records again, in another place."""

from __future__ import annotations

from pathlib import Path

import click

from cli.exits import Exit
from cli.lost import rebuild_command
from cli.output import print_fields, print_json
from cli.patience import ask
from cli.reading import no_such_thing, reading
from cli.session import pick_batch
from config.logs import printable
from config.messages import make_app
from config.services import Services, open_provider
from config.settings import load_settings
from paceline.batch_file import BATCH_FILE, find_batch_file
from paceline.errors import ConfigError, LedgerLost, UsageError
from paceline.model import EndpointClass, RunView
from paceline.providers.base import Provider
from paceline.reexporting import Origin, Reexported, reexport
from paceline.roots import is_address
from paceline.sinks.clashes import clash
from paceline.sinks.places import PlaceKind, canonical, kind_of, local_path
from paceline.sinks.registry import check_writable, open_sink
from paceline.views import BatchView
from worker.results import CeleryResults

LOST_SHOWN = 5


@click.command("export")
@click.argument("batch")
@click.option("--to", multiple=True, required=True, metavar="DEST", help="Where to, as for run. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print what was exported as JSON.")
def command(batch: str, to: tuple[str, ...], as_json: bool) -> int:
    """Write the records of BATCH to further destinations, without paying anything.

    Each DEST is a folder, a file, a database or a place elsewhere, as `paceline run --to` takes it. The records come
    from the outputs of BATCH, else from the results backend, else from the provider. The source isn't needed. Of a
    batch under way, what is exported so far is written, and nothing is committed: exit code 3.

    A copy, once: the destinations don't become the batch's own, and what `retry` or `collect` change later isn't
    written there. Export again then.
    """
    settings = load_settings()
    with reading(settings) as services:
        if services is None:
            raise no_such_thing(settings, batch)
        found = pick_batch(services.views, batch)
        if found.rebuilding:
            raise LedgerLost(f"batch {found.id} isn't rebuilt yet; go on with: {rebuild_command(found.manifest)}")
        places = _places(services, found, to)
        for place in places:
            check_writable(place, found.id)
        sinks = [open_sink(place) for place in places]
        results = CeleryResults(make_app(settings))
        done = reexport(services.views, found, sinks, results, _Asking(services, found))
    if as_json:
        print_json(_report(found, places, done))
    _say(found, places, done, plain=not as_json)
    if done.lost:
        return Exit.FAILURES
    return Exit.DONE if done.complete else Exit.RUNNING


def _places(services: Services, batch: BatchView, to: tuple[str, ...]) -> list[str]:
    """Return the destinations as batches know them. Raises `UsageError` for one that isn't free for this batch."""
    from producers.sources import FILES_ALONE

    others = [other for other in services.views.batches() if other.id != batch.id]
    found: list[str] = []
    for word in to:
        place = canonical(word)
        open_sink(place)
        if place in batch.to and not batch.closed:
            raise UsageError(f"--to {word!r} is the batch's own output, which its workers write; name another place")
        local = local_path(place)
        listed = not FILES_ALONE & {*batch.options}
        if listed and local and place not in batch.to and Path(batch.source) in (Path(local), *Path(local).parents):
            raise UsageError(f"--to {word!r} lies in the source: results would become part of a file set")
        if is_address(batch.source) and f"{place}/".startswith(batch.source):
            raise UsageError(f"--to {word!r} lies in the source: results would become part of a file set")
        holder = _holder(place, others)
        if holder not in (None, batch.id):
            raise UsageError(f"--to {word!r} is the output of batch {holder}: name another place")
        found += [place] if place not in found else []
    if met := clash(found, (place for other in (batch, *others) for place in other.to)):
        raise UsageError(f"--to {met[0]!r} would write the same files as the output {met[1]!r}: name another place")
    return found


def _holder(place: str, others: list[BatchView]) -> str | None:
    """Tell the batch whose output a destination is, if it can hold one only; what stands there is for its check."""
    if kind_of(place) in _SHARED:
        return None
    file = find_batch_file(str(Path(place, BATCH_FILE))) if local_path(place) else None
    return next((other.id for other in others if place in other.to), file.spec.batch_id() if file else None)


_SHARED = (PlaceKind.SQLITE, PlaceKind.POSTGRES, PlaceKind.WEBHOOK)
"""What takes any number of batches."""


class _Asking:
    """Gets runs from the provider, at the account's pace; opens it when it is needed, and only then."""

    def __init__(self, services: Services, batch: BatchView) -> None:
        self._services = services
        self._batch = batch
        self._provider: Provider | None = None

    def __call__(self, run_id: str) -> RunView | None:
        """Get a run. Raises `ConfigError`, or `ProviderError` after three tries."""
        batch, account = self._batch, self._services.settings.account(self._batch.account)
        if self._provider is None:
            if account.url != batch.address:
                raise ConfigError(
                    f"batch {batch.id} was begun at {batch.address}, account {account.name} is at {account.url} here;"
                    " correct its address: what isn't in its outputs any more is only there"
                )
            account.key()
            self._provider = open_provider(account, self._services.settings, self._services.limiter)
        provider = self._provider
        return ask(account, self._services.limiter, EndpointClass.GET, lambda: provider.get(batch.agent, run_id))


def _report(batch: BatchView, places: list[str], done: Reexported) -> dict[str, object]:
    return {
        "batch": batch.id,
        "to": places,
        "complete": done.complete,
        "submissions": {"total": done.total, "exported": done.exported},
        "from": {origin.value: done.origins[origin] for origin in Origin},
        "lost": done.lost,
    }


def _say(batch: BatchView, places: list[str], done: Reexported, *, plain: bool) -> None:
    if plain:
        origins = [
            f"{done.origins[origin]:,} from {words}" for origin, words in _ORIGINS.items() if done.origins[origin]
        ]
        what = "complete" if done.complete else "so far"
        click.echo(f"Batch {printable(batch.name) or batch.id}, {what}: {done.exported:,} of {done.total:,} records")
        print_fields([("records", " · ".join(origins) or "none yet"), *(("results", place) for place in places)])
    if done.lost:
        shown = ", ".join(done.lost[:LOST_SHOWN]) + (" …" if len(done.lost) > LOST_SHOWN else "")
        click.echo(
            f"{len(done.lost):,} without their results, which neither an output, the results backend nor the provider"
            f" has any more: {shown}",
            err=True,
        )
    if not done.complete:
        click.echo(
            "Not everything is exported yet, so nothing is committed there; export again when it is complete.", err=True
        )


_ORIGINS = {
    Origin.OUTPUT: "the batch's outputs",
    Origin.RESULTS: "the results backend",
    Origin.PROVIDER: "the provider",
    Origin.LEDGER: "the ledger alone",
}
